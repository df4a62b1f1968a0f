//! Counts of exchanges by consumer and outcome, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

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

/// What one vendor did with what was sent to it.
#[derive(Debug, Default)]
pub struct VendorCounts {
    sent: AtomicU64,
    /// Answers by status: 100 to 599.
    answers: StatusCounts,
}

#[derive(Debug)]
struct StatusCounts([AtomicU64; 500]);

impl Default for StatusCounts {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl VendorCounts {
    /// A request is leaving.
    pub fn count_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// It never left after all.
    pub fn take_back_sent(&self) {
        self.sent.fetch_sub(1, Ordering::Relaxed);
    }

    /// The vendor answered.
    pub fn count_answer(&self, status: StatusCode) {
        if let Some(count) = self.answers.0.get(usize::from(status.as_u16()).wrapping_sub(100)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Requests that left, or may have.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// 429s: zero, if the laws hold.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.answers.0[429 - 100].load(Ordering::Relaxed)
    }

    /// Every status that was answered, with how often.
    pub fn answers(&self) -> impl Iterator<Item = (u16, u64)> {
        let counts = (100..600).zip(&self.answers.0);
        counts.map(|(status, count)| (status, count.load(Ordering::Relaxed))).filter(|(_, count)| *count > 0)
    }
}

impl Tally {
    /// Counts for `seats` consumers.
    #[must_use]
    pub fn new(seats: usize) -> Self {
        Self { seats: (0..seats).map(|_| Seat::default()).collect() }
    }

    /// Counts one exchange of the consumer at `seat`.
    pub fn count(&self, seat: usize, outcome: Outcome, waited: Duration) {
        let Some(seat) = self.seats.get(seat) else { return };
        seat.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
        if !waited.is_zero() {
            seat.waits.fetch_add(1, Ordering::Relaxed);
            let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
            seat.waited_nanos.fetch_add(nanos, Ordering::Relaxed);
        }
    }

    /// The consumer at `seat` pays for one request that is leaving, also if it hangs
    /// up before the answer comes.
    pub fn pay(&self, seat: usize) {
        if let Some(seat) = self.seats.get(seat) {
            seat.price.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// That request never left.
    pub fn refund(&self, seat: usize) {
        if let Some(seat) = self.seats.get(seat) {
            seat.price.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A background refresh is leaving that a hit of the consumer at `seat` set off.
    pub fn refresh(&self, seat: usize) {
        if let Some(seat) = self.seats.get(seat) {
            seat.outcomes[Outcome::Refresh as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// That refresh never left.
    pub fn take_back_refresh(&self, seat: usize) {
        if let Some(seat) = self.seats.get(seat) {
            seat.outcomes[Outcome::Refresh as usize].fetch_sub(1, Ordering::Relaxed);
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

    /// Exchanges in all; nobody asked for a refresh.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.outcomes.iter().sum::<u64>() - self.of(Outcome::Refresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up() {
        let tally = Tally::new(2);
        tally.count(1, Outcome::Paid, Duration::from_millis(5));
        tally.count(1, Outcome::Fresh, Duration::ZERO);
        tally.count(7, Outcome::Fresh, Duration::ZERO);
        tally.refresh(1);
        (0..2).for_each(|_| tally.pay(1));
        tally.refund(1);
        let counts = tally.of(1);
        assert_eq!((counts.asked(), counts.of(Outcome::Paid), counts.price, counts.waits), (2, 1, 1, 1));
        assert_eq!(counts.of(Outcome::Refresh), 1, "which nobody asked for");
        assert_eq!(tally.of(0), Counts::default());
        for (index, outcome) in Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, index);
        }
    }
}
