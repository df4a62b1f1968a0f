//! Replicas that share an account keep its limits, its shares and its reserves together.

use super::*;
use crate::support::load::{alone, asked_by, pause, saturate};
use weir::clock::Clock;

#[tokio::test(flavor = "multi_thread")]
async fn three_weirs_use_one_account_to_the_last_request() {
    let _alone = alone().await;
    let (clock, redis, vendor) = (Clock::system(), Redis::start(), vendor().await);
    let callers = 24;
    let fleet = fleet(&config(&vendor, &redis.url(), "", callers), 3);
    let callers: Vec<Caller> = (0..callers).map(|number| caller(&fleet, number)).collect();
    // A window to fill up, then those that are measured.
    let (warm, windows) = (WINDOW + WINDOW / 2, 4_u32);
    let began = clock.now();
    let load = saturate(&callers, 1, began + warm + WINDOW * windows, clock);
    let measure = async {
        pause(warm).await;
        let (from, before) = (clock.now(), vendor.tallies()[0].counted);
        pause(WINDOW * windows - Duration::from_millis(20)).await;
        (vendor.tallies()[0].counted - before, clock.now().since(from))
    };
    let (_, (used, lasted)) = tokio::join!(load, measure);
    assert_eq!(vendor.refused(), 0, "{}", outputs(&fleet));
    let ideal = REQUESTS as f64 * lasted.as_secs_f64() / WINDOW.as_secs_f64();
    let seen = vendor.requests();
    let each: Vec<f64> = (0..24)
        .map(|who| seen.iter().filter(|seen| asked_by(seen, who)).count() as f64)
        .collect();
    let jain = each.iter().sum::<f64>().powi(2) / (each.len() as f64 * each.iter().map(|n| n * n).sum::<f64>());
    println!("used {used} of {ideal:.1}: {:.1} %, Jain {jain:.4}, {each:?}", used as f64 / ideal * 100.0);
    assert!(jain >= 0.97, "{jain} {each:?}");
    assert!(used as f64 >= ideal * 0.9, "{used} of {ideal}");
}
