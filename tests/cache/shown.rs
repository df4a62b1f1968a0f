//! What is answered from the cache, as a caller and the origin see it.

use std::time::Duration;

use http::Method;
use weir::emulator::{Latency, Options};

use super::House;
use crate::support::load::{pause, together};
use crate::support::until;

const RULE: &str = "[[upstreams.echo.cache]]\nmatch = \"GET /**\"\n";

/// A real second, and some: that an answer becomes stale is the point.
async fn stale() {
    pause(Duration::from_millis(1_200)).await;
}

#[tokio::test]
async fn hits_heads_and_304s() {
    let house = House::with(&format!("{RULE}ttl = \"1h\"\n")).await;
    let caller = house.caller();
    let first = caller.get("/etag/v1").await;
    let hit = caller.get("/etag/v1").await;
    let head = caller.ask(Method::HEAD, "/etag/v1", &[], "").await;
    assert_eq!(house.asked(), 1);
    assert!(hit.header("cache-status").starts_with("weir;hit"), "{hit:?}");
    assert_eq!(head.header("content-length"), first.body.len().to_string());
    // The caller insists; the origin says that nothing has changed.
    let again = caller.get_with("/etag/v1", &[("cache-control", "no-cache")]).await;
    assert_eq!((again.status.as_u16(), &again.body), (200, &first.body));
    assert!(again.header("cache-status").contains("fwd-status=304"), "{again:?}");
    assert_eq!(house.asked(), 2);
}

#[tokio::test]
async fn who_asks_while_it_is_fetched_joins() {
    let latency = Latency { least: Duration::from_millis(150), most: Duration::from_millis(150) };
    let house = House::of(Options { latency, ..Options::default() }, "").await;
    house.says("/a", "x");
    let replies = together(&house.caller(), (0..40).map(|_| "/a".to_owned())).await;
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.body == "x"));
    let joined = replies.iter().filter(|reply| reply.header("cache-status").contains("collapsed")).count();
    let hits = replies.iter().filter(|reply| reply.header("cache-status").contains("weir;hit")).count();
    assert_eq!((house.asked(), joined + hits), (1, 39));
    assert!(joined > 0);
}

#[tokio::test]
async fn a_stale_answer_is_given_while_it_is_renewed() {
    let house = House::with(&format!("{RULE}ttl = \"1s\"\nstale_while_revalidate = \"1h\"\n")).await;
    let caller = house.caller();
    house.says("/a", "old");
    caller.get("/a").await;
    house.says("/a", "new");
    stale().await;
    let reply = caller.get("/a").await;
    assert_eq!(reply.body, "old", "{reply:?}");
    until("it is renewed", || house.asked() == 2).await;
    // The origin has been asked; when its answer is kept, nobody outside can see.
    let mut body = reply.body;
    for _ in 0..100 {
        if body == "new" {
            break;
        }
        pause(Duration::from_millis(20)).await;
        body = caller.get("/a").await.body;
    }
    assert_eq!(body, "new");
}

#[tokio::test]
async fn a_stale_answer_is_given_when_the_origin_has_stopped() {
    let house = House::with(&format!("{RULE}ttl = \"1s\"\nstale_if_error = \"1h\"\n")).await;
    let caller = house.caller();
    house.says("/a", "old");
    caller.get("/a").await;
    stale().await;
    let House { origin, weir } = house;
    origin.shutdown().await;
    let reply = caller.get("/a").await;
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, &b"old"[..]), "{reply:?}");
    assert_eq!(caller.get("/b").await.status, 502);
    drop(weir);
}

#[tokio::test]
async fn a_stale_answer_is_given_when_the_allowance_is_spent() {
    let limit = "limits.hour = \"1/1h\"\n";
    let house = House::with(&format!("{limit}{RULE}ttl = \"1s\"\nstale_if_limited = \"1h\"\n")).await;
    let caller = house.caller();
    house.says("/a", "old");
    assert_eq!(caller.get("/a").await.price(), 1);
    stale().await;
    let now = [("prefer", "wait=0")];
    let reply = caller.get_with("/a", &now).await;
    assert_eq!((reply.status.as_u16(), reply.price(), &reply.body[..]), (200, 0, &b"old"[..]), "{reply:?}");
    assert!(reply.header("cache-status").contains("limited"), "{reply:?}");
    assert_eq!(caller.get_with("/b", &now).await.status, 429);
    assert_eq!(house.asked(), 1);
}
