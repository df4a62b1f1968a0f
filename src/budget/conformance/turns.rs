//! Whose turn it is, and who waits (laws 3, 4, 5 and 6).

use super::house::{MS, Site};
use crate::budget::laws::{jain, plan};
use crate::budget::{Ask, Reason};
use crate::clock::Moment;

pub(super) async fn under_saturation_everyone_gets_its_share(site: Site) {
    const EACH: [f64; 4] = [0.2, 0.3, 0.2, 0.3];
    let house = site.open(plan(&[(10, 1_000)], 4)).await;
    let sent = house.saturate([0, 1, 2, 3], 12, 20 * MS);
    house.pass(2_000 * MS).await;
    let from = sent.lock().len();
    house.pass(10_000 * MS).await;
    let sent = sent.lock();
    let mut by_share = [0.0; 4];
    for (_, seat) in &sent[from..] {
        by_share[*seat] += 1.0 / EACH[*seat];
    }
    assert!(jain(&by_share) > 0.98, "{by_share:?}");
    // Ten windows, each of them longer by what settling and the steps of this test's clock take.
    assert!(sent.len() - from >= 85, "{}", sent.len() - from);
}

pub(super) async fn who_hangs_up_leaves_its_place(site: Site) {
    let house = site.open(plan(&[(1, 1_000)], 4)).await;
    house.send(0).await.settled();
    let lapses = house.now() + 1_000 * MS;
    let first = house.come(1, 9_000 * MS);
    house.pass(100 * MS).await;
    let second = house.come(1, 9_000 * MS);
    house.pass(100 * MS).await;
    first.abort();
    house.pass_until(house.left_by(lapses)).await;
    assert!(second.is_finished());
    let charge = house.leave(second.await.unwrap().unwrap()).await;
    assert!(charge.sent_at() >= lapses);
    assert_eq!((house.used().await, house.used_by_consumers(0).await), (vec![1], vec![0, 1, 0, 0]));
}

pub(super) async fn who_waits_hears_no_at_its_deadline(site: Site) {
    let house = site.open(plan(&[(1, 1_000)], 4)).await;
    let charge = house.send(0).await;
    let refusal = house.come(1, 999 * MS).await.unwrap().unwrap_err();
    assert_eq!(refusal.reason, Reason::Limit, "at once, since it is hopeless");
    house.is_near(house.now() + refusal.retry_after, house.now() + 1_000 * MS);
    let waits = house.come(2, 1_500 * MS);
    house.pass(600 * MS).await;
    charge.settled();
    let head = house.now();
    house.pass(899 * MS).await;
    assert!(!waits.is_finished());
    house.pass(26 * MS).await;
    let refusal = waits.await.unwrap().unwrap_err();
    assert_eq!(refusal.reason, Reason::WaitOver);
    house.is_near(refusal.retry_at, head + 1_000 * MS);
}

pub(super) async fn of_those_who_join_one_pays(site: Site) {
    let house = site.open(plan(&[(2, 1_000)], 4)).await;
    for seat in [0, 0] {
        house.send(seat).await.settled();
    }
    let budget = house.budget();
    let bid = budget.bid(house.all());
    let enter = |seat| bid.enter(Ask { seat, deadline: Moment::NEVER, urgency: 3 }).unwrap();
    let [first, second] = [enter(1), enter(2)];
    house.pass_until(house.left_by(house.now() + 1_000 * MS)).await;
    let permit = bid.granted().await.unwrap();
    let late = enter(3);
    assert_eq!(
        [&first, &second, &late].map(|entry| entry.has_paid()).iter().filter(|paid| **paid).count(),
        1
    );
    house.leave(permit).await.settled();
    assert_eq!(house.used().await, [1], "law 3: once");
}

pub(super) async fn what_needs_nobody_takes_no_slot_that_somebody_wants(site: Site) {
    let house = site.open(plan(&[(2, 1_000)], 4)).await;
    let spare = house.budget().try_now(house.all(), 0).unwrap();
    house.leave(spare).await.settled();
    house.hear().await;
    house.send(1).await.settled();
    assert!(house.budget().try_now(house.all(), 0).is_none(), "all is used");
    assert_eq!(house.used().await, [2]);
}
