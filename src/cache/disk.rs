//! The second level in a file: `cache.redb`, so that a restart keeps the cache warm.
//!
//! * One thread owns the file and writes it; looks read beside it, a few at a time.
//!   It is not the ledger's file, so no admission waits for a flush.
//! * `catalogue` is in memory what the file holds, or will as soon as the queue is
//!   written: purges and looks ask it alone, under one lock that is never held over I/O.
//! * Bounded: in bytes as they lie in the file, in answers (`catalogue::MAX_ROWS`),
//!   and the queue in bytes. What was kept longest ago goes first.
//! * A file that cannot be read, written or made is begun anew, later and later. A
//!   full disk keeps what was there.
//!
//! **Purge and write-behind**, and why nothing comes back:
//! 1. answer A is kept: the catalogue gets row 7, the queue "write 7";
//! 2. a purge takes row 7 out of the catalogue and queues "delete 7". From here no
//!    look finds A, and a fill that began before is void by its ticket;
//! 3. the thread writes what is still in the catalogue (7 no more, unless it is
//!    being written just now) and then makes "delete 7" durable, whether 7 was there or
//!    not: numbers are never used twice. Only now the purge is confirmed.
//!
//! Killed before 3 is durable, A may be found after the restart, but nobody was told
//! that it was gone. If 3 fails, the file is removed, which needs no space.
//!
//! **Two processes** (a rolling restart): the second waits for the lock while it
//! serves; what it keeps meanwhile waits in its queue. A purge then cannot reach into
//! the file, so the file is unlinked: its owner goes on with what nobody will open.

mod catalogue;
mod file;
mod inbox;
mod writer;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::Semaphore;

use self::catalogue::Row;
use self::file::{File, Folder, Place};
use self::inbox::{Inbox, Phase};
use self::writer::Writer;
use super::edition::Editions;
use super::entry::{Entry, EntryArc};
use super::key::{Key, Selector};
use super::record::{self, Reading};
use super::second::{Level, Name, Pending, SecondLevel, SecondTally, Unconfirmed, Variant};
use crate::clock::{BootId, Clock};

/// How long a look may take; then the vendor is asked. Far more than a disk needs,
/// far less than the vendor's request is worth.
const LOOK_PATIENCE: Duration = Duration::from_secs(1);
/// How long a disk that took longer is not asked.
const LEFT_ALONE: Duration = Duration::from_secs(5);
/// How long a purge waits for the disk.
const CONFIRM_PATIENCE: Duration = Duration::from_secs(5);
/// How long a stopping weir writes what is queued.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// Looks that read at one time.
const MAX_LOOKS: usize = 4;

/// Where the file is, and how large it may be.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// The folder; made, for this user alone, if it is not there.
    pub path: PathBuf,
    /// What the answers in it may take, in bytes.
    pub max_bytes: u64,
}

/// The second level in a file. Dropping it stops its thread; [`SecondLevel::close`]
/// also waits for what is still to be written.
pub struct Disk {
    shared: Arc<Shared>,
    looks: Arc<Semaphore>,
    /// No look before: in nanoseconds of the clock.
    next_look: Arc<AtomicU64>,
}

/// What the thread and those who look have in common.
struct Shared {
    inbox: Inbox,
    /// The file while it is open. Locked for reading while it is read from.
    file: RwLock<Option<File>>,
    editions: Editions,
    clock: Clock,
    boot: BootId,
}

impl Disk {
    /// Starts the thread that opens the file and owns it; does not wait for it.
    ///
    /// # Errors
    /// No thread can be had, or the system has no randomness.
    pub fn open(options: &DiskOptions, editions: Editions, clock: Clock) -> std::io::Result<Self> {
        let boot = BootId::of_this_machine_or_new()?;
        let place = Box::new(Folder(options.path.clone()));
        Self::start(place, options.max_bytes, (editions, clock, boot))
    }

    fn start(
        place: Box<dyn Place>,
        max_bytes: u64,
        (editions, clock, boot): (Editions, Clock, BootId),
    ) -> std::io::Result<Self> {
        let shared =
            Arc::new(Shared { inbox: Inbox::new(max_bytes), file: RwLock::new(None), editions, clock, boot });
        let writer = Writer::new(Arc::clone(&shared), place);
        std::thread::Builder::new().name("weir-cache".into()).spawn(move || writer.run())?;
        Ok(Self { shared, looks: Arc::new(Semaphore::new(MAX_LOOKS)), next_look: Arc::default() })
    }
}

impl SecondLevel for Disk {
    fn level(&self) -> Level {
        Level::Disk
    }

    fn look(&self, key: &Key, known: &[Variant]) -> Option<Pending<Vec<Entry>>> {
        let may_be_there = match self.shared.inbox.phase() {
            Phase::Opened => !self.shared.inbox.rows(key, known).is_empty(),
            Phase::Opening => true,
            Phase::Absent | Phase::Closed => false,
        };
        let clock = self.shared.clock;
        if !may_be_there || clock.now().as_nanos() < self.next_look.load(Ordering::Relaxed) {
            return None;
        }
        let (shared, looks) = (Arc::clone(&self.shared), Arc::clone(&self.looks));
        let (key, known) = (key.clone(), known.to_vec());
        let until = clock.now() + LOOK_PATIENCE;
        let look = async move {
            let phase = shared.inbox.settled_phase().await;
            let rows = shared.inbox.rows(&key, &known);
            let turn = looks.acquire_owned().await.ok();
            if phase != Phase::Opened || rows.is_empty() || turn.is_none() {
                return Vec::new();
            }
            let read = tokio::task::spawn_blocking(move || {
                // Held until it is read, whether or not somebody still waits for it.
                let _turn = turn;
                shared.read(&key, &rows)
            });
            read.await.unwrap_or_default()
        };
        let next_look = Arc::clone(&self.next_look);
        Some(Box::pin(async move {
            tokio::time::timeout_at(clock.instant(until), look).await.unwrap_or_else(|_| {
                // Or everybody who waits for a turn would wait as long.
                next_look.store((until + LEFT_ALONE).as_nanos(), Ordering::Relaxed);
                Vec::new()
            })
        }))
    }

    fn keep(&self, entry: &EntryArc) {
        self.shared.inbox.keep(entry, self.shared.clock.now());
    }

    fn mark(&self, mark: Vec<u8>) {
        self.shared.inbox.mark(mark);
    }

    fn marked(&self) -> Pending<Option<Vec<u8>>> {
        let shared = Arc::clone(&self.shared);
        let until = shared.clock.instant(shared.clock.now() + LOOK_PATIENCE);
        Box::pin(async move {
            tokio::time::timeout_at(until, shared.inbox.settled_phase()).await.ok()?;
            shared.inbox.marked()
        })
    }

    fn forget(&self, entry: &Entry) {
        self.shared.inbox.forget(entry.name());
    }

    fn purge(&self, selector: &Selector) -> Vec<Name> {
        self.shared.inbox.purge(selector)
    }

    fn confirmed(&self) -> Pending<Result<(), Unconfirmed>> {
        let (want, mut done) = self.shared.inbox.hurry();
        let clock = self.shared.clock;
        let until = clock.instant(clock.now() + CONFIRM_PATIENCE);
        Box::pin(async move {
            let confirmed = tokio::time::timeout_at(until, done.wait_for(|done| *done >= want)).await;
            match confirmed {
                Ok(Ok(_)) => Ok(()),
                _ => Err(Unconfirmed::Disk),
            }
        })
    }

    fn close(&self) -> Pending<()> {
        let mut phase = self.shared.inbox.close();
        let clock = self.shared.clock;
        let until = clock.instant(clock.now() + CLOSE_PATIENCE);
        Box::pin(async move {
            let closed = phase.wait_for(|phase| *phase == Phase::Closed);
            if tokio::time::timeout_at(until, closed).await.is_err() {
                tracing::warn!("the cache's file was not written to its end");
            }
        })
    }

    fn tally(&self) -> SecondTally {
        self.shared.inbox.tally()
    }
}

impl Shared {
    fn reading(&self) -> Reading {
        Reading { present: self.clock.present(self.boot), wall: self.clock.wall() }
    }

    /// Reads the rows' answers. Blocks.
    fn read(&self, key: &Key, rows: &[Arc<Row>]) -> Vec<Entry> {
        let mut entries = Vec::new();
        for row in rows {
            let read = self.file.read().as_ref().map(|file| file.read(row.id));
            match read {
                // Still to be written, or the file is being opened anew.
                None | Some(Ok(None)) => {}
                Some(Ok(Some((head, body)))) => match self.entry(key, &head, body) {
                    Some(entry) => entries.push(entry),
                    None => self.inbox.forget(row.name),
                },
                Some(Err(trouble)) => self.inbox.report(&trouble),
            }
        }
        self.inbox.count_found(entries.len());
        entries
    }

    fn entry(&self, key: &Key, head: &[u8], body: bytes::Bytes) -> Option<Entry> {
        let head = record::Head::read(head).ok()?;
        if self.editions.edition(&head.key) != Some(head.edition) {
            return None;
        }
        head.entry(key, body, &self.reading()).ok()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.shared.inbox.close());
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disk({:?})", self.tally())
    }
}

#[cfg(test)]
mod tests;
