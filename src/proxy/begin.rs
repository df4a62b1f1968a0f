//! How a fetch begins: what the cache says, whose flight is joined, by what right
//! a new one leaves.
//!
//! A caller who may share joins, or begins a flight that others may join; one who
//! may not flies alone; a reader of a stale answer sets off a refresh that nobody
//! waits for. Whoever begins it, the fetch is a task of its own (see `fetch`).

use std::sync::Arc;

use super::Lane;
use super::call::Caller;
use super::fault::Fault;
use super::fetch::{Admission, Fetch, Shared};
use super::turn::Gate;
use super::wish::Wish;
use crate::budget::Refusal;
use crate::cache::{Hit, Joined, Listener, Lookup, Now, Stale};
use crate::clock::Moment;
use crate::config::Mode;
use crate::quota::LimitSet;

/// One caller's ear on a fetch.
pub(super) type Ear = Listener<Shared, Fault>;

impl Wish {
    pub(super) fn lookup(&self) -> Lookup {
        self.lane.cache.lookup(&self.key, &self.policy(), &self.asked(), self.lane.now())
    }

    /// The same, and on a miss in the second levels too.
    pub(super) async fn look(&self) -> Lookup {
        // Only where this replica was held up, so that others may have given it up.
        if let Some(shared) =
            self.lane.cache.shared().filter(|level| !level.is_trusted(self.lane.clock.now()))
        {
            shared.catch_up().await;
        }
        match self.lookup() {
            Lookup::Miss(_) | Lookup::OnlyIfCached
                if self.lane.cache.bring_up(&self.key, self.lane.clock).await =>
            {
                self.lookup()
            }
            found => found,
        }
    }

    /// The flight that will serve this wish: another's, or one that begins here.
    /// `Err` if the answer has landed between the lookup and now.
    pub(super) fn join(
        self: &Arc<Self>,
        stale: Option<&Stale>,
        caller: &Caller<'_>,
        tries: u32,
    ) -> Result<Ear, Hit> {
        let lane = &self.lane;
        let fetch = Fetch { tries, ..Fetch::of(self, stale.map(|stale| Arc::clone(&stale.entry))) };
        if !self.asked().may_join() {
            return Ok(lane.launch(fetch, caller));
        }
        let mut admission = None;
        let again = || match self.lookup() {
            Lookup::Fresh(hit) => Some(hit),
            _ => None,
        };
        let make = || {
            let (begun, shared) = lane.admission(self.limits, caller);
            admission = Some(begun);
            shared
        };
        match lane.flights.join(&self.flight(), lane.clock.now(), again, make) {
            Joined::Found(hit) => Err(hit),
            Joined::Follower(listener) => Ok(listener),
            Joined::Leader(lead, listener) => {
                if let Some(admission) = admission {
                    tokio::spawn(fetch.run(admission, lead));
                }
                Ok(listener)
            }
        }
    }

    /// Renews a stale answer behind its reader's back, if that takes nobody's turn.
    pub(super) fn refresh(self: &Arc<Self>, stale: &Stale, caller: &Caller<'_>) {
        let lane = &self.lane;
        let Some(permit) = lane.budget.try_now(self.limits, caller.access.seat) else { return };
        let make = || Shared::new(None, Gate::of(lane));
        let joined = lane.flights.join(&self.flight(), lane.clock.now(), || None::<()>, make);
        // A follower's permit is refunded here: the answer is being renewed already.
        if let Joined::Leader(lead, _) = joined {
            let entry = Some(Arc::clone(&stale.entry));
            let fetch = Fetch { in_background: true, ..Fetch::of(self, entry) };
            tokio::spawn(fetch.run(Admission::Permit(permit), lead));
        }
    }
}

impl Lane {
    pub(super) fn now(&self) -> Now {
        Now { at: self.clock.now(), wall: self.clock.wall() }
    }

    /// How a fetch for this caller is admitted, and what its callers share.
    fn admission(&self, limits: LimitSet, caller: &Caller<'_>) -> (Admission, Shared) {
        let (admission, door) = match self.config.mode {
            Mode::Enforce if self.is_free(limits) => {
                let (permit, _) = self.budget.charge_anyway(limits, caller.access.seat);
                (Admission::Permit(permit), None)
            }
            Mode::Enforce => {
                let bid = self.budget.bid(limits);
                let door = Some(bid.door());
                (Admission::Bid(bid), door)
            }
            Mode::Observe => {
                let (permit, held_up) = self.budget.charge_anyway(limits, caller.access.seat);
                held_up.inspect(|held_up| self.observe(caller.access.seat, caller.deadline, held_up));
                (Admission::Permit(permit), None)
            }
        };
        (admission, Shared::new(door, Gate::of(self)))
    }

    /// Whether a request that counts against these limits counts against none: then a
    /// shared ledger, be it there or lost, has nothing to say about it.
    pub(super) fn is_free(&self, limits: LimitSet) -> bool {
        limits.is_empty() && self.budget.standing().is_some()
    }

    /// Says what would have become of a request, had its limits been enforced.
    pub(super) fn observe(&self, seat: usize, deadline: Moment, held_up: &Refusal) {
        tracing::info!(
            upstream = %self.config.name,
            consumer = %self.config.plan.consumers[seat].name,
            limit = %held_up,
            wait_s = held_up.retry_after.as_secs_f64(),
            would = if held_up.retry_at > deadline { "refuse" } else { "wait" },
            "observed: over the limit, and sent all the same"
        );
    }

    /// Begins a fetch that nobody joins.
    pub(super) fn launch(&self, fetch: Fetch, caller: &Caller<'_>) -> Ear {
        let (admission, shared) = self.admission(fetch.wish.limits, caller);
        let (lead, listener) = self.flights.alone(&fetch.wish.flight(), shared);
        tokio::spawn(fetch.run(admission, lead));
        listener
    }
}
