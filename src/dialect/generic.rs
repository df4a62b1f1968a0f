//! Any JSON API, by configuration alone.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{ErrorBody, Signed};
use crate::secret::Secret;
use crate::target::Target;

/// A vendor known by config alone.
#[derive(Clone, Debug)]
pub struct Generic {
    /// Where the key goes; none is a plain RFC 9111 cache without a key.
    pub credential: Option<Credential>,
}

/// Where the key goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// A header of its own.
    Header(HeaderName),
    /// A query parameter.
    Query(String),
    /// `Authorization: Basic`, the key being `user:password`.
    Basic,
}

impl Generic {
    pub(super) fn presented<'a>(&self, headers: &'a HeaderMap, _target: &'a Target) -> Option<Cow<'a, [u8]>> {
        bearer(headers)
    }

    pub(super) fn strip(&self, headers: &mut HeaderMap, target: Target) -> Target {
        headers.remove(AUTHORIZATION);
        target
    }

    pub(super) fn sign(&self, headers: &mut HeaderMap, _target: &Target, key: &Secret) -> Signed {
        sign_bearer(headers, key)
    }
}

pub(super) fn bearer(headers: &HeaderMap) -> Option<Cow<'_, [u8]>> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let token =
        value.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case(b"bearer ")).map(|_| &value[7..])?;
    Some(Cow::Borrowed(token.trim_ascii()))
}

pub(super) fn sign_bearer(headers: &mut HeaderMap, key: &Secret) -> Signed {
    if let Ok(mut value) = HeaderValue::try_from(format!("Bearer {}", key.expose())) {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Signed::InHeader
}

pub(super) fn shape(_from: &HeaderMap, _to: &mut HeaderMap) {}

pub(super) fn supply(_headers: &mut HeaderMap) {}

pub(super) fn error_body(_status: StatusCode, _message: &str, _request_id: &str) -> ErrorBody {
    ErrorBody { content_type: HeaderValue::from_static("application/problem+json"), bytes: Bytes::new() }
}
