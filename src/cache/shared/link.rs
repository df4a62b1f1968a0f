//! The connection that misses ask on, and when they do not.
//!
//! 1. A look has no answer in time: it is a miss, and nobody looks any more.
//! 2. A fetch that is about to leave still asks whether another replica's has; it has a
//!    little longer, and longer still while calls that were made later are answered: then
//!    it is this machine that is slow. If it has no answer, the connection is dropped.
//! 3. `keeper` makes another when its own calls are answered, and not before a rest that
//!    doubles each time. With it, looks begin again; they also do once a fetch was answered.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::{LOOK_WITHIN, Shared};
use crate::clock::Moment;
use crate::redis::{Answer, Connection, Gone, Script};

/// How long a fetch that is about to leave waits to hear that nobody else's has.
const TURN_WITHIN: Duration = Duration::from_millis(100);
/// The same while Redis answers others.
const TURN_AT_MOST: Duration = Duration::from_secs(1);
/// How long a Redis that did not answer in time is left alone, at first and at most.
const FIRST_REST: Duration = Duration::from_millis(200);
const MAX_REST: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// None while Redis is left alone.
    connection: Mutex<Option<Connection>>,
    is_slow: AtomicBool,
    rests: AtomicU32,
    rest_until: AtomicU64,
    /// When the last of `keeper`'s calls that was answered was made.
    answered: AtomicU64,
}

/// Redis's clock, as it was read once.
#[derive(Clone, Copy, Debug)]
pub(super) struct RedisTime {
    pub(super) micros: u64,
    pub(super) sent: Moment,
    pub(super) received: Moment,
}

impl Link {
    /// Whether there is any.
    pub(super) fn is_up(&self) -> bool {
        self.connection.lock().is_some()
    }

    /// Whether looks are answered.
    pub(super) fn is_prompt(&self) -> bool {
        self.is_up() && !self.is_slow.load(Ordering::Relaxed)
    }

    /// Whether another should be made.
    pub(super) fn is_wanted(&self, now: Moment) -> bool {
        !self.is_up() && now.as_nanos() >= self.rest_until.load(Ordering::Relaxed)
    }

    pub(super) fn up(&self, connection: Connection) {
        self.is_slow.store(false, Ordering::Relaxed);
        *self.connection.lock() = Some(connection);
    }

    /// A call of `keeper`'s that was made at `sent` was answered.
    pub(super) fn answers(&self, sent: Moment) {
        self.answered.store(sent.as_nanos(), Ordering::Relaxed);
    }

    /// Redis cannot be reached at all.
    pub(super) fn down(&self) {
        self.connection.lock().take();
    }

    /// Leaves Redis alone, longer each time.
    pub(super) fn rest(&self, now: Moment) {
        if self.connection.lock().take().is_none() {
            return;
        }
        let times = self.rests.fetch_add(1, Ordering::Relaxed);
        let rest = FIRST_REST.saturating_mul(1 << times.min(16)).min(MAX_REST);
        self.rest_until.store((now + rest).as_nanos(), Ordering::Relaxed);
    }

    fn is_alive_since(&self, sent: Moment) -> bool {
        self.answered.load(Ordering::Relaxed) >= sent.as_nanos()
    }

    fn rested(&self) {
        self.rests.store(0, Ordering::Relaxed);
        self.is_slow.store(false, Ordering::Relaxed);
    }
}

impl Shared {
    /// What a look finds; none if there is no answer in time.
    pub(super) async fn look_up(
        &self,
        script: &Script,
        key: Vec<u8>,
        arguments: &[Vec<u8>],
    ) -> Option<Answer> {
        if !self.link.is_prompt() {
            return None;
        }
        let mut connection = self.link.connection.lock().as_ref().map(Connection::shared)?;
        match connection.call(script, &[key], arguments, LOOK_WITHIN).await {
            Ok(found) => Some(found),
            // What is there is of another kind than ours.
            Err(Gone::Refused(_)) => None,
            Err(_) => {
                self.link.is_slow.store(true, Ordering::Relaxed);
                self.work.notify_one();
                None
            }
        }
    }

    /// What is answered to a fetch that is about to leave.
    pub(super) async fn ask_turn(&self, keys: &[Vec<u8>], arguments: &[Vec<u8>]) -> Option<Answer> {
        let mut connection = self.link.connection.lock().as_ref().map(Connection::shared)?;
        let sent = self.clock.now();
        let mut call = pin!(connection.call(&self.scripts.turn, keys, arguments, TURN_AT_MOST));
        let mut answer = tokio::time::timeout(TURN_WITHIN / 2, &mut call).await;
        if answer.is_err() {
            // Whether it answers at all shows on the other connection.
            self.work.notify_one();
            answer = tokio::time::timeout(TURN_WITHIN / 2, &mut call).await;
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(_) if self.link.is_alive_since(sent) => call.await,
            Err(_) => Err(Gone::TimedOut(TURN_WITHIN)),
        };
        match answer {
            Ok(answer) => {
                self.link.rested();
                Some(answer)
            }
            Err(Gone::Refused(_)) => None,
            Err(_) => {
                self.link.rest(self.clock.now());
                None
            }
        }
    }
}

impl RedisTime {
    /// At most this late, by Redis's clock, in microseconds.
    pub(super) fn at_most(&self, now: Moment) -> u64 {
        self.micros.saturating_add(micros(now.since(self.sent)))
    }

    /// At least this late.
    pub(super) fn at_least(&self, now: Moment) -> u64 {
        self.micros.saturating_add(micros(now.since(self.received)))
    }
}

pub(super) fn micros(of: Duration) -> u64 {
    u64::try_from(of.as_micros()).unwrap_or(u64::MAX)
}
