//! The JSON Schema of the file (draft 2020-12), from the same lines that read it.
//!
//! Nothing is `required` in it: what a file leaves out, a variable may supply.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::raw;
use super::read::{List, Named, Standing};

/// The JSON Schema of the configuration file, draft 2020-12.
#[must_use]
pub fn schema() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<raw::File>().to_value()
}

/// The schema of one table while its keys are added.
pub(super) struct Table {
    about: String,
    properties: Map<String, Value>,
}

impl Table {
    pub(super) fn about(doc: &[&str]) -> Self {
        Self { about: sentence(doc), properties: Map::new() }
    }

    pub(super) fn key<T: JsonSchema>(
        &mut self,
        key: &str,
        doc: &[&str],
        standing: Standing,
        generator: &mut SchemaGenerator,
    ) {
        let mut schema = generator.subschema_for::<T>();
        schema.insert("description".into(), json!(sentence(doc) + standing.note()));
        self.properties.insert(key.into(), schema.to_value());
    }

    pub(super) fn into_schema(self) -> Schema {
        json_schema!({
            "type": "object",
            "description": self.about,
            "properties": self.properties,
            "additionalProperties": false,
        })
    }
}

fn sentence(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Named_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": { "pattern": "^[a-z0-9_-]{1,40}$" },
            "additionalProperties": generator.subschema_for::<T>(),
        })
    }
}

impl<T: JsonSchema> JsonSchema for List<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("List_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": generator.subschema_for::<T>() })
    }
}
