//! What is kept, by key, and in the order in which it was used.
//!
//! One block of nodes, chained by their numbers from the one used last to the one that
//! goes first; a hash table finds a node by its key's hash and the whole key. The index
//! by path says the same at any time, since both change under one lock.
//!
//! A look takes that lock for reading, and again for writing if its node has not come to
//! the front within this second: the order is exact to the second, and what is asked
//! for a thousand times a second moves once.

use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table;
use smallvec::SmallVec;

use super::index::Index;
use crate::cache::entry::Entry;
use crate::cache::key::{Key, Selector};
use crate::clock::Moment;

/// The variants under one key, the latest first. None is a node that is free.
pub(super) type Variants = SmallVec<[Arc<Entry>; 1]>;

/// All that is kept.
pub(super) struct Slots {
    places: HashTable<u32>,
    nodes: Vec<Node>,
    index: Index<Arc<Entry>>,
    /// The one used last, and the one that goes first.
    ends: Chain,
    /// The last of the free ones, which are chained by `next`.
    free: u32,
    weight_bytes: u64,
}

struct Node {
    variants: Variants,
    /// See [`Key::quick`]: the table grows without a look at the entries.
    quick: u64,
    /// In which second it came to the front.
    second: u32,
    chain: Chain,
}

/// Numbers of nodes, or [`NONE`]. Towards the front, and towards the end.
#[derive(Clone, Copy)]
struct Chain {
    front: u32,
    end: u32,
}

/// No node.
const NONE: u32 = u32::MAX;

impl Slots {
    /// The variants under `key`, and whether that is to be noted with [`Slots::touch`].
    pub(super) fn look(&self, key: &Key, now: Moment) -> Option<(&[Arc<Entry>], bool)> {
        let node = &self.nodes[self.find(key)? as usize];
        Some((&node.variants, node.second != second(now)))
    }

    pub(super) fn variants(&self, key: &Key) -> &[Arc<Entry>] {
        self.find(key).map_or(&[], |at| &self.nodes[at as usize].variants)
    }

    /// It was used; it may have gone meanwhile.
    pub(super) fn touch(&mut self, key: &Key, now: Moment) {
        if let Some(at) = self.find(key) {
            self.nodes[at as usize].second = second(now);
            self.unchain(at);
            self.chain(at);
        }
    }

    /// Keeps these under `key` in the place of what there is, which is given back.
    pub(super) fn put(&mut self, key: &Key, variants: Variants) -> Variants {
        let Some(first) = variants.first().map(Arc::clone) else { return self.remove(key) };
        self.weight_bytes += weight_bytes(&variants);
        self.index.put(first);
        let old = match self.find(key) {
            Some(at) => {
                self.unchain(at);
                self.chain(at);
                std::mem::replace(&mut self.nodes[at as usize].variants, variants)
            }
            None => {
                let at = self.place(Node { variants, quick: key.quick(), second: 0, chain: Chain::LOOSE });
                self.chain(at);
                let nodes = &self.nodes;
                self.places.insert_unique(key.quick(), at, |at| nodes[*at as usize].quick);
                Variants::new()
            }
        };
        self.weight_bytes -= weight_bytes(&old);
        old
    }

    /// Takes out what there is under `key`.
    pub(super) fn remove(&mut self, key: &Key) -> Variants {
        let nodes = &self.nodes;
        let place = self.places.find_entry(key.quick(), |at| is_of(&nodes[*at as usize], key));
        let Ok((at, _)) = place.map(hash_table::OccupiedEntry::remove) else { return Variants::new() };
        self.index.remove(key);
        self.unchain(at);
        let node = &mut self.nodes[at as usize];
        node.chain.end = std::mem::replace(&mut self.free, at);
        let variants = std::mem::take(&mut node.variants);
        self.weight_bytes -= weight_bytes(&variants);
        variants
    }

    /// Takes out what was used least lately, until the rest weighs no more than this.
    pub(super) fn shrink(&mut self, max_bytes: u64) -> Vec<Variants> {
        let mut gone = Vec::new();
        while self.weight_bytes > max_bytes && self.ends.end != NONE {
            let last = self.nodes[self.ends.end as usize].variants.first().map(|entry| entry.key().clone());
            gone.extend(last.map(|key| self.remove(&key)));
        }
        gone
    }

    pub(super) fn select(&self, selector: &Selector) -> Vec<Key> {
        self.index.select(selector)
    }

    pub(super) fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    #[cfg(test)]
    pub(super) fn indexed(&self) -> usize {
        self.index.len()
    }

    fn find(&self, key: &Key) -> Option<u32> {
        self.places.find(key.quick(), |at| is_of(&self.nodes[*at as usize], key)).copied()
    }

    /// A number for a node.
    fn place(&mut self, node: Node) -> u32 {
        if self.free == NONE {
            self.nodes.push(node);
            return u32::try_from(self.nodes.len() - 1).expect("four thousand million answers have no room");
        }
        let at = self.free;
        self.free = self.nodes[at as usize].chain.end;
        self.nodes[at as usize] = node;
        at
    }

    /// Puts a loose node to the front.
    fn chain(&mut self, at: u32) {
        let next = std::mem::replace(&mut self.ends.front, at);
        self.nodes[at as usize].chain = Chain { front: NONE, end: next };
        match next {
            NONE => self.ends.end = at,
            next => self.nodes[next as usize].chain.front = at,
        }
    }

    fn unchain(&mut self, at: u32) {
        let Chain { front, end } = std::mem::replace(&mut self.nodes[at as usize].chain, Chain::LOOSE);
        match front {
            NONE => self.ends.front = end,
            front => self.nodes[front as usize].chain.end = end,
        }
        match end {
            NONE => self.ends.end = front,
            end => self.nodes[end as usize].chain.front = front,
        }
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            places: HashTable::new(),
            nodes: Vec::new(),
            index: Index::default(),
            ends: Chain::LOOSE,
            free: NONE,
            weight_bytes: 0,
        }
    }
}

impl Chain {
    const LOOSE: Self = Self { front: NONE, end: NONE };
}

fn is_of(node: &Node, key: &Key) -> bool {
    node.quick == key.quick() && node.variants.first().is_some_and(|entry| entry.key() == key)
}

/// Of 136 years; who comes to the same second after so long stays where it is.
fn second(at: Moment) -> u32 {
    u32::try_from(at.as_nanos() / 1_000_000_000 % u64::from(u32::MAX)).unwrap_or_default()
}

/// What the entries weigh, with what this keeps beside them.
fn weight_bytes(variants: &Variants) -> u64 {
    variants.iter().map(|entry| entry.weight_bytes() as u64).sum()
}

#[cfg(test)]
mod tests;
