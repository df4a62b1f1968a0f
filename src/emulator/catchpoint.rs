//! Catchpoint's REST API, v2 and later, over made-up data.
//!
//! After the vendor's OpenAPI description and the public clients. Where they
//! are silent: an `Accept` that is missing or allows no JSON is answered 400;
//! routes of the description that have no data here answer an empty `data`;
//! unknown routes are 404, wrong methods 405, all in the envelope.

mod analytics;
mod dates;
mod objects;
mod page;
mod route;
mod world;
mod write;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use super::answer::{Answer, Ask};
use super::options::{Links, NotFound, Options};
use super::vendor::Circumstances;

use self::route::Route;
use self::world::World;

pub(crate) use self::route::is_analytic;

const VERSIONS: [&str; 5] = ["v2", "v3", "v3.3", "v3.4", "v4"];
const CLIENT_ID: u32 = 4_711;

/// The API and its data.
#[derive(Debug)]
pub(crate) struct Catchpoint {
    world: World,
    links: Links,
    not_found: NotFound,
}

/// Who asks: a division's number with a division-level key, else everybody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    All,
    Division(i64),
}

/// What went well.
#[derive(Debug, Default)]
struct Said {
    data: Value,
    /// `messages[].information`.
    remarks: Vec<String>,
    /// `messages[].ignoredPath`.
    ignored: Vec<String>,
    /// What part of it went wrong.
    errors: Vec<String>,
}

/// What did not.
#[derive(Debug)]
enum Problem {
    /// 200 or 400, as the options say; `completed: false`.
    NotFound(Vec<String>),
    Status(StatusCode, String),
}

type Outcome = Result<Said, Problem>;

impl Catchpoint {
    pub(crate) fn new(options: &Options) -> Self {
        Self { world: World::new(options), links: options.links, not_found: options.not_found }
    }

    /// Answers an authorized, counted request. `division` is that of its key.
    pub(crate) fn answer(&mut self, ask: &Ask, division: Option<&str>, with: &Circumstances<'_>) -> Answer {
        let sight = match division {
            Some(name) => Sight::Division(self.world.division(name)),
            None => Sight::All,
        };
        match self.outcome(ask, sight) {
            Ok(said) => {
                let completed = said.errors.is_empty();
                envelope(StatusCode::OK, said, completed, with)
            }
            Err(problem) => {
                let (status, errors) = match problem {
                    Problem::Status(status, error) => (status, vec![error]),
                    Problem::NotFound(errors) if self.not_found == NotFound::Ok => (StatusCode::OK, errors),
                    Problem::NotFound(errors) => (StatusCode::BAD_REQUEST, errors),
                };
                envelope(status, Said { errors, ..Said::default() }, false, with)
            }
        }
    }

    fn outcome(&mut self, ask: &Ask, sight: Sight) -> Outcome {
        if !accepts_json(&ask.headers) {
            return Err(Problem::bad(
                "The Accept header must allow application/json, text/json or text/plain.",
            ));
        }
        let route = Route::of(&ask.method, &ask.path)?;
        let Self { world, links, .. } = self;
        match route {
            Route::List(collection) => page::list(world, collection, ask, (sight, *links)),
            Route::Some(collection, ids) => page::some(world, collection, &ids, sight),
            Route::Create(collection) => write::create(world, collection, ask, sight),
            Route::Change(collection, id) => write::change(world, (collection, &id), ask, sight),
            Route::Remove(collection, ids) => write::remove(world, collection, &ids, sight),
            Route::Acknowledge => write::acknowledge(world, ask, sight),
            Route::StartInstant(test) => write::start_instant(world, ask, test.as_deref(), sight),
            Route::Analytic(what) => analytics::answer(world, &what, ask, (sight, *links)),
            Route::Empty => {
                dates::check_ranges(ask)?;
                Ok(Said {
                    remarks: vec!["There is nothing of this kind here.".into()],
                    ..Said::data(json!({}))
                })
            }
        }
    }
}

impl Said {
    fn data(data: Value) -> Self {
        Self { data, ..Self::default() }
    }
}

impl Problem {
    fn bad(error: impl Into<String>) -> Self {
        Self::Status(StatusCode::BAD_REQUEST, error.into())
    }

    fn not_found(kind: &str, input: &str) -> Self {
        Self::NotFound(vec![missing(kind, input)])
    }
}

/// The vendor's sentence about what is not there.
fn missing(kind: &str, input: &str) -> String {
    format!("No valid {kind} found for input '{input}'.")
}

impl Sight {
    fn sees(self, division: Option<i64>) -> bool {
        match (self, division) {
            (Self::All, _) | (_, None) => true,
            (Self::Division(own), Some(of)) => own == of,
        }
    }
}

/// A 429 as the vendor's limits give it: nothing but the code is documented.
pub(crate) fn refuse(limits: &[String], with: &Circumstances<'_>) -> Answer {
    let errors = vec![format!("The API limit has been exceeded: {}.", limits.join(", "))];
    envelope(StatusCode::TOO_MANY_REQUESTS, Said { errors, ..Said::default() }, false, with)
}

/// A 401.
pub(crate) fn deny(why: &str, with: &Circumstances<'_>) -> Answer {
    let errors = vec![why.to_owned()];
    envelope(StatusCode::UNAUTHORIZED, Said { errors, ..Said::default() }, false, with)
}

/// A 500.
pub(crate) fn fail(with: &Circumstances<'_>) -> Answer {
    let errors = vec!["An unexpected error has occurred.".to_owned()];
    envelope(StatusCode::INTERNAL_SERVER_ERROR, Said { errors, ..Said::default() }, false, with)
}

fn envelope(status: StatusCode, said: Said, completed: bool, with: &Circumstances<'_>) -> Answer {
    let ignored: Vec<_> = said.ignored.iter().map(|path| json!({"path": path})).collect();
    let mut messages: Vec<_> =
        said.remarks.iter().map(|remark| json!({"information": remark, "ignoredPath": []})).collect();
    if !ignored.is_empty() {
        messages.push(json!({"information": "Some paths cannot be changed.", "ignoredPath": ignored}));
    }
    let number = u16::from(status).to_string();
    let errors: Vec<_> = said.errors.iter().map(|error| json!({"id": number, "message": error})).collect();
    let mut answer = Answer::json(
        status,
        &json!({
            "data": said.data,
            "messages": messages,
            "errors": errors,
            "completed": completed,
            "traceId": format!("{:032x}", with.trace),
            "usageLimits": usage(status, with),
        }),
    );
    answer.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

/// `usageLimits`, whose meaning is a guess by its names. Scaled-down limits go
/// under the names in their order.
fn usage(status: StatusCode, with: &Circumstances<'_>) -> Value {
    const SECOND: u64 = 1_000_000_000;
    let exact = |per: u64| match per / SECOND {
        60 => Some("minute"),
        3_600 => Some("hour"),
        86_400 => Some("day"),
        _ => None,
    };
    let by_name = with.usage.iter().all(|usage| exact(usage.per_nanos).is_some());
    let (mut limits, mut runs) = (serde_json::Map::new(), serde_json::Map::new());
    for (usage, by_order) in with.usage.iter().zip(["minute", "hour", "day"]) {
        let name = if by_name { exact(usage.per_nanos).unwrap_or(by_order) } else { by_order };
        limits.insert(name.to_owned(), json!(usage.limit));
        runs.insert(name.to_owned(), json!(usage.used));
    }
    let exceeded = (status == StatusCode::TOO_MANY_REQUESTS).then_some("The limit has been exceeded.");
    json!({
        "clientId": CLIENT_ID,
        "lastRequestTimestamp": dates::spell(with.now),
        "limits": limits,
        "runs": runs,
        "exceededMessage": exceeded,
        "divisionUsageStatistics": [],
    })
}

/// Whether the method is one that reads.
fn reads(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

fn accepts_json(headers: &HeaderMap) -> bool {
    let range = |text: &str| {
        let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        matches!(kind.as_str(), "*/*" | "application/json" | "text/json" | "text/plain")
    };
    let accepted = headers.get_all(header::ACCEPT);
    accepted.iter().filter_map(|value| value.to_str().ok()).any(|value| value.split(',').any(range))
}
