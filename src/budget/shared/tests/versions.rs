//! Versions of weir beside each other (law 1): only one of them books.

use super::super::SCHEMA;
use super::*;

/// One caller each tenth of a second.
fn steady(number: usize) -> Caller {
    Caller { gap: Duration::from_millis(100), ..greedy(number % 3, number % 4) }
}

fn version() -> impl Strategy<Value = Fault> {
    prop_oneof![
        3 => (0usize..3, 0u32..3).prop_map(|(replica, newer)| Fault::Version(replica, SCHEMA + newer)),
        // Of a clock that jumps at that very moment nobody is left to tell.
        1 => fault().prop_filter("somebody sees it", |fault| !matches!(fault, Fault::ClockForward(_))),
    ]
}

proptest! {
    #![proptest_config(cases(60))]

    /// Whichever comes when, and goes back, and whatever becomes of Redis meanwhile.
    #[test]
    fn versions_beside_each_other_never_send_too_much(
        limits in limits(), callers in callers(), phase: u64, delay in 0u64..40,
        faults in prop::collection::vec(((0u64..15_000).prop_map(Duration::from_millis), version()), 1..5),
    ) {
        let plan = plan(&limits, 4);
        let mut world = World::new(&plan, 3, vendors(&plan, phase), Duration::from_millis(delay));
        world.run(&callers, &faults);
    }
}

/// One after another begins anew as a newer one: the account goes on where it was, and the
/// last of the older ones book nothing.
#[test]
fn replicas_are_updated_one_by_one() {
    let plan = plan(&[(10, 5_000)], 4);
    let mut world = World::new(&plan, 3, vendors(&plan, 0), Duration::from_millis(1));
    let callers: Vec<Caller> = (0..60).map(steady).collect();
    let at = |replica, secs| (Duration::from_secs(secs), Fault::Version(replica, SCHEMA + 1));
    world.run(&callers, &[at(0, 1), at(1, 2), at(2, 3)]);
    assert!(world.starved().is_empty(), "{:?}", world.starved());
    let older = world.slot_key(&format!("{SCHEMA}:*"));
    assert_eq!(world.redis.command(&["KEYS", &older]).list().map(<[_]>::len), Some(0), "all was taken over");
    // Who waited at one that was updated has gone with it.
    let served = world.served().len();
    assert!((30..60).contains(&served), "{served}");
}

/// The newer one has gone, and the older one is left: it takes back what it needs.
#[test]
fn an_older_version_goes_on_when_the_newer_one_is_gone() {
    let plan = plan(&[(10, 1_000)], 4);
    let mut world = World::new(&plan, 3, vendors(&plan, 0), Duration::from_millis(1));
    let callers: Vec<Caller> = (0..300).map(steady).collect();
    let back = |replica, after| (Duration::from_secs(after), Fault::Version(replica, SCHEMA));
    let faults = [(Duration::from_secs(1), Fault::Version(0, SCHEMA + 1)), back(0, 4)];
    world.run(&callers, &faults);
    assert!(world.starved().is_empty(), "{:?}", world.starved());
    assert!(world.last_sent() > Duration::from_secs(4 + 4 + 10), "{:?}", world.last_sent());
}
