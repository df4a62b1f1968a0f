//! `weir emulate`.

use super::output::Failure;
use crate::emulator;

/// An emulated vendor that enforces its limits strictly.
pub(super) type Args = emulator::Args;

pub(super) fn main(args: Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(emulator::run(args))?;
    Ok(())
}
