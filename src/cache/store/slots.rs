//! What is kept, by key, in moka; and an index by path beside it, so that a purge costs
//! what it removes.
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
use crate::cache::entry::Entry;
use crate::cache::key::{Hashed, Key, Selector};

/// The variants under one key, the latest first. Cloning one copies a pointer.
pub(super) type Variants = SmallVec<[Arc<Entry>; 1]>;

/// All that is kept.
pub(super) struct Slots {
    kept: moka::sync::Cache<Key, Variants, Hashed>,
    index: Arc<Mutex<Index<Arc<Entry>>>>,
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
                    variants.first().into_iter().for_each(|first| told.lock().remove(first.key()));
                }
            })
            .build_with_hasher(Hashed::default());
        Self { kept, index }
    }

    /// What there is under `key`.
    pub(super) fn variants(&self, key: &Key) -> Variants {
        self.kept.get(key).unwrap_or_default()
    }

    /// Keeps these under `key` in the place of what there is; nothing, if these are none.
    pub(super) fn put(&self, key: &Key, variants: Variants) {
        match variants.first() {
            Some(first) => {
                self.index.lock().put(Arc::clone(first));
                self.kept.insert(key.stored(), variants);
            }
            None => self.kept.invalidate(key),
        }
        self.kept.run_pending_tasks();
    }

    /// Takes out what there is under `key`.
    pub(super) fn remove(&self, key: &Key) -> Variants {
        let gone = self.kept.remove(key).unwrap_or_default();
        self.kept.run_pending_tasks();
        gone
    }

    pub(super) fn select(&self, selector: &Selector) -> Vec<Key> {
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

fn weight_bytes(variants: &Variants) -> u32 {
    let bytes = variants.iter().map(|entry| entry.weight_bytes()).sum::<usize>();
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
