//! The earliest moment at which a caller could be admitted, and what decides it
//! (DESIGN, law 7).
//!
//! It is a lower bound: everything in flight is answered now, what is answered
//! later costs nothing, and of all who wait only those count that stand in the
//! same consumer's queue, go first whenever this caller could go, and take the
//! same limit. Who else goes first depends on standings that change on the way.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Moment;

use super::hierarchy::{Books, NodeIndex, Obstacle, Place};
use super::queue::{Queue, Waiter};

/// What decides when `waiter` can leave, and the earliest moment for that, if
/// `spread` more go first.
pub(super) fn forecast(
    books: &Books,
    queue: &Queue,
    waiter: Waiter,
    spread: u64,
    now: Moment,
) -> Option<(Obstacle, Moment)> {
    let [division, consumer] = books.path(waiter.seat);
    let slots = waiter.set.iter().flat_map(|limit| {
        let ahead = queue.ahead_of(waiter, limit, books) + spread;
        let account = (Place::Account, account_slot(books, waiter, limit, ahead, now));
        let mine = move |node: NodeIndex| (Place::Node(node), node_slot(books, node, limit, ahead, now));
        [account, mine(division), mine(consumer)].map(|(place, at)| (Obstacle { place, limit }, at))
    });
    // Of equals the first: the account, then the division, and limits in the operator's order.
    slots.reduce(|latest, slot| if slot.1 > latest.1 { slot } else { latest })
}

fn account_slot(books: &Books, waiter: Waiter, limit: usize, ahead: u64, now: Moment) -> Moment {
    let (window, clock) = (books.window(limit), books.vendor_clock());
    let [division, consumer] = books.path(waiter.seat);
    let holds = books.holds();
    let slot = if !holds.any() || holds.is_covered(division, Some(consumer), limit) {
        window.slot(ahead, now, clock)
    } else if ahead + u64::from(holds.total(limit)) < u64::from(window.free()) {
        now
    } else if let Some(life) = window.life() {
        beside_holds(books, waiter, limit, ahead, (now, life))
    } else {
        released(books, limit, ahead, now)
    };
    slot.max(books.not_before(limit, ahead))
}

/// For a calendar window: when enough of what is held has been let go, or the next edge.
fn released(books: &Books, limit: usize, ahead: u64, now: Moment) -> Moment {
    let edge =
        books.window(limit).slot(ahead + u64::from(books.holds().total(limit)), now, books.vendor_clock());
    if ahead >= u64::from(books.window(limit).free()) {
        return books.window(limit).slot(ahead, now, books.vendor_clock());
    }
    // Held slots are let go step by step; the first step is a lower bound of the one needed.
    edge.min(books.holds().next_stale())
}

/// For a sliding window: a charge that lapses and was its owner's own goes back
/// under its reserve, and opens nothing to others.
fn beside_holds(
    books: &Books,
    waiter: Waiter,
    limit: usize,
    ahead: u64,
    (now, life): (Moment, Duration),
) -> Moment {
    let (window, holds) = (books.window(limit), books.holds());
    let [division, consumer] = books.path(waiter.seat);
    let mut free = u64::from(window.free());
    let mut held = u64::from(holds.total(limit));
    let mut lapsed: HashMap<NodeIndex, u32> = HashMap::new();
    // Whose charges are in flight is not known; as a lower bound they are nobody's reserve.
    let answered_now = |free: u64, held: u64| {
        let free = free + u64::from(window.pending());
        free > held + ahead || (free > ahead && holds.may_cover(division))
    };
    for (at, seat) in window.lapses(now) {
        if at > now + life && answered_now(free, held) {
            return now + life;
        }
        let [its_division, its_consumer] = books.path(seat);
        let used = |lapsed: &HashMap<NodeIndex, u32>, node| {
            books.used_by(node, limit) - lapsed.get(&node).copied().unwrap_or(0)
        };
        held -= u64::from(holds.estate_if(its_division, limit, |node| used(&lapsed, node)));
        *lapsed.entry(its_division).or_default() += 1;
        *lapsed.entry(its_consumer).or_default() += 1;
        held += u64::from(holds.estate_if(its_division, limit, |node| used(&lapsed, node)));
        free += 1;
        let covered = || holds.covered_if((division, consumer), limit, |node| used(&lapsed, node));
        if free > held + ahead || (free > ahead && covered()) {
            if ahead == 0 || at <= now + life {
                return at;
            }
            // It may be counted long after now; whoever goes first may be over before it.
            return at.min(beside_holds(books, waiter, limit, 0, (now, life)) + life);
        }
    }
    if answered_now(free, held) {
        return now + life;
    }
    match ahead {
        // Nothing but reserves: one of them would have to be used up and lapse.
        0 => window.slot(u64::from(holds.total(limit)), now, books.vendor_clock()),
        // So many go first that slots come round again: not before the first of them goes.
        _ => beside_holds(books, waiter, limit, 0, (now, life)),
    }
}

fn node_slot(books: &Books, node: NodeIndex, limit: usize, ahead: u64, now: Moment) -> Moment {
    let Some(cap) = books.cap_of(node, limit) else { return Moment::ZERO };
    let used = books.used_by(node, limit);
    if ahead < u64::from(cap.saturating_sub(used)) {
        return Moment::ZERO;
    }
    let mine = |seat| books.path(seat).contains(&node);
    books.window(limit).slot_below((cap, used), mine, ahead, (now, books.vendor_clock()))
}
