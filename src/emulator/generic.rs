//! A JSON origin that answers as its path says; anything else is echoed.
//!
//! | path | answer |
//! | --- | --- |
//! | `/status/503` | that status |
//! | `/bytes/1048576` | that many bytes (at most 64 MiB) |
//! | `/header?cache-control=max-age%3D5` | these response headers |
//! | `/etag/TAG` | `ETag: "TAG"`; 304 to a matching `If-None-Match` |
//! | `/drip/N/50ms` | N lines of JSON, that long before each (at most 10,000, 1 m) |
//! | `/delay/500ms` | the echo; a first byte of its body comes that late |
//!
//! The echo tells what came and how often this target was asked (`served`).
//! Answers at any path can be set through [`super::Emulator::script`].

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::answer::{Answer, Ask, Content};
use super::spell;

const TARGETS: usize = 100_000;
const SCRIPTS: usize = 10_000;
const BYTES: usize = 64 * 1_024 * 1_024;
const LINES: u32 = 10_000;
const PAUSE: Duration = Duration::from_secs(60);

/// The origin's memory.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    served: HashMap<String, u64>,
    scripts: HashMap<String, Canned>,
}

/// What to answer at one path.
#[derive(Clone, Debug, Default)]
pub struct Canned {
    /// The status.
    pub status: StatusCode,
    /// All headers but `Content-Length` and, unless it is here, `Date`.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Origin {
    pub(crate) fn answer(&mut self, ask: &Ask) -> Answer {
        let served = self.count(ask);
        if let Some(canned) = self.scripts.get(&ask.path) {
            let Canned { status, headers, body } = canned.clone();
            return Answer { status, headers, content: Content::Whole(body) };
        }
        let echo = echo(ask, served);
        let mut words = ask.path.trim_start_matches('/').split('/');
        let (verb, first) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match verb {
            "status" => match first.parse().map(StatusCode::from_u16) {
                Ok(Ok(status)) if !status.is_informational() => Answer::json(status, &echo),
                _ => Self::problem(StatusCode::BAD_REQUEST, "write /status/ and a final status"),
            },
            "bytes" => match first.parse() {
                Ok(length) if length <= BYTES => {
                    Answer::whole(StatusCode::OK, Bytes::from(vec![b'w'; length]))
                }
                _ => Self::problem(StatusCode::BAD_REQUEST, "write /bytes/ and at most 67108864"),
            },
            "header" => with_headers(ask, &echo),
            "etag" => with_etag(ask, first, &echo),
            "drip" => drip(first, words.next().unwrap_or_default(), &json!({"served": served})),
            "delay" => match spell::duration(first) {
                Ok(every) if every <= PAUSE => {
                    let mut answer = Answer::json(StatusCode::OK, &echo);
                    let line = Bytes::from(echo.to_string());
                    answer.content = Content::Drip { line, lines: 1, every };
                    answer
                }
                _ => Self::problem(StatusCode::BAD_REQUEST, "write /delay/ and at most 1m"),
            },
            _ => Answer::json(StatusCode::OK, &echo),
        }
    }

    /// Sets what to answer at `path`.
    pub(crate) fn script(&mut self, path: String, canned: Canned) -> Result<(), String> {
        if self.scripts.len() >= SCRIPTS && !self.scripts.contains_key(&path) {
            return Err(format!("the origin remembers at most {SCRIPTS} answers"));
        }
        self.scripts.insert(path, canned);
        Ok(())
    }

    /// An error in the shape of RFC 9457.
    pub(crate) fn problem(status: StatusCode, detail: &str) -> Answer {
        let title = status.canonical_reason().unwrap_or("Error");
        let mut answer =
            Answer::json(status, &json!({"title": title, "status": status.as_u16(), "detail": detail}));
        answer.set(header::CONTENT_TYPE, "application/problem+json");
        answer
    }

    fn count(&mut self, ask: &Ask) -> u64 {
        if self.served.len() >= TARGETS {
            self.served.clear();
        }
        let served = self.served.entry(ask.path.clone()).or_default();
        *served += 1;
        *served
    }
}

fn echo(ask: &Ask, served: u64) -> Value {
    let secret = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];
    let headers: Vec<_> = ask
        .headers
        .iter()
        .filter(|(name, _)| !secret.contains(name))
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    json!({
        "method": ask.method.as_str(),
        "path": ask.path,
        "query": ask.query.0,
        "headers": headers,
        "body": String::from_utf8_lossy(&ask.body),
        "served": served,
        "sequence": ask.sequence,
        "at": ask.now.to_string(),
    })
}

fn with_headers(ask: &Ask, echo: &Value) -> Answer {
    let mut answer = Answer::json(StatusCode::OK, echo);
    for (name, value) in &ask.query.0 {
        match (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str())) {
            (Ok(header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::CONNECTION), _) => {}
            (Ok(name), Ok(value)) => {
                answer.headers.append(name, value);
            }
            _ => return Origin::problem(StatusCode::BAD_REQUEST, "the query holds no header"),
        }
    }
    answer
}

fn with_etag(ask: &Ask, tag: &str, echo: &Value) -> Answer {
    let Ok(tag) = HeaderValue::try_from(format!("\"{tag}\"")) else {
        return Origin::problem(StatusCode::BAD_REQUEST, "write /etag/ and a tag");
    };
    let known = ask.headers.get_all(header::IF_NONE_MATCH).iter().any(|listed| {
        let listed = listed.to_str().unwrap_or_default();
        listed.split(',').any(|one| one.trim().trim_start_matches("W/").as_bytes() == tag.as_bytes())
    });
    let mut answer = if known {
        Answer::whole(StatusCode::NOT_MODIFIED, Bytes::new())
    } else {
        Answer::json(StatusCode::OK, echo)
    };
    answer.headers.insert(header::ETAG, tag);
    answer
}

fn drip(lines: &str, every: &str, line: &Value) -> Answer {
    match (lines.parse(), spell::duration(every)) {
        (Ok(lines), Ok(every)) if lines <= LINES && every <= PAUSE => {
            let mut answer = Answer::whole(StatusCode::OK, Bytes::new());
            answer.set(header::CONTENT_TYPE, "application/x-ndjson");
            answer.content = Content::Drip { line: Bytes::from(format!("{line}\n")), lines, every };
            answer
        }
        _ => Origin::problem(StatusCode::BAD_REQUEST, "write /drip/10/50ms"),
    }
}
