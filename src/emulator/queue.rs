//! A vendor that serves no faster than a pace, and lets the others wait.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::options::Serves;

/// Keys with a queue of their own; beyond them newcomers share one.
const OWNERS: usize = 1_024;

/// When each counted request is served.
#[derive(Debug)]
pub(crate) struct Queue {
    serves: Option<Serves>,
    /// The newest moments of service for each key, in nanoseconds of the vendor's clock.
    served: HashMap<usize, VecDeque<u64>>,
    queued: u64,
}

impl Queue {
    pub(crate) fn new(serves: Option<Serves>) -> Self {
        Self { serves, served: HashMap::new(), queued: 0 }
    }

    /// How long a request that was counted at `now` has to wait.
    pub(crate) fn wait(&mut self, now: u64, owner: usize) -> Duration {
        let Some(Serves { requests, per }) = self.serves else { return Duration::ZERO };
        let full = self.served.len() >= OWNERS && !self.served.contains_key(&owner);
        let served = self.served.entry(if full { usize::MAX } else { owner }).or_default();
        let per = u64::try_from(per.as_nanos()).unwrap_or(u64::MAX);
        let free = match served.len() < requests {
            true => now,
            false => served.pop_front().map_or(now, |earliest| earliest.saturating_add(per)),
        };
        let at = free.max(now);
        served.push_back(at);
        self.queued += u64::from(at > now);
        Duration::from_nanos(at - now)
    }

    /// Requests that had to wait so far.
    pub(crate) fn queued(&self) -> u64 {
        self.queued
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn four_are_served_in_the_first_second_and_the_rest_wait() {
        let mut queue = Queue::new(Some(Serves { requests: 4, per: Duration::from_secs(1) }));
        let waits: Vec<_> = (0..9).map(|_| queue.wait(10 * SECOND, 0).as_secs()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 1, 1, 1, 1, 2]);
        assert_eq!(queue.queued(), 5);
        assert_eq!(queue.wait(10 * SECOND, 1), Duration::ZERO, "another key has its own");
        assert_eq!(queue.wait(20 * SECOND, 0), Duration::ZERO);
        assert_eq!(Queue::new(None).wait(0, 0), Duration::ZERO);
    }
}
