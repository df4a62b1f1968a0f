//! Who may call, and as whom.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use http::{HeaderMap, header};
use serde_json::Value;

use crate::clock::UnixTime;

use super::answer::Query;
use super::options::{Key, Options, Vendor};
use super::sign_in::media_type;
use super::tokens::{Kind, Tokens};

/// The keys the vendor has issued, and the tokens it gave out for them. They
/// compare in plain time: a test double guards nothing.
#[derive(Debug)]
pub(crate) struct Keyring {
    vendor: Vendor,
    keys: Vec<Issued>,
    pub(crate) tokens: Tokens,
}

#[derive(Debug)]
struct Issued {
    key: Key,
    revoked: bool,
}

/// Who a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The number of a valid key.
    Known(usize),
    /// Any caller, where no keys were configured.
    Anybody,
    /// The number of a key that was valid once, if there is one.
    Expired(Option<usize>),
    /// No key, a wrong one, or one that was revoked.
    Unknown,
}

/// Where in a request a credential may stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Presented<'a> {
    pub(crate) path: &'a str,
    pub(crate) query: &'a Query,
    pub(crate) headers: &'a HeaderMap,
    /// Empty where it is read only after the limits have counted.
    pub(crate) body: &'a [u8],
}

impl Keyring {
    pub(crate) fn new(options: &Options) -> Self {
        let keys = options.keys.iter().map(|key| Issued { key: key.clone(), revoked: false }).collect();
        let lifetime = options.token_lifetime.unwrap_or_else(|| options.vendor.token_lifetime());
        Self { vendor: options.vendor, keys, tokens: Tokens::new(options.seed, lifetime) }
    }

    pub(crate) fn vendor(&self) -> Vendor {
        self.vendor
    }

    /// Whether no keys were configured, so that every one will do.
    pub(crate) fn is_open(&self) -> bool {
        self.keys.is_empty()
    }

    /// Who this is, at `wall` on the vendor's clock.
    pub(crate) fn identify(&self, from: Presented<'_>, wall: UnixTime) -> Identity {
        let bearer = bearer(from.headers);
        match self.vendor {
            Vendor::CatchpointV1 => return self.identify_token(bearer, true, wall),
            Vendor::Privx => return self.identify_token(bearer, false, wall),
            Vendor::Catchpoint | Vendor::RecordedFutureSandbox | Vendor::Netskope | Vendor::Generic => {}
        }
        let shown = match self.vendor {
            Vendor::Netskope => netskope_token(from),
            _ => bearer.map(Cow::Borrowed),
        };
        if self.keys.is_empty() {
            let open = self.vendor == Vendor::Generic || shown.is_some_and(|token| !token.is_empty());
            return if open { Identity::Anybody } else { Identity::Unknown };
        }
        let presents = |secret: &str| match self.vendor {
            Vendor::Generic => anywhere(from.headers, from.query, secret),
            _ => shown.as_deref() == Some(secret),
        };
        let found =
            self.keys.iter().position(|issued| !issued.revoked && presents(issued.key.secret.expose()));
        match found {
            Some(index) if has_ended(&self.keys[index].key, wall) => Identity::Expired(Some(index)),
            Some(index) => Identity::Known(index),
            None => Identity::Unknown,
        }
    }

    /// By a token of the vendor's own; some clients encode it once more.
    fn identify_token(&self, bearer: Option<&str>, may_be_encoded: bool, wall: UnixTime) -> Identity {
        let Some(bearer) = bearer else { return Identity::Unknown };
        let decoded = [&STANDARD, &URL_SAFE].map(|engine| engine.decode(bearer).ok());
        let decoded = decoded.into_iter().flatten().filter_map(|bytes| String::from_utf8(bytes).ok());
        let forms = [bearer.to_owned()].into_iter().chain(decoded.filter(|_| may_be_encoded));
        let found = forms.filter_map(|form| self.tokens.find(Kind::Access, &form, wall)).next();
        match found {
            None => Identity::Unknown,
            Some((key, false)) => Identity::Expired(key),
            Some((None, true)) => Identity::Anybody,
            Some((Some(key), true)) => Identity::Known(key),
        }
    }

    pub(crate) fn key(&self, identity: Identity) -> Option<&Key> {
        match identity {
            Identity::Known(index) | Identity::Expired(Some(index)) => {
                self.keys.get(index).map(|issued| &issued.key)
            }
            Identity::Anybody | Identity::Expired(None) | Identity::Unknown => None,
        }
    }

    /// The number of the first key that is valid at `wall` and `is` the one.
    pub(crate) fn find(&self, wall: UnixTime, is: impl Fn(&Key) -> bool) -> Option<usize> {
        self.keys
            .iter()
            .position(|issued| !issued.revoked && !has_ended(&issued.key, wall) && is(&issued.key))
    }

    /// Whether there was a valid key of this label or secret to revoke; its tokens
    /// go with it.
    pub(crate) fn revoke(&mut self, label_or_secret: &str) -> bool {
        let named = |key: &Key| key.label == label_or_secret || key.secret.expose() == label_or_secret;
        let mut any = false;
        for (number, issued) in self.keys.iter_mut().enumerate() {
            if !issued.revoked && named(&issued.key) {
                (issued.revoked, any) = (true, true);
                self.tokens.revoke_of(number);
            }
        }
        any
    }

    /// A further key. The number of a key never changes.
    pub(crate) fn issue(&mut self, key: Key) {
        self.keys.push(Issued { key, revoked: false });
    }
}

impl Identity {
    /// The owner of limits per key; `None` if not authorized.
    pub(crate) fn owner(self) -> Option<usize> {
        match self {
            Self::Known(index) => Some(index),
            Self::Anybody => Some(usize::MAX),
            Self::Expired(_) | Self::Unknown => None,
        }
    }
}

fn has_ended(key: &Key, wall: UnixTime) -> bool {
    key.expires.is_some_and(|end| wall >= end)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// v2 takes a header; v1 the query, or a field of a form or of a JSON body.
fn netskope_token(from: Presented<'_>) -> Option<Cow<'_, str>> {
    if from.path.starts_with("/api/v2/") {
        return from.headers.get("netskope-api-token")?.to_str().ok().map(Cow::Borrowed);
    }
    if let Some(token) = from.query.get("token") {
        return Some(Cow::Borrowed(token));
    }
    match media_type(from.headers).as_deref() {
        Some("application/json") => {
            let body: Value = serde_json::from_slice(from.body).ok()?;
            Some(Cow::Owned(body.get("token")?.as_str()?.to_owned()))
        }
        Some("application/x-www-form-urlencoded") => {
            let form = Query::parse(&String::from_utf8_lossy(from.body));
            form.get("token").map(|token| Cow::Owned(token.to_owned()))
        }
        _ => None,
    }
}
/// In any header, bare or after a scheme (Basic: `user:password` encoded), or
/// as any query value: a generic origin does not care where its key stands.
fn anywhere(headers: &HeaderMap, query: &Query, secret: &str) -> bool {
    let basic = data_encoding::BASE64.encode(secret.as_bytes());
    let says = |value: &str| {
        let word = value.rsplit(' ').next().unwrap_or_default();
        value == secret || word == secret || word == basic
    };
    headers.values().filter_map(|value| value.to_str().ok()).any(says)
        || query.0.iter().any(|(_, value)| value == secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(vendor: Vendor, keys: Vec<Key>) -> Keyring {
        Keyring::new(&Options { vendor, keys, ..Options::default() })
    }

    fn identify(ring: &Keyring, headers: &HeaderMap, query: &Query, at: UnixTime) -> Identity {
        ring.identify(Presented { path: "/", query, headers, body: b"" }, at)
    }

    fn with(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn keys_end_and_are_revoked() {
        let ended = Key { expires: Some(UnixTime::from_secs(100)), ..Key::client("old", "one") };
        let mut ring = ring(Vendor::Catchpoint, vec![ended, Key::division("web", "two")]);
        let who = |ring: &Keyring, value, at| {
            identify(ring, &with(value), &Query::default(), UnixTime::from_secs(at))
        };
        assert_eq!(who(&ring, "Bearer one", 99), Identity::Known(0));
        assert_eq!(who(&ring, "Bearer one", 100), Identity::Expired(Some(0)));
        assert_eq!(who(&ring, "bearer two", 100), Identity::Known(1));
        assert_eq!(who(&ring, "Basic two", 100), Identity::Unknown);
        assert!(ring.revoke("web") && !ring.revoke("web"));
        assert_eq!(who(&ring, "Bearer two", 100), Identity::Unknown);
    }

    #[test]
    fn without_keys_any_token_will_do() {
        let ring = ring(Vendor::Catchpoint, Vec::new());
        let at = UnixTime::from_secs(1);
        assert_eq!(identify(&ring, &with("Bearer x"), &Query::default(), at), Identity::Anybody);
        assert_eq!(identify(&ring, &HeaderMap::new(), &Query::default(), at), Identity::Unknown);
    }

    #[test]
    fn a_generic_origin_finds_its_key_anywhere() {
        let ring = ring(Vendor::Generic, vec![Key::client("k", "user:pass")]);
        let at = UnixTime::from_secs(1);
        let query = Query::parse("a=b&key=user%3Apass");
        assert_eq!(identify(&ring, &HeaderMap::new(), &query, at), Identity::Known(0));
        assert_eq!(identify(&ring, &with("Basic dXNlcjpwYXNz"), &Query::default(), at), Identity::Known(0));
        assert_eq!(identify(&ring, &with("Bearer no"), &Query::default(), at), Identity::Unknown);
    }
}
