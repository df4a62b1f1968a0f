//! Law 10: what one may not see, one is not served; and which upstream a request is for.

use super::{OTHER_KEY, ROOMY, consumer, echo, generic, vendor};
use crate::support::{Weir, catchpoint, token_of};

#[tokio::test]
async fn two_keys_never_share_an_answer() {
    let vendor = vendor().await;
    let more = format!(
        "{ROOMY}keys.other.value = \"{OTHER_KEY}\"\n[upstreams.catchpoint.divisions.api]\nkey = \"other\"\n"
    );
    let consumers = [("grafana", "web", ""), ("twin", "ops", ""), ("api", "api", "")];
    let weir = Weir::start(&catchpoint(&vendor.url(), &more, &consumers));
    let mut bodies = Vec::new();
    for (name, price) in [("grafana", 1), ("twin", 0), ("api", 1), ("api", 0), ("grafana", 0)] {
        let reply = weir.caller(&token_of(name)).get("/api/v2/tests").await;
        assert_eq!((reply.status.as_u16(), reply.price()), (200, price), "{name}");
        bodies.push(reply.body);
    }
    assert_eq!((&bodies[0], &bodies[2]), (&bodies[1], &bodies[3]));
    assert_ne!(bodies[0], bodies[2]);
    let keys: Vec<_> = vendor.requests().into_iter().map(|seen| seen.key.unwrap()).collect();
    assert_eq!(keys, ["main", "other"]);
}

#[tokio::test]
async fn upstreams_are_told_apart_by_mount_and_by_host() {
    let (plain, long, hosted) = (echo().await, echo().await, echo().await);
    let weir = Weir::start(&format!(
        "{}{}{}{}{}",
        generic("plain", &plain, "mount = \"/a\""),
        generic("long", &long, "mount = \"/a/b\""),
        generic("hosted", &hosted, "host = \"hosted.internal\""),
        consumer("all", &["plain", "long", "hosted"]),
        consumer("some", &["plain"]),
    ));
    let (all, some) = (weir.caller(&token_of("all")), weir.caller(&token_of("some")));
    all.get("/a/bc?x=1").await;
    all.get("/a/b/c?x=2").await;
    all.get_with("/a/b/c?x=3", &[("host", "Hosted.Internal:8080")]).await;
    let seen = |vendor: &weir::emulator::Emulator| {
        vendor.requests().into_iter().map(|seen| seen.target).collect::<Vec<_>>()
    };
    assert_eq!(
        (seen(&plain), seen(&long), seen(&hosted)),
        (vec!["/bc?x=1".to_owned()], vec!["/c?x=2".to_owned()], vec!["/a/b/c?x=3".to_owned()],)
    );
    assert_eq!(some.get("/a/b/c").await.status, 403);
    for path in ["/", "/ab", "/A/x"] {
        let nowhere = all.get(path).await;
        assert_eq!((nowhere.status.as_u16(), nowhere.json()["status"].as_u64()), (404, Some(404)));
        assert_eq!(nowhere.header("content-type"), "application/problem+json");
    }
}
