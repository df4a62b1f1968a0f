//! What each replica has for itself while Redis is away (`on_loss = "share:…"`).
//!
//! The account is in parts that never touch: what replicas share, whose ledger is in
//! Redis, and one part for each of `replicas`, whose ledger is a file of its own. So
//! whatever becomes of Redis, all of them together are no more than the account.
//!
//! Which part is whose, the script says. It goes by the name in a replica's folder, so a
//! process that is restarted there has the same part, with all that was charged to it. It
//! may be used for a day after Redis last said so; only when another day and all windows
//! are over does it go to somebody else. Every replica remembers who holds what, and tells
//! a Redis that has forgotten before it deals out any. More replicas than parts have none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::{Budget, Ledger};
use super::{Fleet, wire};
use crate::clock::{Moment, UnixTime};
use crate::quota::LimitSet;

/// How long a part may be used after Redis last said whose it is.
const LEASE: Duration = Duration::from_secs(86_400);
/// How often that is written down.
const NOTE_EVERY: Duration = Duration::from_secs(3_600);

/// This replica's part, as far as it is known.
#[derive(Clone, Debug)]
pub(in crate::budget) struct Aside {
    name: String,
    slots: u32,
    slot: Option<u32>,
    holders: BTreeMap<u32, String>,
    /// From then on it may be another's.
    until: Moment,
    /// When it was last written down, if what is there is still true.
    noted: Option<Moment>,
}

/// The budget of what is set aside, and where it is remembered.
pub(super) struct Fallback {
    pub(super) budget: Arc<Budget>,
    pub(super) ledger: Arc<Ledger>,
    /// Limits of which there is nothing.
    pub(super) lacking: LimitSet,
}

impl Aside {
    /// `name` is that of the folder.
    pub(super) fn new(name: String, slots: u32) -> Self {
        let holders = BTreeMap::new();
        Self { name, slots, slot: None, holders, until: Moment::ZERO, noted: None }
    }

    /// Its number, if it may be used.
    pub(super) fn usable(&self, now: Moment) -> Option<u32> {
        self.slot.filter(|_| now < self.until)
    }

    pub(super) fn claim(&self) -> wire::Claim {
        let holders = self.holders.iter().map(|(slot, name)| (*slot, name.clone())).collect();
        wire::Claim { name: self.name.clone(), slots: self.slots, holders }
    }

    /// What the script says; whether that is news for this replica.
    pub(super) fn hear(&mut self, slot: Option<u32>, holders: Vec<(u32, String)>, now: Moment) -> bool {
        let holders = holders.into_iter().collect();
        let is_news = slot != self.slot;
        if is_news || self.holders != holders {
            self.noted = None;
        }
        (self.slot, self.holders) = (slot, holders);
        if slot.is_some() {
            self.until = now + LEASE;
        }
        is_news
    }

    /// What to write down, if it is time to.
    fn note(&mut self, now: Moment, wall: UnixTime) -> Option<Vec<u8>> {
        if self.noted.is_some_and(|noted| now < noted + NOTE_EVERY) {
            return None;
        }
        self.noted = Some(now);
        let note = (wall.as_secs(), &self.name, self.slot, &self.holders);
        serde_json::to_vec(&note).ok()
    }

    /// What was written down. A note of another name is of a folder that was copied.
    fn recall(&mut self, note: &[u8], now: Moment, wall: UnixTime) {
        let Ok((at, name, slot, holders)) =
            serde_json::from_slice::<(u64, String, Option<u32>, BTreeMap<u32, String>)>(note)
        else {
            return;
        };
        if name == self.name {
            let since = wall.since(UnixTime::from_secs(at));
            (self.slot, self.holders) = (slot.filter(|slot| *slot <= self.slots), holders);
            self.until = now + LEASE.saturating_sub(since);
        }
    }
}

impl Fleet {
    fn note_name(&self) -> String {
        format!("aside {}", self.upstream)
    }
}

impl Budget {
    /// What is set aside for this replica, if anything is.
    pub(in crate::budget) fn aside(&self) -> Option<&Arc<Budget>> {
        self.core.fleet.as_ref()?.aside.as_ref().map(|fallback| &fallback.budget)
    }

    /// The same, while it is all there is for requests that count against `limits`.
    pub(in crate::budget) fn fallback(&self, limits: LimitSet) -> Option<&Arc<Budget>> {
        let fallback = self.core.fleet.as_ref()?.aside.as_ref()?;
        if limits.iter().any(|limit| fallback.lacking.contains(limit)) {
            return None;
        }
        let state = self.core.state.lock();
        let is_usable = state.replica.as_ref().is_some_and(|replica| replica.part(self.now()).is_some());
        (state.desk.is_lost() && is_usable).then_some(&fallback.budget)
    }

    /// Whether a caller who was told that the ledger is lost may ask again: it is there
    /// again, or something was set aside.
    #[must_use]
    pub fn goes_on(&self, limits: LimitSet) -> bool {
        self.fallback(limits).is_some() || !self.core.state.lock().desk.is_lost()
    }

    /// Takes up what is known of the part that is set aside.
    pub(super) fn recall_aside(&self) {
        let Some(fleet) = &self.core.fleet else { return };
        let Some(fallback) = &fleet.aside else { return };
        fallback.budget.recall();
        let note = fallback.ledger.remembered(&fleet.note_name());
        let (now, wall) = (self.now(), self.core.clock.wall());
        let mut state = self.core.state.lock();
        let aside = state.replica.as_mut().and_then(|replica| replica.aside.as_mut());
        if let (Some(aside), Some(note)) = (aside, note) {
            aside.recall(&note, now, wall);
        }
    }

    /// Writes down which part it is, if that is news or the last note is old.
    pub(super) fn note_aside(&self, fleet: &Fleet) {
        let Some(fallback) = &fleet.aside else { return };
        let (now, wall) = (self.now(), self.core.clock.wall());
        let note = {
            let mut state = self.core.state.lock();
            let aside = state.replica.as_mut().and_then(|replica| replica.aside.as_mut());
            aside.and_then(|aside| aside.note(now, wall))
        };
        if let Some(note) = note {
            fallback.ledger.remember(&fleet.note_name(), &note);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Moment {
        Moment::from_nanos(secs * 1_000_000_000)
    }

    #[test]
    fn a_part_is_used_for_a_day_after_it_was_last_confirmed_over_restarts_too() {
        let mut aside = Aside::new("a".into(), 3);
        assert_eq!(aside.usable(at(0)), None);
        assert!(aside.hear(Some(2), vec![(2, "a".into())], at(100)), "it is news");
        let note = aside.note(at(100), UnixTime::from_secs(1_000_000)).expect("news is written down");
        assert_eq!(aside.note(at(3_000), UnixTime::from_secs(1_002_900)), None);
        assert_eq!((aside.usable(at(86_499)), aside.usable(at(86_501))), (Some(2), None));
        let again = |name: &str, slots| {
            let mut again = Aside::new(name.into(), slots);
            again.recall(&note, at(5), UnixTime::from_secs(1_000_000 + 80_000));
            again
        };
        let same = again("a", 3);
        assert_eq!((same.usable(at(6_000)), same.usable(at(6_406))), (Some(2), None));
        assert_eq!(again("b", 3).usable(at(6)), None, "of another folder");
        assert_eq!(again("a", 1).usable(at(6)), None, "there are fewer parts now");
    }
}
