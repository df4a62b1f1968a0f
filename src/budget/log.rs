//! When charges can last have been counted, oldest first, and whose they are.

use std::collections::VecDeque;

use crate::clock::Moment;

/// Limits of more requests than this keep their stamps in buckets.
pub(super) const EXACT_REQUESTS: u32 = 65_536;
/// How many buckets a window is cut into then.
const BUCKETS: u64 = 1_000;

/// A consumer, by its index in the plan.
pub(super) type Seat = u32;

/// The settled and lost charges of one limit, in the order of the last moment
/// at which the vendor can have counted them.
#[derive(Clone, Debug)]
pub(super) struct Log {
    /// Stamps are rounded up to multiples of this many nanoseconds.
    grain: u64,
    stamps: VecDeque<Stamp>,
    charges: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stamp {
    until: Moment,
    seat: Seat,
    charges: u32,
}

impl Log {
    /// A log for `requests` per `window_nanos`: exact up to [`EXACT_REQUESTS`].
    pub(super) fn new(requests: u32, window_nanos: u64) -> Self {
        let grain = if requests > EXACT_REQUESTS { (window_nanos / BUCKETS).max(1) } else { 1 };
        Self { grain, stamps: VecDeque::new(), charges: 0 }
    }

    /// Charges in it.
    pub(super) fn charges(&self) -> u32 {
        self.charges
    }

    /// One more charge of `seat`, counted by the vendor at `until` at the latest.
    pub(super) fn insert(&mut self, until: Moment, seat: Seat) {
        self.insert_many(until, seat, 1);
    }

    /// So many at once, for the price of one.
    pub(super) fn insert_many(&mut self, until: Moment, seat: Seat, charges: u32) {
        if charges == 0 {
            return;
        }
        let until = self.round_up(until);
        self.charges += charges;
        // Settlements come in the order of time, so nearly all belong at the end.
        let at = match self.stamps.back() {
            Some(last) if (last.until, last.seat) > (until, seat) => self.position(until, seat),
            Some(last) if (last.until, last.seat) == (until, seat) => self.stamps.len() - 1,
            _ => self.stamps.len(),
        };
        match self.stamps.get_mut(at) {
            Some(stamp) if (stamp.until, stamp.seat) == (until, seat) => stamp.charges += charges,
            _ => self.stamps.insert(at, Stamp { until, seat, charges }),
        }
    }

    /// Takes back one charge that was inserted so; false if it is not there (any more).
    pub(super) fn remove(&mut self, until: Moment, seat: Seat) -> bool {
        let until = self.round_up(until);
        let at = self.position(until, seat);
        let Some(stamp) = self.stamps.get_mut(at).filter(|s| (s.until, s.seat) == (until, seat)) else {
            return false;
        };
        stamp.charges -= 1;
        if stamp.charges == 0 {
            self.stamps.remove(at);
        }
        self.charges -= 1;
        true
    }

    /// Takes out the oldest stamp if its moment is one that `over` holds for.
    pub(super) fn pop_if(&mut self, over: impl Fn(Moment) -> bool) -> Option<(Seat, u32)> {
        let front = *self.stamps.front().filter(|stamp| over(stamp.until))?;
        self.stamps.pop_front();
        self.charges -= front.charges;
        Some((front.seat, front.charges))
    }

    /// The stamp of the charge that has `earlier` others before it.
    pub(super) fn nth(&self, earlier: usize) -> Option<Moment> {
        if self.stamps.len() == self.charges as usize {
            return self.stamps.get(earlier).map(|stamp| stamp.until);
        }
        self.iter().nth(earlier).map(|(until, _)| until)
    }

    /// The newest stamp.
    pub(super) fn newest(&self) -> Option<Moment> {
        self.stamps.back().map(|stamp| stamp.until)
    }

    /// Every charge with its owner, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Moment, Seat)> {
        self.stamps.iter().flat_map(|s| std::iter::repeat_n((s.until, s.seat), s.charges as usize))
    }

    fn position(&self, until: Moment, seat: Seat) -> usize {
        self.stamps.partition_point(|stamp| (stamp.until, stamp.seat) < (until, seat))
    }

    fn round_up(&self, until: Moment) -> Moment {
        match self.grain {
            1 => until,
            grain => Moment::from_nanos(until.as_nanos().div_ceil(grain).saturating_mul(grain)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Moment {
        Moment::from_nanos(nanos)
    }

    #[test]
    fn keeps_the_order_of_stamps_not_of_calls() {
        let mut log = Log::new(10, 1_000);
        for (until, seat) in [(50, 0), (20, 1), (50, 0), (30, 2)] {
            log.insert(at(until), seat);
        }
        assert_eq!(
            log.iter().map(|(m, s)| (m.as_nanos(), s)).collect::<Vec<_>>(),
            [(20, 1), (30, 2), (50, 0), (50, 0)]
        );
        assert_eq!((log.nth(0), log.nth(3), log.nth(4)), (Some(at(20)), Some(at(50)), None));
        assert!(log.remove(at(30), 2) && !log.remove(at(30), 2));
        log.insert_many(at(40), 3, 0);
        assert_eq!(log.pop_if(|m| m <= at(20)), Some((1, 1)));
        assert_eq!(log.pop_if(|m| m <= at(20)), None);
        assert_eq!((log.charges(), log.newest()), (2, Some(at(50))));
    }

    proptest::proptest! {
        #![proptest_config(crate::budget::laws::cases(500))]

        /// Never over, and under by a thousandth of the window at most.
        #[test]
        fn a_rounded_charge_lapses_late_and_not_much(
            requests in EXACT_REQUESTS + 1..u32::MAX, window in 1_000u64..100_000_000_000,
            charges in proptest::collection::vec((0u64..1_000_000_000_000, 0u32..4), 1..200),
        ) {
            let mut log = Log::new(requests, window);
            let mut exact: Vec<_> = charges.iter().map(|(nanos, _)| *nanos).collect();
            charges.iter().for_each(|&(nanos, seat)| log.insert(at(nanos), seat));
            exact.sort_unstable();
            proptest::prop_assert_eq!(log.charges() as usize, exact.len());
            for (nth, exact) in exact.into_iter().enumerate() {
                let late = log.nth(nth).unwrap().as_nanos().checked_sub(exact).expect("not too early");
                proptest::prop_assert!(late < (window / BUCKETS).max(1), "{} of {}", late, window);
            }
            for (nanos, seat) in charges {
                proptest::prop_assert!(log.remove(at(nanos), seat));
            }
            proptest::prop_assert_eq!((log.charges(), log.stamps.len()), (0, 0));
        }
    }

    #[test]
    fn large_limits_round_up_to_a_thousandth() {
        let mut log = Log::new(EXACT_REQUESTS + 1, 1_000_000);
        log.insert(at(1), 0);
        log.insert(at(1_000), 0);
        log.insert(at(1_001), 0);
        assert_eq!(log.iter().map(|(m, _)| m.as_nanos()).collect::<Vec<_>>(), [1_000, 1_000, 2_000]);
        assert_eq!(log.stamps.len(), 2);
    }
}
