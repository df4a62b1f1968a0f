//! Which keys are stored under which path, so that a purge need not look at all.

use std::collections::BTreeMap;
use std::ops::Bound;

use parking_lot::Mutex;

use crate::cache::key::{Hash, Key, Selector, folded};
use crate::id::UpstreamName;
use crate::pattern;

/// Ordered by upstream and path.
#[derive(Default)]
pub(in crate::cache) struct Index(Mutex<BTreeMap<Place, Listed>>);

/// A path as purges compare it, then the key's hash.
type Place = (UpstreamName, Box<str>, Hash);

struct Listed {
    key: Key,
    slot: u64,
}

impl Index {
    pub(in crate::cache) fn add(&self, key: &Key, slot: u64) {
        self.0.lock().insert(place(key), Listed { key: key.clone(), slot });
    }

    /// Forgets the key if it is still that slot's.
    pub(in crate::cache) fn remove(&self, key: &Key, slot: u64) {
        let mut all = self.0.lock();
        let place = place(key);
        if all.get(&place).is_some_and(|listed| listed.slot == slot) {
            all.remove(&place);
        }
    }

    pub(in crate::cache) fn select(&self, selector: &Selector) -> Vec<Key> {
        let (upstream, from) = match selector {
            Selector::All => return self.0.lock().values().map(|listed| listed.key.clone()).collect(),
            Selector::Upstream(upstream)
            | Selector::Resource(upstream, _)
            | Selector::Matching(upstream, _) => (upstream, "".into()),
            Selector::Scope(scope) => (&scope.upstream, "".into()),
            Selector::Path(upstream, path) => (upstream, folded(path)),
            Selector::Prefix(upstream, prefix) => (upstream, pattern::fold(prefix).into()),
        };
        let start = (upstream.clone(), from, Hash::default());
        let all = self.0.lock();
        all.range((Bound::Included(&start), Bound::Unbounded))
            .take_while(|((is, path, _), _)| is == upstream && is_within(selector, &start.1, path))
            .filter(|(_, listed)| selector.selects(&listed.key))
            .map(|(_, listed)| listed.key.clone())
            .collect()
    }

    #[cfg(test)]
    pub(in crate::cache) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

/// Whether later paths may still be meant.
fn is_within(selector: &Selector, from: &str, path: &str) -> bool {
    match selector {
        Selector::Path(..) => path == from,
        Selector::Prefix(..) => path.starts_with(from),
        Selector::All
        | Selector::Upstream(_)
        | Selector::Scope(_)
        | Selector::Resource(..)
        | Selector::Matching(..) => true,
    }
}

fn place(key: &Key) -> Place {
    (key.scope().upstream.clone(), key.folded_path(), key.hash())
}
