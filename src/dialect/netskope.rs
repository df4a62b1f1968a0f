//! Netskope's REST API, v1 and v2 of one tenant.
//!
//! v2 carries its token in a header. v1 carries it as `token` in the query or, with
//! POST, in a form or JSON body ([`body`]); it is swapped where it stood. Reads of
//! v1 come as GET or POST.
//!
//! The vendor takes 24 requests in 5 s and serves 4 of them in a second, so that is
//! the pace. `dataexport` moves a cursor at the vendor: each request is another one.

pub(super) mod body;

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Serialize;

use super::accept::is_json;
use super::{Edits, ErrorBody, Keeping, Manner, Observed, Signed, UnusableKey, generic};
use crate::clock::UnixTime;
use crate::pattern::{fold, segments};
use crate::quota::{Limit, RouteClass, Routes, Scope, Window};
use crate::secret::Secret;
use crate::target::Target;

use self::body::Place;

pub(super) const CLASSES: &[RouteClass] = &[V1, V2];

const V1: RouteClass = RouteClass("v1");
const V2: RouteClass = RouteClass("v2");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TOKEN_HEADER: HeaderName = HeaderName::from_static("netskope-api-token");
/// The parameter and member that holds v1's token.
pub(super) const TOKEN: &str = "token";

/// What v1 reads, by GET and by POST.
const V1_READS: [&str; 6] = ["alerts", "clients", "events", "logstatus", "report", "userconfig"];

/// What v1 does, also by GET.
const V1_ACTS: [&str; 5] = ["updateurllist", "updatefilehashlist", "quarantine", "legalhold", "acknowledge"];

/// The folded segments below `/api/VERSION`, with the version.
fn version(path: &str) -> Option<(RouteClass, Vec<String>)> {
    let path = fold(path);
    let mut all = segments(&path);
    all.next().filter(|first| *first == "api")?;
    let version = match all.next()? {
        "v1" => V1,
        "v2" => V2,
        _ => return None,
    };
    Some((version, all.map(str::to_owned).collect()))
}

pub(super) fn is_v1(path: &str) -> bool {
    version(path).is_some_and(|(version, _)| version == V1)
}

/// What is not v1's has the header, and counts as v2.
pub(super) fn class(path: &str) -> RouteClass {
    version(path).map_or(V2, |(version, _)| version)
}

pub(super) fn default_limits() -> Vec<Limit> {
    let limit = |name: &str, requests, seconds| {
        let window = Window::Sliding(Duration::from_secs(seconds));
        Limit {
            name: name.parse().expect("a word in lower case is a name"),
            requests: NonZeroU32::new(requests).expect("not zero"),
            slack: window.default_slack(),
            window,
            scope: Scope::Account,
            routes: Routes::All,
        }
    };
    vec![limit("second", 4, 1), limit("burst", 24, 5)]
}

fn names(list: &[&str], below: &[String]) -> bool {
    below.first().is_some_and(|first| list.contains(&first.as_str()))
}

pub(super) fn reads(method: &Method, path: &str) -> bool {
    let (version, below) = version(path).unwrap_or((V2, Vec::new()));
    match *method {
        Method::GET | Method::HEAD => version != V1 || !names(&V1_ACTS, &below),
        Method::POST => version == V1 && names(&V1_READS, &below),
        _ => false,
    }
}

pub(super) fn manner(path: &str) -> Manner {
    match version(path) {
        Some((V1, below)) if names(&V1_ACTS, &below) => Manner::Alone,
        Some((V2, below)) if below.iter().any(|segment| segment == "dataexport") => Manner::Alone,
        _ => Manner::Shared,
    }
}

/// The token in the header or the query; one in a body is told by [`body::split`].
pub(super) fn presented<'a>(headers: &'a HeaderMap, target: &'a Target) -> Option<Cow<'a, [u8]>> {
    if is_v1(target.path()) {
        let value = generic::only(target.values(TOKEN))?;
        return Some(match value {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        });
    }
    let value = generic::only(headers.get_all(TOKEN_HEADER).iter())?;
    Some(Cow::Borrowed(value.as_bytes().trim_ascii()))
}

pub(super) fn strip(headers: &mut HeaderMap, target: &Target) -> Target {
    headers.remove(AUTHORIZATION);
    headers.remove(TOKEN_HEADER);
    target.without(&[TOKEN])
}

pub(super) fn accepts_key(key: &Secret) -> bool {
    generic::bears(key)
}

pub(super) fn sign(
    headers: &mut HeaderMap,
    target: &Target,
    place: Place,
    key: &Secret,
) -> Result<Signed, UnusableKey> {
    if !accepts_key(key) {
        return Err(UnusableKey);
    }
    match (is_v1(target.path()), place) {
        (false, _) => generic::in_header(headers, TOKEN_HEADER, key.expose()),
        (true, Place::Query) => Ok(Signed::InQuery(Secret::new(target.query_with(TOKEN, key.expose())))),
        (true, Place::Form | Place::Json) => Ok(Signed::InBody(place)),
    }
}

pub(super) fn error_body(status: StatusCode, message: &str) -> ErrorBody {
    #[derive(Serialize)]
    struct Error<'a> {
        status: &'static str,
        #[serde(rename = "errorCode")]
        error_code: &'static str,
        errors: [&'a str; 1],
    }
    let error_code = status.canonical_reason().unwrap_or("Error");
    let error = Error { status: "error", error_code, errors: [message] };
    let bytes = serde_json::to_vec(&error).expect("texts have a JSON form");
    ErrorBody { content_type: JSON, bytes: bytes.into() }
}

/// Nothing is changed; the status is observed.
pub(super) fn edits(path: &str, answer: &HeaderMap) -> Option<Edits> {
    (manner(path) == Manner::Shared && is_json(answer)).then(Edits::default)
}

/// Errors come with HTTP 200 too.
pub(super) fn keeping(observed: Option<&Observed>) -> Keeping {
    match observed {
        Some(Observed { status: Some(status), .. }) if status == "error" => Keeping::Unfinished,
        Some(Observed { wellformed: true, .. }) => Keeping::May,
        Some(_) | None => Keeping::Malformed,
    }
}

/// Logs arrive late, so even a window that is over stays fresh for an hour only.
pub(super) fn freshness(method: &Method, target: &Target, now: UnixTime) -> Option<Duration> {
    const SETTLING: Duration = Duration::from_secs(3_600);
    let is_get = *method == Method::GET || *method == Method::HEAD;
    let (version, below) = version(target.path())?;
    if !is_get || manner(target.path()) != Manner::Shared {
        return None;
    }
    let moment = |name| {
        let text = generic::only(target.values(name))?;
        text.parse().ok().map(UnixTime::from_secs)
    };
    let is_data = version == V1 && names(&V1_READS, &below) || below.first().is_some_and(|b| b == "events");
    let over = moment("starttime").is_some() && moment("endtime").is_some_and(|end| end + SETTLING <= now);
    is_data.then_some(Duration::from_secs(if over { 3_600 } else { 30 }))
}

#[cfg(test)]
mod tests;
