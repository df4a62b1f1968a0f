//! The budget's laws from outside: the built binary in front of a vendor that
//! counts strictly, by code of its own.
//!
//! Windows are scaled down to seconds. Where a window has to lapse, its seconds
//! are real: both sides run on the machine's clock, as they would in production.

mod calendar;
mod caps;
mod contention;
mod faults;
mod guide;
mod hang_up;
mod learning;
mod promise;
mod refusals;
mod retry_after;
mod saturation;
mod shares;
mod zones;

use std::time::Duration;

use weir::emulator::{Emulator, Key, Latency, Options};

use crate::support::VENDOR_KEY;

/// A vendor that knows the harness's key and enforces `limits`, spelt as on the
/// emulator's command line.
fn enforcing(limits: &[&str]) -> Options {
    let limits = limits.iter().map(|limit| limit.parse().unwrap()).collect();
    Options { limits: Some(limits), keys: vec![Key::client("main", VENDOR_KEY)], ..Options::default() }
}

async fn start(options: Options) -> Emulator {
    Emulator::start(options).await.unwrap()
}

/// Lines for an upstream's table: of Catchpoint's limits only those that `lines` name.
fn only(lines: &str) -> String {
    let mut text = format!("{lines}\n");
    for name in ["second", "minute", "hour", "day"] {
        if !lines.contains(&format!("limits.{name} ")) {
            text.push_str(&format!("limits.{name} = false\n"));
        }
    }
    text
}

/// One-way delays in milliseconds.
fn delays(least: u64, most: u64) -> Latency {
    Latency { least: Duration::from_millis(least), most: Duration::from_millis(most) }
}

/// What a refusal by `whose` limit says.
fn because_of(whose: &str) -> String {
    format!("weir;error=http_request_denied;details=\"{whose}\"")
}

/// Asks for the windows of production instead of scaled ones; takes minutes.
fn is_long_run() -> bool {
    std::env::var_os("WEIR_LONG").is_some()
}
