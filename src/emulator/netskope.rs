//! Netskope's REST API: v1 with its token in the query or a body, v2 with it in
//! a header, over one tenant's data.
//!
//! v1 answers `{"status":"success","msg","data"}` to GET and POST alike; most of
//! its errors have HTTP 200. v2 tells on each answer how much of the limit is left.
//! `events/dataexport` has a cursor for each key and index: the same request gets
//! another answer each time.

mod export;
mod policy;

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use crate::clock::UnixTime;

use super::answer::{Answer, Ask, Query};
use super::chance::mix;
use super::options::{NotFound, Options};
use super::sign_in::media_type;
use super::vendor::Circumstances;

use self::export::Cursors;
use self::policy::UrlLists;

/// One event or alert in each such slot, back from now, or from 2026-01-01 on where no time is asked for.
const SLOT_SECS: u64 = 60;
/// 2026-01-01T00:00:00Z.
const START_SECS: u64 = 1_767_225_600;
const PAGE: usize = 5_000;

/// The API and its data.
#[derive(Debug)]
pub(crate) struct Netskope {
    seed: u64,
    alerts: u64,
    not_found: NotFound,
    lists: UrlLists,
    cursors: Cursors,
}

/// Status, code and sentence of an error.
type Problem = (StatusCode, &'static str, String);
type Outcome = Result<Value, Problem>;

/// An error of v1.
pub(crate) fn error(status: StatusCode, code: &str, what: &str) -> Answer {
    Answer::json(status, &json!({"status": "error", "errorCode": code, "errors": [what]}))
}

/// What a wrong token gets: 403 of v1, 401 of v2.
pub(crate) fn deny(path: &str) -> Answer {
    if is_v2(path) {
        return Answer::json(
            StatusCode::UNAUTHORIZED,
            &json!({"ok": 0, "result": [], "message": "Invalid or missing API token"}),
        );
    }
    error(StatusCode::FORBIDDEN, "Authorization Error", "Invalid token")
}

/// The 429 of `which` limits.
pub(crate) fn refuse(which: &str, with: &Circumstances<'_>) -> Answer {
    let mut answer = error(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests", which);
    tell_limits(&mut answer, with);
    answer
}

impl Netskope {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            seed: options.seed,
            alerts: u64::from(options.tests),
            not_found: options.not_found,
            lists: UrlLists::default(),
            cursors: Cursors::default(),
        }
    }

    /// Answers an authorized, counted request; `label` names its key.
    pub(crate) fn answer(&mut self, ask: &Ask, label: &str, with: &Circumstances<'_>) -> Answer {
        if is_v2(&ask.path) {
            let mut answer = self.v2(ask, label);
            tell_limits(&mut answer, with);
            return answer;
        }
        match self.v1(ask) {
            Ok(data) => Answer::json(StatusCode::OK, &json!({"status": "success", "msg": "", "data": data})),
            Err((status, code, what)) => {
                let as_ok = self.not_found == NotFound::Ok && status != StatusCode::METHOD_NOT_ALLOWED;
                error(if as_ok { StatusCode::OK } else { status }, code, &what)
            }
        }
    }

    fn v1(&mut self, ask: &Ask) -> Outcome {
        let fields = fields(ask)?;
        let endpoint = ask.path.strip_prefix("/api/v1/").unwrap_or_default().trim_end_matches('/');
        if ask.method != Method::GET && ask.method != Method::POST && ask.method != Method::HEAD {
            let what = format!("{} is not allowed", ask.method);
            return Err((StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed", what));
        }
        match endpoint {
            "alerts" | "events" | "clients" => self.rows(endpoint, &fields, ask.now).map(Value::Array),
            "updateUrlList" => match (fields.get("name"), fields.get("list")) {
                (Some(name), Some(list)) => {
                    self.lists.replace(name, list.split(',').map(str::to_owned).collect());
                    Ok(json!([]))
                }
                _ => Err(bad("name and list are required")),
            },
            "urllist" => match fields.get("name").and_then(|name| self.lists.named(name)) {
                Some(list) => Ok(json!([list])),
                None => Err((StatusCode::NOT_FOUND, "Not Found", "no such list".to_owned())),
            },
            _ => Err((StatusCode::NOT_FOUND, "Not Found", format!("there is no endpoint {endpoint}"))),
        }
    }

    fn v2(&mut self, ask: &Ask, label: &str) -> Answer {
        let path = ask.path.strip_prefix("/api/v2/").unwrap_or_default();
        let words: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        match (&ask.method, &words[..]) {
            (&Method::GET | &Method::HEAD, ["events", "data", kind]) => {
                match self.rows(kind, &ask.query, ask.now) {
                    Ok(rows) => Answer::json(StatusCode::OK, &json!({"ok": 1, "result": rows})),
                    Err((_, _, what)) => Answer::json(
                        StatusCode::BAD_REQUEST,
                        &json!({"ok": 0, "result": [], "message": what}),
                    ),
                }
            }
            (&Method::GET, ["events", "dataexport", "events" | "alerts", kind]) => {
                let seed = self.seed;
                let row = |number| row(seed, kind, number, START_SECS + number * SLOT_SECS);
                self.cursors.export(ask, &format!("{label}/{kind}"), self.alerts, row)
            }
            (_, ["policy", "urllist", rest @ ..]) => self.lists.answer(ask, rest),
            _ => Answer::json(StatusCode::NOT_FOUND, &json!({"ok": 0, "message": "no such endpoint"})),
        }
    }

    /// The newest first, from `skip` (v2: `offset`), `limit` of them.
    fn rows(&self, kind: &str, fields: &Query, now: UnixTime) -> Result<Vec<Value>, Problem> {
        let number = |name: &str, default: u64| match fields.get(name).map(str::parse) {
            None => Ok(default),
            Some(Ok(number)) => Ok(number),
            Some(Err(_)) => Err(bad(&format!("{name} must be a number"))),
        };
        let limit = usize::try_from(number("limit", PAGE as u64)?).unwrap_or(PAGE).min(PAGE);
        let skip = number("skip", 0)?.max(number("offset", 0)?);
        let (start, end) = match (fields.get("starttime"), fields.get("endtime"), fields.get("timeperiod")) {
            (None, None, None) => (START_SECS, START_SECS + self.alerts * SLOT_SECS),
            (Some(_), Some(_), None) => (number("starttime", 0)?, number("endtime", 0)?),
            (None, None, Some("3600" | "86400" | "604800" | "2592000")) => {
                (now.as_secs().saturating_sub(number("timeperiod", 0)?), now.as_secs())
            }
            _ => return Err(bad("either a documented timeperiod, or starttime and endtime")),
        };
        if start > end {
            return Err(bad("starttime is later than endtime"));
        }
        let (first, last) = (start.div_ceil(SLOT_SECS), end.div_ceil(SLOT_SECS));
        let slots = (first..last).rev().skip(usize::try_from(skip).unwrap_or(usize::MAX)).take(limit);
        Ok(slots.map(|slot| row(self.seed, kind, slot, slot * SLOT_SECS)).collect())
    }
}

fn row(seed: u64, kind: &str, number: u64, at_secs: u64) -> Value {
    let chance = mix(seed, number);
    json!({"_id": format!("{kind}-{number}"), "timestamp": at_secs, "type": kind,
        "user": format!("user{}@example.com", chance % 50), "severity": chance % 4})
}

fn is_v2(path: &str) -> bool {
    path.starts_with("/api/v2/")
}

/// The parameters of a request of v1, wherever they stand.
fn fields(ask: &Ask) -> Result<Query, Problem> {
    let mut fields = ask.query.clone();
    match media_type(&ask.headers).as_deref() {
        Some("application/x-www-form-urlencoded") => {
            fields.0.extend(Query::parse(&String::from_utf8_lossy(&ask.body)).0);
        }
        Some("application/json") if !ask.body.is_empty() => {
            let body: Value = serde_json::from_slice(&ask.body).map_err(|_| bad("the body is no JSON"))?;
            let members = body.as_object().ok_or_else(|| bad("the body is no JSON object"))?;
            fields.0.extend(members.iter().map(|(name, value)| {
                (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            }));
        }
        _ => {}
    }
    Ok(fields)
}

fn bad(what: &str) -> Problem {
    (StatusCode::BAD_REQUEST, "Bad Request", what.to_owned())
}

/// `ratelimit-limit`, `-remaining` and `-reset`, of the tightest limit.
fn tell_limits(answer: &mut Answer, with: &Circumstances<'_>) {
    let left = |usage: &super::gate::Usage| usage.limit.saturating_sub(usage.used);
    let Some(tightest) = with.usage.iter().min_by_key(|usage| left(usage)) else { return };
    let reset = Duration::from_nanos(tightest.per_nanos).as_secs().max(1);
    for (name, value) in [
        ("ratelimit-limit", tightest.limit),
        ("ratelimit-remaining", left(tightest)),
        ("ratelimit-reset", reset),
    ] {
        answer.headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    }
}
