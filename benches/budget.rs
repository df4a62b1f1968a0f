//! What one decision of the budget costs, with few consumers and with many.
//!
//! * `book_settle`: nobody waits; one request is charged to every limit of its
//!   path, sent and settled, and what has lapsed is let go.
//! * `next`: every consumer waits; a slot comes back, the next caller by share is
//!   found and charged, and stands in the queue again.
//! * `refuse`: the account is used up and a caller will not wait: the cost of an honest no.
//!
//! See README.md for how to run it and what to compare.

use std::collections::VecDeque;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use weir::budget::{Ask, Bid, Budget, Entry, Permit};
use weir::clock::{Clock, Moment};
use weir::quota::{
    ConsumerPlan, DivisionPlan, Limit, LimitSet, Pace, Plan, QueueBounds, Routes, Scope, Share, Window,
};

/// Consumers in ten divisions.
const SIZES: [usize; 2] = [10, 10_000];
const DIVISIONS: usize = 10;
const WHOLE: u32 = 1_000_000;

fn limit(name: &str, requests: u32, window: Duration) -> Limit {
    Limit {
        name: name.parse().expect("a word in lower case is a name"),
        requests: NonZeroU32::new(requests).expect("no limit here is zero"),
        slack: Duration::from_millis(2),
        window: Window::Sliding(window),
        scope: Scope::Account,
        routes: Routes::All,
    }
}

fn plan(consumers: usize, limits: Vec<Limit>) -> Plan {
    let share = |among: usize| Share(WHOLE / u32::try_from(among).unwrap_or(WHOLE).max(1));
    let division = |index| DivisionPlan {
        name: format!("division-{index}").parse().expect("letters and digits are a name"),
        share: share(DIVISIONS),
        reserve: Vec::new(),
        caps: Vec::new(),
    };
    let consumer = |index| ConsumerPlan {
        name: format!("consumer-{index}").parse().expect("letters and digits are a name"),
        division: index % DIVISIONS,
        share: share(consumers / DIVISIONS),
        reserve: Vec::new(),
        caps: Vec::new(),
    };
    Plan {
        limits,
        divisions: (0..DIVISIONS).map(division).collect(),
        consumers: (0..consumers).map(consumer).collect(),
        pace: Pace::Exact,
        counted_within: None,
        linger: Duration::from_secs(30),
        queue: QueueBounds::default(),
    }
}

/// Two limits of so many requests that nothing lapses from while it runs, and two that never bind.
fn budget(consumers: usize, requests: u32) -> (Arc<Budget>, LimitSet) {
    const HOUR: Duration = Duration::from_secs(3_600);
    let limits = vec![
        limit("tight", requests, HOUR),
        limit("tighter", requests, HOUR * 2),
        limit("wide", 100_000_000, HOUR * 3),
        limit("wider", 100_000_000, HOUR * 24),
    ];
    let set = (0..limits.len()).collect();
    (Budget::new(plan(consumers, limits), Clock::system()), set)
}

fn ask(seat: usize, deadline: Moment) -> Ask {
    Ask { seat, deadline, urgency: 3 }
}

fn book_settle(c: &mut Criterion) {
    let mut group = c.benchmark_group("book_settle");
    for consumers in SIZES {
        // Windows so short that charges lapse as fast as new ones come, however fast that is.
        let limits = vec![
            limit("short", 60_000, Duration::from_millis(1)),
            limit("long", 60_000, Duration::from_millis(10)),
        ];
        let set = (0..limits.len()).collect();
        let budget = Budget::new(plan(consumers, limits), Clock::system());
        let mut seat = 0;
        group.bench_function(BenchmarkId::from_parameter(consumers), |b| {
            b.iter(|| {
                seat = (seat + 7) % consumers;
                let permit = budget.try_now(set, black_box(seat)).expect("the limits are out of reach");
                permit.sent().settled();
            });
        });
    }
    group.finish();
}

/// A caller in the queue: a fetch of its own, as nobody else wants its URL.
fn stand(budget: &Budget, set: LimitSet, seat: usize) -> (Bid, Entry) {
    let bid = budget.bid(set);
    let entry = bid.enter(ask(seat, Moment::NEVER)).expect("the queue has room, and there is no deadline");
    (bid, entry)
}

fn permit_of(bid: &Bid) -> Option<Permit> {
    bid.granted().now_or_never().flatten()
}

fn next(c: &mut Criterion) {
    let mut group = c.benchmark_group("next");
    for consumers in SIZES {
        let (budget, set) = budget(consumers, 1);
        let mut permit = budget.try_now(set, 0);
        let mut waiting: VecDeque<_> = (0..consumers).map(|seat| (seat, stand(&budget, set, seat))).collect();
        group.bench_function(BenchmarkId::from_parameter(consumers), |b| {
            b.iter(|| {
                // Refunded: the slot is free, and goes to whoever is next.
                drop(permit.take());
                // With equal shares that is the one who has waited longest.
                let at = waiting.iter().position(|(_, (bid, _))| {
                    permit = permit_of(bid);
                    permit.is_some()
                });
                let (seat, place) = at.and_then(|at| waiting.remove(at)).expect("somebody is next");
                drop(place);
                waiting.push_back((seat, stand(&budget, set, seat)));
            });
        });
    }
    group.finish();
}

fn refuse(c: &mut Criterion) {
    let mut group = c.benchmark_group("refuse");
    for consumers in SIZES {
        let (budget, set) = budget(consumers, 20);
        for seat in 0..20 {
            budget.try_now(set, seat % consumers).expect("there are twenty").sent().settled();
        }
        group.bench_function(BenchmarkId::from_parameter(consumers), |b| {
            b.iter(|| budget.bid(set).enter(ask(black_box(3), Moment::ZERO)).is_err());
        });
    }
    group.finish();
}

criterion_group!(benches, book_settle, next, refuse);
criterion_main!(benches);
