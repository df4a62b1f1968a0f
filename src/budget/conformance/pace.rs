//! Requests that keep their distance, and those that are only watched.

use super::house::{MS, Site, TICK};
use crate::budget::laws::plan;
use crate::clock::Moment;
use crate::quota::Pace;

pub(super) async fn evenly_spaced_requests_keep_their_distance(site: Site) {
    let mut plan = plan(&[(5, 1_000)], 4);
    plan.pace = Pace::Even;
    let house = site.open(plan).await;
    let sent = house.saturate([0, 1, 2, 3], 3, 20 * MS);
    house.pass(6_000 * MS).await;
    let sent: Vec<Moment> = sent.lock().iter().map(|(at, _)| *at).collect();
    let gaps = sent.windows(2).map(|pair| pair[1].since(pair[0]));
    assert!(gaps.clone().all(|gap| gap >= 250 * MS), "{:?}", gaps.collect::<Vec<_>>());
    // The spread of answers in steps of this test's clock adds to each gap.
    assert!(sent.len() >= 20, "{sent:?}");
}

pub(super) async fn a_kill_forgets_no_distance(site: Site) {
    let mut plan = plan(&[(3, 20_000)], 4);
    plan.pace = Pace::Even;
    let mut house = site.open(plan).await;
    house.send(0).await.settled();
    // A tick more, or N + 1 would fit.
    let next = house.now() + 10_000 * MS + TICK;
    let told = house.ask(1).await.unwrap_err().retry_at;
    house.is_near(told, next);
    house.kill([]).await;
    assert!(house.now() < next);
    assert!(house.ask(1).await.is_err(), "as far from the last as before");
    house.pass_until(next + house.grace()).await;
    house.send(1).await.settled();
}

pub(super) async fn who_only_observes_never_waits_and_is_counted(site: Site) {
    let plan = plan(&[(2, 1_000)], 4);
    let (linger, w) = (plan.linger, 1_000 * MS);
    let mut house = site.open(plan).await;
    let mut charges = Vec::new();
    for nth in 0..3 {
        let (permit, held_up) = house.budget().charge_anyway(house.all(), nth);
        assert_eq!(held_up.is_some(), nth == 2, "told what would have been in its way");
        charges.push(house.leave(permit).await);
        house.hear().await;
    }
    assert_eq!(house.used().await, [3]);
    assert!(house.ask(3).await.is_err(), "over the limit is full");
    let under_way = charges.pop().unwrap();
    charges.into_iter().for_each(|charge| charge.settled());
    assert_eq!(house.used().await, [3]);
    house.pass(100 * MS).await;
    let killed = house.now();
    house.kill([under_way]).await;
    house.pass_until(killed + linger + w - TICK).await;
    assert_eq!(house.used_by_consumers(0).await, [0, 0, 1, 0], "what was under way, still");
}
