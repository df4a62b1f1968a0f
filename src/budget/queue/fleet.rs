//! Turns across replicas. The script keeps the same tags as `rank`, over all replicas, and
//! works out whose turn it is from who waits where. The tags here follow those there, so
//! that who is nominated is who may go.

use smallvec::SmallVec;

use super::super::hierarchy::{Books, NodeIndex, Standing};
use super::super::log::Seat;
use super::rank::Group;
use super::{Class, Queue, Waiter};
use crate::quota::LimitSet;

/// A place in the order of those who wait here: group and start tag of the division, then
/// of the consumer. The least goes first.
type Rank = [(Group, u128); 2];

/// How many consumers' waiters are told to the other replicas, per set of limits: those
/// whose turn comes first.
const FLOWS_TOLD: usize = 64;

/// What the shared ledger works a consumer's turn out from: division, then consumer.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::budget) struct Stake {
    pub(in crate::budget) seat: Seat,
    /// What one request costs: the inverse of the share.
    pub(in crate::budget) price: [f64; 2],
    /// By limit of the set: from so much use on they borrow.
    pub(in crate::budget) fair: [SmallVec<[u32; 4]>; 2],
}

/// Who waits for one set of limits, and how many of each.
#[derive(Clone, Debug)]
pub(in crate::budget) struct Waiting {
    pub(in crate::budget) set: LimitSet,
    pub(in crate::budget) flows: Vec<(Stake, u32)>,
}

/// Tags as the shared ledger has them: of a division, of a consumer, or the virtual time
/// among divisions or in one; below the share and borrowing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::budget) enum Tagged {
    Node(NodeIndex),
    /// None: of the account.
    Within(Option<NodeIndex>),
}

/// The groups that a waiter was served in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::budget) struct Place([Group; 2]);

impl Place {
    /// Where a waiter on this path is.
    fn of(nodes: [NodeIndex; 2], set: LimitSet, books: &Books) -> Self {
        Self(nodes.map(|node| group(node, set, books)))
    }
}

impl Queue {
    fn rank(&self, nodes: [NodeIndex; 2], set: LimitSet, books: &Books) -> Rank {
        nodes.map(|node| {
            let group = group(node, set, books);
            (group, self.ranks.start_of(node, group))
        })
    }

    fn stake(&self, nodes: [NodeIndex; 2], set: LimitSet, books: &Books) -> Stake {
        let fair = nodes.map(|node| set.iter().map(|limit| books.fair_of(node, limit)).collect());
        Stake { seat: books.seat(nodes[1]), price: nodes.map(|node| self.ranks.price(node)), fair }
    }

    /// Who waits, for each set of limits that somebody waits for.
    pub(in crate::budget) fn flows(&self, books: &Books) -> Vec<Waiting> {
        let waiting = self.classes.iter().filter(|class| !class.ready.is_empty());
        waiting.map(|class| Waiting { set: class.set, flows: self.flows_of(class, books) }).collect()
    }

    fn flows_of(&self, class: &Class, books: &Books) -> Vec<(Stake, u32)> {
        let ready = class.lanes.iter().filter(|(_, lane)| lane.key.is_some());
        let flows = ready.flat_map(|(&division, lane)| {
            let able = lane.flows.iter().filter(|(_, flow)| flow.key.is_some());
            able.map(move |(&consumer, flow)| {
                let nodes = [division, consumer];
                let joined = flow.joined.saturating_sub(1).min(flow.callers.len());
                let number = u32::try_from(flow.callers.len() - joined).unwrap_or(u32::MAX);
                (self.rank(nodes, class.set, books), nodes, number)
            })
        });
        let mut flows: Vec<_> = flows.collect();
        flows.sort_unstable_by_key(|(rank, nodes, _)| (*rank, *nodes));
        flows.truncate(FLOWS_TOLD);
        let tell = |(_, nodes, number): (Rank, [NodeIndex; 2], u32)| {
            let room = class.set.iter().map(|limit| books.room_of(nodes[1], limit)).min().unwrap_or(number);
            (self.stake(nodes, class.set, books), number.min(room))
        };
        flows.into_iter().map(tell).collect()
    }

    /// The shared ledger's tags. To be followed by [`Queue::refresh`].
    pub(in crate::budget) fn learn_tags(&mut self, of: Tagged, tags: [u128; 2]) {
        match of {
            Tagged::Node(node) => self.ranks.learn(node, tags),
            Tagged::Within(parent) => self.ranks.learn_served(parent, tags),
        }
    }

    /// A request of `seat` was served by another replica, or before it stood here. To be followed by [`Queue::refresh`].
    pub(in crate::budget) fn served_elsewhere(&mut self, seat: Seat, set: LimitSet, books: &Books) {
        for node in books.path(seat) {
            self.ranks.serve_node(node, group(node, set, books));
        }
    }

    /// The start tags of the first `nodes`.
    #[cfg(test)]
    pub(in crate::budget) fn starts(&self, nodes: usize) -> Vec<[u128; 2]> {
        let of = |node| [Group::Below, Group::Borrowing].map(|group| self.ranks.start_of(node, group));
        (0..nodes).map(of).collect()
    }

    /// What was [served](Queue::served) at `place` was not, after all. To be followed by [`Queue::refresh`].
    pub(in crate::budget) fn unserve(&mut self, seat: Seat, place: Place, books: &Books) {
        for (node, group) in books.path(seat).into_iter().zip(place.0) {
            self.ranks.unserve(node, group);
        }
    }

    /// What the turn of `waiter`, who goes next, is worked out from, and its place.
    pub(in crate::budget) fn stake_of_next(&self, waiter: Waiter, books: &Books) -> (Stake, Place) {
        let nodes = books.path(waiter.seat);
        (self.stake(nodes, waiter.set, books), Place::of(nodes, waiter.set, books))
    }
}

fn group(node: NodeIndex, set: LimitSet, books: &Books) -> Group {
    match books.standing(node, set) {
        Standing::Below => Group::Below,
        Standing::Borrowing | Standing::Capped => Group::Borrowing,
    }
}
