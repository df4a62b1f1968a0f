//! What the file holds, in memory: enough to look, to purge and to make room without
//! reading it. Numbers order the rows by when they were kept, and are never used twice.
//!
//! A row is found by the beginning of its key's hash: who reads its record compares the
//! whole key. What it is about is in the key's text, which it shares with the first level.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;

use crate::cache::entry::Entry;
use crate::cache::key::{Selector, Text};
use crate::cache::record;
use crate::cache::second::{Name, Short, Variant};
use crate::cache::store::index::{Index, Keyed};

/// A row's number; not zero.
pub(super) type Id = u64;

/// Answers in one file: each costs about 150 bytes of memory here, and its key's text once
/// it is no more in the first level.
pub(super) const MAX_ROWS: usize = 65_536;
/// Answers under one key, as in the first level.
const MAX_VARIANTS: usize = 64;

/// One answer in the file.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: Id,
    pub(super) name: Name,
    /// What it takes in the file.
    pub(super) bytes: u64,
    pub(super) key: Text,
}

pub(super) struct Catalogue {
    /// By key.
    keys: HashTable<Arc<Row>>,
    /// So that nobody outside can make keys that meet.
    hasher: RandomState,
    /// The oldest first.
    order: BTreeSet<ByAge>,
    index: Index<Arc<Row>>,
    bytes: u64,
    max_bytes: u64,
    next: Id,
}

struct ByAge(Arc<Row>);

impl Catalogue {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self {
            keys: HashTable::new(),
            hasher: RandomState::new(),
            order: BTreeSet::new(),
            index: Index::default(),
            bytes: 0,
            max_bytes,
            next: 1,
        }
    }

    /// A new row for an answer under `key`, and which rows go for it. `None` if it
    /// is larger than all may be.
    pub(super) fn add(&mut self, key: &Text, name: Name, bytes: u64) -> Option<(Id, Vec<Id>)> {
        if bytes > self.max_bytes {
            return None;
        }
        let mut gone: Vec<Id> = self.remove(name).into_iter().collect();
        let id = self.next;
        self.put(Row { id, name, bytes, key: key.to_listed() });
        if self.rows(name.0).count() > MAX_VARIANTS {
            let oldest = self.rows(name.0).map(|row| row.id).min();
            gone.extend(oldest.filter(|oldest| self.drop_row(*oldest)));
        }
        gone.extend(self.make_room());
        Some((id, gone))
    }

    /// This number is used.
    pub(super) fn skip(&mut self, id: Id) {
        self.next = self.next.max(id + 1);
    }

    /// The rows that were in the file; which of them are not wanted any more.
    pub(super) fn restore(&mut self, rows: Vec<Row>) -> Vec<Id> {
        let (mut all, mut unwanted) = (Vec::new(), Vec::new());
        for row in rows {
            self.skip(row.id);
            let is_superseded = self.rows(row.name.0).any(|is| is.name == row.name);
            if is_superseded {
                unwanted.push(row.id);
            } else {
                all.push(self.list(row));
            }
        }
        self.order.append(&mut all.iter().cloned().map(ByAge).collect());
        self.index.fill(all);
        unwanted
    }

    /// Takes out the oldest until the bounds are met.
    pub(super) fn make_room(&mut self) -> Vec<Id> {
        let mut gone = Vec::new();
        while self.bytes > self.max_bytes || self.order.len() > MAX_ROWS {
            let Some(oldest) = self.order.first().map(|oldest| Arc::clone(&oldest.0)) else { break };
            self.take(&oldest);
            gone.push(oldest.id);
        }
        gone
    }

    /// The rows under one key; rarely another's, too.
    pub(super) fn rows(&self, key: Short) -> impl Iterator<Item = &Arc<Row>> {
        self.keys.iter_hash(self.hasher.hash_one(key)).filter(move |row| row.name.0 == key)
    }

    pub(super) fn holds(&self, id: Id) -> bool {
        self.order.contains(&id)
    }

    /// Takes one out; its number, if it was there.
    pub(super) fn remove(&mut self, name: Name) -> Option<Id> {
        let row = self.rows(name.0).find(|row| row.name == name).cloned()?;
        self.take(&row);
        Some(row.id)
    }

    /// Takes one out by its number; whether it was there.
    pub(super) fn drop_row(&mut self, id: Id) -> bool {
        let row = self.order.get(&id).map(|row| Arc::clone(&row.0));
        row.iter().for_each(|row| self.take(row));
        row.is_some()
    }

    /// Takes out what the selector means.
    pub(super) fn purge(&mut self, selector: &Selector) -> Vec<(Name, Id)> {
        let meant = self.index.select(selector);
        meant.iter().for_each(|row| self.take(row));
        meant.iter().map(|row| (row.name, row.id)).collect()
    }

    /// Forgets all, but not which numbers were used.
    pub(super) fn clear(&mut self) {
        *self = Self { next: self.next, ..Self::new(self.max_bytes) };
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn put(&mut self, row: Row) {
        self.skip(row.id);
        let row = self.list(row);
        self.index.put(Arc::clone(&row));
        self.order.insert(ByAge(row));
    }

    fn list(&mut self, row: Row) -> Arc<Row> {
        self.bytes += row.bytes;
        let row = Arc::new(row);
        let hasher = &self.hasher;
        let hash = |row: &Arc<Row>| hasher.hash_one(row.name.0);
        self.keys.insert_unique(hash(&row), Arc::clone(&row), hash);
        row
    }

    fn take(&mut self, row: &Arc<Row>) {
        let hash = self.hasher.hash_one(row.name.0);
        if let Ok(place) = self.keys.find_entry(hash, |is| is.id == row.id) {
            place.remove();
            self.index.remove(row);
            self.order.remove(&row.id);
            self.bytes -= row.bytes;
        }
    }
}

impl Keyed for Arc<Row> {
    fn key(&self) -> &Text {
        &self.key
    }

    fn number(&self) -> u64 {
        self.id
    }
}

impl Row {
    pub(super) fn variant(&self) -> Variant {
        self.name.1
    }
}

impl Borrow<Id> for ByAge {
    fn borrow(&self) -> &Id {
        &self.0.id
    }
}

impl Ord for ByAge {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

impl PartialOrd for ByAge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByAge {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ByAge {}

/// Bytes of body in one value of the file: with its key a value fills 16 pages.
pub(super) const CHUNK_BYTES: usize = 64 * 1_024 - 256;

/// What an answer takes in the file at most. A page is 4 KiB; a value that needs more
/// gets the next power of two.
pub(super) fn bytes_in_file(entry: &Entry) -> u64 {
    let body = entry.body().len();
    let head = record::head_bytes(entry) as u64;
    let (whole, rest) = (body / CHUNK_BYTES as u64, body % CHUNK_BYTES as u64);
    page_bytes(head) + whole * (64 * 1_024) + page_bytes(rest)
}

fn page_bytes(value: u64) -> u64 {
    match value {
        0 => 0,
        // Several share a page, which is at least half full.
        1..=1_900 => 2 * value + 128,
        value => (value + 128).next_power_of_two().max(4_096),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cache::key::Scope;

    fn text(number: u64) -> Text {
        let scope = Scope { upstream: "u".parse().unwrap(), key: None };
        Text::listed(&scope, &http::Method::GET, &format!("/{}/{number}", number % 3))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Whatever is added and taken out, all tables hold the same rows as a plain list does.
        #[test]
        fn tables_agree_with_a_list(
            steps in proptest::collection::vec((0..5_u8, 0..9_u64, 0..3_u64, 1..40_u64), 0..200),
        ) {
            let mut catalogue = Catalogue::new(200);
            let mut list: Vec<(Id, Name, u64, u64)> = Vec::new();
            for (step, key, variant, bytes) in steps {
                // Two keys whose hashes begin alike.
                let name = (key / 2, variant);
                match step {
                    0..=2 => {
                        let (id, gone) = catalogue.add(&text(key), name, bytes).unwrap();
                        let mut want: Vec<Id> = list.iter().filter(|row| row.1 == name).map(|row| row.0).collect();
                        list.retain(|row| row.1 != name);
                        list.push((id, name, bytes, key));
                        while list.iter().map(|row| row.2).sum::<u64>() > 200 {
                            want.push(list.remove(0).0);
                        }
                        prop_assert_eq!(gone, want);
                    }
                    3 => {
                        let at = list.iter().position(|row| row.1 == name);
                        prop_assert_eq!(catalogue.remove(name), at.map(|at| list.remove(at).0));
                    }
                    _ => {
                        let gone = catalogue.purge(&Selector::Prefix("u".parse().unwrap(), "/1/".into()));
                        let mut gone: Vec<Id> = gone.iter().map(|(_, id)| *id).collect();
                        gone.sort_unstable();
                        let want: Vec<Id> = list.iter().filter(|row| row.3 % 3 == 1).map(|row| row.0).collect();
                        list.retain(|row| row.3 % 3 != 1);
                        prop_assert_eq!(gone, want);
                    }
                }
                let ids: Vec<Id> = list.iter().map(|row| row.0).collect();
                prop_assert_eq!(catalogue.order.iter().map(|row| row.0.id).collect::<Vec<_>>(), ids);
                prop_assert_eq!((catalogue.keys.len(), catalogue.index.len()), (list.len(), list.len()));
                prop_assert_eq!(catalogue.bytes(), list.iter().map(|row| row.2).sum::<u64>());
                let mut rows: Vec<_> = catalogue.rows(name.0).map(|row| row.id).collect();
                rows.sort_unstable();
                let want: Vec<_> = list.iter().filter(|row| row.1.0 == name.0).map(|row| row.0).collect();
                prop_assert_eq!(rows, want);
            }
            let row = |&(id, name, bytes, key): &_| Row { id, name, bytes, key: text(key) };
            let mut again = Catalogue::new(200);
            let more = Row { id: 1_000, ..row(list.first().unwrap_or(&(1, (9, 9), 1, 1))) };
            let superseded: Vec<Id> = list.iter().take(1).map(|_| 1_000).collect();
            prop_assert_eq!(again.restore(list.iter().map(row).chain([more]).collect()), superseded);
            prop_assert_eq!(again.next, 1_001);
            if !list.is_empty() {
                prop_assert_eq!(again.bytes(), catalogue.bytes());
                let selector = Selector::Prefix("u".parse().unwrap(), "/1/".into());
                prop_assert_eq!(again.purge(&selector), catalogue.purge(&selector));
                prop_assert_eq!((again.len(), again.index.len()), (catalogue.len(), catalogue.index.len()));
            }
        }
    }
}
