//! Catchpoint's legacy pull API, v1.
//!
//! Its limits are documented nowhere; those of v2 are assumed, and what reads
//! measurements counts as analytic. Too dear is a wait, too cheap a 429; an
//! operator who knows better says `false`.

use std::time::Duration;

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method};

use super::accept::is_json;
use super::catchpoint::{self, ANALYTIC, PLAIN};
use super::{Edits, ErrorBody, Keeping, Observed};
use crate::clock::UnixTime;
use crate::pattern::{fold, segments};
use crate::quota::RouteClass;
use crate::target::Target;

/// Where a client and the vendor exchange id and secret for a token.
pub(super) const TOKEN_PATH: &str = "/ui/api/token";

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What data is like, and so how long it stays fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// What somebody configures.
    Config,
    /// Measurements between `startTime` and `endTime`.
    Window,
}

/// The documented resource at `path`.
fn resource(path: &str) -> Option<Kept> {
    let path = fold(path);
    let all: Vec<&str> = segments(&path).collect();
    match all.strip_prefix(&["ui", "api", "v1"])? {
        ["nodes" | "tests"]
        | ["nodes" | "tests", _]
        | ["nodegroups" | "products"]
        | ["performance", "favoritecharts"]
        | ["performance", "favoritecharts", _] => Some(Kept::Config),
        ["alerts"]
        | ["performance", "aggregated"]
        | ["performance", "raw" | "aggregated", _]
        | ["performance", "favoritecharts", _, "data"] => Some(Kept::Window),
        _ => None,
    }
}

pub(super) fn class(method: &Method, path: &str) -> RouteClass {
    let is_get = *method == Method::GET || *method == Method::HEAD;
    let is_plain = match resource(path) {
        Some(kept) => is_get && kept == Kept::Config,
        None => fold(path) == TOKEN_PATH,
    };
    if is_plain { PLAIN } else { ANALYTIC }
}

/// One spelling for all: the vendor answers in JSON whatever is asked for.
pub(super) fn shape(to: &mut HeaderMap) {
    to.insert(ACCEPT, JSON);
}

pub(super) fn supply(headers: &mut HeaderMap) {
    headers.entry(ACCEPT).or_insert(JSON);
    super::supply_user_agent(headers);
}

pub(super) fn error_body(message: &str) -> ErrorBody {
    let message = serde_json::Value::from(message);
    ErrorBody { content_type: JSON, bytes: format!(r#"{{"Message":{message}}}"#).into() }
}

/// Nothing is changed; that the JSON is whole is what keeps an answer.
pub(super) fn edits(answer: &HeaderMap) -> Option<Edits> {
    is_json(answer).then(Edits::default)
}

pub(super) fn keeping(observed: Option<&Observed>) -> Keeping {
    match observed {
        Some(Observed { wellformed: true, .. }) => Keeping::May,
        Some(_) | None => Keeping::Malformed,
    }
}

pub(super) fn freshness(method: &Method, target: &Target, now: UnixTime) -> Option<Duration> {
    if *method != Method::GET && *method != Method::HEAD {
        return None;
    }
    let seconds = match resource(target.path())? {
        Kept::Config => 60,
        Kept::Window if catchpoint::has_settled(target, ["startTime", "endTime"], now) => 86_400,
        Kept::Window => 30,
    };
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_769_853_600); // 2026-01-31T10:00:00Z

    #[test]
    fn every_documented_route_has_its_class_and_freshness() {
        for (path, wanted, fresh) in [
            ("nodes", PLAIN, Some(60)),
            ("nodes/7", PLAIN, Some(60)),
            ("nodeGroups", PLAIN, Some(60)),
            ("products/", PLAIN, Some(60)),
            ("tests", PLAIN, Some(60)),
            ("TESTS/1,2", PLAIN, Some(60)),
            ("performance/favoriteCharts", PLAIN, Some(60)),
            ("performance/favoriteCharts/5", PLAIN, Some(60)),
            ("performance/favoriteCharts/5/data", ANALYTIC, Some(30)),
            (
                "performance/raw/3?startTime=2026-01-31T09:00:00&endTime=2026-01-31T10:00:00",
                ANALYTIC,
                Some(30),
            ),
            (
                "performance/raw/3?startTime=2026-01-30T09:00:00&endTime=2026-01-30T10:00:00",
                ANALYTIC,
                Some(86_400),
            ),
            ("performance/aggregated", ANALYTIC, Some(30)),
            ("alerts", ANALYTIC, Some(30)),
            ("unknown", ANALYTIC, None),
            ("tests/1/2", ANALYTIC, None),
        ] {
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            let target = Target::parse(&format!("/ui/api/v1/{path}"), Some(query)).unwrap();
            assert_eq!(class(&Method::GET, target.path()), wanted, "{path}");
            let is = freshness(&Method::GET, &target, NOW).map(|fresh| fresh.as_secs());
            assert_eq!(is, fresh, "{path}?{query}");
        }
        assert_eq!(class(&Method::POST, "/UI/api/Token"), PLAIN);
        assert_eq!(class(&Method::POST, "/ui/api/v1/tests"), ANALYTIC);
        assert_eq!(class(&Method::GET, "/api/v2/tests"), ANALYTIC);
        let target = Target::parse("/ui/api/v1/tests", None).unwrap();
        assert_eq!(freshness(&Method::POST, &target, NOW), None);
    }

    #[test]
    fn errors_have_a_capital_message() {
        assert_eq!(error_body("say \"when\"").bytes, r#"{"Message":"say \"when\""}"#);
    }

    #[test]
    fn only_whole_json_is_kept() {
        let seen = |wellformed| keeping(Some(&Observed { wellformed, ..Observed::default() }));
        assert_eq!((seen(true), seen(false)), (Keeping::May, Keeping::Malformed));
        assert_eq!(keeping(None), Keeping::Malformed);
    }
}
