//! `weir check`.

use std::path::PathBuf;

use super::output::{Failure, environment, print};
use crate::config;

/// Say what the config means in requests per minute and day, or every mistake in it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  weir check --config config/weir.toml")]
pub(super) struct Args {
    /// The config file.
    #[arg(long, value_name = "FILE", default_value = "config/weir.toml")]
    config: PathBuf,
}

pub(super) fn main(args: &Args) -> Result<(), Failure> {
    let config = config::load(&args.config, environment()).map_err(|e| Failure::Usage(e.to_string()))?;
    print(config::report(&config).trim_end())
}
