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
        if self.is_empty() {
            return Poll::Ready(Ok(()));
        }
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
        if !frames.is_empty() && frames.put_off(inner.turn(), cx) {
            return Poll::Pending;
        }
        ready!(frames.poll_write_out(inner, cx))?;
        Pin::new(inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { inner, frames } = &mut *self;
        ready!(frames.poll_write_out(inner, cx))?;
        Pin::new(inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
