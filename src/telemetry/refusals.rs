//! The last refusals of one upstream, with their reasons.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::UnixTime;
use crate::id::ConsumerName;

/// How many are remembered.
const MAX_REFUSALS: usize = 50;

/// One answer that was a no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// When.
    pub at: UnixTime,
    /// Whom.
    pub consumer: ConsumerName,
    /// For what.
    pub route: Arc<str>,
    /// In a word, as in the log.
    pub reason: &'static str,
    /// As in `Proxy-Status`: what stopped it.
    pub details: String,
    /// Seconds, as the caller was told.
    pub retry_after: Option<u64>,
}

/// The last ones, the newest at the end.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<VecDeque<Refused>>);

impl Refusals {
    /// One more.
    pub fn push(&self, refused: Refused) {
        let mut all = self.0.lock();
        if all.len() >= MAX_REFUSALS {
            all.pop_front();
        }
        all.push_back(refused);
    }

    /// All that are remembered, the newest first.
    #[must_use]
    pub fn newest_first(&self) -> Vec<Refused> {
        self.0.lock().iter().rev().cloned().collect()
    }
}
