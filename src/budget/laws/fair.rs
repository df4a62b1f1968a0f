//! Shares under saturation, reserves, herds and refunds: laws 3, 4, 5 and 7 by example.

use std::time::Duration;

use super::{jain, plan, quantity};
use crate::budget::desk::{Ask, BidId, Desk, Flight, Grant, Outcome};
use crate::budget::hierarchy::{Books, Gate};
use crate::budget::refusal::Denied;
use crate::clock::{Moment, UnixTime};
use crate::quota::*;

const MS: Duration = Duration::from_millis(1);

fn desk(plan: &Plan) -> Desk {
    Desk::new(plan.clone(), Books::new(plan, Moment::ZERO, UnixTime::from_secs(100)))
}

fn at(millis: u64) -> Moment {
    Moment::ZERO + Duration::from_millis(millis)
}

fn all(plan: &Plan) -> LimitSet {
    (0..plan.limits.len()).collect()
}

fn ask(desk: &mut Desk, seat: usize, set: LimitSet, now: Moment) -> BidId {
    let bid = desk.open(set);
    desk.enter(bid, Ask { seat, deadline: Moment::NEVER, urgency: 3 }, now).unwrap();
    bid
}

fn granted(desk: &mut Desk) -> Vec<Grant> {
    let decided = desk.take_decided();
    let grants = decided.into_iter().filter_map(|bid| match desk.take(bid) {
        Outcome::Granted(grant) => Some(grant),
        Outcome::Waiting | Outcome::Over => None,
    });
    grants.collect()
}

fn settle(desk: &mut Desk, grant: Grant, now: Moment) {
    desk.settle(grant, Flight { sent: grant.at, counted_by: None }, now);
}

/// Every seat that `asks` at a moment keeps 16 requests outstanding, each answered
/// after `latency`; counts what each was granted in each stretch of `window`.
fn saturate(
    plan: &Plan,
    until: Moment,
    window: Duration,
    asks: impl Fn(usize, Moment) -> bool,
) -> Vec<Vec<u64>> {
    let (mut desk, mut now, set) = (desk(plan), Moment::ZERO, all(plan));
    let (seats, latency) = (plan.consumers.len(), 60 * MS);
    let mut outstanding = vec![0; seats];
    let mut in_flight: Vec<(Moment, Grant)> = Vec::new();
    let mut served = vec![vec![0; seats]];
    while now < until {
        for (seat, outstanding) in outstanding.iter_mut().enumerate() {
            while *outstanding < 16 && asks(seat, now) {
                *outstanding += 1;
                ask(&mut desk, seat, set, now);
            }
        }
        for grant in granted(&mut desk) {
            let stretch = usize::try_from(now.since(Moment::ZERO).as_nanos() / window.as_nanos()).unwrap();
            served.resize(served.len().max(stretch + 1), vec![0; seats]);
            served[stretch][grant.seat as usize] += 1;
            in_flight.push((now + latency, grant));
        }
        let head = in_flight.iter().map(|(head, _)| *head).min();
        now = head.into_iter().chain(desk.next_wake()).min().unwrap().max(now);
        let heads = in_flight.extract_if(.., |(head, _)| *head <= now).collect::<Vec<_>>();
        for (_, grant) in heads {
            outstanding[grant.seat as usize] -= 1;
            settle(&mut desk, grant, now);
        }
        desk.pump(now);
    }
    served
}

/// Eight consumers in two divisions, shares 1 and 2 in turn.
fn contended() -> Plan {
    let mut plan = plan(&[(200, 20_000)], 8);
    plan.divisions.iter_mut().for_each(|division| division.share = Share(500_000));
    for (seat, consumer) in plan.consumers.iter_mut().enumerate() {
        consumer.share = Share(166_666 * (1 + u32::try_from(seat / 2 % 2).unwrap()));
    }
    plan
}

#[test]
fn under_saturation_everyone_gets_its_share_and_nothing_lies_idle() {
    let plan = contended();
    // A newcomer every two seconds.
    let served = saturate(&plan, at(120_000), 20_000 * MS, |seat, now| now >= at(2_000 * seat as u64));
    for (window, served) in served.iter().enumerate().skip(2) {
        let by_share = plan.consumers.iter().zip(served).map(|(c, n)| *n as f64 / f64::from(c.share.0));
        let fairness = jain(&by_share.collect::<Vec<_>>());
        assert!(fairness >= 0.99, "window {window}: {served:?} is {fairness}");
    }
    let used: u64 = served[1..].iter().flatten().sum();
    let possible = 200.0 * 5.0 * 20_000.0 / (20_000.0 + 60.0);
    assert!(used as f64 >= possible * 0.99, "{used} of {possible}");
}

#[test]
fn what_a_quiet_owner_leaves_is_lent_and_comes_back() {
    let plan = contended();
    let served = saturate(&plan, at(80_000), 20_000 * MS, |seat, now| seat == 0 || now >= at(40_000));
    assert!(served[1][0] >= 195, "alone it has all: {:?}", served[1]);
    assert!(served[3][0] <= 20, "then its share of 16 or 17: {:?}", served[3]);
}

#[test]
fn nobody_starves_whose_share_is_below_one_request() {
    let mut plan = plan(&[(5, 1_000)], 60);
    plan.consumers[0].share = Share(900_000);
    let served = saturate(&plan, at(60_000), 60_000 * MS, |_, _| true);
    assert!(served[0].iter().all(|&n| n >= 1), "{:?}", served[0]);
}

#[test]
fn urgency_orders_one_consumers_own() {
    let plan = plan(&[(1, 1_000)], 4);
    let mut desk = desk(&plan);
    let set = all(&plan);
    ask(&mut desk, 0, set, at(0));
    let first = granted(&mut desk).remove(0);
    settle(&mut desk, first, at(0));
    let calm = desk.open(set);
    desk.enter(calm, Ask { seat: 0, deadline: Moment::NEVER, urgency: 6 }, at(1)).unwrap();
    let urgent = desk.open(set);
    desk.enter(urgent, Ask { seat: 0, deadline: Moment::NEVER, urgency: 1 }, at(2)).unwrap();
    desk.pump(at(1_000));
    assert!(matches!(desk.take(urgent), Outcome::Granted(_)));
    assert_eq!(desk.take(calm), Outcome::Waiting);
}

#[test]
fn a_herd_is_spread_over_the_next_slots() {
    let plan = plan(&[(3, 1_000)], 4);
    let mut desk = desk(&plan);
    for millis in [0, 100, 200] {
        ask(&mut desk, 0, all(&plan), at(millis));
        let grant = granted(&mut desk).remove(0);
        settle(&mut desk, grant, at(millis));
    }
    let told = (0..5).map(|seat| {
        let bid = desk.open(all(&plan));
        let ask = Ask { seat: seat % 4, deadline: at(300), urgency: 3 };
        let Err(Denied::Refused(refusal)) = desk.enter(bid, ask, at(300)) else { panic!("admitted") };
        refusal.retry_at
    });
    assert_eq!(told.collect::<Vec<_>>(), [1_000, 1_100, 1_200, 1_000, 1_100].map(at));
}

/// A lost request may be counted after the one that goes first has lapsed again.
#[test]
fn a_lost_request_puts_nobody_off_beyond_what_comes_round() {
    let mut plan = plan(&[(2, 1_000)], 4);
    plan.linger = 5_000 * MS;
    let mut desk = desk(&plan);
    let set = all(&plan);
    ask(&mut desk, 0, set, at(0));
    ask(&mut desk, 1, set, at(0));
    let [answered, lost] = granted(&mut desk).try_into().unwrap();
    settle(&mut desk, answered, at(10));
    desk.lose(lost, Flight { sent: at(0), counted_by: None }, at(20));
    ask(&mut desk, 2, set, at(30));
    let bid = desk.open(set);
    let told = desk.enter(bid, Ask { seat: 2, deadline: at(40), urgency: 3 }, at(40));
    let Err(Denied::Refused(refusal)) = told else { panic!("admitted") };
    // The slot of 1,010 is taken once and comes round at 2,010; the lost one's comes at 6,020.
    assert_eq!(refusal.retry_at, at(2_010));
}

#[test]
fn bounds_are_an_immediate_no_but_not_for_those_who_need_not_wait() {
    let mut plan = plan(&[(1, 1_000), (9, 1_000)], 4);
    plan.queue = QueueBounds { per_consumer: 2, total: 3 };
    let mut desk = desk(&plan);
    ask(&mut desk, 0, all(&plan), at(0));
    let mut enter = |seat, set| {
        let bid = desk.open(set);
        desk.enter(bid, Ask { seat, deadline: at(60_000), urgency: 3 }, at(0))
    };
    let mut reason = |seat, set| match enter(seat, set) {
        Ok(_) => "ok",
        Err(Denied::Refused(refusal)) => refusal.reason.as_str(),
        Err(Denied::Closed | Denied::Gone) => "closed",
    };
    let told = [0, 0, 0, 1, 1].map(|seat| reason(seat, all(&plan)));
    assert_eq!(told, ["ok", "ok", "queue_full", "ok", "all_queues_full"]);
    assert_eq!(reason(0, [1].into_iter().collect()), "ok");
}

#[test]
fn a_refund_restores_exactly() {
    let mut plan = plan(&[(3, 1_000), (5, 9_000)], 4);
    plan.divisions[1].reserve = vec![quantity(0, 1), quantity(1, 2)];
    plan.consumers[1].caps = vec![quantity(1, 2)];
    let mut desk = desk(&plan);
    let state = |desk: &Desk| {
        let (books, nodes) = (desk.books(), 2 + plan.consumers.len());
        let counts = (0..nodes).flat_map(|node| (0..2).map(move |limit| (node, limit)));
        let counts = counts.map(|(n, l)| (books.used_by(n, l), books.holds().held_for(n, l)));
        let account = (0..2).map(|limit| (books.window(limit).used(), books.holds().total(limit)));
        (counts.collect::<Vec<_>>(), account.collect::<Vec<_>>())
    };
    let before = state(&desk);
    let grants = [1, 1, 0].map(|seat| {
        ask(&mut desk, seat, all(&plan), at(5));
        granted(&mut desk).remove(0)
    });
    assert_ne!(state(&desk), before);
    for grant in grants {
        desk.refund(grant, at(6));
    }
    assert_eq!(state(&desk), before);
}

#[test]
fn a_days_reserve_is_let_go_as_far_as_it_can_no_longer_be_used() {
    let mut plan = plan(&[(10, 60_000), (100, 86_400_000)], 4);
    plan.limits[1].window = Window::Calendar(Calendar::Every(Duration::from_secs(86_400)));
    plan.divisions[1].reserve = vec![quantity(0, 2), quantity(1, 20)];
    let start = 86_400 - 10 * 60;
    let books = Books::new(&plan, Moment::ZERO, UnixTime::from_secs(start));
    let mut desk = Desk::new(plan.clone(), books);
    let held = |desk: &Desk| (desk.books().holds().total(0), desk.books().holds().total(1));
    // Ten minutes and two seconds of doubt are left: eleven minutes begin in them.
    assert_eq!(held(&desk), (2, 20));
    desk.pump(at(3 * 60_000));
    assert_eq!(held(&desk), (2, 2 * 8));
    let late = at(10 * 60_000 - 6_000);
    desk.pump(late);
    assert_eq!(held(&desk), (2, 2));
    // Others may have what was let go, and no more.
    let day: LimitSet = [1].into_iter().collect();
    for _ in 0..98 {
        let (grant, _) = desk.charge_anyway(0, day, late);
        settle(&mut desk, grant, late);
    }
    assert_eq!(desk.books().gate(day, late), Gate::OwnersOnly);
    assert!(desk.try_now(0, day, late).is_none());
    ask(&mut desk, 0, day, late);
    assert!(granted(&mut desk).is_empty());
    ask(&mut desk, 1, day, late);
    assert_eq!(granted(&mut desk).len(), 1, "the owner may");
    assert_eq!(desk.next_wake(), Some(late + Duration::from_secs(8)));
    desk.pump(late + Duration::from_secs(8));
    assert_eq!(granted(&mut desk).len(), 1, "the new day");
}

/// Law 6 at the size the design names. `--nocapture` tells what an admission costs.
#[test]
#[allow(clippy::print_stdout)]
fn ten_thousand_consumers_with_a_hundred_thousand_waiting() {
    for (seats, waiting) in [(100, 1_000), (10_000, 100_000)] {
        let mut plan = plan(&[(500, 1_000), (1_000_000, 3_600_000)], seats);
        let divisions = seats / 20;
        let template = plan.divisions[0].clone();
        plan.divisions = vec![template; divisions];
        plan.divisions
            .iter_mut()
            .for_each(|d| d.share = Share(1_000_000 / u32::try_from(divisions).unwrap()));
        plan.consumers.iter_mut().enumerate().for_each(|(seat, c)| c.division = seat % divisions);
        plan.consumers.iter_mut().step_by(7).for_each(|c| c.caps = vec![quantity(0, 1)]);
        let (mut desk, clock) = (desk(&plan), crate::clock::Clock::system());
        let started = clock.now();
        for caller in 0..waiting {
            ask(&mut desk, caller % seats, all(&plan), at(0));
        }
        let entered = clock.now();
        let (mut now, mut admitted) = (at(0), 0);
        while admitted < 5_000.min(waiting) {
            for grant in granted(&mut desk) {
                admitted += 1;
                settle(&mut desk, grant, now);
            }
            now = desk.next_wake().unwrap_or(now + 1_000 * MS);
            desk.pump(now);
        }
        let each = |time: Duration, count: usize| time / u32::try_from(count).unwrap();
        let (enter, admit) = (entered.since(started), clock.now().since(entered));
        println!(
            "{seats} consumers, {waiting} waiting: enter {:?}, admit and settle {:?}",
            each(enter, waiting),
            each(admit, admitted)
        );
    }
}
