//! `[store]`: where state outlives a restart, and with whom it is shared.

use std::path::PathBuf;

use crate::quota::{LimitSet, Plan};

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
    /// What one of them does that cannot reach it.
    pub on_loss: OnLoss,
}

/// What one replica has for itself of an account while Redis is away.
#[derive(Clone, Debug)]
pub struct Aside {
    /// As the plan of all replicas, with smaller limits.
    pub plan: Plan,
    /// Limits of which nothing is set aside, whatever the plan says.
    pub lacking: LimitSet,
}

/// What a replica does that cannot reach the Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLoss {
    /// Nothing leaves.
    Closed,
    /// It goes on with a part that was set aside for it: so many hundred-millionths of
    /// each limit.
    Share(u64),
}

impl OnLoss {
    /// The whole of which [`OnLoss::Share`] tells the parts.
    pub(super) const WHOLE: u64 = 100_000_000;

    /// What is set aside for one replica of a limit of so many requests, if anything is.
    #[must_use]
    pub fn part_of(self, requests: u32) -> Option<u32> {
        let Self::Share(parts) = self else { return None };
        let part = u64::from(requests) * parts / Self::WHOLE;
        Some(u32::try_from(part).unwrap_or(requests))
    }
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
