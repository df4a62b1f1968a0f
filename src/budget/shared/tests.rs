//! The laws over the shared ledger: several desks, each with a clock of its own, and the
//! script run by a real redis-server whose clock is turned by hand.

mod cost;
mod parts;
mod versions;
mod world;

use std::time::Duration;

use proptest::prelude::*;

use super::super::laws::history::{self, History, vendors};
use super::super::laws::vendor::Vendor;
use super::super::laws::world::{Caller, Fate};
use super::super::laws::{jain, plan, quantity};
use world::{Fault, World};

fn caller() -> impl Strategy<Value = Caller> {
    let fate = prop_oneof![6 => Just(Fate::Answered), 2 => Just(Fate::Lost), 1 => Just(Fate::NeverSent)];
    let gap = prop_oneof![3 => 0u64..20, 2 => 0u64..700, 1 => 0u64..4_000];
    (gap, 0usize..3, 0usize..4, 0u64..1_000, 0u64..1_000, fate, 1u8..8).prop_map(
        |(gap, replica, seat, up, down, fate, set)| Caller {
            gap: Duration::from_millis(gap),
            replica,
            seat,
            patience: None,
            hang_up: None,
            up: Duration::from_millis(up),
            down: Duration::from_millis(down),
            fate,
            set,
            joins: false,
            urgency: 3,
        },
    )
}

fn callers() -> impl Strategy<Value = Vec<Caller>> {
    prop::collection::vec(caller(), 1..50)
}

fn limits() -> impl Strategy<Value = Vec<(u32, u64)>> {
    prop::collection::vec((1u32..6, 500u64..6_000), 1..4)
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        2 => Just(Fault::Flush),
        2 => Just(Fault::Snapshot),
        2 => Just(Fault::Restore),
        2 => (0usize..3).prop_map(Fault::Crash),
        2 => (0usize..3, 100u64..8_000).prop_map(|(replica, ms)| Fault::Cut(replica, Duration::from_millis(ms))),
        2 => (50u64..6_000).prop_map(|ms| Fault::Freeze(Duration::from_millis(ms))),
        1 => (1u64..100_000).prop_map(|ms| Fault::ClockBack(Duration::from_millis(ms))),
        1 => (1_000u64..100_000).prop_map(|ms| Fault::ClockForward(Duration::from_millis(ms))),
    ]
}

fn faults() -> impl Strategy<Value = Vec<(Duration, Fault)>> {
    prop::collection::vec(((0u64..15_000).prop_map(Duration::from_millis), fault()), 1..5)
}

/// Redis decides many things a second; a case takes some milliseconds.
fn cases(number: u32) -> ProptestConfig {
    crate::budget::laws::seeded(number)
}

proptest! {
    #![proptest_config(cases(60))]

    /// Laws 1, 2 and 6 for three replicas together.
    #[test]
    fn vendors_that_count_exactly_never_refuse_replicas(
        limits in limits(), callers in callers(), phase: u64, delay in 0u64..40,
    ) {
        let plan = plan(&limits, 4);
        let mut world = World::new(&plan, 3, vendors(&plan, phase), Duration::from_millis(delay));
        world.run(&callers, &[]);
        prop_assert!(world.starved().is_empty(), "{:?}", world.starved());
    }

    /// Law 9: whatever dies, freezes, forgets or is cut off, and whenever.
    #[test]
    fn no_fault_makes_replicas_send_too_much(
        limits in limits(), callers in callers(), phase: u64, delay in 0u64..40, faults in faults(),
    ) {
        let plan = plan(&limits, 4);
        let mut world = World::new(&plan, 3, vendors(&plan, phase), Duration::from_millis(delay));
        world.run(&callers, &faults);
    }

    /// Laws 1 and 4: caps hold over all replicas.
    #[test]
    fn caps_hold_over_all_replicas(
        callers in callers(), phase: u64, delay in 0u64..40, cap in 1u32..3,
    ) {
        let mut plan = plan(&[(4, 2_000)], 4);
        plan.consumers[0].caps = vec![quantity(0, cap)];
        plan.divisions[1].caps = vec![quantity(0, cap + 1)];
        let mut vendors = vendors(&plan, phase);
        vendors.push(vec![Vendor::sliding(cap, 2_000_000_000)]);
        vendors.push(vec![Vendor::sliding(cap + 1, 2_000_000_000)]);
        let mut world = World::new(&plan, 3, vendors, Duration::from_millis(delay));
        world.of_seat_0 = Some(1);
        world.of_division_1 = Some(2);
        world.run(&callers, &[]);
        prop_assert!(world.starved().is_empty(), "{:?}", world.starved());
    }
}

/// Always there, and answered at once.
fn greedy(replica: usize, seat: usize) -> Caller {
    Caller {
        gap: Duration::ZERO,
        replica,
        seat,
        patience: None,
        hang_up: None,
        up: Duration::from_millis(5),
        down: Duration::from_millis(5),
        fate: Fate::Answered,
        set: 1,
        joins: false,
        urgency: 3,
    }
}

/// Law 5: what one replica alone would use, three use together.
#[test]
fn nothing_lies_idle_while_somebody_waits_anywhere() {
    let plan = plan(&[(10, 1_000)], 4);
    let mut world = World::new(&plan, 3, vendors(&plan, 0), Duration::from_millis(1));
    let callers: Vec<Caller> = (0..200).map(|number| greedy(number % 3, number % 4)).collect();
    world.run(&callers, &[]);
    // 200 requests are 20 windows, of which the last need not end; each takes W, and L = 10 ms
    // to settle, 2 ms to book.
    let ideal = 19.0 * (1.0 + 0.012);
    let took = world.last_sent().as_secs_f64() - 4.0;
    assert!(took <= ideal * 1.02 + 0.6, "{took:.3} s rather than {ideal:.3}");
}

/// Law 4 over the fleet: whoever always waits is served by its share, wherever its callers are.
/// Each of these is one or some of three replicas for each of eight consumers.
fn whereabouts() -> impl Strategy<Value = Vec<Vec<usize>>> {
    prop::collection::vec(prop::collection::vec(0usize..3, 1..4), 8)
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn shares_hold_over_all_replicas(at in whereabouts(), requests in 4u32..20, delay in 0u64..20) {
        const EACH: usize = 60;
        let plan = plan(&[(requests, 1_000)], 8);
        let mut world = World::new(&plan, 3, vendors(&plan, 0), Duration::from_millis(delay));
        let replica = |number: usize| at[number % 8][number / 8 % at[number % 8].len()];
        let callers: Vec<Caller> = (0..8 * EACH).map(|number| greedy(replica(number), number % 8)).collect();
        world.run(&callers, &[]);
        // The first window opens before anybody knows of the others; then it is counted as long
        // as all of them want more. Divisions share 40:60, their consumers evenly.
        let mut each = [0.0_f64; 8];
        for seat in world.served().iter().skip(requests as usize) {
            each[*seat] += 1.0;
            if each[*seat] >= (EACH - requests as usize) as f64 {
                break;
            }
        }
        let by_share = each.iter().enumerate().map(|(seat, served)| served / [0.4, 0.6][seat % 2]);
        let by_share: Vec<f64> = by_share.collect();
        prop_assert!(jain(&by_share) >= 0.985, "{by_share:?}");
    }
}

/// The laws' own histories, over replicas: see `laws::history`. They come faster, since each
/// call is a real one.
fn holds_over_replicas(history: &History, replicas: usize, delay: u64) -> Result<(), TestCaseError> {
    let brisk = |caller: &Caller| Caller { gap: caller.gap / 3, ..caller.clone() };
    let callers: Vec<Caller> = history.callers.iter().map(brisk).collect();
    let mut world = World::of(history, replicas, Duration::from_millis(delay));
    world.run(&callers, &[]);
    prop_assert!(world.starved().is_empty(), "{:?}", world.starved());
    world.agree(&callers);
    Ok(())
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn callers_who_join_hang_up_or_run_out_of_time(
        history in history::counting(), replicas in 1usize..4, delay in 0u64..40,
    ) {
        holds_over_replicas(&history, replicas, delay)?;
    }

    #[test]
    fn a_full_cap_never_blocks_another(
        history in history::capped(), replicas in 1usize..4, delay in 0u64..40,
    ) {
        holds_over_replicas(&history, replicas, delay)?;
    }

    #[test]
    fn calendar_edges_hold_for_any_skew(
        history in history::calendars(), replicas in 1usize..4, delay in 0u64..40,
    ) {
        holds_over_replicas(&history, replicas, delay)?;
    }

    #[test]
    fn reserves_starve_nobody(history in history::reserved(), replicas in 1usize..4, delay in 0u64..40) {
        holds_over_replicas(&history, replicas, delay)?;
    }

    #[test]
    fn spaced_out_no_estimate_exceeds_the_limit(
        history in history::even(), replicas in 1usize..4, delay in 0u64..40,
    ) {
        holds_over_replicas(&history, replicas, delay)?;
    }

    #[test]
    fn slack_covers_clocks_that_drift(
        history in history::drifting(), replicas in 1usize..4, delay in 0u64..40,
    ) {
        holds_over_replicas(&history, replicas, delay)?;
    }

    #[test]
    fn slack_covers_windows_that_are_reset_late(
        history in history::late(), replicas in 1usize..4, delay in 0u64..40,
    ) {
        holds_over_replicas(&history, replicas, delay)?;
    }

    #[test]
    fn counted_within_is_as_safe_as_the_promise(
        history in history::promised(), replicas in 1usize..4, delay in 0u64..40,
    ) {
        holds_over_replicas(&history, replicas, delay)?;
    }

    /// Nobody waits, and all of it is counted by all.
    #[test]
    fn what_is_only_observed_is_counted_by_all(
        history in history::counting(), replicas in 1usize..4, delay in 0u64..40,
    ) {
        let mut world = World::of(&history, replicas, Duration::from_millis(delay));
        world.observes = true;
        world.run(&history.callers, &[]);
        world.agree(&history.callers);
    }
}
