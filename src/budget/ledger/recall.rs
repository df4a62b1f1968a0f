//! What a budget remembers besides its charges, and how it takes up all of it
//! after a restart (DESIGN, law 8).

use std::sync::Arc;
use std::time::Duration;

use super::renewal::Renewal;
use super::restore::{self, restore};
use super::{Link, record};
use crate::budget::Budget;
use crate::budget::vendor_clock::Dated;
use crate::clock::{Clock, Moment};
use crate::id::LimitName;
use crate::quota::{Pace, Plan};

impl Budget {
    /// A budget whose charges outlive the process. It admits nobody until it is
    /// told the past by [`Budget::recall`].
    #[must_use]
    pub fn durable(plan: Plan, clock: Clock, link: Link) -> Arc<Self> {
        let budget = Self::build(plan, clock, Some(link), None);
        budget.core.state.lock().desk.shut();
        budget
    }

    /// Takes up what was charged before this process, and begins to admit. To be
    /// called once the ledger is [loaded](super::Ledger::loaded), within a runtime.
    pub fn recall(&self) {
        self.join();
        let Some(link) = &self.link else { return };
        let ledger = &link.ledger;
        let restored = {
            let mut past = ledger.past.lock();
            let records = past.charges.remove(&link.upstream).unwrap_or_default();
            let how = (&*past, ledger.options.on_empty);
            restore(&self.plan, &link.upstream, &records, how, &ledger.present())
        };
        for remark in &restored.remarks {
            tracing::warn!(upstream = %link.upstream, "{remark}");
        }
        tracing::info!(
            upstream = %link.upstream,
            charges = restored.charges.len(),
            spent = restored.spent.len(),
            "ledger loaded: {}",
            restored.policy
        );
        if self.plan.counted_within.is_some_and(|promised| link.is_broken(promised)) {
            tracing::warn!(
                upstream = %link.upstream,
                "the vendor has broken counted_within before the restart, so it does not hold; unset it, or set a longer one"
            );
            self.change(|desk, _| desk.withdraw_promise());
        }
        let renewal = Renewal::new(&link.upstream, &self.plan, restored.news);
        let spent: Vec<_> = restored.spent.iter().map(|(limit, _)| *limit).collect();
        self.change(|desk, now| desk.open_books(restored, now));
        spent.into_iter().for_each(|limit| self.remember_others(limit));
        // Last, so that no crash leaves a limit known of which it is not known that it is spent.
        ledger.renew(renewal, link.number, Some(restore::known_limits(&self.plan)));
        for (index, limit) in self.plan.limits.iter().enumerate() {
            if self.plan.pace == Pace::Auto && link.is_spaced(&limit.name) {
                tracing::warn!(upstream = %link.upstream, limit = %limit.name, "evenly spaced, as learnt before the restart");
                self.space_out(index);
            }
        }
    }
}

impl Link {
    /// `limit` is evenly spaced from now on, after a restart too.
    pub(in crate::budget) fn remember_spacing(&self, limit: &LimitName) {
        self.ledger.remember(&restore::spacing_name(&self.upstream, limit), &[1]);
    }

    /// What others have used of `limit` counts after a restart, too.
    pub(in crate::budget) fn remember_others(&self, limit: &LimitName, used: &[(Moment, u32)]) {
        let bytes = restore::others_bytes(used, &self.ledger.present());
        self.ledger.remember(&restore::others_name(&self.upstream, limit), &bytes);
    }

    /// The vendor has closed the window of `limit`.
    pub(in crate::budget) fn remember_closed(&self, limit: &LimitName, until: Moment) {
        let bytes = restore::others_bytes(&[(until, 0)], &self.ledger.present());
        self.ledger.remember(&restore::closed_name(&self.upstream, limit), &bytes);
    }

    /// The vendor has not counted within `promised` after the last byte.
    pub(in crate::budget) fn remember_broken_promise(&self, promised: Duration) {
        self.ledger.remember(&restore::promise_name(&self.upstream), &record::nanos(promised).to_be_bytes());
    }

    /// Whether `promised` was broken before; a longer one was not.
    fn is_broken(&self, promised: Duration) -> bool {
        let bytes = self.ledger.remembered(&restore::promise_name(&self.upstream));
        let broken = bytes.and_then(|bytes| Some(u64::from_be_bytes(bytes.try_into().ok()?)));
        broken.is_some_and(|broken| record::nanos(promised) <= broken)
    }

    fn is_spaced(&self, limit: &LimitName) -> bool {
        self.ledger.remembered(&restore::spacing_name(&self.upstream, limit)).is_some()
    }

    /// The vendor's clock is now known as the budget knows it.
    pub(in crate::budget) fn remember_clock(&self, dated: Dated) {
        let bytes = restore::clock_bytes(dated, &self.ledger.present());
        self.ledger.inbox.note(restore::clock_name(&self.upstream), bytes);
    }
}
