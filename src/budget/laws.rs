//! The laws of DESIGN as properties of the pure core, over random histories in
//! virtual time against vendors that share no code with it.

mod fair;
pub(in crate::budget) mod history;
mod reloads;
mod restarts;
pub(in crate::budget) mod vendor;
pub(in crate::budget) mod world;

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use crate::quota::*;

pub(in crate::budget) use history::History;
use history::{callers, limits, vendors};
use world::{Refused, World};

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

/// Over one desk, which decides in front of a file; `shared::tests` runs them over replicas.
fn holds_alone(history: &History) -> Result<(), TestCaseError> {
    let mut world = World::of(history);
    world.run(&history.callers);
    prop_assert!(world.starved().is_empty(), "{:?}", world.starved());
    Ok(())
}

proptest! {
    #![proptest_config(cases(EVERYDAY))]

    /// Laws 1, 2, 3, 5 and 6 at every step of a history; see `World::check`.
    #[test]
    fn vendors_that_count_exactly_never_refuse(history in history::counting()) {
        holds_alone(&history)?;
    }

    /// The same where requests wait for caps of their own.
    #[test]
    fn a_full_cap_never_blocks_another(history in history::capped()) {
        holds_alone(&history)?;
    }

    /// Law 1 at calendar edges.
    #[test]
    fn calendar_edges_hold_for_any_skew(history in history::calendars()) {
        holds_alone(&history)?;
    }

    /// Law 4: an owner below its reserve on every limit of its request never waits.
    #[test]
    fn below_its_reserve_nobody_waits(history in history::reserved()) {
        holds_alone(&history)?;
    }

    /// Even spacing: no vendor that averages over two fixed windows refuses, either.
    #[test]
    fn spaced_out_no_estimate_exceeds_the_limit(history in history::even()) {
        holds_alone(&history)?;
    }

    /// Law 1 with the slack that it asks for.
    #[test]
    fn slack_covers_clocks_that_drift(history in history::drifting()) {
        holds_alone(&history)?;
    }

    /// The same.
    #[test]
    fn slack_covers_windows_that_are_reset_late(history in history::late()) {
        holds_alone(&history)?;
    }

    /// Law 1 as far as the promise holds.
    #[test]
    fn counted_within_is_as_safe_as_the_promise(history in history::promised()) {
        holds_alone(&history)?;
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
