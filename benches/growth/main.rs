//! What a request costs as consumers, limits, kept objects and waiting callers grow:
//! a table, and a plot that shows it flat, logarithmic or neither.
//!
//! CPU time of the one thread that does it, as Linux's scheduler counts it, so that
//! what runs beside it does not count; of several batches the cheapest.
//!
//! * `hit`: from the parsed request to the answer, without sockets.
//! * `book`: one request is charged to all its limits, leaves, and its head comes.
//! * `next`: everybody waits; a slot comes back, the next is found and charged, and asks again.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its table")]

mod budget;
#[path = "../crowd.rs"]
mod crowd;
mod hits;
mod plot;

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;

use plot::Curve;

/// The one that weir has.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How far it goes, and where it is written.
#[derive(Debug, Parser)]
#[command(name = "growth")]
struct Args {
    /// Nothing larger than this.
    #[arg(long, default_value_t = 1_000_000)]
    up_to: usize,
    /// The plot.
    #[arg(long, default_value = "target/growth.svg")]
    plot: PathBuf,
    /// cargo bench says so.
    #[arg(long, hide = true)]
    bench: bool,
    /// The smallest size of each only: `cargo bench -- --test`.
    #[arg(long)]
    test: bool,
}

/// One point: how many there were, and nanoseconds of CPU for one request.
pub(crate) type Point = (usize, f64);

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let sizes = |all: &[usize]| -> Vec<usize> {
        let some = if args.test { &all[..1] } else { all };
        some.iter().copied().filter(|size| *size <= args.up_to).collect()
    };
    let consumers = sizes(&[10, 100, 1_000, 10_000, 100_000]);
    let curves = vec![
        Curve { name: "hit, of consumers", points: hits::consumers(&consumers)? },
        Curve {
            name: "hit, of objects kept",
            points: hits::objects(&sizes(&[1_000, 10_000, 100_000, 1_000_000]))?,
        },
        Curve { name: "book, of consumers", points: budget::consumers(&consumers)? },
        Curve { name: "book, of limits", points: budget::limits(&sizes(&[1, 2, 4, 8, 16, 32, 64]))? },
        Curve {
            name: "next, of callers waiting",
            points: budget::waiting(&sizes(&[100, 1_000, 10_000, 100_000]))?,
        },
    ];
    println!("| what | how many: ns of CPU |\n| --- | --- |");
    for Curve { name, points } in &curves {
        let all: Vec<_> = points.iter().map(|(of, ns)| format!("{of}: {ns:.0}")).collect();
        println!("| {name} | {} |", all.join(", "));
    }
    std::fs::create_dir_all(args.plot.parent().context("--plot names no file")?)?;
    std::fs::write(&args.plot, plot::svg(&curves))?;
    Ok(())
}

/// Nanoseconds of CPU that one call costs: the cheapest of some batches.
pub(crate) fn cost(mut once: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    const BATCHES: usize = 7;
    const CALLS: u32 = 20_000;
    let mut least = f64::INFINITY;
    for _ in 0..BATCHES {
        let before = cpu_ns()?;
        for _ in 0..CALLS {
            once()?;
        }
        least = least.min((cpu_ns()? - before) as f64 / f64::from(CALLS));
    }
    Ok(least)
}

/// What this thread has run for (clock_gettime(2): /proc tells it only to a tick of 4 ms).
fn cpu_ns() -> anyhow::Result<u64> {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Ok(u64::try_from(used.tv_sec)? * 1_000_000_000 + u64::try_from(used.tv_nsec)?)
}
