//! `weir status`.

use std::fmt::Write;

use anyhow::Context;
use serde_json::Value;

use super::operator::{Operator, table};
use super::output::{Failure, print};

/// Every budget, key and cache of a running weir at this moment.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir status\n  WEIR_ADMIN_TOKEN=… weir status --admin http://weir.internal:9090 --json"
)]
pub(super) struct Args {
    #[command(flatten)]
    operator: Operator,
    /// As the API gives it.
    #[arg(long)]
    json: bool,
}

pub(super) fn main(args: &Args) -> Result<(), Failure> {
    let body = args.operator.get("/api/v1/status", "application/json")?;
    let status: Value = serde_json::from_slice(&body).context("the answer is no status of a weir")?;
    if args.json {
        return print(&format!("{status:#}"));
    }
    print(describe(&status).trim_end())
}

/// Tables for a terminal.
fn describe(status: &Value) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "weir {}: {} answers kept, {} bytes{}\n",
        word(&status["version"]),
        number(&status["cache"]["keys"]),
        number(&status["cache"]["bytes"]),
        if status["store_is_up"] == false { "; THE STORE IS LOST, only cached answers flow" } else { "" },
    );
    for upstream in list(&status["upstreams"]) {
        describe_upstream(upstream, &mut text);
    }
    text
}

fn describe_upstream(upstream: &Value, text: &mut String) {
    let vendor = &upstream["vendor"];
    let _ = writeln!(
        text,
        "{} ({}, {}): {} sent, {} refused by the vendor, {} waiting",
        word(&upstream["name"]),
        word(&upstream["dialect"]),
        word(&upstream["mode"]),
        number(&vendor["sent"]),
        number(&vendor["refused"]),
        number(&upstream["waiting"]),
    );
    let limits = list(&upstream["limits"]).map(|limit| {
        let next = limit["next_release"].as_f64().map_or("-".to_owned(), |secs| format!("{secs:.0}s"));
        let cells = ["used", "allowed", "held", "free"].map(|field| number(&limit[field]));
        std::iter::once(word(&limit["name"])).chain(cells).chain([next]).collect()
    });
    let titles = ["limit", "used", "of", "held", "free", "next back"];
    let _ = writeln!(text, "\n{}", table(&titles, &limits.collect::<Vec<_>>()));
    let consumers = list(&upstream["consumers"]).map(|consumer| {
        let share = consumer["share"].as_f64().unwrap_or_default() / 10_000.0;
        let used = list(&consumer["limits"])
            .map(|limit| format!("{} {}", number(&limit["used"]), word(&limit["name"])));
        let exchanges = &consumer["exchanges"];
        let mut row = vec![word(&consumer["name"]), word(&consumer["division"]), format!("{share:.0} %")];
        row.extend([number(&consumer["waiting"]), number(&exchanges["price"]), number(&exchanges["saved"])]);
        row.extend([number(&exchanges["refused"]), used.collect::<Vec<_>>().join(", ")]);
        row
    });
    let titles = ["consumer", "division", "share", "waiting", "paid", "saved", "refused", "used now"];
    let _ = writeln!(text, "\n{}", table(&titles, &consumers.collect::<Vec<_>>()));
    let keys = list(&upstream["keys"]).flat_map(|key| {
        list(&key["values"]).enumerate().map(|(index, value)| {
            let days = value["days_left"].as_u64().map_or("-".to_owned(), |days| days.to_string());
            let state = match (value["is_refused"].as_bool(), value["is_in_use"].as_bool()) {
                (Some(true), _) => "refused by the vendor",
                (_, Some(true)) => "in use",
                _ => "spare",
            };
            vec![format!("{} {}", word(&key["name"]), index + 1), days, state.to_owned()]
        })
    });
    let keys: Vec<_> = keys.collect();
    if !keys.is_empty() {
        let _ = writeln!(text, "\n{}", table(&["key", "days left", "state"], &keys));
    }
    text.push('\n');
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

fn number(value: &Value) -> String {
    if value.is_number() { value.to_string() } else { "-".to_owned() }
}
