//! The line of an exchange, spelt as tracing-subscriber spells it, at a fraction of its cost.
//!
//! There are as many of these lines as requests. Text that needs no escape (nearly all)
//! is copied instead of being looked at character by character, the second of the
//! timestamp is spelt once, and nothing is allocated. All other lines, and one with colours or inside
//! a span, are left to the formatter that this one stands before; a property holds the
//! two to the same bytes.

use std::cell::RefCell;
use std::fmt::{self, Debug};
use std::io::Write;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::registry::LookupSpan;

use super::{ACCESS, LogFormat};
use crate::clock::{Clock, UnixTime};

/// Formats access lines; `others` formats the rest.
pub(super) struct Access<F> {
    pub(super) format: LogFormat,
    pub(super) time: Timestamp,
    pub(super) others: F,
}

/// RFC 3339 in UTC, with microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timestamp(pub(super) Clock);

thread_local! {
    /// The line that is being spelt, and the last second that was.
    static SPELLING: RefCell<(Vec<u8>, Second)> = RefCell::default();
}

/// A second and its text, up to the point before the fraction.
#[derive(Default)]
struct Second {
    second: u64,
    text: String,
}

impl<S, N, F> FormatEvent<S, N> for Access<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let about = event.metadata();
        if about.target() != ACCESS || writer.has_ansi_escapes() || context.lookup_current().is_some() {
            return self.others.format_event(context, writer, event);
        }
        SPELLING.with_borrow_mut(|(line, second)| {
            line.clear();
            let mut fields = Fields { line, format: self.format, result: Ok(()) };
            fields.begin(self.time.0.wall(), second, event)?;
            event.record(&mut fields);
            fields.end(about.target())?;
            writer.write_str(std::str::from_utf8(line).map_err(|_| fmt::Error)?)
        })
    }
}

impl FormatTime for Timestamp {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let (now, mut second) = (self.0.wall(), Second::default());
        write!(writer, "{}.{:06}Z", second.of(now)?, micros(now))
    }
}

impl Second {
    fn of(&mut self, at: UnixTime) -> Result<&str, fmt::Error> {
        if self.second != at.as_secs() || self.text.is_empty() {
            let spelt = UnixTime::from_secs(at.as_secs()).to_string();
            let (text, _) = spelt.split_once('.').ok_or(fmt::Error)?;
            *self = Self { second: at.as_secs(), text: text.to_owned() };
        }
        Ok(&self.text)
    }
}

fn micros(at: UnixTime) -> u64 {
    at.as_nanos() % 1_000_000_000 / 1_000
}

/// Spells fields to the end of a line.
struct Fields<'a> {
    line: &'a mut Vec<u8>,
    format: LogFormat,
    /// A vector takes all that is written: what fails is a value that cannot be spelt.
    result: fmt::Result,
}

impl Fields<'_> {
    fn begin(&mut self, now: UnixTime, second: &mut Second, event: &Event<'_>) -> fmt::Result {
        let (text, micros, level) = (second.of(now)?, micros(now), event.metadata().level());
        let written = match self.format {
            LogFormat::Text => {
                write!(self.line, "{text}.{micros:06}Z {level:>5} {}:", event.metadata().target())
            }
            LogFormat::Json => {
                write!(self.line, r#"{{"timestamp":"{text}.{micros:06}Z","level":"{level}""#)
            }
        };
        written.map_err(|_| fmt::Error)
    }

    fn end(&mut self, target: &str) -> fmt::Result {
        if self.format == LogFormat::Json {
            write!(self.line, r#","target":"{target}"}}"#).map_err(|_| fmt::Error)?;
        }
        self.line.push(b'\n');
        self.result
    }

    fn name(&mut self, field: &Field) {
        match self.format {
            LogFormat::Text => {
                self.line.push(b' ');
                self.line.extend_from_slice(field.name().as_bytes());
                self.line.push(b'=');
            }
            LogFormat::Json => {
                self.line.extend_from_slice(b",\"");
                self.line.extend_from_slice(field.name().as_bytes());
                self.line.extend_from_slice(b"\":");
            }
        }
    }

    fn spell(&mut self, spelt: fmt::Arguments<'_>) {
        if self.line.write_fmt(spelt).is_err() {
            self.result = Err(fmt::Error);
        }
    }

    /// As JSON has it.
    fn string(&mut self, text: &str) {
        if serde_json::to_writer(&mut *self.line, text).is_err() {
            self.result = Err(fmt::Error);
        }
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        match self.format {
            _ if is_plain(value.as_bytes()) => {
                self.line.push(b'"');
                self.line.extend_from_slice(value.as_bytes());
                self.line.push(b'"');
            }
            LogFormat::Text => self.spell(format_args!("{value:?}")),
            LogFormat::Json => self.string(value),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.name(field);
        self.spell(format_args!("{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.name(field);
        match self.format {
            // Most waits.
            _ if value.to_bits() == 0 => self.line.extend_from_slice(b"0.0"),
            LogFormat::Text => self.spell(format_args!("{value:?}")),
            LogFormat::Json => {
                if serde_json::to_writer(&mut *self.line, &value).is_err() {
                    self.result = Err(fmt::Error);
                }
            }
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.name(field);
        if self.format == LogFormat::Text {
            return self.spell(format_args!("{value:?}"));
        }
        self.line.push(b'"');
        let from = self.line.len();
        self.spell(format_args!("{value:?}"));
        if is_plain(&self.line[from..]) {
            return self.line.push(b'"');
        }
        let spelt = String::from_utf8_lossy(&self.line[from..]).into_owned();
        self.line.truncate(from - 1);
        self.string(&spelt);
    }
}

/// Printable ASCII that neither format escapes.
fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|b| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\'))
}

#[cfg(test)]
mod tests;
