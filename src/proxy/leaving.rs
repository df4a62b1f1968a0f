//! Who is told that a request has left, for usage and metrics; and that it has not.

use std::sync::Arc;

use super::Lane;
use crate::budget::Charge;
use crate::quota::LimitSet;
use crate::telemetry::Account;
use crate::telemetry::route::RouteIx;

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
}
