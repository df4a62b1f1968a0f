//! A restart keeps the cache warm; and what was purged or written over does not come back.

use std::os::unix::fs::PermissionsExt;

use http::Method;

use super::{House, config};
use crate::support::load::pause;
use crate::support::{Reply, Weir, token_of, until};

/// How it was answered.
fn status(reply: &Reply) -> (u16, u32, &str) {
    (reply.status.as_u16(), reply.price(), reply.header("cache-status"))
}

impl House {
    async fn restarted(mut self, by_force: bool) -> Self {
        let folder = if by_force { self.weir.kill() } else { self.weir.stop_keeping() };
        self.weir = Weir::again(folder);
        self
    }
}

#[tokio::test]
async fn a_restart_keeps_the_cache_warm_and_ages_go_on() {
    for by_force in [false, true] {
        let house = House::new().await;
        for path in ["/a", "/b"] {
            house.says(path, &format!("this is {path}"));
            assert_eq!(house.caller().get(path).await.status, 200);
        }
        until("all is written", || house.disk()["queued_bytes"] == 0 && house.disk()["entries"] == 2).await;
        // Whole seconds are what `Age` counts in.
        pause(std::time::Duration::from_millis(1_100)).await;
        let house = house.restarted(by_force).await;
        house.says("/b", "no longer");
        let (caller, asked) = (house.caller(), house.asked());
        let a = caller.get("/a").await;
        assert!(a.header("cache-status").starts_with("weir;hit;ttl=359"), "{a:?}");
        assert_eq!((&a.body[..], a.header("etag")), (&b"this is /a"[..], "\"1\""));
        let age: u64 = a.header("age").parse().unwrap();
        assert!((1..30).contains(&age), "{age}");
        let part = caller.get_with("/b", &[("range", "bytes=0-3")]).await;
        assert_eq!((part.status.as_u16(), &part.body[..]), (206, &b"this"[..]));
        assert_eq!(house.asked(), asked, "the origin was not asked again");
        let file = house.weir.folder().join("data/cache.redb");
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn what_was_written_over_or_purged_stays_gone_through_kill_nine() {
    let house = House::new().await;
    let caller = house.caller();
    for path in ["/things/1", "/other", "/kept"] {
        house.says(path, "old");
        caller.get(path).await;
    }
    until("all is written", || house.disk()["queued_bytes"] == 0 && house.disk()["entries"] == 3).await;
    assert_eq!(caller.ask(Method::PUT, "/things/1", &[], "new").await.status, 200);
    let purged = house.purge(r#"{"upstream":"echo","path":"/other"}"#).await;
    assert_eq!(purged.json()["purged"], 1);
    // At once: both were answered, so both hold.
    let house = house.restarted(true).await;
    let caller = house.caller();
    for (path, price) in [("/things/1", "new"), ("/other", "new"), ("/kept", "old")] {
        house.says(path, "new");
        assert_eq!(caller.get(path).await.body, price, "{path}");
    }
}

#[tokio::test]
async fn a_file_that_is_torn_costs_warmth_and_no_more() {
    let house = House::new().await;
    house.says("/a", "first");
    house.caller().get("/a").await;
    let folder = house.weir.stop_keeping();
    let file = folder.path().join("data/cache.redb");
    let torn = std::fs::read(&file).unwrap();
    std::fs::write(&file, &torn[..torn.len() / 3]).unwrap();
    let house = House { weir: Weir::again(folder), ..house };
    house.says("/a", "second");
    assert_eq!(house.caller().get("/a").await.body, "second");
    let house = house.restarted(false).await;
    house.says("/a", "third");
    assert_eq!(house.caller().get("/a").await.body, "second", "the new file is as good as any");
}

#[tokio::test]
async fn an_answer_kept_under_another_rule_is_not_used() {
    let rule = |ttl| format!("[[upstreams.echo.cache]]\nmatch = \"GET /a\"\nttl = \"{ttl}\"\n");
    let house = House::with(&rule("1h")).await;
    for path in ["/a", "/b"] {
        house.says(path, "old");
        house.caller().get(path).await;
        house.says(path, "new");
    }
    let folder = house.weir.stop_keeping();
    std::fs::write(folder.path().join("weir.toml"), config(&house.origin, &rule("2h"))).unwrap();
    let weir = Weir::again(folder);
    let caller = weir.caller(&token_of("all"));
    assert_eq!(
        (&caller.get("/a").await.body[..], &caller.get("/b").await.body[..]),
        (&b"new"[..], &b"old"[..])
    );
}

#[tokio::test]
async fn a_successor_does_not_wait_and_takes_over() {
    let house = House::new().await;
    house.says("/a", "one");
    house.caller().get("/a").await;
    let store = house.weir.folder().join("data");
    let new = Weir::start_with(&config(&house.origin, ""), &[("WEIR__STORE__PATH", store.to_str().unwrap())]);
    until("it waits", || new.output().contains("waiting for the cache's file")).await;
    let House { weir: old, origin } = house;
    let old = tokio::task::spawn_blocking(move || old.stop_keeping()).await.unwrap();
    until("it takes over", || new.output().contains("the cache's file was taken up")).await;
    let reply = new.caller(&token_of("all")).get("/a").await;
    assert_eq!((status(&reply).0, status(&reply).1, &reply.body[..]), (200, 0, &b"one"[..]), "{reply:?}");
    assert_eq!(origin.requests().len(), 1);
    drop(old);
}
