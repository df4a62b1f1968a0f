//! What the caller's side and the file's thread tell each other, under one lock that
//! neither holds over I/O: the catalogue, and what is still to be done to the file.

mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use self::state::{Deferred, MAX_BATCH_BYTES, State};
use super::catalogue::{Id, Row};
use super::file::{Found, Trouble};
use crate::cache::entry::EntryArc;
use crate::cache::key::{self, Key, Selector};
use crate::cache::record::Listed;
use crate::cache::second::{Name, SecondTally, Variant};
use crate::clock::Moment;

/// What is kept within this time is written together.
const GATHER: Duration = Duration::from_millis(100);

/// How it stands with the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is being opened and will be there soon.
    Opening,
    /// It is there.
    Opened,
    /// Another process has it, or there is none to be had for now.
    Absent,
    /// For good.
    Closed,
}

pub(super) struct Inbox {
    state: Mutex<State>,
    news: Condvar,
    phase: watch::Sender<Phase>,
    /// How many deletions are durable, of those that were asked for.
    done: watch::Sender<u64>,
    found: AtomicU64,
    dropped: AtomicU64,
    broken: AtomicBool,
}

/// What the thread has to do.
pub(super) enum Work {
    /// Write this; then `asked` deletions are done.
    Write(Queue),
    /// The file turned out to be broken.
    Broken,
    /// Nothing is left, and weir stops.
    Close,
}

/// What is to be done to the file.
pub(super) struct Queue {
    pub(super) deletes: Vec<Id>,
    pub(super) writes: Vec<(Id, EntryArc)>,
    pub(super) mark: Option<Vec<u8>>,
    pub(super) asked: u64,
}

impl Inbox {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self {
            state: Mutex::new(State::new(max_bytes)),
            news: Condvar::new(),
            phase: watch::Sender::new(Phase::Opening),
            done: watch::Sender::new(0),
            found: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            broken: AtomicBool::new(false),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// The phase, once the file is no longer being opened.
    pub(super) async fn settled_phase(&self) -> Phase {
        let mut phase = self.subscribe();
        let settled = phase.wait_for(|phase| *phase != Phase::Opening).await;
        settled.map_or(Phase::Closed, |phase| *phase)
    }

    /// The rows under `key` other than `known`.
    pub(super) fn rows(&self, key: &Key, known: &[Variant]) -> Vec<Arc<Row>> {
        let key = key::beginning(&key.hash());
        let state = self.state.lock();
        state.catalogue.rows(key).filter(|row| !known.contains(&row.variant())).cloned().collect()
    }

    pub(super) fn keep(&self, entry: &EntryArc, now: Moment) {
        let mut state = self.state.lock();
        let kept = match self.phase() {
            Phase::Opened => now >= state.muted_until && state.keep(entry) || state.keep_not(entry),
            Phase::Opening | Phase::Absent => state.keep_early(entry),
            Phase::Closed => false,
        };
        if !kept {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        self.news.notify_one();
    }

    pub(super) fn forget(&self, name: Name) {
        let mut state = self.state.lock();
        if self.phase() == Phase::Opened {
            if let Some(id) = state.catalogue.remove(name) {
                state.delete([id]);
            }
        } else {
            state.drop_early(|entry| entry.name() == name);
            state.defer(Deferred::Forget(name));
        }
        self.news.notify_one();
    }

    pub(super) fn purge(&self, selector: &Selector) -> Vec<Name> {
        let mut state = self.state.lock();
        if self.phase() == Phase::Opened {
            let gone = state.catalogue.purge(selector);
            state.delete(gone.iter().map(|(_, id)| *id));
            return gone.into_iter().map(|(name, _)| name).collect();
        }
        let gone = state.drop_early(|entry| selector.selects(entry.key()));
        state.defer(Deferred::Purge(selector.clone()));
        gone
    }

    /// To be written with all deletions up to now.
    pub(super) fn mark(&self, mark: Vec<u8>) {
        self.state.lock().mark = Some(mark);
        self.news.notify_one();
    }

    /// What the file held when it was opened first.
    pub(super) fn marked(&self) -> Option<Vec<u8>> {
        self.state.lock().found_mark.take()
    }

    /// What must be done until all deletions up to now are, and how many are; whoever
    /// asks waits for it.
    pub(super) fn hurry(&self) -> (u64, watch::Receiver<u64>) {
        let mut state = self.state.lock();
        let done = self.done.subscribe();
        state.urgent |= state.asked > *done.borrow();
        self.news.notify_one();
        (state.asked, done)
    }

    pub(super) fn close(&self) -> watch::Receiver<Phase> {
        self.state.lock().closing = true;
        self.news.notify_one();
        self.subscribe()
    }

    pub(super) fn count_found(&self, entries: usize) {
        self.found.fetch_add(entries as u64, Ordering::Relaxed);
    }

    /// A look met a broken file.
    pub(super) fn report(&self, trouble: &Trouble) {
        if !self.broken.swap(true, Ordering::Relaxed) {
            tracing::warn!(%trouble, "the cache's file cannot be read and will be begun anew");
        }
        let _state = self.state.lock();
        self.news.notify_one();
    }

    pub(super) fn tally(&self) -> SecondTally {
        let state = self.state.lock();
        SecondTally {
            entries: (state.catalogue.len() + state.early.len()) as u64,
            bytes: state.catalogue.bytes(),
            queued_bytes: state.queued_bytes,
            found: self.found.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }
}

/// The thread's side.
impl Inbox {
    pub(super) fn is_closing(&self) -> bool {
        self.state.lock().closing
    }

    pub(super) fn tell(&self, phase: Phase) {
        let _state = self.state.lock();
        self.phase.send_replace(phase);
    }

    /// Waits so long, or until weir stops or somebody is in a hurry.
    pub(super) fn rest(&self, time: Duration) {
        let mut state = self.state.lock();
        if !state.closing && !std::mem::take(&mut state.urgent) {
            self.news.wait_for(&mut state, time);
        }
    }

    /// How many deletions were asked for.
    pub(super) fn asked(&self) -> u64 {
        self.state.lock().asked
    }

    /// Whether a purge has not reached the file.
    pub(super) fn is_owed(&self) -> bool {
        self.state.lock().asked > *self.done.borrow()
    }

    /// The file is gone, and with it what so many deletions were about.
    pub(super) fn gone(&self, asked: u64) {
        let mut state = self.state.lock();
        if state.asked == asked {
            state.deferred.clear();
        }
        self.done.send_replace(asked);
    }

    /// Begins with what a file holds, less what was dropped meanwhile.
    pub(super) fn take_up(&self, found: Vec<Found>, mark: Option<Vec<u8>>) {
        let mut state = self.state.lock();
        // Of use only to who knows of no purge yet.
        state.found_mark = mark.filter(|_| self.phase() == Phase::Opening);
        let deferred = std::mem::take(&mut state.deferred);
        let mut rows = Vec::with_capacity(found.len());
        for Found { id, bytes, listed } in found {
            match listed.filter(|listed| !deferred.iter().any(|deferred| deferred.means(listed))) {
                Some(Listed { name, key }) => rows.push(Row { id, name, bytes, key }),
                None => {
                    state.catalogue.skip(id);
                    state.deletes.push(id);
                }
            }
        }
        let superseded = state.catalogue.restore(rows);
        state.deletes.extend(superseded);
        let too_many = state.catalogue.make_room();
        state.deletes.extend(too_many);
        state.queued_bytes = 0;
        for entry in std::mem::take(&mut state.early) {
            if !(state.keep(&entry) || state.keep_not(&entry)) {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.broken.store(false, Ordering::Relaxed);
        self.phase.send_replace(Phase::Opened);
    }

    /// The file is lost, with all that was or was to be in it.
    pub(super) fn lost(&self) {
        let mut state = self.state.lock();
        state.catalogue.clear();
        state.writes.clear();
        state.deletes.clear();
        state.queued_bytes = 0;
        self.phase.send_replace(Phase::Absent);
    }

    /// Takes what is to be done next; waits for it.
    pub(super) fn next(&self) -> Work {
        let mut state = self.state.lock();
        loop {
            if self.broken.load(Ordering::Relaxed) {
                return Work::Broken;
            }
            let is_idle = state.writes.is_empty() && state.deletes.is_empty() && state.mark.is_none();
            if !is_idle || state.asked > *self.done.borrow() {
                break;
            }
            if state.closing {
                return Work::Close;
            }
            self.news.wait(&mut state);
        }
        let has_time =
            |state: &mut State| !state.urgent && !state.closing && state.queued_bytes < MAX_BATCH_BYTES;
        self.news.wait_while_for(&mut state, has_time, GATHER);
        state.urgent = false;
        Work::Write(state.take_batch())
    }

    /// So many deletions are durable.
    pub(super) fn done(&self, asked: u64) {
        self.done.send_replace(asked);
    }

    /// These could not be written; until then, nothing is to be tried.
    pub(super) fn unwritten(&self, ids: &[Id], until: Moment) {
        let mut state = self.state.lock();
        for id in ids {
            state.catalogue.drop_row(*id);
        }
        self.dropped.fetch_add(ids.len() as u64, Ordering::Relaxed);
        state.muted_until = until;
    }
}
