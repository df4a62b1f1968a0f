use std::os::unix::fs::PermissionsExt;

use super::thread::MAX_ROWS_PER_DAY;
use super::*;
use crate::telemetry::{Outcome, Tally};

const DAY: u64 = 86_400;

fn at(secs: u64) -> UnixTime {
    UnixTime::from_secs(1_000 * DAY + secs)
}

fn drained(consumer: &str, route: &str, paid: i64) -> Drained {
    let mut cell = Cell { price: paid, ..Cell::default() };
    cell.outcomes[Outcome::Paid as usize] = paid;
    cell.outcomes[Outcome::Fresh as usize] = 2 * paid;
    Drained {
        consumer: consumer.parse().unwrap(),
        division: "web".parse().unwrap(),
        route: route.into(),
        cell,
    }
}

fn note(drained: Vec<Drained>) -> Vec<Note> {
    let allowance = Some(Allowance { limit: "day".into(), used: 7, allowed: 2_000 });
    vec![Note { upstream: "catchpoint".parse().unwrap(), drained, sent: 1, refused_by_vendor: 0, allowance }]
}

async fn prices(usage: &Usage, since: u32, by: Dimension) -> Vec<(String, i64)> {
    let rows = usage.rows(Day::of(at(0)).before(since), Day(u32::MAX - 1)).await.unwrap();
    group(&rows, &[by]).into_iter().map(|g| (g.names[0].clone(), g.cell.price)).collect()
}

#[tokio::test]
async fn what_was_used_outlives_the_process_and_the_consumer() {
    let folder = tempfile::tempdir().unwrap();
    let usage = Usage::open(folder.path().into(), at(0)).unwrap();
    usage.note(at(0), note(vec![drained("grafana", "/a", 3), drained("gone", "/b", 1)]));
    usage.note(at(70), note(vec![drained("grafana", "/b", 4)]));
    let want = |pairs: &[(&str, i64)]| pairs.iter().map(|(n, p)| ((*n).to_owned(), *p)).collect::<Vec<_>>();
    assert_eq!(prices(&usage, 0, Dimension::Consumer).await, want(&[("grafana", 7), ("gone", 1)]));
    usage.close().await;
    assert_eq!(usage.rows(Day(0), Day(1)).await, Err(UsageDown));
    let mode = std::fs::metadata(folder.path().join("usage.redb")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let usage = Usage::open(folder.path().into(), at(DAY)).unwrap();
    usage.note(at(DAY), note(vec![drained("grafana", "/a", 2)]));
    assert_eq!(prices(&usage, 0, Dimension::Consumer).await, want(&[("grafana", 9), ("gone", 1)]));
    assert_eq!(prices(&usage, 0, Dimension::Route).await, want(&[("/a", 5), ("/b", 5)]));
    assert_eq!(prices(&usage, 0, Dimension::Day).await, want(&[("1972-09-27", 8), ("1972-09-28", 2)]));
    let minutes = usage.minutes("catchpoint");
    let shown: Vec<_> = minutes.iter().map(|m| (m.at * 60 - 1_000 * DAY, m.cell.price, m.sent)).collect();
    assert_eq!(shown, [(0, 4, 1), (60, 4, 1), (DAY, 2, 1)]);
    assert_eq!(minutes[1].allowance.as_ref().unwrap().allowed, 2_000);
    usage.close().await;

    // 400 days later the first day is over, the second is not.
    let usage = Usage::open(folder.path().into(), at(400 * DAY)).unwrap();
    assert_eq!(prices(&usage, 0, Dimension::Day).await, want(&[("1972-09-28", 2)]));
    assert_eq!(usage.minutes("catchpoint"), []);
}

#[tokio::test]
async fn a_broken_file_costs_the_history_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("usage.redb"), vec![7; 100_000]).unwrap();
    let usage = Usage::open(folder.path().into(), at(0)).unwrap();
    usage.note(at(0), note(vec![drained("grafana", "/a", 3)]));
    assert_eq!(prices(&usage, 0, Dimension::Consumer).await.len(), 1);
    assert!(folder.path().join("usage.redb.broken-1").exists());
    usage.close().await;
}

#[tokio::test]
async fn a_successor_waits_for_the_file_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let old = Usage::open(folder.path().into(), at(0)).unwrap();
    old.note(at(0), note(vec![drained("a", "/a", 1)]));
    assert_eq!(prices(&old, 0, Dimension::Consumer).await.len(), 1);
    let new = Usage::open(folder.path().into(), at(5)).unwrap();
    new.note(at(5), note(vec![drained("b", "/a", 2)]));
    assert_eq!(prices(&new, 0, Dimension::Consumer).await, [("b".to_owned(), 2)]);
    old.close().await;
    new.note(at(6), note(vec![drained("b", "/a", 1)]));
    assert_eq!(prices(&new, 0, Dimension::Consumer).await, [("b".to_owned(), 3), ("a".to_owned(), 1)]);
    assert_eq!(new.minutes("catchpoint")[0].cell.price, 4, "a minute in which both were there");
}

#[tokio::test]
async fn rows_of_a_day_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let usage = Usage::open(folder.path().into(), at(0)).unwrap();
    let many = (0..MAX_ROWS_PER_DAY + 10).map(|n| drained("a", &format!("/{n}"), 1));
    usage.note(at(0), note(many.collect()));
    let rows = usage.rows(Day(0), Day(u32::MAX - 1)).await.unwrap();
    assert_eq!(rows.len(), MAX_ROWS_PER_DAY + 1);
    let other = rows.iter().find(|(key, _)| &*key.route == "_other").unwrap();
    assert_eq!(other.1.price, 10);
    usage.close().await;
}

#[test]
fn what_a_tally_drains_can_be_noted() {
    let tally = Tally::new([("a".parse().unwrap(), "x".parse().unwrap())]);
    tally.count(0, tally.route("/x", true), Outcome::Fresh, std::time::Duration::ZERO);
    assert_eq!(tally.drain()[0].cell.of(Outcome::Fresh), 1);
}
