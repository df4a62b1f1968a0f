//! The vendor's tokens, and those that weir issues, are all replicas' where they have the
//! same `token_key`; without one each signs in for itself, and says so at its start.

use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use weir::emulator::{Emulator, Key, Latency, Options, Vendor};

use crate::support::load::pause;
use crate::support::redis::Redis;
use crate::support::{Caller, Weir, hash_line, token_of};

const SECRET: &str = "canary/secret+of=the-vendor";
const KEY: &str = "[server]\ntoken_key = \"0123456789abcdef0123456789abcdef\"\n";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

async fn vendor() -> Emulator {
    let keys = vec![Key::client("acme", &format!("acme:{SECRET}"))];
    let way = Duration::from_millis(50);
    let latency = Latency { least: way, most: way };
    let limits = Some(Vec::new());
    Emulator::start(Options { vendor: Vendor::CatchpointV1, keys, limits, latency, ..Options::default() })
        .await
        .unwrap()
}

fn config(vendor: &Emulator, redis: &Redis, key: &str) -> String {
    format!(
        "{key}[store]\nredis = {{ url = \"{}\" }}\n[upstreams.v]\ndialect = \"catchpoint-v1\"\nurl = \"{}\"\n\
         limits = {{ second = false, minute = false, hour = false, day = false }}\n\
         [upstreams.v.keys.main]\nclient_id = \"acme\"\nclient_secret = \"{SECRET}\"\n\
         [consumers.web]\n{}\naccess.v = {{ allow = [\"* /**\"] }}\n",
        redis.url(),
        vendor.url(),
        hash_line(&token_of("web")),
    )
}

/// Asks weir for a token as a client of v1 asks Catchpoint.
async fn issued_by(weir: &Weir) -> String {
    let escape = |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    let form =
        format!("grant_type=client_credentials&client_id=web&client_secret={}", escape(&token_of("web")));
    let nobody = Caller::at(format!("http://{}", weir.address()), None);
    let reply = nobody.ask(Method::POST, "/ui/api/token", &[FORM], &form).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_signs_in_for_all_and_their_tokens_are_good_everywhere() {
    let redis = Redis::start();
    signs_in_once(&redis, &redis).await;
}

/// weir is told of one node, and finds what it needs at another.
pub(super) async fn signs_in_once(named: &Redis, owner: &Redis) {
    let (redis, vendor) = (owner, vendor().await);
    let config = config(&vendor, named, KEY);
    let fleet: Vec<Weir> = (0..3).map(|_| Weir::start(&config)).collect();
    let token = issued_by(&fleet[0]).await;
    // What the first has issued is good at the others; all of them need the vendor's at once.
    let callers: Vec<Caller> = fleet.iter().map(|weir| weir.caller(&token)).collect();
    let asks = callers
        .iter()
        .enumerate()
        .map(async |(at, caller)| caller.get(&format!("/ui/api/v1/tests?page={}", at)).await.status.as_u16());
    let answers = join_all(asks).await;
    assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
    assert_eq!(vendor.sign_ins().granted, 1);
    // The vendor drops it: again one signs in for all.
    assert_eq!(vendor.revoke_tokens(), 1);
    for (at, caller) in callers.iter().enumerate() {
        let reply = caller.get(&format!("/ui/api/v1/tests?page={}", 10 + at)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    assert_eq!(vendor.sign_ins().granted, 2);
    // Whoever comes later finds it.
    let late = Weir::start(&config);
    assert_eq!(late.caller(&token).get("/ui/api/v1/tests?page=21").await.status, 200);
    assert_eq!(vendor.sign_ins().granted, 2);
    let notes = redis.command(&["KEYS", "{weir:cache}:1:t:*"]);
    assert_eq!(notes.lines().count(), 1, "{notes}");
    let note = redis.command(&["GET", &notes]);
    assert!(!note.contains("access") && !note.contains(SECRET));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_key_only_the_ledger_is_shared() {
    let (redis, vendor) = (Redis::start(), vendor().await);
    let config = config(&vendor, &redis, "");
    let fleet: Vec<Weir> = (0..2).map(|_| Weir::start(&config)).collect();
    for weir in &fleet {
        let words = "store.redis: the ledger is shared, but without server.token_key the cache and the \
                     vendors' tokens are not; give all replicas the same key (`openssl rand -hex 32` makes one)";
        assert!(weir.output().contains(words), "{}", weir.output());
        let reply = weir.caller(&token_of("web")).get("/ui/api/v1/tests").await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    assert_eq!(vendor.sign_ins().granted, 2, "each for itself");
    pause(Duration::from_millis(200)).await;
    assert_eq!(redis.command(&["KEYS", "{weir:cache}*"]), "");
    assert_ne!(redis.command(&["KEYS", "{weir:v}*"]), "", "the ledger is there");
}
