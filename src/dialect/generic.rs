//! Any JSON API, by configuration alone.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, ACCEPT_LANGUAGE, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use zeroize::Zeroizing;

use super::accept::{Fold, respell};
use super::{ErrorBody, Signed, UnusableKey};
use crate::secret::Secret;
use crate::target::Target;

/// A vendor known by config alone.
#[derive(Clone, Debug)]
pub struct Generic {
    /// Where the key goes; none is a plain RFC 9111 cache without a key.
    pub credential: Option<Credential>,
}

/// Where the key goes, and where a consumer's token stands in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// A header of its own.
    Header(HeaderName),
    /// A query parameter, by its decoded name.
    Query(String),
    /// `Authorization: Basic`, the key being `user:password`. A consumer's token is
    /// the password of any user, or the user if the password is empty.
    Basic,
}

impl Generic {
    pub(super) fn presented<'a>(&self, headers: &'a HeaderMap, target: &'a Target) -> Option<Cow<'a, [u8]>> {
        let token = match &self.credential {
            None | Some(Credential::Bearer) => bearer(headers),
            Some(Credential::Header(name)) => {
                only(headers.get_all(name).iter()).map(|value| Cow::Borrowed(value.as_bytes().trim_ascii()))
            }
            Some(Credential::Query(name)) => only(target.values(name)).map(|value| match value {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            }),
            Some(Credential::Basic) => basic(headers).map(Cow::Owned),
        };
        token.filter(|token| !token.is_empty())
    }

    /// `Authorization` goes in any case: beside the vendor's key it would be a
    /// second identity, which the cache's scope does not know of.
    pub(super) fn strip(&self, headers: &mut HeaderMap, target: &mut Target) {
        headers.remove(AUTHORIZATION);
        match &self.credential {
            None | Some(Credential::Bearer | Credential::Basic) => {}
            Some(Credential::Header(name)) => drop(headers.remove(name)),
            Some(Credential::Query(name)) => *target = target.without(&[name]),
        }
    }

    pub(super) fn accepts_key(&self, key: &Secret) -> bool {
        let text = key.expose();
        match &self.credential {
            None => false,
            Some(Credential::Bearer) => bears(key),
            Some(Credential::Header(_)) => {
                !text.is_empty()
                    && text.trim() == text
                    && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
            }
            Some(Credential::Query(_)) => !text.is_empty(),
            // RFC 7617, section 2: no control characters, and the user ends at the first colon.
            Some(Credential::Basic) => text.contains(':') && !text.chars().any(char::is_control),
        }
    }

    pub(super) fn sign(
        &self,
        headers: &mut HeaderMap,
        target: &Target,
        key: &Secret,
    ) -> Result<Signed, UnusableKey> {
        if !self.accepts_key(key) {
            return Err(UnusableKey);
        }
        match &self.credential {
            None => Err(UnusableKey),
            Some(Credential::Bearer) => sign_bearer(headers, key),
            Some(Credential::Header(name)) => in_header(headers, name.clone(), key.expose()),
            Some(Credential::Query(name)) => {
                Ok(Signed::InQuery(Secret::new(target.query_with(name, key.expose()))))
            }
            Some(Credential::Basic) => {
                let encoded = Zeroizing::new(STANDARD.encode(key.expose()));
                in_header(headers, AUTHORIZATION, &Zeroizing::new(format!("Basic {}", *encoded)))
            }
        }
    }

    /// With a key, the few fields that APIs negotiate by. Without one, all there
    /// are: hop-by-hop fields and what the cache itself answers to have been taken
    /// out by then, and `Vary` decides what is keyed.
    pub(super) fn shape(&self, from: &HeaderMap, to: &mut HeaderMap) {
        if self.credential.is_none() {
            to.extend(from.clone());
            return;
        }
        respell(ACCEPT, Fold::Names, from, to);
        respell(ACCEPT_LANGUAGE, Fold::All, from, to);
        respell(CONTENT_TYPE, Fold::Names, from, to);
    }
}

/// The token of `Authorization: Bearer` (RFC 6750, section 2.1; any case of the scheme).
pub(super) fn bearer(headers: &HeaderMap) -> Option<Cow<'_, [u8]>> {
    credentials(headers, b"bearer").filter(|token| !token.is_empty()).map(Cow::Borrowed)
}

/// Whether `key` can stand after `Bearer`.
pub(super) fn bears(key: &Secret) -> bool {
    !key.expose().is_empty() && key.expose().bytes().all(|b| b.is_ascii_graphic())
}

pub(super) fn sign_bearer(headers: &mut HeaderMap, key: &Secret) -> Result<Signed, UnusableKey> {
    if !bears(key) {
        return Err(UnusableKey);
    }
    in_header(headers, AUTHORIZATION, &Zeroizing::new(format!("Bearer {}", key.expose())))
}

pub(super) fn in_header(
    headers: &mut HeaderMap,
    name: HeaderName,
    text: &str,
) -> Result<Signed, UnusableKey> {
    let mut value = HeaderValue::from_str(text).map_err(|_| UnusableKey)?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(Signed::InHeader)
}

/// What follows the `scheme` (in lower case) in the only `Authorization`.
pub(super) fn credentials<'a>(headers: &'a HeaderMap, scheme: &[u8]) -> Option<&'a [u8]> {
    // A look at each name is cheaper than to hash one.
    let all = headers.iter().filter(|(name, _)| **name == AUTHORIZATION);
    let value = only(all)?.1.as_bytes();
    let (name, rest) = value.split_at_checked(scheme.len())?;
    let is_it = name.eq_ignore_ascii_case(scheme) && rest.first() == Some(&b' ');
    is_it.then(|| rest.trim_ascii())
}

/// The one there is. Two would be two identities: whoever reads the other one
/// sees somebody else.
pub(super) fn only<T>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// The token in `Authorization: Basic`.
fn basic(headers: &HeaderMap) -> Option<Vec<u8>> {
    let decoded = STANDARD.decode(credentials(headers, b"basic")?).ok()?;
    let colon = decoded.iter().position(|&b| b == b':')?;
    let (user, password) = (&decoded[..colon], &decoded[colon + 1..]);
    Some(if password.is_empty() { user } else { password }.to_vec())
}

/// RFC 9457, section 3; the id is an extension member.
pub(super) fn error_body(status: StatusCode, message: &str, request_id: &str) -> ErrorBody {
    #[derive(Serialize)]
    struct Problem<'a> {
        r#type: &'static str,
        title: &'static str,
        status: u16,
        detail: &'a str,
        request_id: &'a str,
    }
    let problem = Problem {
        r#type: "about:blank",
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail: message,
        request_id,
    };
    let bytes = serde_json::to_vec(&problem).expect("texts and a number have a JSON form");
    ErrorBody { content_type: HeaderValue::from_static("application/problem+json"), bytes: bytes.into() }
}

#[cfg(test)]
mod tests;
