//! The thread that adds up and writes. Nothing waits for it but queries and the end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::file::{File, Trouble};
use super::minutes::{KEEP_MINUTES, Minutes};
use super::{Day, KEEP_DAYS, Key, Note, Work};
use crate::clock::UnixTime;
use crate::telemetry::route::OTHER;
use crate::telemetry::tally::Cell;

/// Rows of one day; beyond them routes, and at twice as many consumers, are `_other`.
pub(super) const MAX_ROWS_PER_DAY: usize = 16_384;
/// A file that could not be opened is tried again this often.
const RETRY: Duration = Duration::from_secs(5);

pub(super) struct Keeper {
    folder: PathBuf,
    file: Option<File>,
    /// Not yet in the file.
    pending: BTreeMap<Key, Cell>,
    minutes: Arc<Minutes>,
    /// The newest minute of every upstream that is in the file.
    written: HashMap<String, u64>,
    /// Keys of this day, in the file or not.
    today: (Day, HashSet<Key>),
    now: UnixTime,
    /// The trouble has been told.
    has_complained: bool,
}

impl Keeper {
    pub(super) fn new(folder: PathBuf, minutes: Arc<Minutes>, now: UnixTime) -> Self {
        let today = (Day::of(now), HashSet::new());
        Self {
            folder,
            file: None,
            pending: BTreeMap::new(),
            minutes,
            written: HashMap::new(),
            today,
            now,
            has_complained: false,
        }
    }

    /// Until it is closed, or everybody who could ask is gone.
    pub(super) fn run(mut self, inbox: &Receiver<Work>) {
        self.open();
        loop {
            match inbox.recv_timeout(RETRY) {
                Ok(Work::Note(now, notes)) => {
                    self.note(now, notes);
                    self.write();
                }
                Ok(Work::Query { since, until, answer }) => {
                    // Whoever asked may have gone.
                    let _ = answer.send(self.rows(since, until));
                }
                Ok(Work::Close(done)) => {
                    self.write();
                    self.file = None;
                    let _ = done.send(());
                    return;
                }
                Err(RecvTimeoutError::Timeout) => self.write(),
                Err(RecvTimeoutError::Disconnected) => return self.write(),
            }
        }
    }

    fn open(&mut self) {
        match File::open(&self.folder) {
            Ok(file) => self.take_up(file),
            Err(Trouble::Broken(why)) => {
                tracing::warn!(
                    why,
                    "usage.redb cannot be read: it is set aside, and the history begins anew"
                );
                match File::set_aside(&self.folder).map(|()| File::open(&self.folder)) {
                    Ok(Ok(file)) => self.take_up(file),
                    Ok(Err(trouble)) => self.complain(&trouble),
                    Err(error) => self.complain(&Trouble::Io(error)),
                }
            }
            Err(trouble) => self.complain(&trouble),
        }
    }

    fn take_up(&mut self, file: File) {
        let (today, minute) = (Day::of(self.now), self.now.as_secs() / 60);
        let first = minute.saturating_sub(KEEP_MINUTES as u64);
        let read = file
            .forget(today.before(KEEP_DAYS - 1), first)
            .and_then(|()| Ok((file.rows(today, today)?, file.minutes(first)?)));
        match read {
            Ok((rows, minutes)) => {
                self.today.1.extend(rows.into_iter().map(|(key, _)| key));
                let mut by_upstream = BTreeMap::<_, Vec<_>>::new();
                for (upstream, minute) in minutes {
                    by_upstream.entry(upstream).or_default().push(minute);
                }
                for (upstream, minutes) in by_upstream {
                    self.minutes.recall(&upstream, minutes);
                }
                self.file = Some(file);
                self.has_complained = false;
            }
            Err(trouble) => self.complain(&trouble),
        }
    }

    fn note(&mut self, now: UnixTime, notes: Vec<Note>) {
        self.now = now;
        let day = Day::of(now);
        if self.today.0 != day {
            self.today = (day, HashSet::new());
            if let Some(Err(trouble)) = self.file.as_ref().map(|file| {
                let first = (now.as_secs() / 60).saturating_sub(KEEP_MINUTES as u64);
                file.forget(day.before(KEEP_DAYS - 1), first)
            }) {
                self.complain(&trouble);
            }
        }
        for note in notes {
            let upstream: Arc<str> = note.upstream.as_str().into();
            for drained in note.drained {
                let key = self.bounded(Key {
                    day,
                    upstream: Arc::clone(&upstream),
                    division: drained.division.as_str().into(),
                    consumer: drained.consumer.as_str().into(),
                    route: drained.route,
                });
                self.pending.entry(key).or_default().add(&drained.cell);
            }
        }
    }

    /// The key itself, or while there are too many, one that stands for others as well.
    fn bounded(&mut self, mut key: Key) -> Key {
        let known = &mut self.today.1;
        if known.len() >= MAX_ROWS_PER_DAY && !known.contains(&key) {
            key.route = OTHER.into();
        }
        if known.len() >= 2 * MAX_ROWS_PER_DAY && !known.contains(&key) {
            (key.division, key.consumer) = (OTHER.into(), OTHER.into());
        }
        known.insert(key.clone());
        key
    }

    fn write(&mut self) {
        if self.file.is_none() {
            self.open();
        }
        let Some(file) = &self.file else { return };
        if self.pending.is_empty() {
            return;
        }
        let minutes = self.minutes.unwritten(&self.written);
        match file.add(self.pending.iter(), &minutes) {
            Ok(()) => {
                self.pending.clear();
                for (upstream, minute) in minutes {
                    let newest = self.written.entry(upstream).or_default();
                    *newest = minute.at.max(*newest);
                }
            }
            Err(trouble) => {
                // Opened anew before the next attempt; what is pending is kept, and bounded.
                self.file = None;
                self.complain(&trouble);
            }
        }
        let oldest = Day::of(self.now).before(KEEP_DAYS);
        self.pending.retain(|key, _| key.day >= oldest);
    }

    fn rows(&self, since: Day, until: Day) -> Vec<(Key, Cell)> {
        let mut rows = match self.file.as_ref().map(|file| file.rows(since, until)) {
            Some(Ok(rows)) => rows,
            Some(Err(trouble)) => {
                tracing::warn!(?trouble, "usage.redb cannot be read");
                Vec::new()
            }
            None => Vec::new(),
        };
        let pending = self.pending.iter().filter(|(key, _)| key.day >= since && key.day <= until);
        rows.extend(pending.map(|(key, cell)| (key.clone(), *cell)));
        rows
    }

    fn complain(&mut self, trouble: &Trouble) {
        if std::mem::replace(&mut self.has_complained, true) {
            return;
        }
        match trouble {
            Trouble::Locked => tracing::info!("another process keeps usage.redb: it is waited for"),
            Trouble::Broken(why) => tracing::warn!(why, "usage.redb cannot be used: usage is kept in memory"),
            Trouble::Io(error) => {
                tracing::warn!(%error, "usage.redb cannot be written: usage is kept in memory until it can");
            }
        }
    }
}
