//! Idle connections: the one used last goes first, each has an age, all a bound.
//!
//! An HTTP/1.1 connection belongs to one exchange until its body has ended; an
//! HTTP/2 connection is shared, and there is one. A connection is handed out only
//! while hyper says that it is open and free; that it dies right after is the
//! exchange's business (it gets the request back, or its charge stands). None takes a
//! new request once it is [`MAX_AGE`] old: what is under way on it ends, and the next
//! connection goes where the vendor's name points to by then.
//!
//! Why not hyper-util's pools (`client::pool` as of 0.1.21, read for this):
//! * `cache` takes back whatever is dropped, also an HTTP/1.1 connection whose body was
//!   left half-read, hands out without asking whether it still lives, and keeps any
//!   number of them. `retain` drops some, but ages, bound and timer would be ours.
//! * `singleton` keeps its one connection until that fails: how old it is, and since when
//!   no stream is under way on it, would be ours to know.
//! * Their types cannot be named (only in their documentation), and a body has to hold
//!   its connection until it has ended.
//! * What makes a send certain (`try_send_request`, and letting go of a sender when its
//!   connection ends, see [`Connection::offer`]) would stay here in any case.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout_at;

use crate::clock::{Clock, Moment};

use super::Outgoing;
use super::connect::{Ended, Wire};
use super::last_byte::{Outbox, Watch};

/// Idle HTTP/1.1 connections kept per upstream.
const MAX_IDLE: usize = 64;
/// A vendor whose addresses change is followed after this time.
const MAX_AGE: Duration = Duration::from_secs(120);

/// The idle connections to one upstream.
#[derive(Debug)]
pub(super) struct Pool {
    idle: Mutex<Idle>,
    idle_timeout: Duration,
    clock: Clock,
}

/// A connection in the hands of one exchange.
#[derive(Debug)]
pub(super) enum Connection {
    H1(Alone),
    H2(Stream),
}

/// A connection with one exchange at a time.
#[derive(Debug)]
pub(super) struct Alone {
    sender: http1::SendRequest<Outgoing>,
    ended: Ended,
    outbox: Outbox,
    born: Moment,
}

/// One exchange's part of a shared connection.
#[derive(Debug)]
pub(super) struct Stream {
    sender: http2::SendRequest<Outgoing>,
    ended: Ended,
    outbox: Outbox,
    usage: Arc<Usage>,
    clock: Clock,
}

/// A connection and a place among the exchanges, until the body has ended.
#[derive(Debug)]
pub(super) struct Lease {
    pool: Arc<Pool>,
    /// None if it has ended meanwhile.
    connection: Option<Connection>,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug, Default)]
struct Idle {
    /// In the order in which they became idle.
    h1: VecDeque<(Alone, Moment)>,
    h2: Option<Shared>,
    spoken: Spoken,
    sweeping: bool,
}

/// What the vendor spoke last.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Spoken {
    #[default]
    Unknown,
    H1,
    H2,
}

#[derive(Debug)]
struct Shared {
    sender: http2::SendRequest<Outgoing>,
    ended: Ended,
    outbox: Outbox,
    born: Moment,
    usage: Arc<Usage>,
}

#[derive(Debug, Default)]
struct Usage {
    streams: AtomicUsize,
    idle_since_nanos: AtomicU64,
}

impl Pool {
    pub(super) fn new(idle_timeout: Duration, clock: Clock) -> Arc<Self> {
        Arc::new(Self { idle: Mutex::default(), idle_timeout, clock })
    }

    /// A connection that is open and free.
    pub(super) fn take(&self) -> Option<Connection> {
        let now = self.clock.now();
        let mut idle = self.idle.lock();
        self.expire(&mut idle, now);
        if let Some(shared) = &idle.h2 {
            return Some(Connection::H2(shared.stream(self.clock)));
        }
        while let Some((alone, _)) = idle.h1.pop_back() {
            if alone.sender.is_ready() && now < alone.born + MAX_AGE {
                return Some(Connection::H1(alone));
            }
        }
        None
    }

    /// Whether a new connection may turn out to be one for all.
    pub(super) fn may_share(&self) -> bool {
        self.idle.lock().spoken != Spoken::H1
    }

    /// Takes note of a new connection, and gives it to whoever made it.
    pub(super) fn adopt(self: &Arc<Self>, wire: Wire) -> Connection {
        let born = self.clock.now();
        let mut idle = self.idle.lock();
        match wire {
            Wire::H1(sender, ended, outbox) => {
                idle.spoken = Spoken::H1;
                Connection::H1(Alone { sender, ended, outbox, born })
            }
            Wire::H2(sender, ended, outbox) => {
                idle.spoken = Spoken::H2;
                let shared = Shared { sender, ended, outbox, born, usage: Arc::default() };
                let stream = shared.stream(self.clock);
                idle.h2 = Some(shared);
                self.sweep_later(&mut idle);
                Connection::H2(stream)
            }
        }
    }

    /// Lets go of a shared connection that has ended.
    fn forget_ended(&self) {
        self.idle.lock().h2.take_if(|shared| shared.sender.is_closed());
    }

    fn put(self: &Arc<Self>, alone: Alone) {
        let mut idle = self.idle.lock();
        if idle.h1.len() >= MAX_IDLE {
            idle.h1.pop_front();
        }
        idle.h1.push_back((alone, self.clock.now()));
        self.sweep_later(&mut idle);
    }

    /// Closes what has been idle for too long; dropping a sender closes its connection.
    fn expire(&self, idle: &mut Idle, now: Moment) {
        while idle.h1.front().is_some_and(|(_, since)| now >= *since + self.idle_timeout) {
            idle.h1.pop_front();
        }
        // those who are on it hold it until they are done
        idle.h2.take_if(|shared| {
            shared.sender.is_closed() || now >= shared.born + MAX_AGE || now >= self.h2_expiry(shared, now)
        });
    }

    fn h2_expiry(&self, shared: &Shared, now: Moment) -> Moment {
        match shared.usage.streams.load(Ordering::Acquire) {
            0 => {
                Moment::from_nanos(shared.usage.idle_since_nanos.load(Ordering::Acquire)) + self.idle_timeout
            }
            _ => now + self.idle_timeout,
        }
    }

    /// Idle connections are closed in time even if nobody asks for one: one task,
    /// which ends when there are none.
    fn sweep_later(self: &Arc<Self>, idle: &mut Idle) {
        if std::mem::replace(&mut idle.sweeping, true) {
            return;
        }
        let (clock, first) = (self.clock, self.clock.now() + self.idle_timeout);
        let pool: Weak<Self> = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut next = Some(first);
            while let Some(at) = next {
                clock.sleep_until(at).await;
                next = pool.upgrade().and_then(|pool| pool.sweep());
            }
        });
    }

    /// Expires, and says when to do it again.
    fn sweep(&self) -> Option<Moment> {
        let now = self.clock.now();
        let mut idle = self.idle.lock();
        self.expire(&mut idle, now);
        idle.h1.retain(|(alone, _)| !alone.is_closed());
        let h1 = idle.h1.front().map(|(_, since)| *since + self.idle_timeout);
        let h2 = idle.h2.as_ref().map(|shared| self.h2_expiry(shared, now));
        let next = h1.into_iter().chain(h2).min();
        idle.sweeping = next.is_some();
        next
    }
}

impl Shared {
    fn stream(&self, clock: Clock) -> Stream {
        self.usage.streams.fetch_add(1, Ordering::AcqRel);
        let (sender, ended, outbox) = (self.sender.clone(), self.ended.clone(), self.outbox.clone());
        Stream { sender, ended, outbox, usage: Arc::clone(&self.usage), clock }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // first the time, then the count: who sees no streams must see since when
        self.usage.idle_since_nanos.store(self.clock.now().as_nanos(), Ordering::Release);
        self.usage.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Alone {
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// What came of an offer: the answer's head, and the connection if it is still one.
pub(super) type Offered = Result<(Response<Incoming>, Option<Connection>), TrySendError<Request<Outgoing>>>;

impl Connection {
    /// Whoever waits for the last byte of the next request is told by this connection.
    pub(super) fn watch(&self, watch: &Watch) {
        match self {
            Self::H1(alone) => watch.offer(&alone.outbox, false),
            Self::H2(stream) => watch.offer(&stream.outbox, true),
        }
    }

    /// Hands the request over; the error holds it again if it was never taken.
    ///
    /// hyper passes requests through a channel, and one could be left lying there:
    /// 1. we see that the channel is open,
    /// 2. hyper's side ends and empties it,
    /// 3. we put the request in.
    ///
    /// It comes back only when the last sender is gone (tokio issue 7714). So everybody
    /// lets go of theirs when the connection has ended; an answer that is on its way
    /// still comes, what was left lying comes back.
    pub(super) async fn offer(self, request: Request<Outgoing>, pool: &Pool) -> Offered {
        match self {
            Self::H1(mut alone) => {
                let mut answer = pin!(alone.sender.try_send_request(request));
                tokio::select! {
                    biased;
                    came = &mut answer => return came.map(|head| (head, Some(Self::H1(alone)))),
                    () = alone.ended.wait() => drop(alone),
                }
                answer.await.map(|head| (head, None))
            }
            Self::H2(mut stream) => {
                let mut answer = pin!(stream.sender.try_send_request(request));
                tokio::select! {
                    biased;
                    came = &mut answer => return came.map(|head| (head, Some(Self::H2(stream)))),
                    () = stream.ended.wait() => drop(stream),
                }
                pool.forget_ended();
                answer.await.map(|head| (head, None))
            }
        }
    }
}

impl Lease {
    pub(super) fn new(pool: Arc<Pool>, connection: Option<Connection>, place: OwnedSemaphorePermit) -> Self {
        Self { pool, connection, _place: place }
    }

    /// The exchange is over and its body was read to the end: the connection is
    /// kept as soon as hyper has finished with it. Dropping a lease instead closes
    /// an HTTP/1.1 connection, which is right for one whose body was left.
    pub(super) fn release(self) {
        let Self { pool, connection, .. } = self;
        let Some(Connection::H1(mut alone)) = connection else { return };
        if alone.sender.is_ready() {
            return pool.put(alone);
        }
        // not free yet: hyper has to turn round once more, or the request is still going out
        tokio::spawn(async move {
            let by = pool.clock.instant(pool.clock.now() + pool.idle_timeout);
            if let Ok(Ok(())) = timeout_at(by, alone.sender.ready()).await {
                pool.put(alone);
            }
        });
    }
}
