//! What is written down of a request that leaves: for whom it is counted, how the vendor
//! fared, when its charge ends.

use std::sync::Arc;

use http::header::{AGE, DATE};
use http::{Response, StatusCode};

use super::Lane;
use super::breaker::Leave;
use super::fault::Fault;
use super::fetch::Answered;
use crate::budget::Charge;
use crate::cache::Exchange;
use crate::clock::UnixTime;
use crate::quota::LimitSet;
use crate::telemetry::Account;
use crate::telemetry::route::RouteIx;
use crate::upstream::UpstreamBody;

/// Whom a request which is leaving is counted for.
pub(super) struct Leaving {
    /// Who was admitted with it; none if a reload has removed it meanwhile.
    account: Option<Arc<Account>>,
    route: RouteIx,
    /// Whether it takes any allowance.
    is_paid: bool,
    /// Whether a hit set it off.
    is_refresh: bool,
}

impl Leaving {
    pub(super) fn of(
        (lane, path): (&Lane, &str),
        limits: LimitSet,
        charge: &Charge,
        in_background: bool,
    ) -> Self {
        let tally = &lane.tally;
        Self {
            account: charge.payer().and_then(|(consumer, division)| tally.account_of(consumer, division)),
            route: tally.route(path, true),
            is_paid: !limits.is_empty(),
            is_refresh: in_background,
        }
    }
}

impl Lane {
    pub(super) fn count_sent(&self, leaving: &Leaving) {
        self.vendor.count_sent();
        let Some(account) = &leaving.account else { return };
        if leaving.is_paid {
            account.pay(leaving.route);
        }
        if leaving.is_refresh {
            account.refresh(leaving.route);
        }
    }

    pub(super) fn take_back_sent(&self, leaving: &Leaving) {
        self.vendor.take_back_sent();
        let Some(account) = &leaving.account else { return };
        if leaving.is_paid {
            account.refund(leaving.route);
        }
        if leaving.is_refresh {
            account.take_back_refresh(leaving.route);
        }
    }

    /// Nobody listens to a background refresh, so whether it fails is said here: once,
    /// and once when it no longer does.
    pub(super) fn tell_of_refresh(&self, outcome: &Result<Option<Answered>, Fault>) {
        let (upstream, mut status) = (&self.config.name, None);
        let why = match outcome {
            Ok(Some((response, _))) if is_of_no_use(response.status()) => {
                status = Some(response.status().as_u16());
                Some("the answer is of no use")
            }
            Ok(_) => None,
            Err(fault) => Some(fault.as_str()),
        };
        match (why, self.vendor.count_refresh(why.is_some())) {
            (Some(why), true) => {
                tracing::warn!(%upstream, why, status, "background refreshes fail: stale answers stand")
            }
            (None, true) => tracing::info!(%upstream, "background refreshes succeed again"),
            (_, false) => {}
        }
    }

    /// Tells the breaker how an exchange went.
    pub(super) fn remember_health(&self, leave: Leave<'_>, outcome: &Result<Option<Answered>, Fault>) {
        let failed = match outcome {
            Ok(None) | Err(Fault::Key | Fault::TokenGone | Fault::Ledger(_) | Fault::Outdated) => return,
            Err(fault) if fault.is_callers() => return,
            Ok(Some((response, _))) => response.status().is_server_error() && !self.relays(),
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
    pub(super) fn settle(&self, charge: Charge, response: &Response<UpstreamBody>, exchange: &Exchange) {
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
        self.vendor.count_answer(status, exchange.received.at.since(exchange.sent));
    }
}

/// Whether an answer renews nothing, and tells nothing new of what is stored.
fn is_of_no_use(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 401 | 403 | 429)
}
