//! A day of dashboards, made up: what share of it is answered free, by the rules.
//!
//! It runs on the real configuration, wishes, keys, policy and first level, in
//! virtual time and without a network: whatever is not fresh is fetched at once, and
//! kept if it may be. [`day`] describes the trace. The whole day is asked by hand: it
//! prints the table that benches/README.md quotes. Every day it is two hours of the morning.

mod day;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, StatusCode};

use self::day::{Ask, START};
use super::Gateway;
use super::wish::Wish;
use crate::budget::ledger::Options;
use crate::budget::{Ledger, Store};
use crate::cache::entry::Body;
use crate::cache::{Cache, CacheLimits, EntryArc, Exchange, Head, Lookup, Now};
use crate::clock::{Clock, UnixTime};
use crate::config::{OnEmpty, load_str};
use crate::consumer::Peer;

/// One row of the table.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    asked: u64,
    paid: u64,
}

impl Row {
    fn free(self) -> f64 {
        100.0 * (self.asked - self.paid) as f64 / self.asked as f64
    }
}

const SNAP: &str = "snap = { start = \"startTimeUtc\", end = \"endTimeUtc\", settled_ttl = \"1d\", step = ";

fn config(rules: &str) -> String {
    let windows = "match = \"GET /api/v2/tests/explorer/**\"\n";
    let rules = match rules {
        "" => String::new(),
        more => format!("[[upstreams.catchpoint.cache]]\n{windows}{more}\n"),
    };
    format!(
        "[upstreams.catchpoint]\ndialect = \"catchpoint\"\nurl = \"http://127.0.0.1:1\"\n\
         keys.main.value = \"vendor-key-of-the-trace\"\ndivisions.all.key = \"main\"\n{rules}\
         [consumers.everybody]\ntoken = \"token-of-the-trace-0123456789\"\n\
         access.catchpoint = {{ division = \"all\" }}\n"
    )
}

/// Asks for all of the day, in order.
async fn run(rules: &str, day: &[Ask]) -> Row {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::virtual_at(UnixTime::from_secs(START));
    let config = load_str("weir.toml", &config(rules), std::iter::empty()).unwrap();
    let options = Options { path: folder.path().to_owned(), on_empty: OnEmpty::Trust };
    let ledger = Ledger::open(options, clock).unwrap();
    let cache = Arc::new(Cache::new(CacheLimits::default()));
    let gateway = Gateway::new(&config, (&Store::Embedded(ledger), &cache), clock, (1, None, None)).unwrap();
    let mut row = Row::default();
    for ask in day {
        let at = clock.now();
        tokio::time::advance(ask.at.saturating_sub(at.since(crate::clock::Moment::ZERO))).await;
        row.asked += 1;
        row.paid += u64::from(!is_free(&gateway, &ask.target, clock));
    }
    row
}

/// Whether it costs nothing; if it does, it is fetched and kept.
fn is_free(gateway: &Gateway, target: &str, clock: Clock) -> bool {
    let request = Request::get(target).header("host", "weir");
    let request = request.header("authorization", "Bearer token-of-the-trace-0123456789").body(()).unwrap();
    let table = gateway.table.load_full();
    let mut call = table.route(request.into_parts().0, false).ok().unwrap();
    let peer = Peer { address: IpAddr::V4(Ipv4Addr::LOCALHOST), certificate: None };
    let now = Now { at: clock.now(), wall: clock.wall() };
    let caller = table.identify(&mut call, (peer, now.at)).ok().unwrap();
    let wish = Wish::of(call, None, &caller, clock.wall());
    if matches!(wish.lookup(now), Lookup::Fresh(_)) {
        return true;
    }
    let json = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let head = Head { status: StatusCode::OK, headers: HeaderMap::from_iter([json]) };
    let storable = wish.policy().admit(&wish.asked(), &head, &Exchange { sent: now.at, received: now });
    let body = Body::of(&[Bytes::from_static(b"{\"completed\":true}")]);
    if let Ok(entry) = storable.and_then(|storable| storable.entry(&wish.key, body)) {
        wish.lane.cache.insert(wish.lane.cache.ticket(), EntryArc::new(entry));
    }
    false
}

/// The rows of the table for `day`.
async fn table(day: &[Ask]) -> Vec<Row> {
    let mut rows = Vec::new();
    println!("| rules for time windows | asked | paid | free |\n| --- | ---: | ---: | ---: |");
    for (name, rules) in [
        ("none: `ttl = \"5m\"` whatever the window", "ttl = \"5m\"".to_owned()),
        ("the dialect's own: settled windows a day, others 30 s", String::new()),
        ("`snap` to 1 m, `ttl = \"1m\"`, settled windows a day", format!("ttl = \"1m\"\n{SNAP}\"1m\" }}")),
        ("`snap` to 5 m, `ttl = \"5m\"`, settled windows a day", format!("ttl = \"5m\"\n{SNAP}\"5m\" }}")),
    ] {
        let row = run(&rules, day).await;
        println!("| {name} | {} | {} | {:.1} % |", row.asked, row.paid, row.free());
        rows.push(row);
    }
    // Each step is worth something, and the coarsest most of all.
    assert!(rows.windows(2).all(|pair| pair[1].paid < pair[0].paid), "{rows:?}");
    rows
}

/// From seven to nine: the dashboards are opened.
#[tokio::test(start_paused = true)]
async fn the_time_window_rules_answer_a_morning_of_dashboards_from_the_cache() {
    let day = day::day(1);
    let hours = Duration::from_secs(7 * 3_600)..Duration::from_secs(9 * 3_600);
    let morning: Vec<_> = day.into_iter().filter(|ask| hours.contains(&ask.at)).collect();
    let rows = table(&morning).await;
    assert!(morning.len() > 1_000 && rows[0].free() < 20.0 && rows[3].free() > 50.0, "{rows:?}");
}

#[tokio::test(start_paused = true)]
#[ignore = "takes seconds: benches/README.md says how to run it"]
async fn a_day_of_dashboards_is_mostly_free_with_the_time_window_rules() {
    let rows = table(&day::day(1)).await;
    assert!(rows[3].free() > rows[0].free() + 25.0, "{rows:?}");
}
