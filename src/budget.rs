//! What one upstream's account allows, handed out to the last request and never more.
//!
//! A fetch that wants to leave opens a [`Bid`]; every caller that wants its
//! answer holds an [`Entry`] in it, in the queue of its own consumer. The first
//! entry to be admitted pays, the others are withdrawn (DESIGN, law 3), and the
//! fetch gets a [`Permit`]. Just before the first byte the permit becomes a
//! [`Charge`], which ends at the response head or when the fetch gives up.
//!
//! `desk`, `queue`, `hierarchy`, `window` and what they stand on are pure: they
//! take `now` and data. This file and `core` are the shell around them: one lock
//! that is never held over an await, and one timer that sleeps until the next
//! charge lapses while somebody waits, and not at all otherwise. A reload gives the
//! same books another plan (`eras`).

mod bid;
#[cfg(test)]
mod conformance;
mod core;
mod desk;
mod eras;
mod forecast;
mod hierarchy;
#[cfg(test)]
mod laws;
mod learn;
pub mod ledger;
mod log;
mod pace;
mod permit;
mod queue;
mod refusal;
mod reserve;
pub mod shared;
mod snapshot;
mod store;
#[cfg(test)]
mod tests;
mod vendor_clock;
mod window;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::{Clock, Moment, UnixTime};
use crate::quota::{LimitSet, Plan};

pub use bid::{Bid, Door, Entry};
pub use desk::Ask;
pub use learn::Closed;
pub use ledger::{Ledger, LedgerDown};
pub use permit::{Charge, Outdated, Permit};
pub use refusal::{Denied, Node, Reason, Refusal};
pub use shared::{Shared, Standing};
pub use snapshot::{LimitState, NodeState, Remaining, Snapshot, VendorView};
pub use store::Store;

use core::Core;
use desk::Desk;
use eras::Era;
use hierarchy::Books;
use log::Seat;
use shared::{Fleet, Replica};

/// The budget of one upstream, as one plan sees it. A [successor](Budget::replanned)
/// with another plan stands on the same books; all of them may be used until they
/// are dropped, and each speaks in the indices of its own plan.
pub struct Budget {
    plan: Plan,
    era: Era,
    core: Arc<Core>,
    /// Where charges outlive the process, if they do.
    link: Option<ledger::Link>,
    me: Weak<Self>,
}

impl Budget {
    /// A budget with nothing used, that forgets. Spawns nothing until somebody waits.
    #[must_use]
    pub fn new(plan: Plan, clock: Clock) -> Arc<Self> {
        Self::build(plan, clock, None, None)
    }

    fn build(
        plan: Plan,
        clock: Clock,
        link: Option<ledger::Link>,
        shared: Option<(Fleet, Replica)>,
    ) -> Arc<Self> {
        let books = Books::new(&plan, clock.now(), clock.wall());
        let core = Core::new(Desk::new(plan.clone(), books), clock, shared);
        let budget = Self::face(plan, Era::FIRST, Arc::clone(&core), link);
        core.state.lock().face = Arc::downgrade(&budget);
        budget
    }

    fn face(plan: Plan, era: Era, core: Arc<Core>, link: Option<ledger::Link>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self { plan, era, core, link, me: me.clone() })
    }

    /// The same books under another plan, from now on: what is used, what is in
    /// flight and who waits carry over by the names of limits and consumers. A
    /// limit that is new, or that counts more than before, is charged with all that
    /// is known. Callers whose consumer is gone leave the queue; what it was charged
    /// counts at the account alone. A request is sent and given up within `longest`
    /// of its booking.
    ///
    /// Not for a budget that replicas share: they would have to change at once.
    ///
    /// Two of them at once would each replace the other: the caller sees to it that
    /// there is one at a time, and that it is the newest that is replanned.
    #[must_use]
    pub fn replanned(&self, plan: Plan, longest: Duration) -> Arc<Self> {
        let link = self.link.as_ref().map(|link| link.followed((&self.plan, &plan), longest));
        let wall = self.core.clock.wall();
        self.core.change_state(|state, now| {
            let era = state.desk.replan(plan.clone(), now, wall);
            let budget = Self::face(plan, era, Arc::clone(&self.core), link);
            state.face = Arc::downgrade(&budget);
            budget
        })
    }

    /// Requests that may leave or have left, and have not come to an end.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        let aside = self.aside().map_or(0, |aside| aside.outstanding());
        self.core.state.lock().desk.outstanding() + aside
    }

    /// What it was made from.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What it tells the time by.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.core.clock
    }

    /// Opens a bid for one fetch that counts against `limits`, of which there must be one:
    /// what no limit counts has nothing to wait for ([`Budget::charge_anyway`]).
    pub fn bid(&self, limits: LimitSet) -> Bid {
        if let Some(aside) = self.fallback(limits) {
            return aside.bid(limits);
        }
        let signal = Arc::new(Notify::new());
        let mut state = self.core.state.lock();
        let limits = state.desk.eras().limits(self.era, limits);
        let id = state.desk.open(limits);
        state.signals.insert(id, Arc::clone(&signal));
        Bid { door: Door { budget: self.arc(), id }, signal }
    }

    /// Charges `seat` even over its limits and never waits: for `mode = "observe"`, and for
    /// what no limit counts. Tells what would have been in its way.
    pub fn charge_anyway(&self, limits: LimitSet, seat: usize) -> (Permit, Option<Refusal>) {
        let ((grant, held_up), face) = self.core.grant(|desk, now| {
            let limits = desk.eras().limits(self.era, limits);
            let seat = desk.eras().seat(self.era, seat_of(seat)).unwrap_or(desk.books().nobody());
            desk.charge_anyway(seat, limits, now)
        });
        (Permit::observed(face.unwrap_or_else(|| self.arc()), grant), held_up)
    }

    /// What a [bid](Budget::bid) with one caller would come to at once, if nobody waits and
    /// enough is free; and that for a fraction of its cost. Nothing where the account is shared.
    #[must_use]
    pub fn admit_at_once(&self, limits: LimitSet, seat: usize) -> Option<Permit> {
        if self.core.fleet.is_some() {
            return None;
        }
        let (grant, face) = self.core.grant(|desk, now| {
            let seat = desk.eras().seat(self.era, seat_of(seat))?;
            desk.admit_at_once(seat, desk.eras().limits(self.era, limits), now)
        });
        Some(Permit::new(face.unwrap_or_else(|| self.arc()), grant?))
    }

    /// Admits now, without taking a slot that somebody waits for or has reserved,
    /// or not at all: for refreshes in the background.
    #[must_use]
    pub fn try_now(&self, limits: LimitSet, seat: usize) -> Option<Permit> {
        let (grant, face) = self.core.grant(|desk, now| {
            let seat = desk.eras().seat(self.era, seat_of(seat))?;
            desk.try_now(seat, desk.eras().limits(self.era, limits), now)
        });
        Some(Permit::new(face.unwrap_or_else(|| self.arc()), grant?))
    }

    /// The vendor's `Date` of a response whose request was sent at `sent` and whose
    /// head came at `head`. To be left out when the response has an `Age`.
    pub fn vendor_date(&self, date: UnixTime, sent: Moment, head: Moment) {
        if let Some(aside) = self.aside() {
            aside.vendor_date(date, sent, head);
        }
        let news = self.change(|desk, now| {
            let before = desk.books().vendor_clock().dated();
            desk.learn_date(date, sent, head, now);
            desk.books().vendor_clock().dated().filter(|dated| before != Some(*dated))
        });
        if let (Some(link), Some(dated)) = (&self.link, news) {
            link.remember_clock(dated);
        }
    }

    /// From now on the requests on the limit at `limit` (a sliding one) are evenly
    /// spaced: the switch behind `pace = "auto"`, for whoever learns that a vendor
    /// only estimates.
    pub fn space_out(&self, limit: usize) {
        self.change(|desk, now| {
            if let Some(limit) = desk.eras().limit(self.era, limit) {
                desk.space_out(limit, now);
            }
        });
    }

    /// Whether the limit at `limit` is evenly spaced.
    #[must_use]
    pub fn is_spaced_out(&self, limit: usize) -> bool {
        let state = self.core.state.lock();
        let limit = state.desk.eras().limit(self.era, limit);
        limit.is_some_and(|limit| state.desk.books().pacing().is_even(limit))
    }

    /// Everything at one moment, by the newest plan: for status, metrics and the
    /// dashboard. Holds the lock while it looks at every consumer.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.change(|desk, now| Snapshot::of(desk, desk.plan(), now))
    }

    /// `seat`'s own view of `limits`, for `RateLimit` headers; nothing if its
    /// consumer is gone.
    #[must_use]
    pub fn view(&self, seat: usize, limits: LimitSet) -> Vec<Remaining> {
        self.change(|desk, now| {
            let Some(seat) = desk.eras().seat(self.era, seat_of(seat)) else { return Vec::new() };
            Remaining::of(desk, desk.plan(), seat, desk.eras().limits(self.era, limits), now)
        })
    }

    fn now(&self) -> Moment {
        self.core.clock.now()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Desk, Moment) -> T) -> T {
        self.core.change(change)
    }

    /// The same with what is known of the others' charges.
    fn change_all<T>(&self, change: impl FnOnce(&mut Desk, Option<&mut Replica>, Moment) -> T) -> T {
        self.core.change_state(|state, now| change(&mut state.desk, state.replica.as_mut(), now))
    }

    fn arc(&self) -> Arc<Self> {
        self.me.upgrade().expect("a budget lives in the Arc that new() made, and is borrowed here")
    }
}

impl Drop for Budget {
    /// Nobody speaks in its plan's indices any more.
    fn drop(&mut self) {
        self.core.state.lock().desk.eras_mut().forget(self.era);
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("limits", &self.plan.limits.len()).finish_non_exhaustive()
    }
}

fn seat_of(index: usize) -> Seat {
    Seat::try_from(index).unwrap_or(Seat::MAX)
}
