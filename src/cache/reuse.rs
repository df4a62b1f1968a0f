//! Whether a stored answer may be given to a caller (RFC 9111, sections 4 and
//! 5.2.1; RFC 5861).

use std::time::Duration;

use super::Now;
use super::directives::RequestDirectives;
use super::entry::{Entry, EntryArc};
use super::policy::Policy;

/// What the cache has for a request.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// May be given without asking the vendor. Its `ttl` is negative where the
    /// caller tolerates staleness.
    Fresh(Hit),
    /// Something is stored that must be validated first, and may be given in need.
    Stale(Stale),
    /// Nothing that this request selects is stored.
    Miss(Forward),
    /// The caller wants nothing but a stored answer, and there is none: 504.
    OnlyIfCached,
}

impl Lookup {
    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Fresh(_) => "fresh",
            Self::Stale(_) => "stale",
            Self::Miss(_) => "miss",
            Self::OnlyIfCached => "only-if-cached",
        }
    }
}

/// A stored answer that may be given now.
#[derive(Clone, Debug)]
pub struct Hit {
    /// It.
    pub entry: EntryArc,
    /// Its age, for `Age`.
    pub age: Duration,
    /// Seconds of freshness left, negative when stale, for `Cache-Status`.
    pub ttl: i64,
}

/// A stored answer that may not be given just so.
#[derive(Clone, Debug)]
pub struct Stale {
    /// It.
    pub entry: EntryArc,
    /// Why the vendor is asked: stale, or the caller insists.
    pub why: Forward,
    windows: Windows,
}

/// When a stale answer may be better than none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// A fetch to renew it is on its way (RFC 5861, section 3).
    Revalidating,
    /// The vendor failed: 500, 502, 503, 504 or unreachable (RFC 5861, section 4).
    Error,
    /// The budget said no (the rule's `stale_if_limited`).
    Limited,
}

/// Why a request goes forward, in the words of RFC 9211, section 2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// The cache was not asked.
    Bypass,
    /// The method is not cacheable.
    Method,
    /// Nothing is stored under this key.
    UriMiss,
    /// What is stored was selected by other headers.
    VaryMiss,
    /// The caller insists on a newer answer.
    Request,
    /// What is stored is stale, or has to be validated each time.
    Stale,
}

/// How much staleness is allowed, and on which occasion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Windows {
    revalidating: Option<Duration>,
    error: Option<Duration>,
    limited: Option<Duration>,
}

/// What section 4 says of one stored answer and one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Reuse,
    Validate(Forward),
}

impl Lookup {
    /// What may be done with `entry`, which the request selects.
    pub(super) fn of(entry: EntryArc, policy: &Policy<'_>, asked: &RequestDirectives, now: Now) -> Self {
        match verdict(&entry, asked, now) {
            Verdict::Reuse => Self::Fresh(Hit::at(entry, now)),
            Verdict::Validate(why) => {
                let windows = Windows::of(&entry, policy, asked);
                let stale = Stale { entry, why, windows };
                let insists = asked.only_if_cached;
                if insists && stale.may_serve(Occasion::Revalidating, now).is_none() {
                    return Self::OnlyIfCached;
                }
                Self::Stale(stale)
            }
        }
    }

    /// Nothing stored is selected.
    pub(super) fn none(asked: &RequestDirectives, why: Forward) -> Self {
        // Section 5.2.1.7.
        if asked.only_if_cached { Self::OnlyIfCached } else { Self::Miss(why) }
    }
}

impl Hit {
    /// The entry as it is at `now`, for an answer that was just validated or stored.
    #[must_use]
    pub fn at(entry: EntryArc, now: Now) -> Self {
        let freshness = entry.freshness();
        let (left, over) = (freshness.remaining(now), freshness.staleness(now));
        // Rounded away from zero: what is stale by half a second is not fresh.
        let ttl = if over.is_zero() { whole(left) } else { -whole(over + ALMOST_A_SECOND) };
        Self { age: freshness.age(now), ttl, entry }
    }
}

impl Stale {
    /// The answer as it is, if it may be given on this occasion. To be asked again
    /// when the occasion comes: time passes while a fetch fails.
    #[must_use]
    pub fn may_serve(&self, on: Occasion, now: Now) -> Option<Hit> {
        let window = match on {
            Occasion::Revalidating => self.windows.revalidating,
            Occasion::Error => self.windows.error,
            Occasion::Limited => self.windows.limited,
        };
        let allowed = window.is_some_and(|window| self.entry.freshness().staleness(now) <= window);
        allowed.then(|| Hit::at(self.entry.clone(), now))
    }
}

impl Windows {
    /// A rule's windows hold whatever the vendor says; the vendor's own only where
    /// it does not forbid staleness (section 4.2.4). Neither against a caller who
    /// wants no stale answer (sections 5.2.1.1, 5.2.1.3, 5.2.1.4).
    fn of(entry: &Entry, policy: &Policy<'_>, asked: &RequestDirectives) -> Self {
        if asked.no_cache || asked.min_fresh.is_some() || asked.max_age.is_some() {
            return Self::default();
        }
        let life = entry.freshness();
        let vendor_allows = !life.stale_forbidden && !life.validate_always;
        let theirs = |window: Duration| Some(window).filter(|w| vendor_allows && !w.is_zero());
        let rule = policy.rule;
        let on_error = theirs(life.stale_if_error.get()).max(asked.stale_if_error.and_then(theirs));
        Self {
            revalidating: rule
                .and_then(|rule| rule.stale_while_revalidate)
                .or_else(|| theirs(life.stale_while_revalidate.get())),
            error: rule.and_then(|rule| rule.stale_if_error).or(on_error),
            limited: rule.and_then(|rule| rule.stale_if_limited),
        }
    }
}

impl Forward {
    /// The token of RFC 9211.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
        }
    }
}

fn verdict(entry: &Entry, asked: &RequestDirectives, now: Now) -> Verdict {
    let life = entry.freshness();
    // Section 5.2.1.4.
    if asked.no_cache {
        return Verdict::Validate(Forward::Request);
    }
    // Section 5.2.2.4.
    if life.validate_always {
        return Verdict::Validate(Forward::Stale);
    }
    // Section 5.2.1.1.
    if asked.max_age.is_some_and(|most| life.age(now) > most) {
        return Verdict::Validate(Forward::Request);
    }
    if life.is_fresh(now) {
        // Section 5.2.1.3.
        return match asked.min_fresh {
            Some(least) if life.remaining(now) < least => Verdict::Validate(Forward::Request),
            _ => Verdict::Reuse,
        };
    }
    // Sections 4.2.4 and 5.2.1.2.
    let tolerated = asked.max_stale.is_some_and(|most| life.staleness(now) <= most);
    if tolerated && asked.min_fresh.is_none() && !life.stale_forbidden {
        return Verdict::Reuse;
    }
    Verdict::Validate(Forward::Stale)
}

/// Rounds up what [`whole`] would round down.
const ALMOST_A_SECOND: Duration = Duration::from_nanos(999_999_999);

fn whole(of: Duration) -> i64 {
    i64::try_from(of.as_secs()).unwrap_or(i64::MAX)
}
