//! What is acquired is a value, and giving it back is `Drop`.
//!
//! [`Permit`]: the right to send one request; dropped, it is refunded. It has to be
//! [booked](Permit::booked) before it is used, so that a crash cannot forget it.
//! [`Charge`]: the first byte may have left; it stands, and ends at the response
//! head ([`Charge::settled`]) or at give-up ([`Charge::lost`], also by `Drop`).

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Moment;

use super::Budget;
use super::desk::{Desk, Flight, Grant};
use super::ledger::{Booking, End, LedgerDown, Link};

/// The right to send one request, charged to every limit on its path.
///
/// Dropping it before [`Permit::sent`] refunds all of it.
#[must_use = "a permit that is dropped is refunded"]
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    grant: Grant,
    booking: Option<Booking>,
    shares: Shares,
    /// Observed: nothing may hold it up, so it leaves whether it is durable or not.
    is_observed: bool,
    sent: bool,
}

/// Whether the ledger that replicas share, if they do, knows of a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shares {
    Unasked,
    Booked,
}

/// A request that has left, or may have.
///
/// Dropping it unsettled counts as given up now.
#[must_use = "a charge that is dropped counts as lost"]
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    grant: Grant,
    booking: Option<Booking>,
    flight: Flight,
    over: bool,
}

impl Permit {
    pub(super) fn new(budget: Arc<Budget>, grant: Grant) -> Self {
        Self { budget, grant, booking: None, shares: Shares::Unasked, is_observed: false, sent: false }
    }

    /// A bid's, whose turn it was by all that replicas know.
    pub(super) fn of_bid(budget: Arc<Budget>, grant: Grant) -> Self {
        let mut permit = Self::new(budget, grant);
        permit.shares = Shares::Booked;
        permit
    }

    pub(super) fn observed(budget: Arc<Budget>, grant: Grant) -> Self {
        let mut permit = Self::new(budget, grant);
        permit.is_observed = true;
        permit
    }

    /// Resolves when the charge is on disk; at once, where nothing outlives the
    /// process or nothing may be held up. To be awaited before [`Permit::sent`].
    /// Safe to drop and call again.
    ///
    /// # Errors
    /// The ledger cannot be written: the permit is to be dropped.
    pub async fn booked(&mut self) -> Result<(), LedgerDown> {
        if self.budget.fleet.is_some() && !self.grant.set.is_empty() {
            return self.booked_by_all().await;
        }
        let Some(link) = self.link() else { return Ok(()) };
        if self.booking.is_none() {
            let vendor = self.budget.change(|desk, now| desk.books().vendor_clock().at_most(now));
            match link.book(&self.budget.plan, self.grant, vendor) {
                Ok(booking) => self.booking = Some(booking),
                Err(LedgerDown) if self.is_observed => return Ok(()),
                Err(LedgerDown) => return Err(LedgerDown),
            }
        }
        match &mut self.booking {
            Some(booking) if !self.is_observed => booking.durable(self.budget.clock).await,
            _ => Ok(()),
        }
    }

    /// A bid's permit is booked already where replicas share the account.
    async fn booked_by_all(&mut self) -> Result<(), LedgerDown> {
        match self.shares {
            Shares::Booked => {}
            Shares::Unasked if self.is_observed => {
                let grant = self.grant;
                self.budget.tell(|replica, now| replica.add(grant, now));
                self.shares = Shares::Booked;
            }
            Shares::Unasked => {
                self.budget.book_now(self.grant).await?;
                self.shares = Shares::Booked;
            }
        }
        // After a long pause of this process it may have lapsed there.
        if self.is_observed || self.budget.may_be_sent(self.grant) { Ok(()) } else { Err(LedgerDown) }
    }

    /// What it has to be written to; what counts against no limit need not outlive anything.
    fn link(&self) -> Option<&Link> {
        self.budget.link.as_ref().filter(|_| !self.grant.set.is_empty())
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
        let is_durable = self.booking.as_ref().is_some_and(Booking::is_durable);
        debug_assert!(is_durable || self.is_observed || self.link().is_none(), "sent before it was booked");
        let flight = Flight { sent: self.budget.now(), counted_by: None };
        let booking = self.booking.take();
        Charge { budget: Arc::clone(&self.budget), grant: self.grant, booking, flight, over: false }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.sent {
            self.budget.change(|desk, now| desk.refund(self.grant, now));
            forget(&self.budget, self.booking.as_ref(), self.grant);
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
        let Some(linger) = self.budget.plan.counted_within.filter(|_| self.flight.counted_by.is_none())
        else {
            return;
        };
        self.flight.counted_by = self.end(linger, |desk, grant, _, now| desk.all_sent(grant, now));
    }

    /// The response head (not a 1xx) has come just now.
    pub fn settled(mut self) {
        self.over = true;
        self.end(Duration::ZERO, Desk::settle);
    }

    /// Nothing has left after all: the connection that stood died before it took
    /// the request. To be called only where that is certain.
    pub fn never_left(mut self) {
        self.over = true;
        self.budget.change(|desk, now| desk.refund(self.grant, now));
        forget(&self.budget, self.booking.as_ref(), self.grant);
    }

    /// Given up just now without a head, or with one that an intermediary may
    /// have made (502, 503, 504, 52x): the vendor may still count it for `linger`.
    pub fn lost(self) {
        drop(self);
    }

    /// It ends now, as `change` says, counted at most `linger` later.
    fn end<T>(&self, linger: Duration, change: impl FnOnce(&mut Desk, Grant, Flight, Moment) -> T) -> T {
        let (result, at, vendor) = self.budget.change(|desk, now| {
            let result = change(desk, self.grant, self.flight, now);
            (result, now, desk.books().vendor_clock().at_most(now))
        });
        // What was promised for all that was sent holds, unless the head came before it.
        let is_promised = self.flight.counted_by.is_some_and(|promised| !linger.is_zero() || promised <= at);
        if let (Some(link), Some(booking), false) = (&self.budget.link, &self.booking, is_promised) {
            link.settle(booking, &self.budget.plan, self.grant, End { at, vendor, linger });
        }
        if !is_promised {
            self.budget.tell(|replica, _| replica.settle(self.grant.ticket, at + linger));
        }
        result
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if !self.over {
            self.end(self.budget.plan.linger, Desk::lose);
        }
    }
}

fn forget(budget: &Budget, booking: Option<&Booking>, grant: Grant) {
    budget.tell(|replica, now| replica.forget(grant.ticket, now));
    if let (Some(link), Some(booking)) = (&budget.link, booking) {
        link.forget(booking);
    }
}
