//! What leaves a connection, in as few calls of the system as may be.
//!
//! HTTP/1.1: the pieces of a small answer are put together and sent by one `send`.
//! HTTP/2: so are the frames of all streams that were answered in one turn of the
//! connection's task. They leave when everybody else who was ready has had a turn, which
//! is at once on an idle machine.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::guard::Guarded;

/// Of an answer in several pieces that is not larger, the pieces are put together: copying
/// them costs less than the kernel's way through a list of pieces.
const GATHER_BYTES: usize = 4 * 1024;

/// Frames that are put together: HTTP/2's usual frame (RFC 9113 section 4.2), and TLS's
/// largest record.
const FRAMES_BYTES: usize = 16 * 1024;

thread_local! {
    /// Where pieces are put together; one for all connections of a thread.
    static GATHERED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// Room for frames that no connection has just now.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A stream that puts together what is written to it. All of it has left when a flush is done.
#[derive(Debug)]
pub(super) struct Outgoing<IO> {
    inner: Guarded<IO>,
    frames: Frames,
}

/// HTTP/2 frames that have not left.
#[derive(Debug, Default)]
struct Frames {
    bytes: Vec<u8>,
    written: usize,
    /// The turn of the connection's task in which their leaving was put off.
    put_off_in: Option<u64>,
}

impl<IO> Outgoing<IO> {
    pub(super) fn new(inner: Guarded<IO>) -> Self {
        Self { inner, frames: Frames::default() }
    }
}

impl Frames {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn has_room_for(&self, bytes: usize) -> bool {
        self.bytes.len() + bytes <= FRAMES_BYTES
    }

    fn put(&mut self, bufs: &[IoSlice<'_>]) {
        if self.bytes.capacity() == 0 {
            self.bytes = SPARE.take();
        }
        bufs.iter().for_each(|buf| self.bytes.extend_from_slice(buf));
    }

    /// Whether they leave in a later turn than this one; it comes by itself.
    fn put_off(&mut self, turn: u64, cx: &mut Context<'_>) -> bool {
        if self.put_off_in.is_none() {
            self.put_off_in = Some(turn);
            // Pending, and woken when others had their turn; nothing else can come of it.
            let _ = pin!(tokio::task::yield_now()).poll(cx);
        }
        self.put_off_in == Some(turn)
    }

    fn poll_write_out<IO: AsyncWrite + Unpin>(
        &mut self,
        inner: &mut Guarded<IO>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            let left = self.bytes.get(self.written..).unwrap_or_default();
            match ready!(Pin::new(&mut *inner).poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.written += bytes,
            }
        }
        self.put_off_in = None;
        self.written = 0;
        self.bytes.clear();
        SPARE.set(std::mem::take(&mut self.bytes));
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Outgoing<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Outgoing<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { inner, frames } = &mut *self;
        let all = bufs.iter().map(|buf| buf.len()).sum::<usize>();
        if inner.is_http2() {
            if !frames.has_room_for(all) {
                ready!(frames.poll_write_out(inner, cx))?;
            }
            if frames.has_room_for(all) {
                frames.put(bufs);
                return Poll::Ready(Ok(all));
            }
        } else if bufs.len() > 1 && all <= GATHER_BYTES {
            return GATHERED.with_borrow_mut(|whole| {
                whole.clear();
                bufs.iter().for_each(|buf| whole.extend_from_slice(buf));
                Pin::new(inner).poll_write(cx, whole)
            });
        }
        Pin::new(inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { inner, frames } = &mut *self;
        if !frames.is_empty() {
            if frames.put_off(inner.turn(), cx) {
                return Poll::Pending;
            }
            ready!(frames.poll_write_out(inner, cx))?;
        }
        Pin::new(inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { inner, frames } = &mut *self;
        if !frames.is_empty() {
            ready!(frames.poll_write_out(inner, cx))?;
        }
        Pin::new(inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::app::listener::Options;
    use crate::app::listener::guard::Activity;
    use crate::clock::{Clock, UnixTime};

    /// The other end: what it took, in how many pieces, and how many bytes it takes at the
    /// next writes (0: it is not ready).
    #[derive(Debug, Default)]
    struct Taken {
        bytes: Vec<u8>,
        writes: usize,
        takes: VecDeque<usize>,
    }

    impl AsyncWrite for Taken {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let takes = self.takes.pop_front().unwrap_or(usize::MAX).min(buf.len());
            if takes == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.writes += 1;
            self.bytes.extend_from_slice(&buf[..takes]);
            Poll::Ready(Ok(takes))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncRead for Taken {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            buf.put_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
            Poll::Ready(Ok(()))
        }
    }

    /// An HTTP/2 connection whose other end takes so much at a time.
    fn http2(takes: Vec<usize>, cx: &mut Context<'_>) -> (Outgoing<Taken>, Arc<Activity>) {
        let clock = Clock::virtual_at(UnixTime::from_secs(0));
        let activity = Activity::new(clock);
        let options = Options::new(clock, Duration::from_secs(1));
        let taken = Taken { takes: takes.into(), ..Taken::default() };
        let mut stream = Outgoing::new(Guarded::new(taken, Arc::clone(&activity), &options));
        let mut preface = [0; 24];
        let read = Pin::new(&mut stream).poll_read(cx, &mut ReadBuf::new(&mut preface));
        assert!(read.is_ready() && stream.inner.is_http2());
        (stream, activity)
    }

    /// Runs `work` in a task, with its context.
    fn with_context<T>(mut work: impl FnMut(&mut Context<'_>) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(std::future::poll_fn(|cx| Poll::Ready(work(cx))))
    }

    #[test]
    fn frames_of_one_turn_leave_together_in_the_next() {
        with_context(|cx| {
            let (mut stream, activity) = http2(Vec::new(), cx);
            for _ in 0..8 {
                assert!(Pin::new(&mut stream).poll_write(cx, &[b'x'; 1_000]).is_ready());
                assert!(Pin::new(&mut stream).poll_flush(cx).is_pending());
            }
            assert_eq!(stream.inner.get_ref().writes, 0);
            activity.begin_turn();
            assert!(Pin::new(&mut stream).poll_flush(cx).is_ready());
            assert_eq!((stream.inner.get_ref().writes, stream.inner.get_ref().bytes.len()), (1, 8_000));
            assert_eq!(stream.frames.bytes.capacity(), 0, "an idle connection holds no room for frames");
        });
    }

    #[test]
    fn more_than_fits_does_not_wait() {
        with_context(|cx| {
            let (mut stream, _) = http2(Vec::new(), cx);
            assert!(Pin::new(&mut stream).poll_write(cx, b"small").is_ready());
            assert!(Pin::new(&mut stream).poll_write(cx, &[b'x'; FRAMES_BYTES + 1]).is_ready());
            assert_eq!(stream.inner.get_ref().bytes.len(), 5 + FRAMES_BYTES + 1);
            assert!(Pin::new(&mut stream).poll_flush(cx).is_ready(), "nothing is left to put off");
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Nothing is lost, doubled or out of order, however the other end takes it, and
        /// all of it has left when a flush or the end is done.
        #[test]
        fn what_is_written_leaves_in_order(
            pieces in prop::collection::vec((0_usize..20_000, any::<bool>(), any::<bool>()), 1..40),
            takes in prop::collection::vec(prop_oneof![Just(0_usize), 1_usize..9_000], 0..80),
            ends in any::<bool>(),
        ) {
            with_context(|cx| {
                let (mut stream, activity) = http2(takes.clone(), cx);
                let (mut written, mut number) = (Vec::new(), 0_u8);
                for &(size, flushes, turns) in &pieces {
                    number = number.wrapping_add(1);
                    let piece = vec![number; size];
                    let mut left = &piece[..];
                    while !left.is_empty() {
                        let (head, tail) = left.split_at(left.len() / 3);
                        let bufs = [IoSlice::new(head), IoSlice::new(tail)];
                        if let Poll::Ready(wrote) = Pin::new(&mut stream).poll_write_vectored(cx, &bufs) {
                            left = &left[wrote.unwrap()..];
                        }
                    }
                    written.extend_from_slice(&piece);
                    if turns {
                        activity.begin_turn();
                    }
                    if flushes && Pin::new(&mut stream).poll_flush(cx).is_ready() {
                        assert_eq!(stream.inner.get_ref().bytes.len(), written.len());
                    }
                }
                loop {
                    activity.begin_turn();
                    let mut stream = Pin::new(&mut stream);
                    let done = if ends { stream.as_mut().poll_shutdown(cx) } else { stream.as_mut().poll_flush(cx) };
                    if done.is_ready() {
                        break;
                    }
                }
                assert!(stream.inner.get_ref().bytes == written);
            });
        }
    }
}
