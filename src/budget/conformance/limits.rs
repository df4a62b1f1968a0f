//! No more than N, on every limit of the path (laws 1, 2, 3, 4 and 7).

use std::time::Duration;

use super::house::{MS, Site, TICK};
use crate::budget::laws::vendor::Vendor;
use crate::budget::laws::{plan, quantity};
use crate::budget::{Node, Reason};

pub(super) async fn no_window_of_any_phase_holds_more_than_its_limit(site: Site) {
    let limits = [(3, 1_000), (8, 4_000)];
    let house = site.open(plan(&limits, 4)).await;
    let sent = house.saturate([0, 1, 2, 3], 3, 130 * MS);
    house.pass(12_000 * MS).await;
    // Counted somewhere between the first byte and the head.
    let mut counted: Vec<u64> = sent
        .lock()
        .iter()
        .zip(0u32..)
        .map(|((at, _), nth)| (*at + 13 * MS * (nth % 11)).as_nanos())
        .collect();
    counted.sort_unstable();
    for (n, w) in limits.map(|(n, millis)| (n, millis * 1_000_000)) {
        for phase in (0..w).step_by(37_000_000) {
            let mut vendors = [Vendor::fixed(n, w, phase), Vendor::sliding(n, w), Vendor::bucket(n, w)];
            for &at in &counted {
                assert!(vendors.iter_mut().all(|vendor| vendor.admits(at)), "429 at {at} of {counted:?}");
            }
        }
    }
    // Law 5: of each four seconds 0.2 go to settling and to steps of this test's clock.
    assert!(counted.len() >= 8 * 3, "{counted:?}");
}

pub(super) async fn a_request_is_charged_to_all_of_its_limits_or_to_none(site: Site) {
    let house = site.open(plan(&[(3, 1_000), (1, 5_000)], 4)).await;
    let only = |limit: usize| [limit].into_iter().collect();
    house.send_for(only(1), 0).await.settled();
    assert_eq!(house.used().await, [0, 1]);
    let refusal = house.ask(1).await.unwrap_err();
    assert_eq!((refusal.reason, refusal.to_string()), (Reason::Limit, "account: limit1".into()));
    assert_eq!(house.used().await, [0, 1], "to none");
    for seat in 0..3 {
        house.send_for(only(0), seat).await.settled();
    }
    assert!(house.ask_for(only(0), 3).await.is_err());
    house.pass(5_000 * MS + house.grace()).await;
    house.send(2).await.settled();
    assert_eq!(house.used().await, [1, 1]);
    assert_eq!([house.used_by_consumers(0).await, house.used_by_consumers(1).await], [[0, 0, 1, 0]; 2]);
}

pub(super) async fn what_never_left_is_given_back_at_once(site: Site) {
    let house = site.open(plan(&[(2, 1_000), (3, 9_000)], 4)).await;
    let [first, second] = [house.ask(0).await.unwrap(), house.ask(1).await.unwrap()];
    assert_eq!(house.used().await, [2, 2]);
    assert!(house.ask(2).await.is_err());
    drop(first);
    assert_eq!((house.used().await, house.used_by_consumers(0).await), (vec![1, 1], vec![0, 1, 0, 0]));
    house.leave(second).await.never_left();
    assert_eq!(house.used().await, [0, 0]);
    for seat in [2, 3] {
        house.send(seat).await.settled();
    }
    assert!(house.ask(0).await.is_err());
}

pub(super) async fn nothing_one_tick_before_retry_after_and_a_yes_at_it(site: Site) {
    let house = site.open(plan(&[(2, 1_000), (3, 3_000)], 4)).await;
    let mut heads = Vec::new();
    for seat in [0, 1] {
        let charge = house.send(seat).await;
        house.pass(120 * MS).await;
        charge.settled();
        heads.push(house.now());
    }
    for lapses in [heads[0] + Duration::from_secs(1), heads[0] + Duration::from_secs(3)] {
        let told = house.ask(2).await.unwrap_err().retry_at;
        house.is_near(told, lapses);
        house.pass_until(lapses - TICK).await;
        assert!(house.ask(2).await.is_err());
        house.pass_until(told + house.grace()).await;
        house.send(2).await.settled();
        // The next no is the other limit's.
    }
}

pub(super) async fn a_cap_bounds_its_owner_and_blocks_nobody_else(site: Site) {
    let mut plan = plan(&[(4, 1_000)], 4);
    plan.consumers[0].caps = vec![quantity(0, 1)];
    plan.divisions[1].caps = vec![quantity(0, 2)];
    let house = site.open(plan).await;
    house.send(0).await.settled();
    let lapses = house.now() + 1_000 * MS;
    let refusal = house.ask(0).await.unwrap_err();
    assert_eq!(refusal.node, Node::Consumer("consumer0".parse().unwrap()));
    house.is_near(refusal.retry_at, lapses);
    // Who waits for its own cap stands in nobody's way.
    let waits = house.come(0, 5_000 * MS);
    house.send(1).await.settled();
    house.send(3).await.settled();
    let refusal = house.ask(3).await.unwrap_err();
    assert_eq!(refusal.node, Node::Division("ops".parse().unwrap()));
    house.send(2).await.settled();
    assert_eq!((house.used().await, house.used_by_consumers(0).await), (vec![4], vec![1; 4]));
    house.pass_until(house.left_by(lapses)).await;
    assert!(waits.is_finished(), "its turn has come");
}

pub(super) async fn a_reserve_is_held_for_its_owner(site: Site) {
    let mut plan = plan(&[(3, 1_000)], 4);
    plan.divisions[1].reserve = vec![quantity(0, 2)];
    let house = site.open(plan).await;
    house.send(0).await.settled();
    assert!(house.ask(2).await.is_err(), "what is left is reserved");
    house.send(1).await.settled();
    house.send(3).await.settled();
    assert!(house.ask(1).await.is_err());
    house.pass(1_000 * MS + house.grace()).await;
    house.send(2).await.settled();
    assert!(house.ask(0).await.is_err(), "held again");
    house.send(1).await.settled();
    assert_eq!(house.used_by_consumers(0).await, [0, 1, 1, 0]);
}
