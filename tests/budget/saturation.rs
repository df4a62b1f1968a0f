//! Everybody asks as much as it can: nothing is refused by the vendor, and next to
//! nothing of the allowance lies idle (laws 1 and 5). Runs for real.

use std::time::Duration;

use weir::clock::Clock;
use weir::emulator::{Emulator, Options, Seen, Windows};

use super::{delays, enforcing, is_long_run, only, start};
use crate::support::load::{alone, pause, saturate, together};
use crate::support::{Weir, catchpoint, token_of};

const CALLERS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
/// Whole long windows that are measured, after a first one that is not.
const MEASURED: u32 = 4;

/// The two limits of a run: requests and seconds.
struct Scale {
    short: (u32, u64),
    long: (u32, u64),
}

/// What came of a run in the measured windows.
struct Outcome {
    vendor: Windows,
    refused_by_vendor: u64,
    served: usize,
    /// The law's least number of them.
    due: f64,
    /// Mean time from arrival at the vendor to the head of its answer. Shorter than
    /// the time from charge to settlement, so the bound is stricter than the law.
    latency: Duration,
    /// How long a slot lay idle, on average, between its lapse and its next use.
    idle: Duration,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { vendor, refused_by_vendor, served, due, latency, idle } = self;
        write!(f, "{vendor}: {served} served, {due:.1} due, L {latency:?}, idle {idle:?}, ")?;
        write!(f, "{refused_by_vendor} refused by the vendor")
    }
}

fn scale() -> Scale {
    if is_long_run() {
        Scale { short: (20, 2), long: (100, 20) }
    } else {
        Scale { short: (20, 1), long: (60, 6) }
    }
}

async fn saturated(windows: Windows, seed: u64) -> Outcome {
    let clock = Clock::system();
    let Scale { short, long } = scale();
    let spelt = [short, long].map(|(requests, seconds)| format!("{requests}/{seconds}s"));
    let vendor = start(Options {
        windows,
        phase: Duration::from_millis(seed * 7_919 % (long.1 * 1_000)),
        latency: delays(5, 120),
        seed,
        clock,
        ..enforcing(&[&spelt[0], &spelt[1]])
    })
    .await;
    let more = only(&format!(
        "max_wait = \"60s\"\nlimits.minute = \"{}\"\nlimits.hour = \"{}\"",
        spelt[0], spelt[1]
    ));
    let consumers = CALLERS.map(|name| (name, "all", ""));
    let weir = Weir::start(&catchpoint(&vendor.url(), &more, &consumers));
    let callers = CALLERS.map(|name| weir.caller(&token_of(name)));

    let window = Duration::from_secs(long.1);
    let until = clock.now() + window * (MEASURED + 1) + Duration::from_millis(500);
    let replies = saturate(&callers, 2, until, clock).await.concat();
    let wrong: Vec<_> = replies.iter().filter(|reply| reply.status != 200).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    measured(&vendor, windows, (long.0, window))
}

fn measured(vendor: &Emulator, windows: Windows, (requests, window): (u32, Duration)) -> Outcome {
    let seen = vendor.requests();
    let from = seen[0].arrived + window;
    let inside = |seen: &&Seen| seen.counted.is_some_and(|at| at >= from && at < from + window * MEASURED);
    let latencies: Vec<_> = seen.iter().filter_map(|seen| Some(seen.answered?.since(seen.arrived))).collect();
    let latency = latencies.iter().sum::<Duration>() / u32::try_from(latencies.len()).unwrap();
    // Each slot of the long limit is used again a window and L later, if it never lies idle.
    let rounds =
        seen.iter().zip(&seen[requests as usize..]).map(|(one, next)| next.arrived.since(one.arrived));
    let rounds: Vec<_> = rounds.collect();
    let round = rounds.iter().sum::<Duration>() / u32::try_from(rounds.len()).unwrap();
    let reach = window.as_secs_f64() / (window + latency).as_secs_f64();
    Outcome {
        vendor: windows,
        refused_by_vendor: vendor.refused(),
        served: seen.iter().filter(inside).count(),
        due: f64::from(MEASURED * requests) * reach * 0.98,
        latency,
        idle: round.saturating_sub(window + latency),
    }
}

/// `WEIR_LONG=1` runs it with the issue's own figures: 20 per 2 s and 100 per 20 s.
#[tokio::test(flavor = "multi_thread")]
async fn no_vendor_is_overrun_and_no_allowance_lies_idle() {
    let _alone = alone().await;
    let seed = Clock::system().wall().as_nanos() / 1_000 % 1_000_003;
    let outcomes = tokio::join!(
        saturated(Windows::Sliding, seed),
        saturated(Windows::Fixed, seed + 1),
        saturated(Windows::Bucket(None), seed + 2),
    );
    let outcomes = [outcomes.0, outcomes.1, outcomes.2];
    for outcome in &outcomes {
        println!("seed {seed}: {outcome}");
    }
    for outcome in &outcomes {
        let is_used = outcome.served as f64 >= outcome.due;
        assert!(outcome.refused_by_vendor == 0 && is_used, "seed {seed}: {outcome}");
    }
}

/// Terraform's plan: fourteen resources at once, against 7 a second from one address.
#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_fourteen_is_spread_over_seconds() {
    let _alone = alone().await;
    let clock = Clock::system();
    let vendor = start(Options { latency: delays(5, 120), clock, ..enforcing(&["7/1s:address"]) }).await;
    // Its scope is the address, as Catchpoint documents.
    let more = only("limits.second = { requests = 7 }");
    let weir = Weir::start(&catchpoint(&vendor.url(), &more, &[("terraform", "all", "")]));
    let terraform = weir.caller(&token_of("terraform"));
    for plan in 0..2 {
        let paths = (0..14).map(|n| format!("/api/v2/tests/{}", 100_001 + plan * 14 + n));
        for reply in together(&terraform, paths).await {
            assert_eq!((reply.status.as_u16(), reply.price()), (200, 1), "{reply:?}");
        }
        pause(Duration::from_millis(300)).await;
    }
    assert_eq!((vendor.counted(), vendor.refused()), (28, 0));
    // Four rounds of seven, each a second and at most twice 120 ms after the one before.
    let seen = vendor.requests();
    let took = seen[27].counted.unwrap().since(seen[0].counted.unwrap());
    assert!(took >= Duration::from_secs(3) && took < Duration::from_millis(4_800), "{took:?}");
}
