//! Standard output and error, and how a command fails.

use std::io::{self, Write};
use std::process::ExitCode;

/// Why a command did not end well; each kind has its exit code.
#[derive(Debug)]
pub(super) enum Failure {
    /// Wrong usage or config: exit 2.
    Usage(String),
    /// Failed while running: exit 1.
    Running(anyhow::Error),
}

impl Failure {
    /// Says what happened on stderr.
    pub(super) fn report(self) -> ExitCode {
        let (text, code) = match self {
            Self::Usage(text) => (text, 2),
            Self::Running(error) => (format!("weir: {error:#}"), 1),
        };
        // Nobody is left to tell if stderr is gone; the exit code still says it.
        let _ = writeln!(io::stderr(), "{text}");
        ExitCode::from(code)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Running(error.into())
    }
}

/// Prints `text` and a line end. A reader who has seen enough (`| head`) is no failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// The environment; what is not UTF-8 cannot be one of ours.
pub(super) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
