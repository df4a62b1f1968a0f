//! Up to where a request may be charged by a ledger that knows counts, and no laws.

use crate::quota::LimitSet;

use super::super::desk::{Bound, Bounds};
use super::super::log::Seat;
use super::{Books, NodeIndex};

impl Books {
    /// The most that may be used, limit by limit, with one more request of `seat` in it.
    ///
    /// Where only held slots are left, the request stands on a reserve: of its
    /// consumer or of its division, whose own count then may not exceed it.
    pub(in crate::budget) fn bounds(&self, seat: Seat, set: LimitSet) -> Bounds {
        set.iter().map(|limit| self.bound(seat, limit)).collect()
    }

    /// The same for a request that is in the books already, and stands on no reserve.
    pub(in crate::budget) fn bounds_of_booked(&self, seat: Seat, set: LimitSet) -> Bounds {
        let [division, consumer] = self.path(seat);
        let bound = |limit: usize| Bound {
            limit,
            account: self.unheld(limit),
            division: self.cap_of(division, limit),
            consumer: self.cap_of(consumer, limit),
            in_turn: true,
        };
        set.iter().map(bound).collect()
    }

    /// From so much use of `limit` on, `node` borrows.
    pub(in crate::budget) fn fair_of(&self, node: NodeIndex, limit: usize) -> u32 {
        self.fair[self.cell(node, limit)]
    }

    /// The consumer at `node`, if it is none of the divisions.
    pub(in crate::budget) fn seat_at(&self, node: NodeIndex) -> Option<Seat> {
        (node >= self.divisions).then(|| self.seat(node))
    }

    /// How many more `node` may take of `limit` under its cap.
    pub(in crate::budget) fn room_of(&self, node: NodeIndex, limit: usize) -> u32 {
        self.caps[self.cell(node, limit)].saturating_sub(self.used_by(node, limit))
    }

    /// The most of `limit` that may be used by those for whom nothing is held.
    pub(in crate::budget) fn unheld(&self, limit: usize) -> u32 {
        self.windows[limit].requests().saturating_sub(self.holds.total(limit))
    }

    fn bound(&self, seat: Seat, limit: usize) -> Bound {
        let [division, consumer] = self.path(seat);
        let (window, held) = (&self.windows[limit], self.holds.total(limit));
        let (all, is_tight) = (window.requests(), window.free() <= held && held > 0);
        let mut bound = Bound {
            limit,
            account: all,
            division: self.cap_of(division, limit),
            consumer: self.cap_of(consumer, limit),
            in_turn: true,
        };
        let is_covered = self.holds.is_covered(division, Some(consumer), limit);
        if is_covered && is_tight {
            bound.in_turn = false;
            let own = self.holds.held_for(consumer, limit);
            let (node, most, held) = match own {
                0 => (division, &mut bound.division, self.holds.held_for(division, limit)),
                _ => (consumer, &mut bound.consumer, own),
            };
            let reserved = self.used_by(node, limit) + held;
            *most = Some(most.map_or(reserved, |cap| cap.min(reserved)));
        } else {
            bound.account = (all + u32::from(is_covered)).saturating_sub(held).min(all);
        }
        bound
    }
}
