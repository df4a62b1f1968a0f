//! `GET /api/v1/status`: every budget at one moment.

use serde::Serialize;

use super::{Admin, Watched};
use crate::budget::{LimitState, NodeState, Snapshot, VendorView};
use crate::cache::SecondTally;
use crate::clock::UnixTime;
use crate::telemetry::{Counts, Outcome};

/// Everything at one moment. Times are seconds.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    version: &'static str,
    upstreams: Vec<UpstreamStatus>,
    cache: CacheStatus,
}

#[derive(Debug, Serialize)]
struct UpstreamStatus {
    name: String,
    dialect: &'static str,
    mode: &'static str,
    waiting: usize,
    limits: Vec<AccountStatus>,
    /// How much the time to a response head differs; even spacing allows for it.
    latency_spread: f64,
    counted_within: Option<f64>,
    divisions: Vec<NodeStatus>,
    consumers: Vec<NodeStatus>,
    vendor: VendorStatus,
    keys: Vec<KeyStatus>,
}

#[derive(Debug, Serialize)]
struct LimitStatus {
    name: String,
    allowed: u32,
    used: u32,
    held: u32,
    next_release: Option<f64>,
}

/// One limit of the account, and what is thought of the vendor's own count.
#[derive(Debug, Serialize)]
struct AccountStatus {
    #[serde(flatten)]
    limit: LimitStatus,
    /// Until it opens again after a 429.
    closed_for: Option<f64>,
    /// What others are thought to have used.
    used_by_others: u32,
    pace: &'static str,
    /// Between two requests, if they are evenly spaced.
    gap: Option<f64>,
}

#[derive(Debug, Serialize)]
struct NodeStatus {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    division: Option<String>,
    /// Parts per million of what its parent gets.
    share: u32,
    waiting: usize,
    admitted: u64,
    refused: u64,
    /// With `mode = "observe"`: what would have had to wait, or been refused.
    held_up: u64,
    limits: Vec<LimitStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exchanges: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Debug, Serialize)]
struct VendorStatus {
    sent: u64,
    refused: u64,
}

#[derive(Debug, Serialize)]
struct KeyStatus {
    name: String,
    days_left: Vec<Option<u64>>,
}

#[derive(Debug, Serialize)]
struct CacheStatus {
    keys: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk: Option<DiskStatus>,
}

#[derive(Debug, Serialize)]
struct DiskStatus {
    entries: u64,
    bytes: u64,
    queued_bytes: u64,
    found: u64,
    dropped: u64,
}

pub(super) fn of(admin: &Admin) -> Status {
    let now = admin.clock.wall();
    Status {
        version: env!("CARGO_PKG_VERSION"),
        upstreams: admin.upstreams.iter().map(|watched| upstream(watched, now)).collect(),
        cache: CacheStatus {
            keys: admin.cache.len(),
            bytes: admin.cache.weight_bytes(),
            disk: admin.cache.second_tally().map(disk),
        },
    }
}

fn disk(tally: SecondTally) -> DiskStatus {
    let SecondTally { entries, bytes, queued_bytes, found, dropped } = tally;
    DiskStatus { entries, bytes, queued_bytes, found, dropped }
}

fn upstream(watched: &Watched, now: UnixTime) -> UpstreamStatus {
    let (config, snapshot) = (&watched.config, watched.budget.snapshot());
    let divisions = config
        .plan
        .divisions
        .iter()
        .zip(&snapshot.divisions)
        .map(|(division, state)| node(division.name.as_str(), division.share.0, state));
    let consumers = config.plan.consumers.iter().zip(&snapshot.consumers).enumerate();
    let consumers = consumers.map(|(seat, (consumer, state))| NodeStatus {
        division: Some(config.plan.divisions[consumer.division].name.to_string()),
        exchanges: Some(exchanges(&watched.tally.of(seat))),
        ..node(consumer.name.as_str(), consumer.share.0, state)
    });
    UpstreamStatus {
        name: config.name.to_string(),
        dialect: config.dialect.name(),
        mode: config.mode.as_str(),
        waiting: snapshot.waiting,
        limits: account(&snapshot),
        latency_spread: snapshot.latency_spread.as_secs_f64(),
        counted_within: snapshot.counted_within.map(|within| within.as_secs_f64()),
        divisions: divisions.collect(),
        consumers: consumers.collect(),
        vendor: VendorStatus { sent: watched.vendor.sent(), refused: watched.vendor.refused() },
        keys: config
            .keys
            .iter()
            .map(|key| KeyStatus {
                name: key.name.to_string(),
                days_left: key
                    .values
                    .iter()
                    .map(|v| v.expires.map(|end| end.since(now).as_secs() / 86_400))
                    .collect(),
            })
            .collect(),
    }
}

fn node(name: &str, share: u32, state: &NodeState) -> NodeStatus {
    NodeStatus {
        name: name.to_owned(),
        division: None,
        share,
        waiting: state.waiting,
        admitted: state.admitted,
        refused: state.refused,
        held_up: state.held_up,
        limits: limits(&state.limits),
        exchanges: None,
    }
}

fn account(snapshot: &Snapshot) -> Vec<AccountStatus> {
    let both = limits(&snapshot.account).into_iter().zip(&snapshot.vendor);
    let one = |(limit, view): (LimitStatus, &VendorView)| AccountStatus {
        limit,
        closed_for: view.closed.map(|closed| closed.as_secs_f64()),
        used_by_others: view.others,
        pace: if view.gap.is_some() { "even" } else { "exact" },
        gap: view.gap.map(|gap| gap.as_secs_f64()),
    };
    both.map(one).collect()
}

fn limits(states: &[LimitState]) -> Vec<LimitStatus> {
    let one = |state: &LimitState| LimitStatus {
        name: state.limit.to_string(),
        allowed: state.allowed,
        used: state.used,
        held: state.held,
        next_release: state.next_release.map(|after| after.as_secs_f64()),
    };
    states.iter().map(one).collect()
}

fn exchanges(counts: &Counts) -> serde_json::Map<String, serde_json::Value> {
    let mut all: serde_json::Map<_, _> = Outcome::ALL
        .iter()
        .map(|outcome| (outcome.as_str().to_owned(), counts.of(*outcome).into()))
        .collect();
    all.insert("price".into(), counts.price.into());
    all.insert("waits".into(), counts.waits.into());
    all.insert("waited".into(), counts.waited.as_secs_f64().into());
    all
}
