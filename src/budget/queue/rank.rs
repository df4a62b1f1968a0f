//! Start tags: the order of divisions among themselves, and of consumers within one.

use std::collections::BTreeSet;

use crate::quota::Plan;

use super::super::hierarchy::NodeIndex;

/// A tag grows by this over the share in millionths for each request served.
const STEP: u128 = 1_000_000_000_000;

/// Who goes before whom, whatever their tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    Below,
    Borrowing,
}

/// A node's place among its siblings; the least goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) group: Group,
    start: u128,
    /// Among equal tags: who came to this tag first.
    order: u64,
    pub(super) node: NodeIndex,
}

/// The tags of all nodes, in each group by themselves: what a node was due
/// does not count against it among those who borrow.
#[derive(Clone, Debug)]
pub(super) struct Ranks {
    tags: Vec<[Tag; 2]>,
    /// What one request costs: the inverse of the share.
    steps: Vec<u128>,
    /// Divisions' parent is the account, which comes after all nodes.
    parents: Vec<NodeIndex>,
    /// The tag last served below each parent: virtual time.
    served: Vec<[u128; 2]>,
    turns: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tag {
    start: u128,
    order: u64,
    /// In how many classes the node stands in this group.
    classes: u32,
}

impl Ranks {
    pub(super) fn new(plan: &Plan) -> Self {
        let shares = plan.divisions.iter().map(|d| d.share).chain(plan.consumers.iter().map(|c| c.share));
        let nodes = plan.divisions.len() + plan.consumers.len();
        let homes = plan.consumers.iter().map(|consumer| consumer.division);
        Self {
            tags: vec![[Tag::default(); 2]; nodes],
            steps: shares.map(|share| STEP / u128::from(share.0.max(1))).collect(),
            parents: plan.divisions.iter().map(|_| nodes).chain(homes).collect(),
            served: vec![[0; 2]; nodes + 1],
            turns: 0,
        }
    }

    /// The same for another plan, with nobody in any class; `before` are the old
    /// nodes of the new ones. Who is new, or has moved, begins where the others are.
    pub(super) fn replanned(&self, plan: &Plan, before: &[Option<NodeIndex>]) -> Self {
        let mut ranks = Self { turns: self.turns, ..Self::new(plan) };
        let account = before.len();
        let parent_before = |parent: NodeIndex| match before.get(parent) {
            Some(old) => *old,
            None => Some(self.tags.len()),
        };
        for parent in (0..plan.divisions.len()).chain([account]) {
            if let Some(old) = parent_before(parent) {
                ranks.served[parent] = self.served[old];
            }
        }
        for (node, old) in before.iter().enumerate() {
            let Some(old) = old.filter(|&old| parent_before(ranks.parents[node]) == Some(self.parents[old]))
            else {
                continue;
            };
            for (tag, old) in ranks.tags[node].iter_mut().zip(self.tags[old]) {
                *tag = Tag { classes: 0, ..old };
            }
        }
        ranks
    }

    /// Moves `node` within `ready` from the place `slot` to where it belongs in `group`, or out of it.
    pub(super) fn put(
        &mut self,
        ready: &mut BTreeSet<Key>,
        slot: &mut Option<Key>,
        node: NodeIndex,
        group: Option<Group>,
    ) {
        let old = *slot;
        if old.map(|key| key.group) != group {
            if let Some(key) = old {
                self.tags[node][key.group as usize].classes -= 1;
            }
            if let Some(group) = group {
                self.join(node, group);
            }
        }
        *slot = group.map(|group| {
            let tag = self.tags[node][group as usize];
            Key { group, start: tag.start, order: tag.order, node }
        });
        if *slot != old {
            old.map(|key| ready.remove(&key));
            slot.map(|key| ready.insert(key));
        }
    }

    /// One request of the node at `key` goes.
    pub(super) fn serve(&mut self, key: Key) {
        let served = &mut self.served[self.parents[key.node]][key.group as usize];
        *served = key.start.max(*served);
        self.turns += 1;
        let tag = &mut self.tags[key.node][key.group as usize];
        tag.start += self.steps[key.node];
        tag.order = self.turns;
    }

    /// One request of `node` went, in another replica.
    pub(super) fn serve_node(&mut self, node: NodeIndex, group: Group) {
        let served = &mut self.served[self.parents[node]][group as usize];
        let tag = &mut self.tags[node][group as usize];
        let start = tag.start.max(*served);
        *served = start;
        self.turns += 1;
        tag.start = start + self.steps[node];
        tag.order = self.turns;
    }

    /// The start tag of `node` in `group`.
    pub(super) fn start_of(&self, node: NodeIndex, group: Group) -> u128 {
        self.tags[node][group as usize].start
    }

    /// The tags of `node` below its share and borrowing, as all replicas have them.
    pub(super) fn learn(&mut self, node: NodeIndex, starts: [u128; 2]) {
        for (tag, start) in self.tags[node].iter_mut().zip(starts) {
            tag.start = start;
        }
    }

    /// The virtual time below `parent`; none is the account.
    pub(super) fn learn_served(&mut self, parent: Option<NodeIndex>, starts: [u128; 2]) {
        let parent = parent.unwrap_or(self.tags.len());
        self.served[parent] = starts;
    }

    /// What `node` was served in `group` was not, after all.
    pub(super) fn unserve(&mut self, node: NodeIndex, group: Group) {
        let tag = &mut self.tags[node][group as usize];
        tag.start = tag.start.saturating_sub(self.steps[node]);
    }

    /// What one request costs `node`: the inverse of its share.
    #[allow(clippy::cast_precision_loss, reason = "it is compared with others like it")]
    pub(super) fn price(&self, node: NodeIndex) -> f64 {
        self.steps[node] as f64
    }

    fn join(&mut self, node: NodeIndex, group: Group) {
        let served = self.served[self.parents[node]][group as usize];
        let tag = &mut self.tags[node][group as usize];
        if tag.classes == 0 {
            // Time spent away earns nothing; what was served before still counts.
            tag.start = tag.start.max(served);
            self.turns += 1;
            tag.order = self.turns;
        }
        tag.classes += 1;
    }
}
