//! Who asked what, what it cost, and what was saved: by day, kept for
//! [`KEEP_DAYS`]; and by minute for the last day, for pictures.
//!
//! Counting is `tally`'s; every few seconds what it has drained is noted here,
//! added up in memory and written by a thread of its own to `usage.redb`. A crash
//! loses those seconds; a file that cannot be used costs the history and nothing
//! else. Names outlive their consumers.

mod file;
mod group;
mod minutes;
mod thread;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use tokio::sync::oneshot;

use super::tally::{Cell, Drained};
use crate::clock::UnixTime;
use crate::id::UpstreamName;

pub use group::{Dimension, Group, group};
pub use minutes::{Allowance, Minute};

use minutes::Minutes;

/// Days that are kept, today among them.
pub const KEEP_DAYS: u32 = 400;

/// A day in UTC: days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub u32);

/// Whose use of what on which day.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// When.
    pub day: Day,
    /// At which vendor.
    pub upstream: Arc<str>,
    /// For whom.
    pub division: Arc<str>,
    /// By whom.
    pub consumer: Arc<str>,
    /// What.
    pub route: Arc<str>,
}

/// What happened at one upstream since the last time.
#[derive(Clone, Debug)]
pub struct Note {
    /// Which.
    pub upstream: UpstreamName,
    /// By consumer and route.
    pub drained: Vec<Drained>,
    /// Requests that left for the vendor.
    pub sent: u64,
    /// 429s of the vendor.
    pub refused_by_vendor: u64,
    /// How the longest limit stands.
    pub allowance: Option<Allowance>,
}

/// The thread is gone, so nothing can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("usage is not being kept any more")]
pub struct UsageDown;

/// The way to the thread that keeps usage.
#[derive(Debug)]
pub struct Usage {
    work: Sender<Work>,
    minutes: Arc<Minutes>,
}

/// What the thread is asked to do.
#[derive(Debug)]
enum Work {
    Note(UnixTime, Vec<Note>),
    Query { since: Day, until: Day, answer: oneshot::Sender<Vec<(Key, Cell)>> },
    Close(oneshot::Sender<()>),
}

impl Usage {
    /// Starts the thread that keeps `usage.redb` in `folder`.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn open(folder: PathBuf, now: UnixTime) -> std::io::Result<Arc<Self>> {
        let (work, inbox) = channel();
        let minutes = Arc::new(Minutes::default());
        let keeper = thread::Keeper::new(folder, Arc::clone(&minutes), now);
        std::thread::Builder::new().name("usage".into()).spawn(move || keeper.run(&inbox))?;
        Ok(Arc::new(Self { work, minutes }))
    }

    /// Adds what happened up to `now`.
    pub fn note(&self, now: UnixTime, notes: Vec<Note>) {
        for note in &notes {
            self.minutes.add(now, note);
        }
        // A thread that is gone has said why; counting for metrics goes on.
        let _ = self.work.send(Work::Note(now, notes));
    }

    /// Everything from the first of these days to the last.
    ///
    /// # Errors
    /// [`UsageDown`] after [`Usage::close`].
    pub async fn rows(&self, since: Day, until: Day) -> Result<Vec<(Key, Cell)>, UsageDown> {
        let (answer, told) = oneshot::channel();
        self.work.send(Work::Query { since, until, answer }).map_err(|_| UsageDown)?;
        told.await.map_err(|_| UsageDown)
    }

    /// The last day of one upstream, oldest first; minutes in which nothing happened are missing.
    #[must_use]
    pub fn minutes(&self, upstream: &str) -> Vec<Minute> {
        self.minutes.of(upstream)
    }

    /// Writes what is left and lets go of the file.
    pub async fn close(&self) {
        let (done, told) = oneshot::channel();
        if self.work.send(Work::Close(done)).is_ok() {
            let _ = told.await;
        }
    }
}

impl Day {
    /// The day that `at` is in.
    #[must_use]
    pub fn of(at: UnixTime) -> Self {
        Self(u32::try_from(at.as_secs() / 86_400).unwrap_or(u32::MAX))
    }

    /// Its first moment.
    #[must_use]
    pub fn start(self) -> UnixTime {
        UnixTime::from_secs(u64::from(self.0) * 86_400)
    }

    /// So many days before; the first day at the earliest.
    #[must_use]
    pub fn before(self, days: u32) -> Self {
        Self(self.0.saturating_sub(days))
    }
}

impl std::fmt::Display for Day {
    /// As `2026-11-25`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.start().to_string();
        f.write_str(text.split('T').next().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
