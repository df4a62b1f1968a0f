//! What was charged before this process, and waiting for it to be known (DESIGN, law 8).

use crate::clock::Moment;
use crate::quota::LimitSet;

use super::super::eras::Map;
use super::super::ledger::{Restored, Undated};
use super::super::log::Seat;
use super::Desk;

/// What is still open about the time before.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    /// Nobody is admitted before the past is known.
    pub(super) is_unknown: bool,
    /// Charges from before a boot, how many, with the moment they count as until the vendor's clock is known.
    undated: Vec<(Seat, LimitSet, u32, Moment, Undated)>,
}

impl Past {
    /// Another plan: what is still undated goes by its indices.
    pub(super) fn replan(&mut self, map: &Map, nobody: Seat) {
        for (seat, set, ..) in &mut self.undated {
            *seat = map.seat(*seat).unwrap_or(nobody);
            *set = map.set(*set);
        }
    }
}

impl Desk {
    /// From now on nobody is admitted.
    pub(in crate::budget) fn shut(&mut self) {
        self.past.is_unknown = true;
    }

    /// Takes up what was charged before, and begins to admit.
    pub(in crate::budget) fn open_books(&mut self, restored: Restored, now: Moment) {
        if let Some(dated) = restored.dated {
            self.books.recall_clock(dated, now);
        }
        for charge in &restored.charges {
            let seat = charge.seat.unwrap_or(self.books.nobody());
            self.books.restore((seat, charge.set), charge.requests, charge.until, now);
            if let Some(undated) = charge.undated {
                self.past.undated.push((seat, charge.set, charge.requests, charge.until, undated));
            }
            self.queue.refresh(seat, &self.books);
        }
        for &(limit, until) in &restored.spent {
            self.used_by_others(limit, self.books.window(limit).requests(), until, now);
        }
        for &(limit, until, requests) in &restored.others {
            self.recall_others(limit, (until, requests), now);
        }
        for &(limit, until) in &restored.closed {
            self.books.close(limit, until);
        }
        self.past.is_unknown = false;
        self.dirty = true;
        self.pump(now);
    }

    /// The vendor has told its clock: charges from before a boot move to where they belong.
    pub(super) fn place_undated(&mut self, now: Moment) {
        for (seat, set, requests, assumed, undated) in std::mem::take(&mut self.past.undated) {
            let latest = self.books.vendor_clock().around(undated.vendor).1;
            let until = latest.min(undated.restart) + undated.linger;
            for _ in 0..requests {
                self.books.correct((seat, set), assumed, until, now);
            }
            self.queue.refresh(seat, &self.books);
        }
    }
}
