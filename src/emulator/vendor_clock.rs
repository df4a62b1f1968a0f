//! The vendor's own clock: weir's, but wrong by a skew and a drift.

use std::time::Duration;

use crate::clock::{Clock, Moment, UnixTime};

use super::options::Skew;

/// Maps this process's monotone clock to what the vendor's wall says. It never
/// steps, whatever this machine's wall does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VendorClock {
    clock: Clock,
    start: Moment,
    /// What the vendor's wall says at `start`.
    wall: UnixTime,
    /// How much faster it runs, in parts per million.
    drift_ppm: i32,
}

impl VendorClock {
    pub(crate) fn new(clock: Clock, skew: Skew, drift_ppm: i32) -> Self {
        let wall = match skew {
            Skew::Ahead(by) => clock.wall() + by,
            Skew::Behind(by) => clock.wall() - by,
        };
        Self { clock, start: clock.now(), wall, drift_ppm }
    }

    /// This process's time, for the journal and for waiting.
    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// What the vendor's wall says at `at`.
    pub(crate) fn wall(&self, at: Moment) -> UnixTime {
        let passed = at.since(self.start);
        let gained = passed.mul_f64(f64::from(self.drift_ppm.unsigned_abs()) / 1e6);
        if self.drift_ppm < 0 { self.wall + passed - gained } else { self.wall + passed + gained }
    }

    pub(crate) async fn sleep(&self, by: Duration) {
        if !by.is_zero() {
            self.clock.sleep_until(self.clock.now() + by).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn skew_and_drift_add_up() {
        let clock = Clock::virtual_at(UnixTime::from_secs(1_000_000));
        let fast = VendorClock::new(clock, Skew::Ahead(Duration::from_secs(3)), 500);
        let slow = VendorClock::new(clock, Skew::Behind(Duration::from_secs(3)), -500);
        fast.sleep(Duration::from_secs(10_000)).await;
        assert_eq!(fast.wall(fast.now()).as_secs(), 1_010_008);
        assert_eq!(slow.wall(slow.now()).as_secs(), 1_009_992);
    }
}
