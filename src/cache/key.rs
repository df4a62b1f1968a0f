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

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock, OnceLock};

use http::{HeaderMap, HeaderName, Method};
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use crate::dialect::Resource;
use crate::id::{KeyName, UpstreamName};
use crate::pattern::{self, Pattern};
use crate::target::Target;

/// SHA-256 of what the thing is made of.
pub(super) type Hash = [u8; 32];

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
    /// Upstream, the vendor key's name, method and path come first; see [`Key::part`].
    text: Arc<[u8]>,
    head: bool,
    hash: OnceLock<Hash>,
}

/// Nobody outside can make keys that meet in a table.
static OF_THIS_PROCESS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

thread_local! {
    /// Where a key is spelt out before its length is known.
    static SPELT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Names one fetch: requests with the same flight key send the same bytes.
#[derive(Clone)]
pub struct FlightKey {
    hash: Hash,
    key: Key,
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
            let mut names: SmallVec<[&HeaderName; 8]> = keyed.keys().collect();
            names.sort_unstable_by_key(|name| name.as_str());
            short_count(text, names.len());
            for name in names {
                short(text, name.as_str().as_bytes());
                short_count(text, keyed.get_all(name).iter().count());
                keyed.get_all(name).iter().for_each(|value| short(text, value.as_bytes()));
            }
            short_optional(text, body);
            (OF_THIS_PROCESS.hash_one(text.as_slice()), text.as_slice().into())
        });
        Self { quick, text, head, hash: OnceLock::new() }
    }

    /// The fetch that this request needs, if it sends these headers.
    #[must_use]
    pub fn flight(&self, sent: &HeaderMap) -> FlightKey {
        let mut text = b"weir flight key 1".to_vec();
        field(&mut text, &self.hash());
        field(&mut text, &[u8::from(self.head)]);
        headers(&mut text, sent);
        FlightKey { hash: Sha256::digest(&text).into(), key: self.clone() }
    }

    /// A key as a second level lists it: enough to purge by, without the query.
    pub(super) fn listed(hash: Hash, scope: &Scope, method: &Method, path: &str) -> Self {
        let mut text = Vec::new();
        begin(&mut text, scope, method, path);
        Self { quick: 0, text: text.into(), head: false, hash: OnceLock::from(hash) }
    }

    /// The same for a stored answer, which is never one to a HEAD.
    pub(super) fn stored(&self) -> Self {
        Self { head: false, ..self.clone() }
    }

    /// Whose answer it is: the vendor.
    #[must_use]
    pub fn upstream(&self) -> &str {
        self.part(0)
    }

    /// Whose answer it is.
    ///
    /// # Panics
    /// Never: the names were names when they were put there.
    #[must_use]
    pub fn scope(&self) -> Scope {
        const NAME: &str = "it was a name when it was put there";
        let key = Some(self.part(1)).filter(|key| !key.is_empty());
        Scope { upstream: self.upstream().parse().expect(NAME), key: key.map(|key| key.parse().expect(NAME)) }
    }

    /// The path, canonical, without query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.part(3)
    }

    /// The method; GET also for a HEAD.
    ///
    /// # Panics
    /// Never: it was a method when it was put there.
    #[must_use]
    pub fn method(&self) -> Method {
        Method::from_bytes(self.part(2).as_bytes()).expect("it was a method when it was put there")
    }

    pub(super) fn hash(&self) -> Hash {
        let of = |text| Sha256::new().chain_update(b"weir cache key 2").chain_update(text).finalize().into();
        *self.hash.get_or_init(|| of(&self.text))
    }

    /// A hash for tables of this process.
    pub(super) fn quick(&self) -> u64 {
        self.quick
    }

    /// As purges compare it; worked out anew each time, since hits do not ask.
    pub(super) fn folded_path(&self) -> Cow<'_, str> {
        folded(self.path())
    }

    /// Bytes on the heap.
    pub(super) fn weight(&self) -> usize {
        2 * size_of::<usize>() + self.text.len()
    }

    /// The first texts in it, in order: upstream, name of the vendor's key (empty if there
    /// is none), method, path.
    fn part(&self, number: usize) -> &str {
        let mut rest = &*self.text;
        for _ in 0..number {
            skip(&mut rest);
        }
        std::str::from_utf8(skip(&mut rest)).expect("it was a str when it was put there")
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

impl fmt::Debug for Key {
    /// Without the query, which may hold what callers would not like to be logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?} {} {})", self.scope(), self.method(), self.path())
    }
}

impl FlightKey {
    pub(super) fn hash(&self) -> Hash {
        self.hash
    }

    /// What the fetch's answer would be kept under.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
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
    pub fn selects(&self, key: &Key) -> bool {
        let is_in = |upstream: &UpstreamName| upstream.as_str() == key.upstream();
        match self {
            Self::All => true,
            Self::Upstream(upstream) => is_in(upstream),
            Self::Scope(of) => {
                is_in(&of.upstream) && of.key.as_ref().map_or("", KeyName::as_str) == key.part(1)
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

/// A path as purges compare it: folded like route patterns, no trailing slash.
pub(super) fn folded(path: &str) -> Cow<'_, str> {
    let trimmed = |path: &str| path.trim_end_matches('/').len().max(1).min(path.len());
    match pattern::fold(path) {
        Cow::Borrowed(path) => Cow::Borrowed(&path[..trimmed(path)]),
        Cow::Owned(mut path) => {
            path.truncate(trimmed(&path));
            Cow::Owned(path)
        }
    }
}

/// Writes what every key begins with, and nothing else, into `text`.
fn begin(text: &mut Vec<u8>, scope: &Scope, method: &Method, path: &str) {
    text.clear();
    short(text, scope.upstream.as_str().as_bytes());
    // A name is never empty.
    short(text, scope.key.as_ref().map_or("", KeyName::as_str).as_bytes());
    short(text, method.as_str().as_bytes());
    short(text, path.as_bytes());
}

/// Appends a length and the bytes.
fn short(text: &mut Vec<u8>, bytes: &[u8]) {
    short_count(text, bytes.len());
    text.extend_from_slice(bytes);
}

/// Appends presence and, if present, length and bytes.
fn short_optional(text: &mut Vec<u8>, bytes: Option<&[u8]>) {
    text.push(u8::from(bytes.is_some()));
    if let Some(bytes) = bytes {
        short(text, bytes);
    }
}

/// Appends a number, seven bits at a time, the lowest first: nearly all are one byte,
/// and every hit hashes the text.
fn short_count(text: &mut Vec<u8>, mut count: usize) {
    let low = |count: usize| u8::try_from(count & 0x7f).unwrap_or_default();
    while count >= 0x80 {
        text.push(low(count) | 0x80);
        count >>= 7;
    }
    text.push(low(count));
}

/// Takes what [`short`] appended from the front.
fn skip<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let (mut len, mut shift) = (0, 0);
    while let Some((byte, rest)) = text.split_first() {
        *text = rest;
        len |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let (bytes, rest) = text.split_at(len.min(text.len()));
    *text = rest;
    bytes
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
