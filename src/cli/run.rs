//! `weir run`.

use std::path::PathBuf;

use anyhow::Context;

use super::output::{self, Failure};
use crate::app::{App, Origin, Setup, Signals, Sockets};
use crate::config;
use crate::telemetry::{self, LogFormat, Logging};

/// Serve until a signal says stop.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  CATCHPOINT_API_KEY=… weir run --config config/weir.toml --log json")]
pub(super) struct Args {
    /// The config file.
    #[arg(long, value_name = "FILE", default_value = "config/weir.toml")]
    config: PathBuf,
    #[command(flatten)]
    log: LogArgs,
}

/// How to log.
#[derive(Debug, clap::Args)]
pub(super) struct LogArgs {
    /// How log lines are written to stderr.
    #[arg(long = "log", value_name = "FORMAT", default_value = "text", env = "WEIR_LOG_FORMAT")]
    format: Format,
    /// Which log lines are written: a tracing filter, such as 'info,weir::access=off'.
    #[arg(long = "log-filter", value_name = "FILTER", default_value = "info", env = "WEIR_LOG")]
    filter: String,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

impl LogArgs {
    /// Starts logging as asked.
    pub(super) fn start(&self) -> Result<Logging, Failure> {
        let format = match self.format {
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        };
        telemetry::start(format, &self.filter).map_err(|e| Failure::Usage(format!("weir: {e}")))
    }
}

pub(super) fn main(args: Args) -> Result<(), Failure> {
    // First of all, while there is one thread: it changes the environment.
    let names = output::environment().find(|(name, _)| name == "LISTEN_FDNAMES");
    let sockets = Sockets::inherited(names.as_ref().map_or("", |(_, names)| names))
        .context("what LISTEN_FDS names cannot be listened on")?;
    let config =
        config::load(&args.config, output::environment()).map_err(|e| Failure::Usage(e.to_string()))?;
    // Its end is the last of all: what is said up to then gets out.
    let _logging = args.log.start()?;
    let origin = Some(Origin { file: args.config, env: output::environment().collect() });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot start")?;
    let served = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let app = tokio::select! {
            biased;
            app = App::start_with(config, Setup { sockets, origin }) => app?,
            // Nobody has been let in yet.
            () = signals.stop() => return Ok(()),
        };
        app.serve_until(signals).await;
        anyhow::Ok(())
    });
    // After a second signal nothing is waited for.
    runtime.shutdown_background();
    Ok(served?)
}
