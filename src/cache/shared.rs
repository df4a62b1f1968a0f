//! The second level that replicas share: a Redis or Valkey, where one that is asked
//! again finds what another has paid for.
//!
//! * **Nobody reads it there.** Names are HMACs, answers, purges and tokens are sealed
//!   with keys derived from `token_key`, each bound to its name. What does not open, or
//!   is of another version, is not there.
//! * **Nobody waits for it on a hit.** A miss asks it for 50 ms at most, and a
//!   fetch that is about to leave twice as long; who has no answer then leaves it
//!   alone (`link`). What is to be kept is written behind.
//! * **One fetch for all replicas** (`claims`): who leaves holds a lease; the others wait
//!   for what it brings, or for the end of the lease.
//! * **A purge or a write reaches every replica** (`log`) within a tenth of a second and a round trip,
//!   by message at once. Each replica says ten times a second that it is there and how
//!   far it has read; whoever purges or writes is answered when all that were there
//!   within the last second have read it. So whoever has been answered finds nothing older on
//!   any replica, as long as it reaches Redis: one that has not for the length of its lease
//!   knows that; it then asks first, or, where Redis does not answer, says so and goes on
//!   with what it has.
//! * **Bounded**: each record in bytes and in time, all of them in bytes, the queue in
//!   bytes, the log in entries.

mod claims;
mod keeper;
mod link;
mod log;
mod notes;
mod outbox;
mod records;
mod selector;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use self::link::{Link, RedisTime};
use self::log::Log;
use self::outbox::Order;
use super::edition::Editions;
use super::entry::{Entry, EntryArc};
use super::key::{FlightKey, Key, Selector};
use super::second::{Level, Name, Pending, SecondLevel, SecondTally, Unconfirmed, Variant};
use super::store::Cache;
use crate::clock::{BootId, Clock, Moment};
use crate::redis::{Script, Server};
use crate::secret::Secret;
use crate::token::Sealer;

pub use claims::{Claim, Outcome, Turn, Wait};
pub use notes::Note;
pub use records::MAX_SHARED_BYTES;

/// The version of what is in Redis: of keys, messages and records alike. Another one is
/// not looked at.
const SCHEMA: u8 = 1;

/// How long a miss waits for it.
const LOOK_WITHIN: Duration = Duration::from_millis(50);
/// How long a hit waits for a replica that was held up itself to hear what it missed.
const CATCH_UP_WITHIN: Duration = Duration::from_millis(50);
/// How long a purge waits until the others have heard of it: they have, or are gone.
const CONFIRM_WITHIN: Duration = Duration::from_millis(1_500);
/// How long a stopping weir writes what is queued.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// Between two signs of life.
const BEAT: Duration = Duration::from_millis(100);

/// What a [`Shared`] is made from.
#[derive(Debug)]
pub struct SharedOptions<'a> {
    /// Where it is.
    pub server: Server,
    /// Put before every key.
    pub prefix: &'a str,
    /// Unique to this process: random.
    pub process: u64,
    /// What all replicas have in common, and nobody else.
    pub key: &'a Secret,
    /// What all records may take, in bytes.
    pub max_bytes: u64,
}

/// See the module.
pub struct Shared {
    server: Server,
    /// What all names begin with: in one slot of a cluster.
    base: String,
    me: u64,
    max_bytes: u64,
    itself: Weak<Self>,
    sealer: Sealer,
    scripts: Scripts,
    editions: Editions,
    clock: Clock,
    boot: BootId,
    log: Mutex<Log>,
    time: Mutex<Option<RedisTime>>,
    link: Link,
    orders: mpsc::UnboundedSender<Order>,
    queued_bytes: AtomicU64,
    waiting: Mutex<HashMap<[u8; 32], Vec<oneshot::Sender<Outcome>>>>,
    held: Mutex<HashMap<String, Vec<u8>>>,
    next_claim: AtomicU64,
    /// Until when a hit is given without asking, in nanoseconds of the clock.
    trusted_until: AtomicU64,
    standing: watch::Sender<Standing>,
    /// Up to which of its own purges the others have heard.
    confirmed: watch::Sender<u64>,
    /// Counts calls, answered or not.
    beats: watch::Sender<u64>,
    work: Notify,
    counts: Counts,
}

#[derive(Debug)]
struct Scripts {
    tell: Script,
    look: Script,
    keep: Script,
    forget: Script,
    turn: Script,
    renew: Script,
    release: Script,
    note: Script,
}

#[derive(Debug, Default)]
struct Counts {
    found: AtomicU64,
    joined: AtomicU64,
    dropped: AtomicU64,
    told: AtomicU64,
}

/// How this replica stands to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It has not heard of them yet.
    Joining,
    /// It hears of every purge.
    Open,
    /// Redis does not answer.
    Lost,
}

/// How the shared level is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SharedTally {
    /// Whether it hears of what others purge.
    pub is_open: bool,
    /// Answers found in it.
    pub found: u64,
    /// Fetches that another replica's stood in for.
    pub joined: u64,
    /// Purges and writes that others told.
    pub told: u64,
    /// Answers that were to be kept and were not.
    pub dropped: u64,
    /// Bytes waiting to be written.
    pub queued_bytes: u64,
}

impl Shared {
    /// Connects to nothing before [`Shared::start`].
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn new(
        options: SharedOptions<'_>,
        editions: Editions,
        clock: Clock,
    ) -> std::io::Result<(Arc<Self>, Orders)> {
        let SharedOptions { server, prefix, process, key, max_bytes } = options;
        let (orders, ordered) = mpsc::unbounded_channel();
        let boot = BootId::of_this_machine_or_new()?;
        let shared = Arc::new_cyclic(|itself| Self {
            server,
            base: format!("{{{prefix}:cache}}:{SCHEMA}"),
            me: process,
            max_bytes,
            itself: Weak::clone(itself),
            sealer: Sealer::new(key, "cache"),
            scripts: Scripts::new(),
            editions,
            clock,
            boot,
            log: Mutex::new(Log::new(process)),
            time: Mutex::default(),
            link: Link::default(),
            orders,
            queued_bytes: AtomicU64::new(0),
            waiting: Mutex::default(),
            held: Mutex::default(),
            next_claim: AtomicU64::new(0),
            trusted_until: AtomicU64::new(0),
            standing: watch::Sender::new(Standing::Joining),
            confirmed: watch::Sender::new(0),
            beats: watch::Sender::new(0),
            work: Notify::new(),
            counts: Counts::default(),
        });
        Ok((shared, Orders(ordered)))
    }

    /// Begins to take part, within a runtime, until `cache` is gone.
    pub fn start(self: &Arc<Self>, cache: &Arc<Cache>, orders: Orders) {
        drop(tokio::spawn(keeper::keep(Arc::clone(self), Arc::downgrade(cache))));
        drop(tokio::spawn(outbox::write(Arc::downgrade(self), orders.0)));
    }

    /// Resolves once it is known what others have purged, or that Redis does not answer.
    pub async fn joined(&self) {
        let _ = self.standing.subscribe().wait_for(|at| *at != Standing::Joining).await;
    }

    /// Whether a hit may be given at `now` without a word: nothing has been confirmed to
    /// anybody that is not known here, or Redis does not answer.
    #[must_use]
    pub fn is_trusted(&self, now: Moment) -> bool {
        now.as_nanos() < self.trusted_until.load(Ordering::Acquire)
    }

    /// For a replica that was held up: waits for the next call's answer, a moment at most.
    pub async fn catch_up(&self) {
        let mut beats = self.beats.subscribe();
        self.work.notify_one();
        let until = self.clock.instant(self.clock.now() + CATCH_UP_WITHIN);
        let trusted = async { while !self.is_trusted(self.clock.now()) && beats.changed().await.is_ok() {} };
        // Late is not wrong: this replica could not reach Redis either.
        let _ = tokio::time::timeout_at(until, trusted).await;
    }

    /// How it is.
    #[must_use]
    pub fn shared_tally(&self) -> SharedTally {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        SharedTally {
            is_open: *self.standing.borrow() == Standing::Open,
            found: count(&self.counts.found),
            joined: count(&self.counts.joined),
            told: count(&self.counts.told),
            dropped: count(&self.counts.dropped),
            queued_bytes: count(&self.queued_bytes),
        }
    }

    /// What a fetch is called where others can see it.
    pub(super) fn flight_name(&self, flight: &FlightKey) -> [u8; 32] {
        self.sealer.name(&[b"flight\0".as_slice(), &flight.hash()].concat())
    }

    fn key(&self, kind: &str, name: &[u8; 32]) -> Vec<u8> {
        format!("{}:{kind}:{}", self.base, data_encoding::HEXLOWER.encode(name)).into_bytes()
    }

    fn singular(&self, name: &str) -> Vec<u8> {
        format!("{}:{name}", self.base).into_bytes()
    }
}

/// What is to be written, to be handed to [`Shared::start`].
#[derive(Debug)]
pub struct Orders(mpsc::UnboundedReceiver<Order>);

impl SecondLevel for Shared {
    fn level(&self) -> Level {
        Level::Redis
    }

    fn look(&self, key: &Key, _: &[Variant]) -> Option<Pending<Vec<Entry>>> {
        // Left alone, it is not asked.
        self.link.is_prompt().then_some(())?;
        let (shared, key) = (self.itself.upgrade()?, key.clone());
        Some(Box::pin(async move {
            let found = shared.look_for(&key).await;
            shared.counts.found.fetch_add(found.len() as u64, Ordering::Relaxed);
            found
        }))
    }

    fn keep(&self, entry: &EntryArc) {
        self.keep_behind(entry);
    }

    fn mark(&self, _: Vec<u8>) {
        // Each record says itself what it was kept after.
    }

    fn marked(&self) -> Pending<Option<Vec<u8>>> {
        Box::pin(async { None })
    }

    fn forget(&self, entry: &Entry) {
        self.order(Order::Forget(self.key("r", &self.sealer.name(&entry.key.hash()))));
    }

    fn purge(&self, selector: &Selector) -> Vec<Name> {
        match self.sealer.seal(b"purge", &selector::written(selector)) {
            Ok(bytes) => {
                self.log.lock().purge(selector.clone(), bytes);
                self.work.notify_one();
            }
            Err(error) => tracing::error!(%error, "other replicas are not told of a purge"),
        }
        Vec::new()
    }

    fn confirmed(&self) -> Pending<Result<(), Unconfirmed>> {
        let want = self.log.lock().last();
        let (mut confirmed, mut standing) = (self.confirmed.subscribe(), self.standing.subscribe());
        let until = self.clock.instant(self.clock.now() + CONFIRM_WITHIN);
        Box::pin(async move {
            let heard = async {
                tokio::select! {
                    biased;
                    heard = confirmed.wait_for(|confirmed| *confirmed >= want) => heard.is_ok(),
                    _ = standing.wait_for(|at| *at == Standing::Lost) => false,
                }
            };
            let heard = tokio::time::timeout_at(until, heard).await.unwrap_or(false);
            if heard { Ok(()) } else { Err(Unconfirmed::Replicas) }
        })
    }

    fn close(&self) -> Pending<()> {
        let (told, done) = oneshot::channel();
        self.order(Order::Last(told));
        let until = self.clock.instant(self.clock.now() + CLOSE_WITHIN);
        Box::pin(async move {
            if tokio::time::timeout_at(until, done).await.is_err() {
                tracing::warn!("what was to be shared was not written to its end");
            }
        })
    }

    fn tally(&self) -> SecondTally {
        SecondTally::default()
    }
}

impl Scripts {
    fn new() -> Self {
        Self {
            tell: Script::new(include_str!("shared/tell.lua")),
            look: Script::new("return redis.call('HGETALL', KEYS[1])"),
            keep: Script::new(include_str!("shared/keep.lua")),
            forget: Script::new("return redis.call('DEL', KEYS[1])"),
            turn: Script::new(include_str!("shared/turn.lua")),
            renew: Script::new(include_str!("shared/renew.lua")),
            release: Script::new(include_str!("shared/release.lua")),
            note: Script::new(include_str!("shared/note.lua")),
        }
    }
}

fn millis(of: Duration) -> Vec<u8> {
    of.as_millis().to_string().into_bytes()
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({} {:016x} {:?})", self.base, self.me, self.shared_tally())
    }
}
