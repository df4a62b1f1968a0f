//! What one decision of the budget costs, and what its memory is, from few consumers
//! to the most that the design names, with ten callers in the queue for each.
//!
//! * `book`, `settle`: nobody waits; one request is charged to every limit of its
//!   path and sent; its head comes.
//! * `next`: everybody waits; a slot comes back, the next caller by share is found
//!   and charged, and stands in the queue again.
//! * `enter_leave`: everybody waits; one more caller comes, and hangs up.
//! * `refuse`: the account is used up and a caller will not wait: the cost of an honest no.
//! * `refuse/among 100`: the same while so many wait that what is to come is played out.
//!
//! See README.md for how to run it and what to compare.

#![expect(clippy::print_stdout, reason = "figures that no group of criterion's can measure are told so")]

use std::collections::VecDeque;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group};
use futures_util::FutureExt;
use weir::budget::{Ask, Bid, Budget, Entry, Permit};
use weir::clock::{Clock, Moment};
use weir::quota::{
    ConsumerPlan, DivisionPlan, Limit, LimitSet, Pace, Plan, QueueBounds, Routes, Scope, Share, Window,
};

/// Consumers, and the divisions they are in.
const SIZES: [Size; 3] = [
    Size { consumers: 10, divisions: 2 },
    Size { consumers: 1_000, divisions: 50 },
    Size { consumers: 10_000, divisions: 500 },
];
/// Callers in the queue for each consumer.
const CALLERS: usize = 10;
const WHOLE: u32 = 1_000_000;

#[derive(Clone, Copy)]
struct Size {
    consumers: usize,
    divisions: usize,
}

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

fn plan(Size { consumers, divisions }: Size, limits: Vec<Limit>) -> Plan {
    let share = |among: usize| Share(WHOLE / u32::try_from(among).unwrap_or(WHOLE).max(1));
    let division = |index| DivisionPlan {
        name: format!("division-{index}").parse().expect("letters and digits are a name"),
        share: share(divisions),
        reserve: Vec::new(),
        caps: Vec::new(),
    };
    let consumer = |index| ConsumerPlan {
        name: format!("consumer-{index}").parse().expect("letters and digits are a name"),
        division: index % divisions,
        share: share(consumers / divisions),
        reserve: Vec::new(),
        caps: Vec::new(),
    };
    Plan {
        limits,
        divisions: (0..divisions).map(division).collect(),
        consumers: (0..consumers).map(consumer).collect(),
        pace: Pace::Exact,
        counted_within: None,
        linger: Duration::ZERO,
        queue: QueueBounds { per_consumer: CALLERS + 1, total: consumers * (CALLERS + 1) },
    }
}

/// Windows so short that charges lapse as fast as new ones come, however fast that is.
fn fast(size: Size) -> (Arc<Budget>, LimitSet) {
    let limits = vec![
        limit("short", 60_000, Duration::from_millis(1)),
        limit("long", 60_000, Duration::from_millis(10)),
    ];
    let set = (0..limits.len()).collect();
    (Budget::new(plan(size, limits), Clock::system()), set)
}

/// Two limits of so many requests that nothing lapses from while it runs, and two that never bind.
fn full(size: Size, requests: u32) -> (Arc<Budget>, LimitSet) {
    const HOUR: Duration = Duration::from_secs(3_600);
    let limits = vec![
        limit("tight", requests, HOUR),
        limit("tighter", requests, HOUR * 2),
        limit("wide", 100_000_000, HOUR * 3),
        limit("wider", 100_000_000, HOUR * 24),
    ];
    let set = (0..limits.len()).collect();
    (Budget::new(plan(size, limits), Clock::system()), set)
}

fn ask(seat: usize, deadline: Moment) -> Ask {
    Ask { seat, deadline, urgency: 3 }
}

fn book(c: &mut Criterion) {
    let mut group = c.benchmark_group("book");
    for size in SIZES {
        let ((budget, set), mut seat) = (fast(size), 0);
        group.bench_function(BenchmarkId::from_parameter(size.consumers), |b| {
            let book = |()| {
                seat = (seat + 7) % size.consumers;
                budget.try_now(set, black_box(seat)).expect("the limits are out of reach").sent()
            };
            // What comes back is settled as it is dropped, which is not measured.
            b.iter_batched(|| (), book, BatchSize::NumIterations(1_000));
        });
    }
    group.finish();
}

fn settle(c: &mut Criterion) {
    let mut group = c.benchmark_group("settle");
    for size in SIZES {
        let ((budget, set), mut seat) = (fast(size), 0);
        group.bench_function(BenchmarkId::from_parameter(size.consumers), |b| {
            let book = || {
                seat = (seat + 7) % size.consumers;
                budget.try_now(set, seat).expect("the limits are out of reach").sent()
            };
            b.iter_batched(book, |charge| charge.settled(), BatchSize::NumIterations(1_000));
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

/// Everybody wants the only slot, ten times each, and somebody has it.
struct Crowd {
    budget: Arc<Budget>,
    set: LimitSet,
    permit: Option<Permit>,
    waiting: VecDeque<(usize, (Bid, Entry))>,
}

impl Crowd {
    fn of(size: Size) -> Self {
        let (budget, set) = full(size, 1);
        let permit = budget.try_now(set, 0);
        let seats = (0..CALLERS).flat_map(|_| 0..size.consumers);
        let waiting = seats.map(|seat| (seat, stand(&budget, set, seat))).collect();
        Self { budget, set, permit, waiting }
    }

    /// The slot is refunded and goes to whoever is next, who then asks again.
    fn serve(&mut self) {
        drop(self.permit.take());
        // With equal shares that is the one who has waited longest.
        let at = self.waiting.iter().position(|(_, (bid, _))| {
            self.permit = bid.granted().now_or_never().flatten();
            self.permit.is_some()
        });
        let (seat, place) = at.and_then(|at| self.waiting.remove(at)).expect("somebody is next");
        drop(place);
        self.waiting.push_back((seat, stand(&self.budget, self.set, seat)));
    }
}

fn next(c: &mut Criterion) {
    let mut group = c.benchmark_group("next");
    for size in SIZES {
        let mut crowd = Crowd::of(size);
        group.bench_function(BenchmarkId::from_parameter(size.consumers), |b| b.iter(|| crowd.serve()));
    }
    group.finish();
}

fn enter_leave(c: &mut Criterion) {
    let mut group = c.benchmark_group("enter_leave");
    for size in SIZES {
        let (crowd, mut seat) = (Crowd::of(size), 0);
        group.bench_function(BenchmarkId::from_parameter(size.consumers), |b| {
            b.iter(|| {
                seat = (seat + 7) % size.consumers;
                stand(&crowd.budget, crowd.set, black_box(seat))
            });
        });
    }
    group.finish();
}

fn refuse(c: &mut Criterion) {
    let mut group = c.benchmark_group("refuse");
    for size in SIZES {
        let (budget, set) = full(size, 20);
        for seat in 0..20 {
            budget.try_now(set, seat % size.consumers).expect("there are twenty").sent().settled();
        }
        group.bench_function(BenchmarkId::from_parameter(size.consumers), |b| {
            b.iter(|| budget.bid(set).enter(ask(black_box(3), Moment::ZERO)).is_err());
        });
    }
    let crowd = Crowd::of(SIZES[0]);
    group.bench_function(format!("among {}", crowd.waiting.len()), |b| {
        b.iter(|| crowd.budget.bid(crowd.set).enter(ask(black_box(3), Moment::ZERO)).is_err());
    });
    group.finish();
}

/// What this process has in memory.
fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<usize>().ok()? * 1_024)
}

/// Bytes per consumer that does nothing, and per caller in the queue, at the largest size;
/// and how long everybody is held up while the vendor's 429 closes a window.
fn memory() -> Option<()> {
    let size = SIZES[SIZES.len() - 1];
    let before = resident_bytes()?;
    let (budget, set) = full(size, 1);
    let idle = resident_bytes()?;
    let _permit = budget.try_now(set, 0);
    let mut waiting = Vec::with_capacity(CALLERS * size.consumers);
    let reserved = resident_bytes()?;
    waiting.extend((0..CALLERS).flat_map(|_| 0..size.consumers).map(|seat| stand(&budget, set, seat)));
    let crowded = resident_bytes()?;
    println!(
        "memory: {} bytes per idle consumer of {}, {} bytes per waiting request of {} (here its caller's handles too)",
        (idle - before) / size.consumers,
        size.consumers,
        (crowded - reserved) / waiting.len(),
        waiting.len(),
    );
    let clock = budget.clock();
    let sent = clock.now();
    budget.refused_by_vendor(set, sent, Some(Duration::from_secs(60)))?;
    println!("a 429 with all of them waiting: {:?}", clock.now().since(sent));
    Some(())
}

criterion_group!(benches, book, settle, next, enter_leave, refuse);

fn main() {
    if memory().is_none() {
        println!("memory: this system does not tell");
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
