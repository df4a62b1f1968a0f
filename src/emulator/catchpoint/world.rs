//! The account's data: made up from the seed, changed by writes.
//!
//! Identifiers are the same for every seed: tests from 100001, nodes from 1,
//! products from 201, folders from 3001, labels from 41, contacts from 5001,
//! divisions from 101 (those that keys name first). Products belong to the
//! divisions in turn; tests and folders to the division of their product.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::UnixTime;

use super::super::chance::mix;
use super::super::options::Options;
use super::objects;

/// Objects of one kind, those made by requests included.
pub(super) const OBJECTS: usize = 200_000;
const DIVISIONS: [&str; 3] = ["web", "mobile", "api"];
const NODES: u32 = 120;
const LEVELS: [(u8, &str); 2] = [(0, "Warning"), (1, "Critical")];

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Collection {
    Tests,
    Nodes,
    Products,
    Folders,
    Labels,
    Contacts,
    Divisions,
}

/// One object; `None` is nobody's in particular and seen by all.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) division: Option<i64>,
    pub(super) value: Value,
}

/// An instant test that was started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instant {
    pub(super) test: i64,
    pub(super) division: Option<i64>,
    pub(super) started: UnixTime,
}

/// Everything the account has.
#[derive(Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    /// How many tests there were at the start: analytic data is about those.
    pub(super) tests: u32,
    pub(super) instant_test: Duration,
    pub(super) instants: BTreeMap<i64, Instant>,
    /// Alert to e-mail address.
    pub(super) acknowledged: BTreeMap<u64, String>,
    pub(super) divisions: Vec<String>,
    pub(super) products: u32,
    /// The highest number ever given out.
    newest: BTreeMap<Collection, i64>,
    shelves: BTreeMap<Collection, BTreeMap<i64, Object>>,
}

impl Collection {
    const ALL: [Self; 7] = [
        Self::Tests,
        Self::Nodes,
        Self::Products,
        Self::Folders,
        Self::Labels,
        Self::Contacts,
        Self::Divisions,
    ];

    /// By its word in the path, in lower case.
    pub(super) fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|collection| collection.plural() == word)
    }

    /// Likewise, if requests may change it.
    pub(super) fn writable(word: &str) -> Option<Self> {
        Self::named(word).filter(|collection| !matches!(collection, Self::Nodes | Self::Divisions))
    }

    /// The word in the path and in `data`.
    pub(super) const fn plural(self) -> &'static str {
        match self {
            Self::Tests => "tests",
            Self::Nodes => "nodes",
            Self::Products => "products",
            Self::Folders => "folders",
            Self::Labels => "labels",
            Self::Contacts => "contacts",
            Self::Divisions => "divisions",
        }
    }

    /// The word in sentences.
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Tests => "Test",
            Self::Nodes => "Node",
            Self::Products => "Product",
            Self::Folders => "Folder",
            Self::Labels => "Label",
            Self::Contacts => "Contact",
            Self::Divisions => "Division",
        }
    }

    pub(super) const fn first(self) -> i64 {
        match self {
            Self::Tests => 100_001,
            Self::Nodes => 1,
            Self::Products => 201,
            Self::Folders => 3_001,
            Self::Labels => 41,
            Self::Contacts => 5_001,
            Self::Divisions => 101,
        }
    }
}

impl World {
    pub(super) fn new(options: &Options) -> Self {
        let mut divisions: Vec<String> = Vec::new();
        let named = options.keys.iter().filter_map(|key| key.division.as_deref());
        for name in named.chain(DIVISIONS) {
            if !divisions.iter().any(|known| known == name) {
                divisions.push(name.to_owned());
            }
        }
        let products = (options.tests / 20).max(u32::try_from(divisions.len()).unwrap_or(3));
        let mut world = Self {
            seed: options.seed,
            tests: options.tests,
            instant_test: options.instant_test,
            instants: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            divisions,
            products,
            newest: BTreeMap::new(),
            shelves: BTreeMap::new(),
        };
        world.fill();
        world
    }

    /// The number of a division; a new name is a new, empty one.
    pub(super) fn division(&mut self, name: &str) -> i64 {
        let known = self.divisions.iter().position(|known| known == name);
        let index = known.unwrap_or_else(|| {
            self.divisions.push(name.to_owned());
            let id = Collection::Divisions.first() + offset(self.divisions.len() - 1);
            let object = objects::division(id, name);
            self.put(Collection::Divisions, id, object);
            self.divisions.len() - 1
        });
        Collection::Divisions.first() + offset(index)
    }

    pub(super) fn shelf(&self, of: Collection) -> &BTreeMap<i64, Object> {
        // `fill` and `put` make every shelf that is ever asked for.
        static EMPTY: BTreeMap<i64, Object> = BTreeMap::new();
        self.shelves.get(&of).unwrap_or(&EMPTY)
    }

    pub(super) fn shelf_mut(&mut self, of: Collection) -> &mut BTreeMap<i64, Object> {
        self.shelves.entry(of).or_default()
    }

    pub(super) fn put(&mut self, of: Collection, id: i64, object: Object) {
        let newest = self.newest.entry(of).or_insert(id);
        *newest = id.max(*newest);
        self.shelf_mut(of).insert(id, object);
    }

    /// A number that was not given out before.
    pub(super) fn next_id(&self, of: Collection) -> i64 {
        self.newest.get(&of).map_or_else(|| of.first(), |newest| newest + 1)
    }

    /// A number that depends on the seed, the subject and the index alone.
    pub(super) fn made_up(&self, subject: u64, index: u64) -> u64 {
        mix(mix(self.seed, subject), index)
    }

    /// The test with this index at the start, and its division.
    pub(super) fn original_test(&self, index: u64) -> (i64, i64) {
        let index = index % u64::from(self.tests.max(1));
        (Collection::Tests.first() + signed(index), self.division_of(index % u64::from(self.products)))
    }

    /// The node with this index, as other objects refer to it.
    pub(super) fn node(&self, index: u64) -> Value {
        let index = index % u64::from(NODES);
        json!({"id": signed(index) + 1, "name": objects::node_name(self, index)})
    }

    pub(super) fn division_of(&self, product: u64) -> i64 {
        Collection::Divisions.first() + signed(product % (self.divisions.len().max(1) as u64))
    }

    fn fill(&mut self) {
        let products = u64::from(self.products);
        for (of, count) in [
            (Collection::Divisions, self.divisions.len() as u64),
            (Collection::Nodes, u64::from(NODES)),
            (Collection::Products, products),
            (Collection::Folders, products * 3),
            (Collection::Labels, 15),
            (Collection::Contacts, 20),
            (Collection::Tests, u64::from(self.tests)),
        ] {
            for index in 0..count {
                let object = objects::make(self, of, index);
                self.put(of, of.first() + signed(index), object);
            }
        }
    }
}

/// The level of an alert.
pub(super) fn level(chance: u64) -> Value {
    let (id, name) = pick(&LEVELS, chance);
    json!({"id": id, "name": name})
}

pub(super) fn pick<T: Copy>(from: &[T], by: u64) -> T {
    from[usize::try_from(by % from.len() as u64).unwrap_or_default()]
}

pub(super) fn signed(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

fn offset(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}
