//! The shell around the core, under tokio's paused time.

mod twins;

use super::laws::plan;
use super::*;
use crate::quota::{Calendar, Window};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn budget(limits: &[(u32, u64)]) -> Arc<Budget> {
    Budget::new(plan(limits, 4), Clock::virtual_at(UnixTime::from_secs(1_000)))
}

fn all(budget: &Budget) -> LimitSet {
    (0..budget.plan().limits.len()).collect()
}

fn ask(budget: &Budget, seat: usize, patience: Duration) -> Ask {
    Ask { seat, deadline: budget.now() + patience, urgency: 3 }
}

async fn spend(budget: &Arc<Budget>, seat: usize) -> Charge {
    let bid = budget.bid(all(budget));
    let _entry = bid.enter(ask(budget, seat, 60_000 * MS)).unwrap();
    bid.granted().await.unwrap().sent()
}

async fn pass(budget: &Budget, time: Duration) {
    budget.clock().sleep_until(budget.now() + time).await;
}

fn at(millis: u64) -> Moment {
    Moment::ZERO + Duration::from_millis(millis)
}

#[tokio::test(start_paused = true)]
async fn wakes_when_the_charge_lapses_w_after_the_head() {
    let budget = budget(&[(1, 1_000)]);
    let charge = spend(&budget, 0).await;
    let second = tokio::spawn({
        let budget = Arc::clone(&budget);
        async move { (spend(&budget, 1).await, budget.now()) }
    });
    pass(&budget, 100 * MS).await;
    charge.settled();
    let (_charge, then) = second.await.unwrap();
    assert_eq!(then, at(1_100));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_permit_is_refunded_and_a_dropped_charge_lingers() {
    let budget = budget(&[(1, 1_000)]);
    let bid = budget.bid(all(&budget));
    let _entry = bid.enter(ask(&budget, 0, MS)).unwrap();
    drop(bid.granted().await.unwrap());
    drop(spend(&budget, 1).await);
    drop(spend(&budget, 2).await);
    assert_eq!(budget.now(), at(1_500), "linger (500 ms) + W");
}

#[tokio::test(start_paused = true)]
async fn refuses_at_once_what_cannot_be_and_later_what_was_not() {
    let budget = budget(&[(1, 1_000)]);
    let charge = spend(&budget, 0).await;
    let bid = budget.bid(all(&budget));
    let Err(Denied::Refused(refusal)) = bid.enter(ask(&budget, 2, 999 * MS)) else { panic!("too soon") };
    assert_eq!((refusal.reason, refusal.to_string()), (Reason::Limit, "account: limit0".into()));
    assert_eq!(refusal.retry_after, 1_000 * MS);
    let entry = bid.enter(ask(&budget, 2, 1_500 * MS)).unwrap();
    pass(&budget, 600 * MS).await;
    charge.settled();
    let refusal = entry.refused().await;
    assert_eq!((refusal.reason, budget.now()), (Reason::WaitOver, at(1_500)));
    assert_eq!(refusal.retry_at, at(1_600));
    assert!(bid.granted().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn of_those_who_join_one_pays_and_nobody_is_refused_after_that() {
    let budget = budget(&[(1, 1_000)]);
    spend(&budget, 0).await.settled();
    let bid = budget.bid(all(&budget));
    let first = bid.enter(Ask { seat: 1, deadline: Moment::NEVER, urgency: 3 }).unwrap();
    let second = bid.door().enter(ask(&budget, 2, 1_100 * MS)).unwrap();
    let permit = bid.granted().await.unwrap();
    let late = bid.door().enter(ask(&budget, 3, Duration::ZERO)).unwrap();
    assert_eq!([first.has_paid(), second.has_paid(), late.has_paid()], [true, false, false]);
    assert_eq!((permit.seat(), permit.waited(), budget.now()), (1, 1_000 * MS, at(1_000)));
    tokio::select! {
        _ = first.refused() => panic!("it would wait for ever"),
        _ = second.refused() => panic!("it is paid for"),
        _ = late.refused() => panic!("it is paid for"),
        () = pass(&budget, 10_000 * MS) => {}
    }
    let admitted: u64 = budget.snapshot().consumers.iter().map(|c| c.admitted).sum();
    assert_eq!(admitted, 2);
}

#[tokio::test(start_paused = true)]
async fn a_bid_whose_callers_have_gone_is_over() {
    let budget = budget(&[(1, 1_000)]);
    let charge = spend(&budget, 0).await;
    let bid = budget.bid(all(&budget));
    let entry = bid.enter(ask(&budget, 1, 5_000 * MS)).unwrap();
    drop(entry);
    assert!(bid.granted().await.is_none());
    assert_eq!(bid.enter(ask(&budget, 1, 5_000 * MS)).unwrap_err(), Denied::Closed);
    let door = bid.door();
    drop(bid);
    assert_eq!(door.enter(ask(&budget, 1, 5_000 * MS)).unwrap_err(), Denied::Closed);
    charge.settled();
    assert_eq!((budget.snapshot().waiting, budget.snapshot().account[0].used), (0, 1));
}

/// What its tasks hold is given back while it shuts down, and starts no timer any more.
#[test]
fn a_runtime_can_end_while_somebody_waits() {
    let (ended, has_ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let budget = Budget::new(plan(&[(1, 1_000)], 4), Clock::system());
        for seat in 0..4 {
            let budget = Arc::clone(&budget);
            drop(runtime.spawn(async move {
                let _charge = spend(&budget, seat).await;
                std::future::pending::<()>().await;
            }));
        }
        runtime.block_on(async {
            while budget.snapshot().waiting < 3 {
                tokio::task::yield_now().await;
            }
        });
        drop(runtime);
        ended.send(budget.snapshot().waiting).unwrap();
    });
    assert_eq!(has_ended.recv_timeout(Duration::from_secs(20)), Ok(0));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_grant_may_be_given_up_and_taken_up_again() {
    let budget = budget(&[(1, 1_000)]);
    spend(&budget, 0).await.settled();
    let bid = budget.bid(all(&budget));
    let _entry = bid.enter(ask(&budget, 1, 5_000 * MS)).unwrap();
    for _ in 0..15 {
        tokio::select! {
            biased;
            () = pass(&budget, 70 * MS) => {}
            permit = bid.granted() => {
                assert_eq!(permit.unwrap().granted_at(), at(1_000));
                return;
            }
        }
    }
    panic!("never granted");
}

#[tokio::test(start_paused = true)]
async fn a_grant_waits_for_whoever_asks_and_goes_back_if_nobody_does() {
    let budget = budget(&[(1, 1_000)]);
    spend(&budget, 0).await.settled();
    let bid = budget.bid(all(&budget));
    let _entry = bid.enter(ask(&budget, 1, 5_000 * MS)).unwrap();
    pass(&budget, 1_500 * MS).await;
    let permit = bid.granted().await.unwrap();
    assert_eq!(permit.granted_at(), at(1_000), "granted while nobody listened");
    drop(permit);
    // A grant that nobody took is given back with its bid.
    let bid = budget.bid(all(&budget));
    let _entry = bid.enter(ask(&budget, 1, MS)).unwrap();
    assert_eq!(budget.snapshot().account[0].used, 1);
    drop(bid);
    assert_eq!(budget.snapshot().account[0].used, 0);
}

#[tokio::test(start_paused = true)]
async fn a_background_refresh_takes_only_what_nobody_wants() {
    let budget = budget(&[(2, 1_000), (1, 3_000)]);
    let first = (0..1).collect();
    let spare = budget.try_now(first, 3).unwrap();
    drop(spare);
    spend(&budget, 0).await.settled();
    let bid = budget.bid(all(&budget));
    let entry = bid.enter(ask(&budget, 1, 60_000 * MS)).unwrap();
    assert!(budget.try_now(first, 3).is_none(), "somebody waits for the other limit and wants this one too");
    drop(entry);
    assert!(budget.try_now(first, 3).is_some());
    let (over, held_up) = budget.charge_anyway(all(&budget), 2);
    assert_eq!(held_up.unwrap().to_string(), "account: limit1");
    assert_eq!(budget.snapshot().account[1].used, 2);
    assert_eq!(budget.view(2, all(&budget))[1].remaining, 0);
    drop(over);
}

#[tokio::test(start_paused = true)]
async fn the_timer_ends_when_nobody_waits_or_the_budget_is_gone() {
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let budget = budget(&[(1, 1_000)]);
    spend(&budget, 0).await.settled();
    assert_eq!(alive(), 0);
    let bid = budget.bid(all(&budget));
    let entry = bid.enter(ask(&budget, 1, 5_000 * MS)).unwrap();
    assert_eq!(alive(), 1);
    drop(entry);
    pass(&budget, 1_001 * MS).await;
    assert_eq!(alive(), 0);
    spend(&budget, 0).await.settled();
    let entry = bid.enter(ask(&budget, 1, 5_000 * MS));
    assert_eq!(entry.unwrap_err(), Denied::Closed);
    drop(bid);
    assert_eq!(Arc::strong_count(&budget), 1);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_sees_what_is_left_for_it() {
    let mut plan = plan(&[(10, 1_000)], 4);
    plan.divisions[1].reserve = vec![super::laws::quantity(0, 4)];
    plan.consumers[1].reserve = vec![super::laws::quantity(0, 3)];
    plan.consumers[2].caps = vec![super::laws::quantity(0, 5)];
    let budget = Budget::new(plan, Clock::virtual_at(UnixTime::from_secs(1_000)));
    let left = || (0..4).map(|seat| budget.view(seat, all(&budget))[0].remaining).collect::<Vec<_>>();
    assert_eq!(left(), [6, 10, 5, 7]);
    let charge = spend(&budget, 1).await;
    assert_eq!(left(), [6, 9, 5, 7]);
    drop(charge);
    let view = budget.view(2, all(&budget)).remove(0);
    assert_eq!((view.allowed, view.window, view.reset), (5, 1_000 * MS, 1_500 * MS));
}

/// Grants come at these edges and at no moment before: of a day in Los Angeles, over
/// the night that has 25 hours, and of its months.
#[tokio::test(start_paused = true)]
async fn edges_of_another_zone_are_its_own_through_daylight_saving() {
    let wall = |text: &str| {
        let stamp: jiff::Timestamp = text.parse().unwrap();
        UnixTime::from_nanos(stamp.as_nanosecond().try_into().unwrap())
    };
    let (at, zone) = (jiff::civil::Time::midnight(), jiff::tz::TimeZone::get("America/Los_Angeles").unwrap());
    let day = Calendar::Daily { at, zone: zone.clone() };
    let month = Calendar::Monthly { at, zone };
    for (calendar, edges) in [
        (day, ["2026-11-01T07:00:00Z", "2026-11-02T08:00:00Z", "2026-11-03T08:00:00Z"]),
        (month, ["2026-11-01T07:00:00Z", "2026-12-01T08:00:00Z", "2027-01-01T08:00:00Z"]),
    ] {
        let mut plan = plan(&[(2, 1_000)], 4);
        plan.limits[0].window = Window::Calendar(calendar);
        let budget = Budget::new(plan, Clock::virtual_at(wall("2026-10-31T20:00:00Z")));
        for edge in edges.map(wall) {
            for _ in 0..2 {
                spend(&budget, 0).await.settled();
            }
            let bid = budget.bid(all(&budget));
            let hasty = bid.enter(ask(&budget, 1, MS));
            let Err(Denied::Refused(refusal)) = hasty else { panic!("a third is admitted") };
            let left = edge.since(budget.clock().wall());
            // The vendor's clock may be behind ours by as much as is not known of it.
            let late = refusal.retry_after.checked_sub(left).expect("never before the edge");
            assert!(late <= 3_000 * MS, "{late:?} after the edge");
            pass(&budget, refusal.retry_after).await;
        }
    }
}

fn refused_by_vendor(budget: &Budget, after: Duration) -> super::Closed {
    let (set, sent) = (all(budget), budget.now());
    budget.refused_by_vendor(set, sent, Some(after)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_served_in_time_any_more_is_told_at_once() {
    let budget = budget(&[(1, 1_000)]);
    spend(&budget, 0).await.settled();
    let bids = [budget.bid(all(&budget)), budget.bid(all(&budget)), budget.bid(all(&budget))];
    let short = bids[0].enter(ask(&budget, 1, 4_500 * MS)).unwrap();
    let joined = bids[0].enter(ask(&budget, 3, 2_000 * MS)).unwrap();
    let long = bids[1].enter(ask(&budget, 2, 30_000 * MS)).unwrap();
    let behind = bids[2].enter(ask(&budget, 2, 10_900 * MS)).unwrap();
    pass(&budget, 500 * MS).await;
    // Ten seconds from now on, says the vendor; whoever has no more is refused now.
    refused_by_vendor(&budget, 10_000 * MS);
    for (entry, retry_at) in [(short, 10_500), (joined, 10_500), (behind, 11_500)] {
        let refusal = entry.refused().await;
        assert_eq!((refusal.reason, budget.now()), (Reason::Limit, at(500)));
        assert!(refusal.retry_at >= at(retry_at), "{refusal:?}");
        drop(entry);
    }
    assert!(bids[0].granted().await.is_none());
    let granted = bids[1].granted().await.unwrap();
    assert_eq!((granted.seat(), granted.granted_at(), long.has_paid()), (2, at(10_500), true));
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_grew_old_is_looked_at_again() {
    let budget = budget(&[(4, 10_000)]);
    let permits = [0, 1].map(|seat| budget.try_now(all(&budget), seat).unwrap());
    pass(&budget, 500 * MS).await;
    refused_by_vendor(&budget, 3_000 * MS);
    let [mut young, mut old] = permits;
    assert_eq!(young.still_stands().await, Ok(()), "in a second nothing is looked at");
    pass(&budget, 600 * MS).await;
    assert_eq!(old.still_stands().await, Err(super::Outdated));
    drop(old);
    drop(young);
    // Where requests keep their distance, they keep it when one of them was held up.
    budget.space_out(0);
    let gap = budget.snapshot().vendor[0].gap.unwrap();
    pass(&budget, 20_000 * MS).await;
    let mut held_up = budget.try_now(all(&budget), 0).unwrap();
    pass(&budget, gap).await;
    let (second, at) = (budget.try_now(all(&budget), 1).unwrap(), budget.now());
    pass(&budget, 100 * MS).await;
    assert_eq!(held_up.still_stands().await, Ok(()));
    let late = budget.now().since(at + gap);
    assert!(late <= MS, "{late:?}");
    assert!(budget.try_now(all(&budget), 2).is_none(), "and the next one keeps it to that");
    drop((held_up, second));
}

#[tokio::test(start_paused = true)]
async fn a_promise_lasts_until_the_vendor_breaks_it() {
    let mut plan = plan(&[(1, 1_000)], 4);
    plan.counted_within = Some(100 * MS);
    let budget = Budget::new(plan, Clock::virtual_at(UnixTime::from_secs(1_000)));
    let mut charge = spend(&budget, 0).await;
    assert!(charge.wants_last_byte());
    charge.last_byte();
    pass(&budget, 1_100 * MS).await;
    assert_eq!(budget.snapshot().account[0].used, 0, "W after the promise, though no head has come");
    charge.settled();
    assert_eq!(budget.snapshot().account[0].used, 0);
    let mut in_flight = spend(&budget, 0).await;
    in_flight.last_byte();
    pass(&budget, 50 * MS).await;
    let closed = refused_by_vendor(&budget, 10 * MS);
    assert!(closed.withdrawn && budget.snapshot().counted_within.is_none());
    pass(&budget, 700 * MS).await;
    in_flight.settled();
    pass(&budget, 900 * MS).await;
    assert_eq!(budget.snapshot().account[0].used, 1, "W after the head, as without a promise");
    pass(&budget, 100 * MS).await;
    assert_eq!(budget.snapshot().account[0].used, 0);
    assert!(!refused_by_vendor(&budget, 10 * MS).withdrawn, "once");
    pass(&budget, 10_000 * MS).await;
    let charge = spend(&budget, 0).await;
    assert!(!charge.wants_last_byte());
}

#[tokio::test(start_paused = true)]
async fn who_waits_ahead_is_counted_whoever_it_is() {
    let budget = budget(&[(2, 1_000)]);
    spend(&budget, 0).await.settled();
    pass(&budget, 300 * MS).await;
    spend(&budget, 1).await.settled();
    let told = |seat| {
        let bid = budget.bid(all(&budget));
        let Err(Denied::Refused(refusal)) = bid.enter(ask(&budget, seat, Duration::ZERO)) else {
            panic!("nothing is free")
        };
        refusal.retry_at
    };
    assert_eq!(told(2), at(1_000));
    let bids = [budget.bid(all(&budget)), budget.bid(all(&budget))];
    let _waiting = bids.each_ref().map(|bid| bid.enter(ask(&budget, 3, 60_000 * MS)).unwrap());
    // Two of another consumer, of another division, wait for the two slots there are; by
    // its share this one goes between them.
    assert_eq!((told(2), told(3)), (at(1_300), at(2_000)));
}
