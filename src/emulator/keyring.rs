//! Who may call, and as whom.

use http::{HeaderMap, header};

use crate::clock::UnixTime;

use super::answer::Query;
use super::options::{Key, Vendor};

/// The keys the vendor has issued. They compare in plain time: a test double
/// guards nothing.
#[derive(Debug)]
pub(crate) struct Keyring {
    vendor: Vendor,
    keys: Vec<Issued>,
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
    /// The number of a key that was valid once.
    Expired(usize),
    /// No key, a wrong one, or one that was revoked.
    Unknown,
}

impl Keyring {
    pub(crate) fn new(vendor: Vendor, keys: Vec<Key>) -> Self {
        let keys = keys.into_iter().map(|key| Issued { key, revoked: false }).collect();
        Self { vendor, keys }
    }

    /// Who this is, at `wall` on the vendor's clock.
    pub(crate) fn identify(&self, headers: &HeaderMap, query: &Query, wall: UnixTime) -> Identity {
        let bearer = bearer(headers);
        if self.keys.is_empty() {
            let open = self.vendor == Vendor::Generic || bearer.is_some_and(|token| !token.is_empty());
            return if open { Identity::Anybody } else { Identity::Unknown };
        }
        let presents = |secret: &str| match self.vendor {
            Vendor::Catchpoint => bearer == Some(secret),
            Vendor::Generic => anywhere(headers, query, secret),
        };
        let found =
            self.keys.iter().position(|issued| !issued.revoked && presents(issued.key.secret.expose()));
        match found {
            Some(index) if self.keys[index].key.expires.is_some_and(|end| wall >= end) => {
                Identity::Expired(index)
            }
            Some(index) => Identity::Known(index),
            None => Identity::Unknown,
        }
    }

    pub(crate) fn key(&self, identity: Identity) -> Option<&Key> {
        match identity {
            Identity::Known(index) | Identity::Expired(index) => {
                self.keys.get(index).map(|issued| &issued.key)
            }
            Identity::Anybody | Identity::Unknown => None,
        }
    }

    /// Whether there was a valid key of this label or secret to revoke.
    pub(crate) fn revoke(&mut self, label_or_secret: &str) -> bool {
        let named = |key: &Key| key.label == label_or_secret || key.secret.expose() == label_or_secret;
        let mut any = false;
        for issued in self.keys.iter_mut().filter(|issued| !issued.revoked && named(&issued.key)) {
            (issued.revoked, any) = (true, true);
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

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
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

    fn with(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn keys_end_and_are_revoked() {
        let ended = Key { expires: Some(UnixTime::from_secs(100)), ..Key::client("old", "one") };
        let mut ring = Keyring::new(Vendor::Catchpoint, vec![ended, Key::division("web", "two")]);
        let who = |ring: &Keyring, value, at| {
            ring.identify(&with(value), &Query::default(), UnixTime::from_secs(at))
        };
        assert_eq!(who(&ring, "Bearer one", 99), Identity::Known(0));
        assert_eq!(who(&ring, "Bearer one", 100), Identity::Expired(0));
        assert_eq!(who(&ring, "bearer two", 100), Identity::Known(1));
        assert_eq!(who(&ring, "Basic two", 100), Identity::Unknown);
        assert!(ring.revoke("web") && !ring.revoke("web"));
        assert_eq!(who(&ring, "Bearer two", 100), Identity::Unknown);
    }

    #[test]
    fn without_keys_any_token_will_do() {
        let ring = Keyring::new(Vendor::Catchpoint, Vec::new());
        let at = UnixTime::from_secs(1);
        assert_eq!(ring.identify(&with("Bearer x"), &Query::default(), at), Identity::Anybody);
        assert_eq!(ring.identify(&HeaderMap::new(), &Query::default(), at), Identity::Unknown);
    }

    #[test]
    fn a_generic_origin_finds_its_key_anywhere() {
        let ring = Keyring::new(Vendor::Generic, vec![Key::client("k", "user:pass")]);
        let at = UnixTime::from_secs(1);
        let query = Query::parse("a=b&key=user%3Apass");
        assert_eq!(ring.identify(&HeaderMap::new(), &query, at), Identity::Known(0));
        assert_eq!(ring.identify(&with("Basic dXNlcjpwYXNz"), &Query::default(), at), Identity::Known(0));
        assert_eq!(ring.identify(&with("Bearer no"), &Query::default(), at), Identity::Unknown);
    }
}
