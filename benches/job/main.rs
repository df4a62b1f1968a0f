//! The job itself, side by side: weir and its peers before vendors that count.
//!
//! * `contest`: six greedy callers before a strict vendor, all contenders at once,
//!   each with a vendor and callers of its own, so that the machine's noise is the
//!   same for all. What did the vendor refuse, what was used, who got how much?
//! * `replay`: a day of dashboards against caches whose clocks run fast
//!   (libfaketime). How many requests did the vendor see?
//!
//! `benches/job/run` installs the peers and starts this.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its tables")]

mod callers;
mod contest;
#[path = "../../src/proxy/dashboards/day.rs"]
mod day;
#[path = "../peers/machine.rs"]
#[allow(dead_code, reason = "the other bench pins and counts, this one only starts and stops")]
mod machine;
mod origin;
mod peer;
mod replay;

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use weir::clock;
use weir::emulator::{CountAt, Latency, Windows};

/// What is done, and for how long.
#[derive(Debug, Parser)]
#[command(name = "job")]
struct Args {
    /// Which parts; both by default.
    #[arg(long, value_delimiter = ',', default_value = "contest,day")]
    what: Vec<What>,
    /// Seconds of the contest.
    #[arg(long, default_value_t = 40)]
    seconds: u64,
    /// The vendor's one-way delay in milliseconds, A..B.
    #[arg(long, default_value = "10..80", value_parser = latency)]
    latency: Latency,
    /// How the vendor counts: sliding, fixed, counter or bucket:B.
    #[arg(long, default_value = "sliding")]
    windows: Windows,
    /// When it counts between arrival and head.
    #[arg(long, value_enum, default_value_t = CountAt::Between)]
    count_at: CountAt,
    /// How many times faster than ours the day goes by.
    #[arg(long, default_value_t = 100)]
    factor: u32,
    /// Where the tables are saved beside being printed.
    #[arg(long, default_value = "target/peers/job.md")]
    out: PathBuf,
    /// cargo bench says so.
    #[arg(long, hide = true)]
    bench: bool,
    /// Says what would be done, and does nothing: `cargo bench -- --test`.
    #[arg(long)]
    test: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum What {
    Contest,
    Day,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if args.test {
        for contender in contest::contenders().iter().chain(&replay::contenders(args.factor)) {
            println!("{}", contender.name);
        }
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut text = String::new();
    if args.what.contains(&What::Contest) {
        let rules = contest::Rules {
            seconds: args.seconds,
            latency: args.latency,
            windows: args.windows,
            count_at: args.count_at,
        };
        text += &runtime.block_on(contest::run(rules))?;
    }
    if args.what.contains(&What::Day) {
        text += &runtime.block_on(replay::run(args.factor))?;
    }
    std::fs::create_dir_all(args.out.parent().context("--out names no file")?)?;
    std::fs::write(&args.out, &text)?;
    println!("{text}");
    Ok(())
}

fn latency(text: &str) -> Result<Latency, String> {
    let (least, most) = text.split_once("..").ok_or("write A..B, in milliseconds")?;
    let of = |text: &str| {
        let ms = text.parse().map_err(|_| format!("{text} is no number of milliseconds"))?;
        Ok::<_, String>(std::time::Duration::from_millis(ms))
    };
    Ok(Latency { least: of(least)?, most: of(most)? })
}
