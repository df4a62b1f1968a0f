//! The body of an answer: never silent for too long, and the connection's keeper.

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
}

/// The body broke off: what came of it is not the whole answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BodyError(Failure);

impl UpstreamBody {
    pub(super) fn new(inner: Incoming, lease: Lease, clock: Clock, idle_timeout: Duration) -> Self {
        let silence = Silence::new(clock, idle_timeout);
        let mut body = Self { inner: Some(inner), silence, lease: Some(lease) };
        if body.is_end_stream() {
            body.release();
        }
        body
    }

    fn release(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.release();
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
        let body = &mut *self;
        let Some(inner) = &mut body.inner else { return Poll::Ready(None) };
        match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                body.silence.broken();
                if body.is_end_stream() {
                    body.release();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => body.fail(Failure::of_body(&error)),
            Poll::Ready(None) => {
                body.release();
                Poll::Ready(None)
            }
            Poll::Pending => {
                if body.silence.poll_too_long(cx).is_pending() {
                    return Poll::Pending;
                }
                body.fail(Failure::new(Reason::ConnectionReadTimeout, "the body fell silent"))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
