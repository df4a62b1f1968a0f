//! What is said about one exchange: the headers of its answer, its log line, its counts.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use sfv::{KeyRef, TokenRef};

use super::body::Body;
use super::call::{Call, Caller};
use super::refusal::No;
use super::{Gateway, Lane};
use crate::cache::{Forward, Hit};
use crate::clock::Moment;
use crate::consumer::ConsumerIx;
use crate::id::RequestId;
use crate::quota::LimitSet;
use crate::telemetry::{self, Outcome};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const WEIR_PRICE: HeaderName = HeaderName::from_static("weir-price");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// One request under way, as far as it is understood.
pub(super) struct Exchange {
    id: RequestId,
    began: Moment,
    method: Method,
    path: String,
    trace: Option<String>,
    lane: Option<Arc<Lane>>,
    consumer: Option<ConsumerIx>,
    seat: Option<usize>,
    clipped_wait: Option<u64>,
    /// What it counts against, once that is known.
    pub(super) limits: LimitSet,
    /// Time in the budget's queue.
    pub(super) waited: Duration,
    /// Requests of the account's allowance that it has cost this caller so far,
    /// whatever comes of them: a failure that was sent is paid for too.
    pub(super) price: u32,
}

/// An answer with what is to be said about it.
pub(super) struct Answer {
    pub(super) response: Response<Body>,
    pub(super) outcome: Outcome,
    /// Why, in the word of whoever decided.
    pub(super) reason: &'static str,
    /// From the send to the vendor's head; zero if nothing was sent for it.
    pub(super) upstream_time: Duration,
    pub(super) cache: CacheStatus,
}

/// `Cache-Status` (RFC 9211) in parts.
#[derive(Clone, Copy, Debug)]
pub(super) enum CacheStatus {
    /// Answered from the cache.
    Hit {
        /// Seconds of freshness left; negative when stale.
        ttl: i64,
        /// Why it is stale.
        detail: Option<&'static str>,
    },
    /// Asked for at the vendor.
    Forwarded {
        /// Why.
        why: Forward,
        /// The vendor's status, if it answered.
        status: Option<u16>,
        /// Whether the answer is being kept.
        stored: bool,
        /// Whether it was another caller's fetch.
        collapsed: bool,
        /// Why it is not kept.
        detail: Option<&'static str>,
    },
    /// Not concerned.
    None,
}

impl Exchange {
    pub(super) fn begin(
        id: RequestId,
        began: Moment,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Self {
        Self {
            id,
            began,
            method: method.clone(),
            path: path.to_owned(),
            trace: trace_id(headers).map(str::to_owned),
            lane: None,
            consumer: None,
            seat: None,
            clipped_wait: None,
            limits: LimitSet::EMPTY,
            waited: Duration::ZERO,
            price: 0,
        }
    }

    /// The upstream whose words are spoken if nothing better is found.
    pub(super) fn nearest(&mut self, lane: Option<&Arc<Lane>>) {
        self.lane = lane.cloned();
    }

    /// The upstream and the canonical path are known.
    pub(super) fn routed(&mut self, call: &Call) {
        self.lane = Some(Arc::clone(&call.lane));
        call.target.path().clone_into(&mut self.path);
    }

    /// The caller is known.
    pub(super) fn identified(&mut self, caller: &Caller<'_>) {
        self.consumer = Some(caller.consumer);
        self.seat = Some(caller.access.seat);
        self.clipped_wait = caller.clipped_wait;
    }

    /// Puts the last headers on, counts, and writes the log line.
    pub(super) fn end(self, gateway: &Gateway, answered: Result<Answer, No>) -> Response<Body> {
        let answer = answered.unwrap_or_else(|no| self.refused(&no));
        let mut response = answer.response;
        let headers = response.headers_mut();
        if let Some(value) = answer.cache.header() {
            headers.insert(CACHE_STATUS, value);
        }
        headers.insert(WEIR_PRICE, self.price.into());
        if let Ok(id) = HeaderValue::try_from(self.id.to_string()) {
            headers.insert(REQUEST_ID, id);
        }
        if let Some(Ok(wait)) = self.clipped_wait.map(|wait| HeaderValue::try_from(format!("wait={wait}"))) {
            headers.insert("preference-applied", wait);
        }
        if let (Some(lane), Some(seat)) = (&self.lane, self.seat) {
            lane.describe_limits(seat, self.limits, headers);
            lane.tally.count(seat, answer.outcome, self.price, self.waited);
        }
        telemetry::Exchange {
            id: self.id,
            consumer: self.consumer.map(|ix| gateway.consumers.config(ix).name.as_str()),
            upstream: self.lane.as_ref().map(|lane| lane.config.name.as_str()),
            method: &self.method,
            path: &self.path,
            status: response.status(),
            outcome: answer.outcome,
            reason: answer.reason,
            price: self.price,
            waited: self.waited,
            upstream_time: answer.upstream_time,
            took: gateway.clock.now().since(self.began),
            trace: self.trace.as_deref(),
        }
        .log();
        response
    }

    fn refused(&self, no: &No) -> Answer {
        let dialect = self.lane.as_ref().map(|lane| &lane.config.dialect);
        if let No::Vendor(fault) = no {
            // The libraries' words are for the operator; the caller gets the reason.
            tracing::warn!(id = %self.id, %fault, "the vendor did not answer");
        }
        Answer { reason: no.reason(), ..Answer::of(no.answer(dialect, self.id), no.outcome()) }
    }
}

impl Answer {
    /// An answer of which nothing else is known yet.
    pub(super) fn of(response: Response<Body>, outcome: Outcome) -> Self {
        let upstream_time = Duration::ZERO;
        Self { response, outcome, reason: outcome.as_str(), upstream_time, cache: CacheStatus::None }
    }
}

impl CacheStatus {
    pub(super) fn of_hit(hit: &Hit, detail: Option<&'static str>) -> Self {
        Self::Hit { ttl: hit.ttl, detail }
    }

    fn header(self) -> Option<HeaderValue> {
        const DETAIL: &KeyRef = KeyRef::constant("detail");
        let mut list = sfv::ListSerializer::new();
        let item = list.bare_item(TokenRef::constant("weir"));
        match self {
            Self::None => return None,
            Self::Hit { ttl, detail } => {
                let ttl = sfv::Integer::try_from(ttl).unwrap_or(sfv::Integer::MAX);
                let mut item =
                    item.parameter(KeyRef::constant("hit"), true).parameter(KeyRef::constant("ttl"), ttl);
                if let Some(detail) = detail {
                    item = item.parameter(DETAIL, word(detail));
                }
                drop(item);
            }
            Self::Forwarded { why, status, stored, collapsed, detail } => {
                let mut item = item.parameter(KeyRef::constant("fwd"), word(why.as_str()));
                if let Some(status) = status {
                    item = item.parameter(KeyRef::constant("fwd-status"), status);
                }
                if stored {
                    item = item.parameter(KeyRef::constant("stored"), true);
                }
                if collapsed {
                    item = item.parameter(KeyRef::constant("collapsed"), true);
                }
                if let Some(detail) = detail {
                    item = item.parameter(DETAIL, word(detail));
                }
                drop(item);
            }
        }
        list.finish().and_then(|text| HeaderValue::try_from(text).ok())
    }
}

/// The trace id of a well-formed `traceparent` (W3C Trace Context, section 3.2.2).
fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get("traceparent")?.to_str().ok()?;
    let mut fields = value.split('-');
    let (version, trace) = (fields.next()?, fields.next()?);
    let hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (version.len() == 2 && hex(version) && trace.len() == 32 && hex(trace)).then_some(trace)
}

/// Reasons are words: lower case, digits, `-` and `_`, which make a token (RFC 8941).
fn word(text: &'static str) -> &'static TokenRef {
    TokenRef::from_str(text).unwrap_or(TokenRef::constant("other"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(status: CacheStatus) -> String {
        status.header().unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn cache_status_is_a_structured_field() {
        assert_eq!(text(CacheStatus::Hit { ttl: 30, detail: None }), "weir;hit;ttl=30");
        assert_eq!(
            text(CacheStatus::Hit { ttl: -5, detail: Some("limited") }),
            "weir;hit;ttl=-5;detail=limited"
        );
        let forwarded = CacheStatus::Forwarded {
            why: Forward::UriMiss,
            status: Some(200),
            stored: true,
            collapsed: true,
            detail: None,
        };
        assert_eq!(text(forwarded), "weir;fwd=uri-miss;fwd-status=200;stored;collapsed");
    }

    #[test]
    fn only_well_formed_traces_are_logged() {
        let with = |value| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", HeaderValue::from_static(value));
            trace_id(&headers).map(str::to_owned)
        };
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(with(good).as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(with("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"), None);
        assert_eq!(with("nonsense"), None);
    }
}
