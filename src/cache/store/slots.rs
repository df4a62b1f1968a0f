//! What is kept, in moka; and an index by path beside it, so that a purge costs what it
//! removes.
//!
//! moka is given the hash that a key has in this process, and not the key, which every
//! entry holds already. Whoever looks compares the whole key (law 10); of two keys with
//! one hash the later takes the place of the other.
//!
//! moka's clocks are not used: stale answers are wanted long after they stop being fresh.
//! It evicts the least recently used rather than by TinyLFU, which would turn away a new
//! answer in favour of an old one that is asked for more often: what has just been paid
//! for is not thrown away unread (law 3).
//!
//! Whoever changes anything is alone (the store's `writing`): moka weighs an entry when
//! its operation leaves a queue, and two on one key that stand there in the wrong order
//! would spoil its sum for good. So the queue is empty after each change, what had to go
//! has gone, and the index has been told. Looks wait for nobody.

use std::sync::Arc;

use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::index::Index;
use crate::cache::entry::EntryArc;
use crate::cache::key::{Hashed, Selector, Text};

/// The variants under one key, the latest first. Cloning one copies a pointer.
pub(super) type Variants = SmallVec<[EntryArc; 1]>;

/// All that is kept.
pub(super) struct Slots {
    kept: moka::sync::Cache<u64, Variants, Hashed>,
    index: Arc<Mutex<Index<EntryArc>>>,
}

impl Slots {
    pub(super) fn new(max_bytes: u64) -> Self {
        let index = Arc::new(Mutex::new(Index::default()));
        let told = Arc::clone(&index);
        let kept = moka::sync::Cache::builder()
            .max_capacity(max_bytes)
            .eviction_policy(EvictionPolicy::lru())
            .weigher(|_, variants: &Variants| weight_bytes(variants))
            .eviction_listener(move |_, variants: Variants, cause| {
                if cause != RemovalCause::Replaced {
                    variants.first().into_iter().for_each(|first| told.lock().remove(first));
                }
            })
            .build_with_hasher(Hashed::default());
        Self { kept, index }
    }

    /// What there is under `key`, whose hash is `quick`.
    pub(super) fn variants(&self, quick: u64, key: &Text) -> Variants {
        self.kept.get(&quick).filter(|there| are_of(there, key)).unwrap_or_default()
    }

    /// Keeps these under `key` in the place of what there is; nothing, if these are none.
    pub(super) fn put(&self, quick: u64, key: &Text, variants: Variants) {
        if self.kept.get(&quick).is_some_and(|there| variants.is_empty() || !are_of(&there, key)) {
            // Before its successor is there: the index is told of what is not replaced by its like.
            self.kept.invalidate(&quick);
            self.kept.run_pending_tasks();
        }
        if let Some(first) = variants.first() {
            self.index.lock().put(EntryArc::clone(first));
            self.kept.insert(quick, variants);
            self.kept.run_pending_tasks();
        }
    }

    /// Takes out what there is under `key`.
    pub(super) fn remove(&self, quick: u64, key: &Text) -> Variants {
        let gone = self.variants(quick, key);
        if !gone.is_empty() {
            self.put(quick, key, Variants::new());
        }
        gone
    }

    /// One for each key that is meant.
    pub(super) fn select(&self, selector: &Selector) -> Vec<EntryArc> {
        self.index.lock().select(selector)
    }

    pub(super) fn weight_bytes(&self) -> u64 {
        self.kept.weighted_size()
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> u64 {
        self.kept.entry_count()
    }

    #[cfg(test)]
    pub(super) fn indexed(&self) -> usize {
        self.index.lock().len()
    }
}

fn are_of(variants: &Variants, key: &Text) -> bool {
    variants.first().is_some_and(|first| first.key() == key)
}

fn weight_bytes(variants: &Variants) -> u32 {
    let bytes = variants.iter().map(|entry| entry.weight_bytes()).sum::<usize>();
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::store::tests::{entry, key};

    /// Of two keys with one hash neither is answered with what is the other's (law 10).
    #[test]
    fn keys_of_one_hash_are_told_apart() {
        let slots = Slots::new(1 << 20);
        let [one, two] = ["/1", "/2"].map(|path| entry(&key("a", path), 10));
        let put =
            |entry: &EntryArc| slots.put(7, entry.key(), Variants::from_elem(EntryArc::clone(entry), 1));
        put(&one);
        assert!(slots.variants(7, two.key()).is_empty());
        assert!(slots.remove(7, two.key()).is_empty());
        assert_eq!((slots.variants(7, one.key()).len(), slots.indexed(), slots.len()), (1, 1, 1));
        put(&two);
        assert!(slots.variants(7, one.key()).is_empty());
        assert_eq!((slots.variants(7, two.key()).len(), slots.indexed(), slots.len()), (1, 1, 1));
        let all = slots.select(&Selector::All);
        assert!(all.len() == 1 && EntryArc::ptr_eq(&all[0], &two));
        slots.remove(7, two.key());
        assert_eq!((slots.indexed(), slots.len(), slots.weight_bytes()), (0, 0, 0));
    }
}
