//! `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers): the
//! caller's own view of each limit that its request counts against.
//!
//! A view is at most 100 ms old and shared by all answers to one caller in that
//! time, so that cache hits do not take the budget's lock.

use std::fmt::Write;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;

use super::Lane;
use crate::budget::Remaining;
use crate::clock::Moment;
use crate::quota::LimitSet;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// How old a view may be.
const MAX_AGE: Duration = Duration::from_millis(100);
/// Sets of limits remembered per caller; there are as many as route classes.
const MAX_SETS: usize = 16;

/// What was last said to each consumer, by its seat.
#[derive(Debug, Default)]
pub(super) struct Views {
    seats: Vec<Mutex<Vec<View>>>,
}

#[derive(Debug)]
struct View {
    of: LimitSet,
    taken: Moment,
    policy: HeaderValue,
    now: HeaderValue,
}

impl Views {
    pub(super) fn new(seats: usize) -> Self {
        Self { seats: (0..seats).map(|_| Mutex::default()).collect() }
    }
}

impl Lane {
    /// Puts the caller's view of `limits` on an answer; nothing where none applies.
    pub(super) fn describe_limits(
        &self,
        (seat, limits): (usize, LimitSet),
        now: Moment,
        headers: &mut HeaderMap,
    ) {
        if limits.is_empty() {
            return;
        }
        let Some(views) = self.views.seats.get(seat) else { return };
        let mut views = views.lock();
        let known = views.iter().position(|view| view.of == limits);
        let at = match known {
            Some(at) if now.since(views[at].taken) <= MAX_AGE => at,
            known => {
                let Some(view) = View::of(limits, &self.budget.view(seat, limits), now) else { return };
                if views.len() >= MAX_SETS {
                    views.clear();
                } else if let Some(at) = known {
                    views.swap_remove(at);
                }
                views.push(view);
                views.len() - 1
            }
        };
        headers.insert(POLICY, views[at].policy.clone());
        headers.insert(RATE_LIMIT, views[at].now.clone());
    }
}

impl View {
    /// One list member per limit: `"minute";q=20;w=60` and `"minute";r=5;t=31`.
    /// Names of limits need no escape in a quoted string.
    fn of(set: LimitSet, limits: &[Remaining], taken: Moment) -> Option<Self> {
        if limits.is_empty() {
            return None;
        }
        let (mut policy, mut now) = (String::new(), String::new());
        for limit in limits {
            let comma = if policy.is_empty() { "" } else { ", " };
            let (name, window) = (&limit.limit, whole_seconds(limit.window));
            write!(policy, "{comma}\"{name}\";q={};w={window}", limit.allowed).ok()?;
            write!(now, "{comma}\"{name}\";r={};t={}", limit.remaining, whole_seconds(limit.reset)).ok()?;
        }
        Some(Self { of: set, taken, policy: policy.try_into().ok()?, now: now.try_into().ok()? })
    }
}

/// Rounded up: nothing is promised before its time.
fn whole_seconds(of: Duration) -> u64 {
    of.as_secs() + u64::from(of.subsec_nanos() > 0)
}
