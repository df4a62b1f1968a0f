//! Routes as usage knows them: paths with what identifies one thing folded away,
//! and not more than [`MAX_ROUTES`] of them.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use parking_lot::RwLock;
use smallvec::SmallVec;

/// Routes of one upstream with a name of their own.
pub const MAX_ROUTES: usize = 256;
/// What all others are called.
pub const OTHER: &str = "_other";
/// Segments of a path that are looked at.
const MAX_SEGMENTS: usize = 5;
/// Longer segments identify something.
const MAX_WORD_BYTES: usize = 24;

/// One route of one upstream, by its number; 0 is [`OTHER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteIx(u16);

/// The routes of one upstream that have been asked so far.
#[derive(Debug)]
pub struct Routes {
    known: RwLock<Known>,
}

#[derive(Debug)]
struct Known {
    numbers: HashMap<Arc<str>, RouteIx>,
    names: Vec<Arc<str>>,
}

impl Default for Routes {
    fn default() -> Self {
        Self { known: RwLock::new(Known { numbers: HashMap::new(), names: vec![OTHER.into()] }) }
    }
}

impl RouteIx {
    /// All that has no name of its own.
    pub const OTHER: Self = Self(0);

    /// What tells it from others of one upstream; none for [`RouteIx::OTHER`], in which
    /// a route may be that gets a name later.
    #[must_use]
    pub fn number(self) -> Option<u16> {
        (self != Self::OTHER).then_some(self.0)
    }

    /// From its number.
    #[must_use]
    pub fn from_number(number: u16) -> Self {
        Self(number)
    }
}

impl Routes {
    /// The route of a path in canonical form. Only what is worth a name gets a new
    /// one: a caller who guesses paths must not use them up.
    pub fn of(&self, path: &str, is_worth_a_name: bool) -> RouteIx {
        let folded = fold(path);
        let Ok(name) = std::str::from_utf8(&folded) else { return RouteIx::OTHER };
        if let Some(known) = self.known.read().numbers.get(name) {
            return *known;
        }
        if !is_worth_a_name {
            return RouteIx::OTHER;
        }
        let mut known = self.known.write();
        let next = known.names.len();
        if let Some(number) = known.numbers.get(name) {
            return *number;
        }
        let Ok(number) = u16::try_from(next) else { return RouteIx::OTHER };
        if next > MAX_ROUTES {
            return RouteIx::OTHER;
        }
        let name: Arc<str> = name.into();
        known.names.push(Arc::clone(&name));
        known.numbers.insert(name, RouteIx(number));
        RouteIx(number)
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self, route: RouteIx) -> Arc<str> {
        let known = self.known.read();
        known.names.get(usize::from(route.0)).unwrap_or(&known.names[0]).clone()
    }
}

/// The first segments in lower case, with `*` for those that name one thing and
/// `**` for the rest.
fn fold(path: &str) -> SmallVec<[u8; 96]> {
    let mut folded = SmallVec::new();
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    for segment in segments.by_ref().take(MAX_SEGMENTS) {
        folded.push(b'/');
        if is_word(segment) {
            let from = folded.len();
            folded.extend_from_slice(segment.as_bytes());
            folded[from..].make_ascii_lowercase();
        } else {
            folded.push(b'*');
        }
    }
    if segments.next().is_some() {
        folded.extend_from_slice(b"/**");
    }
    if folded.is_empty() {
        folded.push(b'/');
    }
    folded
}

/// Whether a segment is part of the route and not of what is asked for: letters
/// with `-`, `_` or `.`, or a version such as `v2` or `v2.1`.
fn is_word(segment: &str) -> bool {
    if segment.len() > MAX_WORD_BYTES {
        return false;
    }
    let plain = |b: u8| b.is_ascii_alphabetic() || matches!(b, b'-' | b'_' | b'.');
    if segment.bytes().all(plain) {
        return true;
    }
    let version = segment.strip_prefix(['v', 'V']).unwrap_or_default();
    !version.is_empty() && version.len() <= 5 && version.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// A name for tests and tables, without a table of routes.
#[must_use]
pub fn name_of(path: &str) -> String {
    let mut name = String::new();
    for byte in fold(path) {
        // Canonical paths are ASCII; anything else would have been escaped.
        let _ = name.write_char(char::from(byte));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_one_thing_is_folded() {
        for (path, route) in [
            ("/api/v2/Tests/12345/x", "/api/v2/tests/*/x"),
            ("/api/v2.1/nodes/all", "/api/v2.1/nodes/all"),
            ("/", "/"),
            ("/a/b/c/d/e/f/g", "/a/b/c/d/e/**"),
            ("/files/9f86d081884c7d65", "/files/*"),
            ("/x/averyveryverylongwordthatnobodywouldcallaroute", "/x/*"),
            ("/x/a%20b", "/x/*"),
        ] {
            assert_eq!(name_of(path), route, "{path}");
        }
    }

    #[test]
    fn there_is_a_bound_and_guesses_get_no_names() {
        let routes = Routes::default();
        assert_eq!(routes.of("/guess", false), RouteIx::OTHER);
        let letters = |n: usize| {
            let digits = n.to_string();
            digits.bytes().map(|b| char::from(b - b'0' + b'a')).collect::<String>()
        };
        let all: Vec<_> = (0..1_000).map(|n| routes.of(&format!("/x/{}", letters(n)), true)).collect();
        assert_eq!(all.iter().filter(|route| **route != RouteIx::OTHER).count(), MAX_ROUTES);
        assert_eq!(routes.of("/x/a", false), all[0]);
        assert_eq!(&*routes.name(all[0]), "/x/a");
        assert_eq!(&*routes.name(all[999]), OTHER);
    }
}
