//! Who goes next.

use std::collections::BTreeMap;

use crate::quota::LimitSet;

use super::hierarchy::Books;
use super::log::Seat;

/// One caller that waits, in the order in which it came.
pub(super) type EntryId = u64;

/// Callers that wait, in the order of their coming.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<EntryId, (Seat, LimitSet)>,
}

/// What the queue has to know of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) id: EntryId,
    pub(super) seat: Seat,
    pub(super) set: LimitSet,
    /// RFC 9218: 0 first, 7 last.
    pub(super) urgency: u8,
}

impl Queue {
    pub(super) fn push(&mut self, waiter: Waiter, _books: &Books) {
        self.waiting.insert(waiter.id, (waiter.seat, waiter.set));
    }

    pub(super) fn remove(&mut self, waiter: Waiter, _books: &Books) {
        self.waiting.remove(&waiter.id);
    }

    /// The first that may leave now.
    pub(super) fn next(&self, books: &Books) -> Option<EntryId> {
        self.waiting.iter().find(|(_, (seat, set))| books.obstacle(*seat, *set).is_none()).map(|(id, _)| *id)
    }

    /// Limits that somebody waits for.
    pub(super) fn wanted(&self) -> LimitSet {
        self.waiting.values().flat_map(|(_, set)| set.iter()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}
