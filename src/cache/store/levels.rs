//! From the second levels up to the first, and what replicas fetch for each other.

use std::sync::Arc;
use std::time::Duration;

use super::{Cache, Stored, TURNS, Ticket};
use crate::cache::entry::EntryArc;
use crate::cache::key::{FlightKey, Key};
use crate::cache::second::{Level, SecondLevel, SecondTally, Unconfirmed, Variant};
use crate::cache::shared::{Shared, SharedTally, Turn, Wait};
use crate::clock::{Clock, Moment};

/// For so long nobody looks again for what was not there.
const NOT_AGAIN: Duration = Duration::from_millis(100);

impl Cache {
    /// Brings up what only a second level has under `key`; whether anything came, so
    /// that it is of use to look again. Costs nothing where there surely is nothing.
    ///
    /// Dropped while it waits, it leaves everything as it was.
    pub async fn bring_up(&self, key: &Key, clock: Clock) -> bool {
        for level in &self.levels {
            if self.bring_up_from(level, key, clock).await {
                return true;
            }
        }
        false
    }

    async fn bring_up_from(&self, level: &Arc<dyn SecondLevel>, key: &Key, clock: Clock) -> bool {
        // Whatever is known already: mostly there is nothing at all.
        if level.look(key, &[]).is_none() {
            return false;
        }
        let before = self.variants(key);
        if level.look(key, &before).is_none() {
            return false;
        }
        let mut turn = self.turns[usize::from(key.hash()[0]) % TURNS].lock().await;
        // Whoever had the turn before may have brought it, or looked in vain.
        let known = self.variants(key);
        let is_vain = |last: &(_, Moment)| last.0 == key.hash() && clock.now() < last.1 + NOT_AGAIN;
        if level.level() == Level::Redis {
            if known != before {
                return true;
            }
            if turn.as_ref().is_some_and(is_vain) {
                return false;
            }
        }
        let (ticket, look) = {
            let log = self.gate.read();
            (Ticket(log.count), level.look(key, &known))
        };
        let Some(look) = look else { return !known.is_empty() };
        let fill = |entry| self.fill(ticket, EntryArc::new(entry), &[]);
        let filled = look.await.into_iter().map(fill);
        let any = filled.fold(false, |any, stored| any | matches!(stored, Stored::Kept | Stored::Older));
        if level.level() == Level::Redis && !any {
            *turn = Some((key.hash(), clock.now()));
        }
        any
    }

    /// Notes up to where in the replicas' log what was purged is gone from here.
    pub(in crate::cache) fn mark(&self, mark: &[u8]) {
        self.levels.iter().for_each(|level| level.mark(mark.to_vec()));
    }

    /// What was noted last before this process began, if what was kept then still is here.
    pub(in crate::cache) async fn marked(&self) -> Option<Vec<u8>> {
        let all = futures_util::future::join_all(self.levels.iter().map(|level| level.marked())).await;
        all.into_iter().flatten().next()
    }

    /// Resolves when nothing that was purged before comes back after a restart, and no
    /// other replica serves it.
    ///
    /// # Errors
    /// A second level does not say so in time.
    pub async fn confirmed(&self) -> Result<(), Unconfirmed> {
        let all = self.levels.iter().map(|level| level.confirmed());
        futures_util::future::join_all(all).await.into_iter().collect()
    }

    /// Writes down what is still to be written, and lets go of the second levels.
    pub async fn close(&self) {
        futures_util::future::join_all(self.levels.iter().map(|level| level.close())).await;
    }

    /// How what is kept on disk is, if anything is.
    #[must_use]
    pub fn second_tally(&self) -> Option<SecondTally> {
        self.levels.iter().find(|level| level.level() == Level::Disk).map(|level| level.tally())
    }

    /// How what replicas share is, if they do.
    #[must_use]
    pub fn shared_tally(&self) -> Option<SharedTally> {
        self.shared.as_ref().map(|shared| shared.shared_tally())
    }

    /// What replicas share, if they do.
    #[must_use]
    pub fn shared(&self) -> Option<&Arc<Shared>> {
        self.shared.as_ref()
    }

    /// What is told from now on about a fetch that another replica makes.
    #[must_use]
    pub fn wait(&self, flight: &FlightKey) -> Option<Wait> {
        let shared = self.shared.as_ref()?;
        Some(shared.wait(shared.flight_name(flight)))
    }

    /// Whether another replica makes this fetch; what it has brought meanwhile is in the
    /// first level then.
    pub async fn turn(&self, flight: &FlightKey, is_wanted: bool) -> Turn {
        let Some(shared) = &self.shared else { return Turn::Unknown };
        let ticket = self.ticket();
        let (turn, found) = shared.turn(shared.flight_name(flight), flight.key(), is_wanted).await;
        for entry in found {
            self.fill(ticket, EntryArc::new(entry), &[]);
        }
        turn
    }

    /// The answers under `key` in the first level.
    fn variants(&self, key: &Key) -> Vec<Variant> {
        self.slots.variants(key.quick(), key.text()).iter().map(|entry| entry.vary.digest()).collect()
    }
}
