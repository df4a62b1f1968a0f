//! The thread that owns the file.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::file::{Batch, Begin, File, Place, Trouble, Written};
use super::inbox::{Phase, Queue, Work};
use crate::cache::entry::EntryArc;

/// How often a successor asks whether its predecessor has let go.
const POLL_LOCK: Duration = Duration::from_millis(50);
/// Between tries to have a file, at first and at most; also how long a disk that
/// took nothing is left alone.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

pub(super) struct Writer {
    shared: Arc<Shared>,
    place: Box<dyn Place>,
    pause: Duration,
}

/// How a time with an open file ended.
enum End {
    Closed,
    /// The file is lost.
    Lost,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, place: Box<dyn Place>) -> Self {
        Self { shared, place, pause: RETRY.0 }
    }

    pub(super) fn run(mut self) {
        while self.open() {
            if matches!(self.serve(), End::Closed) {
                break;
            }
            self.shared.inbox.lost();
            self.remove();
        }
        // Waits for those who are reading; then lets go of the lock.
        drop(self.shared.file.write().take());
        self.shared.inbox.tell(Phase::Closed);
    }

    /// Opens the file as soon as it can be had, and takes up its content. Not if weir
    /// stops before.
    fn open(&mut self) -> bool {
        let mut told = false;
        loop {
            let pause = match self.try_open() {
                Ok(()) => return true,
                Err(Trouble::Locked) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::info!("waiting for the cache's file: another process has it");
                        self.shared.inbox.tell(Phase::Absent);
                    }
                    if self.shared.inbox.is_owed() {
                        self.remove();
                    }
                    POLL_LOCK
                }
                Err(trouble) => {
                    tracing::warn!(%trouble, "the cache's file cannot be used and is begun anew");
                    self.shared.inbox.tell(Phase::Absent);
                    self.remove();
                    if self.try_open().is_ok() {
                        return true;
                    }
                    self.longer_pause()
                }
            };
            self.shared.inbox.rest(pause);
            if self.shared.inbox.is_closing() {
                return false;
            }
        }
    }

    fn try_open(&mut self) -> Result<(), Trouble> {
        let shared = &self.shared;
        let (file, begin) = File::open(&*self.place, &shared.reading())?;
        let (found, mark) = (file.heads()?, file.mark()?);
        match begin {
            Begin::New => tracing::debug!("the cache's file is new"),
            Begin::Kept => tracing::info!(answers = found.len(), "the cache's file was taken up"),
            Begin::OtherSchema => tracing::info!("the cache's file was another version's and begins anew"),
            Begin::ClockSetBack => tracing::warn!(
                "the machine was booted and its clock set back: no age of an answer in the cache's file can be \
                 told, so it begins anew"
            ),
        }
        *shared.file.write() = Some(file);
        shared.inbox.take_up(found, mark);
        Ok(())
    }

    fn serve(&mut self) -> End {
        loop {
            match self.shared.inbox.next() {
                Work::Close => return End::Closed,
                Work::Broken => return End::Lost,
                Work::Write(queue) => {
                    let (batch, asked) = self.batch(queue);
                    let Err(trouble) = self.write(&batch) else {
                        self.pause = RETRY.0;
                        self.shared.inbox.done(asked);
                        continue;
                    };
                    tracing::warn!(%trouble, "the cache's file cannot be written");
                    let ids: Vec<_> = batch.writes.iter().map(|written| written.id).collect();
                    let until = self.shared.clock.now() + self.longer_pause();
                    self.shared.inbox.unwritten(&ids, until);
                    if !self.delete_alone(batch, asked) {
                        return End::Lost;
                    }
                }
            }
        }
    }

    /// On a full disk what is there stays, and what has to go still goes: a deletion
    /// alone needs next to nothing. Whether the file can be used on.
    fn delete_alone(&mut self, batch: Batch, asked: u64) -> bool {
        // After an error of the disk's redb wants to be opened anew.
        drop(self.shared.file.write().take());
        let opened = File::open(&*self.place, &self.shared.reading());
        let Ok((file, Begin::Kept)) = opened else { return false };
        *self.shared.file.write() = Some(file);
        let deletes = Batch { writes: Vec::new(), ..batch };
        if !(deletes.deletes.is_empty() && deletes.mark.is_none()) && self.write(&deletes).is_err() {
            return false;
        }
        self.shared.inbox.done(asked);
        true
    }

    fn write(&self, batch: &Batch) -> Result<(), Trouble> {
        match &*self.shared.file.read() {
            Some(file) => file.write(batch, &self.shared.reading()),
            None => Err(Trouble::Failed("it is not open".into())),
        }
    }

    /// What an upstream that is no more kept is of no use.
    fn batch(&self, queue: Queue) -> (Batch, u64) {
        let written = |(id, entry): (_, EntryArc)| {
            let edition = self.shared.editions.edition(entry.key())?;
            Some(Written { id, bytes: super::catalogue::bytes_in_file(&entry), edition, entry })
        };
        let writes = queue.writes.into_iter().filter_map(written).collect();
        (Batch { deletes: queue.deletes, writes, mark: queue.mark }, queue.asked)
    }

    /// Removes the file, whoever has it: nothing that was in it comes back.
    fn remove(&self) {
        drop(self.shared.file.write().take());
        let asked = self.shared.inbox.asked();
        match self.place.remove() {
            Ok(()) => self.shared.inbox.gone(asked),
            Err(error) => tracing::error!(%error, "the cache's file cannot be removed"),
        }
    }

    /// How long to leave the disk alone: each time longer.
    fn longer_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(RETRY.1);
        pause
    }
}
