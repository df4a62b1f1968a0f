//! What may leave is on disk before it leaves, and comes back after a restart
//! (DESIGN, law 8). The desk decides, in memory; the ledger remembers.
//!
//! * One redb file, `ledger.redb`, for all upstreams of the process, owned by one
//!   thread. Everything that comes while it writes goes into its next transaction, and
//!   what has come for a while is booked ahead, so that it waits for no disk: see `lots`.
//! * What becomes of a booking (settled, lost, refunded) is told without waiting and on
//!   disk within 50 ms. If that is lost, the charge is found pending, and counts as given
//!   up at the restart.
//! * Moments are written on a clock that outlives the process (`CLOCK_BOOTTIME` and
//!   the boot it belongs to) and, once the vendor has sent a `Date`, on the vendor's
//!   own clock. After a reboot a charge counts as sent at the restart until the
//!   vendor's `Date` tells better: our wall clock decides nothing.
//! * While the file is another process's, or not yet read, admissions wait; while it
//!   cannot be written, they fail at once. Cached answers need no ledger.

mod file;
mod inbox;
pub(super) mod lots;
mod recall;
mod record;
mod renewal;
mod replan;
pub(super) mod restore;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::clock::{BootId, Clock, Moment, Present, UnixTime};
use crate::config::OnEmpty;
use crate::id::UpstreamName;
use crate::quota::{LimitSet, Plan};

use super::desk::Grant;
use file::{Folder, Place};
use inbox::{Inbox, Status};
use lots::{Form, Horizon, Kind, Ticket};
use renewal::Later;
use writer::Writer;

pub(super) use record::{Record, Stamp, State};
#[cfg(test)]
pub(super) use renewal::Renewal;
#[cfg(test)]
pub(super) use restore::restore;
pub(super) use restore::{Restored, Undated};

/// The longest that a booking may take; then it counts as impossible.
const BOOKING_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the ledger is, and what to make of a new one.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder; made, for this user alone, if it is not there.
    pub path: PathBuf,
    /// What is thought of the time before a file, or an upstream in it, that is new.
    pub on_empty: OnEmpty,
}

/// Nothing can be booked: the ledger cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger cannot be written")]
pub struct LedgerDown;

/// The file is there and cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger {path} cannot be used: {why}; repair or move it, or set store.path")]
pub struct OpenError {
    path: String,
    why: String,
}

/// How a ledger begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// What was in it can be taken up.
    Loaded,
    /// Another process has it, or the disk is full: it will be loaded as soon as it can be.
    Waits,
}

/// Charges that outlive the process. Dropping it lets the thread go on until its
/// links are gone as well; [`Ledger::close`] also waits.
pub struct Ledger {
    inbox: Arc<Inbox>,
    past: Arc<Mutex<Past>>,
    options: Options,
    clock: Clock,
    boot: BootId,
}

/// What was in the file.
#[derive(Debug, Default)]
pub(super) struct Past {
    charges: HashMap<UpstreamName, Vec<Record>>,
    pub(super) notes: HashMap<String, Vec<u8>>,
    pub(super) origin: Origin,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Origin {
    New,
    #[default]
    Kept,
    Broken,
}

/// What ties one budget to the ledger.
pub struct Link {
    ledger: Arc<Ledger>,
    number: u64,
    upstream: UpstreamName,
    /// From a booking until its request is given up at the latest.
    longest: Duration,
    /// What the plans that follow ask of this one's records.
    later: Later,
}

/// A charge in the ledger.
#[derive(Debug)]
pub(super) struct Booking {
    lot: Ticket,
    durable: Option<oneshot::Receiver<Result<(), LedgerDown>>>,
}

impl Ledger {
    /// Starts the thread that opens the file and owns it.
    ///
    /// # Errors
    /// No thread can be had, or the system has no randomness.
    pub fn open(options: Options, clock: Clock) -> std::io::Result<Arc<Self>> {
        let place = Folder(options.path.clone());
        let boot = BootId::of_this_machine_or_new()?;
        Self::start(Box::new(place), options, clock, boot)
    }

    fn start(
        place: Box<dyn Place>,
        options: Options,
        clock: Clock,
        boot: BootId,
    ) -> std::io::Result<Arc<Self>> {
        let (inbox, past) = (Arc::new(Inbox::new(clock, boot)), Arc::new(Mutex::new(Past::default())));
        let writer = Writer {
            inbox: Arc::clone(&inbox),
            place,
            options: options.clone(),
            clock,
            boot,
            past: Arc::clone(&past),
        };
        // So that the thread tells the time by the same clock as who books: tests turn the runtime's.
        let runtime = Handle::try_current().ok();
        let run = move || {
            let _inside = runtime.as_ref().map(Handle::enter);
            writer.run();
        };
        std::thread::Builder::new().name("ledger".into()).spawn(run)?;
        Ok(Arc::new(Self { inbox, past, options, clock, boot }))
    }

    /// Waits for the first look at the file.
    ///
    /// # Errors
    /// It cannot be used by this weir at all.
    pub async fn begun(&self) -> Result<Begun, OpenError> {
        match self.until(|status| *status != Status::Opening).await {
            Status::Failed(error) => Err(error),
            Status::Opening | Status::Waiting | Status::Closed => Ok(Begun::Waits),
            Status::Ready | Status::Down => Ok(Begun::Loaded),
        }
    }

    /// Resolves once the past is known; never, if it is closed before.
    ///
    /// # Errors
    /// As for [`Ledger::begun`].
    pub async fn loaded(&self) -> Result<(), OpenError> {
        match self.until(|status| !matches!(status, Status::Opening | Status::Waiting)).await {
            Status::Failed(error) => Err(error),
            Status::Closed => std::future::pending().await,
            Status::Opening | Status::Waiting | Status::Ready | Status::Down => Ok(()),
        }
    }

    /// Ties a budget to it. A request is sent and given up within `longest` of the
    /// moment at which its booking is durable.
    #[must_use]
    pub fn link(self: &Arc<Self>, upstream: UpstreamName, longest: Duration) -> Link {
        let number = self.inbox.number();
        let (ledger, longest) = (Arc::clone(self), longest + BOOKING_TIMEOUT);
        Link { ledger, number, upstream, longest, later: Later::default() }
    }

    /// Keeps `bytes` under `name` over restarts; on disk soon.
    pub fn remember(&self, name: &str, bytes: &[u8]) {
        self.past.lock().notes.insert(name.to_owned(), bytes.to_vec());
        self.inbox.note(name.to_owned(), bytes.to_vec());
    }

    /// What was last remembered under `name`; nothing before the ledger is loaded.
    #[must_use]
    pub fn remembered(&self, name: &str) -> Option<Vec<u8>> {
        self.past.lock().notes.get(name).cloned()
    }

    /// Writes what is left and lets go of the file, for a successor. Bookings fail from now on.
    pub async fn close(&self) {
        self.inbox.close();
        self.until(|status| matches!(status, Status::Closed | Status::Failed(_))).await;
    }

    /// Whether bookings are taken: also while the file is waited for.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(*self.inbox.status().borrow(), Status::Opening | Status::Waiting | Status::Ready)
    }

    async fn until(&self, over: impl FnMut(&Status) -> bool) -> Status {
        let mut status = self.inbox.status();
        // The sender lives in the inbox, which is borrowed here.
        status.wait_for(over).await.map_or(Status::Closed, |status| status.clone())
    }

    fn present(&self) -> Present {
        self.clock.present(self.boot)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("path", &self.options.path).finish_non_exhaustive()
    }
}

impl Link {
    /// Begins to make a grant durable, while the vendor's clock reads `vendor` at the most.
    pub(super) fn book(
        &self,
        plan: &Plan,
        grant: Grant,
        vendor: Option<UnixTime>,
    ) -> Result<Booking, LedgerDown> {
        let horizon = Horizon { longest: self.longest, vendor };
        let form = || self.form(plan, grant);
        let (lot, durable) = self.ledger.inbox.book(self.kind(grant), form, horizon)?;
        Ok(Booking { lot, durable })
    }

    /// It can have been counted until `linger` after `at`.
    pub(super) fn settle(&self, booking: &Booking, plan: &Plan, grant: Grant, end: End) {
        let stamp = Stamp::of(end.at, end.vendor, &self.ledger.present());
        let of = (booking.lot, self.kind(grant));
        self.ledger.inbox.settle(of, || self.form(plan, grant), (stamp, end.linger));
    }

    /// It never left.
    pub(super) fn forget(&self, booking: &Booking) {
        self.ledger.inbox.forget(booking.lot);
    }

    fn kind(&self, Grant { seat, set, .. }: Grant) -> Kind {
        Kind { link: self.number, seat, set }
    }

    fn form(&self, plan: &Plan, grant: Grant) -> Form {
        let mut record = form_of(plan, grant, &self.ledger.present());
        self.later.renew(&mut record);
        Form { upstream: self.upstream.clone(), record, most_ahead: most_ahead(plan, grant) }
    }
}

/// How a charge ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) at: Moment,
    /// The most that the vendor's clock can have read then.
    pub(super) vendor: Option<UnixTime>,
    pub(super) linger: Duration,
}

impl Booking {
    /// Resolves when it is on disk. Safe to drop and call again.
    pub(super) async fn durable(&mut self, clock: Clock) -> Result<(), LedgerDown> {
        let Some(durable) = &mut self.durable else { return Ok(()) };
        let by = clock.instant(clock.now() + BOOKING_TIMEOUT);
        match tokio::time::timeout_at(by, durable).await {
            Ok(Ok(result)) => result?,
            // The writer is gone, or so slow that the vendor's time-out would begin too late.
            Ok(Err(_)) | Err(_) => return Err(LedgerDown),
        }
        self.durable = None;
        Ok(())
    }

    pub(super) fn is_durable(&self) -> bool {
        self.durable.is_none()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}

/// What is written of each request like `grant`; when is told by its lot.
pub(super) fn form_of(plan: &Plan, grant: Grant, present: &Present) -> Record {
    let (consumer, division) = match plan.consumers.get(grant.seat as usize) {
        Some(consumer) => (consumer.name.clone(), plan.divisions[consumer.division].name.clone()),
        None => (replan::removed(), replan::removed()),
    };
    Record {
        limits: grant.set.iter().map(|limit| plan.limits[limit].name.clone()).collect(),
        consumer,
        division,
        state: State::Pending,
        at: Stamp::of(present.now, None, present),
        linger: plan.linger,
        keep: keep(plan, grant.set),
        requests: 1,
    }
}

/// A hundredth of the least that a grant counts against: what a crash may forfeit of it.
fn most_ahead(plan: &Plan, Grant { seat, set, .. }: Grant) -> u32 {
    let limits = set.iter().map(|limit| plan.limits[limit].requests);
    let caps = plan.consumers.get(seat as usize).map(|consumer| {
        let division = &plan.divisions[consumer.division];
        consumer
            .caps
            .iter()
            .chain(&division.caps)
            .filter(|cap| set.contains(cap.limit))
            .map(|cap| cap.requests)
    });
    limits.chain(caps.into_iter().flatten()).min().map_or(0, |least| least.get() / 100)
}

/// How long after it was counted a charge can count against a limit of `set`.
pub(super) fn keep(plan: &Plan, set: LimitSet) -> Duration {
    /// The vendor's clock may be this much off what it was.
    const MARGIN: Duration = Duration::from_secs(60);
    let each = set.iter().map(|limit| restore::reach(&plan.limits[limit]) + MARGIN);
    each.max().unwrap_or_default()
}
