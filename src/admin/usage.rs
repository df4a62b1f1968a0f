//! `GET /api/v1/usage` and `GET /api/v1/history`: what `usage.redb` knows.

use std::fmt::Write;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::Admin;
use super::api::problem;
use crate::clock::UnixTime;
use crate::telemetry::usage::{Day, Dimension, Group, KEEP_DAYS, Minute, group};
use crate::telemetry::{Cell, Outcome};

/// What to add up, and over which time.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// `consumer` (default), `division`, `route`, `day`, `upstream`, or several with commas.
    by: Option<String>,
    /// First day: `2026-11-25`, or so many days back: `30d`. Default: all that is kept.
    since: Option<String>,
    /// Last day, in the same forms. Default: today.
    until: Option<String>,
    /// `json` (default) or `csv`; `Accept: text/csv` does as well.
    format: Option<String>,
}

/// The sums of one row. Requests, if not said otherwise.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub(super) struct Sums {
    /// By callers.
    asked: u64,
    /// Answered from the cache: fresh and stale ones.
    from_cache: u64,
    fresh: u64,
    stale: u64,
    /// Shared the fetch of another caller, who paid.
    joined: u64,
    /// Of the account's allowance, refreshes included.
    paid: u64,
    /// In the background, at this consumer's price.
    refreshed: u64,
    /// Stood in the queue.
    waited: u64,
    /// Time spent there, over all of them.
    waited_seconds: f64,
    /// By the budget or the inbound rate.
    refused: u64,
    /// Not allowed, or malformed.
    rejected: u64,
    /// The vendor failed, or weir had to give up.
    failed: u64,
    /// The caller hung up.
    left: u64,
    /// Would have been paid without weir: from the cache or joined.
    saved: u64,
}

/// Use, added up.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UsageTable {
    /// What rows are told apart by.
    by: Vec<&'static str>,
    /// The first day (UTC).
    since: String,
    /// The last day.
    until: String,
    /// The name of each dimension in `by`, and the fields of `total`.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<Map<String, Value>>,
    total: Sums,
}

/// Who asked what, what it cost, and what was saved.
#[utoipa::path(get, path = "/api/v1/usage", tag = "usage", params(Wanted), responses(
    (status = 200, description = "Sums by row, the dearest first", content(
        (UsageTable = "application/json"), (String = "text/csv"))),
    (status = 400, description = "It cannot be understood", body = super::api::Problem),
))]
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let wanted = match wanted {
        Ok(Query(wanted)) => wanted,
        Err(error) => return problem(StatusCode::BAD_REQUEST, error.body_text()),
    };
    let plan = match Plan::of(&wanted, &headers, admin.sources.clock.wall()) {
        Ok(plan) => plan,
        Err(words) => return problem(StatusCode::BAD_REQUEST, words),
    };
    (admin.sources.note)();
    let Ok(rows) = admin.sources.usage.rows(plan.since, plan.until).await else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "weir is stopping");
    };
    let groups = group(&rows, &plan.by);
    if plan.is_csv {
        let name = "attachment; filename=\"weir-usage.csv\"";
        let fields = [(header::CONTENT_TYPE, "text/csv; charset=utf-8"), (header::CONTENT_DISPOSITION, name)];
        return (fields, csv(&plan.by, &groups)).into_response();
    }
    let mut total = Cell::default();
    groups.iter().for_each(|group| total.add(&group.cell));
    Json(UsageTable {
        by: plan.by.iter().map(|dimension| dimension.as_str()).collect(),
        since: plan.since.to_string(),
        until: plan.until.to_string(),
        rows: groups.iter().map(|group| row(&plan.by, group)).collect(),
        total: Sums::of(&total),
    })
    .into_response()
}

/// Of which upstream.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct Of {
    /// Default: all.
    upstream: Option<String>,
}

/// One minute of one upstream. Requests, if not said otherwise.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MinuteStatus {
    /// Its first second since 1970.
    at: u64,
    #[serde(flatten)]
    sums: Sums,
    /// Left for the vendor.
    sent: u64,
    /// Answered 429 by the vendor.
    refused_by_vendor: u64,
    /// How the longest limit stood at its end.
    allowance: Option<AllowanceStatus>,
}

/// How a limit stood.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AllowanceStatus {
    limit: String,
    used: u32,
    allowed: u32,
}

/// The last day of one upstream.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct History {
    upstream: String,
    /// Oldest first; minutes in which weir did not run are missing.
    minutes: Vec<MinuteStatus>,
}

/// The last day by minute, for pictures. It outlives a restart.
#[utoipa::path(get, path = "/api/v1/history", tag = "usage", params(Of), responses(
    (status = 200, description = "By upstream", body = Vec<History>),
))]
pub(super) async fn history(State(admin): State<Arc<Admin>>, Query(of): Query<Of>) -> Response {
    (admin.sources.note)();
    let upstreams = admin.upstreams();
    let names = upstreams.iter().map(|watched| watched.config.name.as_str());
    let wanted = names.filter(|name| of.upstream.as_deref().is_none_or(|of| of == *name));
    let history = wanted.map(|name| History {
        upstream: name.to_owned(),
        minutes: admin.sources.usage.minutes(name).into_iter().map(MinuteStatus::of).collect(),
    });
    Json(history.collect::<Vec<_>>()).into_response()
}

/// What was asked for, understood.
struct Plan {
    by: Vec<Dimension>,
    since: Day,
    until: Day,
    is_csv: bool,
}

impl Plan {
    fn of(wanted: &Wanted, headers: &HeaderMap, now: UnixTime) -> Result<Self, String> {
        let words = wanted.by.as_deref().unwrap_or("consumer").split(',').map(str::trim);
        let dimension = |word: &str| {
            Dimension::of(word)
                .ok_or("by must be of consumer, division, route, day and upstream, with commas between them")
        };
        let by = words.map(dimension).collect::<Result<Vec<_>, _>>()?;
        let today = Day::of(now);
        let day = |text: &Option<String>, default| match text {
            None => Ok(default),
            Some(text) => day_of(text, today).ok_or("a day is written 2026-11-25, or 30d for 30 days back"),
        };
        let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is_csv = match wanted.format.as_deref() {
            None => accepts.contains("text/csv"),
            Some("csv") => true,
            Some("json") => false,
            Some(_) => return Err("format must be json or csv".into()),
        };
        let since = day(&wanted.since, today.before(KEEP_DAYS - 1))?;
        Ok(Self { by, since, until: day(&wanted.until, today)?, is_csv })
    }
}

/// A date, the day of an RFC 3339 time, or so many days back.
fn day_of(text: &str, today: Day) -> Option<Day> {
    if let Some(days) = text.strip_suffix('d').and_then(|days| days.parse().ok()) {
        return Some(today.before(days));
    }
    let date = match text.parse::<jiff::Timestamp>() {
        Ok(at) => at.to_zoned(jiff::tz::TimeZone::UTC).date(),
        Err(_) => text.parse::<jiff::civil::Date>().ok()?,
    };
    let start = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second();
    u32::try_from(start / 86_400).ok().map(Day)
}

impl Sums {
    fn of(cell: &Cell) -> Self {
        let (fresh, stale) = (cell.of(Outcome::Fresh), cell.of(Outcome::Stale));
        let joined = cell.of(Outcome::Joined);
        #[allow(clippy::cast_precision_loss, reason = "2^53 milliseconds are 285,000 years")]
        let waited_seconds = cell.waited_ms as f64 / 1_000.0;
        Self {
            asked: cell.asked(),
            from_cache: fresh + stale,
            fresh,
            stale,
            joined,
            paid: u64::try_from(cell.price).unwrap_or(0),
            refreshed: cell.of(Outcome::Refresh),
            waited: u64::try_from(cell.waits).unwrap_or(0),
            waited_seconds,
            refused: cell.of(Outcome::Refused),
            rejected: cell.of(Outcome::Rejected),
            failed: cell.of(Outcome::Failed),
            left: cell.of(Outcome::Left),
            saved: fresh + stale + joined,
        }
    }

    /// Every field with its name, in the order of columns.
    fn fields(self) -> [(&'static str, Value); 14] {
        [
            ("asked", self.asked.into()),
            ("from_cache", self.from_cache.into()),
            ("fresh", self.fresh.into()),
            ("stale", self.stale.into()),
            ("joined", self.joined.into()),
            ("paid", self.paid.into()),
            ("refreshed", self.refreshed.into()),
            ("waited", self.waited.into()),
            ("waited_seconds", self.waited_seconds.into()),
            ("refused", self.refused.into()),
            ("rejected", self.rejected.into()),
            ("failed", self.failed.into()),
            ("left", self.left.into()),
            ("saved", self.saved.into()),
        ]
    }
}

impl MinuteStatus {
    fn of(minute: Minute) -> Self {
        Self {
            at: minute.at * 60,
            sums: Sums::of(&minute.cell),
            sent: minute.sent,
            refused_by_vendor: minute.refused_by_vendor,
            allowance: minute.allowance.map(|allowance| AllowanceStatus {
                limit: allowance.limit,
                used: allowance.used,
                allowed: allowance.allowed,
            }),
        }
    }
}

fn row(by: &[Dimension], group: &Group) -> Map<String, Value> {
    let names = by.iter().zip(&group.names).map(|(by, name)| (by.as_str().to_owned(), name.as_str().into()));
    let sums = Sums::of(&group.cell).fields().map(|(name, sum)| (name.to_owned(), sum));
    names.chain(sums).collect()
}

/// RFC 4180, with line feeds.
fn csv(by: &[Dimension], groups: &[Group]) -> String {
    let mut text = String::new();
    let titles = Sums::default().fields();
    let titles = by.iter().map(|by| by.as_str()).chain(titles.iter().map(|(name, _)| *name));
    text.push_str(&titles.collect::<Vec<_>>().join(","));
    text.push('\n');
    for group in groups {
        let names = group.names.iter().map(|name| csv_cell(name));
        let sums = Sums::of(&group.cell).fields();
        let cells = names.chain(sums.iter().map(|(_, sum)| sum.to_string()));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join(","));
    }
    text
}

/// A text that no spreadsheet takes for a formula.
fn csv_cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_in_every_form() {
        let today = Day(20_000);
        assert_eq!(day_of("30d", today), Some(Day(19_970)));
        assert_eq!(day_of("2024-10-04", today), Some(Day(20_000)));
        assert_eq!(day_of("2024-10-04T23:59:59Z", today), Some(Day(20_000)));
        assert_eq!(day_of("yesterday", today), None);
        assert_eq!(today.to_string(), "2024-10-04");
    }

    #[test]
    fn no_cell_is_a_formula() {
        assert_eq!(csv_cell("=HYPERLINK(1,2)"), "\"'=HYPERLINK(1,2)\"");
        assert_eq!(csv_cell("-a"), "'-a");
        assert_eq!(csv_cell("grafana"), "grafana");
        assert_eq!(csv_cell("a\"b"), "\"a\"\"b\"");
    }
}
