//! The command line: one file per command, and this index of them.

mod check;
mod demo;
mod emulate;
mod manual;
mod operator;
mod output;
mod run;
mod schema;
mod status;
mod token;
mod usage;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use output::Failure;

/// Shares a third-party API's allowance over a company: rate limits, cache, keys.
#[derive(Debug, Parser)]
#[command(name = "weir", version, arg_required_else_help = true, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Check(check::Args),
    Demo(demo::Args),
    Emulate(Box<emulate::Args>),
    Token(token::Args),
    Status(status::Args),
    Usage(usage::Args),
    Schema(schema::Args),
    Man(manual::Man),
    Completions(manual::Completions),
}

/// Runs the command that was named. Exit codes: 0 well, 1 failed while running, 2 wrong usage or config.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => run::main(args),
        Command::Check(args) => check::main(&args),
        Command::Demo(args) => demo::main(args),
        Command::Emulate(args) => emulate::main(*args),
        Command::Token(args) => token::main(&args),
        Command::Status(args) => status::main(&args),
        Command::Usage(args) => usage::main(&args),
        Command::Schema(args) => schema::main(args),
        Command::Man(args) => manual::man(&args),
        Command::Completions(args) => manual::completions(&args),
    };
    done.map_or_else(Failure::report, |()| ExitCode::SUCCESS)
}
