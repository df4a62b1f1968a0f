//! Who goes next: start-time fair queueing on two levels (DESIGN, law 4).
//!
//! First a division is chosen, then a consumer of it, then that consumer's most
//! urgent and oldest caller. On both levels those below their share go before
//! those who borrow, and within each of these groups the least start tag goes
//! first; a tag grows by 1/share with each request served. Start-time fair
//! queueing: Goyal, Vin and Cheng, SIGCOMM 1996.
//!
//! Callers that count against the same limits form a class. What the account
//! lacks stops a whole class at once; whoever is stopped by a cap of its own is
//! not in the class's order at all. So a decision looks at the head of each
//! class and never walks past those that cannot go, and every change of a
//! count, by a charge, a refund or a lapse, moves one consumer: O(log n).

mod fleet;
mod rank;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::clock::Moment;
use crate::quota::{LimitSet, Plan};

use super::hierarchy::{Books, Gate, NodeIndex, Standing};
use super::log::Seat;
pub(super) use fleet::{Place, Stake, Tagged, Waiting};
use rank::{Group, Key, Ranks};

/// One caller that waits; ids grow in the order of arrival.
pub(super) type EntryId = u64;

/// Everybody that waits.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    classes: Vec<Class>,
    ranks: Ranks,
    waiting: usize,
}

/// What the queue has to know of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) id: EntryId,
    pub(super) seat: Seat,
    pub(super) set: LimitSet,
    /// RFC 9218: 0 first, 7 last.
    pub(super) urgency: u8,
}

/// Those who count against the same limits.
#[derive(Clone, Debug)]
struct Class {
    set: LimitSet,
    /// Divisions of which somebody could go, if the account had room.
    ready: BTreeSet<Key>,
    lanes: HashMap<NodeIndex, Lane>,
}

/// One division's part of a class.
#[derive(Clone, Debug, Default)]
struct Lane {
    key: Option<Key>,
    /// Consumers that could go, if the division and the account had room.
    ready: BTreeSet<Key>,
    flows: HashMap<NodeIndex, Flow>,
}

/// One consumer's part of a class.
#[derive(Clone, Debug, Default)]
struct Flow {
    key: Option<Key>,
    callers: BTreeMap<(u8, EntryId), Claim>,
    /// How many of them share their fetch with other callers.
    joined: usize,
}

/// Whose the fetch is that a caller waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// This caller's alone.
    Sole,
    /// Others wait for it too, and may be the ones that pay.
    Joined,
}

/// Where a caller stands among all that could go; the least goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    division: Key,
    consumer: Key,
    caller: (u8, EntryId),
}

impl Queue {
    pub(super) fn new(plan: &Plan) -> Self {
        Self { classes: Vec::new(), ranks: Ranks::new(plan), waiting: 0 }
    }

    /// An empty one for another plan, in which everyone is due what it was before.
    /// `seats` are the old ones of the new plan's consumers, behind the old plan's divisions.
    pub(super) fn replanned(
        &self,
        plan: &Plan,
        (divisions, seats): (usize, &[Option<usize>]),
        before: &Plan,
    ) -> Self {
        let homes =
            plan.divisions.iter().map(|new| before.divisions.iter().position(|old| old.name == new.name));
        let nodes: Vec<_> = homes.chain(seats.iter().map(|seat| seat.map(|seat| divisions + seat))).collect();
        Self { ranks: self.ranks.replanned(plan, &nodes), ..Self::new(plan) }
    }

    pub(super) fn push(&mut self, waiter: Waiter, books: &Books) {
        let [division, consumer] = books.path(waiter.seat);
        let class = self.classes.iter().position(|class| class.set == waiter.set).unwrap_or_else(|| {
            self.classes.push(Class { set: waiter.set, ready: BTreeSet::new(), lanes: HashMap::new() });
            self.classes.len() - 1
        });
        let lane = self.classes[class].lanes.entry(division).or_default();
        lane.flows.entry(consumer).or_default().callers.insert((waiter.urgency, waiter.id), Claim::Sole);
        self.waiting += 1;
        self.refresh(waiter.seat, books);
    }

    pub(super) fn remove(&mut self, waiter: Waiter, books: &Books) {
        let Some(flow) = self.flow_mut(waiter, books.path(waiter.seat)) else { return };
        let Some(claim) = flow.callers.remove(&(waiter.urgency, waiter.id)) else { return };
        flow.joined -= usize::from(claim == Claim::Joined);
        self.waiting -= 1;
        self.refresh(waiter.seat, books);
    }

    /// From now on others wait for the same fetch as `waiter`.
    pub(super) fn join(&mut self, waiter: Waiter, books: &Books) {
        let Some(flow) = self.flow_mut(waiter, books.path(waiter.seat)) else { return };
        let claim = flow.callers.get_mut(&(waiter.urgency, waiter.id));
        if claim.is_some_and(|claim| std::mem::replace(claim, Claim::Joined) == Claim::Sole) {
            flow.joined += 1;
        }
    }

    /// The caller that leaves next, if anybody may leave at `now`. Whoever is
    /// told has to be [served](Queue::served) or removed.
    pub(super) fn next(&self, books: &Books, now: Moment) -> Option<Waiter> {
        let turns = self.classes.iter().filter(|class| !class.ready.is_empty()).filter_map(|class| {
            let turn = match books.gate(class.set, now) {
                Gate::Open => class.first(),
                Gate::OwnersOnly => class.first_owner(books),
                Gate::Shut => None,
            };
            turn.map(|turn| (turn, class.set))
        });
        let (turn, set) = turns.min_by_key(|(turn, _)| *turn)?;
        let (urgency, id) = turn.caller;
        Some(Waiter { id, seat: books.seat(turn.consumer.node), set, urgency })
    }

    /// `waiter`, who still stands in the queue, is the one that goes: its
    /// division's and its consumer's turns move back by 1/share. To be followed
    /// by [`Queue::remove`].
    pub(super) fn served(&mut self, waiter: Waiter, books: &Books) {
        let [division, consumer] = books.path(waiter.seat);
        let class = self.classes.iter().find(|class| class.set == waiter.set);
        let Some(lane) = class.and_then(|class| class.lanes.get(&division)) else { return };
        let keys = [lane.key, lane.flows.get(&consumer).and_then(|flow| flow.key)];
        for key in keys.into_iter().flatten() {
            self.ranks.serve(key);
        }
    }

    /// Puts `seat` and its division where they now belong: to be called whenever
    /// one of their counts has changed.
    pub(super) fn refresh(&mut self, seat: Seat, books: &Books) {
        let [division, consumer] = books.path(seat);
        for class in &mut self.classes {
            let Some(lane) = class.lanes.get_mut(&division) else { continue };
            if let Some(flow) = lane.flows.get_mut(&consumer) {
                let group = if flow.callers.is_empty() { None } else { group_of(books, consumer, class.set) };
                self.ranks.put(&mut lane.ready, &mut flow.key, consumer, group);
                if flow.callers.is_empty() {
                    lane.flows.remove(&consumer);
                }
            }
        }
        for class in &mut self.classes {
            let Some(lane) = class.lanes.get_mut(&division) else { continue };
            let group = if lane.ready.is_empty() { None } else { group_of(books, division, class.set) };
            self.ranks.put(&mut class.ready, &mut lane.key, division, group);
            if lane.flows.is_empty() {
                class.lanes.remove(&division);
            }
        }
    }

    /// When, if nothing happens before, somebody may be able to leave.
    pub(super) fn next_chance(&self, books: &Books, now: Moment) -> Option<Moment> {
        let chances = self.wanted().filter_map(|(set, by_account)| match by_account {
            true => books.next_opening(set, now),
            // All of them are capped: any lapse may be one of theirs.
            false => set.iter().filter_map(|limit| books.next_release(limit)).min(),
        });
        chances.min()
    }

    /// Everybody who waits, by consumer and class in turn: who it is, on which limits,
    /// its index among them, and how many of them may be paid for by others (`None`
    /// if it may be itself).
    pub(super) fn in_turn(&self) -> impl Iterator<Item = (EntryId, LimitSet, usize, Option<usize>)> {
        let flows = self.classes.iter().flat_map(|class| {
            class.lanes.values().flat_map(|lane| lane.flows.values()).map(|flow| (class.set, flow))
        });
        flows.flat_map(|(set, flow)| {
            flow.callers.iter().enumerate().map(move |(index, ((_, id), claim))| {
                (*id, set, index, (*claim == Claim::Sole).then_some(flow.joined))
            })
        })
    }

    /// The sets of limits that somebody waits for, and whether anybody of them is
    /// held back by the account alone.
    pub(super) fn wanted(&self) -> impl Iterator<Item = (LimitSet, bool)> {
        let waiting = self.classes.iter().filter(|class| !class.lanes.is_empty());
        waiting.map(|class| (class.set, !class.ready.is_empty()))
    }

    /// At least so many callers of the same consumer go before `waiter` whenever it
    /// could go itself, and take one of `limit`. Joined ones do not count: another
    /// consumer may pay for them.
    pub(super) fn ahead_of(&self, waiter: Waiter, limit: usize, books: &Books) -> u64 {
        let [division, consumer] = books.path(waiter.seat);
        let mine = (waiter.urgency, waiter.id);
        let classes = self.classes.iter().filter(|c| c.set.contains(limit) && within(c.set, waiter.set));
        let flows = classes.filter_map(|class| class.lanes.get(&division)?.flows.get(&consumer));
        let ahead = flows.map(|flow| {
            let earlier = match flow.callers.last_key_value() {
                Some((last, _)) if *last < mine => flow.callers.len(),
                Some((last, _)) if *last == mine => flow.callers.len() - 1,
                _ => flow.callers.range(..mine).count(),
            };
            earlier.saturating_sub(flow.joined)
        });
        ahead.sum::<usize>() as u64
    }

    /// Callers that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    fn flow_mut(&mut self, waiter: Waiter, [division, consumer]: [NodeIndex; 2]) -> Option<&mut Flow> {
        let class = self.classes.iter_mut().find(|class| class.set == waiter.set)?;
        class.lanes.get_mut(&division)?.flows.get_mut(&consumer)
    }
}

impl Class {
    fn first(&self) -> Option<Turn> {
        let division = self.ready.first()?;
        let lane = self.lanes.get(&division.node)?;
        lane.turn(*division, *lane.ready.first()?)
    }

    /// The first whose reserve holds the slot it would take. Looks at every owner
    /// that waits; there are as many as reserves are configured.
    fn first_owner(&self, books: &Books) -> Option<Turn> {
        let holds = books.holds();
        let lanes = holds.estates().filter_map(|(division, owners)| {
            let lane = self.lanes.get(&division)?;
            Some((division, lane, lane.key?, owners))
        });
        let turns = lanes.filter_map(|(division, lane, key, owners)| {
            if books.is_covered(division, None, self.set) {
                return lane.turn(key, *lane.ready.first()?);
            }
            let covered = owners.iter().filter(|&&owner| books.is_covered(division, Some(owner), self.set));
            let first = covered.filter_map(|owner| lane.flows.get(owner)?.key).min()?;
            lane.turn(key, first)
        });
        turns.min()
    }
}

impl Lane {
    fn turn(&self, division: Key, consumer: Key) -> Option<Turn> {
        let caller = *self.flows.get(&consumer.node)?.callers.first_key_value()?.0;
        Some(Turn { division, consumer, caller })
    }
}

fn group_of(books: &Books, node: NodeIndex, set: LimitSet) -> Option<Group> {
    match books.standing(node, set) {
        Standing::Capped => None,
        Standing::Below => Some(Group::Below),
        Standing::Borrowing => Some(Group::Borrowing),
    }
}

/// Whether every limit of `inner` is in `outer`.
fn within(inner: LimitSet, outer: LimitSet) -> bool {
    inner.iter().all(|limit| outer.contains(limit))
}
