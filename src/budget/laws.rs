//! The laws of DESIGN as properties of the pure core, over random histories in
//! virtual time against vendors that share no code with it.

mod fair;
mod reloads;
mod restarts;
pub(in crate::budget) mod vendor;
mod world;

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use crate::quota::*;

use vendor::Vendor;
use world::{Caller, Fate, Refused, World};

const MS: u64 = 1_000_000;

/// A plan of sliding limits over `seats` consumers in two divisions.
pub(in crate::budget) fn plan(limits: &[(u32, u64)], seats: usize) -> Plan {
    let limits = limits.iter().enumerate().map(|(index, &(requests, millis))| Limit {
        name: format!("limit{index}").parse().unwrap(),
        requests: NonZeroU32::new(requests).unwrap(),
        window: Window::Sliding(Duration::from_millis(millis)),
        scope: Scope::Account,
        routes: Routes::All,
        slack: Duration::ZERO,
    });
    let division = |name: &str, share| DivisionPlan {
        name: name.parse().unwrap(),
        share: Share(share),
        reserve: vec![],
        caps: vec![],
    };
    let consumer = |seat: usize| ConsumerPlan {
        name: format!("consumer{seat}").parse().unwrap(),
        division: seat % 2,
        share: Share(1_000_000 / u32::try_from(seats.div_ceil(2)).unwrap()),
        reserve: vec![],
        caps: vec![],
    };
    Plan {
        limits: limits.collect(),
        divisions: vec![division("web", 400_000), division("ops", 600_000)],
        consumers: (0..seats).map(consumer).collect(),
        pace: Pace::Exact,
        counted_within: None,
        linger: Duration::from_millis(500),
        queue: QueueBounds::default(),
    }
}

pub(in crate::budget) fn quantity(limit: usize, requests: u32) -> Quantity {
    Quantity { limit, requests: NonZeroU32::new(requests).unwrap() }
}

/// Jain's index of fairness: 1 where all are served alike.
pub(in crate::budget) fn jain(served: &[f64]) -> f64 {
    let (sum, squares) = (served.iter().sum::<f64>(), served.iter().map(|x| x * x).sum::<f64>());
    sum * sum / (served.len() as f64 * squares)
}

fn calendar(plan: &mut Plan, limit: usize, millis: u64) {
    plan.limits[limit].window = Window::Calendar(Calendar::Every(Duration::from_millis(millis)));
}

/// Random histories per law. `WEIR_LONG=1` tries [`LONG`] times as many.
const EVERYDAY: u32 = 500;
const LONG: u32 = 40;

/// How many cases a property has.
pub(in crate::budget) fn cases(everyday: u32) -> ProptestConfig {
    let times = if std::env::var_os("WEIR_LONG").is_some() { LONG } else { 1 };
    seeded(everyday * times)
}

/// So many cases; histories that once failed are kept under `tests/seeds` and tried first.
pub(in crate::budget) fn seeded(cases: u32) -> ProptestConfig {
    let seeds = FileFailurePersistence::SourceParallel("tests/seeds");
    ProptestConfig { cases, failure_persistence: Some(Box::new(seeds)), ..ProptestConfig::default() }
}

fn limits() -> impl Strategy<Value = Vec<(u32, u64)>> {
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

fn callers(seats: usize) -> impl Strategy<Value = Vec<Caller>> {
    prop::collection::vec(caller(seats), 1..60)
}

fn vendors(plan: &Plan, phase: u64) -> Vec<Vec<Vendor>> {
    let each = plan.limits.iter().map(|limit| {
        let (n, w) = (limit.requests.get(), u64::try_from(limit.window.length().as_nanos()).unwrap());
        vec![Vendor::sliding(n, w), Vendor::fixed(n, w, phase % w), Vendor::bucket(n, w)]
    });
    each.collect()
}

proptest! {
    #![proptest_config(cases(EVERYDAY))]

    /// Laws 1, 2, 3, 5 and 6 at every step of a history; see `World::check`.
    #[test]
    fn vendors_that_count_exactly_never_refuse(limits in limits(), callers in callers(4), phase: u64) {
        let plan = plan(&limits, 4);
        let mut world = World::new(&plan, vendors(&plan, phase));
        world.run(&callers);
        prop_assert!(world.starved().is_empty(), "{:?}", world.starved());
    }

    /// The same where requests wait for caps of their own.
    #[test]
    fn a_full_cap_never_blocks_another(
        limits in limits(), callers in callers(4), caps in prop::collection::vec((0usize..3, 1u32..3), 6),
    ) {
        let mut plan = plan(&limits, 4);
        let caps = caps.into_iter().map(|(limit, n)| vec![quantity(limit % limits.len(), n)]);
        for (node, caps) in caps.enumerate() {
            match node {
                0 | 1 => plan.divisions[node].caps = caps,
                _ => plan.consumers[node - 2].caps = caps,
            }
        }
        plan.consumers[0].caps.clear();
        let mut world = World::new(&plan, vendors(&plan, 0));
        world.run(&callers);
        prop_assert!(world.starved().is_empty(), "{:?}", world.starved());
    }

    /// Law 1 at calendar edges, the vendor's clock anywhere within what is known of it.
    #[test]
    fn calendar_edges_hold_for_any_skew(
        requests in 1u32..6, period in 7_000u64..20_000, skew in -2_000i64..2_000, dated: bool,
        start in 100_000u64..140_000, callers in callers(4),
    ) {
        let mut plan = plan(&[(requests, period), (7, 1_000)], 4);
        calendar(&mut plan, 0, period);
        let wall = start * MS;
        let vendor_at_zero = (wall as i64 + skew * MS as i64) as u64;
        let edges = Vendor::fixed(requests, period * MS, vendor_at_zero % (period * MS));
        let mut world = World::new(&plan, vec![vec![edges], vec![Vendor::sliding(7, 1_000 * MS)]]);
        world.set_wall(wall, dated.then_some(vendor_at_zero));
        world.run(&callers);
        prop_assert!(world.starved().is_empty(), "{:?}", world.starved());
    }

    /// Law 4: an owner below its reserve on every limit of its request never waits.
    #[test]
    fn below_its_reserve_nobody_waits(
        window in (6u32..12, 500u64..4_000), callers in callers(4), of_division in 0u32..4, of_consumer in 0u32..4,
    ) {
        let mut plan = plan(&[window, (window.0 + 3, window.1 * 3)], 4);
        let reserve = |n: u32| (0..2).filter(|_| n > 0).map(|limit| quantity(limit, n)).collect::<Vec<_>>();
        plan.divisions[0].reserve = reserve(of_division);
        plan.consumers[2].reserve = reserve(of_consumer.min(of_division));
        plan.consumers[1].reserve = reserve(2);
        let mut world = World::new(&plan, vendors(&plan, 0));
        world.run(&callers);
        prop_assert!(world.starved().is_empty(), "{:?}", world.starved());
    }

    /// Even spacing: no vendor that averages over two fixed windows refuses, either.
    #[test]
    fn spaced_out_no_estimate_exceeds_the_limit(
        requests in 2u32..8, millis in 500u64..8_000, callers in callers(4), phase: u64,
    ) {
        let mut plan = plan(&[(requests, millis)], 4);
        plan.pace = Pace::Even;
        let mut world = World::new(&plan, vec![vec![Vendor::weighted(requests, millis * MS, phase % (millis * MS))]]);
        // The spread has to be known beforehand: two seconds there and back, and the linger of a lost one.
        world.teach_spread(Duration::from_millis(2_500));
        world.run(&callers);
        prop_assert!(world.starved().is_empty(), "{:?}", world.starved());
    }

    /// Clocks that run at different rates, within what `slack` allows for.
    #[test]
    fn slack_covers_clocks_that_drift(
        limits in limits(), callers in callers(4), phase: u64, drift_ppm in -499i64..=499,
    ) {
        let mut plan = plan(&limits, 4);
        for limit in &mut plan.limits {
            limit.slack = (limit.window.length() / 2_000).max(Duration::from_millis(2));
        }
        let mut world = World::new(&plan, vendors(&plan, phase));
        world.drift(drift_ppm);
        world.run(&callers);
        prop_assert!(world.starved().is_empty(), "{:?}", world.starved());
    }

    /// Somebody else uses the account: a window that the vendor closed stays closed, who
    /// cannot wait for it is told at once, and nobody starves. `World::check` holds throughout.
    #[test]
    fn what_the_vendor_refuses_is_learnt(
        limits in limits(), callers in callers(4), phase: u64, counts: bool, auto: bool,
        outsiders in prop::collection::vec(0u64..20_000, 0..40),
    ) {
        let mut plan = plan(&limits, 4);
        if auto {
            plan.pace = Pace::Auto;
        }
        let mut world = World::new(&plan, vendors(&plan, phase));
        world.with_outsiders(&outsiders, if counts { Refused::Counts } else { Refused::CountsNot });
        world.run(&callers);
        prop_assert!(world.starved().is_empty(), "{:?}", world.starved());
    }

    /// `counted_within`, when the vendor does as the operator promised.
    #[test]
    fn counted_within_is_as_safe_as_the_promise(limits in limits(), callers in callers(4)) {
        let mut plan = plan(&limits, 4);
        plan.counted_within = Some(Duration::from_secs(1));
        let mut world = World::new(&plan, vendors(&plan, 0));
        let kept = callers.into_iter().map(|c| Caller { down: c.down * 3, ..c }).collect::<Vec<_>>();
        world.run(&kept);
        prop_assert!(world.starved().is_empty(), "{:?}", world.starved());
    }
}

proptest! {
    #![proptest_config(cases(EVERYDAY))]

    /// Law 7: nothing one tick before the announced moment, and a yes at it.
    #[test]
    fn a_settled_no_is_exact(
        limits in limits(), callers in callers(4), caps in prop::collection::vec((0usize..3, 1u32..3), 6),
        is_calendar: bool, reserve in 0u32..3,
    ) {
        let mut plan = plan(&limits, 4);
        for (node, (limit, n)) in caps.into_iter().enumerate().skip(2) {
            plan.consumers[node - 2].caps = vec![quantity(limit % limits.len(), n)];
        }
        if is_calendar {
            calendar(&mut plan, 0, 9_000);
        }
        let reserved = reserve.min(limits.iter().map(|(n, _)| n - 1).min().unwrap());
        if reserved > 0 && !is_calendar {
            plan.divisions[1].reserve = (0..limits.len()).map(|limit| quantity(limit, reserved)).collect();
        }
        let mut world = World::new(&plan, vec![vec![]; limits.len()]);
        world.run(&callers);
        let all: LimitSet = (0..limits.len()).collect();
        for seat in 0..4 {
            let Err(told) = world.ask_at(world.now(), seat, all) else { continue };
            prop_assert!(told > world.now());
            prop_assert_eq!(world.ask_at(told, seat, all), Ok(()), "seat {}", seat);
            let tick_before = told - Duration::from_nanos(1);
            prop_assert!(world.ask_at(tick_before, seat, all).is_err());
        }
    }
}
