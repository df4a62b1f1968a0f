//! Keys whose value may have more than one shape.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::OnLoss;
use super::mistake::{Walk, did_you_mean, one_of};
use super::raw;
use super::read::{At, Field, List, Named, Read, text};
use super::scalar::{HeaderText, Part, PatternText, RateText, decimal, schema_of};
use super::tree::{Node, Value};
use crate::dialect;

/// The name of a dialect that is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialects(pub(super) &'static str);

impl Read for Dialects {
    fn read(node: Node, walk: &mut Walk<'_>) -> Option<Self> {
        let place = node.place.clone();
        let built = one_of(dialect::NAMES.iter().copied());
        let typed = text(node, &built, walk)?;
        if let Some(name) = dialect::NAMES.iter().find(|name| **name == typed) {
            return Some(Self(name));
        }
        let words = if let Some(near) = did_you_mean(&typed, dialect::NAMES.iter().copied()) {
            format!("no dialect has this name; did you mean \"{near}\"?")
        } else {
            format!("no dialect has this name; write {built}")
        };
        walk.wrong(&place, words);
        None
    }
}

impl JsonSchema for Dialects {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Dialect".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": dialect::NAMES })
    }
}

/// A limit: `"20/1m"`, `false` or a table.
#[derive(Clone, Debug)]
pub(super) enum LimitValue {
    /// Sets requests and per only.
    Rate(RateText),
    /// Removes it.
    Removed,
    /// Sets what it names.
    Table(Box<raw::Limit>),
}

impl Read for LimitValue {
    fn read(node: Node, walk: &mut Walk<'_>) -> Option<Self> {
        match node.value {
            Value::Text(_) => RateText::read(node, walk).map(Self::Rate),
            Value::Table(_) => raw::Limit::read(node, walk).map(|limit| Self::Table(Box::new(limit))),
            Value::Bool(false) => Some(Self::Removed),
            _ => {
                walk.wrong(
                    &node.place,
                    "not a limit; write \"20/1m\", { requests = 20, per = \"1m\" }, or false to remove it",
                );
                None
            }
        }
    }
}

impl JsonSchema for LimitValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LimitValue".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            generator.subschema_for::<RateText>(),
            { "const": false },
            generator.subschema_for::<raw::Limit>(),
        ] })
    }
}

/// A reserve: a part of every window of a minute or longer, or requests by limit.
#[derive(Clone, Debug)]
pub(super) enum ReserveValue {
    Part(Part),
    ByLimit(Named<u64>),
}

impl Read for ReserveValue {
    fn read(node: Node, walk: &mut Walk<'_>) -> Option<Self> {
        match node.value {
            Value::Table(_) => Named::read(node, walk).map(Self::ByLimit),
            Value::Text(_) | Value::Float(_) => Part::read(node, walk).map(Self::Part),
            _ => {
                walk.wrong(
                    &node.place,
                    "not a reserve; write \"10%\", or requests by limit such as { minute = 2 }",
                );
                None
            }
        }
    }
}

impl JsonSchema for ReserveValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Reserve".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [generator.subschema_for::<Part>(), generator.subschema_for::<Named<u64>>()] })
    }
}

/// The values of one key: one table, or a list of them while several are valid.
#[derive(Clone, Debug)]
pub(super) struct KeyTables(pub(super) Vec<raw::Key>);

impl Read for KeyTables {
    fn read(node: Node, walk: &mut Walk<'_>) -> Option<Self> {
        if !matches!(node.value, Value::List(_)) {
            return raw::Key::read(node, walk).map(|key| Self(vec![key]));
        }
        let place = node.place.clone();
        let typed = List::<raw::Key>::read(node, walk)?;
        if typed.is_empty {
            walk.wrong(&place, "has no value; write [[…]] once or twice");
            return None;
        }
        Some(Self(typed.entries.into_iter().map(|At { value, .. }| value).collect()))
    }
}

impl JsonSchema for KeyTables {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Keys".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let key = generator.subschema_for::<raw::Key>();
        json_schema!({ "anyOf": [key, { "type": "array", "items": key, "minItems": 1, "maxItems": 2 }] })
    }
}

/// Paths of files: one, or a list.
#[derive(Clone, Debug)]
pub(super) struct FilesValue(pub(super) Vec<At<String>>);

impl Read for FilesValue {
    fn read(node: Node, walk: &mut Walk<'_>) -> Option<Self> {
        let place = node.place.clone();
        let Value::List(_) = node.value else {
            return String::read(node, walk).map(|value| Self(vec![At { value, place }]));
        };
        let typed = List::<String>::read(node, walk)?;
        if typed.is_empty {
            walk.wrong(&place, "an empty list names no file; name one, or leave it out");
            return None;
        }
        Some(Self(typed.entries))
    }
}

schema_of!(FilesValue, {
    "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "minItems": 1 }],
});

/// `"all"`, a class of the dialect, or patterns.
#[derive(Clone, Debug)]
pub(super) enum RoutesValue {
    Word(String),
    Patterns(List<PatternText>),
}

impl Read for RoutesValue {
    fn read(node: Node, walk: &mut Walk<'_>) -> Option<Self> {
        match node.value {
            Value::List(_) => List::read(node, walk).map(Self::Patterns),
            _ => text(node, "\"all\", a class, or patterns in [ ]", walk).map(Self::Word),
        }
    }
}

schema_of!(RoutesValue, {
    "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
});

/// The most that may wait: per consumer, or also in all.
#[derive(Clone, Debug)]
pub(super) struct QueueValue {
    pub(super) per_consumer: Field<u64>,
    pub(super) total: Field<u64>,
}

super::read::tables! {
    /// The most that may wait.
    QueueTable {
        /// Per consumer.
        per_consumer: u64,
        /// In all.
        total: u64,
    }

    /// Where the key goes, by name.
    CredentialTable {
        /// The header that holds the key.
        header: HeaderText,
        /// The query parameter that holds the key.
        query: String,
    }
}

impl Read for QueueValue {
    fn read(node: Node, walk: &mut Walk<'_>) -> Option<Self> {
        if let Value::Table(_) = node.value {
            let QueueTable { per_consumer, total, .. } = QueueTable::read(node, walk)?;
            return Some(Self { per_consumer, total });
        }
        let place = node.place.clone();
        let value = u64::read(node, walk)?;
        Some(Self { per_consumer: Field::Given(At { value, place }), total: Field::Missing })
    }
}

impl JsonSchema for QueueValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MaxQueue".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [generator.subschema_for::<u64>(), generator.subschema_for::<QueueTable>()] })
    }
}

/// Where a generic upstream's key goes.
#[derive(Clone, Debug)]
pub(super) struct CredentialValue(pub(super) dialect::Credential);

impl Read for CredentialValue {
    fn read(node: Node, walk: &mut Walk<'_>) -> Option<Self> {
        let place = node.place.clone();
        let help = "\"bearer\", \"basic\", { header = \"X-Api-Key\" } or { query = \"token\" }";
        if !matches!(node.value, Value::Table(_)) {
            return match text(node, help, walk)?.as_str() {
                "bearer" => Some(Self(dialect::Credential::Bearer)),
                "basic" => Some(Self(dialect::Credential::Basic)),
                _ => {
                    walk.wrong(&place, format!("not a place for a key; write {help}"));
                    None
                }
            };
        }
        let table = CredentialTable::read(node, walk)?;
        match (table.header, table.query) {
            (Field::Given(header), Field::Missing) => Some(Self(dialect::Credential::Header(header.value.0))),
            (Field::Missing, Field::Given(query)) if !query.value.is_empty() => {
                Some(Self(dialect::Credential::Query(query.value)))
            }
            (Field::Wrong, _) | (_, Field::Wrong) => None,
            _ => {
                walk.wrong(&place, format!("must name one place for the key; write {help}"));
                None
            }
        }
    }
}

impl JsonSchema for CredentialValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Credential".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "enum": ["bearer", "basic"] }, generator.subschema_for::<CredentialTable>()] })
    }
}

/// What a replica does that is cut off: nothing more, or a part set aside for it.
#[derive(Clone, Debug)]
pub(super) struct OnLossWord(pub(super) OnLoss);

impl Read for OnLossWord {
    fn read(node: Node, walk: &mut Walk<'_>) -> Option<Self> {
        let place = node.place.clone();
        let typed = text(node, "\"closed\" or \"share:0.1\"", walk)?;
        if typed == "closed" {
            return Some(Self(OnLoss::Closed));
        }
        let part = typed.strip_prefix("share:").map(|part| match part.starts_with('.') {
            true => decimal(&format!("0{part}"), 8),
            false => decimal(part, 8),
        });
        if let Some(parts) = part.flatten().filter(|parts| (1..=OnLoss::WHOLE).contains(parts)) {
            return Some(Self(OnLoss::Share(parts)));
        }
        walk.wrong(&place, "not known; write \"closed\", or \"share:0.1\" for a tenth set aside");
        None
    }
}

schema_of!(OnLossWord, { "type": "string", "pattern": "^(closed|share:(0?\\.[0-9]+|1))$" });
