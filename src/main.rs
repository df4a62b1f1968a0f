//! `weir`: see `weir --help`.

use std::process::ExitCode;

/// Measured on hits (`benches/README.md`); builds with a C compiler alone.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    weir::cli::main()
}
