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

mod crowd;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group};
use weir::clock::Moment;

use crowd::{CALLERS, Crowd, Size, ask, fast, full, stand};

/// Consumers, and the divisions they are in.
const SIZES: [Size; 3] = [
    Size { consumers: 10, divisions: 2 },
    Size { consumers: 1_000, divisions: 50 },
    Size { consumers: 10_000, divisions: 500 },
];
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
