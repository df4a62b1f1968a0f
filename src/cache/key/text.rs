//! A key spelt out: what is kept of it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::Method;
use sha2::{Digest, Sha256};

use super::{Hash, Scope, quick};
use crate::id::KeyName;
use crate::pattern;

/// All that a key says, in one block of bytes: who has it can say what it is about, but
/// works out its hashes anew each time. Cloning copies a pointer.
///
/// Upstream, the vendor key's name, method and path come first; those that a second level
/// lists have nothing else.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text(Arc<[u8]>);

/// More than this is not kept beside an answer, in bytes.
const MAX_LISTED_BYTES: usize = 512;

impl Text {
    pub(super) fn of(spelt: &[u8]) -> Self {
        Self(spelt.into())
    }

    /// A key as a second level lists it: enough to purge by, without the query.
    pub(in crate::cache) fn listed(scope: &Scope, method: &Method, path: &str) -> Self {
        let mut text = Vec::new();
        begin(&mut text, scope, method, path);
        Self::of(&text)
    }

    /// The same of this one, if all of it is too long to be kept where the answer is not.
    pub(in crate::cache) fn to_listed(&self) -> Self {
        if self.0.len() <= MAX_LISTED_BYTES { self.clone() } else { Self::of(self.listed_part()) }
    }

    /// Whether this is how `listed` lists a key like this one.
    pub(in crate::cache) fn is_listed_as(&self, listed: &Self) -> bool {
        *self.listed_part() == *listed.0
    }

    fn listed_part(&self) -> &[u8] {
        let mut rest = &*self.0;
        for _ in 0..4 {
            skip(&mut rest);
        }
        &self.0[..self.0.len() - rest.len()]
    }

    /// Whose answer it is: the vendor.
    #[must_use]
    pub fn upstream(&self) -> &str {
        self.part(0)
    }

    /// The name of the vendor's key; empty if there is none.
    pub(super) fn key_name(&self) -> &str {
        self.part(1)
    }

    /// Whose answer it is.
    ///
    /// # Panics
    /// Never: the names were names when they were put there.
    #[must_use]
    pub fn scope(&self) -> Scope {
        const NAME: &str = "it was a name when it was put there";
        let key = Some(self.key_name()).filter(|key| !key.is_empty());
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

    /// The same for every process; not of a listed one, which is not all that was hashed.
    pub(in crate::cache) fn hash(&self) -> Hash {
        Sha256::new().chain_update(b"weir cache key 2").chain_update(&self.0).finalize().into()
    }

    /// See [`Key::quick`](super::Key::quick).
    pub(in crate::cache) fn quick(&self) -> u64 {
        quick(&self.0)
    }

    /// As purges compare it; worked out anew each time, since hits do not ask.
    pub(in crate::cache) fn folded_path(&self) -> Cow<'_, str> {
        folded(self.path())
    }

    /// Bytes on the heap.
    pub(in crate::cache) fn weight(&self) -> usize {
        2 * size_of::<usize>() + self.0.len()
    }

    /// The first texts in it, in order: upstream, name of the vendor's key (empty if there
    /// is none), method, path.
    fn part(&self, number: usize) -> &str {
        let mut rest = &*self.0;
        for _ in 0..number {
            skip(&mut rest);
        }
        std::str::from_utf8(skip(&mut rest)).expect("it was a str when it was put there")
    }
}

impl fmt::Debug for Text {
    /// Without the query, which may hold what callers would not like to be logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} {}", self.scope(), self.method(), self.path())
    }
}

/// A path as purges compare it: folded like route patterns, no trailing slash.
pub(in crate::cache) fn folded(path: &str) -> Cow<'_, str> {
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
pub(super) fn begin(text: &mut Vec<u8>, scope: &Scope, method: &Method, path: &str) {
    text.clear();
    short(text, scope.upstream.as_str().as_bytes());
    // A name is never empty.
    short(text, scope.key.as_ref().map_or("", KeyName::as_str).as_bytes());
    short(text, method.as_str().as_bytes());
    short(text, path.as_bytes());
}

/// Appends a length and the bytes.
pub(in crate::cache) fn short(text: &mut Vec<u8>, bytes: &[u8]) {
    short_count(text, bytes.len());
    text.extend_from_slice(bytes);
}

/// Appends presence and, if present, length and bytes.
pub(super) fn short_optional(text: &mut Vec<u8>, bytes: Option<&[u8]>) {
    text.push(u8::from(bytes.is_some()));
    if let Some(bytes) = bytes {
        short(text, bytes);
    }
}

/// Appends a number, seven bits at a time, the lowest first: nearly all are one byte,
/// and every hit hashes the text.
pub(super) fn short_count(text: &mut Vec<u8>, mut count: usize) {
    let low = |count: usize| u8::try_from(count & 0x7f).unwrap_or_default();
    while count >= 0x80 {
        text.push(low(count) | 0x80);
        count >>= 7;
    }
    text.push(low(count));
}

/// Takes what [`short`] appended from the front.
pub(in crate::cache) fn skip<'a>(text: &mut &'a [u8]) -> &'a [u8] {
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
