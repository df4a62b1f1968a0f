//! Turns across replicas: what is served elsewhere moves the same tags, so a place
//! in the order here can be compared with one there.

use super::super::hierarchy::{Books, Standing};
use super::super::log::Seat;
use super::rank::Group;
use super::{Queue, Waiter};
use crate::quota::LimitSet;

/// A place in the order of all who wait: group and turn of the division, then of the
/// consumer; turns are counted from the one last served. The least goes first.
pub(in crate::budget) type Rank = [f64; 4];

/// The groups that a waiter was served in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::budget) struct Place([Option<Group>; 2]);

impl Place {
    /// Where a waiter of this rank was.
    pub(in crate::budget) fn of(rank: Rank) -> Self {
        let group = |number: f64| Some(if number < 0.5 { Group::Below } else { Group::Borrowing });
        Self([group(rank[0]), group(rank[2])])
    }
}

impl Queue {
    /// The place of `waiter`, who stands in the queue.
    pub(in crate::budget) fn rank_of(&self, waiter: Waiter, books: &Books) -> Rank {
        let [division, consumer] = books.path(waiter.seat);
        let class = self.classes.iter().find(|class| class.set == waiter.set);
        let lane = class.and_then(|class| class.lanes.get(&division));
        let keys = lane.and_then(|lane| Some([lane.key?, lane.flows.get(&consumer)?.key?]));
        keys.map_or([1.0, 0.0, 1.0, 0.0], |[division, consumer]| {
            let [of_division, of_consumer] = [division, consumer].map(|key| self.ranks.turns_ahead(key));
            [f64::from(division.group as u8), of_division, f64::from(consumer.group as u8), of_consumer]
        })
    }

    /// The first of each class.
    pub(in crate::budget) fn best(&self, books: &Books) -> Vec<(LimitSet, Rank)> {
        let firsts = self.classes.iter().filter_map(|class| {
            let turn = class.first()?;
            let (urgency, id) = turn.caller;
            let waiter = Waiter { id, seat: books.seat(turn.consumer.node), set: class.set, urgency };
            Some((class.set, self.rank_of(waiter, books)))
        });
        firsts.collect()
    }

    /// A request of `seat` was served by another replica. To be followed by [`Queue::refresh`].
    pub(in crate::budget) fn served_elsewhere(&mut self, seat: Seat, set: LimitSet, books: &Books) {
        for node in books.path(seat) {
            let group = match books.standing(node, set) {
                Standing::Below => Group::Below,
                Standing::Borrowing | Standing::Capped => Group::Borrowing,
            };
            self.ranks.serve_node(node, group);
        }
    }

    /// What was [served](Queue::served) at `place` was not, after all. To be followed by [`Queue::refresh`].
    pub(in crate::budget) fn unserve(&mut self, seat: Seat, place: Place, books: &Books) {
        for (node, group) in books.path(seat).into_iter().zip(place.0) {
            if let Some(group) = group {
                self.ranks.unserve(node, group);
            }
        }
    }
}
