//! What an answer is kept under.
//!
//! A key is the scope (whose answer), the method, the canonical target, the
//! keyed headers and, for a cacheable POST, its body: all of these in one text,
//! each with its length in front, so that no two different keys are spelt alike.
//! In memory keys are found by a hash of it that is this process's own, and told
//! apart by the whole text; beyond this process the text goes by its SHA-256, which
//! is worked out when it is first asked for: hits do not.
//! GET and HEAD share a key, since a stored GET answers both. They do not share
//! a flight: the answer to a HEAD has no body to give to a GET.

mod hashed;
mod text;

use std::cell::RefCell;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, LazyLock, OnceLock};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use crate::dialect::Resource;
use crate::id::{KeyName, UpstreamName};
use crate::pattern::{self, Pattern};
use crate::target::Target;

pub(super) use self::hashed::Hashed;
pub use self::text::Text;
pub(super) use self::text::folded;
use self::text::short;
use self::text::{begin, short_count, short_optional};

/// SHA-256 of what the thing is made of.
pub(super) type Hash = [u8; 32];

/// The first eight bytes: a digest where little is at stake.
pub(super) fn beginning(hash: &Hash) -> u64 {
    hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Whose answers these are: an upstream's, as seen with one of its keys. The
/// key's name, never its value. Divisions that share a key share a scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// The vendor.
    pub upstream: UpstreamName,
    /// The vendor key's label; none in a keyless upstream.
    pub key: Option<KeyName>,
}

/// Names one thing that can be asked for. Cheap to clone.
#[derive(Clone)]
pub struct Key {
    /// Of the whole text, by [`OF_THIS_PROCESS`].
    quick: u64,
    text: Text,
    head: bool,
    /// The text's, as soon as somebody has asked for it.
    hash: OnceLock<Hash>,
}

/// Nobody outside can make keys that meet in a table.
static OF_THIS_PROCESS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// What keys are found by in memory.
fn quick(text: &[u8]) -> u64 {
    OF_THIS_PROCESS.hash_one(text)
}

thread_local! {
    /// Where a key is spelt out before its length is known.
    static SPELT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Names one fetch: requests with the same flight key send the same bytes.
#[derive(Clone)]
pub struct FlightKey {
    /// Of the key and all that is sent, by [`OF_THIS_PROCESS`].
    quick: u64,
    key: Key,
    /// The fields that are sent, as text.
    sent: Arc<[u8]>,
}

/// Which entries a purge, or a write, is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Selector {
    /// Everything.
    All,
    /// All of one vendor's.
    Upstream(UpstreamName),
    /// All that was fetched with one key: what the admin calls a division.
    Scope(Scope),
    /// This path (compared folded, any query and method) under every scope.
    Path(UpstreamName, String),
    /// Every path that begins with this text (compared folded), under every scope.
    Prefix(UpstreamName, String),
    /// Whatever this resource touches, under every scope.
    Resource(UpstreamName, Resource),
    /// Every path that the pattern means, whatever its methods, under every scope.
    Matching(UpstreamName, Pattern),
}

impl Key {
    /// The key of a request. `keyed` holds the headers that shape the answer, in
    /// canonical spelling (none in a plain RFC 9111 cache, where `Vary` decides);
    /// `body` the canonical body of a cacheable POST.
    #[must_use]
    pub fn new(
        scope: &Scope,
        method: &Method,
        target: &Target,
        keyed: &HeaderMap,
        body: Option<&[u8]>,
    ) -> Self {
        let head = method == Method::HEAD;
        let method = if head { &Method::GET } else { method };
        let (quick, text) = SPELT.with_borrow_mut(|text| {
            begin(text, scope, method, target.path());
            short_optional(text, target.query().map(str::as_bytes));
            // Those of one name stay in their order; to look each name up is to hash it.
            let mut lines: SmallVec<[(&HeaderName, &HeaderValue); 8]> = keyed.iter().collect();
            lines.sort_by_key(|(name, _)| name.as_str());
            short_count(text, keyed.keys_len());
            for of_one in lines.chunk_by(|(one, _), (other, _)| one == other) {
                short(text, of_one[0].0.as_str().as_bytes());
                short_count(text, of_one.len());
                of_one.iter().for_each(|(_, value)| short(text, value.as_bytes()));
            }
            short_optional(text, body);
            (quick(text), Text::of(text))
        });
        Self { quick, text, head, hash: OnceLock::new() }
    }

    /// The fetch that this request needs, if it sends these headers.
    #[must_use]
    pub fn flight(&self, sent: &HeaderMap) -> FlightKey {
        let mut text = Vec::with_capacity(256);
        headers(&mut text, sent);
        let quick = OF_THIS_PROCESS.hash_one((self.quick, self.head, text.as_slice()));
        FlightKey { quick, key: self.clone(), sent: text.into() }
    }

    /// What is kept of it.
    #[must_use]
    pub fn text(&self) -> &Text {
        &self.text
    }

    pub(super) fn quick(&self) -> u64 {
        self.quick
    }

    pub(super) fn hash(&self) -> Hash {
        *self.hash.get_or_init(|| self.text.hash())
    }
}

impl PartialEq for Key {
    /// The whole text, in which the scope is: no hash decides what is served to whom
    /// (law 10).
    fn eq(&self, other: &Self) -> bool {
        self.quick == other.quick && self.text == other.text
    }
}

impl Eq for Key {}

impl std::hash::Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.quick);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.text)
    }
}

impl FlightKey {
    /// The same for every process; worked out anew each time.
    pub(super) fn hash(&self) -> Hash {
        let mut text = b"weir flight key 1".to_vec();
        field(&mut text, &self.key.hash());
        field(&mut text, &[u8::from(self.key.head)]);
        text.extend_from_slice(&self.sent);
        Sha256::digest(&text).into()
    }

    /// What tells most flights of this process apart.
    pub(super) fn quick(&self) -> u64 {
        self.quick
    }

    /// What the fetch's answer would be kept under.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }
}

impl PartialEq for FlightKey {
    /// All that is sent: no hash decides who joins whom (law 11).
    fn eq(&self, other: &Self) -> bool {
        let head = self.key.head == other.key.head;
        self.quick == other.quick && head && self.key == other.key && self.sent == other.sent
    }
}

impl Eq for FlightKey {}

impl std::hash::Hash for FlightKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.quick);
    }
}

impl fmt::Debug for FlightKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FlightKey({:?})", self.key)
    }
}

impl Selector {
    /// Whether `key` is among those meant.
    #[must_use]
    pub fn selects(&self, key: &Text) -> bool {
        let is_in = |upstream: &UpstreamName| upstream.as_str() == key.upstream();
        match self {
            Self::All => true,
            Self::Upstream(upstream) => is_in(upstream),
            Self::Scope(of) => {
                is_in(&of.upstream) && of.key.as_ref().map_or("", KeyName::as_str) == key.key_name()
            }
            Self::Path(upstream, path) => is_in(upstream) && folded(path) == key.folded_path(),
            Self::Prefix(upstream, prefix) => {
                is_in(upstream) && key.folded_path().starts_with(&*pattern::fold(prefix))
            }
            Self::Resource(upstream, resource) => is_in(upstream) && resource.touches(&key.folded_path()),
            Self::Matching(upstream, pattern) => is_in(upstream) && pattern.matches_path(key.path()),
        }
    }
}

/// Appends header fields by name, values in their order.
fn headers(text: &mut Vec<u8>, headers: &HeaderMap) {
    let mut names: SmallVec<[&HeaderName; 8]> = headers.keys().collect();
    names.sort_unstable_by_key(|name| name.as_str());
    count(text, names.len());
    for name in names {
        field(text, name.as_str().as_bytes());
        let values = headers.get_all(name);
        count(text, values.iter().count());
        for value in values {
            field(text, value.as_bytes());
        }
    }
}

/// Appends a length and the bytes.
pub(super) fn field(text: &mut Vec<u8>, bytes: &[u8]) {
    count(text, bytes.len());
    text.extend_from_slice(bytes);
}

/// Appends presence and, if present, length and bytes.
pub(super) fn optional(text: &mut Vec<u8>, bytes: Option<&[u8]>) {
    text.push(u8::from(bytes.is_some()));
    if let Some(bytes) = bytes {
        field(text, bytes);
    }
}

fn count(text: &mut Vec<u8>, count: usize) {
    text.extend_from_slice(&(count as u64).to_le_bytes());
}

#[cfg(test)]
mod tests;
