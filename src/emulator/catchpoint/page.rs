//! Lists, their filters and pages, and objects by number.

use serde_json::{Map, Value, json};

use super::super::answer::{Ask, Query};
use super::super::options::Links;
use super::world::{Collection, Object, World};
use super::{Outcome, Problem, Said, Sight, missing};

/// The page asked for: `pageNumber` from 1, `pageSize` up to a maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    number: usize,
    size: usize,
}

impl Page {
    pub(super) fn asked(query: &Query, most: usize) -> Result<Self, Problem> {
        let read = |name: &str, default: usize| match query.get(name) {
            None => Ok(default),
            Some(text) => match text.parse() {
                Ok(number) if number > 0 => Ok(number),
                _ => Err(Problem::bad(format!("'{text}' is not valid for {name}."))),
            },
        };
        let page = Self { number: read("pageNumber", 1)?, size: read("pageSize", 100)? };
        if page.size > most {
            return Err(Problem::bad(format!("The maximum value of pageSize is {most}.")));
        }
        Ok(page)
    }

    /// The rows of this page, and whether there are more.
    fn cut<T>(self, rows: impl Iterator<Item = T>) -> (Vec<T>, bool) {
        let skip = (self.number - 1).saturating_mul(self.size);
        let mut rows = rows.skip(skip);
        let page = rows.by_ref().take(self.size).collect();
        (page, rows.next().is_some())
    }

    /// `data` with this page of `rows` under `name`, and the links around it.
    pub(super) fn data(
        self,
        name: &str,
        rows: impl Iterator<Item = Value>,
        ask: &Ask,
        links: Links,
    ) -> Value {
        let (rows, more) = self.cut(rows);
        let mut data = Map::new();
        data.insert(name.to_owned(), Value::Array(rows));
        data.insert("hasMore".to_owned(), json!(more));
        data.insert("next".to_owned(), json!(more.then(|| self.link(self.number + 1, ask, links))));
        let previous = (self.number > 1).then(|| self.link(self.number - 1, ask, links));
        data.insert("previous".to_owned(), json!(previous));
        Value::Object(data)
    }

    fn link(self, number: usize, ask: &Ask, links: Links) -> String {
        let paging = |name: &str| name == "pageNumber" || name == "pageSize";
        let kept = ask.query.0.iter().filter(|(name, _)| !paging(name));
        let mut query: Vec<_> =
            kept.map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        query.push(format!("pageNumber={number}"));
        query.push(format!("pageSize={}", self.size));
        let origin = match links {
            Links::Absolute => ask.origin.as_str(),
            Links::Relative => "",
        };
        format!("{origin}{}?{}", ask.path, query.join("&"))
    }
}

/// `GET tests` and the like.
pub(super) fn list(world: &World, of: Collection, ask: &Ask, (sight, links): (Sight, Links)) -> Outcome {
    // The description gives these two no pages.
    let paged = !matches!(of, Collection::Nodes | Collection::Divisions);
    let page = if paged { Page::asked(&ask.query, 100)? } else { Page { number: 1, size: usize::MAX } };
    let filters = filters(&ask.query);
    let rows = world
        .shelf(of)
        .values()
        .filter(|object| sight.sees(object.division) && filters.iter().all(|filter| filter.fits(object)))
        .map(|object| object.value.clone());
    Ok(Said::data(page.data(of.plural(), rows, ask, links)))
}

/// `GET tests/1,2,3`: those that are there; not found only if none is.
pub(super) fn some(world: &World, of: Collection, ids: &str, sight: Sight) -> Outcome {
    let mut found = Vec::new();
    let mut lost = Vec::new();
    for id in ids.split(',').map(str::trim) {
        match find(world, of, id, sight) {
            Some((_, object)) => found.push(object.value.clone()),
            None => lost.push(missing(of.kind(), id)),
        }
    }
    if found.is_empty() {
        return Err(Problem::NotFound(lost));
    }
    let data = json!({of.plural(): found, "hasMore": false, "next": null, "previous": null});
    Ok(Said { remarks: lost, ..Said::data(data) })
}

/// One object by its number, if it is in sight.
pub(super) fn find<'a>(
    world: &'a World,
    of: Collection,
    id: &str,
    sight: Sight,
) -> Option<(i64, &'a Object)> {
    let id = id.parse().ok()?;
    let object = world.shelf(of).get(&id).filter(|object| sight.sees(object.division))?;
    Some((id, object))
}

/// A condition on an object's fields.
enum Filter<'a> {
    /// One of these numbers, at this field or at `field.id`.
    OneOf(&'static str, Vec<&'a str>),
    /// This text is part of it, whatever the case.
    Contains(&'static str, String),
}

impl Filter<'_> {
    fn fits(&self, object: &Object) -> bool {
        match self {
            Self::OneOf(field, ids) => {
                let value = &object.value[*field];
                let id = if value.is_object() { &value["id"] } else { value };
                ids.contains(&id.to_string().as_str())
            }
            Self::Contains(field, part) => {
                object.value[*field].as_str().is_some_and(|text| text.to_lowercase().contains(part))
            }
        }
    }
}

fn filters(query: &Query) -> Vec<Filter<'_>> {
    const IDS: [(&str, &str); 7] = [
        ("productIds", "productId"),
        ("parentFolderIds", "folderId"),
        ("statusId", "status"),
        ("typeIds", "testType"),
        ("monitorIds", "monitor"),
        ("divisionId", "divisionId"),
        ("alertsPaused", "alertsPaused"),
    ];
    const TEXTS: [&str; 2] = ["name", "url"];
    let ids = IDS.iter().filter_map(|(name, field)| Some(Filter::OneOf(field, query.list(name)?)));
    let texts = TEXTS.iter().filter_map(|name| Some(Filter::Contains(name, query.get(name)?.to_lowercase())));
    ids.chain(texts).collect()
}

fn encode(text: &str) -> String {
    const KEEP: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~')
        .remove(b',')
        .remove(b':');
    percent_encoding::utf8_percent_encode(text, KEEP).to_string()
}
