//! `GET /api/v1/status`: every budget, key and cache at this moment.

mod keys;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Admin, Watched};
use crate::budget::{LimitState, Node, NodeState, Snapshot, VendorView};
use crate::cache::{SecondTally, SharedTally};
use crate::clock::UnixTime;
use crate::quota;
use crate::telemetry::{Counts, Outcome, Refused};

use keys::{KeyStatus, keys};

/// Everything at one moment.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Status {
    /// Of weir.
    version: &'static str,
    /// When this was, RFC 3339.
    at: String,
    upstreams: Vec<UpstreamStatus>,
    cache: CacheStatus,
    reloads: ReloadStatus,
    /// Whether requests can be booked; if not, only cached answers flow.
    store_is_up: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct UpstreamStatus {
    name: String,
    dialect: &'static str,
    /// `enforce` or `observe`.
    mode: &'static str,
    /// Callers in the queue.
    waiting: usize,
    /// Of the account.
    limits: Vec<LimitStatus>,
    /// Seconds by which the time to a response head differs; even spacing allows for it.
    latency_spread: f64,
    /// Seconds after the last byte within which the vendor has counted, while that is believed.
    counted_within: Option<f64>,
    divisions: Vec<NodeStatus>,
    consumers: Vec<NodeStatus>,
    /// Over all consumers since the start.
    exchanges: Exchanges,
    vendor: VendorStatus,
    keys: Vec<KeyStatus>,
    /// The last refusals, the newest first.
    refusals: Vec<RefusalStatus>,
}

/// One limit at the account, a division or a consumer. In requests.
#[derive(Debug, Serialize, ToSchema)]
struct LimitStatus {
    name: String,
    /// The most in one window: the limit, or a cap.
    allowed: u32,
    used: u32,
    /// Reserved: held empty for owners.
    held: u32,
    free: u32,
    /// Length of the window in seconds.
    window: f64,
    /// `sliding` or `calendar`.
    kind: &'static str,
    /// Seconds until something comes back, at the reset of a calendar window all of it.
    next_release: Option<f64>,
    /// Of the account: seconds until it opens again after a 429.
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_for: Option<f64>,
    /// Of the account: what others are thought to have used.
    #[serde(skip_serializing_if = "Option::is_none")]
    used_by_others: Option<u32>,
    /// Of the account: `exact`, or `even` if requests keep a distance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pace: Option<&'static str>,
    /// That distance in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<f64>,
}

/// A division or a consumer.
#[derive(Debug, Serialize, ToSchema)]
struct NodeStatus {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    division: Option<String>,
    /// Parts per million of what its parent gets.
    share: u32,
    /// Callers in the queue.
    waiting: usize,
    /// Requests since the start.
    admitted: u64,
    /// Callers since the start.
    refused: u64,
    /// With `mode = "observe"`: what would have had to wait, or been refused.
    held_up: u64,
    limits: Vec<LimitStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exchanges: Option<Exchanges>,
}

/// Exchanges since the start, by how they ended.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Exchanges {
    fresh: u64,
    stale: u64,
    joined: u64,
    paid: u64,
    refused: u64,
    rejected: u64,
    failed: u64,
    left: u64,
    refresh: u64,
    /// Requests of the account's allowance.
    price: u64,
    /// Stood in the queue.
    waits: u64,
    /// Seconds spent there, over all of them.
    waited: f64,
    /// Would have been paid without weir.
    saved: u64,
}

/// What the vendor did since the start.
#[derive(Debug, Serialize, ToSchema)]
struct VendorStatus {
    sent: u64,
    /// 429s: none, if the laws hold.
    refused: u64,
    /// It has been failing and is not asked for some seconds.
    is_let_be: bool,
    /// Answers by status.
    answers: Vec<AnswerCount>,
    /// Seconds to the response head that half of the answers took at most; by bucket.
    latency_p50: Option<f64>,
    /// The same for 95 of 100.
    latency_p95: Option<f64>,
}

#[derive(Debug, Serialize, ToSchema)]
struct AnswerCount {
    status: u16,
    count: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct RefusalStatus {
    /// RFC 3339.
    at: String,
    consumer: String,
    route: String,
    reason: &'static str,
    details: String,
    /// Seconds, as the caller was told.
    retry_after: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
struct CacheStatus {
    /// Answers that are kept.
    keys: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk: Option<DiskStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<RedisStatus>,
}

/// The part of the cache that outlives a restart.
#[derive(Debug, Serialize, ToSchema)]
struct DiskStatus {
    entries: u64,
    bytes: u64,
    queued_bytes: u64,
    found: u64,
    dropped: u64,
}

/// The part of the cache that replicas share.
#[derive(Debug, Serialize, ToSchema)]
struct RedisStatus {
    /// Purges and writes of other replicas are heard.
    is_open: bool,
    queued_bytes: u64,
    found: u64,
    joined: u64,
    told: u64,
    dropped: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct ReloadStatus {
    adopted: u64,
    refused: u64,
    /// RFC 3339.
    last_adopted: Option<String>,
    /// The file as it is now is not what holds.
    last_was_refused: bool,
}

/// Every budget, key and cache at this moment.
#[utoipa::path(get, path = "/api/v1/status", tag = "status", responses(
    (status = 200, description = "Everything at one moment", body = Status),
))]
pub(super) async fn show(State(admin): State<Arc<Admin>>) -> Response {
    Json(of(&admin)).into_response()
}

pub(super) fn of(admin: &Admin) -> Status {
    let now = admin.sources.clock.wall();
    let (adopted, refused) = admin.reloads.counts();
    let cache = &admin.sources.cache;
    Status {
        version: env!("CARGO_PKG_VERSION"),
        at: now.to_string(),
        upstreams: admin.upstreams().iter().map(|watched| upstream(watched, now)).collect(),
        cache: CacheStatus {
            keys: cache.len(),
            bytes: cache.weight_bytes(),
            disk: cache.second_tally().map(disk),
            redis: cache.shared_tally().map(redis),
        },
        reloads: ReloadStatus {
            adopted,
            refused,
            last_adopted: admin.reloads.last_adopted().map(|at| at.to_string()),
            last_was_refused: admin.reloads.last_was_refused(),
        },
        store_is_up: (admin.sources.can_book)(),
    }
}

fn disk(tally: SecondTally) -> DiskStatus {
    let SecondTally { entries, bytes, queued_bytes, found, dropped } = tally;
    DiskStatus { entries, bytes, queued_bytes, found, dropped }
}

fn redis(tally: SharedTally) -> RedisStatus {
    let SharedTally { is_open, found, joined, told, dropped, queued_bytes } = tally;
    RedisStatus { is_open, queued_bytes, found, joined, told, dropped }
}

fn upstream(watched: &Watched, now: UnixTime) -> UpstreamStatus {
    let (config, snapshot) = (&watched.config, watched.budget.snapshot());
    let (plan, health) = (&config.plan, (watched.health)(now));
    let limits = |states: &[LimitState]| limits(states, &plan.limits);
    // Matched by name: a reload may come between the configuration and the snapshot.
    let divisions = snapshot.divisions.iter().map(|state| {
        let share = plan.divisions.iter().find(|d| is_named(&state.node, d.name.as_str())).map(|d| d.share.0);
        node(state, share.unwrap_or(0), limits(&state.limits))
    });
    let consumers = snapshot.consumers.iter().enumerate().map(|(index, state)| {
        let is_it = |seat: &usize| is_named(&state.node, plan.consumers[*seat].name.as_str());
        let at = Some(index).filter(|index| *index < plan.consumers.len()).filter(is_it);
        let seat = at.or_else(|| (0..plan.consumers.len()).find(is_it));
        let consumer = seat.map(|seat| &plan.consumers[seat]);
        NodeStatus {
            division: consumer.map(|consumer| plan.divisions[consumer.division].name.to_string()),
            exchanges: seat.map(|seat| exchanges(&watched.tally.of(seat))),
            ..node(state, consumer.map_or(0, |consumer| consumer.share.0), limits(&state.limits))
        }
    });
    UpstreamStatus {
        name: config.name.to_string(),
        dialect: config.dialect.name(),
        mode: config.mode.as_str(),
        waiting: snapshot.waiting,
        limits: account(&snapshot, &plan.limits),
        latency_spread: snapshot.latency_spread.as_secs_f64(),
        counted_within: snapshot.counted_within.map(|within| within.as_secs_f64()),
        divisions: divisions.collect(),
        consumers: consumers.collect(),
        exchanges: exchanges(&watched.tally.total()),
        vendor: vendor(watched, health.is_let_be),
        keys: keys(&health.keys, now),
        refusals: watched.tally.refusals().newest_first().into_iter().map(RefusalStatus::of).collect(),
    }
}

fn is_named(node: &Node, name: &str) -> bool {
    match node {
        Node::Account | Node::Address => false,
        Node::Division(division) => division.as_str() == name,
        Node::Consumer(consumer) => consumer.as_str() == name,
    }
}

fn node(state: &NodeState, share: u32, limits: Vec<LimitStatus>) -> NodeStatus {
    NodeStatus {
        name: match &state.node {
            Node::Account | Node::Address => "account".to_owned(),
            Node::Division(division) => division.to_string(),
            Node::Consumer(consumer) => consumer.to_string(),
        },
        division: None,
        share,
        waiting: state.waiting,
        admitted: state.admitted,
        refused: state.refused,
        held_up: state.held_up,
        limits,
        exchanges: None,
    }
}

fn account(snapshot: &Snapshot, of: &[quota::Limit]) -> Vec<LimitStatus> {
    let both = limits(&snapshot.account, of).into_iter().zip(&snapshot.vendor);
    let one = |(limit, view): (LimitStatus, &VendorView)| LimitStatus {
        closed_for: view.closed.map(|closed| closed.as_secs_f64()),
        used_by_others: Some(view.others),
        pace: Some(if view.gap.is_some() { "even" } else { "exact" }),
        gap: view.gap.map(|gap| gap.as_secs_f64()),
        ..limit
    };
    both.map(one).collect()
}

fn limits(states: &[LimitState], limits: &[quota::Limit]) -> Vec<LimitStatus> {
    let one = |state: &LimitState| {
        let window = limits.iter().find(|limit| limit.name == state.limit).map(|limit| &limit.window);
        LimitStatus {
            name: state.limit.to_string(),
            allowed: state.allowed,
            used: state.used,
            held: state.held,
            free: state.allowed.saturating_sub(state.used),
            window: window.map_or(0.0, |window| window.length().as_secs_f64()),
            kind: match window {
                Some(quota::Window::Calendar(_)) => "calendar",
                Some(quota::Window::Sliding(_)) | None => "sliding",
            },
            next_release: state.next_release.map(|after| after.as_secs_f64()),
            closed_for: None,
            used_by_others: None,
            pace: None,
            gap: None,
        }
    };
    states.iter().map(one).collect()
}

fn exchanges(counts: &Counts) -> Exchanges {
    let of = |outcome| counts.of(outcome);
    Exchanges {
        fresh: of(Outcome::Fresh),
        stale: of(Outcome::Stale),
        joined: of(Outcome::Joined),
        paid: of(Outcome::Paid),
        refused: of(Outcome::Refused),
        rejected: of(Outcome::Rejected),
        failed: of(Outcome::Failed),
        left: of(Outcome::Left),
        refresh: of(Outcome::Refresh),
        price: counts.price,
        waits: counts.waits,
        waited: counts.waited.as_secs_f64(),
        saved: of(Outcome::Fresh) + of(Outcome::Stale) + of(Outcome::Joined),
    }
}

fn vendor(watched: &Watched, is_let_be: bool) -> VendorStatus {
    let vendor = &watched.vendor;
    VendorStatus {
        sent: vendor.sent(),
        refused: vendor.refused(),
        is_let_be,
        answers: vendor.answers().map(|(status, count)| AnswerCount { status, count }).collect(),
        latency_p50: vendor.latency().quantile(0.5).filter(|bound| *bound < f64::MAX),
        latency_p95: vendor.latency().quantile(0.95).filter(|bound| *bound < f64::MAX),
    }
}

impl RefusalStatus {
    fn of(refused: Refused) -> Self {
        Self {
            at: refused.at.to_string(),
            consumer: refused.consumer.to_string(),
            route: refused.route.to_string(),
            reason: refused.reason,
            details: refused.details,
            retry_after: refused.retry_after,
        }
    }
}
