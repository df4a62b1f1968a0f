//! What is said about one exchange: the headers of its answer, its log line, its counts.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, Uri};

use super::body::Body;
use super::cache_status::CacheStatus;
use super::call::{Call, Caller};
use super::refusal::No;
use super::{Lane, headers};
use crate::cache::Forward;
use crate::clock::{Clock, Moment};
use crate::dialect::OAuth;
use crate::id::{ConsumerName, RequestId};
use crate::quota::LimitSet;
use crate::telemetry::route::RouteIx;
use crate::telemetry::trace::{Parent, Spans, Stage, TraceId, Tracer, Value};
use crate::telemetry::{self, Outcome, Refused};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const WEIR_PRICE: HeaderName = HeaderName::from_static("weir-price");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// One request under way, as far as it is understood. One that is dropped before
/// its end is a caller who hung up, and is counted and logged as such.
pub(super) struct Exchange {
    id: RequestId,
    clock: Clock,
    began: Moment,
    method: Method,
    path: Path,
    trace: Option<TraceId>,
    /// What is told of it as a trace.
    pub(super) spans: Spans,
    lane: Option<Arc<Lane>>,
    /// A token is asked for, whose errors have another shape.
    oauth: Option<OAuth>,
    consumer: Option<ConsumerName>,
    seat: Option<usize>,
    clipped_wait: Option<u64>,
    /// What it counts against, once that is known.
    pub(super) limits: LimitSet,
    /// Time in the budget's queue.
    pub(super) waited: Duration,
    /// Requests of the account's allowance that it has cost this caller so far.
    pub(super) price: u32,
    /// Fetches of it that came to nothing and were paid for.
    pub(super) tries: u32,
    /// Why the vendor was asked, if it was.
    pub(super) forward: Option<Forward>,
    /// 429s of the vendor that sent it back to the queue.
    pub(super) refused_by_vendor: u32,
    ended: bool,
}

/// The path that is logged and counted. Neither copies it.
enum Path {
    AsAsked(Uri),
    Canonical(Arc<str>),
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
    /// The route it is counted on, if that is known already.
    pub(super) route: Option<RouteIx>,
}

impl Exchange {
    pub(super) fn begin(
        id: RequestId,
        (clock, began): (Clock, Moment),
        head: &Parts,
        tracer: Option<&Arc<Tracer>>,
    ) -> Self {
        let parent = if headers::are_plain(&head.headers) { None } else { Parent::of(&head.headers) };
        let mut spans = tracer.map(|tracer| tracer.begin(parent)).unwrap_or_default();
        spans.at(Stage::Route);
        Self {
            id,
            clock,
            began,
            method: head.method.clone(),
            path: Path::AsAsked(head.uri.clone()),
            trace: parent.map(|parent| parent.trace).or_else(|| spans.trace()),
            spans,
            lane: None,
            oauth: None,
            consumer: None,
            seat: None,
            clipped_wait: None,
            limits: LimitSet::EMPTY,
            waited: Duration::ZERO,
            price: 0,
            tries: 0,
            forward: None,
            refused_by_vendor: 0,
            ended: false,
        }
    }

    /// The upstream that it seems to be for, whose words are spoken if no more is found.
    pub(super) fn seems_for(&mut self, lane: Option<&Arc<Lane>>) {
        self.lane = lane.cloned();
    }

    /// The upstream and the canonical path are known.
    pub(super) fn routed(&mut self, call: &Call) {
        self.lane = Some(Arc::clone(&call.lane));
        self.path = Path::Canonical(call.target.shared_path());
    }

    /// It asks for a token.
    pub(super) fn asks_token_of(&mut self, oauth: OAuth) {
        self.oauth = Some(oauth);
    }

    /// The caller is known.
    pub(super) fn identified(&mut self, caller: &Caller<'_>, name: &ConsumerName) {
        self.consumer = Some(name.clone());
        self.seat = Some(caller.access.seat);
        self.clipped_wait = caller.clipped_wait;
    }

    /// Puts the last headers on, counts, and writes the log line. What is said of the
    /// limits is true `now`.
    pub(super) fn end(mut self, answered: Result<Answer, No>, now: Moment) -> Response<Body> {
        self.spans.at(Stage::Answer);
        let answer = answered.unwrap_or_else(|no| self.refused(&no));
        let mut response = answer.response;
        let headers = response.headers_mut();
        let relayed = self.lane.as_ref().is_some_and(|lane| lane.relays());
        match answer.cache.header() {
            // RFC 9211, section 2: whoever is nearer to the caller adds to the end.
            Some(value) if relayed => drop(headers.append(CACHE_STATUS, value)),
            Some(value) => drop(headers.insert(CACHE_STATUS, value)),
            None => {}
        }
        let price = if self.price == 0 { HeaderValue::from_static("0") } else { self.price.into() };
        headers.insert(WEIR_PRICE, price);
        if let Ok(id) = HeaderValue::from_bytes(&self.id.to_hex()) {
            headers.insert(REQUEST_ID, id);
        }
        // A weir behind this one can only have clipped it further.
        let clipped = self.clipped_wait.filter(|_| !(relayed && headers.contains_key("preference-applied")));
        if let Some(Ok(wait)) = clipped.map(|wait| HeaderValue::try_from(format!("wait={wait}"))) {
            headers.insert("preference-applied", wait);
        }
        if let (Some(lane), Some(seat)) = (&self.lane, self.seat) {
            lane.describe_limits((seat, self.limits), now, headers);
        }
        self.ended = true;
        let said = (answer.outcome, answer.reason);
        self.record((Some(response.status()), answer.route), said, answer.upstream_time);
        response
    }

    fn record(
        &mut self,
        (status, route): (Option<StatusCode>, Option<RouteIx>),
        (outcome, reason): (Outcome, &'static str),
        upstream_time: Duration,
    ) {
        if let (Some(lane), Some(seat)) = (&self.lane, self.seat) {
            let is_known = status.is_some_and(|status| status.is_success() || status.is_redirection());
            let route = route.unwrap_or_else(|| lane.tally.route(self.path.text(), is_known));
            lane.tally.count(seat, route, outcome, self.waited);
        }
        telemetry::Exchange {
            id: self.id,
            consumer: self.consumer.as_ref().map(ConsumerName::as_str),
            upstream: self.lane.as_ref().map(|lane| lane.config.name.as_str()),
            method: &self.method,
            path: self.path.text(),
            status,
            outcome,
            reason,
            price: self.price,
            waited: self.waited,
            upstream_time,
            trace: self.trace,
        }
        .log(|| self.clock.now().since(self.began));
        self.trace((status, outcome, reason));
    }

    /// The same in the trace, if it is in one.
    fn trace(&mut self, (status, outcome, reason): (Option<StatusCode>, Outcome, &'static str)) {
        if self.consumer.is_none() {
            self.spans.came_from_nobody();
        }
        let mut spans = std::mem::take(&mut self.spans);
        spans.tell(|span| {
            let method = known(&self.method);
            let mut say = |key, value: Value| span.attributes.push((key, value));
            say("http.request.method", method.into());
            say("weir.request_id", Value::Text(self.id.to_string()));
            say("weir.outcome", outcome.as_str().into());
            say("weir.reason", reason.into());
            say("weir.price", self.price.into());
            if let Some(status) = status {
                say("http.response.status_code", status.as_u16().into());
            }
            if let Some(consumer) = &self.consumer {
                say("weir.consumer", Value::Text(consumer.to_string()));
            }
            if let Some(lane) = &self.lane {
                let route = lane.tally.route_name(self.path.text());
                say("weir.upstream", Value::Text(lane.config.name.to_string()));
                say("http.route", Value::Text(route.to_string()));
                span.name = Some(format!("{method} {route}"));
            }
            let failed = outcome == Outcome::Failed || status.is_some_and(|status| status.is_server_error());
            span.error = failed.then_some(reason);
        });
    }

    fn refused(&self, no: &No) -> Answer {
        let dialect = self.lane.as_ref().map(|lane| &lane.config.dialect);
        if let No::Vendor(fault) = no {
            // The libraries' words are for the operator; the caller gets the reason.
            tracing::warn!(id = %self.id, %fault, "the vendor did not answer");
        }
        if let (Outcome::Refused, Some(lane), Some(consumer)) = (no.outcome(), &self.lane, &self.consumer) {
            lane.tally.refusals().push(Refused {
                at: self.clock.wall(),
                consumer: consumer.clone(),
                route: lane.tally.route_name(self.path.text()),
                reason: no.reason(),
                details: no.details(),
                retry_after: no.retry_after(),
            });
        }
        let why = self.forward.filter(|_| matches!(no, No::Vendor(_)));
        let cache = CacheStatus::Own { why, detail: no.reason() };
        Answer {
            reason: no.reason(),
            cache,
            ..Answer::of(no.answer((dialect, self.oauth), self.id), no.outcome())
        }
    }
}

impl Path {
    fn text(&self) -> &str {
        match self {
            Self::AsAsked(uri) => uri.path(),
            Self::Canonical(path) => path,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.ended {
            self.record((None, None), (Outcome::Left, "hung-up"), Duration::ZERO);
        }
    }
}

impl Answer {
    /// An answer of which nothing else is known yet.
    pub(super) fn of(response: Response<Body>, outcome: Outcome) -> Self {
        let upstream_time = Duration::ZERO;
        let cache = CacheStatus::Own { why: None, detail: outcome.as_str() };
        Self { response, outcome, reason: outcome.as_str(), upstream_time, cache, route: None }
    }
}

/// Methods have names; a caller's own word is not one.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}
