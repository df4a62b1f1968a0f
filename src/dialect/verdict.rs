//! What a dialect says of a request or an answer.

use bytes::Bytes;
use http::HeaderValue;

use super::netskope::body::Place;
use crate::secret::Secret;

/// What a dialect thinks of a request before it costs anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it.
    Pass,
    /// Send it, and tell the operator why not for long.
    Warn(String),
    /// The vendor would refuse it: 400 with this message, at no cost.
    Invalid(String),
    /// Policy refuses it: 403 with this message.
    Forbidden(String),
}

/// An error body in the vendor's own shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorBody {
    /// Its `Content-Type`.
    pub content_type: HeaderValue,
    /// The body.
    pub bytes: Bytes,
}

/// Whether the body of an answer may be kept, whatever its status and headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// It is all there.
    May,
    /// The vendor says itself that it is not finished, or not found.
    Unfinished,
    /// It broke off, or is not what the vendor sends when all is well (a CDN's page).
    Malformed,
}

/// How a request and its answer have to be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// A plain resource: its answer may be kept and shared as far as policy allows.
    Shared,
    /// For this caller alone, each time anew: neither kept nor joined nor repeated.
    Alone,
    /// The same, and the answer may be silent for long: passed on as it comes.
    Stream,
}

/// A key that cannot be put where the credential goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key has characters that its place in a request cannot hold")]
pub struct UnusableKey;

/// What signing changed beside the headers.
#[derive(Clone, Debug)]
pub enum Signed {
    /// Nothing: the key is in a header.
    InHeader,
    /// The query to send instead; it holds the key and must not be logged.
    InQuery(Secret),
    /// The key goes into the body, see [`super::Dialect::body_with_key`].
    InBody(Place),
}

impl Keeping {
    /// One word for log, metric and header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::May => "may",
            Self::Unfinished => "unfinished",
            Self::Malformed => "malformed",
        }
    }
}
