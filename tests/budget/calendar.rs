//! Windows of the calendar have an edge, and the vendor's clock decides where it
//! is. Runs for real.

use std::collections::BTreeMap;
use std::time::Duration;

use weir::clock::{Clock, Moment};
use weir::emulator::{Emulator, Latency, Options, Skew};

use super::{delays, enforcing, is_long_run, only, start};
use crate::support::load::{fresh_url, saturate};
use crate::support::{Caller, Weir, catchpoint, token_of};

const REQUESTS: usize = 12;
const EDGES: u32 = 3;
const SKEW: Duration = Duration::from_millis(500);

/// A vendor whose clock is wrong, and four callers of the weir before it.
struct Side {
    clock: Clock,
    period: Duration,
    vendor: Emulator,
    callers: [Caller; 4],
    _weir: Weir,
}

impl Side {
    async fn start(skew: Skew, latency: Latency) -> Self {
        let clock = Clock::system();
        let seconds = if is_long_run() { 10 } else { 4 };
        let limit = format!("{REQUESTS}/{seconds}s:calendar");
        let vendor = start(Options { skew, latency, clock, ..enforcing(&[&limit]) }).await;
        let line =
            format!("limits.day = {{ requests = {REQUESTS}, per = \"{seconds}s\", window = \"calendar\" }}");
        let names = ["a", "b", "c", "d"];
        let weir =
            Weir::start(&catchpoint(&vendor.url(), &only(&line), &names.map(|name| (name, "all", ""))));
        let callers = names.map(|name| weir.caller(&token_of(name)));
        Self { clock, period: Duration::from_secs(seconds), vendor, callers, _weir: weir }
    }

    /// When the vendor's clock reaches its next edge.
    fn next_edge(&self) -> Moment {
        let period = u64::try_from(self.period.as_nanos()).unwrap();
        let left = period - self.vendor.wall().as_nanos() % period;
        self.clock.now() + Duration::from_nanos(left)
    }

    async fn saturate(&self, until: Moment) {
        let replies = saturate(&self.callers, 2, until, self.clock).await.concat();
        assert!(replies.iter().all(|reply| reply.status == 200), "{replies:?}");
        assert_eq!(self.vendor.refused(), 0, "{:?}", self.vendor.tallies());
    }

    /// What each of the vendor's periods has counted.
    fn counted(&self) -> BTreeMap<u128, usize> {
        let mut counted = BTreeMap::new();
        for at in self.vendor.requests().iter().filter_map(|seen| seen.counted_wall) {
            *counted.entry(u128::from(at.as_nanos()) / self.period.as_nanos()).or_default() += 1;
        }
        counted
    }
}

/// Everybody asks all the time: each whole period is used whole, and no more.
async fn saturated(skew: Skew) {
    let side = Side::start(skew, delays(5, 60)).await;
    // What is sent as near to an edge as the clocks may differ counts on both sides of
    // it; begun there, a whole period would be spent before it began.
    let begin = side.next_edge() + Duration::from_millis(1_300);
    side.clock.sleep_until(begin).await;
    side.saturate(begin + side.period * EDGES + Duration::from_secs(1)).await;
    let counted = side.counted();
    // The first period had begun before us, the last has not ended.
    let whole: Vec<_> = counted.values().skip(1).take(2).copied().collect();
    assert_eq!((counted.len(), whole), (4, vec![REQUESTS; 2]), "{counted:?}");
}

/// 1. An answer late in a second of the vendor's clock: its `Date` is cut, and so
///    misleads by nearly a second.
/// 2. Everybody is quiet until just after the vendor's edge, which would then seem
///    to be still to come: who trusts the `Date` spends two allowances in one period.
async fn after_an_edge(skew: Skew) {
    // All alike, so that what is learnt from the first answer is not soon replaced.
    let side = Side::start(skew, delays(20, 20)).await;
    let edge = side.next_edge();
    side.clock.sleep_until(edge + Duration::from_millis(1_900)).await;
    assert_eq!(side.callers[0].get(&fresh_url(0)).await.status, 200);
    let begin = edge + side.period + Duration::from_millis(50);
    side.clock.sleep_until(begin).await;
    side.saturate(begin + Duration::from_millis(1_900)).await;
    assert!(side.vendor.counted() >= REQUESTS as u64, "{:?}", side.counted());
}

/// `WEIR_LONG=1` runs it with periods of ten seconds.
#[tokio::test(flavor = "multi_thread")]
async fn edges_are_kept_on_a_clock_that_is_wrong() {
    tokio::join!(
        saturated(Skew::Ahead(SKEW)),
        saturated(Skew::Behind(SKEW)),
        after_an_edge(Skew::Ahead(SKEW)),
        after_an_edge(Skew::Behind(SKEW)),
    );
}
