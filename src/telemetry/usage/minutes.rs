//! The last day of every upstream, minute by minute, in memory.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::Note;
use crate::clock::UnixTime;
use crate::telemetry::tally::Cell;

/// Minutes that are kept per upstream: a day.
pub(super) const KEEP_MINUTES: usize = 1_440;
/// Upstreams that are kept; there are a handful.
const MAX_UPSTREAMS: usize = 1_024;

/// How a limit stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    /// The limit's name.
    pub limit: String,
    /// Charges that count now.
    pub used: u32,
    /// The most that may.
    pub allowed: u32,
}

/// One minute of one upstream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Minute {
    /// Minutes since 1970-01-01T00:00Z.
    pub at: u64,
    /// Over all consumers and routes.
    pub cell: Cell,
    /// Requests that left for the vendor.
    pub sent: u64,
    /// 429s of the vendor.
    pub refused_by_vendor: u64,
    /// How the longest limit stood at the end of it.
    pub allowance: Option<Allowance>,
}

/// The last day of every upstream.
#[derive(Debug, Default)]
pub(super) struct Minutes {
    upstreams: Mutex<HashMap<String, VecDeque<Minute>>>,
}

impl Minutes {
    pub(super) fn add(&self, now: UnixTime, note: &Note) {
        let at = now.as_secs() / 60;
        let mut upstreams = self.upstreams.lock();
        if upstreams.len() >= MAX_UPSTREAMS && !upstreams.contains_key(note.upstream.as_str()) {
            return;
        }
        let minutes = upstreams.entry(note.upstream.to_string()).or_default();
        // A wall that stepped back adds to the newest minute: the order stays.
        if minutes.back().is_none_or(|last| last.at < at) {
            minutes.push_back(Minute { at, ..Minute::default() });
        }
        let Some(minute) = minutes.back_mut() else { return };
        note.drained.iter().for_each(|drained| minute.cell.add(&drained.cell));
        minute.sent += note.sent;
        minute.refused_by_vendor += note.refused_by_vendor;
        minute.allowance.clone_from(&note.allowance);
        while minutes.len() > KEEP_MINUTES {
            minutes.pop_front();
        }
    }

    /// The minutes of an earlier process, before what this one has seen itself.
    pub(super) fn recall(&self, upstream: &str, mut earlier: Vec<Minute>) {
        earlier.sort_by_key(|minute| minute.at);
        let mut upstreams = self.upstreams.lock();
        let minutes = upstreams.entry(upstream.to_owned()).or_default();
        let first = minutes.front().map_or(u64::MAX, |minute| minute.at);
        for minute in earlier.into_iter().rev() {
            if minute.at < first {
                minutes.push_front(minute);
            } else if let Some(same) = minutes.iter_mut().find(|known| known.at == minute.at) {
                same.cell.add(&minute.cell);
                same.sent += minute.sent;
                same.refused_by_vendor += minute.refused_by_vendor;
            }
        }
        while minutes.len() > KEEP_MINUTES {
            minutes.pop_front();
        }
    }

    pub(super) fn of(&self, upstream: &str) -> Vec<Minute> {
        self.upstreams
            .lock()
            .get(upstream)
            .map(|minutes| minutes.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// All minutes that may not be in the file as they are now: from the newest one
    /// on that was `written` by upstream.
    pub(super) fn unwritten(&self, written: &HashMap<String, u64>) -> Vec<(String, Minute)> {
        let upstreams = self.upstreams.lock();
        let each = upstreams.iter().flat_map(|(name, minutes)| {
            let from = written.get(name).copied().unwrap_or(0);
            let new = minutes.iter().filter(move |minute| minute.at >= from);
            new.map(|minute| (name.clone(), minute.clone()))
        });
        each.collect()
    }
}
