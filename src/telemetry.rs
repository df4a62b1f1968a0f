//! What operators see: one log line per exchange, counts by consumer, traces.
//!
//! The cores return facts; this part writes them down. No secret reaches it:
//! it is handed names, reasons and numbers only. Text that a caller wrote (a
//! path) is escaped here; a trace id is hex digits.

mod histogram;
mod log;
pub mod otlp;
mod refusals;
pub mod route;
mod tally;
pub mod trace;
pub mod usage;
mod vendor;

use std::fmt::{self, Write};
use std::time::Duration;

use http::{Method, StatusCode};

use crate::id::RequestId;

use log::ACCESS;

pub use histogram::Histogram;
pub use log::{LogFormat, Logging, lost_lines, start};
pub use refusals::{Refusals, Refused};
pub use tally::{Account, Cell, Counts, Drained, Tally};
pub use vendor::VendorCounts;

/// How an exchange ended, in one word for log, metric and usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Answered from the cache, fresh.
    Fresh,
    /// Answered from the cache, stale with leave.
    Stale,
    /// Shared the fetch of another caller, who paid.
    Joined,
    /// Sent to the vendor at this caller's price.
    Paid,
    /// A token that weir issues; nothing was asked of the vendor.
    Issued,
    /// The budget or the inbound rate said no.
    Refused,
    /// Never got as far: unknown, not allowed, malformed.
    Rejected,
    /// The vendor failed, or weir had to give up.
    Failed,
    /// The caller hung up before it was answered.
    Left,
    /// No exchange of its own: a stale answer was renewed in the background, at the
    /// price of the consumer whose hit set it off.
    Refresh,
}

impl Outcome {
    /// All of them, in the order of their index.
    pub const ALL: [Self; 10] = [
        Self::Fresh,
        Self::Stale,
        Self::Joined,
        Self::Paid,
        Self::Issued,
        Self::Refused,
        Self::Rejected,
        Self::Failed,
        Self::Left,
        Self::Refresh,
    ];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Joined => "joined",
            Self::Paid => "paid",
            Self::Issued => "issued",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Left => "left",
            Self::Refresh => "refresh",
        }
    }
}

/// All that is said of one exchange once its answer's head is known.
#[derive(Clone, Debug)]
pub struct Exchange<'a> {
    /// Also in `X-Request-Id`.
    pub id: RequestId,
    /// The caller, if it was known.
    pub consumer: Option<&'a str>,
    /// Where it was going, if anywhere.
    pub upstream: Option<&'a str>,
    /// As asked.
    pub method: &'a Method,
    /// The path without its query, which may hold what nobody should read.
    pub path: &'a str,
    /// As answered; none if nobody was there to take it.
    pub status: Option<StatusCode>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, in the word of whoever decided.
    pub reason: &'a str,
    /// Requests of the account's allowance that it cost this caller.
    pub price: u32,
    /// Time in the budget's queue.
    pub waited: Duration,
    /// From the send to the vendor's response head; zero if nothing was sent for it.
    pub upstream_time: Duration,
    /// The trace it is in: the caller's (W3C Trace Context), or its own.
    pub trace: Option<trace::TraceId>,
}

impl Exchange<'_> {
    /// Writes the line, if anybody wants it. `took` is from the request head to the
    /// response head.
    pub fn log(&self, took: impl FnOnce() -> Duration) {
        if !tracing::enabled!(target: ACCESS, tracing::Level::INFO) {
            return;
        }
        tracing::info!(
            target: ACCESS,
            id = %self.id,
            consumer = self.consumer.unwrap_or("-"),
            upstream = self.upstream.unwrap_or("-"),
            method = %self.method,
            route = %Printable(self.path),
            status = self.status.map(|status| status.as_u16()),
            outcome = self.outcome.as_str(),
            reason = self.reason,
            price = self.price,
            wait_ms = milliseconds(self.waited),
            upstream_ms = milliseconds(self.upstream_time),
            took_ms = milliseconds(took()),
            trace = self.trace.map(tracing::field::display),
        );
    }
}

/// Text that a caller wrote: what is not printable ASCII is escaped, also where
/// the formatter would let it through (JSON knows no harm in a right-to-left mark).
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
            return f.write_str(self.0);
        }
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            c if c.is_ascii_graphic() => f.write_char(c),
            c => write!(f, "{}", c.escape_unicode()),
        })
    }
}

fn milliseconds(of: Duration) -> f64 {
    (of.as_secs_f64() * 1e5).round() / 100.0
}
