//! Route patterns: `METHODS PATH`, as config, rules and dialects write them.
//!
//! `GET|HEAD /api/v2/nodes/*` names methods joined by `|` (or `*`) and a path
//! as the vendor sees it, without query. `*` is one segment, a final `/**` any
//! number of segments, also none. GET includes HEAD. Paths match case-folded
//! (ASCII only, as servers do: the Kelvin sign is no `k`), decoded once and
//! without a trailing slash: matching decides what a request is, never what is
//! sent.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use http::Method;

/// One parsed pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    methods: Methods,
    segments: Vec<Segment>,
    /// Ends in `/**`.
    open_end: bool,
    text: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Methods {
    Any,
    Of(Vec<Method>),
}

#[derive(Clone, Debug, PartialEq)]
enum Segment {
    Any,
    Literal(String),
}

/// Why a text is not a pattern, in words for whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// No blank between methods and path.
    #[error("write a pattern as 'METHODS PATH', such as 'GET /api/v2/nodes/**'")]
    NoPath,
    /// A method that is no token.
    #[error("'{0}' is not an HTTP method; write 'GET', 'GET|POST' or '*'")]
    Method(String),
    /// A path that does not begin with a slash.
    #[error("the path of a pattern begins with '/'")]
    Relative,
    /// `**` elsewhere than at the end.
    #[error("'**' may only be the last segment")]
    InnerStars,
    /// `a*b`.
    #[error("'*' stands for a whole segment, not for part of one")]
    PartStar,
    /// A query in a pattern.
    #[error("a pattern has no query; leave out what follows '?'")]
    Query,
    /// `//`: no request has such a path.
    #[error("the path of a pattern has no empty segment ('//')")]
    EmptySegment,
}

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let (methods, path) = text.trim().split_once(' ').ok_or(BadPattern::NoPath)?;
        let path = path.trim();
        if path.contains('?') {
            return Err(BadPattern::Query);
        }
        let rest = path.strip_prefix('/').ok_or(BadPattern::Relative)?;
        let mut names: Vec<&str> = rest.split('/').collect();
        let open_end = names.last() == Some(&"**");
        if open_end || names.last() == Some(&"") {
            names.pop();
        }
        Ok(Self {
            methods: parse_methods(methods)?,
            segments: names.into_iter().map(parse_segment).collect::<Result<_, _>>()?,
            open_end,
            text: format!("{methods} {path}"),
        })
    }
}

impl Pattern {
    /// Whether a request of `method` for `path` (no query) is meant.
    #[must_use]
    pub fn matches(&self, method: &Method, path: &str) -> bool {
        self.methods.include(method) && self.matches_path(path)
    }

    /// Whether `path` alone is meant, whatever the method.
    #[must_use]
    pub fn matches_path(&self, path: &str) -> bool {
        let path = fold(path);
        let mut rest = segments(&path);
        for want in &self.segments {
            match (want, rest.next()) {
                (Segment::Any, Some(_)) => {}
                (Segment::Literal(want), Some(is)) if want == is => {}
                _ => return false,
            }
        }
        self.open_end || rest.next().is_none()
    }

    /// Whether everything that `later` matches is matched by this one too, so
    /// that a list in which the first match wins never reaches `later`.
    #[must_use]
    pub fn hides(&self, later: &Self) -> bool {
        self.methods.include_all(&later.methods) && self.covers_path(later)
    }

    fn covers_path(&self, later: &Self) -> bool {
        let mut theirs = later.segments.iter();
        for mine in &self.segments {
            match (mine, theirs.next()) {
                (Segment::Any, Some(_)) => {}
                (mine, Some(their)) if mine == their => {}
                _ => return false,
            }
        }
        self.open_end || (theirs.next().is_none() && !later.open_end)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Methods {
    fn include(&self, method: &Method) -> bool {
        match self {
            Self::Any => true,
            Self::Of(methods) => {
                methods.contains(method) || (method == Method::HEAD && methods.contains(&Method::GET))
            }
        }
    }

    fn include_all(&self, others: &Self) -> bool {
        match (self, others) {
            (Self::Any, _) => true,
            (Self::Of(_), Self::Any) => false,
            (Self::Of(_), Self::Of(others)) => others.iter().all(|m| self.include(m)),
        }
    }
}

/// A path as matching sees it: decoded once, lower case. Never sent anywhere.
#[must_use]
pub fn fold(path: &str) -> Cow<'_, str> {
    let needs = |b: u8| b == b'%' || b.is_ascii_uppercase();
    if !path.bytes().any(needs) {
        return Cow::Borrowed(path);
    }
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    Cow::Owned(decoded.to_ascii_lowercase())
}

/// The segments of a folded path, without empty ones.
pub fn segments(folded: &str) -> impl Iterator<Item = &str> {
    // Byte by byte: they are short, and `str::split` is made for long texts.
    let mut rest = folded;
    std::iter::from_fn(move || {
        let start = rest.bytes().position(|b| b != b'/')?;
        let from = &rest[start..];
        let (segment, after) = from.split_at(from.bytes().position(|b| b == b'/').unwrap_or(from.len()));
        rest = after;
        Some(segment)
    })
}

fn parse_methods(text: &str) -> Result<Methods, BadPattern> {
    if text == "*" {
        return Ok(Methods::Any);
    }
    let one = |name: &str| {
        let known = !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        known
            .then(|| Method::from_bytes(name.as_bytes()).ok())
            .flatten()
            .ok_or(BadPattern::Method(name.into()))
    };
    text.split('|').map(one).collect::<Result<_, _>>().map(Methods::Of)
}

fn parse_segment(text: &str) -> Result<Segment, BadPattern> {
    match text {
        "*" => Ok(Segment::Any),
        "**" => Err(BadPattern::InnerStars),
        "" => Err(BadPattern::EmptySegment),
        part if part.contains('*') => Err(BadPattern::PartStar),
        literal => Ok(Segment::Literal(fold(literal).into_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, method: &Method, path: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().matches(method, path)
    }

    #[test]
    fn paths_match_folded_and_decoded() {
        for path in ["/api/v2/nodes", "/API/v2/Nodes/", "/api/v2/nodes/7", "/api/v2/%6eodes/7/x"] {
            assert!(matches("GET /api/v2/nodes/**", &Method::GET, path), "{path}");
        }
        assert!(!matches("GET /api/v2/nodes/**", &Method::GET, "/api/v2/nodesx"));
        assert!(matches("GET /api/*/nodes", &Method::HEAD, "/api/v9/nodes"));
        assert!(!matches("GET /api/*/nodes", &Method::POST, "/api/v9/nodes"));
        assert!(!matches("GET /keys", &Method::GET, "/%E2%84%AAeys"));
        assert!(matches("* /**", &Method::DELETE, "/"));
        assert!(matches("GET /", &Method::GET, "/"));
    }

    #[test]
    fn earlier_patterns_hide_narrower_ones() {
        let hides = |a: &str, b: &str| a.parse::<Pattern>().unwrap().hides(&b.parse().unwrap());
        assert!(hides("GET /a/**", "GET /a/b"));
        assert!(hides("GET /a/**", "HEAD /a"));
        assert!(hides("* /*/b", "GET /a/b"));
        assert!(!hides("GET /a/*", "GET /a/**"));
        assert!(!hides("GET /a/b", "GET /a/*"));
        assert!(!hides("GET /**", "POST /a"));
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        let error = |text: &str| text.parse::<Pattern>().unwrap_err();
        assert_eq!(error("/api"), BadPattern::NoPath);
        assert_eq!(error("get /api"), BadPattern::Method("get".into()));
        assert_eq!(error("GET api"), BadPattern::Relative);
        assert_eq!(error("GET /**/x"), BadPattern::InnerStars);
        assert_eq!(error("GET /a*"), BadPattern::PartStar);
        assert_eq!(error("GET /a?b"), BadPattern::Query);
        assert_eq!(error("GET //a"), BadPattern::EmptySegment);
    }
}
