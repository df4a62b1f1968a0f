//! What is written down of a request that has left: how the vendor fared, whether a
//! refresh was of use, when its charge ends.

use http::header::{AGE, DATE};
use http::{Response, StatusCode};

use super::Lane;
use super::breaker::Leave;
use super::fault::Fault;
use super::fetch::Answered;
use crate::budget::Charge;
use crate::cache::Exchange;
use crate::clock::UnixTime;
use crate::upstream::UpstreamBody;

impl Lane {
    /// How an exchange went, for all who want to know.
    pub(super) fn remember(
        &self,
        leave: Leave<'_>,
        outcome: &Result<Option<Answered>, Fault>,
        in_background: bool,
    ) {
        if in_background {
            self.tell_of_refresh(outcome);
        }
        self.remember_health(leave, outcome);
    }

    /// Nobody listens to a background refresh, so whether it fails is said here: once,
    /// and once when it no longer does.
    fn tell_of_refresh(&self, outcome: &Result<Option<Answered>, Fault>) {
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
    fn remember_health(&self, leave: Leave<'_>, outcome: &Result<Option<Answered>, Fault>) {
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
