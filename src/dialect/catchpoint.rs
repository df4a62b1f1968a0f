//! Catchpoint's REST API, v2 and later.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};

use super::{ErrorBody, Verdict};
use crate::clock::UnixTime;
use crate::quota::{Limit, RouteClass};
use crate::target::Target;

/// What config says about Catchpoint.
#[derive(Clone, Debug, Default)]
pub struct Catchpoint {
    /// Versions (`v2`) to warn about.
    pub warn: Vec<String>,
    /// Versions to refuse.
    pub refuse: Vec<String>,
}

pub(super) const CLASSES: &[RouteClass] = &[RouteClass("analytic"), RouteClass("plain")];

impl Catchpoint {
    pub(super) fn check(&self, _m: &Method, _t: &Target, _h: &HeaderMap, _now: UnixTime) -> Verdict {
        Verdict::Pass
    }
}

pub(super) fn default_limits() -> Vec<Limit> {
    Vec::new()
}

pub(super) fn class(_method: &Method, _path: &str) -> RouteClass {
    RouteClass("analytic")
}

pub(super) fn reads(method: &Method, _path: &str) -> bool {
    method == Method::GET || method == Method::HEAD
}

pub(super) fn shape(_from: &HeaderMap, _to: &mut HeaderMap) {}

pub(super) fn supply(_headers: &mut HeaderMap) {}

pub(super) fn error_body(_message: &str, _request_id: &str) -> ErrorBody {
    ErrorBody { content_type: HeaderValue::from_static("application/json"), bytes: Bytes::new() }
}

pub(super) fn freshness(_method: &Method, _target: &Target, _now: UnixTime) -> Option<Duration> {
    None
}
