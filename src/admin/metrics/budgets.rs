//! What the accounts allow, and who waits for it.

use std::fmt;

use prometheus_client::registry::Unit;

use super::{MAX_CONSUMERS, Page, Seen, float_of};
use crate::budget::{LimitState, NodeState};
use crate::quota::DivisionPlan;

/// What a gauge reads of a limit's state.
type Read = fn(&LimitState) -> u32;

pub(super) fn write(page: &mut Page<'_>, upstreams: &[Seen]) -> fmt::Result {
    let read: [(&str, &str, Read); 4] = [
        ("budget_used", "Charges that count now", |state| state.used),
        ("budget_limit", "The most that may be used in one window", |state| state.allowed),
        ("budget_free", "What is left of it", |state| state.allowed.saturating_sub(state.used)),
        ("budget_held", "Held empty for owners of reserves", |state| state.held),
    ];
    for (name, help, value) in read {
        let mut samples = upstreams.iter().flat_map(|seen| {
            nodes(seen).flat_map(move |(node, states)| {
                states.iter().map(move |state| {
                    let labels = [upstream(seen), ("node", node.clone()), limit(state)];
                    (labels, f64::from(value(state)))
                })
            })
        });
        page.gauges(name, help, None, &mut samples)?;
    }
    let mut releases = upstreams.iter().flat_map(|seen| {
        let states = seen.snapshot.account.iter();
        states.filter_map(move |state| {
            Some(([upstream(seen), limit(state)], state.next_release?.as_secs_f64()))
        })
    });
    let help = "Until something of a limit comes back; of a calendar window, all of it";
    page.gauges("budget_reset", help, Some(&Unit::Seconds), &mut releases)?;
    let mut windows = upstreams.iter().flat_map(|seen| {
        let limits = seen.watched.config.plan.limits.iter();
        limits.map(move |limit| {
            ([upstream(seen), ("limit", limit.name.to_string())], limit.window.length().as_secs_f64())
        })
    });
    page.gauges("budget_window", "Length of a limit's window", Some(&Unit::Seconds), &mut windows)?;
    queues(page, upstreams)
}

fn queues(page: &mut Page<'_>, upstreams: &[Seen]) -> fmt::Result {
    let mut waiting = upstreams.iter().map(|seen| ([upstream(seen)], float_of(seen.snapshot.waiting)));
    page.gauges("queue_length", "Callers that wait", None, &mut waiting)?;
    let mut waiting = upstreams.iter().flat_map(|seen| {
        divisions(seen).map(move |(state, plan)| ([upstream(seen), node(plan)], float_of(state.waiting)))
    });
    page.gauges("division_waiting", "Callers of a division that wait", None, &mut waiting)?;
    let mut below = upstreams.iter().flat_map(|seen| {
        divisions(seen).map(move |(state, plan)| {
            let unmet = if is_below_share(seen, state, plan) { state.waiting } else { 0 };
            ([upstream(seen), node(plan)], float_of(unmet))
        })
    });
    let help = "Callers that wait although their division is below its share of every limit";
    page.gauges("division_waiting_below_share", help, None, &mut below)?;
    let mut below = upstreams.iter().flat_map(|seen| {
        divisions(seen).map(move |(state, plan)| {
            let is_held = !state.limits.is_empty() && state.limits.iter().any(|limit| limit.held > 0);
            ([upstream(seen), node(plan)], float_of(if is_held { state.waiting } else { 0 }))
        })
    });
    let help = "Callers that wait although something is held in reserve for their division";
    page.gauges("division_waiting_with_reserve", help, None, &mut below)
}

/// The account and the divisions, with their limits.
fn nodes(seen: &Seen) -> impl Iterator<Item = (String, &Vec<LimitState>)> {
    let account = std::iter::once(("account".to_owned(), &seen.snapshot.account));
    let divisions = seen.snapshot.divisions.iter().take(MAX_CONSUMERS);
    account.chain(divisions.map(|state| (state.node.to_string(), &state.limits)))
}

/// The divisions as they are and as they are planned.
fn divisions(seen: &Seen) -> impl Iterator<Item = (&NodeState, &DivisionPlan)> {
    let plans = &seen.watched.config.plan.divisions;
    seen.snapshot.divisions.iter().zip(plans).take(MAX_CONSUMERS)
}

fn is_below_share(seen: &Seen, state: &NodeState, plan: &DivisionPlan) -> bool {
    state.limits.iter().zip(&seen.snapshot.account).all(|(own, account)| {
        let fair = (u64::from(account.allowed) * u64::from(plan.share.0)).div_ceil(1_000_000);
        u64::from(own.used) < fair.max(1)
    })
}

fn upstream(seen: &Seen) -> (&'static str, String) {
    ("upstream", seen.name().to_owned())
}

fn limit(state: &LimitState) -> (&'static str, String) {
    ("limit", state.limit.to_string())
}

fn node(plan: &DivisionPlan) -> (&'static str, String) {
    ("division", plan.name.to_string())
}
