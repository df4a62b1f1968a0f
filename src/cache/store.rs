//! The first level: in memory, bounded in bytes; and the way to the second.
//!
//! One slot per key holds the variants that `Vary` tells apart; see `slots`.
//!
//! A fill that a purge or a write has overtaken is not stored:
//! 1. fetch F takes a ticket (the log's length), is sent, and is answered with A;
//! 2. a purge P is logged, under the write half of the gate, then removes;
//! 3. F inserts, under the read half: the log since its ticket selects its key,
//!    so A, which may be older than what P was called for, is refused.
//!
//! If 3 comes before 2, the read half lets F finish first, and P removes A. The
//! second level is told under the same halves, so that it hears of both in the same
//! order; what is brought up from it is a fill like any other.

pub(super) mod index;
mod levels;
mod slots;

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Mutex as Turn;

use self::slots::Slots;
use super::entry::EntryArc;
use super::key::{Hash, Key, Selector, Text};
use super::policy::Policy;
use super::reuse::{Forward, Lookup};
use super::second::{Level, Name, SecondLevel};
use super::shared::Shared;
use super::{Asked, Now, RequestDirectives};
use crate::clock::Moment;

/// How much may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// What all entries together may weigh, in bytes.
    pub max_bytes: u64,
}

/// All that is kept.
pub struct Cache {
    slots: Slots,
    /// Held by whoever changes a slot, from the first look at it.
    writing: Mutex<()>,
    gate: RwLock<Log>,
    max_bytes: u64,
    /// The nearest first.
    levels: Vec<Arc<dyn SecondLevel>>,
    /// The one of them that replicas share.
    shared: Option<Arc<Shared>>,
    /// Those who miss one key look into the second level one after another; what was
    /// looked for last and not found, and when.
    turns: [Turn<Option<(Hash, Moment)>>; TURNS],
    on_purge: RwLock<Vec<OnPurge>>,
}

/// Is told of every purge, once what it means is gone from both levels.
type OnPurge = Box<dyn Fn(&Selector) + Send + Sync>;

/// The state of purges and writes when a fetch was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// What became of an answer that might be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Kept.
    Kept,
    /// A purge or a write overtook it.
    Overtaken,
    /// A later answer is there already.
    Older,
    /// It weighs more than the whole cache may.
    TooLarge,
}

/// What was purged or written, since a while.
#[derive(Default)]
struct Log {
    /// How many there ever were.
    count: u64,
    recent: VecDeque<Selector>,
}

/// How many purges and writes a fetch may outlive before its answer is refused
/// unseen.
const MAX_LOGGED: usize = 1_024;

/// Looks into the second level that do not wait for each other, if their keys differ.
const TURNS: usize = 64;

/// How many answers to one URL may differ by `Vary`.
const MAX_VARIANTS: usize = 64;

impl Default for CacheLimits {
    fn default() -> Self {
        Self { max_bytes: 256 * 1024 * 1024 }
    }
}

impl Cache {
    /// An empty cache without a second level.
    #[must_use]
    pub fn new(limits: CacheLimits) -> Self {
        Self::over(limits, None, None)
    }

    /// An empty cache over what `disk` and `shared` hold.
    #[must_use]
    pub fn over(
        limits: CacheLimits,
        disk: Option<Arc<dyn SecondLevel>>,
        shared: Option<Arc<Shared>>,
    ) -> Self {
        let as_level = |shared: &Arc<Shared>| Arc::clone(shared) as Arc<dyn SecondLevel>;
        Self {
            slots: Slots::new(limits.max_bytes),
            writing: Mutex::default(),
            gate: RwLock::default(),
            max_bytes: limits.max_bytes,
            levels: disk.into_iter().chain(shared.as_ref().map(as_level)).collect(),
            shared,
            turns: std::array::from_fn(|_| Turn::new(None)),
            on_purge: RwLock::default(),
        }
    }

    /// What is kept for this request (RFC 9111, section 4).
    #[must_use]
    pub fn lookup(&self, key: &Key, policy: &Policy<'_>, asked: &Asked<'_>, now: Now) -> Lookup {
        self.look(key, (policy, &asked.directives), || asked.sent, now)
    }

    /// The same for one who has not yet worked out what would be sent: only an answer
    /// that varies by it asks for that.
    #[must_use]
    pub fn look<'s>(
        &self,
        key: &Key,
        (policy, asked): (&Policy<'_>, &RequestDirectives),
        sent: impl FnOnce() -> &'s HeaderMap,
        now: Now,
    ) -> Lookup {
        let variants = self.slots.variants(key.quick(), key.text());
        let selected = match variants.as_slice() {
            [] => return Lookup::none(asked, Forward::UriMiss),
            [only] if only.vary.is_nothing() => Some(EntryArc::clone(only)),
            several => select(several, sent()),
        };
        match selected {
            Some(entry) => Lookup::of(entry, policy, asked, now),
            None => Lookup::none(asked, Forward::VaryMiss),
        }
    }

    /// To be taken before a fetch is sent.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        Ticket(self.gate.read().count)
    }

    /// Keeps an answer under its own key, in both levels, unless something overtook it.
    pub fn insert(&self, ticket: Ticket, entry: EntryArc) -> Stored {
        self.fill(ticket, entry, &self.levels)
    }

    fn fill(&self, ticket: Ticket, entry: EntryArc, below: &[Arc<dyn SecondLevel>]) -> Stored {
        if entry.weight_bytes() as u64 > self.max_bytes {
            return Stored::TooLarge;
        }
        let log = self.gate.read();
        if log.overtook(ticket, entry.key()) {
            return Stored::Overtaken;
        }
        self.put(entry, below)
    }

    /// Drops one answer, if it is still there: a 304 denied it, or a HEAD did.
    pub fn remove(&self, entry: &EntryArc) {
        {
            let _alone = self.writing.lock();
            let (quick, key) = (entry.key().quick(), entry.key());
            let old = self.slots.variants(quick, key);
            if old.iter().any(|is| EntryArc::ptr_eq(is, entry)) {
                let rest = old.into_iter().filter(|is| !EntryArc::ptr_eq(is, entry)).collect();
                self.slots.put(quick, key, rest);
            }
        }
        self.levels.iter().for_each(|level| level.forget(entry));
    }

    /// Drops what the selector means in both levels, also what is on its way; says how
    /// many entries went. [`Cache::confirmed`] resolves when no restart brings them back,
    /// and no other replica serves them.
    pub fn purge(&self, selector: &Selector) -> u64 {
        self.purge_in(selector, |_| true)
    }

    /// The same for what another replica purged: it is not told again.
    pub(super) fn purge_told(&self, selector: &Selector) -> u64 {
        self.purge_in(selector, |level| level != Level::Redis)
    }

    fn purge_in(&self, selector: &Selector, is_meant: impl Fn(Level) -> bool) -> u64 {
        let mut gone: HashSet<Name> = {
            let mut log = self.gate.write();
            log.add(selector.clone());
            let levels = self.levels.iter().filter(|level| is_meant(level.level()));
            levels.flat_map(|level| level.purge(selector)).collect()
        };
        for first in self.slots.select(selector) {
            let _alone = self.writing.lock();
            let variants = self.slots.remove(first.key().quick(), first.key());
            gone.extend(variants.iter().map(|entry| entry.name()));
        }
        self.on_purge.read().iter().for_each(|tell| tell(selector));
        gone.len() as u64
    }

    /// Has every purge told, of whoever's writing: fetches that are under way must not
    /// be joined any more. To be called once for each that is told; it must not come
    /// back here.
    pub fn on_purge(&self, tell: impl Fn(&Selector) + Send + Sync + 'static) {
        self.on_purge.write().push(Box::new(tell));
    }

    /// What all entries weigh, in bytes.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.slots.weight_bytes()
    }

    /// How many keys have entries.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.slots.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn put(&self, entry: EntryArc, below: &[Arc<dyn SecondLevel>]) -> Stored {
        let _alone = self.writing.lock();
        let (quick, key) = (entry.key().quick(), entry.key());
        let old = self.slots.variants(quick, key);
        if old.iter().any(|is| is.vary == entry.vary && is.received() > entry.received()) {
            return Stored::Older;
        }
        let others = old.iter().filter(|is| is.vary != entry.vary).take(MAX_VARIANTS - 1);
        let variants = std::iter::once(&entry).chain(others).cloned().collect();
        // While nobody else writes, so that of two answers the same one is the last in all levels.
        below.iter().for_each(|level| level.keep(&entry));
        self.slots.put(quick, key, variants);
        Stored::Kept
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cache({} keys, {} bytes)", self.len(), self.weight_bytes())
    }
}

/// Section 4.1: of those that match, the most recent by `Date`, then by receipt.
fn select(variants: &[EntryArc], sent: &HeaderMap) -> Option<EntryArc> {
    let matching = variants.iter().rev().filter(|entry| entry.vary.matches(sent));
    matching.max_by_key(|entry| (entry.freshness.date, entry.received())).cloned()
}

impl Log {
    fn add(&mut self, selector: Selector) {
        self.count += 1;
        self.recent.push_back(selector);
        if self.recent.len() > MAX_LOGGED {
            self.recent.pop_front();
        }
    }

    /// Whether anything since the ticket selects the key; what is no longer known
    /// is taken to.
    fn overtook(&self, ticket: Ticket, key: &Text) -> bool {
        let since = usize::try_from(self.count - ticket.0).unwrap_or(usize::MAX);
        since > self.recent.len() || self.recent.iter().rev().take(since).any(|s| s.selects(key))
    }
}

#[cfg(test)]
mod tests;
