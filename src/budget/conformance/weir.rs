//! One process in a house, and its callers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::house::{ANSWER, CONNECT};
use super::line::Line;
use crate::budget::{Ask, Budget, Charge, Denied, Permit, Refusal, Replica, Store, shared};
use crate::clock::Moment;
use crate::config::{self, Upstream, load_str};
use crate::quota::{LimitSet, Plan};
use crate::redis::testing::RedisServer;

/// One process.
pub(super) struct Weir {
    pub(super) store: Store,
    pub(super) budget: Arc<Budget>,
    pub(super) line: Option<Line>,
}

impl Weir {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.budget.standing(), None | Some(shared::Standing::Open))
    }

    /// When it has something to do by itself.
    pub(super) fn due(&self) -> Option<Moment> {
        let state = self.budget.core.state.lock();
        let waiting = state.desk.waiting();
        let wake = state.desk.next_wake().filter(|_| waiting > 0);
        wake.into_iter().chain(state.replica.as_ref().map(|replica| replica.next_call(waiting))).min()
    }

    pub(super) fn is_at_rest(&self, now: Moment) -> bool {
        let state = self.budget.core.state.lock();
        // A file is only ever waited for by who books: see `leave`. Who begins to wait does not
        // make the next call come earlier.
        let is_away = self.budget.standing() == Some(shared::Standing::Lost);
        let is_due = |replica: &Replica| !is_away && woken(replica.next_call(0)) <= now;
        state.replica.as_ref().is_none_or(|replica| !replica.is_calling() && !is_due(replica))
    }

    /// Lets it hear the others' news.
    pub(super) fn call(&self) {
        if let Some(fleet) = &self.budget.core.fleet {
            fleet.work.notify_one();
        }
    }
}

/// When a timer for `at` fires: tokio's are as coarse as a millisecond.
pub(super) fn woken(at: Moment) -> Moment {
    const COARSE: u64 = 1_000_000;
    Moment::from_nanos(at.as_nanos().div_ceil(COARSE).saturating_mul(COARSE))
}

/// A caller that waits as long as this.
pub(super) async fn wait(
    budget: Arc<Budget>,
    set: LimitSet,
    seat: usize,
    patience: Duration,
) -> Result<Permit, Refusal> {
    let bid = budget.bid(set);
    let deadline = budget.clock().now() + patience;
    let entry = bid.enter(Ask { seat, deadline, urgency: 3 }).map_err(|denied| match denied {
        Denied::Refused(refusal) => refusal,
        Denied::Closed | Denied::Gone => unreachable!("a new bid of a consumer in the plan"),
    })?;
    tokio::select! {
        biased;
        Some(permit) = bid.granted() => Ok(permit),
        refusal = entry.refused() => Err(refusal),
    }
}

pub(super) async fn leave(mut permit: Permit, busy: Arc<AtomicUsize>) -> Charge {
    busy.fetch_add(1, Ordering::Relaxed);
    permit.booked().await.unwrap();
    busy.fetch_sub(1, Ordering::Relaxed);
    permit.sent()
}

/// Gives everybody a turn: tasks, files and sockets.
pub(super) async fn breathe() {
    std::thread::yield_now();
    tokio::task::yield_now().await;
}

/// One server for all houses of this process.
pub(super) fn redis() -> &'static RedisServer {
    static SERVER: OnceLock<RedisServer> = OnceLock::new();
    SERVER.get_or_init(RedisServer::start)
}

pub(super) fn upstream(plan: Plan) -> Upstream {
    let text = "[upstreams.vendor]\ndialect = \"generic\"\nurl = \"http://127.0.0.1:1\"\n\
                [consumers.everybody]\ntoken = \"token-of-the-house-0123456789\"\naccess.vendor = {}\n";
    let config: config::Config = load_str("weir.toml", text, std::iter::empty()).unwrap();
    let only = config.upstreams.into_iter().next().unwrap();
    Upstream { plan, connect_timeout: CONNECT, timeout: ANSWER, ..only }
}
