//! The cache against RFC 9111: a table of cases by section, an oracle that reads
//! the RFC slowly and literally, and what DESIGN adds.

mod answers;
mod histories;
mod house;
mod isolation;
mod oracle;
mod table;
mod validation;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::entry::Body;
use super::validate::Refreshed;
use super::*;
use crate::clock::{Moment, UnixTime};
use crate::config::{CacheRule, ClientCacheControl};
use crate::dialect::{Dialect, Generic, Links};
use crate::target::Target;

/// 2026-01-01T00:00:00Z, when each history begins.
const START: u64 = 1_767_225_600;

/// A cache with one URL, and a policy to ask it by.
struct World {
    cache: Cache,
    dialect: Dialect,
    rule: Option<CacheRule>,
    default_ttl: Option<Duration>,
    sharing: Sharing,
}

impl World {
    fn new(sharing: Sharing) -> Self {
        let cache = Cache::new(CacheLimits::default());
        let dialect = Dialect::Generic(Generic { credential: None });
        Self { cache, dialect, rule: None, default_ttl: None, sharing }
    }

    fn with_rule(mut self, change: impl FnOnce(&mut CacheRule)) -> Self {
        change(self.rule.get_or_insert_with(rule));
        self
    }

    fn policy(&self) -> Policy<'_> {
        Policy {
            dialect: &self.dialect,
            rule: self.rule.as_ref(),
            default_ttl: self.default_ttl,
            settled_ttl: None,
            sharing: self.sharing,
        }
    }

    /// Sends `request` at `at` and stores what `response` allows; the body is its
    /// text.
    fn fetch(&self, at: u64, request: &str, response: &str) -> Result<EntryArc, NotStored> {
        self.fetch_slowly(at, at, request, response)
    }

    fn fetch_slowly(
        &self,
        sent: u64,
        received: u64,
        request: &str,
        response: &str,
    ) -> Result<EntryArc, NotStored> {
        let (method, caller) = parse_request(request);
        let asked = asked(&method, &caller);
        let ticket = self.cache.ticket();
        let head = parse_response(response);
        let exchange = Exchange { sent: now(sent).at, received: now(received) };
        let storable = self.policy().admit(&asked, &head, &exchange)?;
        let body = Body::of(&[Bytes::from(response.to_owned())]);
        let entry = EntryArc::new(storable.entry(&key(&method), body)?);
        self.cache.insert(ticket, entry.clone());
        Ok(entry)
    }

    /// What the gateway does when a request for `path` was answered so.
    fn write(&self, method: &str, path: &str, status: u16, location: &str) {
        let links = Links {
            scheme: "https".into(),
            authority: "api.example".into(),
            base_path: String::new(),
            mount: String::new(),
            public_url: None,
        };
        let (method, status) = (method.parse().unwrap(), StatusCode::from_u16(status).unwrap());
        if !invalidate::invalidates(&method, status) {
            return;
        }
        let named =
            Some(location).filter(|link| !link.is_empty()).and_then(|link| links.path_here(link, path));
        let paths: Vec<&str> = std::iter::once(path).chain(named.as_deref()).collect();
        for selector in self.policy().outdated(&"u".parse().unwrap(), &paths) {
            self.cache.purge(&selector);
        }
    }

    /// What the gateway does with a HEAD: it is sent on to validate what is stored, and
    /// its answer tells about that.
    fn head(&self, at: u64, request: &str, response: &str) {
        let request = format!("HEAD | {request}");
        let (method, caller) = parse_request(&request);
        let Lookup::Stale(stale) = self.lookup(at, &request) else { return };
        let (head, ticket) = (parse_response(response), self.cache.ticket());
        if head.status != StatusCode::OK {
            return;
        }
        let exchange = Exchange { sent: now(at).at, received: now(at) };
        match stale.entry.refresh_by_head(&self.policy(), &asked(&method, &caller), &head, &exchange) {
            Refreshed::Updated(entry) => drop(self.cache.insert(ticket, entry.into())),
            Refreshed::Once(..) | Refreshed::Mismatch => self.cache.remove(&stale.entry),
        }
    }

    fn lookup(&self, at: u64, request: &str) -> Lookup {
        let (method, caller) = parse_request(request);
        self.cache.lookup(&key(&method), &self.policy(), &asked(&method, &caller), now(at))
    }

    /// `lookup` in a word: `fresh`, `stale`, `request`, `uri-miss`, …, `504`.
    fn ask(&self, at: u64, request: &str) -> &'static str {
        match self.lookup(at, request) {
            Lookup::Fresh(_) => "fresh",
            Lookup::Stale(stale) => stale.why.as_str(),
            Lookup::Miss(why) => why.as_str(),
            Lookup::OnlyIfCached => "504",
        }
    }

    fn hit(&self, at: u64, request: &str) -> Hit {
        match self.lookup(at, request) {
            Lookup::Fresh(hit) => hit,
            other => panic!("{request:?} at {at}: {other:?}"),
        }
    }

    fn stale(&self, at: u64, request: &str) -> Stale {
        match self.lookup(at, request) {
            Lookup::Stale(stale) => stale,
            other => panic!("{request:?} at {at}: {other:?}"),
        }
    }
}

/// A rule that says nothing.
fn rule() -> CacheRule {
    CacheRule {
        pattern: "GET /**".parse().unwrap(),
        ttl: None,
        stale_while_revalidate: None,
        stale_if_error: None,
        stale_if_limited: None,
        negative: Vec::new(),
        ignore: Vec::new(),
        ignore_query: Vec::new(),
        key_headers: Vec::new(),
        methods: vec![Method::GET],
        snap: None,
        max_bytes: 1_000,
        all_pages: false,
        invalidates: Vec::new(),
    }
}

fn now(secs: u64) -> Now {
    let after = Duration::from_secs(secs);
    Now { at: Moment::from_nanos(5_000_000_000) + after, wall: UnixTime::from_secs(START) + after }
}

fn key(method: &Method) -> Key {
    let scope = Scope { upstream: "u".parse().unwrap(), key: None };
    Key::new(&scope, method, &Target::parse("/a", None).unwrap(), &HeaderMap::new(), None)
}

fn asked<'a>(method: &'a Method, caller: &'a HeaderMap) -> Asked<'a> {
    Asked::new(method, caller, caller, ClientCacheControl::Honour)
}

/// `GET | name: value | …`; `GET` may be left out.
fn parse_request(text: &str) -> (Method, HeaderMap) {
    let (first, rest) = text.split_once('|').unwrap_or((text, ""));
    match first.trim() {
        method @ ("GET" | "HEAD" | "POST" | "PUT") => (method.parse().unwrap(), fields(rest)),
        _ => (Method::GET, fields(text)),
    }
}

/// `200 | name: value | …`.
fn parse_response(text: &str) -> Head {
    let (status, rest) = text.split_once('|').unwrap_or((text, ""));
    Head { status: StatusCode::from_bytes(status.trim().as_bytes()).unwrap(), headers: fields(rest) }
}

/// Fields divided by `|`; `@N` as a whole value is the date N seconds after the
/// start, and `cc` stands for `Cache-Control`.
fn fields(text: &str) -> HeaderMap {
    let mut map = HeaderMap::new();
    for field in text.split('|').map(str::trim).filter(|field| !field.is_empty()) {
        let (name, value) = field.split_once(':').unwrap();
        let name = if name == "cc" { "cache-control" } else { name };
        let value = match value.trim().strip_prefix('@') {
            Some(offset) => http_date(offset.parse().unwrap()),
            None => value.trim().to_owned(),
        };
        map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    map
}

fn http_date(offset: i64) -> String {
    let at = UnixTime::from_secs(START.checked_add_signed(offset).unwrap());
    httpdate::fmt_http_date(at.to_system())
}
