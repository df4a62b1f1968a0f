//! What a path is the path of, as far as a write to one path tells of others.
//!
//! Three things make different paths name the same: the version of the API
//! (`/api/v2/tests/7`, `/api/v4/Tests/7`), a list in a segment (`tests/5,7`), and
//! containment: a collection holds its members, a member what lies below it.
//! Deciding wrongly costs one more request one way, and serves what is no longer
//! true the other; so in doubt two paths touch.

use crate::pattern::{fold, segments};

/// One resource, or several of one collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Folded, without the version.
    segments: Box<[Box<str>]>,
}

impl Resource {
    /// What `path` (no query) names.
    #[must_use]
    pub fn of(path: &str) -> Self {
        Self { segments: named(&fold(path)).map(Into::into).collect() }
    }

    /// A path of which [`Resource::of`] makes the same.
    #[must_use]
    pub fn path(&self) -> String {
        // With a version of its own, so that no other segment is taken for it.
        format!("/v0/{}", self.segments.join("/"))
    }

    /// Whether what `path` (folded, no query) shows may change when this does: it
    /// is the same, lies within it, or holds it. A `search` shows what its collection holds.
    #[must_use]
    pub fn touches(&self, folded: &str) -> bool {
        let folded = folded.trim_end_matches('/');
        let folded = folded.strip_suffix("/search").unwrap_or(folded);
        self.segments.iter().zip(named(folded)).all(|(ours, theirs)| overlap(ours, theirs))
    }
}

/// The segments that name, without the API's version: the first that reads like one.
fn named(folded: &str) -> impl Iterator<Item = &str> {
    let mut versions = 0;
    segments(folded).filter(move |segment| {
        let is_first = versions == 0 && is_version(segment);
        versions += usize::from(is_first);
        !is_first
    })
}

/// `v2`, `v3.4`.
fn is_version(segment: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    segment.strip_prefix('v').is_some_and(|digits| digits.split('.').all(number))
}

/// Whether two segments, each perhaps a list with commas, have a member in common.
fn overlap(a: &str, b: &str) -> bool {
    a == b || a.split(',').any(|one| b.split(',').any(|other| one.trim() == other.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_touches_what_holds_it_and_what_it_holds() {
        let test = Resource::of("/api/v2/tests/2");
        for yes in [
            "/api/v2/tests/2",
            "/api/v2/tests",
            "/api/v2/tests/1,2,3",
            "/api/v2/tests/2/alerts",
            "/api/v4/tests/2",
            "/api/v3.4/tests",
            "/api/v2/tests/search",
            "/api/v2/search",
        ] {
            assert!(test.touches(yes), "{yes}");
        }
        for no in [
            "/api/v2/tests/3",
            "/api/v2/tests/12,22",
            "/api/v2/nodes",
            "/api/v2/tests/explorer/raw",
            "/api/v2/nodes/search",
        ] {
            assert!(!test.touches(no), "{no}");
        }
    }

    #[test]
    fn lists_and_case_on_the_writing_side() {
        assert!(Resource::of("/api/v2/Tests/1,2/status").touches("/api/v4/tests/2,9"));
        assert!(!Resource::of("/api/v2/tests/1,2/status").touches("/api/v4/tests/2/other"));
        assert!(Resource::of("/").touches("/anything"));
    }
}
