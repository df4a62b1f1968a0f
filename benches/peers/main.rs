//! weir beside nginx, haproxy, Varnish and Envoy on the same work, on one machine, in one run.
//!
//! Rounds are interleaved (A B C A B C), and what is compared is CPU seconds of
//! the server's processes per million requests: on noisy machines the steadiest
//! figure. `hyper` is a bare hyper server that answers the same bytes: the
//! ceiling of what weir, which is built on it, could reach.
//!
//! `benches/peers/run` installs the peers and starts this. See README.md there
//! above for what each case means and how the peers are configured.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its table")]

mod calls;
mod cases;
mod load;
mod machine;
mod odd;
mod origin;
mod peer;
mod table;

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Parser;

use cases::{Case, Work};
use machine::SetUp;
use peer::{Peer, Site};
use table::Table;

/// What is measured, and for how long.
#[derive(Debug, Parser)]
#[command(name = "peers")]
struct Args {
    /// One worker on CPU 0 and the load on CPU 1, or both on all.
    #[arg(long, default_value = "pinned")]
    setup: SetUp,
    /// Which peers; all by default.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Which cases by name; all by default.
    #[arg(long, value_delimiter = ',')]
    cases: Vec<String>,
    /// How often every peer has its turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of one turn.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Every server writes an access log, to a file.
    #[arg(long)]
    access_log: bool,
    /// Where the table is saved beside being printed.
    #[arg(long, default_value = "target/peers/table.md")]
    out: PathBuf,
    /// Serves as the origin, on this port; used by the bench itself.
    #[arg(long, hide = true)]
    origin: Option<u16>,
    /// cargo bench says so.
    #[arg(long, hide = true)]
    bench: bool,
    /// Says what would be run, and runs nothing: `cargo bench -- --test`.
    #[arg(long)]
    test: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(port) = args.origin {
        return origin::serve(port, args.setup.workers());
    }
    let cases = chosen(&args.cases)?;
    if args.test {
        cases.iter().for_each(|case| println!("{}: {}", case.name, case.what));
        return Ok(());
    }
    let peers = if args.peers.is_empty() { Peer::ALL.to_vec() } else { args.peers.clone() };
    let site = Site::new(args.setup, args.access_log)?;
    let mut table = Table::new(&format!("{:?}, {} rounds of {} s", args.setup, args.rounds, args.seconds));
    for case in cases {
        eprintln!("{}: {}", case.name, case.what);
        match case.work {
            Work::Load(load) => {
                for turn in load::turns(&site, &peers, &load, (args.rounds, args.seconds))? {
                    table.add(case.name, turn);
                }
            }
            Work::Odd(odd) => {
                for turn in odd::turns(&site, &peers, odd, args.rounds)? {
                    table.note(case.name, turn);
                }
            }
        }
        let text = table.to_string();
        std::fs::create_dir_all(args.out.parent().context("--out names no file")?)?;
        std::fs::write(&args.out, &text)?;
    }
    println!("{table}");
    Ok(())
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<Case>> {
    let all = cases::all();
    for name in names {
        let known: Vec<_> = all.iter().map(|case| case.name).collect();
        ensure!(known.contains(&name.as_str()), "no case is called {name}; there are {}", known.join(", "));
    }
    Ok(all
        .into_iter()
        .filter(|case| names.is_empty() || names.iter().any(|name| name == case.name))
        .collect())
}
