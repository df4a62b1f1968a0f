//! The life of a request, in order:
//!
//! route -> identify -> allow -> inbound rate -> check -> cache lookup -> join a
//! fetch already under way -> admit -> sign -> send -> settle -> store -> answer.
//!
//! Up to the lookup nothing is waited for, and most requests end there: `meet` tells
//! that part, with the steps in `call`. From there on `begin` joins or begins a fetch, whose
//! task in `fetch` goes from the admission to the store; `listen` waits for it.
//! A *no* of the budget, or of the vendor, is not the last word: first a stale
//! answer, if the policy allows one.

use std::sync::Arc;

use arc_swap::Guard;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Limited;
use http_body_util::combinators::UnsyncBoxBody;

use super::Gateway;
use super::body::Body;
use super::call::{Admitted, Call, Caller};
use super::exchange::{Answer, Exchange};
use super::fault::Fault;
use super::fetch::{Fetch, RequestBody};
use super::keyed_body::{self, Read};
use super::listen::Missed;
use super::pages;
use super::refusal::No;
use super::table::Table;
use super::wish::Wish;
use crate::cache::{Forward, Lookup, Now, Occasion, validate};
use crate::consumer::Peer;
use crate::telemetry::trace::Stage;
use crate::upstream::BoxError;

/// How often a caller looks again after a fetch that ended without a word (a 304
/// that meant another representation, a fetch for its first caller alone).
const MAX_LOOKS: u32 = 3;

/// How often a request may be refused by the vendor before its caller is told.
const MAX_REFUSALS: u32 = 4;

/// The largest request body that is passed on; uploads of samples are the largest
/// that any of the vendors takes.
const MAX_REQUEST_BODY_BYTES: usize = 1 << 30;

/// What becomes of a request at first sight.
pub enum Met {
    /// It is answered.
    Answered(Response<Body>),
    /// Something has to be waited for, with [`Gateway::later`].
    Later(Box<Later>),
}

/// A request that is not answered yet. Dropping it is a caller who hangs up.
pub struct Later {
    exchange: Exchange,
    /// A reload puts another table in place; this request is answered by the one it met.
    table: Arc<Table>,
    step: Step,
}

/// How far a request has come without waiting.
enum Step {
    /// A token is asked for, or a body has to be read before more is known.
    Routed(Call, RequestBody, Option<u64>),
    /// All pages of a list are asked for.
    Walk(Call, Admitted),
    /// No stored answer could be given at once; this is what there is, if it was looked for.
    Wished(Arc<Wish>, Admitted, Option<Lookup>),
    Done(Answer),
}

impl Gateway {
    /// Answers one request from a connection whose other end is `peer`.
    ///
    /// Dropping the future is a caller who hangs up: it leaves the queue, and a
    /// fetch that was not sent for anybody else is not sent.
    pub async fn answer<B>(&self, request: Request<B>, peer: Peer<'_>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        match self.at_once(request, peer) {
            Met::Answered(response) => response,
            Met::Later(later) => self.later(*later, peer).await,
        }
    }

    /// The same as far as it goes without waiting: hits and refusals are answered, and
    /// cost no task, no box and no copy of what a fetch would need.
    pub fn at_once<B>(&self, request: Request<B>, peer: Peer<'_>) -> Met
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (head, body) = request.into_parts();
        let size = (!body.is_end_stream()).then(|| body.size_hint().lower());
        let body = match size {
            None => UnsyncBoxBody::default(),
            Some(_) => UnsyncBoxBody::new(Limited::new(body, MAX_REQUEST_BODY_BYTES)),
        };
        let now = Now { at: self.clock.now(), wall: self.clock.wall() };
        let mut exchange =
            Exchange::begin(self.ids.next(), (self.clock, now.at), &head, self.tracer.as_ref());
        let table = self.table.load();
        match meet(&table, &mut exchange, Request::from_parts(head, (body, size)), (peer, now)) {
            Ok(Step::Done(answer)) => Met::Answered(exchange.end(Ok(answer), now.at)),
            Err(no) => Met::Answered(exchange.end(Err(no), now.at)),
            Ok(step) => Met::Later(Box::new(Later { exchange, table: Guard::into_inner(table), step })),
        }
    }

    /// The rest of its life.
    pub async fn later(&self, later: Later, peer: Peer<'_>) -> Response<Body> {
        let Later { mut exchange, table, step } = later;
        let answered = tokio::select! {
            biased;
            answered = self.tell((&table, &mut exchange), step, peer) => answered,
            () = self.called() => Err(No::Stopping),
        };
        exchange.end(answered, self.clock.now())
    }

    async fn tell(
        &self,
        (table, exchange): (&Table, &mut Exchange),
        step: Step,
        peer: Peer<'_>,
    ) -> Result<Answer, No> {
        match step {
            Step::Done(answer) => Ok(answer),
            Step::Routed(call, body, size) => {
                Box::pin(self.with_body((table, exchange), (call, body, size), peer)).await
            }
            Step::Walk(call, admitted) => {
                let caller = admitted.at(table, (&call.lane, exchange))?;
                Box::pin(self.walk(table, exchange, call, &caller)).await
            }
            Step::Wished(wish, admitted, found) => {
                let caller = admitted.at(table, (&wish.lane, exchange))?;
                match wish.shareable {
                    true => self.shared(exchange, &wish, &caller, found).await,
                    false => self.alone(exchange, &wish, &caller, UnsyncBoxBody::default()).await,
                }
            }
        }
    }

    /// One that asks for a token, or has a body.
    async fn with_body(
        &self,
        (table, exchange): (&Table, &mut Exchange),
        (mut call, body, size): (Call, RequestBody, Option<u64>),
        peer: Peer<'_>,
    ) -> Result<Answer, No> {
        if let Some(oauth) = call.asks_token() {
            return table.issue(exchange, (oauth, &call), body, peer).await;
        }
        exchange.spans.at(Stage::Identify);
        let body = call.read_credential(body).await?;
        let now = Now { at: self.clock.now(), wall: self.clock.wall() };
        let caller = table.let_in(exchange, &mut call, (peer, now))?;
        if size.is_some_and(|bytes| bytes > MAX_REQUEST_BODY_BYTES as u64) {
            return Err(No::TooLarge);
        }
        if !call.lane.relays() && pages::is_asked(&call)? {
            return Box::pin(self.walk(table, exchange, call, &caller)).await;
        }
        let (body, keyed) = match keyed_body::is_wanted(&call) {
            true => self.keyed_body(body, &caller).await?,
            false => (body, None),
        };
        let body = call.read_repeatable(body).await?;
        let wish = Arc::new(Wish::of(call, keyed, &caller, now.wall));
        exchange.limits = wish.limits;
        if wish.shareable {
            self.shared(exchange, &wish, &caller, None).await
        } else {
            self.alone(exchange, &wish, &caller, body).await
        }
    }

    /// An answer for this caller alone. Sent again only if the fetch says that it may be.
    async fn alone(
        &self,
        exchange: &mut Exchange,
        wish: &Arc<Wish>,
        caller: &Caller<'_>,
        body: RequestBody,
    ) -> Result<Answer, No> {
        let why = if wish.method.is_safe() { Forward::Bypass } else { Forward::Method };
        let mut streamed = (!wish.is_repeatable).then_some(body);
        for _ in 0..MAX_LOOKS {
            self.signed_in(exchange, wish, caller).await?;
            exchange.spans.at(Stage::Join);
            let mut fetch = Fetch { tries: exchange.tries, ..Fetch::of(wish, None) };
            if let Some(body) = streamed.take() {
                fetch.body = body;
            }
            match wish.listen(exchange, caller, wish.lane.launch(fetch, caller), why).await {
                Ok(answer) => return Ok(answer),
                Err(Missed::No(no)) => return Err(no),
                Err(Missed::Anew) if wish.is_repeatable => {}
                Err(Missed::Again | Missed::Anew) => break,
            }
        }
        Err(No::Abandoned)
    }

    /// Waits for the vendor's token, where there are tokens.
    async fn signed_in(&self, exchange: &mut Exchange, wish: &Wish, caller: &Caller<'_>) -> Result<(), No> {
        if wish.lane.config.dialect.oauth().is_none() {
            return Ok(());
        }
        exchange.spans.at(Stage::SignIn);
        wish.signed_in(caller).await
    }

    /// The body of a POST that a rule calls a read, as far as it can be part of a key.
    async fn keyed_body(
        &self,
        body: RequestBody,
        caller: &Caller<'_>,
    ) -> Result<(RequestBody, Option<Bytes>), No> {
        let read = tokio::select! {
            read = keyed_body::read(body) => read,
            () = self.clock.sleep_until(caller.deadline) => return Err(No::Malformed("its body did not arrive in time")),
        };
        match read {
            Ok(Read::Keyed(text)) => Ok((UnsyncBoxBody::default(), Some(text))),
            Ok(Read::AsItCame(body)) => Ok((body, None)),
            Err(_) => Err(No::Malformed("its body broke off, or is too large")),
        }
    }

    /// An answer that may come from the cache, where `found` is if it was looked for
    /// already, or from another caller's fetch.
    pub(super) async fn shared(
        &self,
        exchange: &mut Exchange,
        wish: &Arc<Wish>,
        caller: &Caller<'_>,
        mut found: Option<Lookup>,
    ) -> Result<Answer, No> {
        let mut looks = 0;
        // A vendor's 429 is bounded by the caller's deadline: its window is closed.
        while looks < MAX_LOOKS + exchange.refused_by_vendor.min(MAX_REFUSALS) {
            looks += 1;
            exchange.spans.at(Stage::Lookup);
            let looked = wish.look(found.take()).await;
            exchange.spans.note("weir.found", || looked.as_str().into());
            let (stale, why) = match looked {
                Lookup::Fresh(hit) => {
                    exchange.spans.at(Stage::Answer);
                    return Ok(wish.stored(&hit, None).await);
                }
                Lookup::OnlyIfCached => return Err(No::OnlyIfCached),
                Lookup::Miss(why) => (None, why),
                Lookup::Stale(stale) => {
                    if let Some(hit) = stale.may_serve(Occasion::Revalidating, wish.lane.now()) {
                        wish.refresh(&stale, caller);
                        return Ok(wish.stored(&hit, Some("revalidating")).await);
                    }
                    let why = stale.why;
                    (Some(stale), why)
                }
            };
            if let Err(no) = self.signed_in(exchange, wish, caller).await {
                let instead = wish.rather_stale(stale.as_ref(), Occasion::Error, "error").await;
                return instead.ok_or(no);
            }
            exchange.spans.at(Stage::Join);
            let listener = match wish.join(stale.as_ref(), caller, exchange.tries) {
                Ok(listener) => listener,
                Err(hit) => return Ok(wish.stored(&hit, None).await),
            };
            match wish.listen(exchange, caller, listener, why).await {
                Ok(answer) => {
                    let (on, detail) = match answer.response.status() {
                        // The honest no of a weir behind this one.
                        StatusCode::TOO_MANY_REQUESTS => (Occasion::Limited, "limited"),
                        status if validate::is_error(status) => (Occasion::Error, "error"),
                        _ => return Ok(answer),
                    };
                    let instead = wish.rather_stale(stale.as_ref(), on, detail).await;
                    return Ok(instead.unwrap_or(answer));
                }
                Err(Missed::Again | Missed::Anew) => {}
                Err(Missed::No(no)) => {
                    let (on, detail) = match &no {
                        No::Budget(..) => (Occasion::Limited, "limited"),
                        No::Ledger | No::Vendor(_) => (Occasion::Error, "error"),
                        _ => return Err(no),
                    };
                    let instead = wish.rather_stale(stale.as_ref(), on, detail).await;
                    return instead.ok_or(no);
                }
            }
        }
        Err(if exchange.refused_by_vendor > 0 { No::Vendor(Fault::Limited) } else { No::Abandoned })
    }
}

/// A request's life up to the first look into the cache.
fn meet(
    table: &Table,
    exchange: &mut Exchange,
    request: Request<(RequestBody, Option<u64>)>,
    (peer, now): (Peer<'_>, Now),
) -> Result<Step, No> {
    let (head, (body, size)) = request.into_parts();
    let mut call = table.route(head, size.is_some()).map_err(|(no, seems_for)| {
        exchange.seems_for(seems_for);
        no
    })?;
    exchange.routed(&call);
    if size.is_some() || call.asks_token().is_some() {
        return Ok(Step::Routed(call, body, size));
    }
    exchange.spans.at(Stage::Identify);
    let caller = table.let_in(exchange, &mut call, (peer, now))?;
    if !call.lane.relays() && pages::is_asked(&call)? {
        let admitted = caller.admitted();
        return Ok(Step::Walk(call, admitted));
    }
    let wish = Wish::of(call, None, &caller, now.wall);
    exchange.limits = wish.limits;
    if !wish.shareable {
        return Ok(Step::Wished(Arc::new(wish), caller.admitted(), None));
    }
    exchange.spans.at(Stage::Lookup);
    // A replica that was held up has to hear first what others have purged.
    let mut found = wish.lane.is_current(now.at).then(|| wish.lookup(now));
    if let Some(Lookup::Fresh(hit)) = &found {
        match wish.stored_at_once(hit) {
            Some(answer) => {
                exchange.spans.note("weir.found", || "fresh".into());
                return Ok(Step::Done(answer));
            }
            // Its form has to be made; what is fresh now need not be then.
            None => found = None,
        }
    }
    Ok(Step::Wished(Arc::new(wish), caller.admitted(), found))
}
