//! Signing in at vendors that exchange an id and a secret for a token.
//!
//! One token per value of a key, fetched once for all callers and kept in memory.
//! `tokens` decides; here is what it costs: a sign-in stands in the budget's queue
//! like any request, is charged to the limits that cover its path (of whoever caused
//! it), and runs as a task of its own, so that no caller who leaves ends it.
//!
//! A caller waits for the token before its own request stands in the queue:
//! 1. 100 requests come first, each wants a place in a limit of 7.
//! 2. If 7 of them had it, and waited for a sign-in, that would wait for a place too:
//!    for ever.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout_at;

use super::Lane;
use super::call::Caller;
use super::fault::Fault;
use super::keys::{self, Chosen};
use super::learn;
use super::leaving::Leaving;
use super::refusal::No;
use super::tokens::{Held, SignInFault, Step, Token};
use super::wish::Wish;
use crate::budget::{Ask, Denied, Permit, Refusal};
use crate::cache::{Exchange, Now};
use crate::clock::Moment;
use crate::config::{Key, Mode};
use crate::dialect::OAuth;
use crate::dialect::oauth::{Client, Granted};
use crate::quota::LimitSet;
use crate::secret::Secret;
use crate::upstream::{SendError, UpstreamBody};

/// An answer with a token is small.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The vendor's tokens of one upstream, by key and value.
#[derive(Debug)]
pub(super) struct Tokens {
    slots: Vec<Vec<Slot>>,
}

#[derive(Debug)]
struct Slot {
    held: Mutex<Held>,
    /// Told at the end of each sign-in.
    ended: watch::Sender<()>,
}

/// Why a sign-in brought nothing.
pub(super) enum Missed {
    Fault(SignInFault, Option<Duration>),
    /// The budget's no to whoever began it.
    Refused(Refusal),
}

impl Tokens {
    pub(super) fn new(keys: &[Key]) -> Self {
        let slot = || Slot { held: Mutex::default(), ended: watch::Sender::new(()) };
        let slots = keys.iter().map(|key| key.values.iter().map(|_| slot()).collect());
        Self { slots: slots.collect() }
    }

    fn slot(&self, of: Chosen) -> &Slot {
        &self.slots[of.key][of.value]
    }

    /// The token to send now.
    pub(super) fn current(&self, of: Chosen) -> Option<Arc<Token>> {
        self.slot(of).held.lock().current()
    }

    /// Whether it is the one that is held, or was refused last.
    pub(super) fn knows(&self, of: Chosen, access: &Secret) -> bool {
        self.slot(of).held.lock().knows(access)
    }

    /// The vendor refused the token with this serial; whether another try makes sense.
    pub(super) fn refuse(&self, of: Chosen, serial: u64, now: Moment) -> bool {
        self.slot(of).held.lock().refuse(serial, now)
    }
}

impl Wish {
    /// Whether there is a token of the vendor's to send now, if this vendor has tokens.
    /// Where there is none, one is fetched without anybody's waiting for it.
    pub(super) fn is_signed_in(&self, caller: &Caller<'_>) -> bool {
        let lane = &self.lane;
        let (Some(oauth), Some(key)) = (lane.config.dialect.oauth(), self.vendor_key) else { return true };
        let Some((chosen, value)) = lane.keys.choose(key, lane.clock.wall()) else { return false };
        let step = lane.tokens.slot(chosen).held.lock().ask(lane.clock.now());
        if matches!(step, Step::SignIn | Step::UseAndRenew) {
            let ask = Ask { seat: caller.access.seat, deadline: caller.deadline, urgency: 7 };
            drop(Attempt::begin(lane, (oauth, chosen), value.client.clone(), ask));
        }
        matches!(step, Step::Use | Step::UseAndRenew)
    }

    /// Waits until there is a token of the vendor's, if this vendor has tokens.
    pub(super) async fn signed_in(&self, caller: &Caller<'_>) -> Result<(), No> {
        let lane = &self.lane;
        let (Some(oauth), Some(key)) = (lane.config.dialect.oauth(), self.vendor_key) else { return Ok(()) };
        let ask = Ask { seat: caller.access.seat, deadline: caller.deadline, urgency: 0 };
        // The queue's time is the caller's to bound, the vendor's is not.
        let patience = caller.deadline + lane.config.connect_timeout + lane.config.timeout;
        let fault = |fault| No::Vendor(Fault::SignIn(fault));
        loop {
            let Some((chosen, value)) = lane.keys.choose(key, lane.clock.wall()) else {
                return Err(No::Vendor(Fault::Key));
            };
            let slot = lane.tokens.slot(chosen);
            // Before the look: an end between look and wait must not be missed.
            let mut ended = slot.ended.subscribe();
            let step = slot.held.lock().ask(lane.clock.now());
            let begin = || Attempt::begin(lane, (oauth, chosen), value.client.clone(), ask);
            let waited = match step {
                Step::Use => return Ok(()),
                Step::UseAndRenew => {
                    drop(begin());
                    return Ok(());
                }
                Step::Failed(why) => return Err(fault(why)),
                Step::SignIn => {
                    let own = timeout_at(lane.clock.instant(patience), begin()).await;
                    // The refusal of whoever began it is its own; others may begin again.
                    if let Ok(Ok(refusal)) = own {
                        return Err(No::Budget(refusal));
                    }
                    own.map(drop)
                }
                Step::Wait => timeout_at(lane.clock.instant(patience), ended.changed()).await.map(drop),
            };
            if waited.is_err() {
                return Err(fault(SignInFault::Unavailable));
            }
        }
    }
}

/// A sign-in under way; dropped before its end, another may begin.
struct Attempt {
    lane: Arc<Lane>,
    chosen: Chosen,
    ended: bool,
}

impl Attempt {
    /// Begins one as a task of its own. What comes back is the budget's refusal, if
    /// that is how it ends.
    fn begin(
        lane: &Arc<Lane>,
        (oauth, chosen): (OAuth, Chosen),
        client: Option<Client>,
        ask: Ask,
    ) -> oneshot::Receiver<Refusal> {
        let (tell, told) = oneshot::channel();
        let attempt = Self { lane: Arc::clone(lane), chosen, ended: false };
        tokio::spawn(async move {
            let outcome = match client {
                Some(client) => attempt.lane.token((oauth, chosen), &client, ask).await,
                None => Err(Missed::Fault(SignInFault::Refused, None)),
            };
            if let Some(refusal) = attempt.end(outcome) {
                let _ = tell.send(refusal);
            }
        });
        told
    }

    fn end(mut self, outcome: Result<(Granted, Moment), Missed>) -> Option<Refusal> {
        self.ended = true;
        let (lane, now) = (&self.lane, self.lane.clock.now());
        let (upstream, key) = (&lane.config.name, &lane.config.keys[self.chosen.key].name);
        let slot = lane.tokens.slot(self.chosen);
        match outcome {
            Ok((granted, sent)) => {
                let Granted { access, lifetime } = granted;
                slot.held.lock().granted(access, sent, lifetime, rand::random());
                tracing::info!(%upstream, %key, valid_s = lifetime.as_secs(), "signed in at the vendor");
                None
            }
            Err(Missed::Refused(refusal)) => {
                slot.held.lock().failed(SignInFault::Budget, None, now);
                Some(refusal)
            }
            Err(Missed::Fault(fault, pause)) => {
                slot.held.lock().failed(fault, pause, now);
                if fault == SignInFault::Refused {
                    // The next of two values that are valid at once may do better.
                    let _ = lane.keys.refuse(self.chosen, lane.clock.wall());
                }
                tracing::error!(%upstream, %key, reason = fault.as_str(), "cannot sign in at the vendor");
                None
            }
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let slot = self.lane.tokens.slot(self.chosen);
        if !self.ended {
            slot.held.lock().abandoned();
        }
        slot.ended.send_replace(());
    }
}

impl Lane {
    /// Asks the vendor for a token, once; when that was sent.
    pub(super) async fn sign_in(
        &self,
        oauth: OAuth,
        client: &Client,
        ask: Ask,
    ) -> Result<(Granted, Moment), Missed> {
        let unavailable = || Missed::Fault(SignInFault::Unavailable, None);
        let sign_in = oauth.sign_in(client).map_err(|_| Missed::Fault(SignInFault::Refused, None))?;
        let class = self.config.dialect.route(&Method::POST, sign_in.path).class;
        let limits = self.config.plan.limits_for(&Method::POST, sign_in.path, class);
        let (permit, leave, ready) = loop {
            let mut permit = self.admitted(limits, ask).await?;
            let leave = self.breaker.leave(self.clock.now()).ok_or_else(unavailable)?;
            permit.booked().await.map_err(|_| unavailable())?;
            let Ok(ready) = self.upstream.ready().await else {
                leave.failed(self.clock.now());
                return Err(unavailable());
            };
            // Where it does not, the next one waits until the window opens, or is refused.
            if permit.still_stands().await.is_ok() {
                break (permit, leave, ready);
            }
        };
        let mut request = Request::new(Full::new(Bytes::copy_from_slice(sign_in.form.expose().as_bytes())));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static(sign_in.path);
        *request.headers_mut() = sign_in.headers;
        let charge = permit.sent();
        let sent = charge.sent_at();
        let leaving = Leaving::of((self, sign_in.path), limits, &charge, false);
        self.count_sent(&leaving);
        let response = match ready.send(request).await {
            Ok(response) => response,
            Err(error) => {
                match error {
                    SendError::NeverLeft(_) => {
                        charge.never_left();
                        self.take_back_sent(&leaving);
                    }
                    SendError::MayHaveLeft(_) => charge.lost(),
                }
                leave.failed(self.clock.now());
                return Err(unavailable());
            }
        };
        let exchange = Exchange { sent, received: self.now() };
        self.settle(charge, &response, &exchange);
        self.learn(limits, sent, (response.status(), response.headers()));
        if response.status().is_server_error() {
            leave.failed(self.clock.now());
        } else {
            leave.answered();
        }
        let granted = self.read_granted(oauth, response, exchange.received).await?;
        Ok((granted, sent))
    }

    async fn admitted(&self, limits: LimitSet, ask: Ask) -> Result<Permit, Missed> {
        if self.config.mode == Mode::Observe || limits.is_empty() {
            let (permit, held_up) = self.budget.charge_anyway(limits, ask.seat);
            held_up.inspect(|held_up| self.observe(ask.seat, ask.deadline, held_up));
            return Ok(permit);
        }
        let bid = self.budget.bid(limits);
        let place = bid.enter(ask).map_err(|denied| match denied {
            Denied::Refused(refusal) => Missed::Refused(refusal),
            Denied::Closed | Denied::Gone => Missed::Fault(SignInFault::Unavailable, None),
        })?;
        tokio::select! {
            biased;
            permit = bid.granted() => permit.ok_or(Missed::Fault(SignInFault::Unavailable, None)),
            refusal = place.refused() => Err(Missed::Refused(refusal)),
        }
    }

    async fn read_granted(
        &self,
        oauth: OAuth,
        response: Response<UpstreamBody>,
        received: Now,
    ) -> Result<Granted, Missed> {
        let (parts, body) = response.into_parts();
        if let Some(fault) = refusal_in(parts.status, &parts.headers) {
            let pause = learn::retry_after(&parts.headers, received.wall);
            return Err(Missed::Fault(fault, pause));
        }
        let deadline = self.clock.instant(received.at + self.config.timeout);
        let whole = timeout_at(deadline, Limited::new(body, MAX_ANSWER_BYTES).collect()).await;
        let malformed = Missed::Fault(SignInFault::Malformed, None);
        match whole {
            Ok(Ok(body)) => oauth.granted(&body.to_bytes()).ok_or(malformed),
            Ok(Err(_)) => Err(malformed),
            Err(_) => Err(Missed::Fault(SignInFault::Unavailable, None)),
        }
    }
}

/// What an answer without a token means. A CDN's page says nothing about the client.
fn refusal_in(status: StatusCode, headers: &HeaderMap) -> Option<SignInFault> {
    match status.as_u16() {
        200..=299 => None,
        429 => Some(SignInFault::Limited),
        400 | 401 | 403 if !keys::is_page(headers) => Some(SignInFault::Refused),
        _ => Some(SignInFault::Unavailable),
    }
}
