//! Counts of exchanges by consumer and outcome, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Outcome;

/// Counts for every consumer of one upstream, by its seat.
#[derive(Debug)]
pub struct Tally {
    seats: Vec<Seat>,
}

#[derive(Debug, Default)]
struct Seat {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    price: AtomicU64,
    waits: AtomicU64,
    waited_nanos: AtomicU64,
}

/// What one consumer has seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    outcomes: [u64; Outcome::ALL.len()],
    /// Requests of the account's allowance.
    pub price: u64,
    /// Exchanges that stood in the queue.
    pub waits: u64,
    /// Time spent there, over all of them.
    pub waited: Duration,
}

impl Tally {
    /// Counts for `seats` consumers.
    #[must_use]
    pub fn new(seats: usize) -> Self {
        Self { seats: (0..seats).map(|_| Seat::default()).collect() }
    }

    /// Counts one exchange of the consumer at `seat`.
    pub fn count(&self, seat: usize, outcome: Outcome, price: u32, waited: Duration) {
        let Some(seat) = self.seats.get(seat) else { return };
        seat.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
        if price > 0 {
            seat.price.fetch_add(price.into(), Ordering::Relaxed);
        }
        if !waited.is_zero() {
            seat.waits.fetch_add(1, Ordering::Relaxed);
            let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
            seat.waited_nanos.fetch_add(nanos, Ordering::Relaxed);
        }
    }

    /// The counts of the consumer at `seat`; all zero if there is none.
    #[must_use]
    pub fn of(&self, seat: usize) -> Counts {
        let Some(seat) = self.seats.get(seat) else { return Counts::default() };
        Counts {
            outcomes: std::array::from_fn(|i| seat.outcomes[i].load(Ordering::Relaxed)),
            price: seat.price.load(Ordering::Relaxed),
            waits: seat.waits.load(Ordering::Relaxed),
            waited: Duration::from_nanos(seat.waited_nanos.load(Ordering::Relaxed)),
        }
    }
}

impl Counts {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            outcomes: std::array::from_fn(|i| self.outcomes[i] + other.outcomes[i]),
            price: self.price + other.price,
            waits: self.waits + other.waits,
            waited: self.waited + other.waited,
        }
    }

    /// Exchanges that ended so.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Exchanges in all.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.outcomes.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up() {
        let tally = Tally::new(2);
        tally.count(1, Outcome::Paid, 1, Duration::from_millis(5));
        tally.count(1, Outcome::Fresh, 0, Duration::ZERO);
        tally.count(7, Outcome::Fresh, 0, Duration::ZERO);
        let counts = tally.of(1);
        assert_eq!((counts.asked(), counts.of(Outcome::Paid), counts.price, counts.waits), (2, 1, 1, 1));
        assert_eq!(tally.of(0), Counts::default());
        for (index, outcome) in Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, index);
        }
    }
}
