//! `events/dataexport`: cursors that move with each request.

use std::collections::HashMap;

use http::StatusCode;
use serde_json::{Value, json};

use super::super::answer::{Answer, Ask};

/// Rows in one answer.
const ROWS: u64 = 10;
const CURSORS: usize = 10_000;

/// Where each reader is.
#[derive(Debug, Default)]
pub(super) struct Cursors(HashMap<String, Cursor>);

#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    /// The first row of the last answer.
    last: u64,
    /// The first row of the next.
    next: u64,
}

impl Cursors {
    /// `operation=next` goes on, `resend` repeats, seconds since 1970 set it.
    pub(super) fn export(
        &mut self,
        ask: &Ask,
        reader: &str,
        rows: u64,
        row: impl Fn(u64) -> Value,
    ) -> Answer {
        let refused = |what: &str| {
            Answer::json(StatusCode::BAD_REQUEST, &json!({"ok": 0, "result": [], "message": what}))
        };
        let Some(index) = ask.query.get("index") else { return refused("index is required") };
        let reader = format!("{reader}/{index}");
        if self.0.len() >= CURSORS && !self.0.contains_key(&reader) {
            return refused("there are too many indexes");
        }
        let cursor = self.0.entry(reader).or_default();
        match ask.query.get("operation") {
            Some("next") => cursor.last = cursor.next,
            Some("resend") => {}
            Some(epoch) if epoch.parse::<u64>().is_ok() => {
                let secs: u64 = epoch.parse().unwrap_or_default();
                cursor.last = secs.saturating_sub(super::START_SECS) / super::SLOT_SECS;
            }
            _ => return refused("operation must be next, resend or a time"),
        }
        let end = (cursor.last + ROWS).min(rows.max(cursor.last));
        cursor.next = end;
        let result: Vec<_> = (cursor.last..end).map(row).collect();
        Answer::json(
            StatusCode::OK,
            &json!({"ok": 1, "result": result, "wait_time": 0, "timestamp_hwm": end}),
        )
    }
}
