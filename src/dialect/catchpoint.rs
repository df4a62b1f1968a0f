//! Catchpoint's REST API, v2 and later.
//!
//! Two budgets: 7 requests a second from one address for everything, and three
//! windows of the whole account for `analytic` calls. What [`routes`] does not
//! know counts as analytic: too dear is a wait, too cheap is a 429.

mod check;
mod routes;
mod times;
mod usage;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method};
use smallvec::SmallVec;

use super::accept;
use super::{Edits, ErrorBody, Keeping, Links, Observed, Route, Verdict};
use crate::clock::UnixTime;
use crate::pattern::{fold, segments};
use crate::quota::{Calendar, Limit, RouteClass, Routes, Scope, Window};
use crate::target::Target;

use self::routes::Kept;

pub(super) use self::routes::Get;
pub use self::usage::Usage;
pub(super) use self::usage::read as usage;

/// What config says about Catchpoint.
#[derive(Clone, Debug, Default)]
pub struct Catchpoint {
    /// Versions (`v2`, in lower case) to warn about.
    pub warn: Vec<String>,
    /// Versions to refuse.
    pub refuse: Vec<String>,
}

pub(super) const CLASSES: &[RouteClass] = &[ANALYTIC, PLAIN];

pub(super) const ANALYTIC: RouteClass = RouteClass("analytic");
pub(super) const PLAIN: RouteClass = RouteClass("plain");

/// What the vendor takes in `Accept`, the dearest to us first.
const ACCEPTED: &[&str] = &["application/json", "text/json", "text/plain"];
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// How long a window's data may still change after its end.
const SETTLING: Duration = Duration::from_secs(15 * 60);

impl Catchpoint {
    pub(super) fn check(&self, route: Route, target: &Target) -> Verdict {
        if let Some(version) = listed(&self.refuse, target) {
            return Verdict::Forbidden(format!("version {version} of this API is not allowed here"));
        }
        if let Err(message) = route.get.map_or(Ok(()), |get| check::query(get, target)) {
            return Verdict::Invalid(message);
        }
        if let Some(version) = listed(&self.warn, target) {
            return Verdict::Warn(format!("version {version} of this API will not be allowed for long"));
        }
        Verdict::Pass
    }
}

/// The target's version, if it is one of these. Mostly there are none, and no look is taken.
fn listed<'v>(versions: &'v [String], target: &Target) -> Option<&'v str> {
    let path = (!versions.is_empty()).then(|| fold(target.path()))?;
    let version = Path::of(&path)?.version;
    versions.iter().map(String::as_str).find(|listed| *listed == version)
}

/// A path below `/api/VERSION`.
struct Path<'p> {
    version: &'p str,
    segments: SmallVec<[&'p str; 8]>,
}

impl<'p> Path<'p> {
    /// None if the folded path does not begin like one of this API.
    fn of(folded: &'p str) -> Option<Self> {
        let mut segments = segments(folded);
        let version = segments.next().filter(|api| *api == "api").and_then(|_| segments.next())?;
        let digits = version.strip_prefix('v')?;
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        digits.split('.').all(is_number).then(|| Self { version, segments: segments.collect() })
    }
}

pub(super) fn default_limits() -> Vec<Limit> {
    const SECOND: Duration = Duration::from_secs(1);
    let limit = |name: &str, requests, window: Window, analytic| Limit {
        name: name.parse().expect("a word in lower case is a name"),
        requests: NonZeroU32::new(requests).expect("not zero"),
        slack: window.default_slack(),
        window,
        scope: if analytic { Scope::Account } else { Scope::Address },
        routes: if analytic { Routes::Class(ANALYTIC) } else { Routes::All },
    };
    vec![
        limit("second", 7, Window::Sliding(SECOND), false),
        limit("minute", 20, Window::Sliding(SECOND * 60), true),
        limit("hour", 500, Window::Sliding(SECOND * 3_600), true),
        limit("day", 2_000, Window::Calendar(Calendar::Every(SECOND * 86_400)), true),
    ]
}

pub(super) fn route(method: &Method, path: &str) -> Route {
    let path = fold(path);
    let Some(Path { segments, .. }) = Path::of(&path) else { return ANALYTIC.into() };
    let (get, is_plain) = match *method {
        Method::GET | Method::HEAD => {
            let get = routes::get(&segments);
            (get, get.is_some_and(|get| !get.analytic))
        }
        _ => (None, routes::is_known_write(method, &segments)),
    };
    Route { class: if is_plain { PLAIN } else { ANALYTIC }, get }
}

pub(super) fn reads(method: &Method, path: &str) -> bool {
    match *method {
        Method::GET | Method::HEAD => true,
        Method::POST => Path::of(&fold(path)).is_some_and(|path| routes::is_reading_post(&path.segments)),
        _ => false,
    }
}

/// Answers are JSON whatever a caller likes: one who takes none of the types that
/// the vendor insists on is asked for in the first of them. No `Content-Type`:
/// many clients put one on every GET, where it means nothing and would only keep
/// them from sharing an answer.
pub(super) fn shape(from: &HeaderMap, to: &mut HeaderMap) {
    to.insert(ACCEPT, accepted(from));
}

pub(super) fn supply(headers: &mut HeaderMap) {
    let accept = accepted(headers);
    headers.insert(ACCEPT, accept);
    super::supply_user_agent(headers);
}

fn accepted(headers: &HeaderMap) -> HeaderValue {
    accept::preferred(headers, ACCEPTED).map_or(JSON, HeaderValue::from_static)
}

pub(super) fn error_body(message: &str, request_id: &str) -> ErrorBody {
    let message = serde_json::Value::from(message);
    let id = serde_json::Value::from(request_id);
    let body = format!(
        r#"{{"data":null,"messages":[],"errors":[{{"message":{message}}}],"completed":false,"traceId":{id}}}"#
    );
    ErrorBody { content_type: JSON, bytes: body.into() }
}

/// Every JSON answer is an envelope; the vendor also calls it `text/plain` on request.
pub(super) fn edits(answer: &HeaderMap, links: &Arc<Links>) -> Option<Edits> {
    let is_envelope = accept::is_json_or(answer, ACCEPTED);
    is_envelope.then(|| Edits { leave_out: Some("usageLimits"), links: Some(Arc::clone(links)) })
}

/// Only a whole envelope proves that it is one. What is none (a screenshot, a CDN's
/// page) is passed on and never kept: nothing tells a good one from a bad one.
pub(super) fn keeping(observed: Option<&Observed>) -> Keeping {
    match observed {
        Some(Observed { completed: Some(false), .. }) => Keeping::Unfinished,
        Some(Observed { wellformed: true, .. }) => Keeping::May,
        Some(_) | None => Keeping::Malformed,
    }
}

/// The one table of how long answers stay fresh, whatever the vendor's headers say.
pub(super) fn freshness(route: Route, target: &Target, now: UnixTime) -> Option<Duration> {
    let get = route.get?;
    let seconds = match get.kept {
        Kept::Running => 3,
        Kept::State => 15,
        Kept::Config => 60,
        Kept::Enumeration => 3_600,
        Kept::Run => 86_400,
        Kept::Moving => 30,
        Kept::Window if get.times.is_some_and(|names| has_settled(target, names, now)) => 86_400,
        Kept::Window => 30,
    };
    Some(Duration::from_secs(seconds))
}

/// Whether the window between the two named parameters ended so long ago that its
/// data no longer changes.
pub(super) fn has_settled(target: &Target, names: [&str; 2], now: UnixTime) -> bool {
    check::window(target, names).is_some_and(|(_, end)| end + SETTLING <= now)
}

#[cfg(test)]
mod tests;
