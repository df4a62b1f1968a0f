//! What waits to be written: the newest of each record only, and who waits for it.
//!
//! So it is bounded by the charges that live, whatever the disk does.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use smallvec::SmallVec;
use tokio::sync::{oneshot, watch};

use super::lots::{Form, Horizon, Kind, Lots, Ticket};
use super::record::{Record, Stamp};
use super::renewal::Renewal;
use super::{LedgerDown, OpenError};
use crate::clock::{BootId, Clock};
use crate::id::UpstreamName;

/// A settlement is on disk no later than this (and a transaction) after it was told.
pub(super) const FLUSH: Duration = Duration::from_millis(50);
/// Changes that may wait; over this bookings fail.
const MAX_CHANGES: usize = 65_536;

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
    clock: Clock,
    boot: BootId,
}

#[derive(Debug)]
struct Contents {
    lots: Lots,
    links: u64,
    /// What could not be written, and what is no charge.
    pending: Changes,
    waiting: HashMap<Ticket, Waiters>,
    closing: bool,
}

/// Who waits for one lot to be on the disk.
type Waiters = SmallVec<[oneshot::Sender<Result<(), LedgerDown>>; 1]>;

/// A place in a lot; and, until it is on the disk, the ear that is told.
pub(super) type Place = (Ticket, Option<oneshot::Receiver<Result<(), LedgerDown>>>);

/// What goes into one transaction.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Of what is in the file already.
    pub(super) renewals: Vec<Renewal>,
    /// With `None`: it never left, or no longer counts.
    pub(super) charges: BTreeMap<Ticket, (UpstreamName, Option<Record>)>,
    pub(super) notes: HashMap<String, Vec<u8>>,
    /// Lots that are durable once it is written.
    pub(super) lots: Vec<Ticket>,
}

/// What the writer has to do next.
#[derive(Debug)]
pub(super) enum Work {
    Write(Changes),
    /// All is written, and nothing more will come.
    Close,
}

impl Inbox {
    pub(super) fn new(clock: Clock, boot: BootId) -> Self {
        let (status, _) = watch::channel(Status::Opening);
        let contents = Contents {
            lots: Lots::new(FLUSH),
            links: 0,
            pending: Changes::default(),
            waiting: HashMap::new(),
            closing: false,
        };
        Self { contents: Mutex::new(contents), arrived: Condvar::new(), status, clock, boot }
    }

    /// A number for a link, so that its kinds are told from others'.
    pub(super) fn number(&self) -> u64 {
        let mut contents = self.contents.lock();
        contents.links += 1;
        contents.links
    }

    /// A place for one request in what is durable, or will be: then the receiver tells.
    pub(super) fn book(
        &self,
        kind: Kind,
        form: impl FnOnce() -> Form,
        horizon: Horizon,
    ) -> Result<Place, LedgerDown> {
        let mut contents = self.contents.lock();
        let is_up = matches!(*self.status.borrow(), Status::Opening | Status::Waiting | Status::Ready);
        let unwritten = contents.pending.charges.len() + contents.lots.changes();
        if contents.closing || !is_up || unwritten >= MAX_CHANGES {
            return Err(LedgerDown);
        }
        let taken = contents.lots.take(kind, form, horizon, &self.clock.present(self.boot));
        if taken.is_ordered {
            self.arrived.notify_one();
        }
        if taken.is_durable {
            return Ok((taken.lot, None));
        }
        let (durable, told) = oneshot::channel();
        contents.waiting.entry(taken.lot).or_default().push(durable);
        Ok((taken.lot, Some(told)))
    }

    /// It ended at `end`, and may have been counted until so long after.
    pub(super) fn settle(&self, of: (Ticket, Kind), form: impl FnOnce() -> Form, end: (Stamp, Duration)) {
        self.change(|lots| lots.settle(of, form, end, self.clock.now()));
    }

    /// It never left.
    pub(super) fn forget(&self, lot: Ticket) {
        self.change(|lots| lots.forget(lot));
    }

    fn change(&self, change: impl FnOnce(&mut Lots)) {
        let mut contents = self.contents.lock();
        let was_idle = contents.is_idle();
        change(&mut contents.lots);
        if was_idle {
            self.arrived.notify_one();
        }
    }

    pub(super) fn note(&self, name: String, bytes: Vec<u8>) {
        let mut contents = self.contents.lock();
        let was_idle = contents.is_idle();
        contents.pending.notes.insert(name, bytes);
        if was_idle {
            self.arrived.notify_one();
        }
    }

    /// What was booked before the link of this number is renewed, in one transaction with `note`.
    pub(super) fn renew(&self, renewal: Renewal, before: u64, note: Option<(String, Vec<u8>)>) {
        let mut contents = self.contents.lock();
        contents.lots.renew(&renewal, before);
        contents.pending.renew(&renewal);
        contents.pending.renewals.push(renewal);
        contents.pending.notes.extend(note);
        self.arrived.notify_one();
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

    /// For the writer: everything that has come, once somebody waits for it or what
    /// there is has waited for [`FLUSH`].
    pub(super) fn next(&self) -> Work {
        let mut contents = self.contents.lock();
        loop {
            while contents.is_idle() && !contents.closing {
                match contents.lots.next_return() {
                    None => self.arrived.wait(&mut contents),
                    // What was booked ahead and nobody has taken.
                    Some(at) if at < self.clock.now() => break,
                    Some(_) => drop(self.arrived.wait_for(&mut contents, FLUSH)),
                }
            }
            if !contents.lots.is_ordered() && !contents.closing {
                // Woken by an order, or by the time: the others do not notify now.
                self.arrived.wait_for(&mut contents, FLUSH);
            }
            let (now, is_last) = (self.clock.now(), contents.closing);
            let drained = contents.lots.drain(now, is_last);
            let mut changes = std::mem::take(&mut contents.pending);
            changes.lots = drained.lots;
            let charges = drained.charges.into_iter().map(|(ticket, of, record)| (ticket, (of, record)));
            changes.charges.extend(charges);
            match changes.is_empty() {
                false => return Work::Write(changes),
                true if contents.closing => return Work::Close,
                true => {}
            }
        }
    }

    /// For the writer: these are on the disk.
    pub(super) fn written(&self, lots: &[Ticket]) {
        let mut contents = self.contents.lock();
        contents.lots.written(lots);
        let waiting: SmallVec<[Waiters; 4]> =
            lots.iter().filter_map(|lot| contents.waiting.remove(lot)).collect();
        drop(contents);
        for durable in waiting.into_iter().flatten() {
            // A caller that has left takes its booking back by itself.
            let _ = durable.send(Ok(()));
        }
    }

    /// For the writer: rests for `time`, or until it has to close.
    pub(super) fn rest(&self, time: Duration) {
        let mut contents = self.contents.lock();
        if !contents.closing {
            self.arrived.wait_while_for(&mut contents, |contents| !contents.closing, time);
        }
    }

    /// For the writer: these could not be written. Bookings fail; the rest is tried again.
    pub(super) fn give_back(&self, mut failed: Changes) {
        let mut contents = self.contents.lock();
        // What has come since is about what failed, too.
        contents.pending.renewals.iter().for_each(|renewal| failed.renew(renewal));
        let Changes { mut charges, notes, renewals, .. } = failed;
        contents.pending.renewals.splice(..0, renewals);
        // Whether it was written is not known after a failure, so it is taken back.
        for (lot, upstream) in contents.lots.failed() {
            charges.insert(lot, (upstream, None));
        }
        for durable in std::mem::take(&mut contents.waiting).into_values().flatten() {
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

impl Contents {
    fn is_idle(&self) -> bool {
        self.pending.is_empty() && !self.lots.is_changed()
    }
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.charges.is_empty() && self.notes.is_empty() && self.renewals.is_empty()
    }

    fn renew(&mut self, renewal: &Renewal) {
        for (upstream, record) in self.charges.values_mut() {
            if let Some(record) = record.as_mut().filter(|_| *upstream == renewal.upstream) {
                renewal.renew(record);
            }
        }
    }
}
