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

use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::ops::Range;
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
    parts: Arc<Parts>,
    head: bool,
}

struct Parts {
    scope: Scope,
    method: Method,
    text: Box<[u8]>,
    /// Where in it the path is.
    path: Range<usize>,
    hash: OnceLock<Hash>,
}

/// Nobody outside can make keys that meet in a table.
static OF_THIS_PROCESS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Takes the hash that a [`Key`] has already.
pub(super) type Hashed = BuildHasherDefault<Taken>;

/// See [`Hashed`].
#[derive(Default)]
pub(super) struct Taken(u64);

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
        scope: Scope,
        method: &Method,
        target: &Target,
        keyed: &HeaderMap,
        body: Option<&[u8]>,
    ) -> Self {
        let head = method == Method::HEAD;
        let method = if head { Method::GET } else { method.clone() };
        let query_bytes = target.query().map_or(0, str::len);
        let mut text = Vec::with_capacity(192 + target.path().len() + query_bytes);
        field(&mut text, scope.upstream.as_str().as_bytes());
        optional(&mut text, scope.key.as_ref().map(|key| key.as_str().as_bytes()));
        field(&mut text, method.as_str().as_bytes());
        field(&mut text, target.path().as_bytes());
        let path = text.len() - target.path().len()..text.len();
        optional(&mut text, target.query().map(str::as_bytes));
        headers(&mut text, keyed);
        optional(&mut text, body);
        let quick = OF_THIS_PROCESS.hash_one(text.as_slice());
        let parts = Parts { scope, method, text: text.into(), path, hash: OnceLock::new() };
        Self { quick, parts: Arc::new(parts), head }
    }

    /// The fetch that this request needs, if it sends these headers.
    #[must_use]
    pub fn flight(&self, sent: &HeaderMap) -> FlightKey {
        let mut text = Vec::with_capacity(256);
        headers(&mut text, sent);
        let quick = OF_THIS_PROCESS.hash_one((self.quick, self.head, text.as_slice()));
        FlightKey { quick, key: self.clone(), sent: text.into() }
    }

    /// A key as a second level lists it: enough to purge by, without the query.
    pub(super) fn listed(hash: Hash, scope: Scope, method: Method, path: &str) -> Self {
        let (text, path) = (path.as_bytes().into(), 0..path.len());
        let parts = Parts { scope, method, text, path, hash: OnceLock::from(hash) };
        Self { quick: 0, parts: Arc::new(parts), head: false }
    }

    /// The same for a stored answer, which is never one to a HEAD.
    pub(super) fn stored(&self) -> Self {
        Self { head: false, ..self.clone() }
    }

    /// Whose answer it is.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.parts.scope
    }

    /// The path, canonical, without query.
    #[must_use]
    pub fn path(&self) -> &str {
        std::str::from_utf8(&self.parts.text[self.parts.path.clone()])
            .expect("it was a str when it was put there")
    }

    /// The method; GET also for a HEAD.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.parts.method
    }

    pub(super) fn hash(&self) -> Hash {
        let of = |text| Sha256::new().chain_update(b"weir cache key 1").chain_update(text).finalize().into();
        *self.parts.hash.get_or_init(|| of(&self.parts.text))
    }

    /// As purges compare it; worked out anew each time, since hits do not ask.
    pub(super) fn folded_path(&self) -> Box<str> {
        folded(self.path())
    }

    /// Bytes on the heap.
    pub(super) fn weight(&self) -> usize {
        size_of::<Parts>() + self.parts.text.len()
    }
}

impl PartialEq for Key {
    /// The whole text, in which the scope is: no hash decides what is served to whom
    /// (law 10).
    fn eq(&self, other: &Self) -> bool {
        self.quick == other.quick && self.parts.text == other.parts.text
    }
}

impl Eq for Key {}

impl std::hash::Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.quick);
    }
}

impl Hasher for Taken {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    /// Keys write one number and nothing else; anything would do here.
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    }
}

impl fmt::Debug for Key {
    /// Without the query, which may hold what callers would not like to be logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?} {} {})", self.parts.scope, self.parts.method, self.path())
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
    pub fn selects(&self, key: &Key) -> bool {
        let scope = key.scope();
        match self {
            Self::All => true,
            Self::Upstream(upstream) => *upstream == scope.upstream,
            Self::Scope(of) => of == scope,
            Self::Path(upstream, path) => *upstream == scope.upstream && folded(path) == key.folded_path(),
            Self::Prefix(upstream, prefix) => {
                *upstream == scope.upstream && key.folded_path().starts_with(&*pattern::fold(prefix))
            }
            Self::Resource(upstream, resource) => {
                *upstream == scope.upstream && resource.touches(&key.folded_path())
            }
            Self::Matching(upstream, pattern) => {
                *upstream == scope.upstream && pattern.matches_path(key.path())
            }
        }
    }
}

/// A path as purges compare it: folded like route patterns, no trailing slash.
pub(super) fn folded(path: &str) -> Box<str> {
    let path = pattern::fold(path);
    match path.trim_end_matches('/') {
        "" => "/".into(),
        path => path.into(),
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
mod tests {
    use http::HeaderValue;
    use http::header::{ACCEPT, ACCEPT_LANGUAGE};
    use proptest::prelude::*;

    use super::*;

    fn scope(upstream: &str, key: Option<&str>) -> Scope {
        Scope { upstream: upstream.parse().unwrap(), key: key.map(|key| key.parse().unwrap()) }
    }

    fn key(scope: Scope, method: &Method, path: &str, query: Option<&str>) -> Key {
        Key::new(scope, method, &Target::parse(path, query).unwrap(), &HeaderMap::new(), None)
    }

    #[test]
    fn get_and_head_share_a_key_but_no_flight() {
        let get = key(scope("u", None), &Method::GET, "/a", None);
        let head = key(scope("u", None), &Method::HEAD, "/a", None);
        assert_eq!(get, head);
        assert_eq!(get.hash(), head.hash());
        let [get, head] = [get, head].map(|key| key.flight(&HeaderMap::new()));
        assert_ne!(get.hash(), head.hash());
        assert_ne!(get, head);
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let all = [
            key(scope("a", Some("bc")), &Method::GET, "/d", None),
            key(scope("ab", Some("c")), &Method::GET, "/d", None),
            key(scope("abc", None), &Method::GET, "/d", None),
            key(scope("a", Some("bc")), &Method::GET, "/d", Some("e")),
            key(scope("a", Some("bc")), &Method::GET, "/de", None),
            key(scope("a", Some("bc")), &Method::POST, "/d", None),
        ];
        for (i, one) in all.iter().enumerate() {
            for other in &all[i + 1..] {
                assert_ne!(one.hash(), other.hash(), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn flights_tell_apart_whatever_is_sent() {
        let key = key(scope("u", None), &Method::GET, "/a", None);
        let mut one = HeaderMap::new();
        one.insert(ACCEPT, HeaderValue::from_static("a/b"));
        one.insert(ACCEPT_LANGUAGE, HeaderValue::from_static("de"));
        let mut same = HeaderMap::new();
        same.insert(ACCEPT_LANGUAGE, HeaderValue::from_static("de"));
        same.insert(ACCEPT, HeaderValue::from_static("a/b"));
        assert_eq!(key.flight(&one).hash(), key.flight(&same).hash());
        assert_eq!(key.flight(&one), key.flight(&same));
        same.append(ACCEPT, HeaderValue::from_static("c/d"));
        assert_ne!(key.flight(&one).hash(), key.flight(&same).hash());
        assert_ne!(key.flight(&one), key.flight(&same));
    }

    #[test]
    fn selectors_mean_what_they_say() {
        let key = key(scope("cp", Some("main")), &Method::GET, "/api/v4/Tests/", Some("a=1"));
        let up = |name: &str| name.parse::<UpstreamName>().unwrap();
        for yes in [
            Selector::All,
            Selector::Upstream(up("cp")),
            Selector::Scope(scope("cp", Some("main"))),
            Selector::Path(up("cp"), "/api/v4/tests".into()),
            Selector::Prefix(up("cp"), "/API/v4/".into()),
        ] {
            assert!(yes.selects(&key), "{yes:?}");
        }
        for no in [
            Selector::Upstream(up("c")),
            Selector::Scope(scope("cp", None)),
            Selector::Path(up("cp"), "/api/v4".into()),
            Selector::Path(up("x"), "/api/v4/tests".into()),
            Selector::Prefix(up("cp"), "/api/v5".into()),
        ] {
            assert!(!no.selects(&key), "{no:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Law 10: two scopes never share a key, whatever is asked.
        #[test]
        fn scopes_never_meet(
            (a, b) in ("[ab]{1,3}", "[ab]{1,3}"),
            (ka, kb) in (proptest::option::of("[ab]{1,3}"), proptest::option::of("[ab]{1,3}")),
            path in "/[ab]{0,3}",
        ) {
            let one = key(scope(&a, ka.as_deref()), &Method::GET, &path, None);
            let two = key(scope(&b, kb.as_deref()), &Method::GET, &path, None);
            prop_assert_eq!(one.hash() == two.hash(), a == b && ka == kb);
        }
    }
}
