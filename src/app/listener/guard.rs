//! Cuts connections whose caller does not do its part.
//!
//! hyper's own timer for heads begins only when the protocol is known, and nothing
//! in HTTP/2 ends a connection whose peer never grants any window. So the stream
//! itself watches, with one timer, from its first byte on:
//! * no exchange under way: the next head must begin within `keep_alive` of the last
//!   thing that moved, and (HTTP/1.1) be whole `head_timeout` after its first byte;
//! * all exchanges under way wait for the caller to take more of the answer: some of
//!   it must move within `write_timeout`;
//! * a write that blocks must go on within `write_timeout`;
//! * otherwise it is we who are slow, and nobody is cut.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep_until};

use crate::clock::{Clock, Moment, Silence};

use super::Options;

/// A write of fewer bytes is no progress of an answer: HTTP/2 answers a ping in 17.
const PROGRESS_BYTES: usize = 64;

/// `moved`, when no head has begun.
const NO_HEAD: u64 = u64::MAX;

/// What goes on on one connection.
#[derive(Debug)]
pub(super) struct Activity {
    clock: Clock,
    /// Whether anything has been asked yet.
    begun: AtomicBool,
    /// How often the connection's task had its turn.
    turn: AtomicU64,
    under_way: AtomicUsize,
    /// Of these, those whose answer waits for the caller to take more of it.
    wait_for_caller: AtomicUsize,
    /// When something of an answer moved last, or an exchange ended.
    moved_nanos: AtomicU64,
    /// When the first byte of a head came that is not whole yet, or [`NO_HEAD`].
    head_nanos: AtomicU64,
}

/// One exchange, from its whole head to the end of its answer.
#[derive(Debug)]
pub(super) struct Exchange {
    activity: Arc<Activity>,
    waits_for_caller: bool,
}

/// A stream that fails with [`io::ErrorKind::TimedOut`] when its caller is too slow.
#[derive(Debug)]
pub(super) struct Guarded<IO> {
    inner: IO,
    activity: Arc<Activity>,
    keep_alive: Duration,
    head_timeout: Duration,
    write_timeout: Duration,
    /// The one timer for reads, and when it fires; early is fine, late is not.
    timer: Option<Pin<Box<Sleep>>>,
    fires_at: Moment,
    write: Silence,
    /// HTTP/2 sends frames that are no head (window updates), so its heads have no
    /// time of their own.
    protocol: Protocol,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Protocol {
    Unknown,
    Http1,
    Http2,
}

impl Activity {
    pub(super) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            begun: AtomicBool::new(false),
            turn: AtomicU64::new(0),
            under_way: AtomicUsize::new(0),
            wait_for_caller: AtomicUsize::new(0),
            moved_nanos: AtomicU64::new(clock.now().as_nanos()),
            head_nanos: AtomicU64::new(NO_HEAD),
        })
    }

    pub(super) fn begin(self: &Arc<Self>) -> Exchange {
        self.begun.store(true, Ordering::Relaxed);
        self.under_way.fetch_add(1, Ordering::AcqRel);
        self.head_nanos.store(NO_HEAD, Ordering::Release);
        Exchange { activity: Arc::clone(self), waits_for_caller: false }
    }

    /// Whether anything has been asked yet.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// The connection's task has its next turn, in which what was put off before leaves.
    pub(super) fn begin_turn(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }

    fn moved(&self) {
        self.moved_nanos.store(self.clock.lately().as_nanos(), Ordering::Release);
    }

    fn head_may_have_begun(&self) {
        if self.under_way.load(Ordering::Acquire) == 0 && self.head_nanos.load(Ordering::Acquire) == NO_HEAD {
            self.head_nanos.store(self.clock.lately().as_nanos(), Ordering::Release);
        }
    }
}

impl Exchange {
    /// A part of the answer was handed out and the next has not been asked for.
    pub(super) fn waits_for_caller(&mut self) {
        // the time first: who sees the count must not see an old time beside it
        self.activity.moved();
        if !std::mem::replace(&mut self.waits_for_caller, true) {
            self.activity.wait_for_caller.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The next part was asked for and is not there.
    pub(super) fn waits_for_us(&mut self) {
        if std::mem::replace(&mut self.waits_for_caller, false) {
            self.activity.wait_for_caller.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.waits_for_us();
        self.activity.moved();
        self.activity.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<IO> Guarded<IO> {
    pub(super) fn new(inner: IO, activity: Arc<Activity>, options: &Options) -> Self {
        Self {
            inner,
            activity,
            keep_alive: options.keep_alive,
            head_timeout: options.head_timeout,
            write_timeout: options.write_timeout,
            timer: None,
            fires_at: Moment::NEVER,
            write: Silence::new(options.clock, options.write_timeout),
            protocol: Protocol::Unknown,
        }
    }

    #[cfg(test)]
    pub(super) fn get_ref(&self) -> &IO {
        &self.inner
    }

    /// Which turn the connection's task is in.
    pub(super) fn turn(&self) -> u64 {
        self.activity.turn.load(Ordering::Relaxed)
    }

    /// Whether the caller has begun as HTTP/2 does.
    pub(super) fn is_http2(&self) -> bool {
        self.protocol == Protocol::Http2
    }

    /// When the caller will have been too slow, as things are; none if it is our turn.
    fn deadline(&self) -> Option<Moment> {
        let activity = &self.activity;
        let moved = Moment::from_nanos(activity.moved_nanos.load(Ordering::Acquire));
        let under_way = activity.under_way.load(Ordering::Acquire);
        if under_way > 0 {
            let all_wait = activity.wait_for_caller.load(Ordering::Acquire) == under_way;
            return all_wait.then(|| moved + self.write_timeout);
        }
        let idle = moved + self.keep_alive;
        match activity.head_nanos.load(Ordering::Acquire) {
            NO_HEAD => Some(idle),
            _ if self.protocol == Protocol::Http2 => Some(idle),
            began => Some(Moment::from_nanos(began) + self.head_timeout),
        }
    }

    /// Ready if the caller has been too slow.
    fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut now = self.activity.clock.lately();
        loop {
            // exchanges end elsewhere without waking this task, so it looks again in any case
            let look_again = now + self.keep_alive.min(self.write_timeout);
            let due = self.deadline();
            if due.is_some_and(|due| now >= due) {
                return Poll::Ready(());
            }
            let at = due.map_or(look_again, |due| due.min(look_again));
            match &mut self.timer {
                Some(timer) if self.fires_at > at => {
                    timer.as_mut().reset(self.activity.clock.instant(at));
                    self.fires_at = at;
                }
                Some(_) => {}
                None => {
                    self.timer = Some(Box::pin(sleep_until(self.activity.clock.instant(at))));
                    self.fires_at = at;
                }
            }
            let fired = self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
            if !fired {
                return Poll::Pending;
            }
            // it was set for something that has moved since
            self.fires_at = Moment::NEVER;
            // exactly: what is due by the timer is not due by a clock that lags behind it
            now = self.activity.clock.now();
        }
    }

    fn sniff(&mut self, first: &[u8]) {
        if self.protocol == Protocol::Unknown {
            let http2 = first.starts_with(b"PRI * HTTP/2");
            self.protocol = if http2 { Protocol::Http2 } else { Protocol::Http1 };
        }
    }

    /// A write that blocks for too long fails; one that took something resets the time.
    fn written(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match wrote {
            Poll::Ready(Ok(bytes)) => {
                self.write.broken();
                if bytes >= PROGRESS_BYTES {
                    self.activity.moved();
                }
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.write.poll_too_long(cx).map(|()| Err(too_slow("reads nothing"))),
        }
    }
}

fn too_slow(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("the caller {what} for too long"))
}

impl<IO: AsyncRead + Unpin> AsyncRead for Guarded<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Ready(done) => {
                if buf.filled().len() > before {
                    self.sniff(&buf.filled()[before..]);
                    self.activity.head_may_have_begun();
                }
                Poll::Ready(done)
            }
            Poll::Pending => self.poll_too_slow(cx).map(|()| Err(too_slow("sends nothing"))),
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Guarded<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.written(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.written(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx).map_ok(|()| 0);
        self.written(cx, flushed).map_ok(drop)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.inner).poll_shutdown(cx).map_ok(|()| 0);
        self.written(cx, closed).map_ok(drop)
    }
}
