//! Lists that come in pages: how each vendor tells the next, and how its pages
//! become one list in the vendor's own shape.
//!
//! A [`Walk`] takes page after page, keeps the bytes of their items as they came,
//! and the first page around them. It never makes up an end: a page that does not
//! say what its vendor's pages say is an error, and so is one that says that more
//! follows without saying where. Whoever walks bounds the number of pages and bytes.

use std::collections::HashSet;

use bytes::Bytes;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Dialect, Manner, netskope};

/// How a vendor's pages are told apart: one variant for each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Catchpoint: one list in `data`, beside `hasMore` and a link in `next`.
    Envelope,
    /// Catchpoint v1: `items`, all of them at once.
    Whole,
    /// Recorded Future: `data`, and in `next` the next `offset`, absent at the end.
    Offset,
    /// `PrivX`: `items` of `count`, from `offset` on.
    Counted,
    /// Netskope: this list, from this parameter on, until a page has fewer.
    Until {
        /// The member that holds the list.
        list: &'static str,
        /// The parameter that says how many to leave out.
        skip: &'static str,
    },
}

/// Where the next page is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// There is none: the list is whole.
    End,
    /// At this link, as callers are told it.
    Link(String),
    /// At the same target with this parameter set.
    Set(&'static str, String),
}

/// Why a page cannot be part of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAPage {
    /// It is no JSON object.
    #[error("it is no JSON object")]
    Json,
    /// It holds no list, or more than one.
    #[error("it does not hold exactly one list")]
    NoList,
    /// The vendor says itself that it went wrong.
    #[error("the vendor says that it is not complete")]
    Unfinished,
    /// Its list, or what is around it, is not as on the first page.
    #[error("it has another shape than the page before")]
    Changed,
    /// More follows, and it does not say where.
    #[error("it does not say where the next page is")]
    NoNext,
    /// It leads back to a page that was read.
    #[error("it leads back to a page before it")]
    Loop,
    /// The list became longer or shorter in the meantime.
    #[error("the list changed while it was read")]
    Moved,
}

impl Dialect {
    /// How the pages of the lists at `path` are told apart; none where weir does not
    /// walk them: what is for one caller alone may be another page each time.
    #[must_use]
    pub fn pages(&self, path: &str) -> Option<Pages> {
        if self.manner(path) != Manner::Shared {
            return None;
        }
        match self {
            Self::Catchpoint(_) => Some(Pages::Envelope),
            Self::CatchpointV1 => Some(Pages::Whole),
            Self::Sandbox(_) => Some(Pages::Offset),
            Self::Privx => Some(Pages::Counted),
            Self::Netskope if netskope::is_v1(path) => Some(Pages::Until { list: "data", skip: "skip" }),
            Self::Netskope => Some(Pages::Until { list: "result", skip: "offset" }),
            // A weir behind this one walks for itself.
            Self::Generic(_) | Self::Weir => None,
        }
    }
}

/// One walk over the pages of a list.
#[derive(Debug)]
pub struct Walk {
    pages: Pages,
    /// The offset of the first page, where pages are counted from one.
    from: u64,
    first: Option<First>,
    items: Vec<u8>,
    count: u64,
    turns: HashSet<String>,
}

/// What is kept of the first page.
#[derive(Debug)]
struct First {
    body: Bytes,
    list: String,
    count: u64,
}

/// The members of an object in their order, values as they came.
type Members<'a> = Vec<(String, &'a RawValue)>;

impl Walk {
    /// A walk that has read nothing yet; `from` is what the caller skips itself.
    #[must_use]
    pub fn new(pages: Pages, from: u64) -> Self {
        Self { pages, from, first: None, items: Vec::new(), count: 0, turns: HashSet::new() }
    }

    /// Bytes of items so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.items.len()
    }

    /// Takes the next page; says where the one after it is.
    ///
    /// # Errors
    /// Nothing that was read may be shown as the list then.
    pub fn take(&mut self, body: &Bytes) -> Result<Next, NotAPage> {
        let top = members(text(body)?).ok_or(NotAPage::Json)?;
        let inner = match self.pages {
            Pages::Envelope => {
                if find(&top, "completed").is_some_and(|value| value.get() == "false") {
                    return Err(NotAPage::Unfinished);
                }
                find(&top, "data").and_then(|data| members(data.get())).ok_or(NotAPage::NoList)?
            }
            _ => top,
        };
        let says_error = find(&inner, "status").is_some_and(|status| status.get() == "\"error\"");
        if matches!(self.pages, Pages::Until { .. }) && says_error {
            return Err(NotAPage::Unfinished);
        }
        let name = self.list_name(&inner)?;
        let items: Vec<&RawValue> = find(&inner, &name)
            .and_then(|list| serde_json::from_str(list.get()).ok())
            .ok_or(NotAPage::NoList)?;
        for item in &items {
            if !self.items.is_empty() {
                self.items.push(b',');
            }
            self.items.extend_from_slice(item.get().as_bytes());
        }
        let here = items.len() as u64;
        self.count += here;
        let before =
            self.first.get_or_insert_with(|| First { body: body.clone(), list: name, count: here }).count;
        let next = self.next(&inner, here, before)?;
        let turn = match &next {
            Next::End => return Ok(next),
            Next::Link(to) | Next::Set(_, to) => to.clone(),
        };
        if self.turns.insert(turn) { Ok(next) } else { Err(NotAPage::Loop) }
    }

    /// The member that is the list: the same on each page.
    fn list_name(&self, inner: &Members<'_>) -> Result<String, NotAPage> {
        let is_list = |value: &RawValue| value.get().starts_with('[');
        let name = match self.pages {
            Pages::Envelope => {
                let mut lists = inner.iter().filter(|(_, value)| is_list(value));
                match (lists.next(), lists.next()) {
                    (Some((name, _)), None) => name.as_str(),
                    _ => return Err(self.first.as_ref().map_or(NotAPage::NoList, |_| NotAPage::Changed)),
                }
            }
            Pages::Whole | Pages::Counted => "items",
            Pages::Offset => "data",
            Pages::Until { list, .. } => list,
        };
        let there = find(inner, name).is_some_and(is_list);
        match &self.first {
            None if there => Ok(name.to_owned()),
            None => Err(NotAPage::NoList),
            Some(first) if there && first.list == name => Ok(name.to_owned()),
            Some(_) => Err(NotAPage::Changed),
        }
    }

    /// Where the page after one with `here` items is; the first had `before`.
    fn next(&self, inner: &Members<'_>, here: u64, before: u64) -> Result<Next, NotAPage> {
        match self.pages {
            Pages::Whole => Ok(Next::End),
            Pages::Envelope => match (find(inner, "hasMore").map(RawValue::get), string(inner, "next")) {
                (Some("false"), _) => Ok(Next::End),
                (_, Some(link)) => Ok(Next::Link(link)),
                (Some(_), None) => Err(NotAPage::NoNext),
                // Some lists have no pages at all; what begins with pages goes on with them.
                (None, None) if self.turns.is_empty() => Ok(Next::End),
                (None, None) => Err(NotAPage::Changed),
            },
            Pages::Offset => match find(inner, "next").map(RawValue::get) {
                None | Some("null" | "\"\"") => Ok(Next::End),
                Some(_) => string(inner, "next").map(|to| Next::Set("offset", to)).ok_or(NotAPage::NoNext),
            },
            Pages::Counted => {
                let total = find(inner, "count").and_then(|count| count.get().parse::<u64>().ok());
                let (total, reached) = (total.ok_or(NotAPage::Changed)?, self.from + self.count);
                match reached.cmp(&total) {
                    std::cmp::Ordering::Less if here == 0 => Err(NotAPage::Moved),
                    std::cmp::Ordering::Less => Ok(Next::Set("offset", reached.to_string())),
                    std::cmp::Ordering::Equal => Ok(Next::End),
                    // Beyond its end one gets nothing; but not in the middle of a walk.
                    std::cmp::Ordering::Greater if self.count == 0 => Ok(Next::End),
                    std::cmp::Ordering::Greater => Err(NotAPage::Moved),
                }
            }
            // A page may hold less than was asked for, since vendors clip `limit`
            // in silence: only one that is shorter than the first proves the end.
            Pages::Until { skip, .. } if here > 0 && here >= before => {
                Ok(Next::Set(skip, (self.from + self.count).to_string()))
            }
            Pages::Until { .. } => Ok(Next::End),
        }
    }

    /// The whole list in the shape of its first page; none if nothing was read.
    #[must_use]
    pub fn whole(self) -> Option<Bytes> {
        let first = self.first?;
        let top = members(std::str::from_utf8(&first.body).ok()?)?;
        let mut out = Vec::with_capacity(self.items.len() + first.body.len());
        let list = |out: &mut Vec<u8>| {
            out.push(b'[');
            out.extend_from_slice(&self.items);
            out.push(b']');
        };
        let inner = |members: &Members<'_>, out: &mut Vec<u8>| {
            object(members, out, |name, value, out| match name {
                name if name == first.list => list(out),
                "hasMore" => out.extend_from_slice(b"false"),
                "next" if self.pages == Pages::Envelope => out.extend_from_slice(b"null"),
                _ => out.extend_from_slice(value.get().as_bytes()),
            });
        };
        match self.pages {
            Pages::Envelope => object(&top, &mut out, |name, value, out| {
                match members(value.get()).filter(|_| name == "data") {
                    Some(data) => inner(&data, out),
                    None => out.extend_from_slice(value.get().as_bytes()),
                }
            }),
            Pages::Offset => {
                // The last page says that it is the last by having none.
                let ended: Members<'_> = top.into_iter().filter(|(name, _)| name != "next").collect();
                inner(&ended, &mut out);
            }
            Pages::Whole | Pages::Counted | Pages::Until { .. } => inner(&top, &mut out),
        }
        Some(out.into())
    }
}

fn text(body: &Bytes) -> Result<&str, NotAPage> {
    std::str::from_utf8(body).map_err(|_| NotAPage::Json)
}

fn find<'a>(members: &Members<'a>, name: &str) -> Option<&'a RawValue> {
    members.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
}

/// A member that is a text, and not an empty one.
fn string(members: &Members<'_>, name: &str) -> Option<String> {
    let text: String = serde_json::from_str(find(members, name)?.get()).ok()?;
    Some(text).filter(|text| !text.is_empty())
}

/// Writes an object, each value as `write` says.
fn object(members: &Members<'_>, out: &mut Vec<u8>, write: impl Fn(&str, &RawValue, &mut Vec<u8>)) {
    out.push(b'{');
    for (index, (name, value)) in members.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(serde_json::Value::from(name.as_str()).to_string().as_bytes());
        out.push(b':');
        write(name, value, out);
    }
    out.push(b'}');
}

/// The members of `json`, if it is an object.
fn members(json: &str) -> Option<Members<'_>> {
    struct InOrder;
    impl<'de> Visitor<'de> for InOrder {
        type Value = Members<'de>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let members = deserializer.deserialize_map(InOrder).ok()?;
    deserializer.end().ok()?;
    Some(members)
}

#[cfg(test)]
mod tests;
