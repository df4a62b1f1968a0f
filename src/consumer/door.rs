//! One consumer's rate at weir's own door, and the clock that governor reads.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::clock::Clock;
use crate::config::Rate;

/// Lets `rate.requests` through at once and then evenly, `per` for all of them.
#[derive(Debug)]
pub(super) struct Door {
    limiter: RateLimiter<NotKeyed, InMemoryState, DoorClock, NoOpMiddleware<Nanos>>,
}

/// weir's clock for governor, shared by all limiters: its own costs 36 µs for
/// each of them at start and cannot be turned by hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct DoorClock(pub(super) Clock);

impl Door {
    pub(super) fn new(rate: Rate, clock: Clock) -> Self {
        let quota = quota(rate.requests, rate.per);
        Self { limiter: RateLimiter::direct_with_clock(quota, DoorClock(clock)) }
    }

    /// One request; or how long until there is room for one.
    pub(super) fn pass(&self) -> Result<(), Duration> {
        self.limiter.check().map_err(|not| not.wait_time_from(self.limiter.clock().now()))
    }
}

impl governor::clock::Clock for DoorClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.now().as_nanos())
    }
}

/// `burst` at once, all of them back after `per`.
pub(super) fn quota(burst: NonZeroU32, per: Duration) -> Quota {
    // at least a nanosecond each, or governor has no quota to offer
    let each = (per / burst.get()).max(Duration::from_nanos(1));
    Quota::with_period(each).expect("a period of at least a nanosecond").allow_burst(burst)
}
