//! What one upstream's account allows, handed out to the last request and never more.
//!
//! A fetch that wants to leave opens a [`Bid`]; every caller that wants its
//! answer holds an [`Entry`] in it, in the queue of its own consumer. The first
//! entry to be admitted pays, the others are withdrawn (DESIGN, law 3), and the
//! fetch gets a [`Permit`]. Just before the first byte the permit becomes a
//! [`Charge`], which ends at the response head or when the fetch gives up.
//!
//! `desk`, `queue`, `hierarchy`, `window` and what they stand on are pure: they
//! take `now` and data. This file is the shell around them: one lock that is
//! never held over an await, and one timer that sleeps until the next charge
//! lapses while somebody waits, and not at all otherwise.

mod bid;
mod desk;
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

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
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

use desk::{BidId, Desk};
use hierarchy::Books;
use log::Seat;
use shared::{Fleet, Replica};

/// The budget of one upstream.
pub struct Budget {
    plan: Plan,
    clock: Clock,
    has_edges: bool,
    state: Mutex<State>,
    /// Where charges outlive the process, if they do.
    link: Option<ledger::Link>,
    /// With whom the account is shared, if it is.
    fleet: Option<Fleet>,
    /// Tells the timer that it may have to wake earlier.
    rearm: Arc<Notify>,
    /// Tells those who wait that some of them are refused before their deadline.
    turned_away: Notify,
    me: Weak<Self>,
}

struct State {
    desk: Desk,
    /// What is known of the others' charges.
    replica: Option<Replica>,
    /// Whom to tell of a bid's outcome.
    signals: HashMap<BidId, Arc<Notify>>,
    /// When the timer wakes by itself; `None` if none runs.
    timer: Option<Armed>,
    /// Timers started so far.
    timers: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Armed {
    /// Which timer it is.
    number: u64,
    /// Sleeps until then, or until told.
    until: Option<Moment>,
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
        let has_edges = plan.limits.iter().any(|l| matches!(l.window, crate::quota::Window::Calendar(_)));
        let books = Books::new(&plan, clock.now(), clock.wall());
        let desk = Desk::new(plan.clone(), books);
        let (fleet, replica) = shared.unzip();
        Arc::new_cyclic(|me| Self {
            plan,
            clock,
            has_edges,
            link,
            fleet,
            state: Mutex::new(State { desk, replica, signals: HashMap::new(), timer: None, timers: 0 }),
            rearm: Arc::new(Notify::new()),
            turned_away: Notify::new(),
            me: me.clone(),
        })
    }

    /// What it was made from.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What it tells the time by.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Opens a bid for one fetch that counts against `limits`.
    pub fn bid(&self, limits: LimitSet) -> Bid {
        let signal = Arc::new(Notify::new());
        let mut state = self.state.lock();
        let id = state.desk.open(limits);
        state.signals.insert(id, Arc::clone(&signal));
        Bid { door: Door { budget: self.arc(), id }, signal }
    }

    /// Charges `seat` even over its limits and never waits: for `mode = "observe"`.
    /// Tells what would have been in its way.
    pub fn charge_anyway(&self, limits: LimitSet, seat: usize) -> (Permit, Option<Refusal>) {
        let (grant, held_up) = self.change(|desk, now| desk.charge_anyway(seat_of(seat), limits, now));
        (Permit::observed(self.arc(), grant), held_up)
    }

    /// Admits now, without taking a slot that somebody waits for or has reserved,
    /// or not at all: for refreshes in the background.
    #[must_use]
    pub fn try_now(&self, limits: LimitSet, seat: usize) -> Option<Permit> {
        let grant = self.change(|desk, now| desk.try_now(seat_of(seat), limits, now))?;
        Some(Permit::new(self.arc(), grant))
    }

    /// The vendor's `Date` of a response whose request was sent at `sent` and whose
    /// head came at `head`. To be left out when the response has an `Age`.
    pub fn vendor_date(&self, date: UnixTime, sent: Moment, head: Moment) {
        let dated = self.change(|desk, now| {
            desk.learn_date(date, sent, head, now);
            desk.books().vendor_clock().dated()
        });
        if let (Some(link), Some(dated)) = (&self.link, dated) {
            link.remember_clock(dated);
        }
    }

    /// From now on the requests on the limit at `limit` (a sliding one) are evenly
    /// spaced: the switch behind `pace = "auto"`, for whoever learns that a vendor
    /// only estimates.
    pub fn space_out(&self, limit: usize) {
        self.change(|desk, now| desk.space_out(limit, now));
    }

    /// Whether the limit at `limit` is evenly spaced.
    #[must_use]
    pub fn is_spaced_out(&self, limit: usize) -> bool {
        self.state.lock().desk.books().pacing().is_even(limit)
    }

    /// Everything at one moment: for status, metrics and the dashboard. Holds the
    /// lock while it looks at every consumer.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.change(|desk, now| Snapshot::of(desk, &self.plan, now))
    }

    /// `seat`'s own view of `limits`: for `RateLimit` headers.
    #[must_use]
    pub fn view(&self, seat: usize, limits: LimitSet) -> Vec<Remaining> {
        self.change(|desk, now| Remaining::of(desk, &self.plan, seat_of(seat), limits, now))
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Changes the core at the present moment, then tells whom it concerns.
    fn change<T>(&self, change: impl FnOnce(&mut Desk, Moment) -> T) -> T {
        self.change_all(|desk, _, now| change(desk, now))
    }

    /// The same with what is known of the others' charges.
    fn change_all<T>(&self, change: impl FnOnce(&mut Desk, Option<&mut Replica>, Moment) -> T) -> T {
        let mut state = self.state.lock();
        let state = &mut *state;
        // Read under the lock, so that the core's time never goes back.
        let now = self.clock.now();
        if self.has_edges {
            let wall = state.replica.as_ref().and_then(|replica| replica.wall(now));
            state.desk.follow_wall(now, wall.unwrap_or_else(|| self.clock.wall()));
        }
        state.desk.pump(now);
        let result = change(&mut state.desk, state.replica.as_mut(), now);
        state.desk.pump(now);
        if state.desk.take_has_turned_away() {
            self.turned_away.notify_waiters();
        }
        for bid in state.desk.take_decided() {
            if let Some(signal) = state.signals.get(&bid) {
                signal.notify_one();
            }
        }
        if let (Some(replica), Some(fleet)) = (&mut state.replica, &self.fleet) {
            let nominees = state.desk.take_nominees();
            if !nominees.is_empty() {
                fleet.work.notify_one();
            }
            nominees.into_iter().for_each(|nominee| replica.ask_for_bid(nominee));
        }
        self.arm(state);
        result
    }

    /// Sees to it that a timer runs while somebody waits, and wakes in time.
    fn arm(&self, state: &mut State) {
        if state.desk.waiting() == 0 {
            return;
        }
        let next = state.desk.next_wake();
        if let Some(armed) = &mut state.timer {
            if armed.until != next {
                armed.until = next;
                self.rearm.notify_one();
            }
            return;
        }
        // Without a runtime nobody can be waiting for an answer either.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        state.timers += 1;
        let running = Running { budget: Weak::clone(&self.me), number: state.timers };
        state.timer = Some(Armed { number: state.timers, until: next });
        runtime.spawn(keep_time(running, self.clock, Arc::clone(&self.rearm)));
    }

    /// When timer `number` has to wake next.
    fn tick(&self, number: u64) -> Tick {
        self.change(|_, _| ());
        let mut state = self.state.lock();
        if state.desk.waiting() == 0 {
            state.timer = None;
            return Tick::Stop;
        }
        let until = state.desk.next_wake();
        state.timer = Some(Armed { number, until });
        Tick::Sleep(until)
    }

    fn arc(&self) -> Arc<Self> {
        self.me.upgrade().expect("a budget lives in the Arc that new() made, and is borrowed here")
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.rearm.notify_one();
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("limits", &self.plan.limits.len()).finish_non_exhaustive()
    }
}

/// While it lives, timer `number` runs for this budget.
struct Running {
    budget: Weak<Budget>,
    number: u64,
}

enum Tick {
    Sleep(Option<Moment>),
    /// Nobody waits.
    Stop,
}

impl Drop for Running {
    /// Also when the runtime drops the task: the next one to wait starts another.
    fn drop(&mut self) {
        let Some(budget) = self.budget.upgrade() else { return };
        let mut state = budget.state.lock();
        if state.timer.is_some_and(|armed| armed.number == self.number) {
            state.timer = None;
        }
    }
}

/// Lets the core go on whenever something lapses, while somebody waits.
async fn keep_time(running: Running, clock: Clock, rearm: Arc<Notify>) {
    while let Some(budget) = running.budget.upgrade() {
        let Tick::Sleep(until) = budget.tick(running.number) else { return };
        drop(budget);
        let lapse = async {
            match until {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = lapse => {}
            () = rearm.notified() => {}
        }
    }
}

fn seat_of(index: usize) -> Seat {
    Seat::try_from(index).unwrap_or(Seat::MAX)
}
