//! The thread that owns the file.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use redb::Database;

use super::file::{self, Batch, Content, Place, Trouble};
use super::inbox::{Changes, Inbox, Status, Work};
use super::record::{Record, State, nanos};
use super::{OpenError, Options, Origin, Past};
use crate::clock::{BootId, Clock, Present};
use crate::id::UpstreamName;

/// How often a successor asks whether its predecessor has let go.
const POLL_LOCK: Duration = Duration::from_millis(50);
/// Between tries to write, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// Lapsed charges forgotten in one transaction.
const MAX_FORGOTTEN: usize = 1_024;

pub(super) struct Writer {
    pub(super) inbox: Arc<Inbox>,
    pub(super) place: Box<dyn Place>,
    pub(super) options: Options,
    pub(super) clock: Clock,
    pub(super) boot: BootId,
    pub(super) past: Arc<parking_lot::Mutex<Past>>,
}

/// What the writer knows of the file.
struct Book {
    database: Option<Database>,
    /// Ids of this process's charges are its tickets, counted from here.
    base: u64,
    /// What may be forgotten, by when: nanoseconds since boot.
    stale: BTreeMap<(u64, u64), String>,
}

impl Writer {
    pub(super) fn run(self) {
        let Some((database, content, origin)) = self.open() else { return };
        let mut book = Book {
            database: Some(database),
            base: content.charges.iter().map(|(_, id, _)| *id).max().unwrap_or(0),
            stale: BTreeMap::new(),
        };
        let now = self.clock.present(self.boot);
        content.charges.iter().for_each(|(upstream, id, record)| book.expire(upstream, (*id, record), &now));
        *self.past.lock() = past_of(content, origin);
        self.inbox.tell(Status::Ready);
        let mut pause = RETRY.0;
        loop {
            let changes = match self.inbox.next() {
                Work::Close => break,
                Work::Write(changes) => changes,
            };
            match self.write(&mut book, &changes) {
                Ok(()) => {
                    pause = RETRY.0;
                    if *self.inbox.status().borrow() == Status::Down {
                        tracing::info!("the ledger can be written again");
                        self.inbox.tell(Status::Ready);
                    }
                    self.inbox.written(&changes.lots);
                }
                Err(trouble) => {
                    if *self.inbox.status().borrow() != Status::Down {
                        tracing::error!(
                            %trouble,
                            "the ledger cannot be written: nothing leaves until it can; cached answers flow on"
                        );
                        self.inbox.tell(Status::Down);
                    }
                    // After a failure redb wants to be opened anew.
                    book.database = None;
                    self.inbox.give_back(changes);
                    if self.inbox.is_closing() {
                        break;
                    }
                    self.inbox.rest(pause);
                    pause = (pause * 2).min(RETRY.1);
                }
            }
        }
        drop(book);
        self.inbox.tell(Status::Closed);
    }

    /// Opens the file, however long another process keeps it; `None` if it cannot be used at all.
    fn open(&self) -> Option<(Database, Content, Origin)> {
        let mut origin = None;
        let mut told = false;
        loop {
            let opened = self.place.open().and_then(|database| {
                let content = file::read(&database)?;
                Ok((database, content))
            });
            let trouble = match opened {
                Ok((database, content)) => {
                    let is_new = content.charges.is_empty() && content.notes.is_empty();
                    let found = if is_new { Origin::New } else { Origin::Kept };
                    return Some((database, content, origin.unwrap_or(found)));
                }
                Err(Trouble::Broken(why)) if origin.is_none() => match self.place.set_aside() {
                    Ok(aside) => {
                        tracing::error!(
                            why,
                            aside = %aside.display(),
                            "the ledger is broken and was set aside: all current windows count as spent"
                        );
                        origin = Some(Origin::Broken);
                        continue;
                    }
                    Err(error) => Trouble::Io(error),
                },
                Err(trouble) => trouble,
            };
            let is_passing = match &trouble {
                Trouble::Locked => true,
                Trouble::Io(error) => matches!(
                    error.kind(),
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
                ),
                Trouble::Broken(_) | Trouble::Schema(_) => false,
            };
            if !is_passing {
                tracing::error!(%trouble, "the ledger cannot be used");
                let path = self.options.path.join("ledger.redb").display().to_string();
                self.inbox.tell(Status::Failed(OpenError { path, why: trouble.to_string() }));
                return None;
            }
            if !std::mem::replace(&mut told, true) {
                tracing::warn!(%trouble, "waiting for the ledger: requests wait, cached answers flow");
                self.inbox.tell(Status::Waiting);
            }
            if self.inbox.is_closing() {
                self.inbox.tell(Status::Closed);
                return None;
            }
            self.inbox.rest(POLL_LOCK);
        }
    }

    fn write(&self, book: &mut Book, changes: &Changes) -> Result<(), Trouble> {
        let database = match &book.database {
            Some(database) => database,
            None => book.database.insert(self.place.open()?),
        };
        let now = self.clock.present(self.boot);
        let due = book.stale.range(..(now.since_boot, 0)).take(MAX_FORGOTTEN);
        let old: Vec<_> = due.map(|(at, of)| (*at, of.clone())).collect();
        let mut batch = Batch { renewals: &changes.renewals, ..Batch::default() };
        batch.old.extend(old.iter().map(|((_, id), upstream)| (upstream.as_str(), *id)));
        for (ticket, (upstream, record)) in &changes.charges {
            batch.charges.push((upstream.as_str(), book.base + ticket, record.as_ref()));
        }
        batch.notes.extend(changes.notes.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())));
        let renewed = file::write(database, &batch)?;
        for (at, _) in old {
            book.stale.remove(&at);
        }
        if !renewed.is_empty() {
            book.stale.retain(|(_, id), _| !renewed.contains_key(id));
        }
        for (id, (upstream, record)) in &renewed {
            book.expire(upstream, (*id, record), &now);
        }
        for (ticket, (upstream, record)) in &changes.charges {
            if let Some(record) = record {
                book.expire(upstream.as_str(), (book.base + ticket, record), &now);
            }
        }
        Ok(())
    }
}

impl Book {
    /// A record may be forgotten when it counts no more; of this process, once it has ended.
    fn expire(&mut self, upstream: &str, (id, record): (u64, &Record), now: &Present) {
        let at = match record.state {
            State::Settled if record.at.moment(now).is_some() => record.forgettable(),
            State::Pending if id > self.base => return,
            State::Settled | State::Pending => {
                now.since_boot + nanos(record.linger).saturating_add(nanos(record.keep))
            }
        };
        self.stale.insert((at, id), upstream.to_owned());
    }
}

fn past_of(content: Content, origin: Origin) -> Past {
    let mut charges: HashMap<UpstreamName, Vec<Record>> = HashMap::new();
    for (upstream, _, record) in content.charges {
        // A name that is none can belong to no upstream of any config.
        if let Ok(upstream) = upstream.parse() {
            charges.entry(upstream).or_default().push(record);
        }
    }
    Past { charges, notes: content.notes, origin }
}
