//! Keys that turned out uncacheable: whoever asks for one flies alone.
//!
//! Two generations instead of a cache: where each key is new, one is learnt with every
//! answer, and is asked for never again. When the younger one is full it becomes the older,
//! and what that one held is forgotten. A key is known by its hash of this process alone;
//! two that meet cost a join, and nothing else.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use parking_lot::Mutex;

use crate::clock::Moment;

/// Takes the hash that a flight's key has already.
pub(super) type Hashed = BuildHasherDefault<Taken>;

/// See [`Hashed`].
#[derive(Default)]
pub(super) struct Taken(u64);

/// Keys in one generation.
const MAX_KEYS: usize = 32_768;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Alone(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<u64, Moment, Hashed>,
    old: HashMap<u64, Moment, Hashed>,
}

impl Alone {
    /// It is one, until then.
    pub(super) fn insert(&self, key: u64, until: Moment) {
        let Generations { young, old } = &mut *self.0.lock();
        if young.len() >= MAX_KEYS && !young.contains_key(&key) {
            // Swapped, so that neither has to grow anew.
            std::mem::swap(young, old);
            young.clear();
        }
        young.insert(key, until);
    }

    /// It is none any more.
    pub(super) fn remove(&self, key: u64) {
        let Generations { young, old } = &mut *self.0.lock();
        young.remove(&key);
        old.remove(&key);
    }

    pub(super) fn is_known(&self, key: u64, now: Moment) -> bool {
        let Generations { young, old } = &*self.0.lock();
        young.get(&key).or_else(|| old.get(&key)).is_some_and(|until| now < *until)
    }
}

impl Hasher for Taken {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    /// Keys write one number and nothing else; anything would do here.
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_known_and_memory_is_bounded() {
        let (alone, now) = (Alone::default(), Moment::from_nanos(5));
        let later = Moment::from_nanos(9);
        let most = MAX_KEYS as u64;
        for key in 0..most * 5 {
            alone.insert(key, later);
            assert!(alone.is_known(key, now) && alone.is_known(key.saturating_sub(most), now), "{key}");
        }
        assert!(!alone.is_known(0, now), "it was long ago");
        assert!(!alone.is_known(most * 5 - 1, later), "its time is over");
        alone.remove(most * 5 - 1);
        assert!(!alone.is_known(most * 5 - 1, now));
        let Generations { young, old } = &*alone.0.lock();
        assert!(young.len() <= MAX_KEYS && old.len() <= MAX_KEYS);
    }
}
