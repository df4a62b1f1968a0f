//! Catchpoint's legacy pull API, v1: reads only, behind a token.
//!
//! Lists are `{"items":[…]}`, errors `{"Message":"…"}`. What has no data here and
//! what the documents do not name is 404, anything but a read 405. Data is made
//! up from the seed and the time slot, so a range that has ended never changes.

use std::time::Duration;

use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::clock::UnixTime;

use super::answer::{Answer, Ask};
use super::chance::mix;
use super::options::Options;
use super::times;
use super::vendor::Denial;

const NODES: u64 = 40;
const PRODUCTS: u64 = 6;
const CHARTS: u64 = 4;
const SLOT_SECS: u64 = 300;
/// Rows in one answer at most; of a longer range the newest.
const ROWS: u64 = 1_000;
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const FIRST_TEST: u64 = 10_001;

/// The API and its data.
#[derive(Debug)]
pub(crate) struct CatchpointV1 {
    seed: u64,
    tests: u64,
}

type Outcome = Result<Value, (StatusCode, String)>;

/// Data about measurements, and alerts.
pub(crate) fn is_analytic(path: &str) -> bool {
    let words = words(path);
    words.first().is_some_and(|first| first == "performance" || first == "alerts")
}

/// An error in this API's shape.
pub(crate) fn error(status: StatusCode, message: &str) -> Answer {
    Answer::json(status, &json!({"Message": message}))
}

/// The 401.
pub(crate) fn deny(why: Denial) -> Answer {
    let message = match why {
        Denial::Unknown => "Authorization has been denied for this request.",
        Denial::Expired => "Expired token. Request a new one.",
    };
    let mut answer = error(StatusCode::UNAUTHORIZED, message);
    answer.set(header::WWW_AUTHENTICATE, "Bearer");
    answer
}

impl CatchpointV1 {
    pub(crate) fn new(options: &Options) -> Self {
        Self { seed: options.seed, tests: u64::from(options.tests) }
    }

    /// Answers an authorized, counted request.
    pub(crate) fn answer(&self, ask: &Ask) -> Answer {
        if ask.method != Method::GET && ask.method != Method::HEAD {
            let what = format!("The requested resource does not support http method '{}'.", ask.method);
            return error(StatusCode::METHOD_NOT_ALLOWED, &what);
        }
        match self.outcome(ask) {
            Ok(value) => Answer::json(StatusCode::OK, &value),
            Err((status, message)) => error(status, &message),
        }
    }

    fn outcome(&self, ask: &Ask) -> Outcome {
        let words = words(&ask.path);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["nodes"] => Ok(items((1..=NODES).map(node))),
            ["nodes", id] => found("Node", id, number(id, 1, NODES).map(node)),
            ["nodegroups"] => Ok(items((1..=3).map(|id| json!({"id": id, "name": format!("Group {id}")})))),
            ["products"] => Ok(items((1..=PRODUCTS).map(product))),
            ["tests"] => Ok(items((0..self.tests).map(|index| self.test(FIRST_TEST + index)))),
            ["tests", id] => found("Test", id, self.known_test(id).map(|id| self.test(id))),
            ["alerts"] => self.alerts(ask),
            ["performance", "favoritecharts"] => Ok(items((1..=CHARTS).map(chart))),
            ["performance", "favoritecharts", id] => {
                found("Favorite Chart", id, number(id, 1, CHARTS).map(chart))
            }
            ["performance", "favoritecharts", id, "data"] => number(id, 1, CHARTS)
                .map_or_else(|| found("Favorite Chart", id, None), |id| self.runs(id, ask)),
            ["performance", "raw", id] => {
                self.known_test(id).map_or_else(|| found("Test", id, None), |id| self.runs(id, ask))
            }
            ["performance", "aggregated"] => self.runs(FIRST_TEST, ask),
            _ => {
                let uri = format!("{}{}", ask.origin, ask.path);
                let what = format!("No HTTP resource was found that matches the request URI '{uri}'.");
                Err((StatusCode::NOT_FOUND, what))
            }
        }
    }

    fn known_test(&self, text: &str) -> Option<u64> {
        number(text, FIRST_TEST, (FIRST_TEST + self.tests).saturating_sub(1))
    }

    fn test(&self, id: u64) -> Value {
        let chance = mix(self.seed, id);
        json!({
            "id": id,
            "name": format!("Check {id}"),
            "url": format!("https://shop{}.example.com/", chance % 20),
            "product_id": chance % PRODUCTS + 1,
            "status": {"id": u8::from(chance.is_multiple_of(9)), "name": if chance.is_multiple_of(9) { "Inactive" } else { "Active" }},
        })
    }

    fn alerts(&self, ask: &Ask) -> Outcome {
        let alerts = slots(range(ask, DAY)?).filter(|slot| mix(self.seed, *slot).is_multiple_of(3));
        Ok(items(alerts.map(|slot| {
            let test = FIRST_TEST + mix(self.seed ^ 1, slot) % self.tests.max(1);
            json!({"id": slot, "date": at(slot), "test_id": test, "level": "Warning"})
        })))
    }

    /// What was measured in the range, one row for each slot.
    fn runs(&self, subject: u64, ask: &Ask) -> Outcome {
        let (start, end) = range(ask, HOUR)?;
        let rows = slots((start, end)).map(|slot| {
            let chance = mix(mix(self.seed, subject), slot);
            json!({"dimension": {"name": at(slot)}, "node_id": chance % NODES + 1,
                "synthetic_metrics": [chance % 3_000, (chance >> 16) % 800, (chance >> 32) % 100]})
        });
        Ok(json!({
            "start": times::spell(start, 0),
            "end": times::spell(end, 0),
            "timezone": {"id": 0, "name": "UTC"},
            "detail": {"fields": {"synthetic_metrics": ["webpage_response", "dns", "failures"]},
                "items": rows.collect::<Vec<_>>()},
        }))
    }
}

/// The words after `/ui/api/v1/`, in lower case.
fn words(path: &str) -> Vec<String> {
    let lower = path.trim_matches('/').to_ascii_lowercase();
    let rest = lower.strip_prefix("ui/api/v1/").unwrap_or_default();
    rest.split('/').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn items(of: impl Iterator<Item = Value>) -> Value {
    json!({"items": of.collect::<Vec<_>>()})
}

fn found(kind: &str, id: &str, object: Option<Value>) -> Outcome {
    let missing = || (StatusCode::NOT_FOUND, format!("No valid {kind} found for input '{id}'."));
    object.map(|object| json!({"items": [object]})).ok_or_else(missing)
}

fn number(text: &str, first: u64, last: u64) -> Option<u64> {
    text.parse().ok().filter(|id| (first..=last).contains(id))
}

fn node(id: u64) -> Value {
    json!({"id": id, "name": format!("City {id}"), "network_type": {"id": 0, "name": "Backbone"}})
}

fn product(id: u64) -> Value {
    json!({"id": id, "name": format!("Product {id}"), "division_id": 101})
}

fn chart(id: u64) -> Value {
    json!({"id": id, "name": format!("Chart {id}")})
}

/// `startTime` and `endTime`; together or not at all.
fn range(ask: &Ask, default: Duration) -> Result<(UnixTime, UnixTime), (StatusCode, String)> {
    let bad = |what: String| (StatusCode::BAD_REQUEST, what);
    let read = |name: &str| match ask.query.get(name) {
        None => Ok(None),
        Some(text) => {
            let at =
                times::parse(text).ok_or_else(|| bad(format!("The value '{text}' is not valid for {name}.")));
            at.map(Some)
        }
    };
    match (read("startTime")?, read("endTime")?) {
        (None, None) => Ok((ask.now - default, ask.now)),
        (Some(start), Some(end)) if start <= end => Ok((start, end)),
        (Some(_), Some(_)) => Err(bad("startTime must not be later than endTime.".to_owned())),
        _ => Err(bad("startTime and endTime must be given together.".to_owned())),
    }
}

fn slots((start, end): (UnixTime, UnixTime)) -> impl Iterator<Item = u64> {
    let last = end.as_secs() / SLOT_SECS;
    let first = start.as_secs().div_ceil(SLOT_SECS).max(last.saturating_sub(ROWS));
    first..last
}

fn at(slot: u64) -> String {
    times::spell(UnixTime::from_secs(slot * SLOT_SECS), 0)
}
