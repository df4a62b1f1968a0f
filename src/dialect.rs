//! How each vendor speaks: a closed set, one file per API.
//!
//! Pure: no clock, no I/O, no client. A dialect is told what was asked and says
//! where the credential stands, which class of limits a route belongs to, what
//! the vendor would refuse anyway, how long an answer stays fresh and what has
//! to change in a body on its way to the caller.

mod accept;
mod catchpoint;
mod catchpoint_v1;
mod form;
mod generic;
pub mod json;
pub mod links;
mod netskope;
pub mod oauth;
mod pages;
mod privx;
mod resource;
mod route;
mod sandbox;
mod verdict;
mod weir;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode};

use crate::clock::UnixTime;
use crate::quota::{Limit, RouteClass};
use crate::secret::Secret;
use crate::target::Target;

use accept::supply_user_agent;

pub use catchpoint::{Catchpoint, Usage};
pub use generic::{Credential, Generic};
pub use json::{Editor, Edits, Observed};
pub use links::{Links, Rewritten};
pub use netskope::body::{Place, Split};
pub use oauth::OAuth;
pub use pages::{Next, NotAPage, Pages, Walk};
pub use resource::Resource;
pub use route::Route;
pub use sandbox::Sandbox;
pub use verdict::{ErrorBody, Keeping, Manner, Signed, UnusableKey, Verdict};

/// One vendor API, with what config says about it.
#[derive(Clone, Debug)]
pub enum Dialect {
    /// Catchpoint's REST API, v2 and later.
    Catchpoint(Catchpoint),
    /// Catchpoint's legacy pull API.
    CatchpointV1,
    /// Recorded Future Sandbox.
    Sandbox(Sandbox),
    /// PrivX.
    Privx,
    /// Netskope, v1 and v2.
    Netskope,
    /// Any JSON API, by configuration alone.
    Generic(Generic),
    /// Another weir.
    Weir,
}

/// The names config knows, in the order of INTERFACE.
pub const NAMES: &[&str] =
    &["catchpoint", "catchpoint-v1", "recorded-future-sandbox", "privx", "netskope", "generic", "weir"];

impl Dialect {
    /// The name that config calls it by.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Catchpoint(_) => "catchpoint",
            Self::CatchpointV1 => "catchpoint-v1",
            Self::Sandbox(_) => "recorded-future-sandbox",
            Self::Privx => "privx",
            Self::Netskope => "netskope",
            Self::Generic(_) => "generic",
            Self::Weir => "weir",
        }
    }

    /// Whether the other end is a weir, whose refusals and prices are passed on.
    #[must_use]
    pub fn is_weir(&self) -> bool {
        matches!(self, Self::Weir)
    }

    /// The classes that a limit's `routes` may name.
    #[must_use]
    pub fn classes(&self) -> &'static [RouteClass] {
        match self {
            Self::Catchpoint(_) | Self::CatchpointV1 => catchpoint::CLASSES,
            Self::Netskope => netskope::CLASSES,
            Self::Sandbox(_) | Self::Privx | Self::Generic(_) | Self::Weir => &[],
        }
    }

    /// The limits that hold unless config says otherwise.
    #[must_use]
    pub fn default_limits(&self) -> Vec<Limit> {
        match self {
            Self::Catchpoint(_) | Self::CatchpointV1 => catchpoint::default_limits(),
            Self::Netskope => netskope::default_limits(),
            Self::Sandbox(_) | Self::Privx | Self::Generic(_) | Self::Weir => Vec::new(),
        }
    }

    /// The route that a request is for.
    #[must_use]
    pub fn route(&self, method: &Method, path: &str) -> Route {
        match self {
            Self::Catchpoint(_) => catchpoint::route(method, path),
            Self::CatchpointV1 => catchpoint_v1::class(method, path).into(),
            Self::Netskope => netskope::class(path).into(),
            Self::Sandbox(_) | Self::Privx | Self::Generic(_) | Self::Weir => RouteClass("any").into(),
        }
    }

    /// Whether a request only reads, and so is allowed to everyone with access.
    #[must_use]
    pub fn reads(&self, method: &Method, path: &str) -> bool {
        match self {
            Self::Catchpoint(_) => catchpoint::reads(method, path),
            Self::Privx => privx::reads(method, path),
            Self::Netskope => netskope::reads(method, path),
            _ => method == Method::GET || method == Method::HEAD,
        }
    }

    /// How a request and its answer have to be handled, whatever rules say.
    #[must_use]
    pub fn manner(&self, path: &str) -> Manner {
        match self {
            Self::Sandbox(_) => sandbox::manner(path),
            Self::Privx => privx::manner(path),
            Self::Netskope => netskope::manner(path),
            Self::Catchpoint(_) | Self::CatchpointV1 | Self::Generic(_) | Self::Weir => Manner::Shared,
        }
    }

    /// The target as this vendor has it, where one API comes in several shapes.
    #[must_use]
    pub fn canonical(&self, target: Target) -> Target {
        match self {
            Self::Sandbox(dialect) => dialect.canonical(target),
            _ => target,
        }
    }

    /// How tokens are exchanged, if this vendor does.
    #[must_use]
    pub fn oauth(&self) -> Option<OAuth> {
        match self {
            Self::CatchpointV1 => Some(OAuth::CatchpointV1),
            Self::Privx => Some(OAuth::Privx),
            _ => None,
        }
    }

    /// The consumer's token, from where the vendor's own credential would stand.
    #[must_use]
    pub fn presented<'a>(&self, headers: &'a HeaderMap, target: &'a Target) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Catchpoint(_) | Self::CatchpointV1 | Self::Sandbox(_) | Self::Privx => {
                generic::bearer(headers)
            }
            Self::Netskope => netskope::presented(headers, target),
            Self::Generic(dialect) => dialect.presented(headers, target),
            Self::Weir => weir::presented(headers),
        }
    }

    /// Whether `path` is one of an older API beside the vendor's own, with a key of its own.
    #[must_use]
    pub fn is_v1(&self, path: &str) -> bool {
        matches!(self, Self::Netskope) && netskope::is_v1(path)
    }

    /// Whether the body of such a request may hold the credential, so that it has to
    /// be read first; see [`Dialect::split_body`].
    #[must_use]
    pub fn may_sign_in_body(&self, method: &Method, target: &Target, headers: &HeaderMap) -> bool {
        match self {
            Self::Netskope => {
                method == Method::POST
                    && netskope::is_v1(target.path())
                    && netskope::body::may_hold_one(headers)
            }
            _ => false,
        }
    }

    /// A body without the credential in it.
    #[must_use]
    pub fn split_body(&self, headers: &HeaderMap, body: Bytes) -> Split {
        match self {
            Self::Netskope => netskope::body::split(headers, body),
            _ => Split { place: Place::Query, token: None, rest: body },
        }
    }

    /// What [`Dialect::split_body`] left, with the vendor's key where the caller's was.
    ///
    /// # Errors
    /// The body cannot hold a key.
    pub fn body_with_key(&self, place: Place, rest: &[u8], key: &Secret) -> Result<Bytes, UnusableKey> {
        netskope::body::joined(place, rest, key)
    }

    /// Removes the caller's credential from what is sent on. For a keyless dialect call
    /// it only if a token is what proved the caller: otherwise its `Authorization` is
    /// meant for the vendor.
    pub fn strip(&self, headers: &mut HeaderMap, target: &mut Target) {
        match self {
            Self::Catchpoint(_) | Self::CatchpointV1 | Self::Sandbox(_) | Self::Privx | Self::Weir => {
                headers.remove(http::header::AUTHORIZATION);
            }
            Self::Netskope => netskope::strip(headers, target),
            Self::Generic(dialect) => dialect.strip(headers, target),
        }
    }

    /// What is wrong with a request that the documents say is refused.
    #[must_use]
    pub fn check(&self, route: Route, target: &Target) -> Verdict {
        match self {
            Self::Catchpoint(dialect) => dialect.check(route, target),
            _ => Verdict::Pass,
        }
    }

    /// Sets the closed list of headers that may shape a cacheable answer, each in
    /// its canonical spelling: these are keyed and sent (DESIGN, law 11).
    pub fn shape(&self, from: &HeaderMap, to: &mut HeaderMap) {
        match self {
            Self::Catchpoint(_) => catchpoint::shape(from, to),
            Self::CatchpointV1 => catchpoint_v1::shape(to),
            Self::Sandbox(_) | Self::Privx | Self::Netskope => accept::shape(from, to),
            Self::Generic(dialect) => dialect.shape(from, to),
            Self::Weir => weir::shape(from, to),
        }
    }

    /// What the vendor requires of every request and a caller left out.
    pub fn supply(&self, headers: &mut HeaderMap) {
        match self {
            Self::Catchpoint(_) => catchpoint::supply(headers),
            Self::CatchpointV1 => catchpoint_v1::supply(headers),
            _ => supply_user_agent(headers),
        }
    }

    /// Whether `key` can be put where the credential goes. Config asks at start.
    #[must_use]
    pub fn accepts_key(&self, key: &Secret) -> bool {
        match self {
            Self::Generic(dialect) => dialect.accepts_key(key),
            _ => generic::bears(key),
        }
    }

    /// Puts the vendor's key (or its token, see [`Dialect::oauth`]) where it belongs;
    /// says what of the request to send instead. `place` is where the caller's stood.
    ///
    /// # Errors
    /// A key that [`Dialect::accepts_key`] denies; nothing must be sent then.
    pub fn sign(
        &self,
        headers: &mut HeaderMap,
        target: &Target,
        place: Place,
        key: &Secret,
    ) -> Result<Signed, UnusableKey> {
        match self {
            Self::Catchpoint(_) | Self::CatchpointV1 | Self::Sandbox(_) | Self::Privx => {
                generic::sign_bearer(headers, key)
            }
            Self::Netskope => netskope::sign(headers, target, place, key),
            Self::Generic(dialect) => dialect.sign(headers, target, key),
            Self::Weir => weir::sign(headers, key),
        }
    }

    /// What to change in the body of an answer with these headers, or to observe in
    /// it. The edits read the identity form: undo the coding first.
    #[must_use]
    pub fn edits(&self, path: &str, answer: &HeaderMap, links: &Arc<Links>) -> Option<Edits> {
        match self {
            Self::Catchpoint(_) => catchpoint::edits(answer, links),
            Self::CatchpointV1 => catchpoint_v1::edits(answer),
            Self::Sandbox(_) => sandbox::edits(path, answer),
            Self::Netskope => netskope::edits(path, answer),
            Self::Privx | Self::Generic(_) | Self::Weir => None,
        }
    }

    /// Whether bodies at `path` are edited at all, so that weir must be able to read
    /// their coding.
    #[must_use]
    pub fn edits_bodies(&self, path: &str) -> bool {
        match self {
            Self::Catchpoint(_) | Self::CatchpointV1 => true,
            Self::Sandbox(_) | Self::Netskope => self.manner(path) == Manner::Shared,
            Self::Privx | Self::Generic(_) | Self::Weir => false,
        }
    }

    /// Whether an answer may be kept, by what was observed in its body while it
    /// was edited (none: it was not).
    #[must_use]
    pub fn keeping(&self, observed: Option<&Observed>) -> Keeping {
        match self {
            Self::Catchpoint(_) => catchpoint::keeping(observed),
            Self::CatchpointV1 => catchpoint_v1::keeping(observed),
            Self::Sandbox(_) => sandbox::keeping(observed),
            Self::Netskope => netskope::keeping(observed),
            Self::Privx | Self::Generic(_) | Self::Weir => Keeping::May,
        }
    }

    /// Whether answers of this status may be kept at all, whatever rules say.
    #[must_use]
    pub fn may_keep(&self, status: StatusCode) -> bool {
        match self {
            Self::Sandbox(_) => sandbox::may_keep(status),
            _ => true,
        }
    }

    /// What the vendor says that the whole account has used, in what was left out
    /// of a body.
    #[must_use]
    pub fn usage(&self, removed: &[u8]) -> Vec<Usage> {
        match self {
            Self::Catchpoint(_) => catchpoint::usage(removed),
            _ => Vec::new(),
        }
    }

    /// An error that weir itself makes, in the vendor's shape.
    #[must_use]
    pub fn error_body(&self, status: StatusCode, message: &str, request_id: &str) -> ErrorBody {
        match self {
            Self::Catchpoint(_) => catchpoint::error_body(message, request_id),
            Self::CatchpointV1 => catchpoint_v1::error_body(message),
            Self::Sandbox(_) => sandbox::error_body(status, message),
            Self::Privx => privx::error_body(status, message),
            Self::Netskope => netskope::error_body(status, message),
            Self::Generic(_) => generic::error_body(status, message, request_id),
            Self::Weir => weir::error_body(status, message, request_id),
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
    /// data at this route; none leaves it to the answer's own headers (RFC 9111).
    #[must_use]
    pub fn freshness(&self, route: Route, asked: (&Method, &Target), now: UnixTime) -> Option<Duration> {
        let (method, target) = asked;
        match self {
            Self::Catchpoint(_) => catchpoint::freshness(route, target, now),
            Self::CatchpointV1 => catchpoint_v1::freshness(method, target, now),
            Self::Sandbox(_) => sandbox::freshness(method, target),
            Self::Netskope => netskope::freshness(method, target, now),
            Self::Privx | Self::Generic(_) | Self::Weir => None,
        }
    }

    /// Header fields of the vendor's answers that are about the one who asked and
    /// are never replayed from the cache.
    #[must_use]
    pub fn is_about_the_asker(&self, name: &HeaderName) -> bool {
        let name = name.as_str();
        if self.is_weir() {
            return weir::is_about_the_asker(name);
        }
        name.starts_with("ratelimit") || name.starts_with("x-ratelimit") || name == "retry-after"
    }
}
