//! The desk where replicas share the account: who would leave is only nominated,
//! and leaves once the shared ledger agrees. What the others charge is in the
//! books like our own, so that what is predicted here is what is true there.
//!
//! A nominated bid is charged already, so that the next in turn is judged as if it
//! had left; its callers still wait, and can hang up or run out of time. A *no*
//! puts them back to where they stood.

use smallvec::SmallVec;

use crate::clock::Moment;
use crate::quota::LimitSet;

use super::super::log::Seat;
use super::super::queue::{Place, Stake, Tagged, Waiter, Waiting};
use super::{BidId, Desk, EntryId, Fate, Grant, State};

/// What concerns the shared ledger.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    /// Whether anybody has to be asked.
    pub(super) are_asked: bool,
    /// Bids that are to be asked for, in the order in which they would leave.
    nominees: Vec<Nominee>,
    /// After a *no* that the books do not explain, nobody is nominated before this.
    paused_until: Option<Moment>,
    /// The shared ledger cannot be reached.
    is_lost: bool,
}

impl Claims {
    /// Nobody is nominated before.
    pub(super) fn paused_until(&self) -> Moment {
        self.paused_until.unwrap_or(Moment::ZERO)
    }
}

/// A bid that would leave now.
#[derive(Clone, Debug)]
pub(in crate::budget) struct Nominee {
    pub(in crate::budget) bid: BidId,
    pub(in crate::budget) grant: Grant,
    pub(in crate::budget) bounds: Bounds,
    /// Where it stood, should it be put back.
    pub(in crate::budget) place: Place,
    /// What tells its turn among all who wait, in any replica.
    pub(in crate::budget) stake: Stake,
}

/// Up to where the shared ledger may charge a request, limit by limit.
pub(in crate::budget) type Bounds = SmallVec<[Bound; 4]>;

/// On one limit: the most that may be used with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::budget) struct Bound {
    pub(in crate::budget) limit: usize,
    /// Of the account: all but what is held for others.
    pub(in crate::budget) account: u32,
    /// Of the division: its cap, or the reserve that the request stands on.
    pub(in crate::budget) division: Option<u32>,
    pub(in crate::budget) consumer: Option<u32>,
    /// Whether others who wait may go first: not where it takes what is held for it.
    pub(in crate::budget) in_turn: bool,
}

impl Desk {
    /// From now on the shared ledger is asked before anybody leaves.
    pub(in crate::budget) fn ask_first(&mut self) {
        self.claims.are_asked = true;
    }

    /// Bids to ask for that have come up since the last time.
    pub(in crate::budget) fn take_nominees(&mut self) -> Vec<Nominee> {
        std::mem::take(&mut self.claims.nominees)
    }

    /// Whether nobody may leave at `now`, whatever the books say.
    pub(super) fn is_held_up(&mut self, now: Moment) -> bool {
        if let Some(until) = self.claims.paused_until {
            if now < until {
                self.next_wake = Some(until);
                return true;
            }
            self.claims.paused_until = None;
            self.dirty = true;
        }
        if self.past.is_unknown || self.claims.is_lost {
            // No passing of time opens it.
            self.next_wake = None;
            return true;
        }
        false
    }

    pub(super) fn nominate(&mut self, waiter: Waiter, now: Moment) {
        let entry = self.entries.get_mut(&waiter.id).expect("a waiter is an entry");
        let (bid, since) = (entry.bid, entry.since);
        let (stake, place) = self.queue.stake_of_next(waiter, &self.books);
        self.queue.served(waiter, &self.books);
        let fetch = self.bids.get_mut(&bid).expect("an entry waits in an open bid");
        let others = fetch.waiting.clone();
        for id in others {
            let entry = self.entries.get(&id).expect("a bid lists waiting entries only");
            let place = Waiter { id, seat: entry.seat, set: waiter.set, urgency: entry.urgency };
            self.queue.remove(place, &self.books);
        }
        let bounds = self.books.bounds(waiter.seat, waiter.set);
        let grant = self.admit(waiter.seat, waiter.set, since, now);
        self.bids.get_mut(&bid).expect("it was there above").state = State::Nominated(grant);
        self.claims.nominees.push(Nominee { bid, grant, bounds, place, stake });
    }

    /// The shared ledger agrees. False if nobody wants it any more: then it is to be given back there.
    pub(in crate::budget) fn confirm(&mut self, bid: BidId, ticket: u64, now: Moment) -> bool {
        let Some(grant) = self.nominated(bid, ticket) else { return false };
        let fetch = self.bids.get_mut(&bid).expect("it is nominated");
        fetch.state = State::Granted(grant);
        let callers = std::mem::take(&mut fetch.waiting);
        let payer = callers.iter().copied().find(|id| self.entries[id].seat == grant.seat);
        for id in callers {
            let entry = self.entries.get_mut(&id).expect("a bid lists waiting entries only");
            entry.fate = if payer == Some(id) { Fate::Paid } else { Fate::Free };
            self.tallies[entry.seat as usize].waiting -= 1;
        }
        self.decided.push(bid);
        self.pump(now);
        true
    }

    /// The shared ledger does not agree, or cannot be asked: back to where they stood,
    /// and nobody is nominated before `pause`.
    pub(in crate::budget) fn put_back(
        &mut self,
        (bid, ticket): (BidId, u64),
        place: Place,
        pause: Moment,
        now: Moment,
    ) {
        self.claims.paused_until = Some(pause.max(self.claims.paused_until.unwrap_or(pause)));
        self.dirty = true;
        let Some(grant) = self.nominated(bid, ticket) else { return self.pump(now) };
        self.tallies[grant.seat as usize].admitted -= 1;
        self.books.refund(grant.seat, grant.set, grant.at, now);
        self.queue.unserve(grant.seat, place, &self.books);
        let fetch = self.bids.get_mut(&bid).expect("it is nominated");
        fetch.state = State::Open;
        let (set, callers) = (fetch.set, fetch.waiting.clone());
        for &id in &callers {
            let entry = self.entries[&id];
            let waiter = Waiter { id, seat: entry.seat, set, urgency: entry.urgency };
            self.queue.push(waiter, &self.books);
            if callers.len() > 1 {
                self.queue.join(waiter, &self.books);
            }
        }
        self.moved(grant.seat);
        self.turn_away_late(&callers, now);
        self.pump(now);
    }

    /// Whether the shared ledger is being asked for this caller's bid.
    pub(super) fn is_nominated(&self, id: EntryId) -> bool {
        let bid = self.entries.get(&id).and_then(|entry| self.bids.get(&entry.bid));
        bid.is_some_and(|bid| matches!(bid.state, State::Nominated(_)))
    }

    fn nominated(&self, bid: BidId, ticket: u64) -> Option<Grant> {
        match self.bids.get(&bid)?.state {
            State::Nominated(grant) if grant.ticket == ticket => Some(grant),
            _ => None,
        }
    }

    /// All is known: from now on who may leave is nominated.
    pub(in crate::budget) fn open_shared(&mut self, now: Moment) {
        self.past.is_unknown = false;
        self.claims.is_lost = false;
        self.dirty = true;
        self.pump(now);
    }

    /// The shared ledger cannot be reached: all who wait are refused.
    pub(in crate::budget) fn lose_ledger(&mut self, now: Moment) {
        self.claims.is_lost = true;
        self.turn_all_away(now);
    }

    pub(in crate::budget) fn is_lost(&self) -> bool {
        self.claims.is_lost
    }

    /// Another replica has charged a request that is under way.
    pub(in crate::budget) fn booked_elsewhere(&mut self, seat: Seat, set: LimitSet, now: Moment) {
        if seat != self.books.nobody() {
            self.queue.served_elsewhere(seat, set, &self.books);
        }
        self.books.book(seat, set, now);
        self.moved(seat);
    }

    /// A request of another replica has been counted by `until`; new here.
    pub(in crate::budget) fn counted_elsewhere(
        &mut self,
        (seat, set): (Seat, LimitSet),
        until: Moment,
        now: Moment,
    ) {
        self.books.restore((seat, set), 1, until, now);
        self.moved(seat);
    }

    /// What was [under way](Desk::booked_elsewhere) has been counted by `until`.
    pub(in crate::budget) fn settled_elsewhere(&mut self, seat: Seat, set: LimitSet, until: Moment) {
        self.books.settle(seat, set, until);
        self.moved(seat);
    }

    /// What was counted by `was` was counted by `until` already.
    pub(in crate::budget) fn corrected_elsewhere(
        &mut self,
        charge: (Seat, LimitSet),
        was: Moment,
        until: Moment,
        now: Moment,
    ) {
        self.books.correct(charge, was, until, now);
        self.moved(charge.0);
    }

    /// What was [under way](Desk::booked_elsewhere) never left.
    pub(in crate::budget) fn refunded_elsewhere(&mut self, seat: Seat, set: LimitSet, now: Moment) {
        // When it was booked is not known: what spaces requests out stays as it is.
        self.books.refund(seat, set, Moment::NEVER, now);
        self.moved(seat);
    }

    /// Who waits here, for each set of limits that may open within a second.
    pub(in crate::budget) fn wants(&self, now: Moment) -> Vec<Waiting> {
        let soon = now + std::time::Duration::from_secs(1);
        let mut wants = self.queue.flows(&self.books);
        // Without a next opening all of it is under way: it may be given back at any time.
        wants.retain(|waiting| self.books.next_opening(waiting.set, now).is_none_or(|at| at <= soon));
        wants
    }

    /// Tags as the shared ledger has them.
    pub(in crate::budget) fn learn_tags(&mut self, tags: &[(Tagged, [u128; 2])]) {
        for (of, tags) in tags {
            self.queue.learn_tags(*of, *tags);
        }
        for (of, _) in tags {
            // A division moves with any of its consumers, one of whom is told with it.
            if let Tagged::Node(node) = of
                && let Some(seat) = self.books.seat_at(*node)
            {
                self.moved(seat);
            }
        }
    }
}
