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
use crate::cache::{EntryArc, Hit, Joined, Listener, Lookup, Now, Stale};
use crate::clock::Moment;
use crate::config::Mode;
use crate::quota::LimitSet;
use crate::telemetry::trace::{Branch, Spans};

/// One caller's ear on a fetch.
pub(super) type Ear = Listener<Shared, Fault>;

impl Wish {
    pub(super) fn lookup(&self, now: Now) -> Lookup {
        self.lane.cache.look(&self.key, (&self.policy(), &self.directives), || self.sent(), now)
    }

    /// The same, unless it was `found` just now, and on a miss in the second levels too.
    pub(super) async fn look(&self, found: Option<Lookup>) -> Lookup {
        let mut found = found;
        // Only where this replica was held up, so that others may have given it up.
        if let Some(shared) =
            self.lane.cache.shared().filter(|_| !self.lane.is_current(self.lane.clock.now()))
        {
            shared.catch_up().await;
            found = None;
        }
        match found.unwrap_or_else(|| self.lookup(self.lane.now())) {
            Lookup::Miss(_) | Lookup::OnlyIfCached
                if self.lane.cache.bring_up(&self.key, self.lane.clock).await =>
            {
                self.lookup(self.lane.now())
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
        let fetch = Fetch { tries, ..Fetch::of(self, stale.map(|stale| EntryArc::clone(&stale.entry))) };
        if !self.directives.allow_joining() {
            return Ok(lane.launch(fetch, caller));
        }
        let (mut admission, mut spans) = (None, Spans::default());
        let now = lane.now();
        let again = || match self.lookup(now) {
            Lookup::Fresh(hit) => Some(hit),
            _ => None,
        };
        let make = || {
            spans = caller.spans();
            let (begun, shared) = lane.admission(self.limits, caller, &spans);
            admission = Some(begun);
            shared
        };
        match lane.flights.join(&self.flight(), now.at, again, make) {
            Joined::Found(hit) => Err(hit),
            Joined::Follower(listener) => Ok(listener),
            Joined::Leader(lead, listener) => {
                if let Some(admission) = admission {
                    tokio::spawn(Box::pin(Fetch { spans, ..fetch }.run(admission, lead)));
                }
                Ok(listener)
            }
        }
    }

    /// Renews a stale answer behind its reader's back, if that takes nobody's turn.
    pub(super) fn refresh(self: &Arc<Self>, stale: &Stale, caller: &Caller<'_>) {
        let lane = &self.lane;
        // The next reader finds the token there; whether it can be had is told by the sign-in.
        if !self.is_signed_in(caller) {
            return;
        }
        let Some(permit) = lane.budget.try_now(self.limits, caller.access.seat) else { return };
        let mut spans = Spans::default();
        let make = || {
            spans = caller.spans();
            Shared::new(None, Gate::of(lane), &spans)
        };
        let joined = lane.flights.join(&self.flight(), lane.clock.now(), || None::<()>, make);
        // A follower's permit is refunded here: the answer is being renewed already.
        if let Joined::Leader(lead, _) = joined {
            let entry = Some(EntryArc::clone(&stale.entry));
            let fetch = Fetch { in_background: true, spans, ..Fetch::of(self, entry) };
            tokio::spawn(Box::pin(fetch.run(Admission::Permit(permit), lead)));
        }
    }
}

impl Lane {
    pub(super) fn now(&self) -> Now {
        Now { at: self.clock.now(), wall: self.clock.wall() }
    }

    /// How a fetch for this caller is admitted, and what its callers share.
    fn admission(&self, limits: LimitSet, caller: &Caller<'_>, spans: &Spans) -> (Admission, Shared) {
        let (admission, door) = match self.config.mode {
            // What no limit counts waits for nothing: not for a turn, and not for the ledger.
            Mode::Enforce if limits.is_empty() => {
                let (permit, _) = self.budget.charge_anyway(limits, caller.access.seat);
                (Admission::Permit(permit), None)
            }
            Mode::Enforce => match self.budget.admit_at_once(limits, caller.access.seat) {
                Some(permit) => (Admission::Permit(permit), None),
                None => {
                    let bid = self.budget.bid(limits);
                    let door = Some(bid.door());
                    (Admission::Bid(bid), door)
                }
            },
            Mode::Observe => {
                let (permit, held_up) = self.budget.charge_anyway(limits, caller.access.seat);
                held_up.inspect(|held_up| self.observe(caller.access.seat, caller.deadline, held_up));
                (Admission::Permit(permit), None)
            }
        };
        (admission, Shared::new(door, Gate::of(self), spans))
    }

    /// Whether a stored answer may be given at `now` without asking what other replicas
    /// have purged.
    pub(super) fn is_current(&self, now: Moment) -> bool {
        self.cache.shared().is_none_or(|shared| shared.is_trusted(now))
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
        let spans = caller.spans();
        let (admission, shared) = self.admission(fetch.wish.limits, caller, &spans);
        let (lead, listener) = self.flights.alone(&fetch.wish.flight(), shared);
        tokio::spawn(Box::pin(Fetch { spans, ..fetch }.run(admission, lead)));
        listener
    }
}

impl Caller<'_> {
    /// Those of a fetch that begins for it.
    fn spans(&self) -> Spans {
        self.branch.as_ref().map(Branch::begin).unwrap_or_default()
    }
}
