//! Every few seconds, what was counted goes to usage.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::admin::Watched;
use crate::clock::Clock;
use crate::id::UpstreamName;
use crate::proxy::Gateway;
use crate::telemetry::usage::{Allowance, Note, Usage};

/// What a crash may lose.
const EVERY: Duration = Duration::from_secs(5);

/// Carries counts from where they are made to where they are kept.
pub(super) struct Chronicle {
    gateway: Arc<Gateway>,
    usage: Arc<Usage>,
    clock: Clock,
    /// Requests sent and 429s of each vendor at the last time.
    seen: Mutex<HashMap<UpstreamName, (u64, u64)>>,
}

impl Chronicle {
    pub(super) fn new(gateway: &Arc<Gateway>, usage: &Arc<Usage>, clock: Clock) -> Arc<Self> {
        let (gateway, usage) = (Arc::clone(gateway), Arc::clone(usage));
        Arc::new(Self { gateway, usage, clock, seen: Mutex::default() })
    }

    /// For ever.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            self.clock.sleep_until(self.clock.now() + EVERY).await;
            self.tick();
        }
    }

    /// Notes what has come since the last time.
    pub(super) fn tick(&self) {
        let mut seen = self.seen.lock();
        let notes = self.gateway.every_lane().into_iter().map(super::watch).map(|watched| {
            let total = (watched.vendor.sent(), watched.vendor.refused());
            let before = seen.insert(watched.config.name.clone(), total).unwrap_or_default();
            Note {
                upstream: watched.config.name.clone(),
                drained: watched.tally.drain(),
                sent: total.0.saturating_sub(before.0),
                refused_by_vendor: total.1.saturating_sub(before.1),
                allowance: allowance(&watched),
            }
        });
        let notes = notes.collect();
        self.usage.note(self.clock.wall(), notes);
    }
}

/// How the limit of the longest window stands.
fn allowance(watched: &Watched) -> Option<Allowance> {
    let longest = watched.config.plan.limits.iter().max_by_key(|limit| limit.window.length())?;
    let snapshot = watched.budget.snapshot();
    let state = snapshot.account.iter().find(|state| state.limit == longest.name)?;
    Some(Allowance { limit: state.limit.to_string(), used: state.used, allowed: state.allowed })
}
