//! When to stop asking a vendor that is down (circuit breaker), and how often a
//! failure may be tried again.
//!
//! The breaker opens when 5 of the last 10 exchanges failed to connect, got no
//! answer or a 5xx. 5 s later one exchange, charged like any other, finds out
//! whether the vendor is back. A 429 is the budget's matter and does not count.
//!
//! A plain cache (no key) has none: it passes on what the origin says of each URL,
//! errors too, and has no allowance to spare.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Moment;

/// How many exchanges are looked back on.
const LOOK_BACK: usize = 10;
/// How many failures among them open it.
const TOO_MANY: usize = 5;
/// How long it stays open before one exchange is let through.
const OPEN_FOR: Duration = Duration::from_secs(5);
/// One retry is granted for so many exchanges that were paid for.
const PAID_PER_RETRY: u64 = 10;

/// One upstream's breaker and its allowance of retries.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: Mutex<State>,
    paid: AtomicU64,
    retries: AtomicU64,
}

#[derive(Debug)]
enum State {
    /// It never opens, and nothing is tried again.
    Off,
    Closed {
        /// The latest last; true is a failure.
        recent: Vec<bool>,
    },
    Open {
        until: Moment,
        /// One exchange is finding out.
        probing: bool,
    },
}

/// Leave for one exchange; to be told how it went. Dropped untold, it counts for
/// nothing, and a probe's place is free again.
#[derive(Debug)]
#[must_use = "tell it how the exchange went"]
pub(super) struct Leave<'a> {
    breaker: &'a Breaker,
    probe: bool,
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { recent: Vec::with_capacity(LOOK_BACK) }
    }
}

impl Breaker {
    /// One that never opens and grants no retry.
    pub(super) fn off() -> Self {
        Self { state: Mutex::new(State::Off), paid: AtomicU64::default(), retries: AtomicU64::default() }
    }

    /// Leave to ask the vendor now; `None` while the breaker is open.
    pub(super) fn leave(&self, now: Moment) -> Option<Leave<'_>> {
        let mut state = self.state.lock();
        let probe = match &mut *state {
            State::Off | State::Closed { .. } => false,
            State::Open { until, probing } if now >= *until && !*probing => {
                *probing = true;
                true
            }
            State::Open { .. } => return None,
        };
        Some(Leave { breaker: self, probe })
    }

    /// Whether nobody may ask now, not even to find out.
    pub(super) fn is_open(&self, now: Moment) -> bool {
        matches!(&*self.state.lock(), State::Open { until, probing } if now < *until || *probing)
    }

    /// Takes one retry from the allowance: at most one in ten of what was paid for.
    pub(super) fn may_retry(&self) -> bool {
        if matches!(&*self.state.lock(), State::Off) {
            return false;
        }
        let most = self.paid.load(Ordering::Relaxed) / PAID_PER_RETRY;
        // The very first failures may be tried again too, or a quiet gateway never could.
        let taken = |retries: u64| (retries < most.max(1)).then_some(retries + 1);
        self.retries.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }
}

impl Leave<'_> {
    /// The vendor answered, with whatever but a 5xx.
    pub(super) fn answered(mut self) {
        let probe = std::mem::take(&mut self.probe);
        self.breaker.paid.fetch_add(1, Ordering::Relaxed);
        let mut state = self.breaker.state.lock();
        match &mut *state {
            State::Closed { recent } => push(recent, false),
            State::Open { .. } if probe => *state = State::default(),
            // Sent before it opened: old news.
            State::Open { .. } | State::Off => {}
        }
    }

    /// No connection, no answer, or a 5xx. Says whether the breaker opens with it.
    pub(super) fn failed(mut self, now: Moment) -> bool {
        let probe = std::mem::take(&mut self.probe);
        self.breaker.paid.fetch_add(1, Ordering::Relaxed);
        let mut state = self.breaker.state.lock();
        let opens = match &mut *state {
            State::Closed { recent } => {
                push(recent, true);
                recent.iter().filter(|failed| **failed).count() >= TOO_MANY
            }
            State::Open { .. } => probe,
            State::Off => false,
        };
        if opens {
            *state = State::Open { until: now + OPEN_FOR, probing: false };
        }
        opens
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if self.probe
            && let State::Open { probing, .. } = &mut *self.breaker.state.lock()
        {
            *probing = false;
        }
    }
}

fn push(recent: &mut Vec<bool>, failed: bool) {
    if recent.len() == LOOK_BACK {
        recent.remove(0);
    }
    recent.push(failed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Moment {
        Moment::from_nanos(secs * 1_000_000_000)
    }

    #[test]
    fn five_of_ten_open_it_and_a_probe_closes_it() {
        let breaker = Breaker::default();
        for n in 0..4 {
            assert!(!breaker.leave(at(n)).unwrap().failed(at(n)));
            breaker.leave(at(n)).unwrap().answered();
        }
        assert!(breaker.leave(at(4)).unwrap().failed(at(4)));
        assert!(breaker.leave(at(8)).is_none());
        // One finds out; the others wait for what it finds.
        let probe = breaker.leave(at(9)).unwrap();
        assert!(breaker.leave(at(9)).is_none());
        assert!(probe.failed(at(10)));
        assert!(breaker.leave(at(14)).is_none());
        drop(breaker.leave(at(15)).unwrap());
        breaker.leave(at(15)).unwrap().answered();
        assert!(breaker.leave(at(15)).is_some());
    }

    #[test]
    fn old_failures_are_forgotten() {
        let breaker = Breaker::default();
        for n in 0..100 {
            let leave = breaker.leave(at(n)).unwrap();
            if n % 3 == 0 { assert!(!leave.failed(at(n))) } else { leave.answered() }
        }
    }

    #[test]
    fn one_retry_in_ten() {
        let breaker = Breaker::default();
        assert!(breaker.may_retry() && !breaker.may_retry());
        (0..30).for_each(|n| breaker.leave(at(n)).unwrap().answered());
        assert_eq!((0..10).filter(|_| breaker.may_retry()).count(), 2);
    }
}
