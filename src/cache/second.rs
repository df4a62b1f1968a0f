//! The cache's second level: larger and slower than the first, and outliving it.
//!
//! What any second level promises, so that the first need not care which one it is
//! (a file: [`super::disk`]; a Redis that replicas share: [`super::shared`]):
//!
//! * **Nobody waits for it on a hit**, nor to keep an answer: [`SecondLevel::keep`]
//!   takes it and writes it behind, within a bound in bytes. What does not fit, or
//!   cannot be written, is dropped and counted: it costs warmth, never more.
//! * **A look costs nothing where surely nothing is**: [`SecondLevel::look`] says so
//!   at once. Otherwise it is done off the workers, takes a second at most (Redis: 50 ms),
//!   and is made once for all who miss the same key.
//! * **What was purged does not come back.** From [`SecondLevel::purge`] on no look
//!   finds it; once [`SecondLevel::confirmed`] resolves, no restart and no other replica
//!   does either. Until then nobody is told that it is gone.
//! * **Ages go on while nobody runs.** An entry whose age cannot be told is no entry.
//! * What cannot be read costs the one entry; what is broken altogether is begun
//!   anew. Neither is an error of anybody's request.
//!
//! What is written is `record`'s bytes, which carry a version of their own.

use std::fmt;
use std::pin::Pin;

use super::entry::{Entry, EntryArc};
use super::key::{Key, Selector};

/// What will be known.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Which of the answers under one key: the digest of what `Vary` selected it by.
pub type Variant = u64;

/// The beginning of a key's hash: tells keys apart wherever to mistake one for another costs
/// warmth and no more. What is served is compared whole.
pub type Short = u64;

/// One answer's name in both levels.
pub type Name = (Short, Variant);

/// Which second level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A file of this weir's.
    Disk,
    /// Shared by replicas.
    Redis,
}

/// See the module.
pub trait SecondLevel: fmt::Debug + Send + Sync {
    /// Which it is.
    fn level(&self) -> Level;

    /// The answers under `key` other than `known`; none, at once, if there surely are
    /// none. To be called after the [ticket](super::Cache::ticket) is taken under
    /// which they will be brought up.
    fn look(&self, key: &Key, known: &[Variant]) -> Option<Pending<Vec<Entry>>>;

    /// Takes the answer in the place of its predecessor, to write it behind. Does
    /// not wait.
    fn keep(&self, entry: &EntryArc);

    /// Notes, to be found after a restart, that all that was purged so far is gone: what
    /// `mark` says is up to its owner. Does not wait.
    fn mark(&self, mark: Vec<u8>);

    /// What was noted last before this process began, where what was kept then still is.
    fn marked(&self) -> Pending<Option<Vec<u8>>>;

    /// Drops one answer. Does not wait, and needs no confirmation: it was not wrong
    /// to give it before.
    fn forget(&self, entry: &Entry);

    /// Hides what the selector means, at once; says what that was, as far as it is
    /// known without asking.
    fn purge(&self, selector: &Selector) -> Vec<Name>;

    /// Resolves when nothing that was purged before this call can come back.
    fn confirmed(&self) -> Pending<Result<(), Unconfirmed>>;

    /// Writes what is still to be written, for some seconds at most, and lets go.
    fn close(&self) -> Pending<()>;

    /// How it is.
    fn tally(&self) -> SecondTally;
}

/// What was purged may be met again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unconfirmed {
    /// By this weir.
    #[error("the cache's file does not confirm the purge: after a crash it may come back")]
    Disk,
    /// By others.
    #[error("redis does not confirm the purge: other replicas may serve it until they hear of it")]
    Replicas,
}

/// How a second level is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecondTally {
    /// Answers in it, those still to be written included.
    pub entries: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// Bytes waiting to be written.
    pub queued_bytes: u64,
    /// Answers brought up from it.
    pub found: u64,
    /// Answers that were to be kept and were not: too many at once, or no place.
    pub dropped: u64,
}
