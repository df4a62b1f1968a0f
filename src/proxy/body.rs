//! The body of an answer: weir's own, one from the cache, or one on its way from the vendor.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::Full;

use super::fault::Fault;
use super::fetch::Shared;
use crate::cache::{AnswerBody, FlightError, Listener};

/// What goes to a caller. Copies nothing.
#[derive(Debug)]
pub struct Body(Kind);

#[derive(Debug)]
enum Kind {
    Own(Full<Bytes>),
    Stored(AnswerBody),
    Live(Listener<Shared, Fault>),
}

/// The answer broke off on its way from the vendor; the caller is told by a
/// connection that ends before the body does.
#[derive(Debug, thiserror::Error)]
#[error("the vendor's answer broke off: {0}")]
pub struct Broken(FlightError<Fault>);

impl Body {
    /// No bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self::from(Bytes::new())
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(Kind::Own(Full::new(bytes)))
    }
}

impl From<AnswerBody> for Body {
    fn from(stored: AnswerBody) -> Self {
        Self(Kind::Stored(stored))
    }
}

impl From<Listener<Shared, Fault>> for Body {
    fn from(listener: Listener<Shared, Fault>) -> Self {
        Self(Kind::Live(listener))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut self.0 {
            Kind::Own(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Kind::Stored(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Kind::Live(body) => Pin::new(body).poll_frame(cx).map_err(Broken),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Own(body) => body.is_end_stream(),
            Kind::Stored(body) => body.is_end_stream(),
            Kind::Live(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Own(body) => body.size_hint(),
            Kind::Stored(body) => body.size_hint(),
            Kind::Live(body) => body.size_hint(),
        }
    }
}
