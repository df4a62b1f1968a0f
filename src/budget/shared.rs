//! One account for many replicas: their ledger is in Redis (DESIGN, law 9).
//!
//! * The desk decides whose turn it is, as ever; a Lua script then charges the request
//!   to all of its limits at once, or says no. It checks counts against bounds that the
//!   desk has worked out from the laws, so it holds the account's limits, caps and
//!   reserves over all replicas whatever one of them believes.
//! * Everything is on Redis's clock, which the script keeps from going back. A charge
//!   says from the start until when it can be counted, so that what a dead replica held
//!   comes back by itself; its end is told later, as often as need be.
//! * A booking is waited for, for half a second at most; a call carries all that has come
//!   up while the one before it was under way. Without any answer for a second the
//!   ledger is lost: who waits is refused (503), cached answers flow on, and it is
//!   tried again four times a second.
//! * Redis empty, older, or with a clock that jumped: see `replica` and `script/`. Each
//!   replica tells the new epoch all it remembers, of every replica's charges, before
//!   anybody books; for replicas that do not come back, it counts what they may have charged unseen.
//! * Turns are by share over all replicas: each tells who waits there, and the script deals
//!   the free slots out in the order of start tags that it keeps itself (see `queue`), so it
//!   does not matter at how many replicas a consumer asks. Which of its own callers goes is
//!   for the replica that asks first. A slot is kept for whoever's turn it is for 100 ms.

mod aside;
mod replica;
mod skew;
#[cfg(test)]
mod tests;
mod wire;
mod worker;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::desk::Grant;
use super::{Budget, Ledger, LedgerDown};
use crate::clock::{Clock, Moment};
use crate::config::{self, OnEmpty};
use crate::id::UpstreamName;
use crate::redis::{Script, Server};

use aside::{Aside, Fallback};
pub(super) use replica::{Fact, Replica, Spans};

/// The version of what is in Redis: one at a time, the newest that is there (`script/epoch.lua`).
const SCHEMA: u32 = 2;

/// The longest that one call, or one attempt to connect, is waited for.
const CALL_WITHIN: Duration = Duration::from_millis(500);

/// The Redis that replicas share, and this replica's name in it.
pub struct Shared {
    server: Server,
    prefix: String,
    me: String,
    egress: String,
    on_empty: OnEmpty,
    slots: Option<u32>,
    script: Script,
}

/// What a [`Shared`] is made from.
#[derive(Debug)]
pub struct Options {
    /// Where it is.
    pub server: Server,
    /// Put before every key.
    pub prefix: String,
    /// Unique to this process: random.
    pub process: u64,
    /// Who shares this replica's address where no upstream names an `egress`: its own
    /// name, the same after a restart.
    pub egress: String,
    /// What an empty Redis means that nobody remembers anything of.
    pub on_empty: OnEmpty,
    /// In how many replicas something is set aside, if it is.
    pub slots: Option<u32>,
}

/// How a budget stands to the ledger that it shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// What the others have charged is not known yet.
    Joining,
    /// Admitting.
    Open,
    /// Redis cannot be reached.
    Lost,
}

/// What ties one budget to the ledger that it shares.
pub(super) struct Fleet {
    shared: Arc<Shared>,
    upstream: UpstreamName,
    /// Tells the worker that there is something to say.
    pub(super) work: Notify,
    standing: watch::Sender<Standing>,
    aside: Option<Fallback>,
}

impl Shared {
    /// Connects to nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Arc<Self> {
        Self::by_clock(options, MACHINE_CLOCK)
    }

    /// `clock` is the script's.
    pub(super) fn by_clock(options: Options, clock: &str) -> Arc<Self> {
        let Options { server, prefix, process, egress, on_empty, slots } = options;
        let me = format!("{process:016x}");
        let script = Script::new(&script(clock));
        Arc::new(Self { server, prefix, me, egress, on_empty, slots, script })
    }

    /// What all keys of `upstream` begin with: in one slot of a cluster.
    fn slot(&self, upstream: &UpstreamName) -> String {
        format!("{{{}:{upstream}}}", self.prefix)
    }
}

/// How the script reads the time.
const MACHINE_CLOCK: &str = "local function wall_clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end
";

/// The script with a clock before it: properties bring one that they turn by hand.
fn script(clock: &str) -> String {
    const PARTS: [&str; 4] = [
        include_str!("shared/script/epoch.lua"),
        include_str!("shared/script/charges.lua"),
        include_str!("shared/script/turns.lua"),
        include_str!("shared/script/bookings.lua"),
    ];
    format!("{clock}{}", PARTS.concat())
}

impl Budget {
    /// The budget of an account that is shared; what is set aside is remembered in `ledger`.
    /// It admits nobody until [`Budget::recall`].
    #[must_use]
    pub fn shared(
        upstream: &config::Upstream,
        clock: Clock,
        shared: &Arc<Shared>,
        ledger: Option<&Arc<Ledger>>,
    ) -> Arc<Self> {
        let (plan, connect, answer) = (&upstream.plan, upstream.connect_timeout, upstream.timeout);
        let spans = Spans::of(plan, connect, answer);
        let egress = upstream.egress.as_deref().unwrap_or(&shared.egress);
        let mut replica = Replica::new(shared.me.clone(), egress, plan, spans, shared.on_empty);
        let aside = upstream.aside.as_ref().zip(ledger).map(|(aside, ledger)| {
            let link = ledger.link(upstream.name.clone(), connect + answer);
            let budget = Self::durable(aside.plan.clone(), clock, link);
            Fallback { budget, ledger: Arc::clone(ledger), lacking: aside.lacking }
        });
        replica.aside =
            aside.as_ref().zip(shared.slots).map(|(_, slots)| Aside::new(shared.egress.clone(), slots));
        let fleet = Fleet {
            shared: Arc::clone(shared),
            upstream: upstream.name.clone(),
            work: Notify::new(),
            standing: watch::Sender::new(Standing::Joining),
            aside,
        };
        let budget = Self::build(plan.clone(), clock, None, Some((fleet, replica)));
        let mut state = budget.core.state.lock();
        state.desk.shut();
        state.desk.ask_first();
        drop(state);
        budget
    }

    /// Begins to take part, within a runtime: what was charged is learnt, and admissions begin.
    pub(super) fn join(&self) {
        self.recall_aside();
        if self.core.fleet.is_some() {
            drop(tokio::spawn(worker::keep(Weak::clone(&self.me), self.core.clock)));
        }
    }

    /// Resolves once it is known how this budget stands to the ledger that it shares, if it does.
    pub async fn joined(&self) {
        if let Some(fleet) = &self.core.fleet {
            let _ = fleet.standing.subscribe().wait_for(|standing| *standing != Standing::Joining).await;
        }
    }

    /// How it stands to the ledger that it shares, if it does.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        self.core.fleet.as_ref().map(|fleet| *fleet.standing.borrow())
    }

    /// Waits until the ledger knows what became of every charge, for a second at most:
    /// what it is not told counts for as long as it can.
    pub async fn told(&self) {
        const BOUND: Duration = Duration::from_secs(1);
        const LOOK: Duration = Duration::from_millis(10);
        let by = self.now() + BOUND;
        let is_told = || self.core.state.lock().replica.as_ref().is_none_or(|replica| !replica.has_work());
        while self.standing() == Some(Standing::Open) && !is_told() && self.now() < by {
            self.core.clock.sleep_until(self.now() + LOOK).await;
        }
    }

    /// Books what was granted without a bid.
    pub(super) async fn book_now(&self, grant: Grant) -> Result<(), LedgerDown> {
        let told = {
            let mut state = self.core.state.lock();
            let bounds = state.desk.books().bounds_of_booked(grant.seat, grant.set);
            let Some(replica) = &mut state.replica else { return Ok(()) };
            replica.ask_for_permit(grant, bounds)
        };
        self.say();
        let by = self.core.clock.instant(self.now() + CALL_WITHIN * 3);
        match tokio::time::timeout_at(by, told).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false) | Err(_)) | Err(_) => Err(LedgerDown),
        }
    }

    /// Tells the replica's part something, and the worker that it did.
    pub(super) fn tell(&self, tell: impl FnOnce(&mut Replica, Moment)) {
        if self.core.fleet.is_none() {
            return;
        }
        let mut state = self.core.state.lock();
        let now = self.core.clock.now();
        if let Some(replica) = &mut state.replica {
            tell(replica, now);
            drop(state);
            self.say();
        }
    }

    /// Whether what was booked under `grant` may still be sent.
    pub(super) fn may_be_sent(&self, grant: Grant) -> bool {
        let state = self.core.state.lock();
        state.replica.as_ref().is_none_or(|replica| replica.may_be_sent(grant.ticket, self.core.clock.now()))
    }

    fn say(&self) {
        if let Some(fleet) = &self.core.fleet {
            fleet.work.notify_one();
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("prefix", &self.prefix).field("me", &self.me).finish_non_exhaustive()
    }
}
