//! What Redis's clock reads, as far as the calls so far can tell.
//!
//! A script reads the clock at some moment between its call and its answer, so each
//! call bounds the offset from both sides. Between calls the bounds widen by how fast
//! two clocks part. Every conversion takes the bound that makes a charge last longer.

use std::time::Duration;

use crate::clock::Moment;

/// How fast two machines' clocks may part: 0.1 ms in a second.
const DRIFT_PPM: i128 = 100;
/// A jump forward beyond this is not taken for a slow network.
const JUMP_NANOS: i128 = 100_000_000;
/// Redis tells microseconds, cut off.
const GRAIN_NANOS: i128 = 1_000;

/// Redis's nanoseconds less ours: at least and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Skew {
    least: i128,
    most: i128,
    as_of: Moment,
}

/// Redis's clock has jumped forward: what was to last longer may have lapsed there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Jumped(pub(super) Duration);

impl Skew {
    /// It read `micros` at some moment between `sent` and `heard`.
    pub(super) fn new(sent: Moment, micros: u64, heard: Moment) -> Self {
        let nanos = i128::from(micros) * 1_000;
        let least = nanos - i128::from(heard.as_nanos());
        let most = nanos + GRAIN_NANOS - i128::from(sent.as_nanos());
        Self { least, most, as_of: heard }
    }

    /// Learns from one more reading.
    pub(super) fn learn(&mut self, sent: Moment, micros: u64, heard: Moment) -> Result<(), Jumped> {
        let (new, drift) = (Self::new(sent, micros, heard), drift(self.as_of, heard));
        let (least, most) = (self.least - drift, self.most + drift);
        let jump = new.least - most;
        *self = if jump > 0 || new.most < least {
            new
        } else {
            Self { least: new.least.max(least), most: new.most.min(most), as_of: heard }
        };
        match jump > JUMP_NANOS {
            true => Err(Jumped(Duration::from_nanos(u64::try_from(jump).unwrap_or(u64::MAX)))),
            false => Ok(()),
        }
    }

    /// The most that Redis's clock reads at `at`, in microseconds.
    pub(super) fn at_most(&self, at: Moment) -> u64 {
        let nanos = i128::from(at.as_nanos()) + self.most + drift(self.as_of, at);
        clip((nanos + GRAIN_NANOS - 1).div_euclid(GRAIN_NANOS))
    }

    /// The least that it reads then.
    pub(super) fn at_least(&self, at: Moment) -> u64 {
        let nanos = i128::from(at.as_nanos()) + self.least - drift(self.as_of, at);
        clip(nanos.div_euclid(GRAIN_NANOS))
    }

    /// The last moment here at which it may read `micros`.
    pub(super) fn latest(&self, micros: u64) -> Moment {
        let nanos = i128::from(micros) * 1_000 + GRAIN_NANOS - self.least;
        let at = Moment::from_nanos(clip(nanos));
        Moment::from_nanos(clip(nanos + drift(self.as_of, at)))
    }
}

fn drift(a: Moment, b: Moment) -> i128 {
    let apart = a.since(b).max(b.since(a));
    i128::try_from(apart.as_nanos()).unwrap_or(i128::MAX) * DRIFT_PPM / 1_000_000
}

fn clip(number: i128) -> u64 {
    u64::try_from(number.max(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(ms * MS)
    }

    #[test]
    fn conversions_err_on_the_side_of_lasting_longer() {
        // Redis reads 1,000 ms more than we do; this call took 10 ms, its answer 2.
        let mut skew = Skew::new(at(0), 1_008_000, at(10));
        assert!(skew.at_most(at(20)) >= 1_020_000 && skew.at_least(at(20)) <= 1_020_000);
        assert!(skew.latest(1_020_000) >= at(20));
        // A quicker call tells more.
        assert_eq!(skew.learn(at(20), 1_020_500, at(21)), Ok(()));
        assert!(skew.at_most(at(30)) < 1_031_000 && skew.at_most(at(30)) >= 1_030_000);
        assert!(skew.latest(1_030_000) < at(31) && skew.latest(1_030_000) >= at(30));
        // A slow one tells nothing new.
        let before = skew;
        assert_eq!(skew.learn(at(40), 1_090_000, at(90)), Ok(()));
        assert!(skew.at_most(at(90)) <= before.at_most(at(90)) + 1);
    }

    #[test]
    fn a_jump_forward_is_told_from_a_slow_network() {
        let mut skew = Skew::new(at(0), 1_000_500, at(1));
        assert_eq!(skew.learn(at(10), 1_500_000, at(510)), Ok(()), "a frozen Redis");
        assert!(skew.learn(at(520), 1_650_000, at(521)).is_err(), "129 ms ahead");
        assert_eq!(skew.learn(at(530), 1_660_000, at(531)), Ok(()), "and goes on from there");
        assert_eq!(skew.learn(at(540), 1_600_000, at(541)), Ok(()), "set back: a new beginning");
    }
}
