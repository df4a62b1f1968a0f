//! Eight callers who want all they can get, newcomers among them (laws 1, 4 and 5). Runs for real.

use std::time::Duration;

use futures_util::future::join_all;
use weir::clock::Clock;
use weir::emulator::{Options, Seen};

use super::shares::jain;
use super::{delays, enforcing, is_long_run, only, start};
use crate::support::load::{alone, asked_by, keep_asking};
use crate::support::{Weir, catchpoint, token_of};

const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
const OUTSTANDING: usize = 16;
/// The limit, and how many whole windows are measured after a first one that is not.
/// `WEIR_LONG=1`: the issue's own 200 per 20 s.
fn scale() -> (u32, Duration, u32) {
    if is_long_run() { (200, Duration::from_secs(20), 5) } else { (100, Duration::from_secs(3), 3) }
}

/// Divisions of one half each; within each, shares of one and two parts in six.
fn config(vendor: &str, limit: &str) -> String {
    let more = only(&format!("max_wait = \"120s\"\nlimits.minute = \"{limit}\""))
        + "[upstreams.catchpoint.divisions.web]\nkey = \"main\"\nshare = \"50%\"\n\
           [upstreams.catchpoint.divisions.ops]\nkey = \"main\"\nshare = \"50%\"\n";
    let consumers = NAMES.iter().enumerate().map(|(who, name)| {
        let (division, share) =
            (["web", "ops"][who % 2], ["share = \"16%\"", "share = \"32%\""][who / 2 % 2]);
        (*name, division, share)
    });
    catchpoint(vendor, &more, &consumers.collect::<Vec<_>>())
}

#[tokio::test(flavor = "multi_thread")]
async fn newcomers_get_their_share_and_nothing_lies_idle() {
    let _alone = alone().await;
    let (clock, (requests, window, measured)) = (Clock::system(), scale());
    let spelt = format!("{requests}/{}s", window.as_secs());
    let vendor = start(Options { latency: delays(5, 60), clock, ..enforcing(&[&spelt]) }).await;
    let weir = Weir::start(&config(&vendor.url(), &spelt));
    let began = clock.now();
    let until = began + window * (measured + 1) + window / 20;
    // A newcomer every tenth of a window: all are there before the first one ends.
    let callers = NAMES.iter().enumerate().map(async |(who, name)| {
        clock.sleep_until(began + window / 10 * u32::try_from(who).unwrap()).await;
        keep_asking(who, &weir.caller(&token_of(name)), OUTSTANDING, (until, clock)).await
    });
    let replies = join_all(callers).await.concat();
    assert!(replies.iter().all(|reply| reply.status == 200), "callers wait instead of seeing 429");

    let seen = vendor.requests();
    let from = seen[0].arrived + window;
    let inside = |seen: &&Seen| seen.arrived >= from && seen.arrived < from + window * measured;
    let counted: Vec<_> = seen.iter().filter(inside).collect();
    let got: Vec<_> =
        (0..NAMES.len()).map(|who| counted.iter().filter(|seen| asked_by(seen, who)).count()).collect();
    let by_share: Vec<_> =
        got.iter().enumerate().map(|(who, got)| *got as f64 / (1 + who / 2 % 2) as f64).collect();
    let latencies = counted.iter().filter_map(|seen| Some(seen.answered?.since(seen.arrived).as_secs_f64()));
    let (sum, count) = latencies.fold((0.0, 0.0), |(sum, count), latency| (sum + latency, count + 1.0));
    let latency = sum / count;
    // The vendor's own part of L only, so the bound is stricter than the law's.
    let reach = window.as_secs_f64() / (window.as_secs_f64() + latency);
    let used = counted.len() as f64 / f64::from(requests * measured);
    println!(
        "{spelt}: got {got:?}, Jain's index by share {:.4}, used {used:.4} of 1, {reach:.4} within reach, L {latency:.3} s, \
         {} refused by the vendor",
        jain(&by_share),
        vendor.refused()
    );
    assert_eq!(vendor.refused(), 0);
    assert!(jain(&by_share) >= 0.99, "{got:?}");
    // Beside other tests on a small machine, weir itself takes part of so short a window.
    assert!(used >= if is_long_run() { reach - 0.01 } else { 0.85 }, "{used} of {reach}");
}
