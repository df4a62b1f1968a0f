//! How old an answer is and how long it stays fresh (RFC 9111, section 4.2).

use std::time::Duration;

use http::HeaderValue;
use http::header::{AGE, DATE, EXPIRES};

use super::directives::{self, ResponseDirectives};
use super::fields::Seen;
use super::policy::Sharing;
use super::{Exchange, Now};
use crate::clock::{Moment, UnixTime};

/// What an answer said about its own life, fixed when its head came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// When the head came (`response_time`).
    pub(super) received: Now,
    /// The answer's `Date`, or when it came.
    pub(super) date: WallSecond,
    /// `corrected_initial_age`.
    pub(super) initial_age: Span,
    /// `freshness_lifetime`, measured in age.
    pub(super) lifetime: Span,
    /// Who set the lifetime.
    pub(super) source: Source,
    /// `no-cache`: never without validation (section 5.2.2.4).
    pub(super) validate_always: bool,
    /// `must-revalidate` and its kin: never stale (section 4.2.4).
    pub(super) stale_forbidden: bool,
    /// RFC 5861, section 3.
    pub(super) stale_while_revalidate: Seconds,
    /// RFC 5861, section 4.
    pub(super) stale_if_error: Seconds,
}

/// A duration in half the room: in nanoseconds, 584 years at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span(u64);

/// What a directive gives in whole seconds, 136 years at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seconds(u32);

/// A second of the wall clock, until 2106.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WallSecond(u32);

/// Who set a lifetime, in the order in which they outrank each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A rule of the operator's.
    Rule,
    /// What the vendor's documents say of this data.
    Dialect,
    /// The answer's own fields.
    Headers,
}

impl Freshness {
    /// Section 4.2.3: `current_age`.
    #[must_use]
    pub fn age(&self, now: Now) -> Duration {
        self.age_span(now).get()
    }

    /// Section 4.2: `freshness_lifetime > current_age`.
    #[must_use]
    pub fn is_fresh(&self, now: Now) -> bool {
        self.lifetime > self.age_span(now)
    }

    /// How long it will stay fresh; zero if it is stale.
    #[must_use]
    pub fn remaining(&self, now: Now) -> Duration {
        self.lifetime.less(self.age_span(now)).get()
    }

    /// How long it has been stale; zero if it is fresh.
    #[must_use]
    pub fn staleness(&self, now: Now) -> Duration {
        self.age_span(now).less(self.lifetime).get()
    }

    /// When it stops being fresh.
    #[must_use]
    pub fn stale_at(&self) -> Moment {
        self.received.at + self.remaining(self.received)
    }

    /// Who set the lifetime.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }

    fn age_span(&self, now: Now) -> Span {
        let here = now.at.as_nanos().saturating_sub(self.received.at.as_nanos());
        Span(self.initial_age.0.saturating_add(here))
    }
}

impl Span {
    pub(super) fn of(time: Duration) -> Self {
        Self(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(super) fn get(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Seconds {
    pub(super) fn of(time: Duration) -> Self {
        Self(u32::try_from(time.as_secs()).unwrap_or(u32::MAX))
    }

    pub(super) fn get(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

impl WallSecond {
    pub(super) fn of(at: UnixTime) -> Self {
        Self(u32::try_from(at.as_secs()).unwrap_or(u32::MAX))
    }

    pub(super) fn get(self) -> UnixTime {
        UnixTime::from_secs(self.0.into())
    }
}

/// Section 4.2.1; none if the answer names no lifetime. What contradicts itself
/// is stale. Heuristics (section 4.2.2) are off: an API's answers change when
/// its data does, not with its age.
pub(super) fn explicit_lifetime(
    directives: &ResponseDirectives,
    expires: Option<Seen<'_>>,
    sharing: Sharing,
    received: UnixTime,
) -> Option<Duration> {
    let shared = (sharing == Sharing::Shared).then(|| directives.s_maxage.granted()).flatten();
    shared.or_else(|| directives.max_age.granted()).or_else(|| until_expiry(expires?, received))
}

/// `Expires` minus `Date` (section 5.3): invalid, past or contradictory is zero.
fn until_expiry(seen: Seen<'_>, received: UnixTime) -> Option<Duration> {
    let mut lines = seen.lines(&EXPIRES);
    let expires = lines.next()?;
    let same = lines.all(|line| line == expires);
    let at = if same { date(expires) } else { None };
    Some(at.map_or(Duration::ZERO, |at| at.since(date_value(seen, received))))
}

/// Section 4.2.3: `corrected_initial_age`.
pub(super) fn initial_age(seen: Seen<'_>, exchange: &Exchange) -> Duration {
    let received = exchange.received;
    let apparent = received.wall.since(date_value(seen, received.wall));
    let response_delay = received.at.since(exchange.sent);
    apparent.max(age_value(seen).saturating_add(response_delay))
}

/// Section 5.1: the first member counts, and only if it is a number.
fn age_value(seen: Seen<'_>) -> Duration {
    let first = seen.first(&AGE).and_then(|line| line.as_bytes().split(|&b| b == b',').next());
    first.and_then(|age| directives::seconds(age.trim_ascii())).unwrap_or_default()
}

/// The answer's `Date`; without a valid one the time of receipt stands in (RFC
/// 9110, section 6.6.1).
pub(super) fn date_value(seen: Seen<'_>, received: UnixTime) -> UnixTime {
    seen.first(&DATE).and_then(date).unwrap_or(received)
}

/// An HTTP date in any of its three forms (RFC 9110, section 5.6.7).
pub(super) fn date(value: &HeaderValue) -> Option<UnixTime> {
    let at = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
    Some(UnixTime::from_system(at))
}
