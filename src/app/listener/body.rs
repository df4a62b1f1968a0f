//! The two bodies of an exchange as the listener guards them.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::clock::{Clock, Silence};
use crate::upstream::BoxError;

use super::guard::Exchange;

/// A request's body that breaks off when its caller sends nothing for too long.
/// Time in which nobody asks for the next frame does not count.
#[derive(Debug)]
pub struct RequestBody<B = Incoming> {
    inner: B,
    silence: Silence,
}

/// A request's body broke off.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// Nothing came for as long as the listener allows.
    #[error("the body fell silent")]
    TooSlow,
    /// The connection ended, or what came is not a body.
    #[error("the body broke off: {0}")]
    Broken(#[source] BoxError),
}

impl<B> RequestBody<B> {
    /// Guards `inner`; it may be silent for `limit` at a time.
    pub fn new(inner: B, clock: Clock, limit: Duration) -> Self {
        Self { inner, silence: Silence::new(clock, limit) }
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.silence.broken();
                Poll::Ready(frame.map(|frame| frame.map_err(|e| RequestBodyError::Broken(e.into()))))
            }
            Poll::Pending => self.silence.poll_too_long(cx).map(|()| Some(Err(RequestBodyError::TooSlow))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// An answer's body, which keeps its exchange open and says who waits for whom.
pub(super) struct Answer<B> {
    inner: B,
    exchange: Exchange,
}

impl<B> Answer<B> {
    pub(super) fn new(inner: B, exchange: Exchange) -> Self {
        Self { inner, exchange }
    }
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(_))) => self.exchange.waits_for_caller(),
            Poll::Ready(Some(Err(_)) | None) | Poll::Pending => self.exchange.waits_for_us(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
