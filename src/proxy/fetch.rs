//! One request to the vendor, from its permit to the last byte of the answer.
//!
//! It runs as a task of its own: callers only listen, so none of them kills it
//! and none is orphaned (DESIGN, "The life of a request"). What happens if all
//! of them leave depends on the price: before the first byte, the fetch ends and
//! its permit is refunded; after it, the answer is read to its end if it may be
//! kept, since it is paid for (law 3).

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AGE, DATE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};

use super::Lane;
use super::edit::{Corrupt, Edit};
use super::headers;
use super::wish::Wish;
use crate::budget::{Bid, Charge, Door, Permit};
use crate::cache::join::Fate;
use crate::cache::validate::{self, Refreshed};
use crate::cache::{Cache, Entry, Exchange, Head, Lead, NotStored, Now, Pushed, Selector, Storable, Ticket};
use crate::clock::{Moment, UnixTime};
use crate::dialect::{Keeping, Rewritten, Signed};
use crate::upstream::{BodyError, BoxError, Failure, SendError, UpstreamBody};

/// A request body on its way to the vendor.
pub(super) type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// What the callers of one fetch share.
#[derive(Debug)]
pub struct Shared {
    /// Where they enter the queue; none if the fetch has its permit already.
    pub(super) door: Option<Door>,
    /// Known before the head is published.
    pub(super) told: OnceLock<Told>,
}

/// What is said of a fetch once its head has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) granted: Moment,
    pub(super) upstream_time: Duration,
    /// The vendor's own status, before conditions are answered.
    pub(super) status: StatusCode,
    /// Why the answer is not kept; none if it will be, as soon as it is complete.
    pub(super) not_stored: Option<NotStored>,
}

/// Why a fetch brought no answer, or broke off.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Fault {
    /// Nothing left; the charge was refunded.
    #[error("{0}")]
    Unsent(Failure),
    /// It left, or may have, and no head came back.
    #[error("{0}")]
    Unanswered(Failure),
    /// The body broke off.
    #[error("{0}")]
    Body(BodyError),
    /// The body cannot be read.
    #[error("its coding is corrupt")]
    Corrupt,
    /// No usable key.
    #[error("the vendor's key cannot be sent")]
    Key,
}

impl Fault {
    /// One word for log, metric and `Proxy-Status` (RFC 9209, section 2.3).
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Unsent(failure) | Self::Unanswered(failure) => failure.reason.as_str(),
            Self::Body(error) => error.reason().as_str(),
            Self::Corrupt => "http_response_content_coding",
            Self::Key => "proxy_configuration_error",
        }
    }

    /// Whether the account was charged all the same.
    pub(super) fn was_charged(&self) -> bool {
        match self {
            Self::Unanswered(_) | Self::Body(_) | Self::Corrupt => true,
            Self::Unsent(_) | Self::Key => false,
        }
    }

    /// Whether the vendor was too slow: 504 and not 502.
    pub(super) fn is_timeout(&self) -> bool {
        match self {
            Self::Unsent(failure) | Self::Unanswered(failure) => failure.reason.is_timeout(),
            Self::Body(error) => error.reason().is_timeout(),
            Self::Corrupt | Self::Key => false,
        }
    }
}

/// By what right a fetch leaves.
pub(super) enum Admission {
    /// It waits for its turn with its callers.
    Bid(Bid),
    /// It may leave now.
    Permit(Permit),
}

/// All that one fetch needs.
pub(super) struct Fetch {
    pub(super) wish: Arc<Wish>,
    pub(super) body: RequestBody,
    /// What is validated, if something stale is stored.
    pub(super) stale: Option<Arc<Entry>>,
    /// Whether it goes on although nobody listens.
    pub(super) in_background: bool,
}

/// What is known of an answer when its body begins.
struct Begun {
    storable: Result<Storable, NotStored>,
    ticket: Ticket,
    edit: Edit,
    body: UpstreamBody,
}

type FetchLead = Lead<Shared, Fault>;

impl Fetch {
    /// A fetch without a body, in the foreground.
    pub(super) fn of(wish: &Arc<Wish>, stale: Option<Arc<Entry>>) -> Self {
        let body = UnsyncBoxBody::new(Empty::new().map_err(|never| match never {}));
        Self { wish: Arc::clone(wish), body, stale, in_background: false }
    }

    /// Waits for the permit, sends, settles, and fills flight and cache.
    pub(super) async fn run(self, admission: Admission, mut lead: FetchLead) {
        // The bid outlives the permit, so that later callers enter it free of charge.
        let (permit, _bid) = match admission {
            Admission::Permit(permit) => (permit, None),
            Admission::Bid(bid) => {
                let permit = tokio::select! {
                    permit = bid.granted() => permit,
                    () = lead.deserted() => None,
                };
                // Nobody wants it any more, and nothing was spent.
                let Some(permit) = permit else { return };
                (permit, Some(bid))
            }
        };
        let granted = permit.granted_at();
        let wish = Arc::clone(&self.wish);
        let stale = self.stale.clone();
        match self.send(permit, &lead).await {
            Ok(Some((response, exchange))) => {
                receive(&wish, stale.as_ref(), response, (granted, exchange), lead).await;
            }
            Ok(None) => {}
            Err(fault) => lead.fail(fault),
        }
    }

    /// Sends once; nothing if everyone left before the first byte.
    async fn send(
        self,
        permit: Permit,
        lead: &FetchLead,
    ) -> Result<Option<(Response<UpstreamBody>, Sent)>, Fault> {
        let lane = &self.wish.lane;
        let request = self.wish.signed(self.stale.as_deref(), lane.clock.wall(), self.body)?;
        let ready = lane.upstream.ready().await.map_err(|error| Fault::Unsent(error.into_failure()))?;
        if lead.listeners() == 0 && !self.in_background {
            return Ok(None);
        }
        // Taken before the first byte: a purge or a write from here on voids what comes back.
        let ticket = lane.cache.ticket();
        let charge = permit.sent();
        let sent = charge.sent_at();
        lane.vendor.sent.fetch_add(1, Ordering::Relaxed);
        match ready.send(request).await {
            Ok(response) => {
                let received = Now { at: lane.clock.now(), wall: lane.clock.wall() };
                let exchange = Exchange { sent, received };
                lane.settle(charge, &response, &exchange);
                Ok(Some((response, Sent { exchange, ticket })))
            }
            Err(SendError::NeverLeft(failure)) => {
                charge.never_left();
                lane.vendor.sent.fetch_sub(1, Ordering::Relaxed);
                Err(Fault::Unsent(failure))
            }
            Err(SendError::MayHaveLeft(failure)) => {
                charge.lost();
                Err(Fault::Unanswered(failure))
            }
        }
    }
}

/// When it was sent and received, and what the cache knew before.
struct Sent {
    exchange: Exchange,
    ticket: Ticket,
}

impl Lane {
    /// The head has come: the charge ends one window later, and the vendor's clock
    /// is known better. An intermediary's own error says nothing about the vendor.
    fn settle(&self, charge: Charge, response: &Response<UpstreamBody>, exchange: &Exchange) {
        let status = response.status();
        if matches!(status.as_u16(), 502..=504 | 520..=530) {
            charge.lost();
        } else {
            charge.settled();
        }
        let date =
            response.headers().get(DATE).and_then(|v| httpdate::parse_http_date(v.to_str().ok()?).ok());
        if let (Some(date), false) = (date, response.headers().contains_key(AGE)) {
            self.budget.vendor_date(UnixTime::from_system(date), exchange.sent, exchange.received.at);
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            self.vendor.refused.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                upstream = %self.config.name,
                "the vendor answered 429: someone else uses this account, or its limits are lower than configured"
            );
        }
    }
}

impl Wish {
    /// The request as it leaves: conditions on what is stored, then the key.
    fn signed(
        &self,
        stale: Option<&Entry>,
        now: UnixTime,
        body: RequestBody,
    ) -> Result<Request<RequestBody>, Fault> {
        let mut headers = self.sent.clone();
        if let Some(stale) = stale {
            stale.condition(&mut headers);
        }
        let config = &self.lane.config;
        let mut signed = Signed::InHeader;
        if let Some(key) = self.vendor_key {
            let values = &config.keys[key].values;
            let valid =
                values.iter().find(|value| value.expires.is_none_or(|end| now < end)).or(values.first());
            let value = valid.ok_or(Fault::Key)?;
            signed = config.dialect.sign(&mut headers, &self.target, &value.value).map_err(|_| Fault::Key)?;
        }
        let uri = match signed {
            Signed::InHeader => http::Uri::from(self.target.path_and_query()),
            Signed::InQuery(query) => {
                let text = format!("{}?{}", self.target.path(), query.expose());
                text.parse().map_err(|_| Fault::Key)?
            }
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// The head has come: a 304 renews what is stored, anything else is passed on.
async fn receive(
    wish: &Wish,
    stale: Option<&Arc<Entry>>,
    response: Response<UpstreamBody>,
    (granted, sent): (Moment, Sent),
    mut lead: FetchLead,
) {
    let (parts, body) = response.into_parts();
    let lane = &wish.lane;
    let mut head = Head { status: parts.status, headers: parts.headers };
    headers::from_vendor(&mut head.headers);
    rewrite_location(lane, &mut head.headers);
    let upstream_time = sent.exchange.received.at.since(sent.exchange.sent);
    let told = |not_stored| Told { granted, upstream_time, status: parts.status, not_stored };
    if let (Some(stale), StatusCode::NOT_MODIFIED) = (stale, head.status) {
        let _ = lead.shared().told.set(told(None));
        return renew(wish, stale, &head, &sent, lead);
    }
    invalidate(wish, head.status);
    let edits = lane.config.dialect.edits(&head.headers, &lane.links);
    let edit = Edit::of(&mut head.headers, wish.asks_gzip, edits);
    let policy = wish.policy();
    let storable = match wish.shareable {
        true => policy.admit(&wish.asked(), &head, &sent.exchange),
        false => Err(NotStored::Method),
    };
    let fate = match &storable {
        Ok(_) => Fate::Keep { max_bytes: policy.max_bytes() },
        Err(_) => Fate::Pass { followers: policy.followers_may_share(&storable) },
    };
    let _ = lead.shared().told.set(told(storable.as_ref().err().copied()));
    lead.head(head, fate, lane.clock.now());
    let begun = Begun { storable, ticket: sent.ticket, edit, body };
    pump(wish, begun, lead).await;
}

/// The body, edited as it streams in; stored, if it may be, before the flight ends.
async fn pump(wish: &Wish, begun: Begun, mut lead: FetchLead) {
    let Begun { storable, ticket, mut edit, mut body } = begun;
    while let Some(frame) = body.frame().await {
        let chunk = match frame.map(http_body::Frame::into_data) {
            Ok(Ok(chunk)) => chunk,
            // Trailers: nothing of theirs is passed on.
            Ok(Err(_)) => continue,
            Err(error) => return lead.fail(Fault::Body(error)),
        };
        for part in edit.parts(chunk) {
            match edit.push(part) {
                Ok(out) if out.is_empty() => {}
                Ok(out) => {
                    if lead.push(out).await == Pushed::Nobody {
                        return;
                    }
                }
                Err(Corrupt) => return lead.fail(Fault::Corrupt),
            }
        }
    }
    let Ok((rest, observed)) = edit.finish() else { return lead.fail(Fault::Corrupt) };
    if !rest.is_empty() && lead.push(rest).await == Pushed::Nobody {
        return;
    }
    if let Some(link) = observed.as_ref().and_then(|observed| observed.foreign.as_deref()) {
        tracing::warn!(upstream = %wish.lane.config.name, ?link, "a link to elsewhere was left out of an answer");
    }
    let keeping = wish.lane.config.dialect.keeping(observed.as_ref());
    if let (Ok(storable), Keeping::May, Some(body)) = (storable, keeping, lead.body()) {
        // A body that grew too large on the way is simply not kept.
        if let Ok(entry) = storable.entry(&wish.key, body) {
            wish.lane.cache.insert(ticket, entry.into());
        }
    }
    lead.finish();
}

/// A 304 to what was stored (RFC 9111, section 4.3.4).
fn renew(wish: &Wish, stale: &Arc<Entry>, head: &Head, sent: &Sent, lead: FetchLead) {
    let cache: &Cache = &wish.lane.cache;
    match stale.refresh(&wish.policy(), &wish.asked(), head, &sent.exchange) {
        Refreshed::Updated(entry) => {
            let entry = Arc::new(entry);
            cache.insert(sent.ticket, Arc::clone(&entry));
            lead.land(entry);
        }
        Refreshed::Once(entry, _) => {
            cache.remove(stale);
            lead.land(entry.into());
        }
        // Dropping the lead sends the callers back to look again: they find nothing
        // stored, and ask without conditions.
        Refreshed::Mismatch => cache.remove(stale),
    }
}

/// After a write the resource and what lists it are gone from the cache, also what
/// is on its way (RFC 9111, section 4.4, and beyond: under every key of the upstream).
fn invalidate(wish: &Wish, status: StatusCode) {
    let lane = &wish.lane;
    if !validate::invalidates(&wish.method, status)
        || lane.config.dialect.reads(&wish.method, wish.target.path())
    {
        return;
    }
    let path = wish.target.path();
    let above = path.trim_end_matches('/').rsplit_once('/').map_or("", |(above, _)| above);
    // A POST to a collection changes the collection; anything else a member of it.
    let collection = if wish.method == Method::POST || above.is_empty() { path } else { above };
    let selector = Selector::Prefix(lane.config.name.clone(), collection.to_owned());
    lane.cache.purge(&selector);
    lane.flights.shut(&selector);
}

/// A `Location` that points to the vendor leads back through weir; another is dropped.
fn rewrite_location(lane: &Lane, headers: &mut HeaderMap) {
    let Some(location) = headers.get(LOCATION).and_then(|value| value.to_str().ok()) else { return };
    match lane.links.rewrite(location) {
        Rewritten::Same => {}
        Rewritten::To(link) => match HeaderValue::try_from(link) {
            Ok(link) => drop(headers.insert(LOCATION, link)),
            Err(_) => drop(headers.remove(LOCATION)),
        },
        Rewritten::Foreign => {
            tracing::warn!(upstream = %lane.config.name, "a Location to elsewhere was dropped");
            headers.remove(LOCATION);
        }
    }
}
