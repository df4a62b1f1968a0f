//! `weir schema`.

use super::output::{Failure, print};
use crate::config;

/// Print the JSON Schema of the config file, for editors.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  weir schema > weir.schema.json")]
pub(super) struct Args {}

pub(super) fn main(_args: Args) -> Result<(), Failure> {
    print(&format!("{:#}", config::schema()))
}
