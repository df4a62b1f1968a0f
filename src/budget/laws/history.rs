//! Random histories: an account, its vendors, and who asks for what. They run over one desk,
//! which is what decides in front of a file (`laws`), and over replicas that share a
//! redis-server (`shared::tests`).

use std::time::Duration;

use proptest::prelude::*;

use super::vendor::Vendor;
use super::world::{Caller, Fate};
use super::{calendar, plan, quantity};
use crate::quota::{Pace, Plan};

const MS: u64 = 1_000_000;

#[derive(Clone, Debug)]
pub(in crate::budget) struct History {
    pub(in crate::budget) plan: Plan,
    /// By limit; all of them count.
    pub(in crate::budget) vendors: Vec<Vec<Vendor>>,
    pub(in crate::budget) callers: Vec<Caller>,
    /// Our wall's nanoseconds at the start, and the vendor's if it sends dates.
    pub(in crate::budget) wall: u64,
    pub(in crate::budget) vendor_at_zero: Option<u64>,
    /// How much latencies differ, where that has to be known beforehand.
    pub(in crate::budget) spread: Option<Duration>,
    /// By how much the vendors' clocks run faster than ours.
    pub(in crate::budget) drift_ppm: i64,
}

impl History {
    pub(in crate::budget) fn new(plan: Plan, vendors: Vec<Vec<Vendor>>, callers: Vec<Caller>) -> Self {
        // Far from the beginning of time, so that clocks can be set back.
        let wall = 1_700_000_000_000 * MS;
        Self { plan, vendors, callers, wall, vendor_at_zero: None, spread: None, drift_ppm: 0 }
    }
}

/// Vendors that count exactly, in three ways.
pub(in crate::budget) fn counting() -> impl Strategy<Value = History> {
    (limits(), callers(4), any::<u64>()).prop_map(|(limits, callers, phase)| {
        let plan = plan(&limits, 4);
        let vendors = vendors(&plan, phase);
        History::new(plan, vendors, callers)
    })
}

/// Requests that wait for caps of their own.
pub(in crate::budget) fn capped() -> impl Strategy<Value = History> {
    let caps = prop::collection::vec((0usize..3, 1u32..3), 6);
    (limits(), callers(4), caps).prop_map(|(limits, callers, caps)| {
        let mut plan = plan(&limits, 4);
        let caps = caps.into_iter().map(|(limit, n)| vec![quantity(limit % limits.len(), n)]);
        for (node, caps) in caps.enumerate() {
            match node {
                0 | 1 => plan.divisions[node].caps = caps,
                _ => plan.consumers[node - 2].caps = caps,
            }
        }
        plan.consumers[0].caps.clear();
        let vendors = vendors(&plan, 0);
        History::new(plan, vendors, callers)
    })
}

/// Edges of the calendar, the vendor's clock anywhere within what is known of it.
pub(in crate::budget) fn calendars() -> impl Strategy<Value = History> {
    let clocks = (1u32..6, 7_000u64..20_000, -2_000i64..2_000, any::<bool>(), 100_000u64..140_000);
    let flat = (clocks, callers(4));
    flat.prop_map(|((requests, period, skew, dated, start), callers)| {
        let mut plan = plan(&[(requests, period), (7, 1_000)], 4);
        calendar(&mut plan, 0, period);
        let wall = start * MS;
        let vendor_at_zero = (wall as i64 + skew * MS as i64) as u64;
        let edges = Vendor::fixed(requests, period * MS, vendor_at_zero % (period * MS));
        let vendors = vec![vec![edges], vec![Vendor::sliding(7, 1_000 * MS)]];
        let vendor_at_zero = dated.then_some(vendor_at_zero);
        History { wall, vendor_at_zero, ..History::new(plan, vendors, callers) }
    })
}

/// Owners with reserves at two limits.
pub(in crate::budget) fn reserved() -> impl Strategy<Value = History> {
    let window = (6u32..12, 500u64..4_000);
    (window, callers(4), 0u32..4, 0u32..4).prop_map(|(window, callers, of_division, of_consumer)| {
        let mut plan = plan(&[window, (window.0 + 3, window.1 * 3)], 4);
        let reserve = |n: u32| (0..2).filter(|_| n > 0).map(|limit| quantity(limit, n)).collect::<Vec<_>>();
        plan.divisions[0].reserve = reserve(of_division);
        plan.consumers[2].reserve = reserve(of_consumer.min(of_division));
        plan.consumers[1].reserve = reserve(2);
        let vendors = vendors(&plan, 0);
        History::new(plan, vendors, callers)
    })
}

/// A vendor that averages over two fixed windows, and even spacing before it.
pub(in crate::budget) fn even() -> impl Strategy<Value = History> {
    (2u32..8, 500u64..8_000, callers(4), any::<u64>()).prop_map(|(requests, millis, callers, phase)| {
        let mut plan = plan(&[(requests, millis)], 4);
        plan.pace = Pace::Even;
        let vendors = vec![vec![Vendor::weighted(requests, millis * MS, phase % (millis * MS))]];
        // Two seconds there and back, and the linger of a lost one.
        let spread = Some(Duration::from_millis(2_500));
        History { spread, ..History::new(plan, vendors, callers) }
    })
}

/// Clocks that run at different rates, within what `slack` allows for.
pub(in crate::budget) fn drifting() -> impl Strategy<Value = History> {
    (limits(), callers(4), any::<u64>(), -499i64..=499).prop_map(|(limits, callers, phase, drift_ppm)| {
        let mut plan = plan(&limits, 4);
        for limit in &mut plan.limits {
            limit.slack = (limit.window.length() / 2_000).max(Duration::from_millis(2));
        }
        let vendors = vendors(&plan, phase);
        History { drift_ppm, ..History::new(plan, vendors, callers) }
    })
}

/// Windows that are reset late, by no more than `slack` allows for.
pub(in crate::budget) fn late() -> impl Strategy<Value = History> {
    (limits(), callers(4), any::<u64>(), 0u64..450).prop_map(|(limits, callers, phase, late)| {
        let mut plan = plan(&limits, 4);
        plan.limits.iter_mut().for_each(|limit| limit.slack = Duration::from_millis(late));
        let vendor =
            |&(n, millis): &(u32, u64)| vec![Vendor::late(n, millis * MS, phase % (millis * MS), late * MS)];
        let vendors = limits.iter().map(vendor).collect();
        History::new(plan, vendors, callers)
    })
}

/// `counted_within`, when the vendor does as the operator promised.
pub(in crate::budget) fn promised() -> impl Strategy<Value = History> {
    (limits(), callers(4)).prop_map(|(limits, callers)| {
        let mut plan = plan(&limits, 4);
        plan.counted_within = Some(Duration::from_secs(1));
        let vendors = vendors(&plan, 0);
        let kept = callers.into_iter().map(|c| Caller { down: c.down * 3, ..c }).collect();
        History::new(plan, vendors, kept)
    })
}

pub(super) fn limits() -> impl Strategy<Value = Vec<(u32, u64)>> {
    prop::collection::vec((1u32..6, 500u64..8_000), 1..4)
}

fn caller(seats: usize) -> impl Strategy<Value = Caller> {
    let fate = prop_oneof![6 => Just(Fate::Answered), 2 => Just(Fate::Lost), 1 => Just(Fate::NeverSent)];
    let patience = prop_oneof![2 => Just(None), 1 => (0u64..20_000).prop_map(Some)];
    let hang_up = prop_oneof![4 => Just(None), 1 => (0u64..5_000).prop_map(Some)];
    let when = prop_oneof![3 => 0u64..20, 2 => 0u64..700, 1 => 0u64..9_000];
    ((when, 0..seats, patience, hang_up), (0u64..1_000 * MS, 0u64..1_000 * MS, fate, any::<u8>(), 0u8..8))
        .prop_map(|((gap, seat, patience, hang_up), (up, down, fate, set, urgency))| Caller {
            gap: Duration::from_millis(gap),
            // The limits take three bits.
            replica: usize::from(set >> 3),
            seat,
            patience: patience.map(Duration::from_millis),
            hang_up: hang_up.map(Duration::from_millis),
            up: Duration::from_nanos(up),
            down: Duration::from_nanos(down),
            fate,
            set,
            joins: set % 3 == 0,
            urgency,
        })
}

pub(super) fn callers(seats: usize) -> impl Strategy<Value = Vec<Caller>> {
    prop::collection::vec(caller(seats), 1..60)
}

pub(in crate::budget) fn vendors(plan: &Plan, phase: u64) -> Vec<Vec<Vendor>> {
    let each = plan.limits.iter().map(|limit| {
        let (n, w) = (limit.requests.get(), u64::try_from(limit.window.length().as_nanos()).unwrap());
        vec![Vendor::sliding(n, w), Vendor::fixed(n, w, phase % w), Vendor::bucket(n, w)]
    });
    each.collect()
}
