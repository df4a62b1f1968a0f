//! Request targets: refused when they are ambiguous, otherwise one canonical
//! spelling that is both the cache's key and what is sent (DESIGN, "The life of
//! a request").
//!
//! Paths are never repaired. Dot segments, hidden slashes, a backslash, `//`,
//! control characters and broken UTF-8 (each also percent-encoded, also twice)
//! have no canonical form that every server between us and the data agrees on,
//! so they are a 400.
//!
//! Queries are sorted by name (stable: repeats keep their order), since APIs
//! AND their parameters. Only escapes that mean the same everywhere are undone:
//! unreserved characters and `:,/@`; never `%2B %26 %3D` nor `+`. `a` and `a=`
//! stay different, `;` is no separator, empty parameters (`&&`) are left out.
//! Printable characters that RFC 3986 wants escaped in a query (`[`, `|`, …)
//! are escaped there, because widespread clients send them raw and every server
//! reads both alike; in a path they are refused.

mod query;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::uri::PathAndQuery;

/// The most bytes of path and query together, as received and as sent.
pub const MAX_TARGET_BYTES: usize = 8 * 1024;

/// A canonical path and query. Two targets that mean the same are equal.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Target {
    path: Arc<str>,
    query: Option<String>,
}

/// Why a target was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// Does not begin with `/`.
    #[error("the path must begin with '/'")]
    Relative,
    /// `.` or `..` as a segment (also with a `;…` after it), also percent-encoded.
    #[error("the path has a dot segment")]
    DotSegment,
    /// `//`.
    #[error("the path has an empty segment ('//')")]
    EmptySegment,
    /// `%2F`, `%5C` or a backslash.
    #[error("the path has an encoded slash or a backslash")]
    HiddenSlash,
    /// A control character; in a path also percent-encoded.
    #[error("the path or query has a control character")]
    Control,
    /// A `%` without two hex digits after it.
    #[error("the path or query has a '%' that is not followed by two hex digits")]
    Escape,
    /// Bytes that may not stand unescaped in a URI (RFC 3986, section 3.3).
    #[error("the path or query has a character that must be percent-encoded")]
    Character,
    /// `%252F` and its like: what it means depends on how often a server decodes.
    #[error("the path has a dot, slash, backslash or '%' that is percent-encoded twice")]
    EncodedTwice,
    /// The decoded path is not UTF-8; `%C0%AE` is a dot to some servers.
    #[error("the path is not UTF-8 when decoded")]
    NotUtf8,
    /// Over [`MAX_TARGET_BYTES`].
    #[error("the path and query together are longer than 8 KiB")]
    TooLong,
}

impl Target {
    /// The canonical form of a received path and query (without its `?`).
    ///
    /// # Errors
    /// What is ambiguous is refused, see [`BadTarget`].
    pub fn parse(path: &str, query: Option<&str>) -> Result<Self, BadTarget> {
        if path.len() + query.map_or(0, str::len) > MAX_TARGET_BYTES {
            return Err(BadTarget::TooLong);
        }
        let path: Arc<str> = canonical_path(path)?.into();
        let query = query::canonical(query.unwrap_or_default())?;
        if path.len() + query.as_ref().map_or(0, String::len) > MAX_TARGET_BYTES {
            return Err(BadTarget::TooLong);
        }
        Ok(Self { path, query })
    }

    /// The path, beginning with `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The same for one who keeps it.
    #[must_use]
    pub fn shared_path(&self) -> Arc<str> {
        Arc::clone(&self.path)
    }

    /// The query without its `?`; none if it was missing or empty.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The parameters in canonical order, names and values as they are sent.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        query::pieces(self.query().unwrap_or_default()).map(|p| p.split_once('=').unwrap_or((p, "")))
    }

    /// The decoded values of the parameter whose decoded name is `name`, in order.
    /// A `+` stays a plus.
    pub fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
        self.pairs().filter(move |(is, _)| query::decode(is) == name).map(|(_, value)| query::decode(value))
    }

    /// The same without the parameters whose decoded names are in `names`.
    #[must_use]
    pub fn without<S: AsRef<str>>(&self, names: &[S]) -> Self {
        let leaves = |piece: &&str| {
            let name = query::decode(query::name(piece));
            !names.iter().any(|n| n.as_ref() == name)
        };
        let kept: Vec<&str> = query::pieces(self.query().unwrap_or_default()).filter(leaves).collect();
        Self { path: self.path.clone(), query: (!kept.is_empty()).then(|| kept.join("&")) }
    }

    /// The same with this value for the parameter whose decoded name is `name`, which
    /// stands once. The value is in canonical spelling.
    #[must_use]
    pub fn replacing(&self, name: &str, value: &str) -> Self {
        let replaced = query::pieces(self.query().unwrap_or_default()).map(|piece| {
            let spelt = query::name(piece);
            if query::decode(spelt) == name { format!("{spelt}={value}") } else { piece.to_owned() }
        });
        Self { path: self.path.clone(), query: Some(replaced.collect::<Vec<_>>().join("&")) }
    }

    /// The query with one more parameter at its end, escaped as needed. It may
    /// be a secret, which is why it does not become a target.
    #[must_use]
    pub fn query_with(&self, name: &str, value: &str) -> String {
        let mut query = self.query.clone().unwrap_or_default();
        if !query.is_empty() {
            query.push('&');
        }
        query::escape(name, &mut query);
        query.push('=');
        query::escape(value, &mut query);
        query
    }

    /// What is left below the mount `/x` (empty for all); none if this path is not under it.
    #[must_use]
    pub fn strip_mount(&self, mount: &str) -> Option<Self> {
        let rest = self.path.get(mount.len()..).filter(|_| is_under(&self.path, mount))?;
        let path = if rest.is_empty() { "/" } else { rest };
        Some(Self { path: path.into(), query: self.query.clone() })
    }

    /// The same under the base path `/x` of an upstream (empty for none).
    ///
    /// # Errors
    /// A base path that is itself no good path, or the whole is too long.
    pub fn with_prefix(&self, base_path: &str) -> Result<Self, BadTarget> {
        if base_path.is_empty() {
            return Ok(self.clone());
        }
        Self::parse(&format!("{base_path}{}", self.path), self.query())
    }

    /// For a request line or `:path`.
    #[must_use]
    pub fn path_and_query(&self) -> PathAndQuery {
        PathAndQuery::try_from(self.to_string())
            .expect("canonical targets hold only characters that RFC 3986 allows, and are short")
    }
}

/// As it is sent. Not for logs before the caller's credential has been stripped.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        match &self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}

/// Without the values of the query: one of them may be a token (law 12).
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.pairs().map(|(name, _)| name).collect();
        write!(f, "{:?} ?{names:?}", self.path)
    }
}

/// Whether a path is that of the mount `/x` (empty for all) or below it: whole segments.
#[must_use]
pub fn is_under(path: &str, mount: &str) -> bool {
    matches!(path.as_bytes().get(mount.len()), None | Some(b'/')) && path.starts_with(mount)
}

fn canonical_path(raw: &str) -> Result<Cow<'_, str>, BadTarget> {
    if is_plainly_canonical(raw) {
        return Ok(Cow::Borrowed(raw));
    }
    let inner = raw.strip_prefix('/').ok_or(BadTarget::Relative)?;
    let mut path = String::with_capacity(raw.len());
    let mut segments = inner.split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            return Err(BadTarget::EmptySegment);
        }
        path.push('/');
        canonical_segment(segment, &mut path)?;
    }
    if path.split("%25").skip(1).any(hides_again) {
        return Err(BadTarget::EncodedTwice);
    }
    match percent_encoding::percent_decode_str(&path).decode_utf8() {
        Ok(_) => Ok(Cow::Owned(path)),
        Err(_) => Err(BadTarget::NotUtf8),
    }
}

/// Whether a look at each byte and its successor shows that a path is canonical, as
/// nearly all are: no escape, no segment that is empty or begins with a dot.
fn is_plainly_canonical(raw: &str) -> bool {
    let bytes = raw.as_bytes();
    bytes.first() == Some(&b'/')
        && bytes.iter().all(|b| *b == b'/' || stands_in_segment(*b))
        && !bytes.windows(2).any(|pair| matches!(pair, b"//" | b"/."))
}

/// Appends the canonical spelling of `raw` to `path`.
fn canonical_segment(raw: &str, path: &mut String) -> Result<(), BadTarget> {
    let start = path.len();
    let mut rest = raw.as_bytes();
    while let Some((piece, after)) = Piece::first(rest)? {
        rest = after;
        match piece {
            Piece::Raw(b'\\') | Piece::Escaped(b'/' | b'\\') => return Err(BadTarget::HiddenSlash),
            Piece::Raw(b) | Piece::Escaped(b) if b.is_ascii_control() => return Err(BadTarget::Control),
            Piece::Raw(b) if stands_in_segment(b) => path.push(char::from(b)),
            Piece::Raw(_) => return Err(BadTarget::Character),
            Piece::Escaped(b) if is_unreserved(b) => path.push(char::from(b)),
            Piece::Escaped(b) => push_escape(b, path),
        }
    }
    // Some servers cut parameters (`..;x`) off before they look for dots.
    let written = &path[start..];
    let name = written.find("%3B").into_iter().chain(written.find(';')).min();
    match &written[..name.unwrap_or(written.len())] {
        "." | ".." => Err(BadTarget::DotSegment),
        _ => Ok(()),
    }
}

/// One character of a raw target.
enum Piece {
    Raw(u8),
    Escaped(u8),
}

impl Piece {
    /// The first of `raw` and what follows it.
    fn first(raw: &[u8]) -> Result<Option<(Self, &[u8])>, BadTarget> {
        match raw {
            [] => Ok(None),
            [b'%', high, low, rest @ ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => Ok(Some((Self::Escaped(high << 4 | low), rest))),
                _ => Err(BadTarget::Escape),
            },
            [b'%', ..] => Err(BadTarget::Escape),
            [byte, rest @ ..] => Ok(Some((Self::Raw(*byte), rest))),
        }
    }
}

/// Whether what follows a `%25` would be an escape of a dot, slash, backslash or
/// percent sign to a server that decodes twice.
fn hides_again(after: &str) -> bool {
    let code = after.get(..2).unwrap_or_default().to_ascii_lowercase();
    matches!(code.as_str(), "2e" | "2f" | "5c" | "25")
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn push_escape(byte: u8, to: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    to.push('%');
    to.push(char::from(DIGITS[usize::from(byte >> 4)]));
    to.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// RFC 3986, section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986, section 3.3: pchar without its escapes.
fn stands_in_segment(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@'
        )
}

#[cfg(test)]
mod tests;
