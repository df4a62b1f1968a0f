//! `[store]`: where state outlives a restart, and with whom it is shared.

use std::path::PathBuf;

/// `[store]`.
#[derive(Clone, Debug)]
pub struct Store {
    /// The folder of ledger, cache and usage.
    pub path: PathBuf,
    /// What cached answers may take in memory, in bytes.
    pub cache_memory_bytes: u64,
    /// What cached answers may take on disk, in bytes; none keeps none there.
    pub cache_disk_bytes: Option<u64>,
    /// What a ledger file that is new means.
    pub on_empty: OnEmpty,
    /// Shared by replicas.
    pub redis: Option<Redis>,
}

/// A Redis or Valkey that replicas share.
#[derive(Clone, Debug)]
pub struct Redis {
    /// Where it is, and how one signs in.
    pub server: crate::redis::Server,
    /// Put before every key.
    pub prefix: String,
    /// How many weirs share it.
    pub replicas: u32,
    /// What the answers that they share may take there, in bytes.
    pub cache_bytes: u64,
}

/// What a replica does that cannot reach the Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLoss {
    /// Nothing leaves.
    Closed,
    /// It goes on with a part that was set aside for it.
    Share,
}

/// What a ledger file that is new means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnEmpty {
    /// Nothing has been spent.
    #[default]
    Trust,
    /// All current windows are spent.
    Cautious,
}
