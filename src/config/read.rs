//! From untyped nodes to typed fields: unknown keys, wrong types and wrong
//! spellings are noted on the way, and reading goes on.
//!
//! A `tables!` names each key once; from that line come the field, the walk
//! that reads it, the check for unknown keys and the JSON Schema.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::mistake::{Place, Walk, did_you_mean, one_of};
use super::tree::{Node, Value};
use crate::id::NAME_RULE;

/// A type that a value of the file can be read as.
pub(super) trait Read: Sized + JsonSchema {
    /// None after noting why not.
    fn read(node: Node, walk: &mut Walk<'_>) -> Option<Self>;
}

/// A value and where it was typed.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// What became of one key.
#[derive(Clone, Debug)]
pub(super) enum Field<T> {
    /// Not there.
    Missing,
    /// There, wrong, and noted.
    Wrong,
    /// There.
    Given(At<T>),
}

impl<T> Field<T> {
    pub(super) fn given(&self) -> Option<&At<T>> {
        match self {
            Self::Given(at) => Some(at),
            Self::Missing | Self::Wrong => None,
        }
    }

    pub(super) fn value(&self) -> Option<&T> {
        self.given().map(|at| &at.value)
    }

    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }

    /// The value; if the key is missing, that is noted at its table.
    pub(super) fn required(&self, table: &Place, words: &str, walk: &mut Walk<'_>) -> Option<&At<T>> {
        if self.is_missing() {
            walk.wrong(table, words);
        }
        self.given()
    }
}

impl<T: Clone> Field<T> {
    pub(super) fn or(&self, default: T) -> T {
        self.value().cloned().unwrap_or(default)
    }
}

/// Whether a key does what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It works.
    Works,
    /// It cannot be ignored without danger, so it is refused.
    NotBuilt,
}

impl Standing {
    /// What the schema adds to the key's description.
    pub(super) fn note(self) -> &'static str {
        match self {
            Self::Works => "",
            Self::NotBuilt => " (Not built yet: refused.)",
        }
    }
}

/// The keys of one table while they are taken out one by one.
pub(super) struct Keys {
    pub(super) place: Place,
    nodes: BTreeMap<String, Node>,
}

impl Keys {
    pub(super) fn of(node: Node, walk: &mut Walk<'_>) -> Option<Self> {
        match node.value {
            Value::Table(nodes) => Some(Self { place: node.place, nodes }),
            other => {
                walk.wrong(
                    &node.place,
                    format!("must be a table, not {}; write {{ key = value }}", other.kind()),
                );
                None
            }
        }
    }

    pub(super) fn take<T: Read>(&mut self, key: &str, standing: Standing, walk: &mut Walk<'_>) -> Field<T> {
        let Some(node) = self.nodes.remove(key) else { return Field::Missing };
        let place = node.place.clone();
        match standing {
            Standing::Works => {}
            Standing::NotBuilt => walk.wrong(&place, "not built yet in this version; remove it"),
        }
        match T::read(node, walk) {
            Some(_) if standing == Standing::NotBuilt => Field::Wrong,
            Some(value) => Field::Given(At { value, place }),
            None => Field::Wrong,
        }
    }

    /// Notes every key that nobody took.
    pub(super) fn reject_rest(self, known: &[&str], walk: &mut Walk<'_>) {
        for (key, node) in self.nodes {
            let fix = match did_you_mean(&key, known.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("known here are {}", known.join(", ")),
            };
            walk.wrong(&node.place, format!("unknown key; {fix}"));
        }
    }
}

/// A table whose keys are names of things, in the order of the names.
#[derive(Clone, Debug)]
pub(super) struct Named<T> {
    pub(super) things: Vec<(String, At<T>)>,
    /// Names whose thing was wrong, which is noted.
    broken: Vec<String>,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self { things: Vec::new(), broken: Vec::new() }
    }
}

impl<T> Named<T> {
    /// Whether `name` was typed, rightly or not.
    pub(super) fn mentions(&self, name: &str) -> bool {
        self.broken.iter().any(|broken| broken == name) || self.things.iter().any(|(known, _)| known == name)
    }

    /// Whether all that was typed is here.
    pub(super) fn is_whole(&self) -> bool {
        self.broken.is_empty()
    }

    /// Whether nothing was typed, not even something wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.broken.is_empty() && self.things.is_empty()
    }
}

impl<T> Field<Named<T>> {
    /// The things typed; none if there is no such key.
    pub(super) fn things(&self) -> &[(String, At<T>)] {
        self.value().map(|named| named.things.as_slice()).unwrap_or_default()
    }

    /// Whether `name` is there or may be, as far as mistakes let us see.
    pub(super) fn may_mention(&self, name: &str) -> bool {
        match self {
            Self::Missing => false,
            Self::Wrong => true,
            Self::Given(at) => at.value.mentions(name),
        }
    }
}

impl<T: Read> Read for Named<T> {
    fn read(node: Node, walk: &mut Walk<'_>) -> Option<Self> {
        let keys = Keys::of(node, walk)?;
        let (mut things, mut broken) = (Vec::new(), Vec::new());
        for (name, node) in keys.nodes {
            let place = node.place.clone();
            // Any of the name types would do: they share the rule.
            if name.parse::<crate::id::LimitName>().is_err() {
                walk.wrong(&place, format!("this name cannot be used; a name is {NAME_RULE}"));
            }
            match T::read(node, walk) {
                Some(value) => things.push((name, At { value, place })),
                None => broken.push(name),
            }
        }
        Some(Self { things, broken })
    }
}

/// A list, in the order typed; entries that were wrong are left out.
#[derive(Clone, Debug)]
pub(super) struct List<T> {
    pub(super) entries: Vec<At<T>>,
    /// No entry was typed, not even a wrong one.
    pub(super) is_empty: bool,
}

impl<T> Field<List<T>> {
    /// The entries typed; none if there is no such key.
    pub(super) fn entries(&self) -> &[At<T>] {
        self.value().map(|list| list.entries.as_slice()).unwrap_or_default()
    }
}

impl<T: Read> Read for List<T> {
    fn read(node: Node, walk: &mut Walk<'_>) -> Option<Self> {
        let Value::List(nodes) = node.value else {
            walk.wrong(&node.place, format!("must be a list, not {}; put it in [ ]", node.value.kind()));
            return None;
        };
        let is_empty = nodes.is_empty();
        let mut entries = Vec::new();
        for node in nodes {
            let place = node.place.clone();
            if let Some(value) = T::read(node, walk) {
                entries.push(At { value, place });
            }
        }
        Some(Self { entries, is_empty })
    }
}

/// The text of a node, or a note of what is there instead.
pub(super) fn text(node: Node, example: &str, walk: &mut Walk<'_>) -> Option<String> {
    match (node.value, node.typed) {
        (Value::Text(text), _) => Some(text),
        (Value::Int(_) | Value::Float(_) | Value::Bool(_), Some(typed)) => Some(typed),
        (other, _) => {
            walk.wrong(&node.place, format!("must be text, not {}; write {example}", other.kind()));
            None
        }
    }
}

/// The word among `words` that a node holds.
pub(super) fn word<T: Copy>(node: Node, words: &[(&'static str, T)], walk: &mut Walk<'_>) -> Option<T> {
    let all = one_of(words.iter().map(|(word, _)| *word));
    let place = node.place.clone();
    let typed = text(node, &all, walk)?;
    let found = words.iter().find(|(word, _)| *word == typed).map(|(_, value)| *value);
    if found.is_none() {
        walk.wrong(&place, format!("not one of the words known here; write {all}"));
    }
    found
}

/// The key that a field is written as: `match` for the raw identifier.
pub(super) fn key_name(field: &'static str) -> &'static str {
    field.strip_prefix("r#").unwrap_or(field)
}

/// Declares tables of the file: one line per key. `@not_built` stands before keys
/// of features that come later.
macro_rules! tables {
    ($($(#[doc = $about:literal])* $name:ident { $(
        $(#[doc = $doc:literal])+ $(@$mark:ident)? $key:ident: $type:ty,
    )* })*) => {$(
        $(#[doc = $about])*
        #[allow(dead_code, reason = "every table has its place; keys of later features are checked, not used")]
        #[derive(Clone, Debug)]
        pub(in crate::config) struct $name {
            pub(in crate::config) place: $crate::config::mistake::Place,
            $( pub(in crate::config) $key: $crate::config::read::Field<$type>, )*
        }

        impl $crate::config::read::Read for $name {
            fn read(
                node: $crate::config::tree::Node,
                walk: &mut $crate::config::mistake::Walk<'_>,
            ) -> Option<Self> {
                use $crate::config::read::{Keys, key_name};
                let mut keys = Keys::of(node, walk)?;
                let table = Self {
                    place: keys.place.clone(),
                    $( $key: keys.take(
                        key_name(stringify!($key)),
                        $crate::config::read::standing!($($mark)?),
                        walk,
                    ), )*
                };
                keys.reject_rest(&[$(key_name(stringify!($key))),*], walk);
                Some(table)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                use $crate::config::read::{key_name, standing};
                let mut table = $crate::config::schema::Table::about(&[$($about),*]);
                $( table.key::<$type>(
                    key_name(stringify!($key)),
                    &[$($doc),+],
                    standing!($($mark)?),
                    generator,
                ); )*
                table.into_schema()
            }
        }
    )*};
}

macro_rules! standing {
    () => {
        $crate::config::read::Standing::Works
    };
    (not_built) => {
        $crate::config::read::Standing::NotBuilt
    };
}

pub(super) use {standing, tables};
