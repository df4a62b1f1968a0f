//! `weir usage`.

use anyhow::Context;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::operator::{Operator, table};
use super::output::{Failure, print};

/// Who asked what, what it cost, and what was saved; kept for 400 days.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir usage --since 30d --by consumer\n  weir usage --since 2026-11-01 --until 2026-11-30 --by division,day --csv > november.csv"
)]
pub(super) struct Args {
    #[command(flatten)]
    operator: Operator,
    /// First day (UTC): 2026-11-25, or 30d for 30 days back. Default: all that is kept.
    #[arg(long, value_name = "T")]
    since: Option<String>,
    /// Last day, in the same forms. Default: today.
    #[arg(long, value_name = "T")]
    until: Option<String>,
    /// What rows are told apart by: consumer, division, route, day, upstream, or several with commas.
    #[arg(long, value_name = "WHAT", default_value = "consumer")]
    by: String,
    /// As CSV.
    #[arg(long)]
    csv: bool,
}

pub(super) fn main(args: &Args) -> Result<(), Failure> {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut path = format!("/api/v1/usage?by={}", encode(&args.by));
    for (name, value) in [("since", &args.since), ("until", &args.until)] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", encode(value)));
        }
    }
    if args.csv {
        let body = args.operator.get(&format!("{path}&format=csv"), "text/csv")?;
        return print(String::from_utf8_lossy(&body).trim_end());
    }
    let body = args.operator.get(&path, "application/json")?;
    let usage: Value = serde_json::from_slice(&body).context("the answer is no usage of a weir")?;
    print(&describe(&usage))
}

/// A table for a terminal, with the sum as its last row.
fn describe(usage: &Value) -> String {
    const SUMS: [&str; 8] =
        ["asked", "from_cache", "joined", "paid", "refreshed", "waited", "refused", "saved"];
    let by: Vec<&str> = usage["by"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let sums = |of: &Value| SUMS.map(|sum| of[sum].to_string());
    let rows = usage["rows"].as_array().into_iter().flatten().map(|row| {
        let names = by.iter().map(|by| row[*by].as_str().unwrap_or("-").to_owned());
        names.chain(sums(row)).collect::<Vec<_>>()
    });
    let mut rows: Vec<_> = rows.collect();
    let total = std::iter::once("total".to_owned()).chain(by.iter().skip(1).map(|_| String::new()));
    rows.push(total.chain(sums(&usage["total"])).collect());
    let titles: Vec<&str> = by.iter().copied().chain(SUMS).collect();
    let days = [&usage["since"], &usage["until"]].map(|day| day.as_str().unwrap_or("-"));
    format!("{} to {} (UTC)\n\n{}", days[0], days[1], table(&titles, &rows))
}
