//! Which keys are stored under which path, so that a purge need not look at all.

use std::borrow::{Borrow, Cow};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;

use crate::cache::entry::{Entry, EntryArc};
use crate::cache::key::{Selector, Text, folded};
use crate::pattern;

/// What has a key, in the order of upstream and path. Nothing of a key is copied: its
/// place is worked out when two are compared.
pub(in crate::cache) struct Index<T>(BTreeSet<Placed<T>>);

/// Whatever is kept under a key.
pub(in crate::cache) trait Keyed: Clone {
    fn key(&self) -> &Text;

    /// Not zero; tells apart what is kept under one key.
    fn number(&self) -> u64;
}

/// A place in the order.
trait Place {
    fn upstream(&self) -> &str;
    /// As purges compare it.
    fn path(&self) -> Cow<'_, str>;
    /// Tells apart what lies under one path; none comes first.
    fn rest(&self) -> Option<(&Text, u64)>;
}

struct Placed<T>(T);

/// Before all that lies under this path.
struct Before<'a> {
    upstream: &'a str,
    path: &'a str,
}

impl<T: Keyed> Index<T> {
    /// In the place of what there is under the same key with the same number.
    pub(in crate::cache) fn put(&mut self, one: T) {
        self.0.replace(Placed(one));
    }

    /// Puts in many: their places are worked out once, and not whenever two are compared.
    pub(in crate::cache) fn fill(&mut self, mut all: Vec<T>) {
        all.sort_by_cached_key(|one| format!("{}\0{}", one.key().upstream(), one.key().folded_path()));
        self.0.append(&mut all.into_iter().map(Placed).collect());
    }

    pub(in crate::cache) fn remove(&mut self, one: &T) {
        let place: &dyn Place = &Placed(one.clone());
        self.0.remove(place);
    }

    pub(in crate::cache) fn select(&self, selector: &Selector) -> Vec<T> {
        let (upstream, from) = match selector {
            Selector::All => return self.0.iter().map(|one| one.0.clone()).collect(),
            Selector::Upstream(upstream)
            | Selector::Resource(upstream, _)
            | Selector::Matching(upstream, _) => (upstream, "".into()),
            Selector::Scope(scope) => (&scope.upstream, "".into()),
            Selector::Path(upstream, path) => (upstream, folded(path)),
            Selector::Prefix(upstream, prefix) => (upstream, pattern::fold(prefix)),
        };
        let start: &dyn Place = &Before { upstream: upstream.as_str(), path: &from };
        let all = self.0.range::<dyn Place, _>((Bound::Included(start), Bound::Unbounded));
        all.map(|one| &one.0)
            .take_while(|one| {
                one.key().upstream() == upstream.as_str() && is_within(selector, &from, one.key())
            })
            .filter(|one| selector.selects(one.key()))
            .cloned()
            .collect()
    }

    #[cfg(test)]
    pub(in crate::cache) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

/// Whether later paths may still be meant.
fn is_within(selector: &Selector, from: &str, key: &Text) -> bool {
    match selector {
        Selector::Path(..) => key.folded_path() == from,
        Selector::Prefix(..) => key.folded_path().starts_with(from),
        Selector::All
        | Selector::Upstream(_)
        | Selector::Scope(_)
        | Selector::Resource(..)
        | Selector::Matching(..) => true,
    }
}

impl Keyed for EntryArc {
    fn key(&self) -> &Text {
        Entry::key(self)
    }

    /// The latest stands for all under its key.
    fn number(&self) -> u64 {
        1
    }
}

impl<T: Keyed> Place for Placed<T> {
    fn upstream(&self) -> &str {
        self.0.key().upstream()
    }

    fn path(&self) -> Cow<'_, str> {
        self.0.key().folded_path()
    }

    fn rest(&self) -> Option<(&Text, u64)> {
        Some((self.0.key(), self.0.number()))
    }
}

impl Place for Before<'_> {
    fn upstream(&self) -> &str {
        self.upstream
    }

    fn path(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.path)
    }

    fn rest(&self) -> Option<(&Text, u64)> {
        None
    }
}

impl<'a, T: Keyed + 'a> Borrow<dyn Place + 'a> for Placed<T> {
    fn borrow(&self) -> &(dyn Place + 'a) {
        self
    }
}

impl Ord for dyn Place + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_path = || self.path().cmp(&other.path());
        self.upstream().cmp(other.upstream()).then_with(by_path).then_with(|| self.rest().cmp(&other.rest()))
    }
}

impl PartialOrd for dyn Place + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Place + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for dyn Place + '_ {}

impl<T: Keyed> Ord for Placed<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        let (one, other): (&dyn Place, &dyn Place) = (self, other);
        one.cmp(other)
    }
}

impl<T: Keyed> PartialOrd for Placed<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Keyed> PartialEq for Placed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T: Keyed> Eq for Placed<T> {}
