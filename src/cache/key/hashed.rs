//! For tables of this process, whose keys bring their hash along.

use std::hash::{BuildHasherDefault, Hasher};

/// Takes the hash that a key has already.
pub(in crate::cache) type Hashed = BuildHasherDefault<Taken>;

/// See [`Hashed`].
#[derive(Default)]
pub(in crate::cache) struct Taken(u64);

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
