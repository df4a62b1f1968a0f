//! Bids, their callers, and what becomes of them: the pure core behind `Budget`.
//!
//! Every change is followed by [`Desk::pump`], so between two calls nobody waits
//! who could leave. The desk reads no clock: `now` is given, and never falls.

mod charges;
mod fleet;
mod foresee;
mod learn;
mod past;
mod refuse;
mod replan;
mod view;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::clock::{Moment, UnixTime};
use crate::quota::{LimitSet, Plan};

use super::eras::Eras;
use super::hierarchy::{Books, Place};
use super::learn::{Lessons, Others};
use super::log::Seat;
use super::queue::{EntryId, Queue, Waiter};
use super::refusal::{Denied, Reason, Refusal};
use super::vendor_clock::Shift;

pub(super) use charges::{Flight, GRANT_KEEPS, Standing};
use fleet::Claims;
pub(super) use fleet::{Bound, Bounds, Nominee};
use past::Past;

/// One fetch that wants to leave.
pub(super) type BidId = u64;

/// Who asks for a place in a bid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The consumer: its index in [`Plan::consumers`].
    pub seat: usize,
    /// After this it no longer wants to leave.
    pub deadline: Moment,
    /// Order among one consumer's own requests, RFC 9218: 0 first, 7 last.
    pub urgency: u8,
}

/// One request may leave; somebody's seat pays for it. Seat and set are as they
/// were when it was handed out; the desk knows by the id what they are now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) seat: Seat,
    pub(super) set: LimitSet,
    pub(super) at: Moment,
    pub(super) waited: Duration,
    /// Its number here; never zero.
    pub(super) ticket: u64,
}

/// What a bid has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Waiting,
    Granted(Grant),
    /// Nobody wants it any more.
    Over,
}

/// What has happened to one consumer's callers since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) waiting: usize,
    pub(super) admitted: u64,
    pub(super) refused: u64,
    /// Observed: admitted although it would have had to wait.
    pub(super) held_up: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Desk {
    plan: Arc<Plan>,
    /// The plan's, until the vendor breaks it.
    counted_within: Option<Duration>,
    /// By then all that was given up is counted, as far as that was promised.
    lost_until: Moment,
    books: Books,
    queue: Queue,
    bids: HashMap<BidId, Bid>,
    entries: HashMap<EntryId, Entry>,
    tallies: Vec<Tally>,
    /// Refusals told the same slot so far, by what stood in the way.
    herds: HashMap<(Place, usize), (Moment, u64)>,
    next_id: u64,
    past: Past,
    lessons: Lessons,
    eras: Eras,
    /// Grants that have not come to an end.
    outstanding: HashMap<u64, Owed>,
    /// What has to be asked for where replicas share the account.
    claims: Claims,
    others: Others,
    /// Waiters refused before their deadline, until they have heard of it.
    turned_away: HashMap<EntryId, Refusal>,
    has_turned_away: bool,
    /// Bids whose outcome is no longer `Waiting`, since last asked.
    decided: Vec<BidId>,
    /// Something has changed since the last look at who may leave.
    dirty: bool,
    next_wake: Option<Moment>,
}

/// What a grant is charged to now.
#[derive(Clone, Copy, Debug)]
struct Owed {
    seat: Seat,
    set: LimitSet,
    /// Nobody knows yet by when it was counted.
    is_pending: bool,
}

#[derive(Clone, Debug)]
struct Bid {
    set: LimitSet,
    waiting: SmallVec<[EntryId; 2]>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Chosen to go next, if the shared ledger agrees.
    Nominated(Grant),
    Granted(Grant),
    /// The permit has been handed out.
    Taken,
    Over,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    bid: BidId,
    seat: Seat,
    urgency: u8,
    since: Moment,
    deadline: Moment,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Waiting,
    Paid,
    /// Withdrawn: another entry paid, or it was refused.
    Free,
}

impl Desk {
    pub(super) fn new(plan: Plan, books: Books) -> Self {
        Self {
            // One more, for what is charged to nobody.
            tallies: vec![Tally::default(); plan.consumers.len() + 1],
            books,
            queue: Queue::new(&plan),
            bids: HashMap::new(),
            entries: HashMap::new(),
            herds: HashMap::new(),
            next_id: 0,
            past: Past::default(),
            lessons: Lessons::new(plan.limits.len()),
            eras: Eras::new(),
            outstanding: HashMap::new(),
            claims: Claims::default(),
            others: Others::new(plan.limits.len()),
            turned_away: HashMap::new(),
            has_turned_away: false,
            decided: Vec::new(),
            dirty: true,
            next_wake: None,
            counted_within: plan.counted_within,
            lost_until: Moment::ZERO,
            plan: Arc::new(plan),
        }
    }

    /// A new fetch that counts against `set`.
    pub(super) fn open(&mut self, set: LimitSet) -> BidId {
        let id = self.fresh_id();
        self.bids.insert(id, Bid { set, waiting: SmallVec::new(), state: State::Open });
        id
    }

    /// A caller's place in `bid`: it is admitted, waits, or is refused at once.
    pub(super) fn enter(&mut self, bid: BidId, ask: Ask, now: Moment) -> Result<EntryId, Denied> {
        self.pump(now);
        let id = self.fresh_id();
        let fetch = self.bids.get_mut(&bid).ok_or(Denied::Closed)?;
        let fate = match fetch.state {
            State::Open | State::Nominated(_) => Fate::Waiting,
            State::Granted(_) | State::Taken => Fate::Free,
            State::Over => return Err(Denied::Closed),
        };
        let seat = Seat::try_from(ask.seat).unwrap_or(Seat::MAX);
        let (urgency, deadline) = (ask.urgency.min(7), ask.deadline);
        self.entries.insert(id, Entry { bid, seat, urgency, since: now, deadline, fate });
        if fate == Fate::Free {
            return Ok(id);
        }
        let first = fetch.waiting.first().copied();
        fetch.waiting.push(id);
        let waiter = Waiter { id, seat, set: fetch.set, urgency };
        if matches!(fetch.state, State::Nominated(_)) {
            // It stands in no queue unless its bid is put back.
            self.tallies[ask.seat].waiting += 1;
            return Ok(id);
        }
        self.queue.push(waiter, &self.books);
        self.dirty = true;
        self.tallies[ask.seat].waiting += 1;
        if let Some(other) = first.and_then(|first| self.waiter(first)) {
            self.queue.join(other, &self.books);
            self.queue.join(waiter, &self.books);
        }
        self.pump(now);
        if self.is_nominated(id) {
            return Ok(id);
        }
        match self.unwelcome(waiter, ask.deadline, now) {
            None => Ok(id),
            Some(reason) => {
                let refusal = self.refuse(waiter, reason, now);
                self.withdraw(waiter);
                self.entries.remove(&id);
                Err(Denied::Refused(refusal))
            }
        }
    }

    /// The caller has hung up, or heard all it wanted.
    pub(super) fn leave(&mut self, id: EntryId, now: Moment) {
        if let Some(waiter) = self.waiter(id) {
            self.withdraw(waiter);
            self.close_if_empty(id, now);
        }
        self.entries.remove(&id);
        self.turned_away.remove(&id);
        self.pump(now);
    }

    /// The caller's deadline has come: a refusal, unless it no longer waits.
    pub(super) fn time_out(&mut self, id: EntryId, now: Moment) -> Option<Refusal> {
        self.pump(now);
        if let Some(refusal) = self.turned_away(id) {
            return Some(refusal);
        }
        // Who is nominated hears what the shared ledger says: it is not waited for long.
        let waiter = self.waiter(id).filter(|_| !self.is_nominated(id))?;
        let refusal = self.refuse(waiter, Reason::WaitOver, now);
        self.withdraw(waiter);
        self.close_if_empty(id, now);
        Some(refusal)
    }

    /// Hands the permit out, once.
    pub(super) fn take(&mut self, bid: BidId) -> Outcome {
        let Some(bid) = self.bids.get_mut(&bid) else { return Outcome::Over };
        match bid.state {
            State::Open | State::Nominated(_) => Outcome::Waiting,
            State::Granted(grant) => {
                bid.state = State::Taken;
                Outcome::Granted(grant)
            }
            State::Taken | State::Over => Outcome::Over,
        }
    }

    /// Nobody will fetch: withdraws everyone, refunds a permit that was not taken.
    pub(super) fn close(&mut self, bid: BidId, now: Moment) {
        let Some(mut fetch) = self.bids.remove(&bid) else { return };
        for id in std::mem::take(&mut fetch.waiting) {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.fate = Fate::Free;
                let waiter = Waiter { id, seat: entry.seat, set: fetch.set, urgency: entry.urgency };
                self.tallies[entry.seat as usize].waiting -= 1;
                self.queue.remove(waiter, &self.books);
            }
        }
        if let State::Granted(grant) | State::Nominated(grant) = fetch.state {
            self.refund(grant, now);
        }
        self.pump(now);
    }

    /// Lets go of what has lapsed and admits whoever may leave.
    pub(super) fn pump(&mut self, now: Moment) {
        self.books.advance(now);
        for seat in self.books.take_touched() {
            self.dirty = true;
            self.queue.refresh(seat, &self.books);
        }
        if self.is_held_up(now) || (!self.dirty && self.next_wake.is_none_or(|at| now < at)) {
            return;
        }
        while let Some(waiter) = self.queue.next(&self.books, now) {
            if self.claims.are_asked {
                self.nominate(waiter, now);
            } else {
                self.grant(waiter, now);
            }
        }
        self.dirty = false;
        self.next_wake = self.queue.next_chance(&self.books, now);
    }

    /// When, if nothing happens before, [`Desk::pump`] may have something to do.
    pub(super) fn next_wake(&self) -> Option<Moment> {
        self.next_wake
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Our own wall clock reads `wall`.
    pub(super) fn follow_wall(&mut self, now: Moment, wall: UnixTime) {
        if self.books.follow_wall(now, wall) == Shift::Large {
            self.dirty = true;
        }
    }

    fn grant(&mut self, waiter: Waiter, now: Moment) {
        let id = waiter.id;
        self.queue.served(waiter, &self.books);
        let entry = self.entries.get_mut(&id).expect("a waiter is an entry");
        entry.fate = Fate::Paid;
        let (bid, since) = (entry.bid, entry.since);
        let fetch = self.bids.get_mut(&bid).expect("an entry waits in an open bid");
        for other in std::mem::take(&mut fetch.waiting) {
            let entry = self.entries.get_mut(&other).expect("a bid lists waiting entries only");
            if other != id {
                entry.fate = Fate::Free;
            }
            self.tallies[entry.seat as usize].waiting -= 1;
            let waiter = Waiter { id: other, seat: entry.seat, set: waiter.set, urgency: entry.urgency };
            self.queue.remove(waiter, &self.books);
        }
        let grant = self.admit(waiter.seat, waiter.set, since, now);
        self.bids.get_mut(&bid).expect("it was there above").state = State::Granted(grant);
        self.decided.push(bid);
    }

    /// A count of `seat` has changed.
    fn moved(&mut self, seat: Seat) {
        self.queue.refresh(seat, &self.books);
        self.dirty = true;
    }

    fn waiter(&self, id: EntryId) -> Option<Waiter> {
        let entry = self.entries.get(&id).filter(|entry| entry.fate == Fate::Waiting)?;
        let set = self.bids.get(&entry.bid)?.set;
        Some(Waiter { id, seat: entry.seat, set, urgency: entry.urgency })
    }

    fn withdraw(&mut self, waiter: Waiter) {
        self.queue.remove(waiter, &self.books);
        self.tallies[waiter.seat as usize].waiting -= 1;
        let entry = self.entries.get_mut(&waiter.id).expect("a waiter is an entry");
        entry.fate = Fate::Free;
        if let Some(bid) = self.bids.get_mut(&entry.bid) {
            bid.waiting.retain(|id| *id != waiter.id);
        }
    }

    fn close_if_empty(&mut self, id: EntryId, now: Moment) {
        let Some(bid) = self.entries.get(&id).map(|entry| entry.bid) else { return };
        let Some(fetch) = self.bids.get_mut(&bid).filter(|bid| bid.waiting.is_empty()) else { return };
        if matches!(fetch.state, State::Open | State::Nominated(_)) {
            if let State::Nominated(grant) = std::mem::replace(&mut fetch.state, State::Over) {
                self.books.refund(grant.seat, grant.set, grant.at, now);
                self.moved(grant.seat);
            }
            self.decided.push(bid);
        }
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}
