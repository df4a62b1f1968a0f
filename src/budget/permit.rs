//! What is acquired is a value, and giving it back is `Drop`.
//!
//! [`Permit`]: the right to send one request; dropped, it is refunded.
//! [`Charge`]: the first byte may have left; it stands, and ends at the response
//! head ([`Charge::settled`]) or at give-up ([`Charge::lost`], also by `Drop`).

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Moment;

use super::Budget;
use super::desk::{Flight, Grant};

/// The right to send one request, charged to every limit on its path.
///
/// Dropping it before [`Permit::sent`] refunds all of it.
#[must_use = "a permit that is dropped is refunded"]
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    grant: Grant,
    sent: bool,
}

/// A request that has left, or may have.
///
/// Dropping it unsettled counts as given up now.
#[must_use = "a charge that is dropped counts as lost"]
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    grant: Grant,
    flight: Flight,
    over: bool,
}

impl Permit {
    pub(super) fn new(budget: Arc<Budget>, grant: Grant) -> Self {
        Self { budget, grant, sent: false }
    }

    /// The consumer that pays: its index in the plan.
    #[must_use]
    pub fn seat(&self) -> usize {
        self.grant.seat as usize
    }

    /// How long the caller that pays had waited when it was admitted.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.grant.waited
    }

    /// When it was admitted.
    #[must_use]
    pub fn granted_at(&self) -> Moment {
        self.grant.at
    }

    /// To be called right before the first byte: from here on the charge stands.
    pub fn sent(mut self) -> Charge {
        self.sent = true;
        let flight = Flight { sent: self.budget.now(), counted_by: None };
        Charge { budget: Arc::clone(&self.budget), grant: self.grant, flight, over: false }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.sent {
            self.budget.change(|desk, now| desk.refund(self.grant, now));
        }
    }
}

impl Charge {
    /// The consumer that pays: its index in the plan.
    #[must_use]
    pub fn seat(&self) -> usize {
        self.grant.seat as usize
    }

    /// When the first byte may have left.
    #[must_use]
    pub fn sent_at(&self) -> Moment {
        self.flight.sent
    }

    /// The last byte of the request has left just now. Has an effect, once, under
    /// `counted_within`: the charge then lapses W after the earlier of the head
    /// and that long after now.
    pub fn last_byte(&mut self) {
        if self.flight.counted_by.is_none() {
            self.flight.counted_by = self.budget.change(|desk, now| desk.all_sent(self.grant, now));
        }
    }

    /// The response head (not a 1xx) has come just now.
    pub fn settled(mut self) {
        self.over = true;
        self.budget.change(|desk, now| desk.settle(self.grant, self.flight, now));
    }

    /// Nothing has left after all: the connection that stood died before it took
    /// the request. To be called only where that is certain.
    pub fn never_left(mut self) {
        self.over = true;
        self.budget.change(|desk, now| desk.refund(self.grant, now));
    }

    /// Given up just now without a head, or with one that an intermediary may
    /// have made (502, 503, 504, 52x): the vendor may still count it for `linger`.
    pub fn lost(self) {
        drop(self);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if !self.over {
            self.budget.change(|desk, now| desk.lose(self.grant, self.flight, now));
        }
    }
}
