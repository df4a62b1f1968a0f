//! One request to the vendor, from its permit to the last byte of the answer.
//!
//! It runs as a task of its own: callers only listen, so none of them kills it
//! and none is orphaned (DESIGN, "The life of a request"). What happens if all
//! of them leave depends on the price: before the first byte, the fetch ends and
//! its permit is refunded; after it, the answer is read to its end if it may be
//! kept, since it is paid for (law 3).

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::oneshot;

use super::Lane;
use super::ahead;
use super::fault::Fault;
use super::leaving::Leaving;
use super::receive::receive;
use super::turn::{Fetches, Gate};
use super::wish::Wish;
use super::written;
use crate::budget::{Bid, Charge, Door, Permit};
use crate::cache::{Claim, EntryArc, Exchange, Lead, NotStored, Now, Ticket};
use crate::clock::Moment;
use crate::telemetry::route::RouteIx;
use crate::telemetry::trace::{Link, Spans, Stage, Value};
use crate::upstream::{BoxError, Ready, SendError, UpstreamBody};

/// A request body on its way to the vendor.
pub(super) type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// What the callers of one fetch share.
#[derive(Debug)]
pub struct Shared {
    /// Where they enter the queue; none if the fetch has its permit already.
    pub(super) door: Option<Door>,
    /// Closed while another replica's fetch may do.
    pub(super) gate: Gate,
    /// Known before the head is published.
    pub(super) told: OnceLock<Told>,
    /// Set, before it lands, if another replica has fetched it.
    pub(super) is_elsewhere: OnceLock<()>,
    /// Its span, for those who join it.
    pub(super) fetch: Option<Link>,
}

impl Shared {
    pub(super) fn new(door: Option<Door>, gate: Gate, spans: &Spans) -> Self {
        Self { door, gate, told: OnceLock::new(), is_elsewhere: OnceLock::new(), fetch: spans.to_link() }
    }
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
    /// What a weir behind this one charged; none if it is no weir.
    pub(super) price: Option<u32>,
    /// The route that it is counted on; none if nothing was sent.
    pub(super) route: Option<RouteIx>,
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
    pub(super) stale: Option<EntryArc>,
    /// Whether it goes on although nobody listens.
    pub(super) in_background: bool,
    /// How often it was tried before.
    pub(super) tries: u32,
    /// What is told of it, if whoever began it is traced.
    pub(super) spans: Spans,
}

pub(super) type FetchLead = Lead<Shared, Fault>;

impl Fetch {
    /// A fetch in the foreground, with what was read of the body.
    pub(super) fn of(wish: &Arc<Wish>, stale: Option<EntryArc>) -> Self {
        let body = wish.body.clone().map_or_else(ahead::empty, ahead::full);
        Self { wish: Arc::clone(wish), body, stale, in_background: false, tries: 0, spans: Spans::default() }
    }

    /// Waits for the permit, sends, settles, and fills flight and cache.
    pub(super) async fn run(mut self, admission: Admission, mut lead: FetchLead) {
        let lane = Arc::clone(&self.wish.lane);
        let mut spans = std::mem::take(&mut self.spans);
        spans.at(Stage::Admit);
        if lane.breaker.is_open(lane.clock.lately()) {
            return lead.fail(Fault::Open);
        }
        let mut is_joint = self.wish.is_joint(&lead);
        if is_joint {
            match Box::pin(self.wish.others(&mut lead, self.in_background)).await {
                Fetches::We(_) | Fetches::Others => {}
                Fetches::Alone => is_joint = false,
                Fetches::They(entry) => return self.wish.land_elsewhere(entry, lead),
                Fetches::Nobody => return,
            }
        }
        lead.shared().gate.open();
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
        let (permit, claim) = match is_joint {
            false => (permit, None),
            true => match Box::pin(self.wish.claim(permit, lead, self.in_background)).await {
                Some((permit, claim, own)) => {
                    lead = own;
                    (permit, claim)
                }
                None => return,
            },
        };
        let Some(leave) = lane.breaker.leave(lane.clock.lately()) else { return lead.fail(Fault::Open) };
        let (wish, stale, tries) = (Arc::clone(&self.wish), self.stale.clone(), self.tries);
        let in_background = self.in_background;
        let outcome = self.send(permit, &lead, &mut spans).await;
        lane.remember(leave, &outcome, in_background);
        outcome.as_ref().err().inspect(|fault| spans.fail(fault.as_str()));
        if is_refusal(&outcome) && wish.shareable && !lane.relays() {
            // Back to the queue, where the window that was closed for it keeps it
            // until its deadline.
            return lead.fail(Fault::Limited);
        }
        if may_sign_anew(&wish, tries, &outcome) {
            return lead.fail(Fault::Again);
        }
        if is_worth_another_try(&wish, tries, &outcome) && lane.breaker.may_retry() {
            // Spread, so that those who failed together do not come back together.
            let pause = Duration::from_millis(rand::random_range(100..400));
            lane.clock.sleep_until(lane.clock.now() + pause).await;
            return lead.fail(Fault::Again);
        }
        match outcome {
            Ok(Some((response, sent))) => {
                spans.at(Stage::Store);
                receive(&wish, stale.as_ref(), response, Sent { claim, ..sent }, lead).await;
            }
            Ok(None) => {}
            Err(fault) => {
                if fault.was_charged() {
                    written::lost(&wish).await;
                }
                lead.fail(fault);
            }
        }
    }

    /// Sends once; nothing if everyone left before the first byte.
    async fn send(
        self,
        mut permit: Permit,
        lead: &FetchLead,
        spans: &mut Spans,
    ) -> Result<Option<Answered>, Fault> {
        let lane = &self.wish.lane;
        spans.at(Stage::Sign);
        let (mut request, signature) =
            self.wish.signed(self.stale.as_deref(), lane.clock.wall(), self.body)?;
        spans.at(Stage::Ready);
        // What may leave is on disk before it leaves (law 8), while the connection is made.
        let ready = match lane.upstream.ready_now() {
            Some(ready) => {
                permit.booked().await.map_err(Fault::Ledger)?;
                ready
            }
            None => Box::pin(booked_and_ready(lane, &mut permit)).await?,
        };
        let granted = permit.granted_at();
        // Who shares with nobody has nobody who could ask anew.
        if permit.still_stands().await.is_err() && self.wish.shareable {
            return Err(Fault::Outdated);
        }
        if lead.listeners() == 0 && !self.in_background {
            return Ok(None);
        }
        // Taken before the first byte: a purge or a write from here on voids what comes back.
        let ticket = lane.cache.ticket();
        let ready = match self.wish.is_stream {
            true => ready.silent_for(lane.config.stream_idle_timeout),
            false => ready,
        };
        self.wish.describe_send(spans, &mut request);
        let mut charge = permit.sent();
        let sent = charge.sent_at();
        let leaving =
            Leaving::of((lane, self.wish.target.path()), self.wish.limits, &charge, self.in_background);
        lane.count_sent(&leaving);
        match left(ready, request, &mut charge).await {
            Ok(mut response) => {
                spans.note("http.response.status_code", || response.status().as_u16().into());
                let received = Now { at: lane.clock.now(), wall: lane.clock.wall() };
                let exchange = Exchange { sent, received };
                lane.settle(charge, &response, &exchange);
                lane.learn(self.wish.limits, sent, (response.status(), response.headers()));
                let another_key = lane.refuses(signature, &mut response, received).await;
                let route = leaving.route();
                Ok(Some((response, Sent { granted, exchange, route, ticket, another_key, claim: None })))
            }
            Err(SendError::NeverLeft(failure)) => {
                charge.never_left();
                lane.take_back_sent(&leaving);
                Err(Fault::Unsent(failure))
            }
            Err(SendError::MayHaveLeft(failure)) => {
                charge.lost();
                Err(Fault::Unanswered(failure))
            }
        }
    }
}

/// Makes a connection while the permit is booked.
async fn booked_and_ready<'l>(lane: &'l Lane, permit: &mut Permit) -> Result<Ready<'l>, Fault> {
    let connect = async { lane.upstream.ready().await.map_err(|e| Fault::Unsent(e.into_failure())) };
    let book = async { permit.booked().await.map_err(Fault::Ledger) };
    let ((), ready) = tokio::try_join!(book, connect)?;
    Ok(ready)
}

/// Hands it over and waits for the head; the charge hears of its last byte.
async fn left(
    ready: Ready<'_>,
    request: Request<RequestBody>,
    charge: &mut Charge,
) -> Result<Response<UpstreamBody>, SendError> {
    let (tell, last_byte) = charge.wants_last_byte().then(oneshot::channel).unzip();
    let mut head = pin!(ready.send_watched(request, tell));
    if let Some(last_byte) = last_byte {
        tokio::select! {
            biased;
            head = &mut head => return head,
            Ok(()) = last_byte => charge.last_byte(),
        }
    }
    head.await
}

/// A response whose body is still to come, and what is known of its exchange.
pub(super) type Answered = (Response<UpstreamBody>, Sent);

/// Whether the vendor answered 429. A CDN's page says it as well as the vendor's own.
fn is_refusal(outcome: &Result<Option<Answered>, Fault>) -> bool {
    matches!(outcome, Ok(Some((response, _))) if response.status() == StatusCode::TOO_MANY_REQUESTS)
}

/// Whether the vendor refused its own token, so that it did nothing, and the same may
/// be sent once more with another.
fn may_sign_anew(wish: &Wish, tries: u32, outcome: &Result<Option<Answered>, Fault>) -> bool {
    let exchanges = wish.lane.config.dialect.oauth().is_some();
    let refused = matches!(outcome, Ok(Some((_, sent))) if sent.another_key);
    exchanges && refused && tries == 0 && wish.is_repeatable
}

/// Whether the same request may be sent once more: only if it changes nothing at
/// the vendor, only once, and only if its answer is worth nothing to the caller.
fn is_worth_another_try(wish: &Wish, tries: u32, outcome: &Result<Option<Answered>, Fault>) -> bool {
    if !wish.shareable || tries > 0 {
        return false;
    }
    match outcome {
        Ok(None) => false,
        Ok(Some((_, sent))) if sent.another_key => true,
        // It has been tried there, and paid for.
        Ok(Some(_)) if wish.lane.relays() => false,
        // A vendor who says when to come back is not asked before. (A 429 has an
        // allowance of its own: it goes back to the queue.)
        Ok(Some((response, _))) => {
            matches!(response.status().as_u16(), 502..=504 | 520..=530)
                && !response.headers().contains_key(RETRY_AFTER)
        }
        Err(fault) => matches!(fault, Fault::Unanswered(failure) if !failure.reason.is_timeout()),
    }
}

/// When it was sent and received, and what the cache knew before.
pub(super) struct Sent {
    pub(super) granted: Moment,
    pub(super) exchange: Exchange,
    pub(super) route: RouteIx,
    pub(super) ticket: Ticket,
    /// The vendor refused the key or the token that was sent, and there is another.
    pub(super) another_key: bool,
    /// Held until it is stored, where replicas fetch together.
    pub(super) claim: Option<Claim>,
}

impl Wish {
    /// The stage in which it is sent begins; who is asked for it alone hears which trace it
    /// is in. An answer that others may get must not be asked for in one caller's trace (law 11).
    fn describe_send(&self, spans: &mut Spans, request: &mut Request<RequestBody>) {
        const TRACEPARENT: &str = "traceparent";
        spans.at(Stage::Send);
        spans.note("weir.upstream", || Value::Text(self.lane.config.name.to_string()));
        spans.note("server.address", || Value::Text(self.lane.config.origin.authority.host().to_owned()));
        if !self.shareable
            && request.headers().contains_key(TRACEPARENT)
            && let Some(parent) = spans.outgoing()
        {
            request.headers_mut().insert(TRACEPARENT, parent);
        }
    }
}
