//! In front of another weir: its waits, prices and refusals are passed on.
//!
//! What a caller asks of a weir goes on to the one behind: how long it would wait
//! (always said, so that the wait there ends before our time-out), its urgency, its
//! directives to caches. These shape whether there is an answer, never which, so they
//! are part of a flight and not of a cache key. What comes back is said as it was: a
//! 429 there is that weir's honest no, not a vendor's, and neither closes a window of
//! ours nor is tried again; its price is ours; its `Cache-Status` stands before ours.

use std::time::Duration;

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Lane;
use super::call::Caller;
use crate::config::ClientCacheControl;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PRIORITY: HeaderName = HeaderName::from_static("priority");
const PRICE: HeaderName = HeaderName::from_static("weir-price");

impl Lane {
    /// Whether the other end is a weir.
    pub(super) fn relays(&self) -> bool {
        self.config.dialect.is_weir()
    }

    /// What goes on to a weir behind this one, beside what any vendor is sent.
    pub(super) fn pass_on(&self, caller: &Caller<'_>, from: &HeaderMap, sent: &mut HeaderMap) {
        if !self.relays() {
            return;
        }
        let wait = whole_seconds(caller.deadline.since(self.clock.now()));
        if let Ok(wait) = HeaderValue::try_from(format!("wait={wait}")) {
            sent.insert(PREFER, wait);
        }
        let honoured = caller.access.client_cache_control == ClientCacheControl::Honour;
        let named = [Some(PRIORITY), honoured.then_some(CACHE_CONTROL)];
        for name in named.into_iter().flatten() {
            sent.remove(&name);
            for value in from.get_all(&name) {
                sent.append(name.clone(), value.clone());
            }
        }
    }

    /// What the weir behind this one charged for an answer; none if it is no weir.
    pub(super) fn price_there(&self, headers: &HeaderMap) -> Option<u32> {
        let said = || headers.get(PRICE)?.to_str().ok()?.parse().ok();
        self.relays().then(|| said().unwrap_or(0))
    }
}

/// To the nearest: a moment has gone by since the caller said how long.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_millis() >= 500)
}
