//! The door of Redis: TLS with an authority of one's own, a password, and a user who may
//! do no more than weir needs.

use super::*;
use crate::support::load::{alone, fresh_url};
use crate::support::pki::Authority;

const PASSWORD: &str = "open-sesame";

/// As in `deploy/users.acl`, with this password.
fn users() -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/users.acl");
    let hash = weir::secret::TokenHash::of(PASSWORD.as_bytes()).to_hex();
    std::fs::read_to_string(file).unwrap().replace("SHA256_OF_THE_PASSWORD", &hash)
}

fn configured(vendor: &Emulator, redis: &str) -> String {
    config(vendor, "URL", "", 2).replace("url = \"URL\"", redis)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_behind_tls_is_known_by_its_authority_and_its_user_may_do_no_more() {
    let _alone = alone().await;
    let (folder, vendor) = (tempfile::tempdir().unwrap(), vendor().await);
    let authority = Authority::new(folder.path(), "ca");
    let pair = authority.issue(folder.path(), "redis", &["localhost", "127.0.0.1"]);
    std::fs::write(folder.path().join("users.acl"), users()).unwrap();
    let redis = Redis::behind_tls(&pair, &authority.path, &folder.path().join("users.acl"));
    let url = |user: &str| format!("rediss://{user}@127.0.0.1:{}", redis.address().port());
    let (good, ca) = (url(&format!("weir:{PASSWORD}")), authority.path.display().to_string());

    let weir = Weir::start(&configured(&vendor, &format!("url = \"{good}\", ca = \"{ca}\"")));
    let open = weir.logged(|line| line["message"] == "the shared ledger is open");
    if tokio::time::timeout(Duration::from_secs(8), open).await.is_err() {
        panic!("{}", weir.output());
    }
    let reply = weir.caller(&token_of("c0")).get(&fresh_url(0)).await;
    assert_eq!(reply.status, 200, "{}", weir.output());
    assert!(!weir.output().contains("NOPERM"), "{}", weir.output());
    assert!(!weir.output().contains(PASSWORD), "{}", weir.output());

    // Another authority's, a wrong password, no user at all, another prefix: it closes, and says why.
    let other = Authority::new(folder.path(), "other").path.display().to_string();
    let wrong = [
        (format!("url = \"{good}\", ca = \"{other}\""), "not connected"),
        (format!("url = \"{}\", ca = \"{ca}\"", url("weir:guessed")), "signing in failed"),
        (
            format!("url = \"rediss://127.0.0.1:{}\", ca = \"{ca}\"", redis.address().port()),
            "signing in failed",
        ),
        (format!("url = \"{good}\", ca = \"{ca}\", prefix = \"other\""), "signing in failed"),
    ];
    for (redis, why) in wrong {
        let weir = Weir::start(&configured(&vendor, &redis));
        let said = weir.logged(|line| line["why"].as_str().is_some_and(|said| said.contains(why)));
        if tokio::time::timeout(Duration::from_secs(8), said).await.is_err() {
            panic!("{redis}: {}", weir.output());
        }
        assert!(!weir.output().contains("guessed"), "{}", weir.output());
        let refused = weir.caller(&token_of("c0")).get(&fresh_url(0)).await;
        assert_eq!(refused.status, 503, "{refused:?}");
    }
}
