//! What is acquired is a value, and giving it back is `Drop`.
//!
//! [`Permit`]: the right to send one request; dropped, it is refunded. It has to be
//! [booked](Permit::booked) before it is used, so that a crash cannot forget it.
//! [`Charge`]: the first byte may have left; it stands, and ends at the response
//! head ([`Charge::settled`]) or at give-up ([`Charge::lost`], also by `Drop`).

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Moment;
use crate::id::{ConsumerName, DivisionName};

use super::Budget;
use super::desk::{Desk, Flight, GRANT_KEEPS, Grant, Standing};
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

/// A grant that grew old while the vendor closed the window it was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the vendor has refused others since this was granted")]
pub struct Outdated;

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
        if self.budget.core.fleet.is_some() && !self.grant.set.is_empty() {
            return self.booked_by_all().await;
        }
        let Some(link) = self.link() else { return Ok(()) };
        if self.booking.is_none() {
            let now = self.budget.now();
            let vendor = self.budget.core.state.lock().desk.books().vendor_clock().at_most(now);
            match link.book(&self.budget.plan, self.grant, vendor) {
                Ok(booking) => self.booking = Some(booking),
                Err(LedgerDown) if self.is_observed => return Ok(()),
                Err(LedgerDown) => return Err(LedgerDown),
            }
        }
        match &mut self.booking {
            Some(booking) if !self.is_observed => booking.durable(self.budget.core.clock).await,
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

    /// The consumer that pays: its index in the plan of the moment of the grant.
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

    /// Looks once more at a grant that has grown older than a second (law 1), and
    /// waits where requests keep their distance. To be awaited last before
    /// [`Permit::sent`]. Safe to drop and call again.
    ///
    /// # Errors
    /// The vendor has refused others meanwhile: the permit is to be dropped, and asked for anew.
    pub async fn still_stands(&mut self) -> Result<(), Outdated> {
        if self.budget.now().since(self.grant.at) <= GRANT_KEEPS {
            return Ok(());
        }
        let standing = self.budget.change(|desk, now| desk.look_again(self.grant, now));
        match standing {
            _ if self.is_observed => Ok(()),
            Standing::Good => Ok(()),
            Standing::Closed => Err(Outdated),
            Standing::From(at) => {
                self.grant.at = at;
                self.budget.core.clock.sleep_until(at).await;
                Ok(())
            }
        }
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
    /// The consumer that pays, with its division; none if it is no longer in the plan.
    #[must_use]
    pub fn payer(&self) -> Option<(&ConsumerName, &DivisionName)> {
        let plan = &self.budget.plan;
        let consumer = plan.consumers.get(self.grant.seat as usize)?;
        Some((&consumer.name, &plan.divisions[consumer.division].name))
    }

    /// When the first byte may have left.
    #[must_use]
    pub fn sent_at(&self) -> Moment {
        self.flight.sent
    }

    /// Whether anything follows from [`Charge::last_byte`].
    #[must_use]
    pub fn wants_last_byte(&self) -> bool {
        self.budget.plan.counted_within.is_some()
            && self.flight.counted_by.is_none()
            && self.budget.core.state.lock().desk.counted_within().is_some()
    }

    /// The last byte of the request has left just now. Has an effect, once, under
    /// `counted_within`: the charge then lapses W after the earlier of the head
    /// and that long after now.
    pub fn last_byte(&mut self) {
        if self.flight.counted_by.is_none() {
            self.flight.counted_by = self.end(|desk, grant, _, now| desk.all_sent(grant, now));
        }
    }

    /// The response head (not a 1xx) has come just now.
    pub fn settled(mut self) {
        self.over = true;
        self.end(|desk, grant, flight, now| Some(desk.settle(grant, flight, now)));
    }

    /// Nothing has left after all: the connection that stood died before it took
    /// the request. To be called only where that is certain.
    pub fn never_left(mut self) {
        if self.flight.counted_by.is_some() {
            // Its last byte had been written: what follows can be no refund.
            return;
        }
        self.over = true;
        self.budget.change(|desk, now| desk.refund(self.grant, now));
        forget(&self.budget, self.booking.as_ref(), self.grant);
    }

    /// Given up just now without a head, or with one that an intermediary may
    /// have made (502, 503, 504, 52x): the vendor may still count it for `linger`.
    pub fn lost(self) {
        drop(self);
    }

    /// `change` tells by when it was, or will have been, counted.
    fn end(&self, change: impl FnOnce(&mut Desk, Grant, Flight, Moment) -> Option<Moment>) -> Option<Moment> {
        let (until, at, vendor) = self.budget.change(|desk, now| {
            let until = change(desk, self.grant, self.flight, now);
            (until, now, desk.books().vendor_clock().at_most(now))
        });
        // What was promised, and is over by now, is in the ledger as it was promised.
        if let (Some(link), Some(booking), Some(until)) =
            (&self.budget.link, &self.booking, until.filter(|&until| until >= at))
        {
            let end = End { at, vendor, linger: until.since(at) };
            link.settle(booking, &self.budget.plan, self.grant, end);
        }
        if let Some(until) = until.filter(|&until| until >= at) {
            self.budget.tell(|replica, _| replica.settle(self.grant.ticket, until));
        }
        until
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if !self.over {
            self.end(|desk, grant, flight, now| Some(desk.lose(grant, flight, now)));
        }
    }
}

fn forget(budget: &Budget, booking: Option<&Booking>, grant: Grant) {
    budget.tell(|replica, now| replica.forget(grant.ticket, now));
    if let (Some(link), Some(booking)) = (&budget.link, booking) {
        link.forget(booking);
    }
}
