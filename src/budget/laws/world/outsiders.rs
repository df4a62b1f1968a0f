//! Vendors whose clocks drift, or that refuse because somebody else uses the account.

use std::time::Duration;

use super::{Event, World};
use crate::clock::Moment;
use crate::quota::LimitSet;

/// What a vendor does about the requests that it refuses, where it may refuse any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Counts,
    CountsNot,
}

impl World {
    /// The vendors' clocks run so much faster than ours.
    pub(super) fn drift(&mut self, ppm: i64) {
        self.drift_ppm = ppm;
    }

    /// Others use the account at these moments, in milliseconds, so that the vendors refuse.
    pub(crate) fn with_outsiders(&mut self, at: &[u64], refuses: Refused) {
        self.refuses = Some(refuses);
        for &millis in at {
            self.after(Moment::ZERO + Duration::from_millis(millis), Event::Outsider);
        }
    }

    fn vendors_time(&self) -> u64 {
        let now = i128::from(self.now.as_nanos());
        u64::try_from(now + now * i128::from(self.drift_ppm) / 1_000_000).unwrap()
    }

    /// Whether any vendor refuses one request on the limits of `set` now.
    pub(super) fn arrives(&mut self, set: LimitSet) -> bool {
        let (at, refuses) = (self.vendors_time(), self.refuses);
        let mut is_refused = false;
        for limit in set.iter() {
            for vendor in &mut self.vendors[limit] {
                let admitted = match refuses {
                    Some(Refused::CountsNot) => vendor.admits_or_forgets(at),
                    Some(Refused::Counts) | None => vendor.admits(at),
                };
                assert!(admitted || refuses.is_some(), "429 by {vendor:?} at {:?}", self.now);
                is_refused |= !admitted;
            }
        }
        is_refused
    }

    /// The vendor's 429 has come: whoever cannot be served in time any more hears of it now.
    pub(super) fn learn(&mut self, flight: usize) {
        let (set, sent) = (self.sent[flight].grant.set, self.sent[flight].flight.sent);
        let closed = self.desk.refused_by_vendor(set, sent, None, self.now).expect("some limit counts it");
        assert!(!closed.withdrawn || self.plan.counted_within.is_some());
        self.desk.take_has_turned_away();
        let (desk, now) = (&mut self.desk, self.now);
        self.waiting.retain(|id, waiting| match desk.turned_away(*id) {
            None => true,
            Some(refusal) => {
                assert!(waiting.deadline < refusal.retry_at && now <= waiting.deadline, "law 6: {refusal:?}");
                false
            }
        });
    }
}
