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

    pub(super) fn route(&self) -> RouteIx {
        self.route
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
