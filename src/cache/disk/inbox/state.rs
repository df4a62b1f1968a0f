//! What is known and still to be done, as data: no lock, no waiting.

use std::collections::VecDeque;

use super::Queue;
use crate::cache::disk::catalogue::{Catalogue, Id, bytes_in_file};
use crate::cache::entry::{Entry, EntryArc};
use crate::cache::key::Selector;
use crate::cache::record;
use crate::cache::second::Name;
use crate::clock::Moment;

/// Answers that wait to be written; those beyond are dropped.
const MAX_QUEUED_BYTES: u64 = 32 * 1_024 * 1_024;
/// Answers written in one transaction: what holds up a purge at most.
pub(super) const MAX_BATCH_BYTES: u64 = 4 * 1_024 * 1_024;
/// Purges remembered while there is no file; with more, nothing in it is believed.
const MAX_DEFERRED: usize = 1_024;

pub(super) struct State {
    pub(super) catalogue: Catalogue,
    /// In the catalogue, and still to be written.
    pub(super) writes: VecDeque<(Id, EntryArc, u64)>,
    /// No longer in the catalogue, and perhaps still in the file.
    pub(super) deletes: Vec<Id>,
    /// Kept while there is no file.
    pub(super) early: VecDeque<EntryArc>,
    /// Dropped while there is no file.
    pub(super) deferred: Vec<Deferred>,
    /// To be written after all deletions.
    pub(super) mark: Option<Vec<u8>>,
    pub(super) found_mark: Option<Vec<u8>>,
    pub(super) queued_bytes: u64,
    /// How many deletions were asked for.
    pub(super) asked: u64,
    pub(super) urgent: bool,
    pub(super) closing: bool,
    /// The disk took nothing: what is kept before is dropped.
    pub(super) muted_until: Moment,
}

/// What a file that is yet to be opened must not bring back.
pub(super) enum Deferred {
    Purge(Selector),
    Forget(Name),
}

impl State {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self {
            catalogue: Catalogue::new(max_bytes),
            writes: VecDeque::new(),
            deletes: Vec::new(),
            early: VecDeque::new(),
            deferred: Vec::new(),
            mark: None,
            found_mark: None,
            queued_bytes: 0,
            asked: 0,
            urgent: false,
            closing: false,
            muted_until: Moment::ZERO,
        }
    }

    /// Whether it was taken.
    pub(super) fn keep(&mut self, entry: &EntryArc) -> bool {
        let cost = entry.weight_bytes() as u64;
        if self.queued_bytes + cost > MAX_QUEUED_BYTES {
            return false;
        }
        let Some((id, gone)) = self.catalogue.add(entry.key(), entry.name(), bytes_in_file(entry)) else {
            return false;
        };
        self.delete(gone);
        self.queued_bytes += cost;
        self.writes.push_back((id, EntryArc::clone(entry), cost));
        true
    }

    /// It was not taken: its predecessor goes too, or would be found in its place.
    pub(super) fn keep_not(&mut self, entry: &Entry) -> bool {
        let old = self.catalogue.remove(entry.name());
        self.delete(old);
        false
    }

    pub(super) fn keep_early(&mut self, entry: &EntryArc) -> bool {
        let cost = entry.weight_bytes() as u64;
        self.drop_early(|is| is.name() == entry.name());
        let fits = self.queued_bytes + cost <= MAX_QUEUED_BYTES;
        if fits {
            self.queued_bytes += cost;
            self.early.push_back(EntryArc::clone(entry));
        } else {
            self.defer(Deferred::Forget(entry.name()));
        }
        fits
    }

    pub(super) fn drop_early(&mut self, goes: impl Fn(&Entry) -> bool) -> Vec<Name> {
        let mut gone = Vec::new();
        let queued = &mut self.queued_bytes;
        self.early.retain(|entry| {
            let goes = goes(entry);
            if goes {
                *queued -= entry.weight_bytes() as u64;
                gone.push(entry.name());
            }
            !goes
        });
        gone
    }

    pub(super) fn defer(&mut self, what: Deferred) {
        if matches!(what, Deferred::Purge(_)) {
            self.asked += 1;
        }
        if self.deferred.len() >= MAX_DEFERRED {
            self.deferred = vec![Deferred::Purge(Selector::All)];
        } else {
            self.deferred.push(what);
        }
    }

    pub(super) fn delete(&mut self, ids: impl IntoIterator<Item = Id>) {
        let before = self.deletes.len();
        self.deletes.extend(ids);
        self.asked += (self.deletes.len() - before) as u64;
    }

    /// All deletions, and as many answers as may go with them.
    pub(super) fn take_batch(&mut self) -> Queue {
        let (mut writes, mut bytes) = (Vec::new(), 0);
        while bytes < MAX_BATCH_BYTES {
            let Some((id, entry, cost)) = self.writes.pop_front() else { break };
            self.queued_bytes -= cost;
            // It may have been purged or replaced while it waited.
            if self.catalogue.holds(id) {
                bytes += cost;
                writes.push((id, entry));
            }
        }
        let (deletes, mark) = (std::mem::take(&mut self.deletes), self.mark.take());
        Queue { deletes, writes, mark, asked: self.asked }
    }
}

impl Deferred {
    pub(super) fn means(&self, listed: &record::Listed) -> bool {
        match self {
            Self::Purge(selector) => selector.selects(&listed.key),
            Self::Forget(name) => *name == listed.name,
        }
    }
}
