//! Failed sign-ins, limited per source address and bounded in memory.
//!
//! One IPv6 customer has at least a /64, so that is what counts as one address.
//! An attacker with very many addresses cannot fill the memory: while
//! [`MAX_ADDRESSES`] are remembered, all failures share one count.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::RateLimiter;
use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;

use crate::clock::{Clock, Moment};

use super::door::{DoorClock, quota};

/// Failures taken from one address at once; they come back within [`FAILURES_PER`].
const FAILURES_AT_ONCE: NonZeroU32 = NonZeroU32::new(10).expect("is not zero");
const FAILURES_PER: Duration = Duration::from_secs(60);

/// Addresses remembered at a time.
pub(super) const MAX_ADDRESSES: usize = 65_536;

/// Addresses whose failures have all come back are forgotten this often; a walk
/// over the whole table, so an attacker must not be able to cause one per request.
const FORGET_EVERY: Duration = Duration::from_secs(10);

/// What all addresses count as while the table is full; not the /64 of anything.
const OVERFLOW: IpAddr = IpAddr::V6(Ipv6Addr::from_bits(u128::MAX));

/// Counts failed sign-ins per address.
#[derive(Debug)]
pub(super) struct Failures {
    limiter: RateLimiter<IpAddr, DashMapStateStore<IpAddr>, DoorClock, NoOpMiddleware<Nanos>>,
    clock: Clock,
    /// Nanoseconds of the clock at which the table is next walked.
    forget_at: AtomicU64,
}

impl Failures {
    pub(super) fn new(clock: Clock) -> Self {
        let quota = quota(FAILURES_AT_ONCE, FAILURES_PER);
        Self {
            limiter: RateLimiter::dashmap_with_clock(quota, DoorClock(clock)),
            clock,
            forget_at: AtomicU64::new((clock.now() + FORGET_EVERY).as_nanos()),
        }
    }

    /// One failure from `peer`; or how long until one more is taken.
    pub(super) fn count(&self, peer: IpAddr) -> Result<(), Duration> {
        self.forget_now_and_then();
        let mut key = network(peer);
        // a race may pass the bound by as many entries as there are workers
        if self.limiter.len() >= MAX_ADDRESSES {
            key = OVERFLOW;
        }
        self.limiter.check_key(&key).map_err(|not| not.wait_time_from(self.limiter.clock().now()))
    }

    /// How many addresses take up memory.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.limiter.len()
    }

    fn forget_now_and_then(&self) {
        let now = self.clock.now();
        let at = self.forget_at.load(Ordering::Relaxed);
        if now < Moment::from_nanos(at) {
            return;
        }
        let next = (now + FORGET_EVERY).as_nanos();
        // whoever wins walks the table, the others go on
        if self.forget_at.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.limiter.retain_recent();
        }
    }
}

/// What counts as one address.
fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}
