//! What may be spent: limits, windows, shares, reserves and caps as values.
//!
//! The types that `config`, `dialect` and `budget` exchange. Nothing here
//! counts; it only says what the vendor (or the operator) allows.

use std::num::NonZeroU32;
use std::time::Duration;

use jiff::civil;
use jiff::tz::TimeZone;

use crate::clock::UnixTime;
use crate::id::{ConsumerName, DivisionName, LimitName};
use crate::pattern::Pattern;

/// The most limits one upstream may have, so that a set of them is one word.
pub const MAX_LIMITS: usize = 64;

/// At most `requests` in any `window`, over the whole account or per egress address.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// Its name in config, `Proxy-Status` and metrics.
    pub name: LimitName,
    /// How many requests one window may hold.
    pub requests: NonZeroU32,
    /// Which stretch of time they are counted in.
    pub window: Window,
    /// Who they are counted over.
    pub scope: Scope,
    /// Which requests count.
    pub routes: Routes,
    /// Added to a charge's life, for clocks that run at different rates.
    pub slack: Duration,
}

/// The stretch of time in which a limit counts.
#[derive(Clone, Debug, PartialEq)]
pub enum Window {
    /// Any stretch of this length: safe against sliding logs and fixed windows of every phase.
    Sliding(Duration),
    /// From one edge of the calendar to the next, on the vendor's clock.
    Calendar(Calendar),
}

/// Where a calendar window's edges lie.
#[derive(Clone, Debug, PartialEq)]
pub enum Calendar {
    /// At multiples of this since 1970-01-01T00:00:00Z.
    Every(Duration),
    /// Each day at `at` in `zone`.
    Daily {
        /// Time of day of the edge.
        at: civil::Time,
        /// Whose midnight, daylight saving included.
        zone: TimeZone,
    },
    /// On the first of each month at `at` in `zone`.
    Monthly {
        /// Time of day of the edge.
        at: civil::Time,
        /// Whose first of the month.
        zone: TimeZone,
    },
}

/// Whom a limit counts over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The whole account, wherever a request comes from.
    Account,
    /// Each egress address by itself.
    Address,
}

/// Which requests a limit counts.
#[derive(Clone, Debug, PartialEq)]
pub enum Routes {
    /// Every one.
    All,
    /// Those of a class that the dialect knows.
    Class(RouteClass),
    /// Those that one of the patterns matches.
    Patterns(Vec<Pattern>),
}

/// A class of routes as the dialect names it (`analytic`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteClass(pub &'static str);

/// The limits of an upstream that one request counts against, by their index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LimitSet(u64);

/// A weight under contention, in parts per million of what its parent gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub u32);

/// Some requests of one limit: a cap's or a reserve's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    /// Index into [`Plan::limits`].
    pub limit: usize,
    /// Requests per window of that limit.
    pub requests: NonZeroU32,
}

/// All that the budget of one upstream has to know; checked, with no loose ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The account's limits, at most [`MAX_LIMITS`]; `portion` is already taken off.
    pub limits: Vec<Limit>,
    /// Divisions; an upstream configured without any has one that holds everybody.
    pub divisions: Vec<DivisionPlan>,
    /// Everyone with access, in a fixed order: a consumer is its index here.
    pub consumers: Vec<ConsumerPlan>,
    /// How charges are spread over a window.
    pub pace: Pace,
    /// The vendor has counted at the latest this long after our last byte, if the operator says so.
    pub counted_within: Option<Duration>,
    /// How long after giving up a request may still reach the vendor.
    pub linger: Duration,
    /// The most that may wait.
    pub queue: QueueBounds,
}

/// A division's part of the account.
#[derive(Clone, Debug, PartialEq)]
pub struct DivisionPlan {
    /// Its name.
    pub name: DivisionName,
    /// Its weight among the divisions.
    pub share: Share,
    /// Held for it while it is quiet.
    pub reserve: Vec<Quantity>,
    /// The most it may take.
    pub caps: Vec<Quantity>,
}

/// A consumer's part of its division.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerPlan {
    /// Its name.
    pub name: ConsumerName,
    /// Index into [`Plan::divisions`].
    pub division: usize,
    /// Its weight among the consumers of its division.
    pub share: Share,
    /// Held for it while it is quiet.
    pub reserve: Vec<Quantity>,
    /// The most it may take.
    pub caps: Vec<Quantity>,
}

/// How charges are spread over a window (DESIGN, law 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// As they come, up to N in any window.
    Exact,
    /// Evenly spaced, for vendors that only estimate.
    Even,
    /// Exact until a 429 that nothing else explains, evenly spaced from then on.
    #[default]
    Auto,
}

/// The most callers that may wait for the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueBounds {
    /// Per consumer.
    pub per_consumer: usize,
    /// In all.
    pub total: usize,
}

impl Default for QueueBounds {
    fn default() -> Self {
        Self { per_consumer: 1_024, total: 131_072 }
    }
}

impl LimitSet {
    /// None of them.
    pub const EMPTY: Self = Self(0);

    /// The same with the limit at `index` (below [`MAX_LIMITS`]) in it.
    #[must_use]
    pub fn with(self, index: usize) -> Self {
        debug_assert!(index < MAX_LIMITS);
        Self(self.0 | 1 << index)
    }

    /// Whether the limit at `index` is in it.
    #[must_use]
    pub fn contains(self, index: usize) -> bool {
        index < MAX_LIMITS && self.0 >> index & 1 == 1
    }

    /// Whether none is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The indices in it, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let index = left.trailing_zeros() as usize;
            left &= left.checked_sub(1)?;
            Some(index)
        })
    }
}

impl FromIterator<usize> for LimitSet {
    fn from_iter<I: IntoIterator<Item = usize>>(indices: I) -> Self {
        indices.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl Plan {
    /// The limits that count a request of this method, path and class.
    #[must_use]
    pub fn limits_for(&self, method: &http::Method, path: &str, class: RouteClass) -> LimitSet {
        let counts = |limit: &Limit| match &limit.routes {
            Routes::All => true,
            Routes::Class(of) => *of == class,
            Routes::Patterns(patterns) => patterns.iter().any(|p| p.matches(method, path)),
        };
        self.limits.iter().enumerate().filter(|(_, l)| counts(l)).map(|(index, _)| index).collect()
    }
}

impl Window {
    /// How long one window lasts, for rates and defaults; a month counts as 30 days.
    #[must_use]
    pub fn length(&self) -> Duration {
        const DAY: Duration = Duration::from_secs(86_400);
        match self {
            Self::Sliding(length) | Self::Calendar(Calendar::Every(length)) => *length,
            Self::Calendar(Calendar::Daily { .. }) => DAY,
            Self::Calendar(Calendar::Monthly { .. }) => DAY * 30,
        }
    }

    /// The slack of a limit that names none: the larger of 2 ms and 0.05 % of the window.
    #[must_use]
    pub fn default_slack(&self) -> Duration {
        (self.length() / 2_000).max(Duration::from_millis(2))
    }
}

impl Calendar {
    /// The first edge after `at`.
    #[must_use]
    pub fn next_edge(&self, at: UnixTime) -> UnixTime {
        match self {
            Self::Every(period) => {
                let period = nanos(*period);
                UnixTime::from_nanos((at.as_nanos() / period).saturating_add(1).saturating_mul(period))
            }
            Self::Daily { at: time, zone } => first_after(at, zone, *time, |date| date.tomorrow().ok()),
            Self::Monthly { at: time, zone } => first_after(at, zone, *time, |date| {
                date.first_of_month().checked_add(jiff::Span::new().months(1)).ok()
            }),
        }
    }
}

/// The first edge after `at` when edges lie at `time` on the dates that `step` walks.
fn first_after(
    at: UnixTime,
    zone: &TimeZone,
    time: civil::Time,
    step: impl Fn(civil::Date) -> Option<civil::Date>,
) -> UnixTime {
    let stamp = jiff::Timestamp::from_nanosecond(i128::from(at.as_nanos())).unwrap_or(jiff::Timestamp::MAX);
    let today = stamp.to_zoned(zone.clone()).date();
    // One step back, so that an edge later today (or this month) is found as well.
    let mut date = today.checked_sub(jiff::Span::new().months(1)).unwrap_or(today).first_of_month();
    loop {
        let edge = date
            .to_datetime(time)
            .to_zoned(zone.clone())
            .ok()
            .and_then(|edge| u64::try_from(edge.timestamp().as_nanosecond()).ok());
        match edge {
            Some(edge) if edge > at.as_nanos() => return UnixTime::from_nanos(edge),
            _ => {}
        }
        match step(date) {
            Some(next) => date = next,
            None => return UnixTime::from_nanos(u64::MAX),
        }
    }
}

fn nanos(of: Duration) -> u64 {
    u64::try_from(of.as_nanos()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UnixTime {
        let stamp: jiff::Timestamp = text.parse().unwrap();
        UnixTime::from_nanos(stamp.as_nanosecond().try_into().unwrap())
    }

    #[test]
    fn utc_days_end_at_midnight() {
        let day = Calendar::Every(Duration::from_secs(86_400));
        assert_eq!(day.next_edge(at("2026-03-08T23:59:59Z")), at("2026-03-09T00:00:00Z"));
        assert_eq!(day.next_edge(at("2026-03-09T00:00:00Z")), at("2026-03-10T00:00:00Z"));
    }

    #[test]
    fn days_elsewhere_follow_daylight_saving() {
        let zone = TimeZone::get("America/Los_Angeles").unwrap();
        let day = Calendar::Daily { at: civil::Time::midnight(), zone: zone.clone() };
        assert_eq!(day.next_edge(at("2026-03-08T07:59:59Z")), at("2026-03-08T08:00:00Z"));
        assert_eq!(day.next_edge(at("2026-03-08T08:00:00Z")), at("2026-03-09T07:00:00Z"));
        let month = Calendar::Monthly { at: civil::Time::midnight(), zone };
        assert_eq!(month.next_edge(at("2026-03-08T08:00:00Z")), at("2026-04-01T07:00:00Z"));
        assert_eq!(month.next_edge(at("2026-04-01T06:59:59Z")), at("2026-04-01T07:00:00Z"));
    }

    #[test]
    fn sets_hold_what_was_put_in() {
        let set: LimitSet = [0, 3, 63].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 3, 63]);
        assert!(!set.contains(64) && LimitSet::EMPTY.is_empty());
    }
}
