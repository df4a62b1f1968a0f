//! Saying no (DESIGN, laws 6 and 7).

use crate::clock::Moment;

use super::super::forecast::forecast;
use super::super::hierarchy::Obstacle;
use super::super::queue::Waiter;
use super::super::refusal::{Reason, Refusal};
use super::Desk;

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
        forecast(&self.books, &self.queue, waiter, spread, now).expect("who waits is charged to a limit")
    }

    pub(super) fn refuse(&mut self, waiter: Waiter, reason: Reason, now: Moment) -> Refusal {
        let reason = if self.past.is_unknown { Reason::Loading } else { reason };
        let (obstacle, slot) = self.forecast(waiter, 0, now);
        let herd = self.herds.entry((obstacle.place, obstacle.limit)).or_insert((slot, 0));
        if herd.0 != slot {
            *herd = (slot, 0);
        }
        // No further than one window's worth, or one caller's loop would put off everybody.
        let ahead = herd.1 % u64::from(self.books.most_at(obstacle)).max(1);
        herd.1 += 1;
        let retry_at = if ahead == 0 { slot } else { self.forecast(waiter, ahead, now).1 };
        self.tallies[waiter.seat as usize].refused += 1;
        Refusal {
            reason,
            node: self.books.name(obstacle, &self.plan),
            limit: self.plan.limits[obstacle.limit].name.clone(),
            retry_at,
            retry_after: retry_at.since(now),
        }
    }
}
