//! What may be asked of a desk without changing it.

use super::super::hierarchy::Books;
use super::{BidId, Desk, EntryId, Fate, Tally};
use crate::quota::Plan;

impl Desk {
    #[cfg(test)]
    pub(in crate::budget) fn has_news(&self) -> bool {
        !self.decided.is_empty()
    }

    /// What `bid` has been granted, if nobody has taken it yet.
    #[cfg(test)]
    pub(in crate::budget) fn granted(&self, bid: super::BidId) -> Option<super::Grant> {
        match self.bids.get(&bid)?.state {
            super::State::Granted(grant) => Some(grant),
            _ => None,
        }
    }

    /// The start tags of all nodes.
    #[cfg(test)]
    pub(in crate::budget) fn starts(&self) -> Vec<[u128; 2]> {
        self.queue.starts(self.plan.divisions.len() + self.plan.consumers.len())
    }

    #[cfg(test)]
    pub(in crate::budget) fn forget_herds(&mut self) {
        self.herds.clear();
    }

    pub(in crate::budget) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(in crate::budget) fn books(&self) -> &Books {
        &self.books
    }

    pub(in crate::budget) fn tally(&self, seat: usize) -> Tally {
        self.tallies[seat]
    }

    /// The bids that have come to something since the last time.
    pub(in crate::budget) fn take_decided(&mut self) -> Vec<BidId> {
        std::mem::take(&mut self.decided)
    }

    /// Whether this caller's consumer pays for the fetch.
    pub(in crate::budget) fn has_paid(&self, id: EntryId) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.fate == Fate::Paid)
    }
}
