//! `weir token`.

use super::output::{Failure, print};
use crate::config;
use crate::id::{ConsumerName, NAME_RULE};
use crate::secret::Token;

/// Make a consumer token: shown once, with the config lines that hold its hash.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  weir token grafana")]
pub(super) struct Args {
    /// The consumer's name.
    name: String,
}

pub(super) fn main(args: &Args) -> Result<(), Failure> {
    let name: ConsumerName =
        args.name.parse().map_err(|_| Failure::Usage(format!("weir: a consumer's name is {NAME_RULE}")))?;
    let token = Token::generate()?;
    print(&format!("{}\n\n{}", token.expose(), config::consumer_lines(&name, token.hash())))
}
