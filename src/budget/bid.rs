//! A fetch's bid, and its callers' places in the queue.

use std::sync::Arc;

use tokio::sync::Notify;

use super::desk::{Ask, BidId, Outcome};
use super::{Budget, Denied, Permit, Refusal};
use crate::clock::Moment;

/// One fetch that wants to leave. Belongs to the fetch: dropping it withdraws
/// every caller and refunds a permit that was not taken.
#[derive(Debug)]
pub struct Bid {
    pub(super) door: Door,
    pub(super) signal: Arc<Notify>,
}

/// Where callers enter a bid; cheap to clone, and outlives the bid harmlessly.
#[derive(Clone, Debug)]
pub struct Door {
    pub(super) budget: Arc<Budget>,
    pub(super) id: BidId,
}

/// A caller's place in its consumer's queue; dropping it withdraws the caller.
#[must_use = "an entry that is dropped is withdrawn"]
#[derive(Debug)]
pub struct Entry {
    budget: Arc<Budget>,
    id: u64,
    deadline: Moment,
}

impl Bid {
    /// A caller's place; see [`Door::enter`].
    ///
    /// # Errors
    /// As for [`Door::enter`].
    pub fn enter(&self, ask: Ask) -> Result<Entry, Denied> {
        self.door.enter(ask)
    }

    /// What those who join this fetch enter by.
    #[must_use]
    pub fn door(&self) -> Door {
        self.door.clone()
    }

    /// The permit, once the first entry is admitted; `None` once everyone has
    /// gone (or if the permit was taken before). Waits if nobody has entered
    /// yet. Safe to drop and call again: the permit is not lost. For one task, the
    /// one that fetches.
    pub async fn granted(&self) -> Option<Permit> {
        loop {
            let (outcome, face) = {
                let mut state = self.door.budget.core.state.lock();
                (state.desk.take(self.door.id), state.face.upgrade())
            };
            match outcome {
                Outcome::Granted(grant) => {
                    let face = face.unwrap_or_else(|| Arc::clone(&self.door.budget));
                    return Some(Permit::of_bid(face, grant));
                }
                Outcome::Over => return None,
                Outcome::Waiting => {}
            }
            // Decided between the look and the wait: `notify_one` has left a token.
            self.signal.notified().await;
        }
    }
}

impl Drop for Bid {
    fn drop(&mut self) {
        let budget = &self.door.budget;
        budget.change(|desk, now| desk.close(self.door.id, now));
        budget.core.state.lock().signals.remove(&self.door.id);
    }
}

impl Door {
    /// A caller's place in the queue of its consumer, a seat of the plan under which
    /// the bid was opened. In a bid that was granted already the place is free and
    /// never refused.
    ///
    /// # Errors
    /// [`Denied::Refused`] if the caller cannot leave before its deadline, or too
    /// many wait; [`Denied::Closed`] if the fetch is over: open another one;
    /// [`Denied::Gone`] if its consumer is no longer in the plan.
    pub fn enter(&self, ask: Ask) -> Result<Entry, Denied> {
        self.enter_as(&self.budget, ask)
    }

    /// The same for a seat of `speaker`'s plan, which may be a later or an earlier
    /// one on the same books.
    ///
    /// # Errors
    /// As for [`Door::enter`].
    pub fn enter_as(&self, speaker: &Budget, ask: Ask) -> Result<Entry, Denied> {
        let id = self.budget.change(|desk, now| {
            let seat = desk.eras().seat(speaker.era, super::seat_of(ask.seat)).ok_or(Denied::Gone)?;
            desk.enter(self.id, Ask { seat: seat as usize, ..ask }, now)
        })?;
        Ok(Entry { budget: Arc::clone(&self.budget), id, deadline: ask.deadline })
    }
}

impl Entry {
    /// Resolves, once, when this caller is refused because its own deadline has
    /// come, or can no longer be kept; never, if it or another caller of the fetch
    /// has been admitted.
    pub async fn refused(&self) -> Refusal {
        let mut deadline = std::pin::pin!(self.budget.core.clock.sleep_until(self.deadline));
        let mut is_over = false;
        loop {
            // Made before the look, so that no news falls in between.
            let news = self.budget.core.turned_away.notified();
            if let Some(refusal) = self.budget.core.state.lock().desk.turned_away(self.id) {
                return refusal;
            }
            tokio::select! {
                () = &mut deadline, if !is_over => {
                    if let Some(refusal) = self.budget.change(|desk, now| desk.time_out(self.id, now)) {
                        return refusal;
                    }
                    // Admitted; or the shared ledger has been asked, and may still say no.
                    is_over = true;
                }
                () = news => {}
            }
        }
    }

    /// Whether it is this caller's consumer that pays, for this caller.
    #[must_use]
    pub fn has_paid(&self) -> bool {
        self.budget.core.state.lock().desk.has_paid(self.id)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.budget.change(|desk, now| desk.leave(self.id, now));
    }
}
