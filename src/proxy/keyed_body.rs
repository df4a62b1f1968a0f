//! The body of a POST that a rule calls a read: its canonical JSON is keyed and
//! sent, so that askers who spell one search differently share its answer.
//!
//! A body that is none (not JSON, coded, longer than
//! [`MAX_KEYED_BODY_BYTES`]) goes on as it came, for this caller alone.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Method};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

use super::call::Call;
use super::fetch::RequestBody;
use crate::dialect::Dialect;
use crate::dialect::json::canonical;
use crate::upstream::BoxError;

/// The longest body that can be part of a key, in bytes.
const MAX_KEYED_BODY_BYTES: usize = 64 * 1024;

/// What became of a body.
pub(super) enum Read {
    /// Its canonical form.
    Keyed(Bytes),
    /// To be sent as it came.
    AsItCame(RequestBody),
}

/// Whether a rule lets the answer to this request be kept by its body. Where the
/// dialect knows what reads, a rule that is too wide makes no write one: it would be
/// answered from the cache and never done.
pub(super) fn is_wanted(call: &Call) -> bool {
    let (method, path) = (&call.method, call.target.path());
    let dialect = &call.lane.config.dialect;
    let mut rules = call.lane.config.cache.iter();
    *method == Method::POST
        && (matches!(dialect, Dialect::Generic(_)) || dialect.reads(method, path))
        && rules
            .find(|rule| rule.pattern.matches(method, path))
            .is_some_and(|rule| rule.methods.contains(method))
        && is_plain_json(&call.headers)
}

/// Reads the body as far as it may be part of a key.
///
/// # Errors
/// It broke off.
pub(super) async fn read(mut body: RequestBody) -> Result<Read, BoxError> {
    let mut chunks = VecDeque::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame?.into_data() else { continue };
        length += chunk.len();
        chunks.push_back(chunk);
        if length > MAX_KEYED_BODY_BYTES {
            return Ok(Read::AsItCame(UnsyncBoxBody::new(Begun { chunks, rest: Some(body) })));
        }
    }
    let whole = Vec::from_iter(chunks.iter().cloned()).concat();
    Ok(match canonical(&whole) {
        Some(text) => Read::Keyed(text.into()),
        None => Read::AsItCame(UnsyncBoxBody::new(Begun { chunks, rest: None })),
    })
}

fn is_plain_json(headers: &HeaderMap) -> bool {
    let typed = headers.get(CONTENT_TYPE).and_then(|typed| typed.to_str().ok()).unwrap_or_default();
    let essence = typed.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    !headers.contains_key(CONTENT_ENCODING) && (essence == "application/json" || essence.ends_with("+json"))
}

/// A body of which the beginning has been read already.
struct Begun {
    chunks: VecDeque<Bytes>,
    rest: Option<RequestBody>,
}

impl Body for Begun {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(chunk) = self.chunks.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let read: usize = self.chunks.iter().map(Bytes::len).sum();
        match &self.rest {
            None => SizeHint::with_exact(read as u64),
            Some(rest) => {
                let mut hint = SizeHint::new();
                hint.set_lower(read as u64 + rest.size_hint().lower());
                if let Some(upper) = rest.size_hint().upper() {
                    hint.set_upper(read as u64 + upper);
                }
                hint
            }
        }
    }
}
