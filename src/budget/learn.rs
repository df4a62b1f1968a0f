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
    /// Whether the vendor has broken what `counted_within` promised, which no longer holds.
    pub withdrawn: bool,
}

/// What others are thought to have used, as far as it still counts; outlives a restart.
#[derive(Clone, Debug)]
pub(super) struct Others {
    /// By limit: so many requests, counted by then; the earliest first.
    used: Vec<Vec<(Moment, u32)>>,
}

/// More than this are remembered as fewer, later ones.
const MAX_REMEMBERED: usize = 32;

impl Others {
    pub(super) fn new(limits: usize) -> Self {
        Self { used: vec![Vec::new(); limits] }
    }

    /// They have used `requests` of `limit` more, by `until`; what `is_over` is forgotten.
    pub(super) fn add(
        &mut self,
        limit: usize,
        (until, requests): (Moment, u32),
        is_over: impl Fn(Moment) -> bool,
    ) {
        let used = &mut self.used[limit];
        used.retain(|(until, _)| !is_over(*until));
        let at = used.partition_point(|(other, _)| *other <= until);
        used.insert(at, (until, requests));
        if used.len() > MAX_REMEMBERED {
            // As if the earliest two had come together, with the later one.
            let (_, first) = used.remove(0);
            used[0].1 += first;
        }
    }

    /// The same for another plan of `limits` limits.
    pub(super) fn replanned(&self, map: &Map, limits: usize) -> Self {
        let before = |limit| map.limit_before(limit).map(|old| self.used[old].clone()).unwrap_or_default();
        Self { used: (0..limits).map(before).collect() }
    }

    pub(super) fn of(&self, limit: usize) -> &[(Moment, u32)] {
        &self.used[limit]
    }
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

/// A window that is closed after a 429.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closing {
    pub(super) at: Moment,
    pub(super) until: Moment,
    /// By then others are taken to have used what was left.
    pub(super) used_by: Moment,
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
        if self.core.fleet.is_some() {
            // What the others have just charged may not be known here: the ledger compares.
            if self.change(|desk, _| desk.lacks(limit, used)) {
                self.tell(|replica, _| replica.report(limit, used));
            }
            return;
        }
        let is_news = self.change(|desk, now| {
            let limit = desk.eras().limit(self.era, limit).filter(|limit| *limit < desk.plan().limits.len());
            limit.is_some_and(|limit| desk.raise(limit, used, now))
        });
        if is_news {
            self.remember_others(limit);
        }
    }

    /// The vendor has refused (429) a request that was sent at `sent` and counts
    /// against `limits`: closes the window to blame. `None` if no limit counts it.
    pub fn refused_by_vendor(
        &self,
        limits: LimitSet,
        sent: Moment,
        retry_after: Option<Duration>,
    ) -> Option<Closed> {
        if let Some(aside) = self.aside() {
            aside.refused_by_vendor(limits, sent, retry_after);
        }
        let closed = self.change(|desk, now| {
            let limits = desk.eras().limits(self.era, limits);
            desk.refused_by_vendor(limits, sent, retry_after, now)
        })?;
        if closed.withdrawn {
            self.remember_broken_promise();
        }
        if let Some(limit) = self.plan.limits.iter().position(|limit| limit.name == closed.limit) {
            self.tell(|replica, _| replica.teach(limit));
            self.remember_lesson(limit, closed.spaced_out);
        }
        Some(closed)
    }

    /// The vendor has refused a request of another replica, which closed `limit` at one moment
    /// until another, if that is news, or has it evenly spaced since.
    pub(super) fn heed(&self, limit: &LimitName, closing: Option<(Moment, Moment)>, is_even: bool) {
        let Some(limit) = self.plan.limits.iter().position(|known| known.name == *limit) else { return };
        self.change(|desk, now| desk.heed(limit, closing, is_even, now));
        self.remember_lesson(limit, is_even);
    }

    /// The vendor has shown another replica that it does not count within `counted_within`.
    pub(super) fn heed_broken_promise(&self) {
        self.change(|desk, _| desk.withdraw_promise());
        self.remember_broken_promise();
    }

    fn remember_broken_promise(&self) {
        if let Some((link, promised)) = self.link.as_ref().zip(self.plan.counted_within) {
            link.remember_broken_promise(promised);
        }
    }

    /// A restart must not forget what the vendor has taught of `limit`.
    fn remember_lesson(&self, limit: usize, is_spaced: bool) {
        let Some(link) = &self.link else { return };
        let name = &self.plan.limits[limit].name;
        if is_spaced {
            link.remember_spacing(name);
        }
        self.remember_others(limit);
        let closed = {
            let desk = &self.core.state.lock().desk;
            desk.eras().limit(self.era, limit).and_then(|limit| desk.books().closed(limit))
        };
        closed.inspect(|until| link.remember_closed(name, *until));
    }

    /// A restart must not forget what others have used.
    pub(super) fn remember_others(&self, limit: usize) {
        let Some(link) = &self.link else { return };
        let used = {
            let desk = &self.core.state.lock().desk;
            let Some(limit) = desk.eras().limit(self.era, limit) else { return };
            desk.others().of(limit).to_vec()
        };
        link.remember_others(&self.plan.limits[limit].name, &used);
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

    /// Whether `limit` was closed after `since`, and still is.
    pub(super) fn is_closed_since(&self, limit: usize, since: Moment, now: Moment) -> bool {
        self.last[limit].is_some_and(|lesson| lesson.closed_at > since && lesson.open_at > now)
    }

    /// Until when `limit` is closed after a 429, if it is.
    pub(super) fn closed_until(&self, limit: usize, now: Moment) -> Option<Moment> {
        self.last[limit].map(|lesson| lesson.open_at).filter(|&open_at| open_at > now)
    }

    /// When `limit` was closed last, and until when.
    pub(super) fn closing(&self, limit: usize) -> Option<(Moment, Moment)> {
        self.last[limit].map(|lesson| (lesson.closed_at, lesson.open_at))
    }

    /// `limit` was closed elsewhere.
    pub(super) fn heed(&mut self, limit: usize, closed_at: Moment, open_at: Moment) {
        if self.last[limit].is_none_or(|lesson| lesson.closed_at < closed_at) {
            self.last[limit] = Some(Lesson { closed_at, open_at });
        }
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
    fn what_others_used_is_remembered_in_a_few_words() {
        let mut others = Others::new(1);
        for secs in 0..100 {
            others.add(0, (at(secs), 1), |until| until < at(10));
        }
        let used = others.of(0);
        assert_eq!((used.len(), used.iter().map(|(_, n)| n).sum::<u32>()), (MAX_REMEMBERED, 90));
        assert_eq!(used[0], (at(68), 59), "later than they were, never earlier");
        others.add(0, (at(50), 3), |until| until < at(70));
        assert_eq!(others.of(0).first(), Some(&(at(50), 3)));
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
