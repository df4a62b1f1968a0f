//! What an admission costs: round trips, and Redis's own time in the script. Time is
//! virtual, so the calls are those that replicas would make; the script is run for real.
//! `cargo test --lib what_an_admission_costs -- --ignored --nocapture`, with nothing beside it.

use std::time::Duration;

use super::super::super::laws::history::vendors;
use super::super::super::laws::plan;
use super::super::super::laws::world::Caller;
use super::greedy;
use super::world::World;

/// One row: replicas, consumers, limits.
const ROWS: [(usize, usize, usize); 6] =
    [(1, 10, 1), (3, 10, 1), (10, 10, 1), (3, 1_000, 1), (3, 10, 4), (3, 10, 8)];

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// All come at once, and 50 a second may leave.
    Everybody,
    /// 4,000 a second come, and may leave.
    Nobody,
}

/// Round trips and microseconds of Redis for one admission.
fn cost(kind: Kind, (replicas, consumers, limits): (usize, usize, usize)) -> (f64, f64) {
    let (requests, gap, number) = match kind {
        Kind::Everybody => (50, Duration::ZERO, 600),
        Kind::Nobody => (100_000, Duration::from_micros(250), 2_000),
    };
    // The tightest is the first.
    let limits: Vec<(u32, u64)> = (0..limits as u64).map(|at| (requests, 1_000 + at)).collect();
    let plan = plan(&limits, consumers);
    let mut world = World::new(&plan, replicas, vendors(&plan, 0), Duration::from_micros(500));
    let caller = |at: usize| Caller {
        gap,
        up: Duration::from_millis(20),
        down: Duration::from_millis(20),
        set: u8::MAX,
        ..greedy(at % replicas, at / replicas % consumers)
    };
    let callers: Vec<Caller> = (0..number).map(caller).collect();
    world.redis.command(&["CONFIG", "RESETSTAT"]);
    world.run(&callers, &[]);
    let stats = world.redis.command(&["INFO", "commandstats"]);
    let script =
        stats.text().unwrap().lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:")).unwrap();
    let read = |name: &str| -> f64 {
        script
            .split(',')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
            .unwrap()
            .parse()
            .unwrap()
    };
    let served = world.served().len() as f64;
    (world.calls as f64 / served, read("usec") / served)
}

#[test]
#[ignore = "measures"]
fn what_an_admission_costs() {
    println!(
        "| replicas | consumers | limits | nobody waits: round trips | Redis us | all wait: round trips | Redis us |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for row @ (replicas, consumers, limits) in ROWS {
        let ((free, free_us), (full, full_us)) = (cost(Kind::Nobody, row), cost(Kind::Everybody, row));
        println!(
            "| {replicas} | {consumers} | {limits} | {free:.2} | {free_us:.0} | {full:.2} | {full_us:.0} |"
        );
    }
}
