//! `weir demo`.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::anyhow;

use super::output::Failure;
use crate::demo::{self, View};
use crate::telemetry::{self, LogFormat};

/// Gateway, emulated Catchpoint and six consumers in one process: watch them share.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  weir demo --seconds 60\n\nCtrl-C ends it earlier, with the same summary.\nExit code 1 if the vendor ever said 429."
)]
pub(super) struct Args {
    /// How long it runs.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
}

pub(super) fn main(args: Args) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let view = if out.is_terminal() { View::Live } else { View::Lines };
    let _logging = telemetry::start(LogFormat::Text, "error").map_err(|e| Failure::Running(anyhow!(e)))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let print = move |text: &str| writeln!(out, "{text}").and_then(|()| out.flush());
    let outcome = runtime.block_on(demo::run(Duration::from_secs(args.seconds), view, print))?;
    match outcome.refused_by_vendor {
        0 => Ok(()),
        refused => {
            Err(Failure::Running(anyhow!("the vendor said 429 to {refused} requests; it never should")))
        }
    }
}
