//! A store that does not answer in time. (What a full disk does to a file is in `ledger::tests`.)

use super::house::{MS, Site};
use crate::budget::Reason;
use crate::budget::laws::plan;

pub(super) async fn what_is_heard_too_late_is_charged_to_nobody(site: Site) {
    let house = site.open(plan(&[(3, 60_000)], 4)).await;
    house.send(0).await.settled();
    let waits = house.come(1, 30_000 * MS);
    // Longer than an answer is waited for: the call that asks arrives after its deadline.
    house.hold_up(700 * MS).await;
    house.pass(600 * MS).await;
    drop(waits.await.unwrap().unwrap());
    assert_eq!(house.used().await, [1], "not by the call that came late, either");
    house.send(2).await.settled();
    house.send(3).await.settled();
    assert!(house.ask(0).await.is_err());
}

pub(super) async fn while_nothing_answers_nothing_leaves_and_then_it_goes_on(site: Site) {
    let house = site.open(plan(&[(2, 60_000)], 4)).await;
    house.send(0).await.settled();
    let waits = house.come(1, 30_000 * MS);
    house.hold_up(2_000 * MS).await;
    let refusal = waits.await.unwrap().unwrap_err();
    assert_eq!(refusal.reason, Reason::StoreLost);
    house.pass(1_000 * MS).await;
    assert_eq!(house.used().await, [1]);
    house.send(1).await.settled();
    assert!(house.ask(2).await.is_err());
}
