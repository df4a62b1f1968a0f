//! When the last byte of a request has really been written.
//!
//! hyper buffers what it sends, so the end of a body tells little. The body marks
//! on its way out that nothing more comes, and the stream below hyper tells when it
//! has been flushed after that:
//! 1. hyper puts the head, or the last piece of the body, into its buffer,
//! 2. and drops the body, which [lists](Outbox) whom to tell,
//! 3. writes its buffer to the stream, and flushes it: now they are told.
//!
//! An HTTP/2 connection is flushed for others, too. There a write has to begin
//! after step 2, and only requests without a body are told of at all: what is left
//! of a body may wait for the peer's leave.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// Who wants to hear of the next flush of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox(Arc<Mutex<Vec<Awaited>>>);

#[derive(Debug)]
struct Awaited {
    tell: oneshot::Sender<()>,
    /// Something of it may still lie above the stream until a write has begun.
    needs_write: bool,
}

/// Whom to tell of one request, and where it is being sent.
#[derive(Debug)]
pub(super) struct Watch(Mutex<Option<(oneshot::Sender<()>, Target)>>);

#[derive(Debug, Default)]
enum Target {
    /// Not handed to any connection.
    #[default]
    None,
    Alone(Outbox),
    Shared(Outbox),
}

/// A request body that marks its end.
#[derive(Debug)]
pub(super) struct Watched<B> {
    body: B,
    watch: Arc<Watch>,
    is_over: bool,
    had_any: bool,
}

/// A stream that tells when it has been flushed.
#[derive(Debug)]
pub(super) struct Told<S> {
    stream: S,
    outbox: Outbox,
}

impl Watch {
    pub(super) fn new(tell: oneshot::Sender<()>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some((tell, Target::None)))))
    }

    /// The next connection that it is offered to: one with one exchange at a time, or a shared one.
    pub(super) fn offer(&self, outbox: &Outbox, is_shared: bool) {
        if let Some((_, target)) = &mut *self.0.lock() {
            *target = if is_shared { Target::Shared(outbox.clone()) } else { Target::Alone(outbox.clone()) };
        }
    }

    fn end(&self, had_body: bool) {
        match self.0.lock().take() {
            Some((tell, Target::Alone(outbox))) => outbox.list(Awaited { tell, needs_write: false }),
            Some((tell, Target::Shared(outbox))) if !had_body => {
                outbox.list(Awaited { tell, needs_write: true });
            }
            _ => {}
        }
    }
}

impl Outbox {
    fn list(&self, awaited: Awaited) {
        let mut all = self.0.lock();
        // Those whose exchange is over no longer listen.
        all.retain(|other| !other.tell.is_closed());
        all.push(awaited);
    }

    fn writes(&self) {
        self.0.lock().iter_mut().for_each(|awaited| awaited.needs_write = false);
    }

    fn flushed(&self) {
        for awaited in self.0.lock().extract_if(.., |awaited| !awaited.needs_write) {
            // Nobody may be listening any more.
            let _ = awaited.tell.send(());
        }
    }
}

impl<B: Body> Watched<B> {
    pub(super) fn new(body: B, watch: Arc<Watch>) -> Self {
        let is_over = body.is_end_stream();
        Self { body, watch, is_over, had_any: false }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(_))) => (self.had_any, self.is_over) = (true, self.body.is_end_stream()),
            Poll::Ready(None) => self.is_over = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Watched<B> {
    fn drop(&mut self) {
        if self.is_over {
            self.watch.end(self.had_any);
        }
    }
}

impl<S> Told<S> {
    pub(super) fn new(stream: S) -> (Self, Outbox) {
        let outbox = Outbox::default();
        (Self { stream, outbox: outbox.clone() }, outbox)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Told<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Told<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.outbox.writes();
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.outbox.writes();
        let stream = Pin::new(&mut self.stream);
        match bufs {
            // A head without a body, as most are: a `send` costs the kernel less than a list of one.
            [head] => stream.poll_write(cx, head),
            _ => stream.poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if let Poll::Ready(Ok(())) = flushed {
            self.outbox.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
