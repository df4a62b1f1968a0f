//! Frames that leave together, by themselves and through hyper.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proptest::prelude::*;
use tokio::io::DuplexStream;
use tokio::sync::watch;

use super::*;
use crate::app::listener::guard::Activity;
use crate::app::listener::{Options, Peer, RequestBody, Server, builder};
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
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
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

/// A connection in memory whose server's writes are counted.
struct Counted {
    stream: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn answers_that_are_there_at_once_leave_by_one_write() {
    const STREAMS: usize = 8;
    let (near, far) = tokio::io::duplex(1 << 20);
    let writes = Arc::new(AtomicUsize::new(0));
    let counted = Counted { stream: far, writes: Arc::clone(&writes) };
    let clock = Clock::virtual_at(UnixTime::from_secs(0));
    let service =
        |_: Request<RequestBody>, _: Peer| async { Response::new(Full::new(Bytes::from(vec![b'x'; 1_000]))) };
    let server =
        Server { builder: builder(), service, options: Options::new(clock, Duration::ZERO), tls: None };
    let peer = Peer { address: ([127, 0, 0, 1], 1).into(), certificate: None };
    let (_open, stopped) = watch::channel(());
    tokio::spawn(async move { server.serve(counted, peer, stopped).await });
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near)).await.unwrap();
    tokio::spawn(connection);
    let round = || async {
        let asked = (0..STREAMS).map(|_| {
            let request = Request::get("http://weir.test/").body(Full::<Bytes>::default()).unwrap();
            let mut sender = sender.clone();
            async move { sender.send_request(request).await.unwrap().collect().await.unwrap().to_bytes() }
        });
        futures_util::future::join_all(asked).await
    };
    // The first round has the handshake in it.
    round().await;
    let before = writes.load(Ordering::Relaxed);
    let answers = round().await;
    assert!(answers.iter().all(|body| body.len() == 1_000));
    assert_eq!(writes.load(Ordering::Relaxed) - before, 1, "writes for {STREAMS} answers");
}
