//! Recorded Future Sandbox (tria.ge), v0.
//!
//! One API in three shapes: `/v0/…`, `/api/v0/…` and `/api/…`. Routes are looked
//! at below that prefix. A configured `url` that ends in one says which shape this
//! vendor has: whatever shape a client was built for, its prefix makes way for it.
//!
//! Clients poll until a sample is `reported`, and repeat on 404; so neither an
//! unfinished status nor an error is ever kept.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::accept::is_json;
use super::{Edits, ErrorBody, Keeping, Manner, Observed};
use crate::pattern::{fold, segments};
use crate::target::Target;

/// What config says about a sandbox.
#[derive(Clone, Debug, Default)]
pub struct Sandbox {
    /// The configured `url` ends in the prefix of a shape.
    based: bool,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The prefixes of the three shapes, the longest first.
const PREFIXES: [&str; 3] = ["/api/v0", "/api", "/v0"];

impl Sandbox {
    /// The one at this host and base path (empty, or without a trailing slash).
    #[must_use]
    pub fn at(host: &str, base_path: &str) -> Self {
        // Of the public host, `/api` is only the beginning of `/api/v0`.
        let is_private = base_path.ends_with("/api") && !host.eq_ignore_ascii_case("tria.ge");
        Self { based: base_path.ends_with("/v0") || is_private }
    }

    /// The target without the prefix that the client was built for, where config names another.
    pub(super) fn canonical(&self, target: Target) -> Target {
        let shapes = PREFIXES.iter().filter(|_| self.based);
        shapes.into_iter().find_map(|prefix| target.strip_mount(prefix)).unwrap_or(target)
    }
}

/// The folded segments below the prefix.
fn below(path: &str) -> Vec<String> {
    let path = fold(path);
    let mut all: Vec<String> = segments(&path).map(str::to_owned).collect();
    for prefix in ["api", "v0"] {
        if all.first().is_some_and(|first| first == prefix) {
            all.remove(0);
        }
    }
    all
}

pub(super) fn manner(path: &str) -> Manner {
    let below = below(path);
    let below: Vec<&str> = below.iter().map(String::as_str).collect();
    match below.as_slice() {
        [.., "events"] => Manner::Stream,
        [.., last] if is_download(last) => Manner::Alone,
        _ => Manner::Shared,
    }
}

/// Samples, archives, captures and dumps: large, and seldom asked for twice.
fn is_download(name: &str) -> bool {
    matches!(name, "sample" | "archive" | "archive.zip" | "archive.tar" | "archive.tar.gz")
        || [".pcap", ".pcapng", ".dmp", ".dump", ".zip", ".gz", ".bin"].iter().any(|end| name.ends_with(end))
}

/// Only an answer that is there: clients repeat on a 404 until it is.
pub(super) fn may_keep(status: StatusCode) -> bool {
    status == StatusCode::OK
}

/// One public client fails on a code that it does not know, so these are all.
/// What may pass has the code that clients try again on.
pub(super) fn error_body(status: StatusCode, message: &str) -> ErrorBody {
    let code = match status.as_u16() {
        401 | 403 => "UNAUTHORIZED",
        404 => "NOT_FOUND",
        405 | 501 => "METHOD_NOT_ALLOWED",
        429 | 500.. => "INTERNAL",
        _ => "BAD_REQUEST",
    };
    let message = serde_json::Value::from(message);
    ErrorBody { content_type: JSON, bytes: format!(r#"{{"error":"{code}","message":{message}}}"#).into() }
}

/// Nothing is changed; the status is observed.
pub(super) fn edits(path: &str, answer: &HeaderMap) -> Option<Edits> {
    let typed = answer.contains_key(CONTENT_TYPE);
    (manner(path) == Manner::Shared && typed && is_json(answer)).then(Edits::default)
}

pub(super) fn keeping(observed: Option<&Observed>) -> Keeping {
    match observed {
        Some(Observed { wellformed: false, .. }) => Keeping::Malformed,
        Some(Observed { status: Some(status), .. }) if status != "reported" => Keeping::Unfinished,
        Some(_) | None => Keeping::May,
    }
}

/// A sample whose analysis is over does not change any more, nor do its reports.
pub(super) fn freshness(method: &Method, target: &Target) -> Option<Duration> {
    if *method != Method::GET && *method != Method::HEAD {
        return None;
    }
    let below = below(target.path());
    let below: Vec<&str> = below.iter().map(String::as_str).collect();
    let seconds = match below.as_slice() {
        ["samples"] | ["search"] => 5,
        ["samples", _] | ["samples", _, "summary" | "overview.json" | "reports" | "urlscan.json"] => 86_400,
        ["samples", _, "reports", ..] => 86_400,
        ["samples", _, _, "report_triage.json"] => 86_400,
        ["profiles"] | ["profiles", _] => 60,
        _ => return None,
    };
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str) -> Target {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Target::parse(path, Some(query)).unwrap()
    }

    #[test]
    fn three_shapes_are_one_api() {
        for prefix in ["/v0", "/api/v0", "/api", ""] {
            for (path, wanted) in [
                ("samples/1/events", Manner::Stream),
                ("samples/events", Manner::Stream),
                ("samples/1/sample", Manner::Alone),
                ("samples/1/archive", Manner::Alone),
                ("samples/1/behavioral1/dump.pcapng", Manner::Alone),
                ("samples/1/behavioral1/logs/memory/1.dmp", Manner::Alone),
                ("samples/1", Manner::Shared),
                ("samples/1/overview.json", Manner::Shared),
            ] {
                assert_eq!(manner(&format!("{prefix}/{path}")), wanted, "{prefix}/{path}");
            }
            let fresh = |path: &str| {
                freshness(&Method::GET, &target(&format!("{prefix}/{path}"))).map(|fresh| fresh.as_secs())
            };
            assert_eq!(fresh("samples/1"), Some(86_400));
            assert_eq!(fresh("samples/1/behavioral1/report_triage.json"), Some(86_400));
            assert_eq!(fresh("samples?subset=owned"), Some(5));
            assert_eq!(fresh("samples/1/events"), None);
            assert_eq!(fresh("yara"), None);
        }
    }

    #[test]
    fn a_url_with_a_path_decides_the_shape() {
        for (url, based) in [
            (("api.tria.ge", "/v0"), true),
            (("tria.ge", "/api/v0"), true),
            (("tria.ge", "/api"), false),
            (("private.tria.ge", "/api"), true),
            (("tria.ge", ""), false),
            (("gateway.internal", "/sandbox"), false),
        ] {
            assert_eq!(Sandbox::at(url.0, url.1).based, based, "{url:?}");
        }
        for (based, asked, wanted) in [
            (true, "/v0/samples/1", "/samples/1"),
            (true, "/api/v0/samples", "/samples"),
            (
                true,
                "/api/samples?offset=2020-09-23T07:26:26.000000Z",
                "/samples?offset=2020-09-23T07:26:26.000000Z",
            ),
            (true, "/samples", "/samples"),
            (true, "/v0x/samples", "/v0x/samples"),
            (false, "/api/v0/samples", "/api/v0/samples"),
        ] {
            let canonical = Sandbox { based }.canonical(target(asked));
            assert_eq!(canonical.to_string(), wanted, "{asked}");
        }
        assert_eq!(
            target("/v0/samples?offset=2020-09-23T07%3A26%3A26.000000Z"),
            target("/v0/samples?offset=2020-09-23T07:26:26.000000Z")
        );
    }

    #[test]
    fn errors_have_documented_codes_only() {
        for (status, code) in [
            (400, "BAD_REQUEST"),
            (401, "UNAUTHORIZED"),
            (403, "UNAUTHORIZED"),
            (404, "NOT_FOUND"),
            (405, "METHOD_NOT_ALLOWED"),
            (413, "BAD_REQUEST"),
            (429, "INTERNAL"),
            (501, "METHOD_NOT_ALLOWED"),
            (502, "INTERNAL"),
            (504, "INTERNAL"),
        ] {
            let body = error_body(StatusCode::from_u16(status).unwrap(), "no \"x\"");
            assert_eq!(body.bytes, format!(r#"{{"error":"{code}","message":"no \"x\""}}"#), "{status}");
        }
    }

    #[test]
    fn only_what_is_reported_is_kept() {
        let seen = |status: Option<&str>| {
            let status = status.map(str::to_owned);
            keeping(Some(&Observed { status, wellformed: true, ..Observed::default() }))
        };
        assert_eq!(seen(Some("reported")), Keeping::May);
        for unfinished in ["pending", "static_analysis", "scheduled", "running", "processing", "failed"] {
            assert_eq!(seen(Some(unfinished)), Keeping::Unfinished, "{unfinished}");
        }
        assert_eq!(seen(None), Keeping::May);
        assert_eq!(keeping(Some(&Observed::default())), Keeping::Malformed);
        assert!(may_keep(StatusCode::OK) && !may_keep(StatusCode::NOT_FOUND));
        let typed = |typed| [(CONTENT_TYPE, HeaderValue::from_static(typed))].into_iter().collect();
        assert!(edits("/v0/samples/1", &typed("application/json")).is_some());
        assert!(edits("/v0/samples/1/events", &typed("application/json")).is_none());
        assert!(edits("/v0/samples/1/files/x", &typed("application/octet-stream")).is_none());
    }
}
