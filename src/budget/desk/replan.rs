//! Another plan on the same books: what a reload changes (DESIGN, law 8).

use std::sync::Arc;

use crate::clock::{Moment, UnixTime};
use crate::quota::{Plan, Window};

use super::super::eras::{Era, Eras, Map};
use super::super::queue::Waiter;
use super::{Desk, Fate, State, Tally};

impl Desk {
    /// From now on `plan` holds. Nobody who waits loses a place in the order of its
    /// consumer; those whose consumer is gone leave.
    pub(in crate::budget) fn replan(&mut self, plan: Plan, now: Moment, wall: UnixTime) -> Era {
        // Nobody is admitted any more by the plan that ends: he would leave under the one that
        // begins, which may have limits that he was not charged to.
        self.books.advance(now);
        let map = Map::between(&self.plan, &plan);
        let mut books = self.books.replanned((&self.plan, &plan), &map, (now, wall));
        let nobody = books.nobody();
        for owed in self.outstanding.values_mut() {
            owed.seat = map.seat(owed.seat).unwrap_or(nobody);
            owed.set = map.set(owed.set);
            if owed.is_pending {
                books.rebook(owed.seat, owed.set);
            }
        }
        books.hold_all(now);
        self.past.replan(&map, nobody);
        self.lessons = self.lessons.replanned(&map, plan.limits.len());
        self.others = self.others.replanned(&map, plan.limits.len());
        // A promise that was broken is not believed again because something else has changed.
        if plan.counted_within != self.plan.counted_within {
            self.counted_within = plan.counted_within;
        }
        let seats = map.seats_before(plan.consumers.len());
        let tally = |before: &Option<usize>| before.map_or(Tally::default(), |old| self.tallies[old]);
        self.tallies = seats.iter().chain([&None]).map(tally).map(|t| Tally { waiting: 0, ..t }).collect();
        self.queue = self.queue.replanned(&plan, (self.plan.divisions.len(), &seats), &self.plan);
        self.books = books;
        self.plan = Arc::new(plan);
        self.herds.clear();
        self.move_waiters(&map);
        self.dirty = true;
        let era = self.eras.begin(map);
        self.pump(now);
        era
    }

    /// Everyone who waits stands in the new queue, in the old order.
    fn move_waiters(&mut self, map: &Map) {
        let nobody = self.books.nobody();
        let mut emptied = Vec::new();
        for (&id, bid) in &mut self.bids {
            bid.set = map.set(bid.set);
            if let State::Granted(grant) = &mut bid.state {
                grant.seat = map.seat(grant.seat).unwrap_or(nobody);
                grant.set = map.set(grant.set);
            }
            if bid.state == State::Open && !bid.waiting.is_empty() {
                let entries = &self.entries;
                bid.waiting.retain(|id| entries.get(id).is_some_and(|e| map.seat(e.seat).is_some()));
                if bid.waiting.is_empty() {
                    emptied.push(id);
                }
            }
        }
        let mut order: Vec<_> = self.entries.keys().copied().collect();
        order.sort_unstable();
        for id in order {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            let Some(seat) = map.seat(entry.seat) else {
                entry.seat = nobody;
                entry.fate = if entry.fate == Fate::Paid { Fate::Paid } else { Fate::Free };
                continue;
            };
            entry.seat = seat;
            if entry.fate != Fate::Waiting {
                continue;
            }
            let (bid, urgency) = (entry.bid, entry.urgency);
            let Some(fetch) = self.bids.get(&bid) else { continue };
            let waiter = Waiter { id, seat, set: fetch.set, urgency };
            let is_joined = fetch.waiting.len() > 1;
            self.queue.push(waiter, &self.books);
            if is_joined {
                self.queue.join(waiter, &self.books);
            }
            self.tallies[seat as usize].waiting += 1;
        }
        for id in emptied {
            if let Some(bid) = self.bids.get_mut(&id) {
                bid.state = State::Over;
                self.decided.push(id);
            }
        }
    }

    pub(in crate::budget) fn eras(&self) -> &Eras {
        &self.eras
    }

    pub(in crate::budget) fn eras_mut(&mut self) -> &mut Eras {
        &mut self.eras
    }

    /// Grants that have not come to an end.
    pub(in crate::budget) fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Whether what our own wall reads is of use: only edges need it, and only until the
    /// vendor has told its clock.
    pub(in crate::budget) fn follows_wall(&self) -> bool {
        self.books.vendor_clock().is_wall() && self.has_edges()
    }

    /// Whether any limit follows a calendar.
    pub(in crate::budget) fn has_edges(&self) -> bool {
        self.plan.limits.iter().any(|limit| matches!(limit.window, Window::Calendar(_)))
    }
}
