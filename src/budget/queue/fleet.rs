//! Turns across replicas. Start tags compare only within one queue; what all replicas
//! see alike is how much of its share each node has used. So a place in the order of
//! all who wait is told by that, and by whether the node is below its share.

use super::super::hierarchy::{Books, NodeIndex, Standing};
use super::super::log::Seat;
use super::rank::Group;
use super::{Class, Queue, Waiter};
use crate::quota::LimitSet;

/// A place in the order of all who wait: group and use by share of the division, then of
/// the consumer, on the limit that is fullest. The least goes first.
pub(in crate::budget) type Rank = [f64; 4];

/// How many turns ahead are told to the other replicas, per set of limits.
const TURNS_TOLD: usize = 16;

/// What the shared ledger works a place out from, at the moment at which it decides: who
/// it is, on which limit, and how many others of its division and of its own go before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::budget) struct Precedence {
    pub(in crate::budget) limit: usize,
    pub(in crate::budget) seat: Seat,
    /// What one request costs: the inverse of the share.
    pub(in crate::budget) price: [f64; 2],
    /// From so much use on they borrow.
    pub(in crate::budget) fair: [u32; 2],
    pub(in crate::budget) ahead: [u32; 2],
}

/// The groups that a waiter was served in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::budget) struct Place([Group; 2]);

/// One consumer of a class, with its division, while turns are told ahead.
struct Wanting {
    nodes: [NodeIndex; 2],
    left: usize,
}

impl Place {
    /// Where a waiter of this rank was.
    pub(in crate::budget) fn of(rank: Rank) -> Self {
        let group = |number: f64| if number < 0.5 { Group::Below } else { Group::Borrowing };
        Self([group(rank[0]), group(rank[2])])
    }
}

impl Queue {
    /// The place of a request of `seat`, after `ahead` others of its division and its own.
    pub(in crate::budget) fn rank(
        &self,
        nodes: [NodeIndex; 2],
        set: LimitSet,
        ahead: [u32; 2],
        books: &Books,
    ) -> Rank {
        let Some(limit) = fullest(set, books) else { return [0.0; 4] };
        let part = |at: usize| {
            let group = match books.standing_after(nodes[at], set, ahead[at]) {
                Standing::Below => 0.0,
                Standing::Borrowing | Standing::Capped => 1.0,
            };
            let used = books.used_by(nodes[at], limit) + ahead[at];
            (group, f64::from(used) * self.ranks.price(nodes[at]))
        };
        let (division, consumer) = (part(0), part(1));
        [division.0, division.1, consumer.0, consumer.1]
    }

    fn turn(
        &self,
        nodes: [NodeIndex; 2],
        set: LimitSet,
        ahead: [u32; 2],
        books: &Books,
    ) -> Option<Precedence> {
        let limit = fullest(set, books)?;
        let (price, fair) =
            (nodes.map(|node| self.ranks.price(node)), nodes.map(|node| books.fair_of(node, limit)));
        Some(Precedence { limit, seat: books.seat(nodes[1]), price, fair, ahead })
    }

    /// The next turns of each set of limits, the first of them that of whoever is
    /// nominated next: so of all replicas' first ones, the least may always go.
    pub(in crate::budget) fn turns(&self, books: &Books) -> Vec<(LimitSet, Vec<Precedence>)> {
        let waiting = self.classes.iter().filter(|class| !class.ready.is_empty());
        waiting.map(|class| (class.set, self.turns_of(class, books))).collect()
    }

    fn turns_of(&self, class: &Class, books: &Books) -> Vec<Precedence> {
        let Some(first) = class.first() else { return Vec::new() };
        let first = [first.division.node, first.consumer.node];
        let mut turns: Vec<Precedence> = self.turn(first, class.set, [0, 0], books).into_iter().collect();
        let ready = class.lanes.iter().filter(|(_, lane)| lane.key.is_some());
        let flows = ready.flat_map(|(&division, lane)| {
            let able = lane.flows.iter().filter(|(_, flow)| flow.key.is_some());
            able.map(move |(&consumer, flow)| {
                let joined = flow.joined.saturating_sub(1).min(flow.callers.len());
                let nodes = [division, consumer];
                Wanting { nodes, left: flow.callers.len() - joined - usize::from(nodes == first) }
            })
        });
        let mut flows: Vec<Wanting> = flows.collect();
        let mut taken: std::collections::HashMap<NodeIndex, u32> =
            first.into_iter().map(|node| (node, 1)).collect();
        while turns.len() < TURNS_TOLD {
            let ahead = |node: NodeIndex| taken.get(&node).copied().unwrap_or(0);
            let ranks = flows
                .iter()
                .enumerate()
                .filter(|(_, flow)| flow.left > 0)
                .map(|(at, flow)| (at, self.rank(flow.nodes, class.set, flow.nodes.map(ahead), books)));
            let next = ranks.min_by(|(_, a), (_, b)| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
            let Some((at, _)) = next else { break };
            turns.extend(self.turn(flows[at].nodes, class.set, flows[at].nodes.map(ahead), books));
            flows[at].left -= 1;
            flows[at].nodes.into_iter().for_each(|node| *taken.entry(node).or_default() += 1);
        }
        turns
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
            self.ranks.unserve(node, group);
        }
    }

    /// The turn of `waiter`, who goes next.
    pub(in crate::budget) fn turn_of_next(&self, waiter: Waiter, books: &Books) -> Option<Precedence> {
        self.turn(books.path(waiter.seat), waiter.set, [0, 0], books)
    }

    /// The place of `waiter`, who goes next.
    pub(in crate::budget) fn rank_of(&self, waiter: Waiter, books: &Books) -> Rank {
        self.rank(books.path(waiter.seat), waiter.set, [0, 0], books)
    }
}

/// The limit of `set` that is used the most.
fn fullest(set: LimitSet, books: &Books) -> Option<usize> {
    set.iter().max_by_key(|&limit| {
        let window = books.window(limit);
        u64::from(window.used()) * 1_000_000 / u64::from(window.requests())
    })
}
