//! From the second level up to the first.

use std::sync::Arc;

use super::{Cache, Stored, TURNS, Ticket};
use crate::cache::key::Key;
use crate::cache::second::{SecondTally, Unconfirmed, Variant};

impl Cache {
    /// Brings up what only the second level has under `key`; whether anything came, so
    /// that it is of use to look again. Costs nothing where there surely is nothing.
    ///
    /// Dropped while it waits, it leaves everything as it was.
    pub async fn bring_up(&self, key: &Key) -> bool {
        let Some(second) = &self.second else { return false };
        if second.look(key, &self.variants(key)).is_none() {
            return false;
        }
        let _turn = self.turns[usize::from(key.hash()[0]) % TURNS].lock().await;
        // Whoever had the turn before may have brought it.
        let known = self.variants(key);
        let (ticket, look) = {
            let log = self.gate.read();
            (Ticket(log.count), second.look(key, &known))
        };
        let Some(look) = look else { return !known.is_empty() };
        let fill = |entry| self.fill(ticket, Arc::new(entry), None);
        let filled = look.await.into_iter().map(fill);
        filled.fold(false, |any, stored| any | matches!(stored, Stored::Kept | Stored::Older))
    }

    /// Resolves when nothing that was purged before comes back after a restart.
    ///
    /// # Errors
    /// The second level does not say so in time.
    pub async fn confirmed(&self) -> Result<(), Unconfirmed> {
        match &self.second {
            Some(second) => second.confirmed().await,
            None => Ok(()),
        }
    }

    /// Writes down what is still to be written, and lets go of the second level.
    pub async fn close(&self) {
        if let Some(second) = &self.second {
            second.close().await;
        }
    }

    /// How the second level is, if there is one.
    #[must_use]
    pub fn second_tally(&self) -> Option<SecondTally> {
        self.second.as_ref().map(|second| second.tally())
    }

    /// The answers under `key` in the first level.
    fn variants(&self, key: &Key) -> Vec<Variant> {
        let slot = self.slots.get(key);
        slot.map(|slot| slot.variants.iter().map(|entry| entry.vary.digest()).collect()).unwrap_or_default()
    }
}
