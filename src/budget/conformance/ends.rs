//! How long a charge counts, and that no kill shortens it (laws 1 and 8).

use std::time::Duration;

use super::house::{ANSWER, CONNECT, MS, Site, TICK};
use crate::budget::laws::plan;

/// From a booking until the request is given up at the most, a store or a machine that is
/// slow included.
const LONGEST: Duration = Duration::from_secs(5).saturating_add(CONNECT).saturating_add(ANSWER);

pub(super) async fn what_was_answered_counts_until_w_and_slack_after_its_head(site: Site) {
    let mut plan = plan(&[(1, 1_000)], 4);
    plan.limits[0].slack = 40 * MS;
    let house = site.open(plan).await;
    let charge = house.send(0).await;
    house.pass(300 * MS).await;
    assert_eq!(house.used().await, [1]);
    charge.settled();
    let lapses = house.now() + 1_040 * MS;
    house.pass_until(lapses - TICK).await;
    assert_eq!(house.used().await, [1]);
    assert!(house.ask(1).await.is_err());
    house.pass_until(lapses + house.grace()).await;
    assert_eq!(house.used().await, [0]);
    house.send(1).await.settled();
}

pub(super) async fn what_was_given_up_counts_linger_longer(site: Site) {
    let plan = plan(&[(1, 1_000)], 4);
    let linger = plan.linger;
    let house = site.open(plan).await;
    let charge = house.send(0).await;
    house.pass(300 * MS).await;
    charge.lost();
    let lapses = house.now() + linger + 1_000 * MS;
    house.pass_until(lapses - TICK).await;
    assert!(house.ask(1).await.is_err());
    house.pass_until(lapses + house.grace()).await;
    house.send(1).await.settled();
}

pub(super) async fn what_was_promised_to_be_counted_early_lapses_early(site: Site) {
    let mut plan = plan(&[(1, 1_000)], 4);
    plan.counted_within = Some(200 * MS);
    let house = site.open(plan).await;
    let mut charge = house.send(0).await;
    house.pass(100 * MS).await;
    charge.last_byte();
    let lapses = house.now() + 200 * MS + 1_000 * MS;
    house.pass(900 * MS).await;
    charge.settled();
    house.pass_until(lapses - TICK).await;
    assert!(house.ask(1).await.is_err());
    house.pass_until(lapses + house.grace()).await;
    let mut charge = house.send(1).await;
    // A head before that is earlier still.
    charge.last_byte();
    house.pass(50 * MS).await;
    charge.settled();
    let lapses = house.now() + 1_000 * MS;
    house.pass_until(lapses - TICK).await;
    assert!(house.ask(2).await.is_err());
    house.pass_until(lapses + house.grace()).await;
    house.send(2).await.settled();
}

pub(super) async fn a_kill_forgets_nothing(site: Site) {
    let plan = plan(&[(5, 20_000)], 4);
    let (linger, w) = (plan.linger, 20_000 * MS);
    let mut house = site.open(plan).await;
    let [answered, lost, gone] = [house.send(0).await, house.send(1).await, house.send(1).await];
    house.pass(300 * MS).await;
    answered.settled();
    lost.lost();
    gone.never_left();
    drop(house.ask(3).await.unwrap());
    let (ended, booked) = (house.now(), house.now());
    let under_way = house.send(2).await;
    house.pass(200 * MS).await;
    let killed = house.now();
    house.kill([under_way]).await;
    assert_eq!((house.used().await, house.used_by_consumers(0).await), (vec![3], vec![1, 1, 1, 0]));
    for (lapses, left) in [(ended + w, [0, 1, 1, 0]), (ended + linger + w, [0, 0, 1, 0])] {
        house.pass_until(lapses - TICK).await;
        assert_ne!(house.used_by_consumers(0).await, left);
        house.pass_until(lapses + house.grace()).await;
        assert_eq!(house.used_by_consumers(0).await, left);
    }
    // It may have been counted as long after the kill as it could linger.
    house.pass_until(killed + linger + w - TICK).await;
    assert_eq!(house.used().await, [1]);
    // So far ahead, clocks may part by more.
    house.pass_until(booked + LONGEST + linger + w + 5 * house.grace()).await;
    assert_eq!(house.used().await, [0]);
}

pub(super) async fn names_that_are_gone_count_at_the_account(site: Site) {
    let mut house = site.open(plan(&[(10, 20_000)], 4)).await;
    for seat in [0, 1, 3] {
        house.send(seat).await.settled();
    }
    let mut next = plan(&[(10, 20_000)], 2);
    next.divisions[1].name = "renamed".parse().unwrap();
    house.kill_for(next, []).await;
    assert_eq!((house.used().await, house.used_by_consumers(0).await), (vec![3], vec![1, 1]));
}

pub(super) async fn a_new_limit_counts_what_was_charged_before_it(site: Site) {
    let mut house = site.open(plan(&[(10, 20_000)], 4)).await;
    for seat in [0, 1, 3] {
        house.send(seat).await.settled();
    }
    house.kill_for(plan(&[(10, 20_000), (20, 60_000)], 4), []).await;
    assert_eq!(house.used().await, [3, 3]);
}

pub(super) async fn a_new_limit_goes_on_counting_it_after_another_kill(site: Site) {
    let mut house = site.open(plan(&[(10, 20_000)], 4)).await;
    house.send(0).await.settled();
    let under_way = house.send(1).await;
    house.kill_for(plan(&[(10, 20_000), (20, 60_000)], 4), [under_way]).await;
    house.send(2).await.settled();
    house.kill([]).await;
    assert_eq!(house.used().await, [3, 3]);
    house.pass(LONGEST + 61_000 * MS).await;
    assert_eq!(house.used().await, [0, 0]);
}

pub(super) async fn a_new_limit_goes_on_counting_it_for_as_long_as_it_looks_back(site: Site) {
    let mut house = site.open(plan(&[(10, 20_000)], 4)).await;
    house.send(0).await.settled();
    let charged = house.now();
    house.kill_for(plan(&[(10, 20_000), (20, 1_000_000)], 4), []).await;
    // Long after the first limit needs it no more.
    house.pass(200_000 * MS).await;
    for seat in [1, 2] {
        house.send(seat).await.settled();
        house.kill([]).await;
    }
    assert_eq!(house.used().await, [2, 3]);
    // So far ahead, clocks may part by more.
    house.pass_until(charged + 1_001_000 * MS).await;
    assert_eq!(house.used().await, [0, 2]);
}

pub(super) async fn a_limit_that_comes_back_counts_what_was_charged_meanwhile(site: Site) {
    let (with, without) = (plan(&[(10, 20_000), (20, 60_000)], 4), plan(&[(10, 20_000)], 4));
    let mut house = site.open(with.clone()).await;
    house.send(0).await.settled();
    house.kill_for(without.clone(), []).await;
    house.send(1).await.settled();
    for plan in [&with, &without, &with, &with] {
        house.kill_for(plan.clone(), []).await;
    }
    assert_eq!(house.used().await, [2, 2]);
    house.send(2).await.settled();
    house.kill([]).await;
    assert_eq!((house.used().await, house.used_by_consumers(1).await), (vec![3, 3], vec![1, 1, 1, 0]));
}

pub(super) async fn a_kill_charges_no_limit_that_did_not_count_it(site: Site) {
    let mut house = site.open(plan(&[(10, 20_000), (20, 60_000)], 4)).await;
    house.send_for([0].into_iter().collect(), 0).await.settled();
    house.send(1).await.settled();
    house.kill([]).await;
    assert_eq!(house.used().await, [2, 1]);
}
