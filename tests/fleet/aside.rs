//! `on_loss = "share:…"`: what is set aside for each replica is used while Redis is away,
//! and all of it together is never more than the account allows.

use super::learning::all_say;
use super::loss::Load;
use super::*;
use crate::support::load::{alone, fresh_url, pause};

/// 3 of 24 for each of three replicas; 15 are shared.
fn set_aside(config: &str) -> String {
    config.replacen("\" }\n", "\", replicas = 3, on_loss = \"share:0.125\" }\n", 1)
}

/// Whether a fresh request is admitted within some windows.
async fn is_admitted(weir: &Weir) -> bool {
    let caller = weir.caller(&token_of("c5"));
    for _ in 0..20 {
        if caller.get(&fresh_url(5)).await.status == 200 {
            return true;
        }
        pause(Duration::from_millis(250)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_aside_is_used_without_redis_and_never_too_much_leaves() {
    let _alone = alone().await;
    let (mut redis, vendor) = (Redis::start(), vendor().await);
    let config = set_aside(&config(&vendor, &redis.url(), "", 6));
    let mut fleet = fleet(&config, 3).await;
    let mut numbers = Vec::new();
    for weir in &fleet {
        let line = weir
            .logged(|line| line["message"].as_str().is_some_and(|m| m.contains("part is set aside")))
            .await;
        numbers.push(line[0]["number"].as_u64().unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
    let fourth = Weir::start(&config);
    fourth.logged(|line| line["message"].as_str().is_some_and(|m| m.contains("nothing is set aside"))).await;
    let mut load: Vec<Load> = fleet.iter().chain([&fourth]).map(|weir| Load::of(weir, 0..6)).collect();
    pause(WINDOW).await;

    redis.kill();
    for weir in fleet.iter().chain([&fourth]) {
        weir.logged(|line| line["message"].as_str().is_some_and(|m| m.contains("redis cannot be reached")))
            .await;
    }
    let before = vendor.requests().len();
    pause(WINDOW * 2).await;
    let used = vendor.requests().len() - before;
    // Nine in each window, of which three were begun here.
    assert!((9..=27).contains(&used), "{used}: {}", outputs(&fleet));
    let refused = fourth.caller(&token_of("c0")).get(&fresh_url(0)).await;
    assert_eq!(refused.status, 503, "{refused:?}");

    // A replica dies and comes back while Redis is away: what it has charged still counts.
    let folder = fleet.remove(0).kill();
    fleet.insert(0, Weir::again(folder));
    load[0] = Load::of(&fleet[0], 0..6);
    assert!(is_admitted(&fleet[0]).await, "{}", fleet[0].output());
    pause(WINDOW).await;

    // It comes back with nothing, and is told by all of them.
    redis.again_empty();
    for weir in fleet.iter().chain([&fourth]) {
        weir.logged(|line| line["message"] == "redis answers again").await;
        assert!(is_admitted(weir).await, "{}", weir.output());
    }
    pause(WINDOW).await;
    drop(load);
    assert_eq!(vendor.refused(), 0, "{}", outputs(&fleet));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_vendor_taught_another_holds_for_what_is_set_aside() {
    let _alone = alone().await;
    let options = Options {
        keys: vec![Key::client("main", VENDOR_KEY)],
        limits: Some(vec![Limit::analytic(5, Duration::from_secs(60))]),
        ..Options::default()
    };
    let (mut redis, vendor) = (Redis::start(), Emulator::start(options).await.unwrap());
    let config = set_aside(&config(&vendor, &redis.url(), "", 6)).replace("24/2s", "24/60s");
    let mut fleet = fleet(&config, 2).await;
    let ask = async |weir: &Weir| {
        weir.caller(&token_of("c5")).get_with(&fresh_url(5), &[("prefer", "wait=0")]).await.status.as_u16()
    };
    for _ in 0..6 {
        ask(&fleet[0]).await;
    }
    assert_eq!(vendor.refused(), 1);
    all_say(&fleet, "it is closed", |limit| limit["closed_for"].as_f64().is_some_and(|left| left > 5.0))
        .await;
    redis.kill();
    for life in 0..2 {
        let goes_on = |line: &serde_json::Value| {
            line["message"].as_str().is_some_and(|m| m.contains("goes on with what was set aside"))
        };
        fleet[1].logged(goes_on).await;
        assert_eq!(ask(&fleet[1]).await, 429, "{life}: {}", fleet[1].output());
        assert_eq!(vendor.requests().len(), 6, "{life}: it was told while Redis was there");
        let folder = fleet.remove(1).kill();
        fleet.push(Weir::again(folder));
    }
}
