//! How a vendor may count: five kinds of window, as pure functions of `now`.
//!
//! `now` is nanoseconds since 1970-01-01T00:00:00Z on the vendor's own clock
//! and never goes back. A window is half-open: what was counted at `t` is
//! counted until just before `t + width`.
//!
//! This is the judge: it is written from the vendors' documents alone and
//! shares nothing with the code that weir spends its budget by.

use std::collections::VecDeque;

use super::chance::mix;
use super::options::Windows;

/// The count of one limit for one account, address or key.
#[derive(Debug)]
pub(crate) struct Counter {
    requests: u64,
    width: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// The moments of the newest `requests` counts; older ones decide nothing.
    Sliding { log: VecDeque<u64> },
    /// Everything since the last edge.
    Fixed { edges: Edges, window: u64, used: u64 },
    /// The window before is assumed to have been evenly filled.
    Weighted { edges: Edges, window: u64, used: u64, before: u64 },
    /// `level` and `capacity` are in tokens times `width`, so that a refill of
    /// `requests` per nanosecond is exact.
    Bucket { capacity: u128, level: u128, at: u64 },
}

/// Where fixed windows begin: multiples of `width` since 1970, plus `phase`,
/// each late by its own amount of at most `late` (both below `width`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edges {
    pub(crate) width: u64,
    pub(crate) phase: u64,
    pub(crate) late: u64,
    pub(crate) seed: u64,
}

impl Counter {
    /// A counter that has counted nothing yet.
    pub(crate) fn new(requests: u64, windows: Windows, edges: Edges) -> Self {
        let width = edges.width.max(1);
        let edges = Edges { width, phase: edges.phase % width, late: edges.late.min(width - 1), ..edges };
        let kind = match windows {
            Windows::Sliding => Kind::Sliding { log: VecDeque::new() },
            Windows::Fixed => Kind::Fixed { edges, window: 0, used: 0 },
            Windows::Counter => {
                Kind::Weighted { edges: Edges { late: 0, ..edges }, window: 0, used: 0, before: 0 }
            }
            Windows::Bucket(capacity) => {
                let capacity = u128::from(capacity.unwrap_or(requests)) * u128::from(width);
                Kind::Bucket { capacity, level: capacity, at: 0 }
            }
        };
        Self { requests, width, kind }
    }

    /// Whether one more request fits at `now`.
    pub(crate) fn admits(&mut self, now: u64) -> bool {
        self.advance(now);
        let (requests, width) = (self.requests, u128::from(self.width));
        match &self.kind {
            Kind::Sliding { log } => (log.len() as u64) < requests,
            Kind::Fixed { used, .. } => *used < requests,
            Kind::Weighted { edges, used, before, .. } => {
                let estimate = weighted(*edges, (*used, *before), now);
                estimate + width <= u128::from(requests) * width
            }
            Kind::Bucket { level, .. } => *level >= width,
        }
    }

    /// Counts one request at `now`, whether it fits or not.
    pub(crate) fn count(&mut self, now: u64) {
        self.advance(now);
        match &mut self.kind {
            Kind::Sliding { log } => {
                if log.len() as u64 >= self.requests {
                    log.pop_front();
                }
                if self.requests > 0 {
                    log.push_back(now);
                }
            }
            Kind::Fixed { used, .. } | Kind::Weighted { used, .. } => *used = used.saturating_add(1),
            Kind::Bucket { level, .. } => *level = level.saturating_sub(u128::from(self.width)),
        }
    }

    /// What this vendor would call used at `now`, rounded up.
    pub(crate) fn used(&mut self, now: u64) -> u64 {
        self.advance(now);
        let width = u128::from(self.width);
        let scaled = match &self.kind {
            Kind::Sliding { log } => return log.len() as u64,
            Kind::Fixed { used, .. } => return *used,
            Kind::Weighted { edges, used, before, .. } => weighted(*edges, (*used, *before), now),
            Kind::Bucket { capacity, level, .. } => capacity - level,
        };
        u64::try_from(scaled.div_ceil(width)).unwrap_or(u64::MAX)
    }

    /// Forgets what has lapsed at `now`.
    fn advance(&mut self, now: u64) {
        match &mut self.kind {
            Kind::Sliding { log } => {
                while log.front().is_some_and(|at| now.saturating_sub(*at) >= self.width) {
                    log.pop_front();
                }
            }
            Kind::Fixed { edges, window, used } => {
                let current = edges.window(now);
                if current != *window {
                    (*window, *used) = (current, 0);
                }
            }
            Kind::Weighted { edges, window, used, before } => {
                let current = edges.window(now);
                if current != *window {
                    *before = if current == *window + 1 { *used } else { 0 };
                    (*window, *used) = (current, 0);
                }
            }
            Kind::Bucket { capacity, level, at } => {
                let gained = u128::from(now.saturating_sub(*at)) * u128::from(self.requests);
                *level = (*level + gained).min(*capacity);
                *at = now.max(*at);
            }
        }
    }
}

impl Edges {
    /// The number of the window that `now` falls into; it only grows.
    fn window(self, now: u64) -> u64 {
        let shifted = u128::from(now) + u128::from(self.width - self.phase);
        let number = u64::try_from(shifted / u128::from(self.width)).unwrap_or(u64::MAX);
        let into = u64::try_from(shifted % u128::from(self.width)).unwrap_or(u64::MAX);
        if into < self.lateness(number) { number.saturating_sub(1) } else { number }
    }

    /// Nanoseconds since the window that `now` falls into began on time.
    fn into(self, now: u64) -> u64 {
        let shifted = u128::from(now) + u128::from(self.width - self.phase);
        u64::try_from(shifted % u128::from(self.width)).unwrap_or(u64::MAX)
    }

    fn lateness(self, number: u64) -> u64 {
        if self.late == 0 { 0 } else { mix(self.seed, number) % (self.late + 1) }
    }
}

/// The weighted pair's estimate, in requests times `width`.
fn weighted(edges: Edges, (used, before): (u64, u64), now: u64) -> u128 {
    let left = u128::from(edges.width - edges.into(now));
    u128::from(before) * left + u128::from(used) * u128::from(edges.width)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn counter(requests: u64, windows: Windows) -> Counter {
        Counter::new(requests, windows, Edges { width: 10 * SECOND, phase: 0, late: 0, seed: 1 })
    }

    fn take(counter: &mut Counter, now: u64) -> bool {
        let fits = counter.admits(now);
        if fits {
            counter.count(now);
        }
        fits
    }

    fn taken(counter: &mut Counter, now: u64, tries: u32) -> u32 {
        (0..tries).map(|_| u32::from(take(counter, now))).sum()
    }

    #[test]
    fn sliding_frees_each_slot_one_width_after_it_was_taken() {
        let mut counter = counter(2, Windows::Sliding);
        assert!(take(&mut counter, 100 * SECOND));
        assert!(take(&mut counter, 103 * SECOND));
        assert!(!take(&mut counter, 110 * SECOND - 1));
        assert!(take(&mut counter, 110 * SECOND));
        assert!(!take(&mut counter, 113 * SECOND - 1));
        assert_eq!(counter.used(113 * SECOND), 1);
    }

    #[test]
    fn sliding_keeps_the_newest_when_refusals_are_counted() {
        let mut counter = counter(2, Windows::Sliding);
        for second in 0..9 {
            counter.count(second * SECOND);
        }
        assert!(!counter.admits(16 * SECOND));
        assert!(counter.admits(17 * SECOND));
    }

    #[test]
    fn fixed_lets_two_windows_meet_at_the_edge_and_not_before() {
        let mut counter = counter(3, Windows::Fixed);
        assert_eq!(taken(&mut counter, 20 * SECOND - 1, 5), 3);
        assert_eq!(taken(&mut counter, 20 * SECOND, 5), 3);
        assert_eq!(taken(&mut counter, 30 * SECOND - 1, 5), 0);
    }

    #[test]
    fn phase_moves_the_edge() {
        let edges = Edges { width: 10 * SECOND, phase: 4 * SECOND, late: 0, seed: 1 };
        let mut counter = Counter::new(1, Windows::Fixed, edges);
        assert!(take(&mut counter, 23 * SECOND));
        assert!(!take(&mut counter, 24 * SECOND - 1));
        assert!(take(&mut counter, 24 * SECOND));
    }

    #[test]
    fn late_edges_are_late_by_at_most_their_bound_and_never_early() {
        let edges = Edges { width: 10 * SECOND, phase: 0, late: 2 * SECOND, seed: 7 };
        let mut seen = std::collections::BTreeSet::new();
        for number in 1..200 {
            let on_time = (number - 1) * 10 * SECOND;
            assert_eq!(edges.window(on_time + 2 * SECOND), number);
            if number > 1 {
                assert_eq!(edges.window(on_time - 1), number - 1);
            }
            seen.insert(edges.window(on_time + SECOND) == number);
        }
        assert_eq!(seen.len(), 2, "some edges are later than a second, some are not");
    }

    #[test]
    fn counter_weighs_the_window_before() {
        let mut counter = counter(10, Windows::Counter);
        assert_eq!(taken(&mut counter, 19 * SECOND, 20), 10);
        // Half of the next window gone: five of the ten still weigh.
        assert_eq!(taken(&mut counter, 25 * SECOND, 20), 5);
        assert_eq!(counter.used(25 * SECOND), 10);
        // Two windows on, nothing of the first is left, nor of the second.
        assert_eq!(taken(&mut counter, 45 * SECOND, 20), 10);
    }

    #[test]
    fn bucket_drips_one_token_per_share_of_the_width() {
        let mut counter = counter(10, Windows::Bucket(Some(3)));
        assert_eq!(taken(&mut counter, 100 * SECOND, 9), 3);
        assert!(!take(&mut counter, 101 * SECOND - 1));
        assert!(take(&mut counter, 101 * SECOND));
        assert_eq!(taken(&mut counter, 200 * SECOND, 9), 3);
    }

    #[test]
    fn bucket_is_as_deep_as_the_limit_by_default() {
        let mut counter = counter(10, Windows::Bucket(None));
        assert_eq!(taken(&mut counter, 100 * SECOND, 99), 10);
        assert_eq!(counter.used(100 * SECOND), 10);
    }

    #[test]
    fn a_limit_of_zero_admits_nothing() {
        for windows in [Windows::Sliding, Windows::Fixed, Windows::Counter, Windows::Bucket(None)] {
            let mut counter = counter(0, windows);
            counter.count(5 * SECOND);
            assert!(!counter.admits(500 * SECOND), "{windows:?}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(400))]

        /// Against definitions that look at the whole history anew each time.
        #[test]
        fn counters_agree_with_their_definitions(
            requests in 1..8_u64,
            depth in 1..8_u64,
            width in 1..60_u64,
            phase in 0..60_u64,
            gaps in proptest::collection::vec(0..20_u64, 1..120),
        ) {
            let edges = Edges { width, phase: phase % width, late: 0, seed: 0 };
            let bucket = Windows::Bucket(Some(depth));
            for windows in [Windows::Sliding, Windows::Fixed, Windows::Counter, bucket] {
                let mut counter = Counter::new(requests, windows, edges);
                let (mut now, mut taken) = (1_000_u64, Vec::new());
                for gap in &gaps {
                    now += gap;
                    let fits = match windows {
                        Windows::Sliding => in_log(&taken, now, width) < requests,
                        Windows::Fixed => in_window(&taken, now, edges).0 < requests,
                        Windows::Counter => {
                            let (used, before) = in_window(&taken, now, edges);
                            let into = (now + width - edges.phase) % width;
                            before * (width - into) + (used + 1) * width <= requests * width
                        }
                        // A bucket holds back exactly if some stretch that ends now would
                        // hold more than its depth and what drips in meanwhile.
                        Windows::Bucket(_) => taken.iter().enumerate().all(|(index, since)| {
                            let stretch = (taken.len() - index + 1) as u64;
                            stretch * width <= depth * width + (now - since) * requests
                        }),
                    };
                    proptest::prop_assert_eq!(counter.admits(now), fits, "{:?} at {}", windows, now);
                    if fits {
                        counter.count(now);
                        taken.push(now);
                    }
                }
            }
        }
    }

    fn in_log(taken: &[u64], now: u64, width: u64) -> u64 {
        taken.iter().filter(|at| **at + width > now).count() as u64
    }

    fn in_window(taken: &[u64], now: u64, edges: Edges) -> (u64, u64) {
        let number = |at: u64| (at + edges.width - edges.phase) / edges.width;
        let count = |which: u64| taken.iter().filter(|at| number(**at) == which).count() as u64;
        (count(number(now)), count(number(now) - 1))
    }
}
