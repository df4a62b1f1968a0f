//! The JSON Schema and the walk over a file know the same keys.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use weir::config;

/// A step from a table to what is in it.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Key(String),
    Item,
}

/// A table of the file: how to get there, and its keys.
struct Table {
    path: Vec<Step>,
    keys: BTreeSet<String>,
    /// `{ env = … }` and the like, of which one key is chosen.
    choice: bool,
}

/// Follows `$ref`.
pub(super) fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => resolve(root, root.pointer(reference.trim_start_matches('#')).unwrap()),
        None => schema,
    }
}

/// The shapes that a value may have.
pub(super) fn shapes<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let schema = resolve(root, schema);
    match schema.get("anyOf").and_then(Value::as_array) {
        Some(any) => any.iter().flat_map(|shape| shapes(root, shape)).collect(),
        None => vec![schema],
    }
}

fn tables(root: &Value, schema: &Value, path: &[Step], found: &mut Vec<Table>) {
    for shape in shapes(root, schema) {
        let below = |step: Step| [path, &[step]].concat();
        let nothing = Map::new();
        let properties = shape.get("properties").and_then(Value::as_object).unwrap_or(&nothing);
        if !properties.is_empty() {
            let keys = properties.keys().cloned().collect();
            found.push(Table { path: path.to_vec(), keys, choice: shape.get("required").is_some() });
        }
        for (key, schema) in properties {
            tables(root, schema, &below(Step::Key(key.clone())), found);
        }
        if let Some(named @ Value::Object(_)) = shape.get("additionalProperties") {
            tables(root, named, &below(Step::Key("x".into())), found);
        }
        if let Some(item) = shape.get("items") {
            tables(root, item, &below(Step::Item), found);
        }
    }
}

/// A file with nothing but `inner` at `path`.
fn file(path: &[Step], inner: &str) -> String {
    let mut text = inner.to_owned();
    for step in path.iter().rev() {
        text = match step {
            Step::Key(key) => format!("{{ {key} = {text} }}"),
            Step::Item => format!("[{text}]"),
        };
    }
    // The outermost braces are the file itself.
    text.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap().trim().to_owned()
}

fn mistakes(text: &str) -> String {
    config::load_str("weir.toml", text, std::iter::empty())
        .map(|_| String::new())
        .unwrap_or_else(|m| m.to_string())
}

#[test]
fn the_schema_and_the_walk_know_the_same_keys() {
    let root = config::schema();
    assert_eq!(root["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let mut found = Vec::new();
    tables(&root, &root, &[], &mut found);
    assert!(found.len() > 20, "only {} tables", found.len());
    for Table { path, keys, choice } in found {
        let said = mistakes(&file(&path, "{ zzzzzz = 1 }"));
        let unknown = said
            .lines()
            .find(|line| line.contains("zzzzzz: unknown key; "))
            .unwrap_or_else(|| panic!("{path:?}: {said}"));
        if !choice {
            let known = unknown.split_once("known here are ").unwrap().1.split(", ").map(str::to_owned);
            assert_eq!(known.collect::<BTreeSet<_>>(), keys, "{path:?}");
        }
        for key in keys {
            let said = mistakes(&file(&path, &format!("{{ {key} = 1 }}")));
            assert!(!said.contains("unknown key"), "{path:?} {key}: {said}");
        }
    }
}

/// Editors show these to whoever writes a file.
#[test]
fn every_key_is_described() {
    fn described(root: &Value, schema: &Value, path: &str) {
        for shape in shapes(root, schema) {
            for (key, of) in shape.get("properties").and_then(Value::as_object).into_iter().flatten() {
                let at = format!("{path}.{key}");
                if shape.get("required").is_none() {
                    assert!(
                        of.get("description").is_some_and(|text| text.as_str().is_some_and(|t| t.len() > 5)),
                        "{at}"
                    );
                }
                described(root, of, &at);
            }
            for inner in [shape.get("additionalProperties"), shape.get("items")].into_iter().flatten() {
                described(root, inner, path);
            }
        }
    }
    let root = config::schema();
    described(&root, &root, "");
}
