//! Which value of a vendor key is sent: of two that are valid at once, the first
//! that has not expired and that the vendor has not refused.

use std::sync::atomic::{AtomicBool, Ordering};

use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};

use crate::clock::UnixTime;
use crate::config::{Key, KeyValue};
use crate::dialect::oauth::Client;
use crate::id::KeyName;

/// The keys of one upstream, and which of their values the vendor has refused.
#[derive(Debug)]
pub(super) struct Keys {
    keys: Vec<Key>,
    refused: Vec<Vec<AtomicBool>>,
}

/// How one value of a key stands; never the value itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyState {
    /// The key's label.
    pub name: KeyName,
    /// Which of its values: 0 is the first in the configuration.
    pub value: usize,
    /// The first moment at which it is no longer valid, if that is known.
    pub expires: Option<UnixTime>,
    /// Whether the vendor has refused it.
    pub is_refused: bool,
    /// Whether it is the one that is sent now.
    pub is_in_use: bool,
}

/// One value of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    /// Index into the upstream's keys.
    pub(super) key: usize,
    /// Index into its values.
    pub(super) value: usize,
}

impl Keys {
    pub(super) fn new(keys: &[Key]) -> Self {
        let refused = keys.iter().map(|key| key.values.iter().map(|_| AtomicBool::new(false)).collect());
        Self { keys: keys.to_vec(), refused: refused.collect() }
    }

    /// The same for other keys; what the vendor has refused stays refused.
    pub(super) fn succeed(&self, keys: &[Key]) -> Self {
        let next = Self::new(keys);
        for (key, refused) in next.keys.iter().zip(&next.refused) {
            let Some(before) = self.keys.iter().position(|known| known.name == key.name) else { continue };
            for (value, refused) in key.values.iter().zip(refused) {
                let mut known = self.keys[before].values.iter().zip(&self.refused[before]);
                let was = known.find(|(known, _)| known.value.is_same(&value.value));
                refused.store(was.is_some_and(|(_, was)| was.load(Ordering::Relaxed)), Ordering::Relaxed);
            }
        }
        next
    }

    /// Whether these are the same keys, values and all.
    pub(super) fn are(&self, keys: &[Key]) -> bool {
        let is_same = |(old, new): (&KeyValue, &KeyValue)| {
            let clients = match (&old.client, &new.client) {
                (None, None) => true,
                (Some(old), Some(new)) => is_same_client(old, new),
                _ => false,
            };
            clients && old.value.is_same(&new.value)
        };
        let pairs = || self.keys.iter().zip(keys);
        self.keys.len() == keys.len()
            && pairs().all(|(old, new)| old.name == new.name && old.values.len() == new.values.len())
            && pairs().all(|(old, new)| old.values.iter().zip(&new.values).all(is_same))
    }

    /// Every value as it stands at `now`.
    pub(super) fn states(&self, now: UnixTime) -> Vec<KeyState> {
        let state = |(key, value): (usize, usize)| {
            let chosen = self.choose(key, now).is_some_and(|(chosen, _)| chosen.value == value);
            KeyState {
                name: self.keys[key].name.clone(),
                value,
                expires: self.keys[key].values[value].expires,
                is_refused: self.refused[key][value].load(Ordering::Relaxed),
                is_in_use: chosen,
            }
        };
        let all = self.keys.iter().enumerate();
        all.flat_map(|(key, values)| (0..values.values.len()).map(move |value| (key, value)))
            .map(state)
            .collect()
    }

    /// The value of `key` to send now. If none is good any more, the first one:
    /// what the vendor says to it is the truth.
    pub(super) fn choose(&self, key: usize, now: UnixTime) -> Option<(Chosen, &KeyValue)> {
        let values = &self.keys.get(key)?.values;
        let value = (0..values.len()).find(|&value| self.is_good(key, value, now)).unwrap_or(0);
        Some((Chosen { key, value }, values.get(value)?))
    }

    /// The vendor has refused it. Says whether another one is worth trying.
    pub(super) fn refuse(&self, chosen: Chosen, now: UnixTime) -> bool {
        let refused = &self.refused[chosen.key];
        let is_news = !refused[chosen.value].swap(true, Ordering::Relaxed);
        let another = (0..refused.len()).any(|value| self.is_good(chosen.key, value, now));
        if is_news {
            let name = &self.keys[chosen.key].name;
            tracing::error!(key = %name, value = chosen.value + 1, another, "the vendor refuses this key");
        }
        another
    }

    fn is_good(&self, key: usize, value: usize, now: UnixTime) -> bool {
        let expires = self.keys[key].values[value].expires;
        expires.is_none_or(|end| now < end) && !self.refused[key][value].load(Ordering::Relaxed)
    }
}

/// Whether both get the same token.
fn is_same_client(old: &Client, new: &Client) -> bool {
    let via = match (&old.via, &new.via) {
        (None, None) => true,
        (Some(old), Some(new)) => old.id.is_same(&new.id) && old.secret.is_same(&new.secret),
        _ => false,
    };
    via && old.id.is_same(&new.id) && old.secret.is_same(&new.secret)
}

/// Whether an answer says that the key is no good. A CDN's page says nothing about it.
pub(super) fn is_about_the_key(status: StatusCode, headers: &HeaderMap) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) && !is_page(headers)
}

/// Whether an answer is a page for people, as intermediaries make them.
pub(super) fn is_page(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/html"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn the_next_value_takes_over() {
        let value = |expires: Option<u64>| KeyValue {
            value_v1: None,
            client: None,
            value: Secret::new("k".into()),
            expires: expires.map(UnixTime::from_secs),
        };
        let keys =
            Keys::new(&[Key { name: "main".parse().unwrap(), values: vec![value(Some(100)), value(None)] }]);
        let at = |secs| keys.choose(0, UnixTime::from_secs(secs)).unwrap().0.value;
        assert_eq!((at(99), at(100)), (0, 1));
        let first = keys.choose(0, UnixTime::from_secs(1)).unwrap().0;
        assert!(keys.refuse(first, UnixTime::from_secs(1)));
        let second = keys.choose(0, UnixTime::from_secs(1)).unwrap().0;
        assert_eq!(second.value, 1);
        assert!(!keys.refuse(second, UnixTime::from_secs(1)), "nothing is left to try");
        assert_eq!(at(1), 0);
        assert!(keys.choose(1, UnixTime::from_secs(1)).is_none());
    }
}
