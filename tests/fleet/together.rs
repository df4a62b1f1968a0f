//! Replicas that share an account keep its limits, its shares and its reserves together.

use super::*;
use crate::support::load::{alone, asked_by, keep_asking, saturate};
use weir::clock::Clock;

/// How much of what the vendor allows was used while everybody always wanted more: windows
/// are filled as soon as they open, so time is counted from the first request to the last.
fn used(vendor: &Emulator) -> f64 {
    let mut counted: Vec<_> = vendor.requests().iter().filter_map(|seen| seen.counted).collect();
    counted.sort_unstable();
    let lasted = counted.last().unwrap().since(counted[0]).as_secs_f64();
    (counted.len() as f64 - REQUESTS as f64) / REQUESTS as f64 * WINDOW.as_secs_f64() / lasted
}

fn jain(each: &[f64]) -> f64 {
    each.iter().sum::<f64>().powi(2) / (each.len() as f64 * each.iter().map(|n| n * n).sum::<f64>())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_weirs_use_one_account_to_the_last_request() {
    let _alone = alone().await;
    let (clock, redis, vendor) = (Clock::system(), Redis::start(), vendor().await);
    let number = 24;
    let fleet = fleet(&config(&vendor, &redis.url(), "", number), 3).await;
    let callers: Vec<Caller> = (0..number).map(|number| caller(&fleet, number)).collect();
    saturate(&callers, 1, clock.now() + WINDOW * 5, clock).await;
    assert_eq!(vendor.refused(), 0, "{}", outputs(&fleet));
    let seen = vendor.requests();
    let each: Vec<f64> =
        (0..number).map(|who| seen.iter().filter(|seen| asked_by(seen, who)).count() as f64).collect();
    let (used, jain) = (used(&vendor), jain(&each));
    println!("used {:.1} %, Jain {jain:.4}, {each:?}", used * 100.0);
    assert!(jain >= 0.97, "{jain} {each:?}");
    // The goal is 0.96 on a machine that does nothing else; beside other tests only a
    // collapse can be told from noise.
    assert!(used >= 0.7, "{used}");
}

/// Eight consumers with three callers each: four have all of them at one replica, four have
/// one at each. By default they have the same share.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_spread_over_replicas_gets_its_share_and_no_more() {
    let _alone = alone().await;
    let (clock, redis, vendor) = (Clock::system(), Redis::start(), vendor().await);
    let number = 8;
    let fleet = fleet(&config(&vendor, &redis.url(), "", number), 3).await;
    let until = clock.now() + WINDOW * 6;
    let each = (0..number).flat_map(|who| (0..3).map(move |nth| (who, nth)));
    let loads = each.map(|(who, nth)| {
        let weir = &fleet[if who < 4 { who % 3 } else { nth }];
        let caller = weir.caller(&token_of(&format!("c{who}")));
        async move { keep_asking(who, &caller, 1, (until, clock)).await }
    });
    futures_util::future::join_all(loads).await;
    assert_eq!(vendor.refused(), 0, "{}", outputs(&fleet));
    // The first window opens before all of them have come.
    let seen = vendor.requests();
    let later = &seen[usize::try_from(REQUESTS).unwrap()..];
    let each: Vec<f64> =
        (0..number).map(|who| later.iter().filter(|seen| asked_by(seen, who)).count() as f64).collect();
    let jain = jain(&each);
    println!("spread: used {:.1} %, Jain {jain:.4}, {each:?}", used(&vendor) * 100.0);
    assert!(jain >= 0.97, "{jain} {each:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reserve_is_held_in_every_replica() {
    let (redis, vendor) = (Redis::start(), vendor().await);
    let reserve = "[upstreams.catchpoint.divisions.ops]\nkey = \"main\"\nreserve = { minute = 8 }\n";
    let fleet = fleet(&config(&vendor, &redis.url(), reserve, 3), 3).await;
    // `web`, at two replicas, takes all it can; the owner asks a third that has seen nothing of it.
    let outsiders = [caller(&fleet, 0), fleet[1].caller(&token_of("c0"))];
    let asked = outsiders.iter().enumerate().flat_map(|(who, caller)| (0..12).map(move |_| (who, caller)));
    let replies = futures_util::future::join_all(asked.map(async |(who, caller)| {
        caller.get_with(&crate::support::load::fresh_url(who), &[("prefer", "wait=0")]).await.status.as_u16()
    }))
    .await;
    assert_eq!(replies.iter().filter(|status| **status == 200).count(), 16, "{replies:?}");
    let owner = fleet[2].caller(&token_of("c1"));
    for _ in 0..8 {
        let reply = owner.get_with(&crate::support::load::fresh_url(2), &[("prefer", "wait=1")]).await;
        assert_eq!(reply.status, 200, "{}", outputs(&fleet));
    }
    assert_eq!(vendor.refused(), 0);
}
