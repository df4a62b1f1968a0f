//! `PrivX`: stores of hosts, roles, users, connections and secrets behind OAuth.
//!
//! Lists are `{"count","items"}`, with `offset`, `limit`, `sortkey` and `sortdir`;
//! searches are POSTs with the same query and `{"keywords"}` in the body. What is
//! made answers 201 with `Location`. An object that is not there is a 404 without a
//! body, a path that is not there one with a body. A path with a slash at its end
//! is such a path.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use super::answer::{Answer, Ask, Content};
use super::chance::mix;
use super::options::Options;

/// Objects in one store.
const OBJECTS: usize = 10_000;
const TRAIL_LINES: u32 = 20;

/// What there is: its path, the prefix of its numbers, and what names an object.
const STORES: [(&str, &str); 5] = [
    ("/host-store/api/v1/hosts", "common_name"),
    ("/role-store/api/v1/roles", "name"),
    ("/local-user-store/api/v1/users", "username"),
    ("/connection-manager/api/v1/connections", "target_host"),
    ("/vault/api/v1/secrets", "name"),
];

/// The API and its data.
#[derive(Debug)]
pub(crate) struct Privx {
    stores: BTreeMap<&'static str, BTreeMap<String, Value>>,
    pause: Duration,
}

/// An error in this API's shape.
pub(crate) fn error(status: StatusCode, code: &str, property: &str, message: &str) -> Answer {
    let body = json!({"error_code": code, "property": property, "details": [], "message": message});
    Answer::json(status, &body)
}

/// An error of the token endpoint (RFC 6749, section 5.2).
pub(crate) fn oauth_error(error: &str) -> Answer {
    let is_client = error == "invalid_client";
    let status = if is_client { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
    let body = json!({"error": error, "error_description": format!("The sign-in was refused: {error}.")});
    let mut answer = Answer::json(status, &body);
    if is_client {
        answer.set(header::WWW_AUTHENTICATE, "Basic realm=\"privx\"");
    }
    answer
}

/// What did not go well.
enum Problem {
    /// A 404 without a body.
    NotThere,
    /// Status, code, property and message.
    Said(StatusCode, &'static str, String, &'static str),
}

type Outcome = Result<Answer, Problem>;

/// What is asked of one store.
struct Wanted<'a> {
    path: &'static str,
    named: &'static str,
    rest: Vec<&'a str>,
}

impl Privx {
    pub(crate) fn new(options: &Options) -> Self {
        let fill = |(number, (path, named)): (usize, (&'static str, &'static str))| {
            let make = |index: u64| {
                let id = uuid(mix(options.seed, number as u64), index);
                let name = format!("{named}-{index:04}.example.com");
                (id.clone(), json!({"id": id, named: name, "created": "2026-01-01T00:00:00Z"}))
            };
            (path, (0..u64::from(options.tests)).map(make).collect())
        };
        Self { stores: STORES.into_iter().enumerate().map(fill).collect(), pause: options.event_pause }
    }

    /// Answers an authorized request.
    pub(crate) fn answer(&mut self, ask: &Ask) -> Answer {
        self.outcome(ask).unwrap_or_else(|problem| match problem {
            Problem::NotThere => Answer::whole(StatusCode::NOT_FOUND, Bytes::new()),
            Problem::Said(status, code, property, what) => error(status, code, &property, what),
        })
    }

    fn outcome(&mut self, ask: &Ask) -> Outcome {
        let wanted = wanted(&ask.path).ok_or_else(no_such_path)?;
        let method = if ask.method == Method::HEAD { "GET" } else { ask.method.as_str() };
        match (method, &wanted.rest[..]) {
            ("GET", []) => self.list(&wanted, ask, ""),
            ("POST", ["search"]) => {
                let body = json_body(ask)?;
                self.list(&wanted, ask, body["keywords"].as_str().unwrap_or_default())
            }
            ("POST", []) => self.create(&wanted, ask),
            ("GET", [id]) => {
                let object = self.store(&wanted).get(*id).ok_or(Problem::NotThere)?;
                Ok(Answer::json(StatusCode::OK, object))
            }
            ("PUT", [id]) => {
                let mut object = named(&wanted, ask)?;
                let known = self.store(&wanted).get_mut(*id).ok_or(Problem::NotThere)?;
                object["id"] = json!(id);
                *known = object;
                Ok(Answer::json(StatusCode::OK, &json!({})))
            }
            ("DELETE", [id]) => {
                self.store(&wanted).remove(*id).ok_or(Problem::NotThere)?;
                Ok(Answer::whole(StatusCode::OK, Bytes::new()))
            }
            ("GET", [id, "trail"]) if wanted.path.ends_with("/connections") => {
                self.store(&wanted).get(*id).ok_or(Problem::NotThere)?;
                let mut answer = Answer::whole(StatusCode::OK, Bytes::new());
                answer.set(header::CONTENT_TYPE, "application/octet-stream");
                let line = Bytes::from(format!("{id} keystroke\n"));
                answer.content = Content::Drip { line, lines: TRAIL_LINES, every: self.pause };
                Ok(answer)
            }
            (_, [] | [_]) => {
                let status = StatusCode::METHOD_NOT_ALLOWED;
                Err(Problem::Said(status, "METHOD_NOT_ALLOWED", String::new(), "not allowed here"))
            }
            _ => Err(no_such_path()),
        }
    }

    fn store(&mut self, wanted: &Wanted<'_>) -> &mut BTreeMap<String, Value> {
        self.stores.entry(wanted.path).or_default()
    }

    fn list(&mut self, wanted: &Wanted<'_>, ask: &Ask, keywords: &str) -> Outcome {
        let number = |name: &str, default: usize| match ask.query.get(name).map(str::parse) {
            None => Ok(default),
            Some(number) => number.map_err(|_| bad(name, "is not a number")),
        };
        let (offset, limit) = (number("offset", 0)?, number("limit", 50)?);
        if !(1..=1_000).contains(&limit) {
            return Err(bad("limit", "must be from 1 to 1000"));
        }
        let key = ask.query.get("sortkey").unwrap_or(wanted.named).to_owned();
        let text = |object: &Value| object[&key].as_str().unwrap_or_default().to_owned();
        let named = wanted.named;
        let mut all: Vec<&Value> = self.store(wanted).values().collect();
        all.retain(|object| object[named].as_str().unwrap_or_default().contains(keywords));
        all.sort_by_key(|object| text(object));
        if ask.query.get("sortdir").is_some_and(|direction| direction.eq_ignore_ascii_case("desc")) {
            all.reverse();
        }
        let items: Vec<_> = all.iter().skip(offset).take(limit).collect();
        Ok(Answer::json(StatusCode::OK, &json!({"count": all.len(), "items": items})))
    }

    fn create(&mut self, wanted: &Wanted<'_>, ask: &Ask) -> Outcome {
        let mut object = named(wanted, ask)?;
        let id = uuid(ask.sequence, ask.now.as_nanos());
        let store = self.store(wanted);
        let name = &object[wanted.named];
        if store.values().any(|known| known[wanted.named] == *name) {
            let property = wanted.named.to_owned();
            return Err(Problem::Said(StatusCode::CONFLICT, "OBJECT_EXISTS", property, "already exists"));
        }
        if store.len() >= OBJECTS {
            return Err(bad("", "there may be no more"));
        }
        object["id"] = json!(id);
        store.insert(id.clone(), object);
        let mut answer = Answer::json(StatusCode::CREATED, &json!({"id": id}));
        if let Ok(location) = HeaderValue::try_from(format!("{}/{id}", wanted.path)) {
            answer.headers.insert(header::LOCATION, location);
        }
        Ok(answer)
    }
}

fn wanted(path: &str) -> Option<Wanted<'_>> {
    STORES.into_iter().find_map(|(store, named)| {
        let rest = path.strip_prefix(store)?;
        let rest = match rest.strip_prefix('/') {
            Some(rest) if !rest.is_empty() && !rest.ends_with('/') => rest.split('/').collect(),
            None if rest.is_empty() => Vec::new(),
            _ => return None,
        };
        Some(Wanted { path: store, named, rest })
    })
}

/// A JSON object that has a name.
fn named(wanted: &Wanted<'_>, ask: &Ask) -> Result<Value, Problem> {
    let object = json_body(ask)?;
    let has_name = object[wanted.named].as_str().is_some_and(|name| !name.is_empty());
    if has_name { Ok(object) } else { Err(bad(wanted.named, "is required")) }
}

fn json_body(ask: &Ask) -> Result<Value, Problem> {
    match serde_json::from_slice(&ask.body) {
        Ok(value @ Value::Object(_)) => Ok(value),
        _ => Err(bad("", "the body is no JSON object")),
    }
}

fn bad(property: &str, what: &'static str) -> Problem {
    Problem::Said(StatusCode::BAD_REQUEST, "BAD_REQUEST", property.to_owned(), what)
}

fn no_such_path() -> Problem {
    Problem::Said(StatusCode::NOT_FOUND, "NOT_FOUND", String::new(), "there is nothing at this path")
}

fn uuid(high: u64, low: u64) -> String {
    let (a, b) = (mix(high, low), mix(low, high));
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xfff,
        b >> 52,
        b & 0xffff_ffff_ffff
    )
}
