//! What operators and callers see of a budget.

use std::time::Duration;

use crate::clock::Moment;
use crate::id::LimitName;
use crate::quota::{LimitSet, Plan};

use super::desk::Desk;
use super::hierarchy::NodeIndex;
use super::refusal::Node;

/// A whole budget at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// When it was taken.
    pub at: Moment,
    /// The account (with its per-address limits), one item per limit.
    pub account: Vec<LimitState>,
    /// What is thought of the vendor's own count, one item per limit.
    pub vendor: Vec<VendorView>,
    /// How much the time to a response head differed of late, if even spacing needs to know.
    pub latency_spread: Duration,
    /// How long after its last byte the vendor has counted a request: as configured, until a 429.
    pub counted_within: Option<Duration>,
    /// Divisions in the plan's order.
    pub divisions: Vec<NodeState>,
    /// Consumers in the plan's order.
    pub consumers: Vec<NodeState>,
    /// Callers that wait, over all consumers.
    pub waiting: usize,
}

/// A division or a consumer at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeState {
    /// Who it is.
    pub node: Node,
    /// One item per limit of the plan, in its order.
    pub limits: Vec<LimitState>,
    /// Callers that wait.
    pub waiting: usize,
    /// Requests admitted since the start.
    pub admitted: u64,
    /// Callers refused since the start.
    pub refused: u64,
    /// Requests that would have had to wait, or been refused, had weir not only observed.
    pub held_up: u64,
}

/// One limit at one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitState {
    /// The limit's name.
    pub limit: LimitName,
    /// The most this node may use in one window: its cap, or the limit itself.
    pub allowed: u32,
    /// Charges that count now, those in flight included.
    pub used: u32,
    /// Held empty for it (an owner's reserve) or for all owners (at the account).
    pub held: u32,
    /// Until something comes back at the account even if nothing in flight is answered.
    pub next_release: Option<Duration>,
}

/// One limit as the vendor seems to count it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VendorView {
    /// Until it opens again, after a 429.
    pub closed: Option<Duration>,
    /// Requests that others are thought to have used, of those that count now.
    pub others: u32,
    /// The distance that requests keep, if they are evenly spaced.
    pub gap: Option<Duration>,
}

/// One limit as one consumer sees it: for `RateLimit` headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// The limit's name.
    pub limit: LimitName,
    /// The most that may be used in one window: the least of the limit and the caps on the path.
    pub allowed: u32,
    /// The window's length.
    pub window: Duration,
    /// What this consumer could use at once if nobody else came.
    pub remaining: u32,
    /// Until all of it has come back, if nothing more is used.
    pub reset: Duration,
}

impl Snapshot {
    pub(super) fn of(desk: &Desk, plan: &Plan, now: Moment) -> Self {
        let books = desk.books();
        let account = (0..books.limits()).map(|limit| {
            let window = books.window(limit);
            limit_state(
                desk,
                plan,
                limit,
                (window.requests(), window.used(), books.holds().total(limit)),
                now,
            )
        });
        let node_state = |node: Node, index: NodeIndex, seats: &mut dyn Iterator<Item = usize>| {
            let (mut waiting, mut admitted, mut refused, mut held_up) = (0, 0, 0, 0);
            for seat in seats {
                let tally = desk.tally(seat);
                waiting += tally.waiting;
                admitted += tally.admitted;
                refused += tally.refused;
                held_up += tally.held_up;
            }
            let limits = (0..books.limits()).map(|limit| {
                let allowed = books.cap_of(index, limit).unwrap_or(books.window(limit).requests());
                let held = books.holds().held_for(index, limit);
                limit_state(desk, plan, limit, (allowed, books.used_by(index, limit), held), now)
            });
            NodeState { node, limits: limits.collect(), waiting, admitted, refused, held_up }
        };
        let mut members = vec![Vec::new(); plan.divisions.len()];
        for (seat, consumer) in plan.consumers.iter().enumerate() {
            members[consumer.division].push(seat);
        }
        let divisions = plan.divisions.iter().zip(members).enumerate().map(|(index, (division, seats))| {
            node_state(Node::Division(division.name.clone()), index, &mut seats.into_iter())
        });
        let consumers = plan.consumers.iter().enumerate().map(|(seat, consumer)| {
            let index = plan.divisions.len() + seat;
            node_state(Node::Consumer(consumer.name.clone()), index, &mut std::iter::once(seat))
        });
        let vendor = (0..books.limits()).map(|limit| VendorView {
            closed: desk.closed_until(limit, now).map(|until| until.since(now)),
            others: desk.counted_of_others(limit, now),
            gap: books.pacing().is_even(limit).then(|| books.pacing().gap_of(limit)),
        });
        Self {
            at: now,
            account: account.collect(),
            vendor: vendor.collect(),
            latency_spread: books.pacing().spread(),
            counted_within: desk.counted_within(),
            divisions: divisions.collect(),
            consumers: consumers.collect(),
            waiting: desk.waiting(),
        }
    }
}

impl Remaining {
    pub(super) fn of(desk: &Desk, plan: &Plan, seat: u32, set: LimitSet, now: Moment) -> Vec<Self> {
        let books = desk.books();
        let view = |limit: usize| {
            let window = books.window(limit);
            let [division, consumer] = books.path(seat);
            let kept = books.holds().kept_from(division, consumer, limit);
            let (mut allowed, mut remaining) = (window.requests(), window.free().saturating_sub(kept));
            for node in [division, consumer] {
                if let Some(cap) = books.cap_of(node, limit) {
                    allowed = allowed.min(cap);
                    remaining = remaining.min(cap.saturating_sub(books.used_by(node, limit)));
                }
            }
            Self {
                limit: plan.limits[limit].name.clone(),
                allowed,
                window: plan.limits[limit].window.length(),
                remaining,
                reset: window.all_back(now, books.vendor_clock()).since(now),
            }
        };
        set.iter().map(view).collect()
    }
}

fn limit_state(
    desk: &Desk,
    plan: &Plan,
    limit: usize,
    (allowed, used, held): (u32, u32, u32),
    now: Moment,
) -> LimitState {
    let books = desk.books();
    let next = books.next_release(limit);
    LimitState {
        limit: plan.limits[limit].name.clone(),
        allowed,
        used,
        held,
        next_release: next.map(|at| at.since(now)),
    }
}
