//! The body of an answer: never silent for too long, and the connection's keeper.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::clock::{Clock, Silence};

use super::error::{Failure, Reason};
use super::pool::Lease;

/// The body of the vendor's answer. Dropping it before its end closes the
/// connection (HTTP/1.1) or resets the stream (HTTP/2).
#[derive(Debug)]
pub struct UpstreamBody {
    /// None once it has failed, which also ends the exchange on the wire.
    inner: Option<Incoming>,
    silence: Silence,
    lease: Option<Lease>,
    /// Read ahead, in order.
    peeked: VecDeque<Result<Frame<Bytes>, BodyError>>,
}

/// The body broke off: what came of it is not the whole answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BodyError(Failure);

impl UpstreamBody {
    pub(super) fn new(inner: Incoming, lease: Lease, clock: Clock, idle_timeout: Duration) -> Self {
        let silence = Silence::new(clock, idle_timeout);
        let mut body = Self { inner: Some(inner), silence, lease: Some(lease), peeked: VecDeque::new() };
        if body.is_end_stream() {
            body.release();
        }
        body
    }

    /// The beginning of the data, at least `most` bytes of it unless it ends before;
    /// what is read for it comes again.
    pub async fn peek(&mut self, most: usize) -> Vec<u8> {
        let mut seen = Vec::new();
        while seen.len() < most {
            let next = std::future::poll_fn(|cx| self.poll_inner(cx)).await;
            if let Some(Ok(frame)) = &next {
                seen.extend_from_slice(frame.data_ref().map_or(&[][..], Bytes::as_ref));
            }
            match next {
                None => break,
                Some(Err(error)) => {
                    self.peeked.push_back(Err(error));
                    break;
                }
                Some(frame) => self.peeked.push_back(frame),
            }
        }
        seen
    }

    fn release(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.release();
        }
    }

    fn has_ended(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    /// The next frame that was not read ahead.
    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.silence.broken();
                if self.has_ended() {
                    self.release();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => self.fail(Failure::of_body(&error)),
            Poll::Ready(None) => {
                self.release();
                Poll::Ready(None)
            }
            Poll::Pending => {
                if self.silence.poll_too_long(cx).is_pending() {
                    return Poll::Pending;
                }
                self.fail(Failure::new(Reason::ConnectionReadTimeout, "the body fell silent"))
            }
        }
    }

    fn fail(&mut self, failure: Failure) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.inner = None;
        self.lease = None;
        Poll::Ready(Some(Err(BodyError(failure))))
    }
}

impl BodyError {
    /// Why.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.0.reason
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.peeked.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => self.poll_inner(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.peeked.is_empty() && self.has_ended()
    }

    fn size_hint(&self) -> SizeHint {
        if !self.peeked.is_empty() {
            return SizeHint::default();
        }
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
