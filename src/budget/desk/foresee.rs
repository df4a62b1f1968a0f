//! What is to come, played out on a copy (DESIGN, law 7).
//!
//! [`forecast`](super::super::forecast) is a lower bound that counts nobody else's
//! waiters, since who goes first depends on standings that change on the way. Where
//! the whole is small enough, it is played out instead: everything in flight is
//! answered now, nobody leaves the queue, and what leaves it is answered at once.
//!
//! Deadlines are known, and not played out: those ahead would be served at slots that
//! come later than here, and find them gone. What is told then is no lower bound either.

use super::super::queue::{EntryId, Waiter};
use super::Desk;
use crate::clock::Moment;

/// The most that is played out, so that a refusal costs some 100 us at most: callers
/// that wait, and nodes and charges that have to be copied.
const MOST_WAITING: usize = 256;
const MOST_NODES: usize = 512;
const MOST_CHARGES: u32 = 4_096;
/// Moments looked at.
const MOST_STEPS: usize = 4_096;

impl Desk {
    /// When `waiter`, or the last of `spread` more of its kind behind it, would be
    /// admitted. None where nobody else waits and nothing is reserved, or too many do,
    /// or while a promise (`counted_within`) is still open of a request that was given up.
    pub(super) fn foresee(&self, waiter: Waiter, spread: u64, now: Moment) -> Option<Moment> {
        let spread = usize::try_from(spread).ok()?;
        let is_small = self.queue.len() + spread <= MOST_WAITING
            && self.tallies.len() + self.plan.divisions.len() <= MOST_NODES
            && (0..self.books.limits()).map(|limit| self.books.window(limit).used()).sum::<u32>()
                <= MOST_CHARGES;
        // Such a charge cannot be told from one whose answer is still to come.
        let is_clear = self.lost_until <= now;
        if !is_small || !is_clear || (self.queue.len() <= 1 && !self.books.holds().any()) {
            return None;
        }
        let (mut books, mut queue) = (self.books.clone(), self.queue.clone());
        books.answer_all(now);
        let mut last = waiter;
        for behind in 0..spread {
            last.id = EntryId::MAX - (spread - behind) as u64;
            queue.push(last, &books);
        }
        let mut now = now;
        for _ in 0..MOST_STEPS {
            books.advance(now);
            for seat in books.take_touched() {
                queue.refresh(seat, &books);
            }
            while let Some(next) = queue.next(&books, now) {
                queue.served(next, &books);
                let with_it = self.companions(next);
                with_it.iter().for_each(|&waiter| queue.remove(waiter, &books));
                books.book(next.seat, next.set, now);
                books.settle(next.seat, next.set, now);
                queue.refresh(next.seat, &books);
                if with_it.iter().any(|waiter| waiter.id == last.id) {
                    return Some(now);
                }
            }
            now = queue.next_chance(&books, now).filter(|&next| next > now)?;
        }
        None
    }

    /// Those who are withdrawn when `waiter` goes: itself, and who waits for the same fetch.
    fn companions(&self, waiter: Waiter) -> Vec<Waiter> {
        let bid = self.entries.get(&waiter.id).and_then(|entry| self.bids.get(&entry.bid));
        match bid {
            Some(bid) if bid.waiting.len() > 1 => {
                bid.waiting.iter().filter_map(|&id| self.waiter(id)).collect()
            }
            _ => vec![waiter],
        }
    }
}
