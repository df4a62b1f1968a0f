//! What waits to be written: changes by charge, the newest of each only.
//!
//! So it is bounded by the charges that live, whatever the disk does.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{oneshot, watch};

use super::record::Record;
use super::{LedgerDown, OpenError};
use crate::id::UpstreamName;

/// A settlement is on disk no later than this (and a transaction) after it was told.
pub(super) const FLUSH: Duration = Duration::from_millis(50);
/// Changes that may wait; over this bookings fail.
const MAX_CHANGES: usize = 65_536;

/// Number of a charge in this process, from 1.
pub(super) type Ticket = u64;

/// How far the ledger is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Opening,
    /// Another process has the file, or there is no room for it.
    Waiting,
    Ready,
    /// It could be read, and cannot be written now.
    Down,
    Failed(OpenError),
    Closed,
}

#[derive(Debug)]
pub(super) struct Inbox {
    contents: Mutex<Contents>,
    arrived: Condvar,
    status: watch::Sender<Status>,
}

#[derive(Debug, Default)]
struct Contents {
    tickets: Ticket,
    pending: Changes,
    closing: bool,
}

/// What goes into one transaction.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// With `None`: it never left, or no longer counts.
    pub(super) charges: BTreeMap<Ticket, (UpstreamName, Option<Record>)>,
    pub(super) notes: HashMap<String, Vec<u8>>,
    pub(super) bookings: Vec<(Ticket, oneshot::Sender<Result<(), LedgerDown>>)>,
}

/// What the writer has to do next.
#[derive(Debug)]
pub(super) enum Work {
    Write(Changes),
    /// All is written, and nothing more will come.
    Close,
}

impl Inbox {
    pub(super) fn new() -> Self {
        let (status, _) = watch::channel(Status::Opening);
        Self { contents: Mutex::default(), arrived: Condvar::new(), status }
    }

    /// Asks for `record` to be made durable; the receiver tells when it is.
    pub(super) fn book(
        &self,
        upstream: &UpstreamName,
        record: Record,
    ) -> Result<(Ticket, oneshot::Receiver<Result<(), LedgerDown>>), LedgerDown> {
        let (durable, told) = oneshot::channel();
        let mut contents = self.contents.lock();
        let is_up = matches!(*self.status.borrow(), Status::Opening | Status::Waiting | Status::Ready);
        if contents.closing || !is_up || contents.pending.charges.len() >= MAX_CHANGES {
            return Err(LedgerDown);
        }
        contents.tickets += 1;
        let ticket = contents.tickets;
        contents.pending.charges.insert(ticket, (upstream.clone(), Some(record)));
        contents.pending.bookings.push((ticket, durable));
        self.arrived.notify_one();
        Ok((ticket, told))
    }

    /// What has become of a charge that was booked.
    pub(super) fn change(&self, upstream: &UpstreamName, ticket: Ticket, record: Option<Record>) {
        let mut contents = self.contents.lock();
        let was_idle = contents.pending.is_empty();
        contents.pending.charges.insert(ticket, (upstream.clone(), record));
        if was_idle {
            self.arrived.notify_one();
        }
    }

    pub(super) fn note(&self, name: String, bytes: Vec<u8>) {
        let mut contents = self.contents.lock();
        let was_idle = contents.pending.is_empty();
        contents.pending.notes.insert(name, bytes);
        if was_idle {
            self.arrived.notify_one();
        }
    }

    /// From now on no booking is taken; what waits is written, and the file let go.
    pub(super) fn close(&self) {
        self.contents.lock().closing = true;
        self.arrived.notify_one();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.contents.lock().closing
    }

    pub(super) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    pub(super) fn tell(&self, status: Status) {
        self.status.send_replace(status);
    }

    /// For the writer: everything that has come, once there is a booking or what
    /// there is has waited for [`FLUSH`].
    pub(super) fn next(&self) -> Work {
        let mut contents = self.contents.lock();
        while contents.pending.is_empty() && !contents.closing {
            self.arrived.wait(&mut contents);
        }
        if contents.pending.bookings.is_empty() && !contents.closing {
            // Woken by a booking, or by the time: the others do not notify now.
            self.arrived.wait_for(&mut contents, FLUSH);
        }
        if contents.pending.is_empty() && contents.closing {
            return Work::Close;
        }
        Work::Write(std::mem::take(&mut contents.pending))
    }

    /// For the writer: rests for `time`, or until it has to close.
    pub(super) fn rest(&self, time: Duration) {
        let mut contents = self.contents.lock();
        if !contents.closing {
            self.arrived.wait_while_for(&mut contents, |contents| !contents.closing, time);
        }
    }

    /// For the writer: these could not be written. Bookings fail; the rest is tried again.
    pub(super) fn give_back(&self, failed: Changes) {
        let Changes { mut charges, notes, bookings } = failed;
        let mut contents = self.contents.lock();
        for (ticket, durable) in bookings.into_iter().chain(std::mem::take(&mut contents.pending.bookings)) {
            // Whether it was written is not known after a failure, so it is taken back.
            let upstream = charges.get(&ticket).or(contents.pending.charges.get(&ticket));
            if let Some((upstream, _)) = upstream.cloned() {
                charges.insert(ticket, (upstream, None));
                contents.pending.charges.remove(&ticket);
            }
            // Nobody may be listening any more.
            let _ = durable.send(Err(LedgerDown));
        }
        for (ticket, change) in charges {
            contents.pending.charges.entry(ticket).or_insert(change);
        }
        for (name, bytes) in notes {
            contents.pending.notes.entry(name).or_insert(bytes);
        }
    }
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.charges.is_empty() && self.notes.is_empty()
    }
}
