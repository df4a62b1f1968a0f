//! What the file holds, in memory: enough to look, to purge and to make room without
//! reading it. Numbers order the rows by when they were kept, and are never used twice.

use std::collections::{BTreeMap, HashMap};

use crate::cache::entry::Entry;
use crate::cache::key::{Hash, Key, Selector};
use crate::cache::second::{Name, Variant};
use crate::cache::store::index::Index;

/// A row's number.
pub(super) type Id = u64;

/// Answers in one file: each costs up to half a kilobyte of memory here.
pub(super) const MAX_ROWS: usize = 65_536;
/// Answers under one key, as in the first level.
const MAX_VARIANTS: usize = 64;

/// One answer in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: Id,
    pub(super) variant: Variant,
    /// What it takes in the file.
    pub(super) bytes: u64,
}

pub(super) struct Catalogue {
    keys: HashMap<Hash, Listed>,
    /// The oldest first.
    order: BTreeMap<Id, Name>,
    index: Index<Key>,
    bytes: u64,
    max_bytes: u64,
    next: Id,
}

struct Listed {
    key: Key,
    rows: Vec<Row>,
}

impl Catalogue {
    pub(super) fn new(max_bytes: u64) -> Self {
        let (keys, order, index) = (HashMap::new(), BTreeMap::new(), Index::default());
        Self { keys, order, index, bytes: 0, max_bytes, next: 1 }
    }

    /// A new row for an answer under `key`, and which rows go for it. `None` if it
    /// is larger than all may be.
    pub(super) fn add(&mut self, key: &Key, variant: Variant, bytes: u64) -> Option<(Id, Vec<Id>)> {
        if bytes > self.max_bytes {
            return None;
        }
        let mut gone: Vec<Id> = self.remove((key.hash(), variant)).into_iter().collect();
        let id = self.next;
        self.put(key, Row { id, variant, bytes });
        let rows = &self.keys[&key.hash()].rows;
        if rows.len() > MAX_VARIANTS {
            gone.extend(
                rows.first().map(|row| row.variant).and_then(|oldest| self.remove((key.hash(), oldest))),
            );
        }
        gone.extend(self.make_room());
        Some((id, gone))
    }

    /// This number is used.
    pub(super) fn skip(&mut self, id: Id) {
        self.next = self.next.max(id + 1);
    }

    /// A row that was in the file; whether it is wanted still.
    pub(super) fn restore(&mut self, key: &Key, row: Row) -> bool {
        let listed = self.keys.get(&key.hash());
        let is_superseded =
            listed.is_some_and(|listed| listed.rows.iter().any(|is| is.variant == row.variant));
        if !is_superseded {
            self.put(key, row);
        }
        !is_superseded
    }

    /// Takes out the oldest until the bounds are met.
    pub(super) fn make_room(&mut self) -> Vec<Id> {
        let mut gone = Vec::new();
        while self.bytes > self.max_bytes || self.order.len() > MAX_ROWS {
            let Some((_, name)) = self.order.first_key_value().map(|(id, name)| (*id, *name)) else { break };
            gone.extend(self.remove(name));
        }
        gone
    }

    pub(super) fn rows(&self, hash: &Hash) -> &[Row] {
        self.keys.get(hash).map_or(&[], |listed| &listed.rows)
    }

    pub(super) fn holds(&self, id: Id) -> bool {
        self.order.contains_key(&id)
    }

    /// Takes one out; its number, if it was there.
    pub(super) fn remove(&mut self, (hash, variant): Name) -> Option<Id> {
        let listed = self.keys.get_mut(&hash)?;
        let at = listed.rows.iter().position(|row| row.variant == variant)?;
        let row = listed.rows.remove(at);
        if listed.rows.is_empty() {
            self.index.remove(&listed.key);
            self.keys.remove(&hash);
        }
        self.order.remove(&row.id);
        self.bytes -= row.bytes;
        Some(row.id)
    }

    /// Takes one out by its number.
    pub(super) fn drop_row(&mut self, id: Id) {
        if let Some(name) = self.order.get(&id).copied() {
            self.remove(name);
        }
    }

    /// Takes out what the selector means.
    pub(super) fn purge(&mut self, selector: &Selector) -> Vec<(Name, Id)> {
        let hashes: Vec<Hash> = self.index.select(selector).iter().map(Key::hash).collect();
        let names: Vec<Name> =
            hashes.iter().flat_map(|hash| self.rows(hash).iter().map(|row| (*hash, row.variant))).collect();
        names.into_iter().filter_map(|name| self.remove(name).map(|id| (name, id))).collect()
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

    fn put(&mut self, key: &Key, row: Row) {
        self.skip(row.id);
        let listed = self.keys.entry(key.hash()).or_insert_with(|| {
            self.index.put(key.clone());
            Listed { key: key.clone(), rows: Vec::with_capacity(1) }
        });
        listed.rows.push(row);
        self.order.insert(row.id, (key.hash(), row.variant));
        self.bytes += row.bytes;
    }
}

/// Bytes of body in one value of the file: with its key a value fills 16 pages.
pub(super) const CHUNK_BYTES: usize = 64 * 1_024 - 256;

/// What an answer takes in the file at most. A page is 4 KiB; a value that needs more
/// gets the next power of two.
pub(super) fn bytes_in_file(entry: &Entry) -> u64 {
    let body = entry.body().len();
    let head = (entry.weight_bytes() as u64).saturating_sub(body);
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
