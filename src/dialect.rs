//! How each vendor speaks: a closed set, one file per API.
//!
//! Pure: no clock, no I/O, no client. A dialect is told what was asked and says
//! where the credential stands, which class of limits a route belongs to, what
//! the vendor would refuse anyway, how long an answer stays fresh and what has
//! to change in a body on its way to the caller.

mod accept;
mod catchpoint;
mod generic;
pub mod json;
pub mod links;
mod resource;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::clock::UnixTime;
use crate::quota::{Limit, RouteClass};
use crate::secret::Secret;
use crate::target::Target;

pub use catchpoint::{Catchpoint, Usage};
pub use generic::{Credential, Generic};
pub use json::{Editor, Edits, Observed};
pub use links::{Links, Rewritten};
pub use resource::Resource;

/// One vendor API, with what config says about it.
#[derive(Clone, Debug)]
pub enum Dialect {
    /// Catchpoint's REST API, v2 and later.
    Catchpoint(Catchpoint),
    /// Any JSON API, by configuration alone.
    Generic(Generic),
}

/// The names config knows, in the order of INTERFACE. Those without a dialect yet are refused at start.
pub const NAMES: &[&str] = &["catchpoint", "generic"];

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

/// A key that cannot be put where the credential goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key has characters that its place in a request cannot hold")]
pub struct UnusableKey;

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

impl Dialect {
    /// The name that config calls it by.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Catchpoint(_) => "catchpoint",
            Self::Generic(_) => "generic",
        }
    }

    /// The classes that a limit's `routes` may name.
    #[must_use]
    pub fn classes(&self) -> &'static [RouteClass] {
        match self {
            Self::Catchpoint(_) => catchpoint::CLASSES,
            Self::Generic(_) => &[],
        }
    }

    /// The limits that hold unless config says otherwise.
    #[must_use]
    pub fn default_limits(&self) -> Vec<Limit> {
        match self {
            Self::Catchpoint(_) => catchpoint::default_limits(),
            Self::Generic(_) => Vec::new(),
        }
    }

    /// The class of a route; what the dialect does not know belongs to its dearest.
    #[must_use]
    pub fn class(&self, method: &Method, path: &str) -> RouteClass {
        match self {
            Self::Catchpoint(_) => catchpoint::class(method, path),
            Self::Generic(_) => RouteClass("any"),
        }
    }

    /// Whether a request only reads, and so is allowed to everyone with access.
    #[must_use]
    pub fn reads(&self, method: &Method, path: &str) -> bool {
        match self {
            Self::Catchpoint(_) => catchpoint::reads(method, path),
            Self::Generic(_) => method == Method::GET || method == Method::HEAD,
        }
    }

    /// The consumer's token, from where the vendor's own credential would stand.
    #[must_use]
    pub fn presented<'a>(&self, headers: &'a HeaderMap, target: &'a Target) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Catchpoint(_) => generic::bearer(headers),
            Self::Generic(dialect) => dialect.presented(headers, target),
        }
    }

    /// Removes the caller's credential from what is sent on; says the target
    /// without it. For a keyless dialect call it only if a token is what proved the
    /// caller: otherwise its `Authorization` is meant for the vendor.
    pub fn strip(&self, headers: &mut HeaderMap, target: Target) -> Target {
        match self {
            Self::Catchpoint(_) => {
                headers.remove(http::header::AUTHORIZATION);
                target
            }
            Self::Generic(dialect) => dialect.strip(headers, target),
        }
    }

    /// What is wrong with a request that the documents say is refused.
    #[must_use]
    pub fn check(&self, method: &Method, target: &Target, headers: &HeaderMap, now: UnixTime) -> Verdict {
        match self {
            Self::Catchpoint(dialect) => dialect.check(method, target, headers, now),
            Self::Generic(_) => Verdict::Pass,
        }
    }

    /// Sets the closed list of headers that may shape a cacheable answer, each in
    /// its canonical spelling: these are keyed and sent (DESIGN, law 11).
    pub fn shape(&self, from: &HeaderMap, to: &mut HeaderMap) {
        match self {
            Self::Catchpoint(_) => catchpoint::shape(from, to),
            Self::Generic(dialect) => dialect.shape(from, to),
        }
    }

    /// What the vendor requires of every request and a caller left out.
    pub fn supply(&self, headers: &mut HeaderMap) {
        match self {
            Self::Catchpoint(_) => catchpoint::supply(headers),
            Self::Generic(_) => supply_user_agent(headers),
        }
    }

    /// Whether `key` can be put where the credential goes. Config asks at start.
    #[must_use]
    pub fn accepts_key(&self, key: &Secret) -> bool {
        match self {
            Self::Catchpoint(_) => generic::bears(key),
            Self::Generic(dialect) => dialect.accepts_key(key),
        }
    }

    /// Puts the vendor's key where it belongs; says the target to send.
    ///
    /// # Errors
    /// A key that [`Dialect::accepts_key`] denies; nothing must be sent then.
    pub fn sign(
        &self,
        headers: &mut HeaderMap,
        target: &Target,
        key: &Secret,
    ) -> Result<Signed, UnusableKey> {
        match self {
            Self::Catchpoint(_) => generic::sign_bearer(headers, key),
            Self::Generic(dialect) => dialect.sign(headers, target, key),
        }
    }

    /// What to change in the body of an answer with these headers, on its way to
    /// the caller. The edits read the identity form: undo the coding first.
    #[must_use]
    pub fn edits(&self, answer: &HeaderMap, links: &Arc<Links>) -> Option<Edits> {
        match self {
            Self::Catchpoint(_) => catchpoint::edits(answer, links),
            Self::Generic(_) => None,
        }
    }

    /// Whether bodies are edited at all, so that weir must be able to read their coding.
    #[must_use]
    pub fn edits_bodies(&self) -> bool {
        match self {
            Self::Catchpoint(_) => true,
            Self::Generic(_) => false,
        }
    }

    /// Whether an answer may be kept, by what was observed in its body while it
    /// was edited (none: it was not).
    #[must_use]
    pub fn keeping(&self, observed: Option<&Observed>) -> Keeping {
        match self {
            Self::Catchpoint(_) => catchpoint::keeping(observed),
            Self::Generic(_) => Keeping::May,
        }
    }

    /// What the vendor says that the whole account has used, in what was left out
    /// of a body.
    #[must_use]
    pub fn usage(&self, removed: &[u8]) -> Vec<Usage> {
        match self {
            Self::Catchpoint(_) => catchpoint::usage(removed),
            Self::Generic(_) => Vec::new(),
        }
    }

    /// An error that weir itself makes, in the vendor's shape.
    #[must_use]
    pub fn error_body(&self, status: StatusCode, message: &str, request_id: &str) -> ErrorBody {
        match self {
            Self::Catchpoint(_) => catchpoint::error_body(message, request_id),
            Self::Generic(_) => generic::error_body(status, message, request_id),
        }
    }

    /// The same where no upstream may have been found yet: RFC 9457 then.
    #[must_use]
    pub fn error_of(
        dialect: Option<&Self>,
        status: StatusCode,
        message: &str,
        request_id: &str,
    ) -> ErrorBody {
        match dialect {
            Some(dialect) => dialect.error_body(status, message, request_id),
            None => generic::error_body(status, message, request_id),
        }
    }

    /// How long an answer stays fresh by what the vendor's documents say of the
    /// data; none leaves it to the answer's own headers (RFC 9111).
    #[must_use]
    pub fn freshness(&self, method: &Method, target: &Target, now: UnixTime) -> Option<Duration> {
        match self {
            Self::Catchpoint(_) => catchpoint::freshness(method, target, now),
            Self::Generic(_) => None,
        }
    }

    /// Header fields of the vendor's answers that are about the one who asked and
    /// are never replayed from the cache.
    #[must_use]
    pub fn is_about_the_asker(&self, name: &HeaderName) -> bool {
        let name = name.as_str();
        name.starts_with("ratelimit") || name.starts_with("x-ratelimit") || name == "retry-after"
    }
}

/// What signing changed beside the headers.
#[derive(Clone, Debug)]
pub enum Signed {
    /// Nothing: the key is in a header.
    InHeader,
    /// The query to send instead; it holds the key and must not be logged.
    InQuery(Secret),
}

/// How weir calls itself where a caller said nothing.
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("weir/", env!("CARGO_PKG_VERSION")));

fn supply_user_agent(headers: &mut HeaderMap) {
    headers.entry(http::header::USER_AGENT).or_insert(USER_AGENT);
}
