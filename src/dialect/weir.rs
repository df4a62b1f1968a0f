//! Another weir: a sidecar's way to the central one.
//!
//! To the central weir a sidecar is one consumer, with a token of its own. It has no
//! limits unless config says so: the central one counts, waits and refuses, in the
//! shape of its own vendor's errors, and all of that is passed on (`proxy/relay.rs`).
//! The caller's token stands where the sidecar's goes, as Bearer; what the sidecar
//! itself refuses is an RFC 9457 problem, since it does not know the vendor.

use std::borrow::Cow;

use http::header::ACCEPT_LANGUAGE;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{ErrorBody, Signed, UnusableKey, accept, generic};
use crate::secret::Secret;

/// Asks for all pages of a list, which is another answer than one page.
const PAGES: HeaderName = HeaderName::from_static("weir-pages");

pub(super) fn presented(headers: &HeaderMap) -> Option<Cow<'_, [u8]>> {
    generic::bearer(headers)
}

pub(super) fn shape(from: &HeaderMap, to: &mut HeaderMap) {
    accept::shape(from, to);
    accept::respell(ACCEPT_LANGUAGE, accept::Fold::All, from, to);
    if from.get(PAGES).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"all")) {
        to.insert(PAGES, HeaderValue::from_static("all"));
    }
}

pub(super) fn sign(headers: &mut HeaderMap, token: &Secret) -> Result<Signed, UnusableKey> {
    generic::sign_bearer(headers, token)
}

pub(super) fn error_body(status: http::StatusCode, message: &str, request_id: &str) -> ErrorBody {
    generic::error_body(status, message, request_id)
}

/// What the central weir says of one exchange; a refusal's `Retry-After` holds for all
/// who joined, since to the central weir they are one.
pub(super) fn is_about_the_asker(name: &str) -> bool {
    const OTHERS: &[&str] =
        &["weir-price", "cache-status", "preference-applied", "x-request-id", "proxy-status"];
    name.starts_with("ratelimit") || OTHERS.contains(&name)
}
