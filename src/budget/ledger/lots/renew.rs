//! Lots of an earlier plan.

use std::sync::Arc;

use super::Lots;
use crate::budget::ledger::renewal::Renewal;

impl Lots {
    /// Another plan follows: what was booked under links before that of this number is
    /// written by `renewal` from now on.
    pub(in crate::budget) fn renew(&mut self, renewal: &Renewal, before: u64) {
        let open = self.kinds.iter_mut().map(|(kind, open)| (kind.link, &mut open.form));
        let lots = self.lots.values_mut().map(|lot| (lot.kind.link, &mut lot.form));
        for (link, form) in open.chain(lots) {
            if link < before && form.upstream == renewal.upstream {
                renewal.renew(&mut Arc::make_mut(form).record);
            }
        }
    }
}
