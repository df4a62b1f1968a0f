//! Even spacing, for vendors that only estimate what we sent (DESIGN, law 1).
//!
//! With the sends of a limit of N per W at least (W + spread) / (N - 1) apart,
//! spread being how much one-way delays differ, at most N arrivals fall into any
//! stretch of W and no estimate of their rate exceeds N.

use std::time::Duration;

use super::eras::Map;
use crate::clock::Moment;
use crate::quota::{Limit, Pace, Window};

/// Latencies are forgotten after between one and two of these many answers.
const SAMPLES: u32 = 256;

/// The spacing of every limit of one upstream.
#[derive(Clone, Debug)]
pub(super) struct Pacing {
    spacings: Vec<Spacing>,
    now: Spread,
    before: Spread,
}

#[derive(Clone, Debug)]
struct Spacing {
    window: Duration,
    gaps: u32,
    is_even: bool,
    last: Option<Moment>,
    before_last: Option<Moment>,
}

#[derive(Clone, Copy, Debug)]
struct Spread {
    least: Duration,
    most: Duration,
    samples: u32,
}

const NO_SAMPLES: Spread = Spread { least: Duration::MAX, most: Duration::ZERO, samples: 0 };

impl Pacing {
    /// Only sliding windows can be spaced: a calendar window's edge is not estimated.
    pub(super) fn new(limits: &[Limit], pace: Pace) -> Self {
        let spacings = limits.iter().map(|limit| Spacing {
            window: limit.window.length(),
            gaps: limit.requests.get().saturating_sub(1).max(1),
            is_even: pace == Pace::Even && matches!(limit.window, Window::Sliding(_)),
            last: None,
            before_last: None,
        });
        Self { spacings: spacings.collect(), now: NO_SAMPLES, before: NO_SAMPLES }
    }

    /// The same for another plan. What is spaced stays so where the pace is learnt;
    /// a limit that is new keeps its distance from the last request of all.
    pub(super) fn replanned(&self, limits: &[Limit], pace: Pace, map: &Map) -> Self {
        let mut pacing = Self { now: self.now, before: self.before, ..Self::new(limits, pace) };
        let newest = self.spacings.iter().filter_map(|spacing| spacing.last).max();
        for (limit, spacing) in pacing.spacings.iter_mut().enumerate() {
            match map.limit_before(limit).map(|old| &self.spacings[old]) {
                Some(old) => {
                    (spacing.last, spacing.before_last) = (old.last, old.before_last);
                    let may_be = pace == Pace::Auto && matches!(limits[limit].window, Window::Sliding(_));
                    spacing.is_even |= old.is_even && may_be;
                }
                None => spacing.last = newest,
            }
        }
        pacing
    }

    /// From now on `limit` is spaced.
    pub(super) fn even_out(&mut self, limit: usize) {
        self.spacings[limit].is_even = true;
    }

    pub(super) fn is_even(&self, limit: usize) -> bool {
        self.spacings[limit].is_even
    }

    /// A request on `limit` leaves at `now`.
    pub(super) fn book(&mut self, limit: usize, now: Moment) {
        let spacing = &mut self.spacings[limit];
        spacing.before_last = spacing.last.replace(now);
    }

    /// A request that was not booked here was counted by `until`: it cannot have left later.
    pub(super) fn restore(&mut self, limit: usize, until: Moment) {
        let spacing = &mut self.spacings[limit];
        spacing.last = spacing.last.max(Some(until));
    }

    /// The request that was to leave at `booked` never did.
    pub(super) fn refund(&mut self, limit: usize, booked: Moment) {
        let spacing = &mut self.spacings[limit];
        if spacing.last == Some(booked) {
            spacing.last = spacing.before_last.take();
        }
    }

    /// The request that was to leave at `booked` leaves only now: from when on it keeps
    /// its distance to those that left meanwhile, if it has to. It counts as leaving then.
    pub(super) fn put_off(&mut self, limit: usize, booked: Moment, now: Moment) -> Option<Moment> {
        let spacing = self.spacings.get(limit).filter(|spacing| spacing.is_even)?;
        let last = spacing.last.filter(|&last| last != booked);
        let at = last.map_or(now, |last| now.max(last + self.gap(spacing)));
        let spacing = &mut self.spacings[limit];
        spacing.before_last = last.or(spacing.before_last);
        spacing.last = Some(at);
        Some(at)
    }

    /// The earliest moment for the next request on `limit`, if it has to keep a distance.
    pub(super) fn next(&self, limit: usize) -> Option<Moment> {
        let spacing = self.spacings.get(limit).filter(|spacing| spacing.is_even)?;
        Some(spacing.last? + self.gap(spacing))
    }

    /// What one request more in front puts it off by.
    pub(super) fn gap_of(&self, limit: usize) -> Duration {
        self.gap(&self.spacings[limit])
    }

    /// An answer took this long from the send to its head.
    pub(super) fn sample(&mut self, latency: Duration) {
        if self.now.samples == SAMPLES {
            self.before = std::mem::replace(&mut self.now, NO_SAMPLES);
        }
        self.now.least = self.now.least.min(latency);
        self.now.most = self.now.most.max(latency);
        self.now.samples += 1;
    }

    /// How much the latencies of late differ.
    pub(super) fn spread(&self) -> Duration {
        let most = self.now.most.max(self.before.most);
        most.saturating_sub(self.now.least.min(self.before.least))
    }

    fn gap(&self, spacing: &Spacing) -> Duration {
        let spread = self.spread();
        // Rounded up: one nanosecond less would let N + 1 into a window.
        (spacing.window + spread) / spacing.gaps + Duration::from_nanos(1)
    }
}
