//! Lists of URLs: written, read back, replaced as v1 does it.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::super::answer::{Answer, Ask};

const LISTS: usize = 1_000;

/// All lists, by number.
#[derive(Debug, Default)]
pub(super) struct UrlLists(BTreeMap<u64, Value>);

impl UrlLists {
    /// v1: the whole list, made if there is none of this name.
    pub(super) fn replace(&mut self, name: &str, urls: Vec<String>) {
        let known = self.0.iter().find(|(_, list)| list["name"] == name).map(|(id, _)| *id);
        if known.is_none() && self.0.len() >= LISTS {
            return;
        }
        let id = known.unwrap_or_else(|| self.next_id());
        self.0.insert(id, list(id, name, &json!(urls)));
    }

    pub(super) fn named(&self, name: &str) -> Option<&Value> {
        self.0.values().find(|list| list["name"] == name)
    }

    /// v2, below `policy/urllist`.
    pub(super) fn answer(&mut self, ask: &Ask, rest: &[&str]) -> Answer {
        let id = rest.first().and_then(|id| id.parse().ok());
        match (ask.method.as_str(), rest, id) {
            ("GET" | "HEAD", [], _) => {
                Answer::json(StatusCode::OK, &json!(self.0.values().collect::<Vec<_>>()))
            }
            ("POST", [], _) => {
                let id = self.next_id();
                self.write(id, ask)
            }
            (_, [_], Some(id)) if !self.0.contains_key(&id) => missing(),
            ("GET" | "HEAD", [_], Some(id)) => Answer::json(StatusCode::OK, &self.0[&id]),
            ("PUT" | "PATCH", [_], Some(id)) => self.write(id, ask),
            ("DELETE", [_], Some(id)) => {
                self.0.remove(&id);
                Answer::whole(StatusCode::OK, Bytes::new())
            }
            (_, [_], None) => missing(),
            (method, _, _) => {
                let what = json!({"message": format!("{method} is not allowed here")});
                Answer::json(StatusCode::METHOD_NOT_ALLOWED, &what)
            }
        }
    }

    fn write(&mut self, id: u64, ask: &Ask) -> Answer {
        let body: Value = serde_json::from_slice(&ask.body).unwrap_or_default();
        let before = self.0.get(&id);
        let name = body["name"].as_str().or_else(|| before?["name"].as_str());
        let urls = [&body["data"]["urls"], before.map_or(&Value::Null, |list| &list["data"]["urls"])];
        let urls = urls.into_iter().find(|urls| urls.is_array());
        let room = ask.method != Method::POST || self.0.len() < LISTS;
        match (name, urls) {
            (Some(name), Some(urls)) if room => {
                let list = list(id, name, urls);
                self.0.insert(id, list.clone());
                Answer::json(StatusCode::OK, &list)
            }
            _ => {
                Answer::json(StatusCode::BAD_REQUEST, &json!({"message": "name and data.urls are required"}))
            }
        }
    }

    fn next_id(&self) -> u64 {
        self.0.last_key_value().map_or(1, |(id, _)| id + 1)
    }
}

fn list(id: u64, name: &str, urls: &Value) -> Value {
    json!({"id": id, "name": name, "data": {"urls": urls, "type": "exact"}, "pending": 0})
}

fn missing() -> Answer {
    Answer::json(StatusCode::NOT_FOUND, &json!({"message": "no such list"}))
}
