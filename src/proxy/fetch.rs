//! One request to the vendor, from its permit to the last byte of the answer.
//!
//! It runs as a task of its own: callers only listen, so none of them kills it
//! and none is orphaned (DESIGN, "The life of a request"). What happens if all
//! of them leave depends on the price: before the first byte, the fetch ends and
//! its permit is refunded; after it, the answer is read to its end if it may be
//! kept, since it is paid for (law 3).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AGE, DATE, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

use super::Lane;
use super::breaker::Leave;
use super::keys;
use super::receive::receive;
use super::wish::Wish;
use super::written;
use crate::budget::{Bid, Charge, Door, LedgerDown, Permit};
use crate::cache::{Entry, Exchange, Lead, NotStored, Now, Ticket};
use crate::clock::{Moment, UnixTime};
use crate::upstream::{BodyError, BoxError, Failure, Reason, SendError, UpstreamBody};

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
    /// The vendor has been failing; it is not asked for some seconds.
    #[error("the vendor has been failing and is let be for some seconds")]
    Open,
    /// To be tried again, by whoever still wants it: paid for, and answered by
    /// nothing that is worth passing on.
    #[error("to be tried again")]
    Again,
    /// The vendor answered 429; back to the queue.
    #[error("the vendor answered 429")]
    Limited,
    /// No usable key.
    #[error("the vendor's key cannot be sent")]
    Key,
    /// It could not be booked, so it was not sent.
    #[error("{0}")]
    Ledger(LedgerDown),
}

impl Fault {
    /// One word for log, metric and `Proxy-Status` (RFC 9209, section 2.3).
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Unsent(failure) | Self::Unanswered(failure) => failure.reason.as_str(),
            Self::Body(error) => error.reason().as_str(),
            Self::Corrupt => "http_response_content_coding",
            Self::Open => "destination_unavailable",
            Self::Again => "retry",
            Self::Limited => "http_request_denied",
            Self::Key => "proxy_configuration_error",
            Self::Ledger(_) => "proxy_internal_error",
        }
    }

    /// Whether it is the caller's own body that broke off, or grew too large.
    pub(super) fn is_callers(&self) -> bool {
        matches!(self, Self::Unsent(f) | Self::Unanswered(f) if f.reason == Reason::HttpRequestError)
    }

    /// Whether the account was charged all the same.
    pub(super) fn was_charged(&self) -> bool {
        match self {
            Self::Unanswered(_) | Self::Body(_) | Self::Corrupt | Self::Again | Self::Limited => true,
            Self::Unsent(_) | Self::Open | Self::Key | Self::Ledger(_) => false,
        }
    }

    /// Whether the vendor was too slow: 504 and not 502.
    pub(super) fn is_timeout(&self) -> bool {
        match self {
            Self::Unsent(failure) | Self::Unanswered(failure) => failure.reason.is_timeout(),
            Self::Body(error) => error.reason().is_timeout(),
            Self::Corrupt | Self::Open | Self::Again | Self::Limited | Self::Key | Self::Ledger(_) => false,
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
    /// How often it was tried before.
    pub(super) tries: u32,
}

pub(super) type FetchLead = Lead<Shared, Fault>;

impl Fetch {
    /// A fetch in the foreground, with the wish's own body if it has one.
    pub(super) fn of(wish: &Arc<Wish>, stale: Option<Arc<Entry>>) -> Self {
        let body = Full::new(wish.body.clone().unwrap_or_default());
        let body = UnsyncBoxBody::new(body.map_err(|never| match never {}));
        Self { wish: Arc::clone(wish), body, stale, in_background: false, tries: 0 }
    }

    /// Waits for the permit, sends, settles, and fills flight and cache.
    pub(super) async fn run(self, admission: Admission, mut lead: FetchLead) {
        let lane = Arc::clone(&self.wish.lane);
        if lane.breaker.is_open(lane.clock.now()) {
            return lead.fail(Fault::Open);
        }
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
        let Some(leave) = lane.breaker.leave(lane.clock.now()) else { return lead.fail(Fault::Open) };
        let (wish, stale, tries) = (Arc::clone(&self.wish), self.stale.clone(), self.tries);
        let outcome = self.send(permit, &lead).await;
        lane.remember_health(leave, &outcome);
        if is_refusal(&outcome) && wish.shareable {
            // Back to the queue, where the window that was closed for it keeps it
            // until its deadline.
            return lead.fail(Fault::Limited);
        }
        if is_worth_another_try(&wish, tries, &outcome) && lane.breaker.may_retry() {
            // Spread, so that those who failed together do not come back together.
            let pause = Duration::from_millis(rand::random_range(100..400));
            lane.clock.sleep_until(lane.clock.now() + pause).await;
            return lead.fail(Fault::Again);
        }
        match outcome {
            Ok(Some((response, sent))) => receive(&wish, stale.as_ref(), response, sent, lead).await,
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
    async fn send(self, mut permit: Permit, lead: &FetchLead) -> Result<Option<Answered>, Fault> {
        let lane = &self.wish.lane;
        let (request, key) = self.wish.signed(self.stale.as_deref(), lane.clock.wall(), self.body)?;
        let connect = async { lane.upstream.ready().await.map_err(|e| Fault::Unsent(e.into_failure())) };
        // What may leave is on disk before it leaves (law 8), while the connection is made.
        let book = async { permit.booked().await.map_err(Fault::Ledger) };
        let ((), ready) = tokio::try_join!(book, connect)?;
        if lead.listeners() == 0 && !self.in_background {
            return Ok(None);
        }
        // Taken before the first byte: a purge or a write from here on voids what comes back.
        let ticket = lane.cache.ticket();
        let granted = permit.granted_at();
        let charge = permit.sent();
        let sent = charge.sent_at();
        let leaving = Leaving::of(&self.wish, &charge, self.in_background);
        lane.count_sent(&leaving);
        match ready.send(request).await {
            Ok(response) => {
                let received = Now { at: lane.clock.now(), wall: lane.clock.wall() };
                let exchange = Exchange { sent, received };
                lane.settle(charge, &response, &exchange);
                lane.learn(&self.wish, sent, (response.status(), response.headers()));
                let refused = key.filter(|_| keys::is_about_the_key(response.status(), response.headers()));
                let another_key = refused.is_some_and(|key| lane.keys.refuse(key, received.wall));
                Ok(Some((response, Sent { granted, exchange, ticket, another_key })))
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

/// A response whose body is still to come, and what is known of its exchange.
type Answered = (Response<UpstreamBody>, Sent);

/// Whether the vendor answered 429. A CDN's page says it as well as the vendor's own.
fn is_refusal(outcome: &Result<Option<Answered>, Fault>) -> bool {
    matches!(outcome, Ok(Some((response, _))) if response.status() == StatusCode::TOO_MANY_REQUESTS)
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
    pub(super) ticket: Ticket,
    /// The vendor refused the key that was sent, and there is another.
    pub(super) another_key: bool,
}

/// Seats that a request which is leaving is counted for.
struct Leaving {
    /// Whose allowance it takes, if any limit counts it.
    payer: Option<usize>,
    /// Whose hit set it off, if it is a background refresh.
    refreshes_for: Option<usize>,
}

impl Leaving {
    fn of(wish: &Wish, charge: &Charge, in_background: bool) -> Self {
        let seat = charge.seat();
        Self {
            payer: (!wish.limits.is_empty()).then_some(seat),
            refreshes_for: in_background.then_some(seat),
        }
    }
}

impl Lane {
    fn count_sent(&self, leaving: &Leaving) {
        self.vendor.count_sent();
        leaving.payer.inspect(|seat| self.tally.pay(*seat));
        leaving.refreshes_for.inspect(|seat| self.tally.refresh(*seat));
    }

    fn take_back_sent(&self, leaving: &Leaving) {
        self.vendor.take_back_sent();
        leaving.payer.inspect(|seat| self.tally.refund(*seat));
        leaving.refreshes_for.inspect(|seat| self.tally.take_back_refresh(*seat));
    }

    /// Tells the breaker how an exchange went.
    fn remember_health(&self, leave: Leave<'_>, outcome: &Result<Option<Answered>, Fault>) {
        let failed = match outcome {
            Ok(None) | Err(Fault::Key | Fault::Ledger(_)) => return,
            Err(fault) if fault.is_callers() => return,
            Ok(Some((response, _))) => response.status().is_server_error(),
            Err(_) => true,
        };
        if !failed {
            leave.answered();
        } else if leave.failed(self.clock.now()) {
            tracing::error!(upstream = %self.config.name, "the vendor is failing; it is let be for some seconds");
        }
    }

    /// The head has come: the charge ends one window later, and the vendor's clock
    /// is known better. An intermediary's own error says nothing about the vendor.
    fn settle(&self, charge: Charge, response: &Response<UpstreamBody>, exchange: &Exchange) {
        let status = response.status();
        let date =
            response.headers().get(DATE).and_then(|v| httpdate::parse_http_date(v.to_str().ok()?).ok());
        // First, so that the ledger can write the charge's end on the vendor's own clock.
        if let (Some(date), false) = (date, response.headers().contains_key(AGE)) {
            self.budget.vendor_date(UnixTime::from_system(date), exchange.sent, exchange.received.at);
        }
        if matches!(status.as_u16(), 502..=504 | 520..=530) {
            charge.lost();
        } else {
            charge.settled();
        }
        self.vendor.count_answer(status);
    }
}
