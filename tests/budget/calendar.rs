//! Windows of the calendar have an edge, and the vendor's clock decides where it
//! is. Runs for real.

use std::collections::BTreeMap;
use std::time::Duration;

use weir::clock::Clock;
use weir::emulator::{Options, Skew};

use super::{delays, enforcing, is_long_run, only, start};
use crate::support::load::saturate;
use crate::support::{Weir, catchpoint, token_of};

const REQUESTS: usize = 12;

/// Saturates over three edges; what each of the vendor's periods has counted.
async fn over_three_edges(skew: Skew) -> BTreeMap<u64, usize> {
    let clock = Clock::system();
    let seconds = if is_long_run() { 10 } else { 4 };
    let limit = format!("{REQUESTS}/{seconds}s:calendar");
    let vendor = start(Options { skew, latency: delays(5, 60), clock, ..enforcing(&[&limit]) }).await;
    let line =
        format!("limits.day = {{ requests = {REQUESTS}, per = \"{seconds}s\", window = \"calendar\" }}");
    let names = ["a", "b", "c", "d"];
    let weir = Weir::start(&catchpoint(&vendor.url(), &only(&line), &names.map(|name| (name, "all", ""))));
    let callers = names.map(|name| weir.caller(&token_of(name)));
    let period = seconds * 1_000_000_000;
    // Until a second and a half into the third period that begins from here.
    let into = Duration::from_nanos(vendor.wall().as_nanos() % period);
    let until = clock.now() + Duration::from_nanos(period * 3) - into + Duration::from_millis(1_500);
    let replies = saturate(&callers, 2, until, clock).await.concat();
    assert!(replies.iter().all(|reply| reply.status == 200), "{replies:?}");
    assert_eq!(vendor.refused(), 0, "{skew:?}");
    let mut counted = BTreeMap::new();
    for seen in vendor.requests() {
        *counted.entry(seen.counted_wall.unwrap().as_nanos() / period).or_default() += 1;
    }
    counted
}

#[tokio::test(flavor = "multi_thread")]
async fn edges_are_kept_on_a_clock_that_is_wrong() {
    let half = Duration::from_millis(500);
    let (ahead, behind) =
        tokio::join!(over_three_edges(Skew::Ahead(half)), over_three_edges(Skew::Behind(half)));
    println!("ahead {ahead:?}, behind {behind:?}");
    for counted in [ahead, behind] {
        // The first period had begun before us, the last had not ended; the two between were used whole.
        let whole: Vec<_> = counted.values().skip(1).take(2).copied().collect();
        assert_eq!(whole, [REQUESTS, REQUESTS], "{counted:?}");
    }
}
