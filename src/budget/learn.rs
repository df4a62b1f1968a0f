//! What a vendor's 429 teaches: the law says there is none, so something that
//! weir cannot see is at work. Someone else uses the account, the configured
//! limit is too high, or the vendor only estimates.
//!
//! The shortest window that could explain it closes, for as long as the vendor
//! says or for its own length. If the vendor refuses again soon after, the next
//! longer one closes; unless weir itself had used half of the window or more,
//! and its pace is `auto`: then the vendor is taken for one that estimates, and
//! from then on requests on that limit are evenly spaced.

use std::time::Duration;

use super::Budget;
use super::eras::Map;
use crate::clock::Moment;
use crate::id::LimitName;
use crate::quota::LimitSet;

/// What was done about a 429.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The limit whose window is closed.
    pub limit: LimitName,
    /// For how long.
    pub lasts: Duration,
    /// Whether its requests are evenly spaced from now on.
    pub spaced_out: bool,
}

/// The 429s of one upstream so far, by the limit that was blamed.
#[derive(Clone, Debug)]
pub(super) struct Lessons {
    last: Vec<Option<Lesson>>,
}

#[derive(Clone, Copy, Debug)]
struct Lesson {
    closed_at: Moment,
    open_at: Moment,
}

/// One limit as it stands when a 429 comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspect {
    /// Its index in the plan.
    pub(super) limit: usize,
    pub(super) length: Duration,
    /// Whether weir itself has used half of it or more.
    pub(super) is_well_used: bool,
    /// Whether it may be spaced out, and is not yet.
    pub(super) may_be_spaced: bool,
}

/// What to do about a 429.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// Close this limit's window for so long.
    Close { limit: usize, lasts: Duration, space_out: bool },
    /// The request left before the last closing: nothing new.
    KnownAlready { limit: usize },
}

impl Budget {
    /// The vendor reports `used` requests on the limit at `limit` (an index into the
    /// plan's): counts as used from now on, if it is more than is counted here.
    pub fn raise(&self, limit: usize, used: u32) {
        self.change(|desk, now| {
            if let Some(limit) = desk.eras().limit(self.era, limit).filter(|l| *l < desk.plan().limits.len())
            {
                desk.raise(limit, used, now);
            }
        });
    }

    /// The vendor has refused (429) a request that was sent at `sent` and counts
    /// against `limits`: closes the window to blame. `None` if no limit counts it.
    pub fn refused_by_vendor(
        &self,
        limits: LimitSet,
        sent: Moment,
        retry_after: Option<Duration>,
    ) -> Option<Closed> {
        let closed = self.change(|desk, now| {
            let limits = desk.eras().limits(self.era, limits);
            desk.refused_by_vendor(limits, sent, retry_after, now)
        })?;
        if let Some(link) = self.link.as_ref().filter(|_| closed.spaced_out) {
            link.remember_spacing(&closed.limit);
        }
        Some(closed)
    }
}

impl Lessons {
    pub(super) fn new(limits: usize) -> Self {
        Self { last: vec![None; limits] }
    }

    /// The same for another plan of `limits` limits.
    pub(super) fn replanned(&self, map: &Map, limits: usize) -> Self {
        let before = |limit| map.limit_before(limit).and_then(|old| self.last[old]);
        Self { last: (0..limits).map(before).collect() }
    }

    /// Whom to blame for the 429 to a request that was sent at `sent`; `suspects`
    /// are the limits that count it, the shortest first.
    pub(super) fn blame(
        &mut self,
        suspects: &[Suspect],
        sent: Moment,
        retry_after: Option<Duration>,
        now: Moment,
    ) -> Option<Blame> {
        let mut chosen = None;
        for suspect in suspects {
            chosen = Some((suspect, false));
            let Some(lesson) = self.last[suspect.limit] else { break };
            if sent <= lesson.closed_at {
                return Some(Blame::KnownAlready { limit: suspect.limit });
            }
            if now > lesson.open_at + suspect.length {
                break;
            }
            // Refused again although it was closed just now.
            if suspect.is_well_used && suspect.may_be_spaced {
                chosen = Some((suspect, true));
                break;
            }
        }
        let (suspect, space_out) = chosen?;
        let lasts = retry_after.unwrap_or(suspect.length);
        self.last[suspect.limit] = Some(Lesson { closed_at: now, open_at: now + lasts });
        Some(Blame::Close { limit: suspect.limit, lasts, space_out })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(secs: u64) -> Moment {
        Moment::from_nanos(secs * 1_000_000_000)
    }

    fn suspects(is_well_used: bool) -> [Suspect; 2] {
        [(0, MINUTE), (1, HOUR)].map(|(limit, length)| Suspect {
            limit,
            length,
            is_well_used,
            may_be_spaced: true,
        })
    }

    fn close(limit: usize, lasts: Duration, space_out: bool) -> Option<Blame> {
        Some(Blame::Close { limit, lasts, space_out })
    }

    #[test]
    fn the_shortest_first_then_the_next_longer() {
        let mut lessons = Lessons::new(2);
        let quiet = suspects(false);
        assert_eq!(lessons.blame(&quiet, at(10), None, at(11)), close(0, MINUTE, false));
        // In flight when it closed.
        assert_eq!(lessons.blame(&quiet, at(10), None, at(12)), Some(Blame::KnownAlready { limit: 0 }));
        assert_eq!(lessons.blame(&quiet, at(72), None, at(73)), close(1, HOUR, false));
        // Long after, it begins anew.
        assert_eq!(lessons.blame(&quiet, at(9_000), None, at(9_001)), close(0, MINUTE, false));
    }

    #[test]
    fn the_vendor_may_say_for_how_long() {
        let ten = Duration::from_secs(10);
        assert_eq!(Lessons::new(2).blame(&suspects(false), at(1), Some(ten), at(2)), close(0, ten, false));
        assert_eq!(Lessons::new(2).blame(&[], at(1), None, at(2)), None);
    }

    #[test]
    fn a_vendor_that_estimates_is_given_even_spacing() {
        let mut lessons = Lessons::new(2);
        let busy = suspects(true);
        assert_eq!(lessons.blame(&busy, at(10), None, at(11)), close(0, MINUTE, false));
        assert_eq!(lessons.blame(&busy, at(80), None, at(81)), close(0, MINUTE, true));
    }
}
