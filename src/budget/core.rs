//! The lock around the desk, and the timer beside it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::Budget;
use super::desk::{BidId, Desk};
use super::shared::{Fleet, Replica};
use crate::clock::{Clock, Moment};

/// What all plans of one upstream share.
pub(super) struct Core {
    pub(super) clock: Clock,
    pub(super) state: Mutex<State>,
    /// Tells the timer that it may have to wake earlier.
    rearm: Arc<Notify>,
    /// Tells those who wait that some of them are refused before their deadline.
    pub(super) turned_away: Notify,
    /// With whom the account is shared, if it is.
    pub(super) fleet: Option<Fleet>,
    me: Weak<Self>,
}

pub(super) struct State {
    pub(super) desk: Desk,
    /// What is known of the others' charges.
    pub(super) replica: Option<Replica>,
    /// Whom to tell of a bid's outcome.
    pub(super) signals: HashMap<BidId, Arc<Notify>>,
    /// The budget whose plan the desk follows.
    pub(super) face: Weak<Budget>,
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

impl Core {
    pub(super) fn new(desk: Desk, clock: Clock, shared: Option<(Fleet, Replica)>) -> Arc<Self> {
        let (fleet, replica) = shared.unzip();
        let signals = HashMap::new();
        let state = State { desk, replica, signals, face: Weak::new(), timer: None, timers: 0 };
        Arc::new_cyclic(|me| Self {
            clock,
            state: Mutex::new(state),
            rearm: Arc::new(Notify::new()),
            turned_away: Notify::new(),
            fleet,
            me: me.clone(),
        })
    }

    /// Changes the core at the present moment, then tells whom it concerns.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Desk, Moment) -> T) -> T {
        self.change_state(|state, now| change(&mut state.desk, now))
    }

    /// Charges, and says whose plan the grant's indices are of.
    pub(super) fn grant<T>(&self, charge: impl FnOnce(&mut Desk, Moment) -> T) -> (T, Option<Arc<Budget>>) {
        self.change_state(|state, now| (charge(&mut state.desk, now), state.face.upgrade()))
    }

    pub(super) fn change_state<T>(&self, change: impl FnOnce(&mut State, Moment) -> T) -> T {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        // Read under the lock, so that the core's time never goes back.
        let now = self.clock.now();
        if state.desk.has_edges() {
            let wall = state.replica.as_ref().and_then(|replica| replica.wall(now));
            state.desk.follow_wall(now, wall.unwrap_or_else(|| self.clock.wall()));
        }
        state.desk.pump(now);
        let result = change(state, now);
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
        let begun = self.arm(state);
        drop(guard);
        if let Some((runtime, running)) = begun {
            // A runtime that shuts down drops it at once, and that takes the lock.
            runtime.spawn(keep_time(running, self.clock, Arc::clone(&self.rearm)));
        }
        result
    }

    /// Sees to it that a timer runs while somebody waits, and wakes in time. Gives the
    /// one that is to be started.
    fn arm(&self, state: &mut State) -> Option<(Handle, Running)> {
        if state.desk.waiting() == 0 {
            return None;
        }
        let next = state.desk.next_wake();
        if let Some(armed) = &mut state.timer {
            if armed.until != next {
                armed.until = next;
                self.rearm.notify_one();
            }
            return None;
        }
        // Without a runtime nobody can be waiting for an answer either.
        let runtime = Handle::try_current().ok()?;
        state.timers += 1;
        let running = Running { core: Weak::clone(&self.me), number: state.timers };
        state.timer = Some(Armed { number: state.timers, until: next });
        Some((runtime, running))
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
}

impl Drop for Core {
    fn drop(&mut self) {
        self.rearm.notify_one();
    }
}

/// While it lives, timer `number` runs.
struct Running {
    core: Weak<Core>,
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
        let Some(core) = self.core.upgrade() else { return };
        let mut state = core.state.lock();
        if state.timer.is_some_and(|armed| armed.number == self.number) {
            state.timer = None;
        }
    }
}

/// Lets the core go on whenever something lapses, while somebody waits.
async fn keep_time(running: Running, clock: Clock, rearm: Arc<Notify>) {
    while let Some(core) = running.core.upgrade() {
        let Tick::Sleep(until) = core.tick(running.number) else { return };
        drop(core);
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
