//! `weir man` and `weir completions`: what packages install beside the binary.

use std::io::Write;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;
use super::output::Failure;

/// Print the manual page, for `man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  weir man > /usr/local/share/man/man1/weir.1")]
pub(super) struct Man {}

/// Print a shell's completions.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  weir completions bash > /etc/bash_completion.d/weir")]
pub(super) struct Completions {
    /// Which shell.
    shell: Shell,
}

pub(super) fn man(_args: &Man) -> Result<(), Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page).context("the page cannot be made")?;
    // Each command's own part behind the whole: one page to read and search.
    for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name().to_owned();
        writeln!(page, ".SH \"WEIR {}\"", name.to_uppercase())?;
        let part = clap_mangen::Man::new(command.clone());
        part.render_description_section(&mut page).context("the page cannot be made")?;
        part.render_options_section(&mut page).context("the page cannot be made")?;
        part.render_extra_section(&mut page).context("the page cannot be made")?;
    }
    put(&page)
}

pub(super) fn completions(args: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "weir", &mut script);
    put(&script)
}

fn put(bytes: &[u8]) -> Result<(), Failure> {
    super::output::print(String::from_utf8_lossy(bytes).trim_end())
}
