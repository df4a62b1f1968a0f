//! What the vendor's clock reads, and how sure we are.
//!
//! Only calendar edges need it. Until the vendor has sent a `Date`, our own
//! wall clock stands in for it (RFC 9110, section 6.6.1: whole seconds).

use std::time::Duration;

use crate::clock::{Moment, UnixTime};

/// How far the vendor's clock may be from our wall's while nothing is known.
const UNKNOWN: Duration = Duration::from_secs(2);
/// `Date` is cut to whole seconds.
const GRAIN: Duration = Duration::from_secs(1);
/// How fast two clocks that are kept right may still part: 20 ms in 1,000 s.
const DRIFT_PPM: u64 = 20;
/// A shift beyond this makes the next edges be looked up anew.
const SHIFT_NANOS: i128 = 500_000_000;

/// Where the vendor's wall clock stands against our monotone one.
#[derive(Clone, Debug)]
pub(super) struct VendorClock {
    /// Vendor's nanoseconds since 1970 less ours since the origin.
    offset: i128,
    uncertainty: Duration,
    as_of: Moment,
    source: Source,
}

/// The vendor's clock as its own dates show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dated {
    /// Vendor's nanoseconds since 1970 less ours.
    pub(super) offset: i128,
    pub(super) uncertainty: Duration,
    pub(super) as_of: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Wall,
    Date,
}

/// Whether edges looked up before may now be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shift {
    Small,
    Large,
}

impl VendorClock {
    /// Nothing known but our own wall.
    pub(super) fn new(now: Moment, wall: UnixTime) -> Self {
        Self { offset: offset(wall, now), uncertainty: UNKNOWN, as_of: now, source: Source::Wall }
    }

    /// Whether our wall stands in for it.
    pub(super) fn is_wall(&self) -> bool {
        self.source == Source::Wall
    }

    /// Our wall reads `wall` now; heeded only while the vendor has told nothing better.
    pub(super) fn follow_wall(&mut self, now: Moment, wall: UnixTime) -> Shift {
        if self.source == Source::Date {
            return Shift::Small;
        }
        self.as_of = now;
        self.shift_to(offset(wall, now))
    }

    /// The vendor wrote `date` at some moment between `sent` and `head`.
    pub(super) fn learn(&mut self, date: UnixTime, sent: Moment, head: Moment) -> Shift {
        let half = head.since(sent) / 2;
        let (new, uncertainty) = (offset(date, sent + half), half + GRAIN);
        let aged = self.wide(head.since(self.as_of));
        let contradicts = (new - self.offset).unsigned_abs() > (uncertainty + aged).as_nanos();
        if self.source == Source::Date && uncertainty > aged && !contradicts {
            return Shift::Small;
        }
        (self.uncertainty, self.as_of, self.source) = (uncertainty, head, Source::Date);
        self.shift_to(new)
    }

    /// The first and the last moment at which the vendor's clock may reach `edge`.
    pub(super) fn around(&self, edge: UnixTime) -> (Moment, Moment) {
        let middle = Moment::from_nanos(clip(i128::from(edge.as_nanos()) - self.offset));
        let apart = middle.since(self.as_of).max(self.as_of.since(middle));
        let wide = self.wide(apart);
        (middle - wide, middle + wide)
    }

    /// The least that the vendor's clock can read at `now`.
    pub(super) fn at_least(&self, now: Moment) -> UnixTime {
        let middle = UnixTime::from_nanos(clip(i128::from(now.as_nanos()) + self.offset));
        middle - self.wide(now.since(self.as_of))
    }

    /// The most that the vendor's clock can read at `now`, if the vendor has told.
    pub(super) fn at_most(&self, now: Moment) -> Option<UnixTime> {
        let middle = UnixTime::from_nanos(clip(i128::from(now.as_nanos()) + self.offset));
        (self.source == Source::Date).then(|| middle + self.wide(now.since(self.as_of)))
    }

    /// What the vendor's own dates have told so far, to be taken up again by [`VendorClock::recall`].
    pub(super) fn dated(&self) -> Option<Dated> {
        let Self { offset, uncertainty, as_of, source } = *self;
        (source == Source::Date).then_some(Dated { offset, uncertainty, as_of })
    }

    /// Takes up what an earlier process had learnt from the vendor.
    pub(super) fn recall(&mut self, dated: Dated) -> Shift {
        (self.uncertainty, self.as_of, self.source) = (dated.uncertainty, dated.as_of, Source::Date);
        self.shift_to(dated.offset)
    }

    /// The uncertainty so long after the clock was last heard of; the wall is heard all the time.
    fn wide(&self, after: Duration) -> Duration {
        match self.source {
            Source::Wall => self.uncertainty,
            Source::Date => self.uncertainty + drift(after),
        }
    }

    fn shift_to(&mut self, offset: i128) -> Shift {
        let by = (offset - self.offset).abs();
        self.offset = offset;
        if by > SHIFT_NANOS { Shift::Large } else { Shift::Small }
    }
}

fn offset(wall: UnixTime, at: Moment) -> i128 {
    i128::from(wall.as_nanos()) - i128::from(at.as_nanos())
}

fn drift(age: Duration) -> Duration {
    Duration::from_nanos(clip(i128::try_from(age.as_nanos()).unwrap_or(i128::MAX)) / 1_000_000 * DRIFT_PPM)
}

fn clip(nanos: i128) -> u64 {
    u64::try_from(nanos.max(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: u64 = 1_000_000_000;

    fn at(secs: u64) -> Moment {
        Moment::from_nanos(secs * SEC)
    }

    /// To the second: drift is far below it here.
    fn around(clock: &VendorClock, edge: u64) -> (u64, u64) {
        let (first, last) = clock.around(UnixTime::from_secs(edge));
        let round = |at: Moment| (at.as_nanos() + SEC / 2) / SEC;
        (round(first), round(last))
    }

    #[test]
    fn a_date_beats_the_wall_and_a_better_date_beats_both() {
        let mut clock = VendorClock::new(at(0), UnixTime::from_secs(1_000));
        assert_eq!(around(&clock, 1_010), (8, 12));
        assert_eq!(clock.learn(UnixTime::from_secs(1_100), at(0), at(0)), Shift::Large);
        assert_eq!(around(&clock, 1_110), (9, 11));
        // A round trip of 10 s tells less than what is known.
        assert_eq!(clock.learn(UnixTime::from_secs(1_103), at(0), at(10)), Shift::Small);
        assert_eq!(around(&clock, 1_110), (9, 11));
        // Unless it contradicts: somebody's clock was set.
        assert_eq!(clock.learn(UnixTime::from_secs(2_000), at(0), at(10)), Shift::Large);
        assert_eq!(clock.follow_wall(at(11), UnixTime::from_secs(5)), Shift::Small);
        assert_eq!(clock.at_least(at(11)).as_secs(), 1_999);
    }
}
