//! A caller's wait for a fetch, and the answer in the form that this caller asked for.
//!
//! Dropping a wait is a caller who hangs up: the place in the queue and the ear on
//! the flight go with it.

use std::sync::Arc;
use std::time::Duration;

use http::Response;

use super::begin::Ear;
use super::body::Body;
use super::cache_status::CacheStatus;
use super::call::Caller;
use super::exchange::{Answer, Exchange};
use super::fault::Fault;
use super::refusal::No;
use super::wish::Wish;
use crate::budget::{Ask, Denied, Entry as Place, Reason, Refusal};
use crate::cache::{
    self, Coding, FlightError, Forward, Head, Hit, Landing, Occasion, Shape, Stale, answer, coding,
};
use crate::clock::Moment;
use crate::telemetry::Outcome;
use crate::telemetry::route::RouteIx;
use crate::telemetry::trace::Stage;

/// Why a fetch gave this caller nothing.
pub(super) enum Missed {
    /// It ended without a word: look again.
    Again,
    /// It says itself that the same may be sent again.
    Anew,
    /// This is the word.
    No(No),
}

impl Wish {
    /// Stands in the queue until the fetch is on its way, then waits for its head.
    pub(super) async fn listen(
        &self,
        exchange: &mut Exchange,
        caller: &Caller<'_>,
        mut listener: Ear,
        why: Forward,
    ) -> Result<Answer, Missed> {
        let entered = self.lane.clock.now();
        exchange.forward = Some(why);
        exchange.spans.note("weir.leads", || listener.leads().into());
        exchange.spans.link(listener.shared().fetch);
        let (place, landed) = self.land(exchange, caller, &mut listener, entered).await?;
        exchange.spans.at(Stage::Answer);
        let told = listener.shared().told.get().copied();
        // Another replica's has cost nobody here anything.
        let is_elsewhere = listener.shared().is_elsewhere.get().is_some();
        let granted = told.filter(|_| !is_elsewhere);
        exchange.waited = granted.map_or(Duration::ZERO, |told| told.granted.since(entered));
        let leads = listener.leads() && !is_elsewhere;
        // Without a place in the queue (observed, or refreshed) whoever began it pays.
        let has_paid = place.as_ref().map_or(leads, Place::has_paid);
        let pays = has_paid && !is_elsewhere && !self.limits.is_empty();
        drop(place);
        let forwarded = CacheStatus::Forwarded {
            why,
            status: told.map(|told| told.status.as_u16()),
            stored: told.is_some_and(|told| told.not_stored.is_none()),
            collapsed: !leads,
            detail: told.and_then(|told| told.not_stored).map(cache::NotStored::as_str),
        };
        let price = match told.and_then(|told| told.price) {
            Some(price) if leads => price,
            Some(_) => 0,
            None => u32::from(pays),
        };
        let mut answer = match landed {
            Ok(Landing::Head(head)) => self.live(Arc::unwrap_or_clone(head), listener),
            Ok(Landing::Entry(entry)) => self.stored(&Hit::at(entry, self.lane.now()), None).await,
            Err(FlightError::Failed(Fault::Ledger(_))) => return Err(Missed::No(No::Ledger)),
            Err(FlightError::Failed(fault)) => {
                exchange.price += u32::from(pays && fault.was_charged());
                match fault {
                    Fault::Again => exchange.tries += 1,
                    Fault::Limited | Fault::Outdated => exchange.refused_by_vendor += 1,
                    Fault::TokenGone => {}
                    fault => return Err(Missed::No(No::Vendor(fault))),
                }
                return Err(Missed::Anew);
            }
            Err(FlightError::Abandoned | FlightError::GoAlone | FlightError::TooSlow) => {
                // Who was admitted for all of them has paid, though it must ask again.
                exchange.price += if told.is_some() { price } else { 0 };
                return Err(Missed::Again);
            }
        };
        exchange.price += price;
        answer.cache = forwarded;
        answer.outcome = if pays || leads { Outcome::Paid } else { Outcome::Joined };
        answer.reason = why.as_str();
        answer.upstream_time = told.map_or(Duration::ZERO, |told| told.upstream_time);
        // What was refused is no route that is remembered; it was looked for as one that is.
        let is_known = |status: http::StatusCode| status.is_success() || status.is_redirection();
        answer.route = told.filter(|told| is_known(told.status)).and_then(|told| told.route);
        Ok(answer)
    }

    /// Who waited for a ledger that was lost asks anew if there is another way to be admitted.
    fn refused(&self, refusal: Refusal) -> Missed {
        if refusal.reason == Reason::StoreLost && self.lane.budget.goes_on(self.limits) {
            return Missed::Anew;
        }
        Missed::No(No::Budget(refusal))
    }

    /// Stands in the queue, once it is known that no other replica's fetch will do, and
    /// waits for the head.
    async fn land(
        &self,
        exchange: &mut Exchange,
        caller: &Caller<'_>,
        listener: &mut Ear,
        entered: Moment,
    ) -> Result<(Option<Place>, Result<Landing, FlightError<Fault>>), Missed> {
        let opened = listener.shared().gate.opened();
        tokio::select! {
            biased;
            () = opened => {}
            landed = listener.landing() => return Ok((None, landed)),
        }
        let ask = Ask { seat: caller.access.seat, deadline: caller.deadline, urgency: caller.urgency };
        let place = match listener.shared().door.as_ref().map(|door| door.enter_as(&self.lane.budget, ask)) {
            None => None,
            Some(Ok(place)) => Some(place),
            Some(Err(Denied::Closed)) => {
                // The fetch is ending because the callers before us left. To look again
                // before it is off the board would find it there again.
                let _ = listener.landing().await;
                return Err(Missed::Again);
            }
            Some(Err(Denied::Gone)) => return Err(Missed::No(No::no_access())),
            Some(Err(Denied::Refused(refusal))) => return Err(self.refused(refusal)),
        };
        tokio::select! {
            biased;
            // First, since a fetch also ends when the last of its callers is refused.
            refusal = refusal_of(place.as_ref()) => {
                exchange.waited = self.lane.clock.now().since(entered);
                Err(self.refused(refusal))
            }
            landed = listener.landing() => Ok((place, landed)),
        }
    }

    /// The vendor's answer as it streams in, not coded (see `cache::coding`). Whose
    /// request was sent gets all of the head, the others nothing that is about the one
    /// who asked.
    fn live(&self, head: Head, listener: Ear) -> Answer {
        let Head { mut status, mut headers } = head;
        if !listener.leads() {
            self.policy().strip_for_followers(&mut headers);
        }
        if self.shareable && !self.lane.is_keyless() && coding::is_codable(status, &headers) {
            answer::vary_by_coding(&mut headers);
        }
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

    pub(super) async fn stored(&self, hit: &Hit, detail: Option<&'static str>) -> Answer {
        let shape = match self.shape(hit) {
            Ok(shape) => shape,
            Err(coding) => {
                let form = self.lane.forms.form(hit.entry.body(), coding).await;
                form.map_or(Shape::Identity, |body| Shape::Coded(coding, body))
            }
        };
        self.shaped(hit, shape, detail)
    }

    /// The same for what is fresh; none if its form would have to be waited for.
    pub(super) fn stored_at_once(&self, hit: &Hit) -> Option<Answer> {
        let shape = match self.shape(hit) {
            Ok(shape) => shape,
            Err(coding) => match self.lane.forms.ready(hit.entry.body(), coding)? {
                Some(body) => Shape::Coded(coding, body),
                None => Shape::Identity,
            },
        };
        Some(self.shaped(hit, shape, None))
    }

    fn shaped(&self, hit: &Hit, shape: Shape, detail: Option<&'static str>) -> Answer {
        let stored = hit.answer(&self.method, &self.caller, shape);
        let mut response = Response::new(Body::from(stored.body));
        *response.status_mut() = stored.status;
        *response.headers_mut() = stored.headers;
        let outcome = if hit.ttl < 0 { Outcome::Stale } else { Outcome::Fresh };
        let mut answer = Answer::of(response, outcome);
        answer.reason = detail.unwrap_or("hit");
        answer.cache = CacheStatus::of_hit(hit, detail);
        answer.route = Some(self.route(hit));
        answer
    }

    /// The route that a hit is counted on. Routes keep their numbers for as long as the
    /// process runs, so it is looked for once per entry.
    fn route(&self, hit: &Hit) -> RouteIx {
        let status = hit.entry.status();
        let is_known = status.is_success() || status.is_redirection();
        let find = || self.lane.tally.route(self.target.path(), is_known).number();
        hit.entry.mark(find).map_or(RouteIx::OTHER, RouteIx::from_number)
    }

    /// In which form this caller gets it; else the coding that it has to be in. A plain
    /// cache gives what it was given.
    fn shape(&self, hit: &Hit) -> Result<Shape, Coding> {
        if self.lane.is_keyless() || !hit.entry.is_codable() {
            return Ok(Shape::Stored);
        }
        match hit.coding(&self.method, &self.caller) {
            Coding::Identity => Ok(Shape::Identity),
            coding => Err(coding),
        }
    }

    /// A stale answer rather than none, if the policy allows it now.
    pub(super) async fn rather_stale(
        &self,
        stale: Option<&Stale>,
        on: Occasion,
        detail: &'static str,
    ) -> Option<Answer> {
        let hit = stale?.may_serve(on, self.lane.now())?;
        Some(self.stored(&hit, Some(detail)).await)
    }
}

/// Resolves when the budget refuses the caller at `place`; never for one who has none.
async fn refusal_of(place: Option<&Place>) -> Refusal {
    match place {
        Some(place) => place.refused().await,
        None => std::future::pending().await,
    }
}
