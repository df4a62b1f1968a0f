//! What is held empty for quiet owners, and when it is let go (DESIGN, law 4).
//!
//! A division's hold and the holds of its consumers overlap: the larger of the
//! two counts. A request is *covered* on a limit if granting it makes what is
//! held shrink by one; such a request may take a held slot, any other may not.

use crate::clock::Moment;
use crate::quota::Quantity;

use super::hierarchy::NodeIndex;

/// All reserves of one upstream.
#[derive(Clone, Debug)]
pub(super) struct Holds {
    limits: usize,
    /// By node: where in `owners`.
    slots: Vec<Option<usize>>,
    owners: Vec<Owner>,
    estates: Vec<Estate>,
    /// By division: where in `estates`.
    homes: Vec<Option<usize>>,
    /// Per limit, over all divisions.
    total: Vec<u32>,
    /// No owner is stale before this.
    next_stale: Moment,
}

/// One division's or consumer's reserve.
#[derive(Clone, Debug)]
struct Owner {
    node: NodeIndex,
    estate: usize,
    reserve: Box<[u32]>,
    held: Box<[u32]>,
    /// From then on `held` may be less, by the passing of time alone.
    stale_at: Moment,
}

/// A division in which somebody has a reserve.
#[derive(Clone, Debug)]
struct Estate {
    division: NodeIndex,
    own: Option<usize>,
    /// Its consumers with a reserve, and what is held for them together.
    consumers: Vec<NodeIndex>,
    inner: Box<[u32]>,
}

impl Holds {
    pub(super) fn new(limits: usize, divisions: usize, nodes: usize) -> Self {
        Self {
            limits,
            slots: vec![None; nodes],
            owners: Vec::new(),
            estates: Vec::new(),
            homes: vec![None; divisions],
            total: vec![0; limits],
            next_stale: Moment::NEVER,
        }
    }

    /// Gives `node`, of `division` or that division itself, a reserve. Nothing is held until [`Holds::set`].
    pub(super) fn add(&mut self, division: NodeIndex, node: NodeIndex, reserve: &[Quantity]) {
        if reserve.is_empty() {
            return;
        }
        let estate = *self.homes[division].get_or_insert(self.estates.len());
        if estate == self.estates.len() {
            let inner = vec![0; self.limits].into_boxed_slice();
            self.estates.push(Estate { division, own: None, consumers: Vec::new(), inner });
        }
        let mut sizes = vec![0; self.limits].into_boxed_slice();
        for quantity in reserve {
            sizes[quantity.limit] = quantity.requests.get();
        }
        self.slots[node] = Some(self.owners.len());
        if node == division {
            self.estates[estate].own = Some(self.owners.len());
        } else {
            self.estates[estate].consumers.push(node);
        }
        let held = vec![0; self.limits].into_boxed_slice();
        self.owners.push(Owner { node, estate, reserve: sizes, held, stale_at: Moment::NEVER });
    }

    /// What `node` has reserved of each limit, if anything.
    pub(super) fn reserve_of(&self, node: NodeIndex) -> Option<&[u32]> {
        self.slots[node].map(|slot| &*self.owners[slot].reserve)
    }

    /// What is held for `node` of `limit`.
    pub(super) fn held_for(&self, node: NodeIndex, limit: usize) -> u32 {
        self.slots[node].map_or(0, |slot| self.owners[slot].held[limit])
    }

    /// What is held of `limit` for anybody.
    pub(super) fn total(&self, limit: usize) -> u32 {
        self.total[limit]
    }

    /// From now until `stale_at`, `held` of each limit is held for `node`.
    pub(super) fn set(&mut self, node: NodeIndex, held: &[u32], stale_at: Moment) {
        let Some(slot) = self.slots[node] else { return };
        let estate = self.owners[slot].estate;
        let is_consumer = node != self.estates[estate].division;
        for (limit, &new) in held.iter().enumerate() {
            self.total[limit] -= self.of_estate(estate, limit);
            let old = std::mem::replace(&mut self.owners[slot].held[limit], new);
            if is_consumer {
                let inner = &mut self.estates[estate].inner[limit];
                *inner = *inner - old + new;
            }
            self.total[limit] += self.of_estate(estate, limit);
        }
        self.owners[slot].stale_at = stale_at;
        self.next_stale = self.next_stale.min(stale_at);
    }

    /// Owners whose holds have to be worked out anew at `now`; to be [set](Holds::set) at once.
    pub(super) fn stale(&mut self, now: Moment) -> Vec<NodeIndex> {
        let (stale, fresh): (Vec<_>, Vec<_>) = self.owners.iter().partition(|owner| owner.stale_at <= now);
        self.next_stale = fresh.iter().map(|owner| owner.stale_at).min().unwrap_or(Moment::NEVER);
        stale.into_iter().map(|owner| owner.node).collect()
    }

    /// When the next hold may shrink by the passing of time alone.
    pub(super) fn next_stale(&self) -> Moment {
        self.next_stale
    }

    /// Every owner.
    pub(super) fn owners(&self) -> impl Iterator<Item = NodeIndex> {
        self.owners.iter().map(|owner| owner.node)
    }

    /// Divisions in which somebody has a reserve, each with those of its consumers that have one.
    pub(super) fn estates(&self) -> impl Iterator<Item = (NodeIndex, &[NodeIndex])> {
        self.estates.iter().map(|estate| (estate.division, &*estate.consumers))
    }

    /// Whether a request of `consumer` (or, without one, of just anybody) in
    /// `division` would take a slot of `limit` that is held for it.
    pub(super) fn is_covered(&self, division: NodeIndex, consumer: Option<NodeIndex>, limit: usize) -> bool {
        let Some(estate) = self.homes[division].map(|at| &self.estates[at]) else { return false };
        let own = estate.own.map_or(0, |slot| self.owners[slot].held[limit]);
        own > estate.inner[limit] || consumer.is_some_and(|consumer| self.held_for(consumer, limit) > 0)
    }

    /// What would be held of a sliding `limit` in `division` if each node used `used(node)` of it.
    pub(super) fn estate_if(
        &self,
        division: NodeIndex,
        limit: usize,
        used: impl Fn(NodeIndex) -> u32,
    ) -> u32 {
        let Some(estate) = self.homes[division].map(|at| &self.estates[at]) else { return 0 };
        let of = |node: NodeIndex| {
            self.reserve_of(node).map_or(0, |reserve| reserve[limit].saturating_sub(used(node)))
        };
        of(division).max(estate.consumers.iter().map(|&consumer| of(consumer)).sum())
    }

    /// Whether a request of `consumer` in `division` would be covered then.
    pub(super) fn covered_if(
        &self,
        (division, consumer): (NodeIndex, NodeIndex),
        limit: usize,
        used: impl Fn(NodeIndex) -> u32,
    ) -> bool {
        let Some(estate) = self.homes[division].map(|at| &self.estates[at]) else { return false };
        let of = |node: NodeIndex| {
            self.reserve_of(node).map_or(0, |reserve| reserve[limit].saturating_sub(used(node)))
        };
        of(consumer) > 0 || of(division) > estate.consumers.iter().map(|&consumer| of(consumer)).sum()
    }

    /// How much of `limit` is held for others than `consumer` of `division`.
    pub(super) fn kept_from(&self, division: NodeIndex, consumer: NodeIndex, limit: usize) -> u32 {
        let own = self.homes[division].map_or(0, |estate| {
            let siblings = self.estates[estate].inner[limit] - self.held_for(consumer, limit);
            self.of_estate(estate, limit) - siblings
        });
        self.total[limit] - own
    }

    /// Whether anybody has a reserve.
    pub(super) fn any(&self) -> bool {
        !self.owners.is_empty()
    }

    /// Whether a request in `division` can ever be covered.
    pub(super) fn may_cover(&self, division: NodeIndex) -> bool {
        self.homes[division].is_some()
    }

    fn of_estate(&self, estate: usize, limit: usize) -> u32 {
        let estate = &self.estates[estate];
        estate.own.map_or(0, |slot| self.owners[slot].held[limit]).max(estate.inner[limit])
    }
}
