//! Refreshes behind the reader's back: who pays, and when there is none.

use std::time::Duration;

use serde_json::Value;
use weir::emulator::{Latency, Options};

use super::keyed::Keyed;
use crate::support::{Caller, blocking_get, until};

/// Stale at once, and given all the same while it is renewed. Its echo tells how often it
/// was asked for.
const STALE: &str = "/header?cache-control=max-age%3D0%2Cstale-while-revalidate%3D3600";

impl Keyed {
    /// What the origin had counted when it made the answer that this caller gets, free.
    async fn served(&self, caller: &Caller) -> u64 {
        let reply = caller.get(STALE).await;
        assert_eq!((reply.status.as_u16(), reply.price()), (200, 0), "{reply:?}");
        assert!(reply.header("cache-status").contains("detail=revalidating"), "{reply:?}");
        reply.json()["served"].as_u64().unwrap()
    }

    async fn renewed(&self, times: usize) {
        until("it is renewed", || {
            let seen = self.origin.requests();
            seen.len() == times && seen.iter().all(|seen| seen.answered.is_some())
        })
        .await;
    }
}

#[tokio::test]
async fn a_refresh_is_paid_by_whose_hit_set_it_off_and_waits_for_nothing() {
    let way = Duration::from_millis(150);
    let latency = Latency { least: way, most: way };
    let more = "limits.hour = \"2/1h\"\n";
    let house = Keyed::with(Options { latency, ..Options::default() }, more).await;
    let (web, ops) = (house.caller("web"), house.caller("ops"));
    assert_eq!(web.get(STALE).await.price(), 1);
    assert_eq!(house.served(&ops).await, 1);
    assert_eq!(house.served(&web).await, 1, "nobody waits for it, and one is enough");
    house.renewed(2).await;
    assert_eq!(house.refreshes_and_price("ops").await, (1, 1));
    assert_eq!(house.refreshes_and_price("web").await, (0, 1));
    // The allowance is spent: what is stored is given as it is, at once and again.
    for _ in 0..3 {
        assert!(house.served(&ops).await <= 2);
    }
    assert_eq!(house.asked(), 2);
    assert_eq!(house.refreshes_and_price("ops").await, (1, 1));
    until("it is in the books", || {
        let usage = blocking_get(house.weir.admin_address(), "/api/v1/usage?by=consumer");
        let usage: Value = serde_json::from_str(&usage).unwrap();
        let rows = usage["rows"].as_array().unwrap();
        let own = rows.iter().find(|row| row["consumer"] == "ops");
        own.is_some_and(|own| own["refreshed"] == 1 && own["paid"] == 1 && own["stale"] == 4)
    })
    .await;
}

#[tokio::test]
async fn a_refresh_takes_no_slot_that_is_reserved() {
    let more = "limits.hour = \"3/1h\"\n";
    let house = Keyed::reserving(Options::default(), more, "reserve = { hour = 1 }").await;
    let (web, ops) = (house.caller("web"), house.caller("ops"));
    for path in [STALE, "/other"] {
        assert_eq!(web.get(path).await.price(), 1);
    }
    for _ in 0..3 {
        assert_eq!(house.served(&web).await, 1);
    }
    assert_eq!((house.asked(), house.refreshes_and_price("web").await), (2, (0, 2)));
    // It is there for whom it was held.
    let reply = ops.get_with("/mine", &[("prefer", "wait=0")]).await;
    assert_eq!((reply.status.as_u16(), reply.price()), (200, 1), "{reply:?}");
}

#[tokio::test]
async fn a_refresh_takes_no_turn_of_those_who_wait() {
    let house = Keyed::with(Options::default(), "limits.second = \"1/1s\"\n").await;
    let (web, api) = (house.caller("web"), house.caller("api"));
    web.get(STALE).await;
    let waiting = async { futures_util::future::join_all([api.get("/x"), api.get("/y")]).await };
    let reading = async {
        until("they wait", || {
            let status = blocking_get(house.weir.admin_address(), "/api/v1/status");
            serde_json::from_str::<Value>(&status).unwrap()["upstreams"][0]["waiting"] == 2
        })
        .await;
        house.served(&web).await
    };
    let (replies, served) = tokio::join!(waiting, reading);
    assert_eq!(served, 1);
    assert!(replies.iter().all(|reply| reply.status == 200));
    let targets: Vec<_> = house.origin.requests().into_iter().map(|seen| seen.target).collect();
    assert!(targets.len() == 3 && targets[1..].iter().all(|target| target == "/x" || target == "/y"));
    assert_eq!(house.refreshes_and_price("web").await, (0, 1));
}
