//! What the ledger has to know of another plan on the same books.

use std::sync::Arc;
use std::time::Duration;

use super::{BOOKING_TIMEOUT, Link, restore};
use crate::id::BadName;
use crate::quota::Plan;

impl Link {
    /// The same for a budget whose requests take up to `longest`.
    pub(in crate::budget) fn within(&self, longest: Duration) -> Self {
        let (ledger, upstream) = (Arc::clone(&self.ledger), self.upstream.clone());
        let number = ledger.inbox.number();
        Self { ledger, number, upstream, longest: longest + BOOKING_TIMEOUT }
    }

    /// Another plan follows: what it has and the old one had not, the file has not
    /// seen, since what is in flight or settled is not written anew.
    pub(in crate::budget) fn remember_limits(&self, old: &Plan, new: &Plan) {
        let name = restore::limits_name(&self.upstream);
        // Before it is loaded, what the file has seen is not known and not changed.
        if self.ledger.remembered(&name).is_some() {
            self.ledger.remember(&name, &restore::common_limits(old, new));
        }
    }
}

/// Whom a charge is written to whose consumer a reload has removed.
pub(super) fn removed<T: std::str::FromStr<Err = BadName>>() -> T {
    "_removed".parse().expect("it is a name")
}
