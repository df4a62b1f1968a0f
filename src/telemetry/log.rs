//! Log lines: tracing's events on stderr, one line each.
//!
//! `lines` carries them out without keeping anybody waiting; `access` spells those of
//! exchanges, of which there are as many as requests.

mod access;
mod lines;

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;

use tracing::Dispatch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use access::{Access, Timestamp};
use lines::Lines;

use crate::clock::Clock;

/// The target of access lines: what a filter calls them.
pub(super) const ACCESS: &str = "weir::access";

/// The longest that the end waits for whoever reads the log.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// A process has one log.
static LINES: OnceLock<Lines> = OnceLock::new();

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of `key=value` pairs.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Logging under way. Dropping it waits until what was logged is out, for a second at the most.
#[must_use = "lines that are not out when the process ends are lost"]
#[derive(Debug)]
pub struct Logging(Lines);

impl Drop for Logging {
    fn drop(&mut self) {
        self.0.flush(LAST_WAIT);
    }
}

/// Starts logging to stderr. `filter` is a tracing filter (`info`, `weir::access=off,info`).
///
/// # Errors
/// The filter cannot be read, logging was started before, or no thread can be had.
pub fn start(format: LogFormat, filter: &str) -> Result<Logging, String> {
    let filter =
        EnvFilter::try_new(filter).map_err(|e| format!("the log filter '{filter}' cannot be read: {e}"))?;
    let failed = |e: &dyn std::fmt::Display| format!("logging cannot be started: {e}");
    let tell =
        |lines| tracing::warn!(lines, "log lines were lost: stderr does not take them as fast as they come");
    let lines = Lines::start(std::io::stderr(), tell).map_err(|e| failed(&e))?;
    let is_terminal = std::io::stderr().is_terminal();
    let dispatch = dispatch(format, (filter, is_terminal), Clock::system(), lines.clone());
    dispatch.try_init().map_err(|e| failed(&e))?;
    Ok(Logging(LINES.get_or_init(|| lines).clone()))
}

/// Log lines of this process that were lost, since nobody took those before them.
#[must_use]
pub fn lost_lines() -> u64 {
    LINES.get().map_or(0, Lines::lost)
}

fn dispatch(
    format: LogFormat,
    (filter, has_colours): (EnvFilter, bool),
    clock: Clock,
    writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static,
) -> Dispatch {
    let time = Timestamp(clock);
    let builder = tracing_subscriber::fmt()
        .with_timer(time)
        .with_env_filter(filter)
        .with_ansi(has_colours)
        .with_writer(writer);
    match format {
        LogFormat::Text => builder.map_event_format(|others| Access { format, time, others }).into(),
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true);
            builder.map_event_format(|others| Access { format, time, others }).into()
        }
    }
}
