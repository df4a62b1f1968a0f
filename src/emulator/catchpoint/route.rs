//! Which operation a request asks for, and whether it is an analytic one.

use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;

use super::world::Collection;
use super::{Problem, VERSIONS, reads};

/// An operation, with the identifiers as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    List(Collection),
    /// A comma-separated list of identifiers.
    Some(Collection, String),
    Create(Collection),
    Change(Collection, String),
    Remove(Collection, String),
    /// `PATCH tests/alerts`.
    Acknowledge,
    /// `POST instanttests` and `POST instanttests/{testId}`.
    StartInstant(Option<String>),
    Analytic(Analytic),
    /// In the vendor's description, but without data here.
    Empty,
}

/// The operations that the minute, hour and day are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Analytic {
    Alerts,
    AlertsById(String),
    Explorer(Granularity),
    ErrorsRaw(Option<String>),
    InstantTest(String),
    Waterfall(String),
    WaterfallPart(String, String),
    NodesAll,
    NodeRun(String),
    /// Outages, real user monitoring, endpoints: no data here.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Granularity {
    Raw,
    Aggregated,
}

/// Whether the vendor lists this request among its analytic calls: all GET, in
/// any version, in any case.
pub(crate) fn is_analytic(method: &Method, path: &str) -> bool {
    let Some((_, words)) = split(path) else { return false };
    let lower: Vec<_> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
    reads(method) && analytic(&lower.iter().map(String::as_str).collect::<Vec<_>>(), &words).is_some()
}

impl Route {
    pub(super) fn of(method: &Method, path: &str) -> Result<Self, Problem> {
        let unknown = || Problem::Status(StatusCode::NOT_FOUND, format!("There is no resource at {path}."));
        let (version, words) = split(path).ok_or_else(unknown)?;
        if !VERSIONS.contains(&version.as_str()) {
            return Err(Problem::bad(format!("The API version '{version}' is not supported.")));
        }
        let lower: Vec<_> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
        let lower: Vec<_> = lower.iter().map(String::as_str).collect();
        if reads(method) {
            if let Some(what) = analytic(&lower, &words) {
                return Ok(Self::Analytic(what));
            }
            return read(&lower, &words).ok_or_else(unknown);
        }
        if is_empty(&lower) {
            return Ok(Self::Empty);
        }
        let wrong = || {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            Problem::Status(status, format!("The resource at {path} does not allow {method}."))
        };
        let write = write(method, &lower, &words);
        let known = || analytic(&lower, &words).is_some() || read(&lower, &words).is_some();
        write.ok_or_else(|| if known() { wrong() } else { unknown() })
    }
}

/// The version (in lower case) and the decoded words after it.
fn split(path: &str) -> Option<(String, Vec<String>)> {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let mut words = decoded.trim_matches('/').split('/').map(str::to_owned);
    let api = words.next()?;
    let version = words.next()?.to_ascii_lowercase();
    api.eq_ignore_ascii_case("api").then(|| (version, words.collect()))
}

/// `lower` decides, `words` has the identifiers.
fn analytic(lower: &[&str], words: &[String]) -> Option<Analytic> {
    let word = |index: usize| words.get(index).cloned().unwrap_or_default();
    Some(match lower {
        ["tests", "alerts"] => Analytic::Alerts,
        ["tests", "alerts", _] => Analytic::AlertsById(word(2)),
        ["tests", "explorer", "raw"] => Analytic::Explorer(Granularity::Raw),
        ["tests", "explorer", "aggregated"] => Analytic::Explorer(Granularity::Aggregated),
        ["tests", "errors", "raw"] => Analytic::ErrorsRaw(None),
        ["tests", "errors", "raw", _] => Analytic::ErrorsRaw(Some(word(3))),
        ["tests", "records", "waterfall", _] => Analytic::Waterfall(word(3)),
        ["tests", "records", "waterfall", part @ ("data" | "screenshot" | "filmstrip"), _] => {
            Analytic::WaterfallPart((*part).to_owned(), word(4))
        }
        ["instanttests", _] => Analytic::InstantTest(word(1)),
        ["nodes", "all"] => Analytic::NodesAll,
        ["nodes", "testrun", _] => Analytic::NodeRun(word(2)),
        ["tests", "explorer", "favoritechart", "data" | "defaultdata", _]
        | ["endpoints", "device", "explorer", "raw" | "aggregated"]
        | ["iw", "outages"]
        | ["realuser", "favoritechart", "data" | "defaultdata", _]
        | ["realuser", "explorer", "data", _] => Analytic::Other,
        _ => return None,
    })
}

fn read(lower: &[&str], words: &[String]) -> Option<Route> {
    match lower {
        [name] if Collection::named(name).is_some() => Collection::named(name).map(Route::List),
        [_, ..] if is_empty(lower) => Some(Route::Empty),
        [name, _] => Collection::named(name).map(|of| Route::Some(of, words[1].clone())),
        _ => None,
    }
}

fn write(method: &Method, lower: &[&str], words: &[String]) -> Option<Route> {
    match (method.as_str(), lower) {
        ("PATCH", ["tests", "alerts"]) => Some(Route::Acknowledge),
        ("POST", ["instanttests"]) => Some(Route::StartInstant(None)),
        ("POST", ["instanttests", _]) => Some(Route::StartInstant(Some(words[1].clone()))),
        ("POST", [name]) => Collection::writable(name).map(Route::Create),
        ("PATCH", [name, _]) => Collection::writable(name).map(|of| Route::Change(of, words[1].clone())),
        ("DELETE", [name @ ("tests" | "labels"), _]) => {
            Collection::writable(name).map(|of| Route::Remove(of, words[1].clone()))
        }
        _ => None,
    }
}

/// Of the description, but without data here, whatever the method.
fn is_empty(lower: &[&str]) -> bool {
    matches!(
        lower,
        ["commandcontrol" | "slo" | "enumerations" | "assertions" | "instances" | "testtemplates", ..]
            | ["account" | "insights" | "library" | "slapurgeitems" | "useridentity" | "userroles", ..]
            | ["endpoints" | "workflow" | "realuser", _, ..]
            | ["instanttests", "configuration", _]
            | ["nodes", "os" | "isp" | "package" | "geographycity" | "chromeversions" | "groups", ..]
            | ["nodes", "state" | "status" | "runrate" | "capacityutilization" | "errors", ..]
            | ["nodes", "testruncount" | "testtime", ..]
            | ["tests", "enumeration" | "scriptconvert"]
            | ["tests", "alert", "state", ..]
            | ["tests", "explorer", "enumeration" | "favoritechart", ..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_documented_calls_are_analytic() {
        let yes = [
            "/api/v2/tests/alerts",
            "/api/v2/tests/alerts/1,2",
            "/api/v4/Tests/Explorer/Raw",
            "/api/v3.3/tests/explorer/aggregated",
            "/api/v2/endpoints/device/explorer/raw",
            "/api/v2/instanttests/5",
            "/api/v2/iw/outages",
            "/api/v2/nodes/all",
            "/api/v2/nodes/%61ll",
            "/api/v2/nodes/testrun/5",
            "/api/v2/realuser/favoritechart/data/1",
            "/api/v2/realuser/favoritechart/defaultdata/1",
            "/api/v2/realuser/explorer/data/1,2",
            "/api/v2/tests/errors/raw",
            "/api/v2/tests/errors/raw/1",
            "/api/v2/tests/records/waterfall/1",
            "/api/v2/tests/records/waterfall/data/abc",
            "/api/v2/tests/records/waterfall/screenshot/abc",
            "/api/v2/tests/records/waterfall/filmstrip/abc",
            "/api/v2/tests/explorer/favoritechart/data/1",
            "/api/v2/tests/explorer/favoritechart/defaultdata/1",
        ];
        let no = [
            "/api/v2/tests",
            "/api/v2/tests/1,2",
            "/api/v2/nodes",
            "/api/v2/nodes/12",
            "/api/v2/tests/explorer/enumeration",
            "/api/v2/tests/explorer/favoritechart/1",
            "/api/v2/instanttests",
            "/api/v2/instanttests/configuration/5",
            "/api/v2/slo/violations",
            "/tests/alerts",
        ];
        for path in yes {
            assert!(is_analytic(&Method::GET, path), "{path}");
            assert!(!is_analytic(&Method::POST, path), "{path}");
        }
        for path in no {
            assert!(!is_analytic(&Method::GET, path), "{path}");
        }
    }

    #[test]
    fn operations_are_told_apart() {
        let of = |method: Method, path: &str| Route::of(&method, path).unwrap();
        assert_eq!(of(Method::GET, "/api/v2/tests"), Route::List(Collection::Tests));
        assert_eq!(of(Method::GET, "/api/v2/Tests/1,2"), Route::Some(Collection::Tests, "1,2".into()));
        assert_eq!(of(Method::PATCH, "/api/v2/tests/1"), Route::Change(Collection::Tests, "1".into()));
        assert_eq!(of(Method::DELETE, "/api/v2/tests/1,2"), Route::Remove(Collection::Tests, "1,2".into()));
        assert_eq!(of(Method::GET, "/api/v2/slo/5"), Route::Empty);
        for (method, path, status) in [
            (Method::GET, "/api/v2/nothing", 404),
            (Method::DELETE, "/api/v2/nodes/5", 405),
            (Method::POST, "/api/v2/tests/alerts", 405),
            (Method::GET, "/api/v1/tests", 400),
            (Method::GET, "/", 404),
        ] {
            let Err(Problem::Status(got, _)) = Route::of(&method, path) else { panic!("{method} {path}") };
            assert_eq!(got.as_u16(), status, "{method} {path}");
        }
    }
}
