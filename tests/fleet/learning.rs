//! What the vendor teaches one replica, all of them heed, and a restart of all of them
//! forgets nothing.

use super::loss::Load;
use super::*;
use crate::support::load::{alone, fresh_url, pause};
use serde_json::Value;
use weir::emulator::Windows;

async fn limit_at(weir: &Weir) -> Value {
    weir.status().await["limits"][0].clone()
}

/// Until all of them say so.
pub(super) async fn all_say(fleet: &[Weir], what: &str, so: impl Fn(&Value) -> bool) {
    for weir in fleet {
        for attempt in 0.. {
            let limit = limit_at(weir).await;
            if so(&limit) {
                break;
            }
            assert!(attempt < 400, "{what}: {limit} {}", weir.output());
            pause(Duration::from_millis(50)).await;
        }
    }
}

async fn begun_again(fleet: Vec<Weir>) -> Vec<Weir> {
    let folders: Vec<_> = fleet.into_iter().map(Weir::kill).collect();
    let fleet: Vec<Weir> = folders.into_iter().map(Weir::again).collect();
    for weir in &fleet {
        weir.logged(|line| line["message"] == "the shared ledger is open").await;
    }
    fleet
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_the_vendor_has_closed_is_closed_at_all_of_them() {
    let _alone = alone().await;
    let window = Duration::from_secs(20);
    let options = Options {
        keys: vec![Key::client("main", VENDOR_KEY)],
        limits: Some(vec![Limit::analytic(5, window)]),
        ..Options::default()
    };
    let (redis, vendor) = (Redis::start(), Emulator::start(options).await.unwrap());
    let config = config(&vendor, &redis.url(), "", 3).replace("24/2s", "10/20s");
    let fleet = fleet(&config, 3).await;
    let ask = async |weir: &Weir, who: usize| {
        let caller = weir.caller(&token_of(&format!("c{who}")));
        caller.get_with(&fresh_url(who), &[("prefer", "wait=0")]).await.status.as_u16()
    };
    for _ in 0..6 {
        ask(&fleet[0], 0).await;
    }
    assert_eq!(vendor.refused(), 1);
    let is_full =
        |limit: &Value| (limit["used"].as_u64(), limit["used_by_others"].as_u64()) == (Some(10), Some(4));
    let is_closed =
        |limit: &Value| is_full(limit) && limit["closed_for"].as_f64().is_some_and(|left| left > 5.0);
    all_say(&fleet, "six of ten are weir's own", is_closed).await;
    for (who, weir) in fleet.iter().enumerate() {
        assert_eq!(ask(weir, who).await, 429);
    }
    let fleet = begun_again(fleet).await;
    all_say(&fleet, "after a restart of all", is_closed).await;
    for (who, weir) in fleet.iter().enumerate() {
        assert_eq!(ask(weir, who).await, 429);
    }
    assert_eq!((vendor.refused(), vendor.requests().len()), (1, 6), "nothing has left meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_keep_an_even_pace_before_a_vendor_that_estimates() {
    let _alone = alone().await;
    let options = Options {
        keys: vec![Key::client("main", VENDOR_KEY)],
        limits: Some(vec![Limit::analytic(REQUESTS, WINDOW)]),
        latency: Latency { least: Duration::from_millis(1), most: LATENCY },
        windows: Windows::Counter,
        ..Options::default()
    };
    let (redis, vendor) = (Redis::start(), Emulator::start(options).await.unwrap());
    let fleet = fleet(&config(&vendor, &redis.url(), "", 12), 3).await;
    let load: Vec<Load> = fleet.iter().enumerate().map(|(at, weir)| Load::on(weir, at * 4)).collect();
    let is_even = |limit: &Value| limit["pace"] == "even";
    all_say(&fleet, "it estimates", is_even).await;
    // What closed the window is over.
    pause(WINDOW * 2).await;
    let (refused, seen) = (vendor.refused(), vendor.requests().len());
    pause(WINDOW * 3).await;
    let (again, used) = (vendor.refused() - refused, vendor.requests().len() - seen);
    println!("{refused} refused until all kept an even pace, {again} of {used} after that");
    // Beside other tests on a small machine, one may be held up for longer than any before it.
    assert!(again <= 1, "{again} of {used}: {}", outputs(&fleet));
    assert!(used >= usize::try_from(REQUESTS * 3 / 2).unwrap(), "{used}");
    drop(load);
    let fleet = begun_again(fleet).await;
    all_say(&fleet, "after a restart of all", is_even).await;
}
