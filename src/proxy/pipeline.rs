//! The life of a request, in order:
//!
//! route -> identify -> allow -> inbound rate -> check -> cache lookup -> join a
//! fetch already under way -> admit -> sign -> send -> settle -> store -> answer.
//!
//! The steps up to the lookup are in `call`, those from the admission to the
//! store run in the task of `fetch`; here a caller looks, listens and decides.
//! A *no* of the budget, or of the vendor, is not the last word: first a stale
//! answer, if the policy allows one.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Limited;
use http_body_util::combinators::UnsyncBoxBody;

use super::body::Body;
use super::cache_status::CacheStatus;
use super::call::Caller;
use super::exchange::{Answer, Exchange};
use super::fetch::{Admission, Fault, Fetch, RequestBody, Shared};
use super::refusal::No;
use super::wish::Wish;
use super::{Gateway, Lane};
use crate::budget::{Ask, Denied, Entry as Place, Refusal};
use crate::cache::{
    self, FlightError, Forward, Head, Hit, Joined, Landing, Listener, Lookup, Now, Occasion, Stale, answer,
    validate,
};
use crate::config::Mode;
use crate::quota::LimitSet;
use crate::telemetry::Outcome;
use crate::upstream::BoxError;

/// How often a caller looks again after a fetch that ended without a word (a 304
/// that meant another representation, a fetch for its first caller alone).
const MAX_LOOKS: u32 = 3;

/// How often a request may be refused by the vendor before its caller is told.
const MAX_REFUSALS: u32 = 4;

/// The largest request body that is passed on; uploads of samples are the largest
/// that any of the vendors takes.
const MAX_REQUEST_BODY_BYTES: usize = 1 << 30;

impl Gateway {
    /// Answers one request from a connection whose other end is `peer`.
    ///
    /// Dropping the future is a caller who hangs up: it leaves the queue, and a
    /// fetch that was not sent for anybody else is not sent.
    pub async fn answer<B>(&self, request: Request<B>, peer: IpAddr) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (head, body) = request.into_parts();
        let size = (!body.is_end_stream()).then(|| body.size_hint().lower());
        let body = UnsyncBoxBody::new(Limited::new(body, MAX_REQUEST_BODY_BYTES));
        let mut exchange = Exchange::begin(self.ids.next(), self.clock, &head);
        let answered = self.tell(&mut exchange, Request::from_parts(head, (body, size)), peer).await;
        exchange.end(answered)
    }

    async fn tell(
        &self,
        exchange: &mut Exchange,
        request: Request<(RequestBody, Option<u64>)>,
        peer: IpAddr,
    ) -> Result<Answer, No> {
        if self.is_stopping() {
            return Err(No::Stopping);
        }
        let (head, (body, size)) = request.into_parts();
        exchange.seems_for(self.nearest(&head));
        let mut call = self.route(head, size.is_some())?;
        exchange.routed(&call);
        let caller = self.identify(&mut call, peer)?;
        exchange.identified(&caller, &self.consumers.config(caller.consumer).name);
        caller.may(&call)?;
        self.admit_inbound(&caller)?;
        let now = self.clock.wall();
        self.check(&call, &caller, now)?;
        if size.is_some_and(|bytes| bytes > MAX_REQUEST_BODY_BYTES as u64) {
            return Err(No::TooLarge);
        }
        let wish = Arc::new(Wish::of(call, &caller, now));
        exchange.limits = wish.limits;
        if wish.shareable {
            self.shared(exchange, &wish, &caller).await
        } else {
            let flight = wish.lane.launch(Fetch { body, ..Fetch::of(&wish, None) }, &caller);
            let why = if wish.method.is_safe() { Forward::Bypass } else { Forward::Method };
            match wish.listen(exchange, &caller, flight, why).await {
                Ok(answer) => Ok(answer),
                Err(Missed::No(no)) => Err(no),
                Err(Missed::Again) => Err(No::Abandoned),
            }
        }
    }

    /// An answer that may come from the cache, or from another caller's fetch.
    async fn shared(
        &self,
        exchange: &mut Exchange,
        wish: &Arc<Wish>,
        caller: &Caller<'_>,
    ) -> Result<Answer, No> {
        let mut looks = 0;
        // A vendor's 429 is bounded by the caller's deadline: its window is closed.
        while looks < MAX_LOOKS + exchange.refused_by_vendor.min(MAX_REFUSALS) {
            looks += 1;
            let (stale, why) = match wish.lookup() {
                Lookup::Fresh(hit) => return Ok(wish.stored(&hit, None)),
                Lookup::OnlyIfCached => return Err(No::OnlyIfCached),
                Lookup::Miss(why) => (None, why),
                Lookup::Stale(stale) => {
                    if let Some(hit) = stale.may_serve(Occasion::Revalidating, wish.lane.now()) {
                        wish.refresh(&stale, caller);
                        return Ok(wish.stored(&hit, Some("revalidating")));
                    }
                    let why = stale.why;
                    (Some(stale), why)
                }
            };
            let listener = match wish.join(stale.as_ref(), caller, exchange.tries) {
                Ok(listener) => listener,
                Err(hit) => return Ok(wish.stored(&hit, None)),
            };
            match wish.listen(exchange, caller, listener, why).await {
                Ok(answer) if validate::is_error(answer.response.status()) => {
                    return Ok(wish.rather_stale(stale.as_ref(), Occasion::Error, "error").unwrap_or(answer));
                }
                Ok(answer) => return Ok(answer),
                Err(Missed::Again) => {}
                Err(Missed::No(no)) => {
                    let instead = match &no {
                        No::Budget(..) => wish.rather_stale(stale.as_ref(), Occasion::Limited, "limited"),
                        No::Ledger | No::Vendor(_) => {
                            wish.rather_stale(stale.as_ref(), Occasion::Error, "error")
                        }
                        _ => None,
                    };
                    return instead.ok_or(no);
                }
            }
        }
        Err(if exchange.refused_by_vendor > 0 { No::Vendor(Fault::Limited) } else { No::Abandoned })
    }
}

/// Why a fetch gave this caller nothing.
enum Missed {
    /// It ended without a word: look again.
    Again,
    /// This is the word.
    No(No),
}

type Ear = Listener<Shared, Fault>;

impl Wish {
    fn lookup(&self) -> Lookup {
        self.lane.cache.lookup(&self.key, &self.policy(), &self.asked(), self.lane.now())
    }

    /// The flight that will serve this wish: another's, or one that begins here.
    /// `Err` if the answer has landed between the lookup and now.
    fn join(self: &Arc<Self>, stale: Option<&Stale>, caller: &Caller<'_>, tries: u32) -> Result<Ear, Hit> {
        let lane = &self.lane;
        let fetch = Fetch { tries, ..Fetch::of(self, stale.map(|stale| Arc::clone(&stale.entry))) };
        if !self.asked().may_join() {
            return Ok(lane.launch(fetch, caller));
        }
        let mut admission = None;
        let again = || match self.lookup() {
            Lookup::Fresh(hit) => Some(hit),
            _ => None,
        };
        let make = || {
            let (begun, shared) = lane.admission(self.limits, caller);
            admission = Some(begun);
            shared
        };
        match lane.flights.join(&self.flight(), lane.clock.now(), again, make) {
            Joined::Found(hit) => Err(hit),
            Joined::Follower(listener) => Ok(listener),
            Joined::Leader(lead, listener) => {
                if let Some(admission) = admission {
                    tokio::spawn(fetch.run(admission, lead));
                }
                Ok(listener)
            }
        }
    }

    /// Stands in the queue until the fetch is on its way, then waits for its head.
    async fn listen(
        &self,
        exchange: &mut Exchange,
        caller: &Caller<'_>,
        mut listener: Ear,
        why: Forward,
    ) -> Result<Answer, Missed> {
        let entered = self.lane.clock.now();
        let ask = Ask { seat: caller.access.seat, deadline: caller.deadline, urgency: caller.urgency };
        let place = match listener.shared().door.as_ref().map(|door| door.enter(ask)) {
            None => None,
            Some(Ok(place)) => Some(place),
            Some(Err(Denied::Closed)) => {
                // The fetch is ending because the callers before us left. To look again
                // before it is off the board would find it there again.
                let _ = listener.landing().await;
                return Err(Missed::Again);
            }
            Some(Err(Denied::Refused(refusal))) => return Err(Missed::No(No::Budget(refusal))),
        };
        let landed = tokio::select! {
            biased;
            // First, since a fetch also ends when the last of its callers is refused.
            refusal = refusal_of(place.as_ref()) => {
                exchange.waited = self.lane.clock.now().since(entered);
                return Err(Missed::No(No::Budget(refusal)));
            }
            landed = listener.landing() => landed,
        };
        let told = listener.shared().told.get().copied();
        exchange.waited = told.map_or(Duration::ZERO, |told| told.granted.since(entered));
        // Without a place in the queue (observed, or refreshed) whoever began it pays.
        let pays = place.as_ref().map_or(listener.leads(), Place::has_paid) && !self.limits.is_empty();
        drop(place);
        let leads = listener.leads();
        let forwarded = CacheStatus::Forwarded {
            why,
            status: told.map(|told| told.status.as_u16()),
            stored: told.is_some_and(|told| told.not_stored.is_none()),
            collapsed: !leads,
            detail: told.and_then(|told| told.not_stored).map(cache::NotStored::as_str),
        };
        let mut answer = match landed {
            Ok(Landing::Head(head)) => self.live(&head, listener),
            Ok(Landing::Entry(entry)) => self.stored(&Hit::at(entry, self.lane.now()), None),
            Err(FlightError::Failed(Fault::Ledger(_))) => return Err(Missed::No(No::Ledger)),
            Err(FlightError::Failed(fault)) => {
                exchange.price += u32::from(pays && fault.was_charged());
                match fault {
                    Fault::Again => exchange.tries += 1,
                    Fault::Limited | Fault::Outdated => exchange.refused_by_vendor += 1,
                    fault => return Err(Missed::No(No::Vendor(fault))),
                }
                return Err(Missed::Again);
            }
            Err(FlightError::Abandoned | FlightError::GoAlone) => return Err(Missed::Again),
        };
        exchange.price += u32::from(pays);
        answer.cache = forwarded;
        answer.outcome = if pays || leads { Outcome::Paid } else { Outcome::Joined };
        answer.reason = why.as_str();
        answer.upstream_time = told.map_or(Duration::ZERO, |told| told.upstream_time);
        Ok(answer)
    }

    /// The vendor's answer as it streams in. Whose request was sent gets all of
    /// the head, the others nothing that is about the one who asked.
    fn live(&self, head: &Head, listener: Ear) -> Answer {
        let mut headers = head.headers.clone();
        if !listener.leads() {
            self.policy().strip_for_followers(&mut headers);
        }
        let mut status = head.status;
        let mut body = Body::from(listener);
        if self.shareable && answer::is_not_modified(&self.caller, status, &headers) {
            status = http::StatusCode::NOT_MODIFIED;
            answer::describe_not_modified(&mut headers);
            body = Body::empty();
        }
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Answer::of(response, Outcome::Paid)
    }

    fn stored(&self, hit: &Hit, detail: Option<&'static str>) -> Answer {
        let stored = hit.answer(&self.asked());
        let mut response = Response::new(Body::from(stored.body));
        *response.status_mut() = stored.status;
        *response.headers_mut() = stored.headers;
        let outcome = if hit.ttl < 0 { Outcome::Stale } else { Outcome::Fresh };
        let mut answer = Answer::of(response, outcome);
        answer.reason = detail.unwrap_or("hit");
        answer.cache = CacheStatus::of_hit(hit, detail);
        answer
    }

    /// A stale answer rather than none, if the policy allows it now.
    fn rather_stale(&self, stale: Option<&Stale>, on: Occasion, detail: &'static str) -> Option<Answer> {
        let hit = stale?.may_serve(on, self.lane.now())?;
        Some(self.stored(&hit, Some(detail)))
    }

    /// Renews a stale answer behind its reader's back, if that takes nobody's turn.
    fn refresh(self: &Arc<Self>, stale: &Stale, caller: &Caller<'_>) {
        let lane = &self.lane;
        let Some(permit) = lane.budget.try_now(self.limits, caller.access.seat) else { return };
        let make = || Shared { door: None, told: OnceLock::new() };
        let joined = lane.flights.join(&self.flight(), lane.clock.now(), || None::<()>, make);
        // A follower's permit is refunded here: the answer is being renewed already.
        if let Joined::Leader(lead, _) = joined {
            let entry = Some(Arc::clone(&stale.entry));
            let fetch = Fetch { in_background: true, ..Fetch::of(self, entry) };
            tokio::spawn(fetch.run(Admission::Permit(permit), lead));
        }
    }
}

impl Lane {
    fn now(&self) -> Now {
        Now { at: self.clock.now(), wall: self.clock.wall() }
    }

    /// How a fetch for this caller is admitted, and what its callers share.
    fn admission(&self, limits: LimitSet, caller: &Caller<'_>) -> (Admission, Shared) {
        let (admission, door) = match self.config.mode {
            Mode::Enforce => {
                let bid = self.budget.bid(limits);
                let door = Some(bid.door());
                (Admission::Bid(bid), door)
            }
            Mode::Observe => (Admission::Permit(self.budget.charge_anyway(limits, caller.access.seat)), None),
        };
        (admission, Shared { door, told: OnceLock::new() })
    }

    /// Begins a fetch that nobody joins.
    fn launch(&self, fetch: Fetch, caller: &Caller<'_>) -> Ear {
        let (admission, shared) = self.admission(fetch.wish.limits, caller);
        let (lead, listener) = self.flights.alone(&fetch.wish.flight(), shared);
        tokio::spawn(fetch.run(admission, lead));
        listener
    }
}

/// Resolves when the budget refuses the caller at `place`; never for one who has none.
async fn refusal_of(place: Option<&Place>) -> Refusal {
    match place {
        Some(place) => place.refused().await,
        None => std::future::pending().await,
    }
}
