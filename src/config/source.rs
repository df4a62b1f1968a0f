//! Text and environment to one untyped tree that knows where each value stands.
//!
//! figment merges: the file below, one `WEIR__SECTION__KEY` variable after the
//! other on top, tables joined key by key, everything else replaced. The spans
//! of `toml_edit`, which also parses the file, give the lines.

use std::collections::BTreeMap;

use figment::value::{Dict, Map, Num, Tag, Value as Merged};
use figment::{Figment, Metadata, Profile, Provider};
use toml_edit::{Document, Item};

use super::mistake::{Mistakes, Place, Spot, Walk};
use super::tree::{Node, Value};

/// What a variable that overrides a key begins with.
const PREFIX: &str = "WEIR__";

/// The merged tree of `text` (TOML) and of the overrides in the walk's environment.
///
/// # Errors
/// Text that is no TOML: nothing can be said about its keys.
pub(super) fn read(file: &str, text: &str, walk: &mut Walk<'_>) -> Result<Node, Mistakes> {
    let lines = Lines::of(text);
    let document = Document::parse(text).map_err(|error| not_toml(file, &lines, &error))?;
    let mut figment =
        Figment::new().merge(Layer { metadata: Metadata::named("file"), dict: table_of(document.as_item()) });
    let env = walk.env;
    for (name, value) in env.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        match override_of(name, value) {
            Some(layer) => figment = figment.merge(layer),
            None => walk.wrong(
                &Place { spot: Spot::Variable(name.clone()), path: String::new() },
                "names no key; write the path of the key, such as WEIR__SERVER__LISTEN",
            ),
        }
    }
    let merged =
        figment.data().map_err(|_| Mistakes::whole_file(file, "cannot be merged with the environment"))?;
    let root = merged.into_iter().find(|(profile, _)| *profile == Profile::Default).map(|(_, dict)| dict);
    let reader = Reader { figment: &figment, lines: &lines, env };
    Ok(reader.node(Merged::from(root.unwrap_or_default()), Some(document.as_item()), Place::root()))
}

fn not_toml(file: &str, lines: &Lines, error: &toml_edit::TomlError) -> Mistakes {
    let line = error.span().map_or(1, |span| lines.number(span.start));
    Mistakes::whole_file(
        &format!("{file}:{line}"),
        &format!("not TOML: {}; correct the syntax here", error.message()),
    )
}

/// One source of values for figment, under one name.
struct Layer {
    metadata: Metadata,
    dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.dict.clone())]))
    }
}

/// `WEIR__A__B=v` as `{ a: { b: v } }`, the value in figment's notation for variables.
fn override_of(name: &str, value: &str) -> Option<Layer> {
    let mut path: Vec<String> = name.strip_prefix(PREFIX)?.split("__").map(str::to_ascii_lowercase).collect();
    if path.iter().any(String::is_empty) {
        return None;
    }
    let last = path.pop()?;
    // Infallible: what is no list, table or number is text.
    let value = value.parse().unwrap_or_else(|_| Merged::from(value));
    let mut dict = Dict::from([(last, value)]);
    for key in path.into_iter().rev() {
        dict = Dict::from([(key, Merged::from(dict))]);
    }
    Some(Layer { metadata: Metadata::named(name.to_owned()), dict })
}

fn table_of(item: &Item) -> Dict {
    let Some(table) = item.as_table_like() else { return Dict::new() };
    table.iter().map(|(key, item)| (key.to_owned(), value_of(item))).collect()
}

fn value_of(item: &Item) -> Merged {
    if item.is_table_like() {
        return Merged::from(table_of(item));
    }
    if let Some(entries) = entries(item) {
        return Merged::Array(Tag::Default, entries.iter().map(value_of).collect());
    }
    if let Some(int) = item.as_integer() {
        return Merged::from(int);
    }
    if let Some(float) = item.as_float() {
        return Merged::from(float);
    }
    if let Some(truth) = item.as_bool() {
        return Merged::from(truth);
    }
    let date = || item.as_datetime().map(ToString::to_string);
    Merged::from(item.as_str().map(str::to_owned).or_else(date).unwrap_or_default())
}

/// The entries of a list of either notation.
fn entries(item: &Item) -> Option<Vec<Item>> {
    match item {
        Item::ArrayOfTables(tables) => Some(tables.iter().cloned().map(Item::Table).collect()),
        _ => item.as_array().map(|array| array.iter().cloned().map(Item::Value).collect()),
    }
}

/// Puts places to merged values.
struct Reader<'a> {
    figment: &'a Figment,
    lines: &'a Lines,
    env: &'a BTreeMap<String, String>,
}

impl Reader<'_> {
    /// `item` is what the file has at this path, if anything.
    fn node(&self, merged: Merged, item: Option<&Item>, place: Place) -> Node {
        let variable = self.variable(&merged);
        // A variable that replaced a value leaves nothing of the file's below it;
        // one that only joined a table does.
        let item = item.filter(|item| variable.is_none() || item.is_table_like());
        let spot = match &variable {
            Some(name) if item.is_none() => Spot::Variable(name.clone()),
            _ => place.spot.clone(),
        };
        let place = Place { spot, ..place };
        let typed = variable.and_then(|name| self.env.get(&name)).filter(|raw| is_scalar(raw)).cloned();
        let value = match merged {
            Merged::Dict(_, dict) => Value::Table(self.table(dict, item, &place)),
            Merged::Array(_, list) => Value::List(self.list(list, item, &place)),
            Merged::String(_, text) => Value::Text(text),
            Merged::Char(_, char) => Value::Text(char.to_string()),
            Merged::Bool(_, truth) => Value::Bool(truth),
            Merged::Num(_, num) => number(num),
            Merged::Empty(..) => Value::Text(String::new()),
        };
        Node { place, value, typed }
    }

    fn table(&self, dict: Dict, item: Option<&Item>, place: &Place) -> BTreeMap<String, Node> {
        let table = item.and_then(Item::as_table_like);
        let child = |(key, merged): (String, Merged)| {
            let (span, item) = match table.and_then(|table| table.get_key_value(&key)) {
                Some((key, item)) => (key.span().or_else(|| item.span()), Some(item)),
                None => (None, None),
            };
            let place = place.child(&key, self.spot(span, place));
            let node = self.node(merged, item, place);
            (key, node)
        };
        dict.into_iter().map(child).collect()
    }

    fn list(&self, list: Vec<Merged>, item: Option<&Item>, place: &Place) -> Vec<Node> {
        let items = item.and_then(entries).unwrap_or_default();
        let child = |(index, merged)| {
            let item = items.get(index);
            let place = place.entry(index, self.spot(item.and_then(Item::span), place));
            self.node(merged, item, place)
        };
        list.into_iter().enumerate().map(child).collect()
    }

    fn spot(&self, span: Option<std::ops::Range<usize>>, parent: &Place) -> Spot {
        span.map_or_else(|| parent.spot.clone(), |span| Spot::Line(self.lines.number(span.start)))
    }

    /// The variable that a merged value came from.
    fn variable(&self, merged: &Merged) -> Option<String> {
        let metadata = self.figment.get_metadata(merged.tag())?;
        metadata.name.starts_with(PREFIX).then(|| metadata.name.to_string())
    }
}

fn is_scalar(raw: &str) -> bool {
    !raw.trim_start().starts_with(['{', '[', '"', '\''])
}

fn number(num: Num) -> Value {
    match (num.to_i128(), num.to_u128()) {
        (Some(int), _) => Value::Int(int),
        (None, Some(int)) => Value::Int(i128::try_from(int).unwrap_or(i128::MAX)),
        (None, None) => Value::Float(num.to_f64().unwrap_or(f64::NAN)),
    }
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    /// The number of the line that byte `at` is in; 1 is the first.
    fn number(&self, at: usize) -> usize {
        self.0.partition_point(|start| *start <= at).max(1)
    }
}
