//! Saying no (DESIGN, laws 6 and 7).

use std::collections::HashMap;

use crate::clock::Moment;
use crate::quota::LimitSet;

use super::super::forecast::forecast;
use super::super::hierarchy::Obstacle;
use super::super::log::Seat;
use super::super::queue::{EntryId, Waiter};
use super::super::refusal::{Reason, Refusal};
use super::{Desk, Fate};

impl Desk {
    /// Why a caller that could not leave at once may not wait either.
    pub(super) fn unwelcome(&self, waiter: Waiter, deadline: Moment, now: Moment) -> Option<Reason> {
        self.waiter(waiter.id)?;
        let bounds = self.plan.queue;
        // A joined fetch may be paid for by another: then only the deadline itself decides.
        let earliest = if self.is_joined(waiter) { now } else { self.forecast(waiter, 0, now).1 };
        if self.is_lost() {
            Some(Reason::StoreLost)
        } else if earliest > deadline || now >= deadline {
            Some(Reason::Limit)
        } else if self.tallies[waiter.seat as usize].waiting > bounds.per_consumer {
            Some(Reason::QueueFull)
        } else if self.queue.len() > bounds.total {
            Some(Reason::AllQueuesFull)
        } else {
            None
        }
    }

    fn is_joined(&self, waiter: Waiter) -> bool {
        let bid = self.entries.get(&waiter.id).and_then(|entry| self.bids.get(&entry.bid));
        bid.is_some_and(|bid| bid.waiting.len() > 1)
    }

    fn forecast(&self, waiter: Waiter, spread: u64, now: Moment) -> (Obstacle, Moment) {
        let (obstacle, at) =
            forecast(&self.books, &self.queue, waiter, spread, now).expect("who waits is charged to a limit");
        // Where replicas share the account, nobody is asked for before.
        (obstacle, at.max(self.claims.paused_until()))
    }

    /// Refused before its deadline, because less is free than was thought when it came.
    pub(in crate::budget) fn turned_away(&mut self, id: EntryId) -> Option<Refusal> {
        self.turned_away.remove(&id)
    }

    /// Whether anybody has been turned away since the last time.
    pub(in crate::budget) fn take_has_turned_away(&mut self) -> bool {
        std::mem::take(&mut self.has_turned_away)
    }

    /// Less is free than was thought: whoever cannot leave before its deadline any
    /// more is told so at once (law 6).
    pub(super) fn turn_away(&mut self, now: Moment) {
        let (books, clock) = (&self.books, self.books.vendor_clock());
        let slot_of =
            |limit, ahead| books.window(limit).slot(ahead, now, clock).max(books.not_before(limit, ahead));
        // Each only once, since every consumer's callers wait for the same ones.
        let mut slots: HashMap<(LimitSet, u64), Option<Moment>> = HashMap::new();
        let mut slot = |set: LimitSet, ahead| {
            *slots.entry((set, ahead)).or_insert_with(|| set.iter().map(|limit| slot_of(limit, ahead)).max())
        };
        let (mut late, mut gone) = (Vec::new(), 0);
        for (id, set, index, joined) in self.queue.in_turn() {
            // Those who go home now stand in nobody's way.
            gone = if index == 0 { 0 } else { gone };
            let ahead = joined.map_or(0, |joined| (index - gone).saturating_sub(joined));
            let slot = slot(set, ahead as u64);
            if self.entries.get(&id).zip(slot).is_some_and(|(entry, slot)| slot > entry.deadline) {
                late.push(id);
                gone += 1;
            }
        }
        for id in late {
            let Some(waiter) = self.waiter(id) else { continue };
            self.send_home(waiter, Reason::Limit, now);
        }
    }

    /// Those of `callers` whose deadline came while the shared ledger was asked for them.
    pub(super) fn turn_away_late(&mut self, callers: &[EntryId], now: Moment) {
        for id in callers {
            let is_late = self.entries.get(id).is_some_and(|entry| entry.deadline <= now);
            let Some(waiter) = self.waiter(*id).filter(|_| is_late) else { continue };
            self.send_home(waiter, Reason::WaitOver, now);
        }
    }

    /// All who wait are refused: the ledger that replicas share is lost.
    pub(in crate::budget) fn turn_all_away(&mut self, now: Moment) {
        let waiting = self.entries.iter().filter(|(_, entry)| entry.fate == Fate::Waiting);
        let waiting: Vec<EntryId> = waiting.map(|(id, _)| *id).collect();
        for id in waiting {
            let Some(waiter) = self.waiter(id) else { continue };
            self.send_home(waiter, Reason::StoreLost, now);
        }
    }

    fn send_home(&mut self, waiter: Waiter, reason: Reason, now: Moment) {
        let refusal = self.refuse_by(waiter, reason, now, |_, _| None);
        self.withdraw(waiter);
        self.close_if_empty(waiter.id, now);
        self.turned_away.insert(waiter.id, refusal);
        self.has_turned_away = true;
    }

    /// What a request of `seat` would have to wait for, if it came now.
    pub(super) fn held_up(&self, seat: Seat, set: LimitSet, now: Moment) -> Option<Refusal> {
        let waiter = Waiter { id: EntryId::MAX, seat, set, urgency: 3 };
        let (obstacle, slot) = forecast(&self.books, &self.queue, waiter, 0, now)?;
        (slot > now).then(|| self.refusal(Reason::Limit, obstacle, slot, now))
    }

    fn refusal(&self, reason: Reason, obstacle: Obstacle, retry_at: Moment, now: Moment) -> Refusal {
        Refusal {
            reason,
            node: self.books.name(obstacle, &self.plan),
            limit: self.plan.limits[obstacle.limit].name.clone(),
            retry_at,
            retry_after: retry_at.since(now),
        }
    }

    pub(super) fn refuse(&mut self, waiter: Waiter, reason: Reason, now: Moment) -> Refusal {
        self.refuse_by(waiter, reason, now, |desk, spread| desk.foresee(waiter, spread, now))
    }

    /// `foresee` tells the moment where more is known than its lower bound.
    fn refuse_by(
        &mut self,
        waiter: Waiter,
        reason: Reason,
        now: Moment,
        foresee: impl Fn(&Self, u64) -> Option<Moment>,
    ) -> Refusal {
        let reason = if self.past.is_unknown { Reason::Loading } else { reason };
        let slot_after = |desk: &Self, spread: u64| {
            let (obstacle, bound) = desk.forecast(waiter, spread, now);
            (obstacle, foresee(desk, spread).map_or(bound, |seen| seen.max(bound)))
        };
        let (obstacle, slot) = slot_after(self, 0);
        let herd = self.herds.entry((obstacle.place, obstacle.limit)).or_insert((slot, 0));
        if herd.0 != slot {
            *herd = (slot, 0);
        }
        // No further than one window's worth, or one caller's loop would put off everybody.
        let ahead = herd.1 % u64::from(self.books.most_at(obstacle)).max(1);
        herd.1 += 1;
        let retry_at = if ahead == 0 { slot } else { slot_after(self, ahead).1 };
        self.tallies[waiter.seat as usize].refused += 1;
        self.refusal(reason, obstacle, retry_at, now)
    }
}
