//! What the ledger has to know of another plan on the same books.

use std::sync::Arc;
use std::time::Duration;

use super::renewal::Renewal;
use super::{BOOKING_TIMEOUT, Ledger, Link, restore};
use crate::id::BadName;
use crate::quota::Plan;

impl Link {
    /// Another plan follows, whose requests take up to `longest`: its limits count what is
    /// written already, and what is yet to be written under the old one.
    pub(in crate::budget) fn followed(&self, (old, new): (&Plan, &Plan), longest: Duration) -> Self {
        let (ledger, upstream) = (Arc::clone(&self.ledger), self.upstream.clone());
        let number = ledger.inbox.number();
        let renewal = Renewal::between(&upstream, old, new);
        let later = self.later.begin(renewal.clone());
        // Before it is loaded, what the file has seen is not known and not changed.
        let is_loaded = ledger.remembered(&restore::limits_name(&upstream)).is_some();
        ledger.renew(renewal, number, is_loaded.then(|| restore::known_limits(new)));
        Self { ledger, number, upstream, longest: longest + BOOKING_TIMEOUT, later }
    }
}

impl Ledger {
    /// What was booked before the link of this number is renewed, on disk too; no later than
    /// that the file has `seen` its limits.
    pub(super) fn renew(&self, renewal: Renewal, before: u64, seen: Option<Vec<u8>>) {
        let seen = seen.map(|seen| (restore::limits_name(&renewal.upstream), seen));
        if let Some((name, bytes)) = &seen {
            self.past.lock().notes.insert(name.clone(), bytes.clone());
        }
        self.inbox.renew(renewal, before, seen);
    }
}

/// Whom a charge is written to whose consumer a reload has removed.
pub(super) fn removed<T: std::str::FromStr<Err = BadName>>() -> T {
    "_removed".parse().expect("it is a name")
}
