//! Alerts, runs, errors, waterfalls: made up from the seed and the time slot,
//! so that a range that has ended never changes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::UnixTime;

use super::super::answer::Ask;
use super::super::options::Links;
use super::dates::{self, Range};
use super::page::{Page, find, list};
use super::route::{Analytic, Granularity};
use super::world::{Collection, World, level};
use super::{Outcome, Problem, Said, Sight, missing};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// One alert and one error may come in each such slot.
const SLOT_SECS: u64 = 300;
/// Slots looked at for one request; of a longer range the newest ones.
const SLOTS: u64 = 9_000;
/// Runs told in one answer.
const ITEMS: usize = 1_000;

pub(super) fn answer(world: &World, what: &Analytic, ask: &Ask, (sight, links): (Sight, Links)) -> Outcome {
    dates::check_ranges(ask)?;
    match what {
        Analytic::Alerts => {
            let page = Page::asked(&ask.query, 100)?;
            let range = dates::range(ask, DAY)?;
            let wanted = ask.query.list("testIds");
            let rows = slots(range).filter_map(|slot| alert(world, slot, sight)).filter(|alert| {
                wanted.as_ref().is_none_or(|ids| ids.contains(&alert["test"]["id"].to_string().as_str()))
            });
            Ok(Said::data(page.data("alerts", rows, ask, links)))
        }
        Analytic::AlertsById(ids) => alerts_by_id(world, ids, sight),
        Analytic::Explorer(granularity) => explorer(world, *granularity, ask, sight),
        Analytic::ErrorsRaw(tests) => errors(world, tests.as_deref(), ask, (sight, links)),
        Analytic::InstantTest(id) => instant(world, id, ask.now, sight),
        Analytic::Waterfall(test) => waterfall(world, test, ask, sight),
        Analytic::WaterfallPart(part, token) => Ok(Said::data(json!({part.as_str(): {"token": token,
            "requests": [{"url": "https://shop0.example.com/", "statusCode": 200, "startOffset": 0,
                "duration": world.made_up(20, token.len() as u64) % 900}]}}))),
        Analytic::NodesAll => list(world, Collection::Nodes, ask, (sight, links)),
        Analytic::NodeRun(id) => {
            let (number, node) =
                find(world, Collection::Nodes, id, sight).ok_or_else(|| Problem::not_found("Node", id))?;
            let range = dates::range(ask, HOUR)?;
            let runs: Vec<_> = slots(range)
                .map(|slot| json!({"dateTime": at(slot), "runs": world.made_up(21, slot ^ number.unsigned_abs()) % 60}))
                .collect();
            Ok(Said::data(json!({"node": {"id": number, "name": node.value["name"]}, "testRuns": runs})))
        }
        Analytic::Other => {
            dates::range(ask, HOUR)?;
            Ok(Said::data(json!({"responseItems": [], "hasMore": false, "next": null, "previous": null})))
        }
    }
}

/// The alert of a slot, if there is one in sight. Its number is the slot's.
pub(super) fn alert(world: &World, slot: u64, sight: Sight) -> Option<Value> {
    let chance = world.made_up(10, slot);
    let (test, division) = world.original_test(chance >> 8);
    if !chance.is_multiple_of(3) || !sight.sees(Some(division)) || world.tests == 0 {
        return None;
    }
    Some(json!({
        "id": slot.to_string(),
        "reportTime": at(slot),
        "processingTimestamp": at(slot),
        "startTime": at(slot),
        "level": level(chance >> 16),
        "test": {"id": test, "name": format!("Test {test}")},
        "divisionId": division,
        "testType": {"id": 0, "name": "Web"},
        "alertType": {"id": 7, "name": "Timing"},
        "alertSubtype": {"id": 23, "name": "Test Time"},
        "warningTrigger": 3_000.0,
        "criticalTrigger": 6_000.0,
        "durationInSecond": chance % 600,
        "node": world.node(chance >> 24),
        "acknowledgedBy": world.acknowledged.get(&slot).map(|by| json!({"name": by})),
        "labels": [],
    }))
}

fn alerts_by_id(world: &World, ids: &str, sight: Sight) -> Outcome {
    let mut found = Vec::new();
    let mut lost = Vec::new();
    for id in ids.split(',').map(str::trim) {
        match id.parse().ok().and_then(|slot| alert(world, slot, sight)) {
            Some(alert) => found.push(alert),
            None => lost.push(missing("Alert", id)),
        }
    }
    if found.is_empty() {
        return Err(Problem::NotFound(lost));
    }
    let data = json!({"alerts": found, "hasMore": false, "next": null, "previous": null});
    Ok(Said { remarks: lost, ..Said::data(data) })
}

fn explorer(world: &World, granularity: Granularity, ask: &Ask, sight: Sight) -> Outcome {
    let (default, step) = match granularity {
        Granularity::Raw => (HOUR, 1),
        Granularity::Aggregated => (DAY, 12),
    };
    let range = dates::range(ask, default)?;
    let tests = tests(world, ask.query.get("testIds"), sight)?;
    let run = |slot: u64, test: i64| {
        let chance = world.made_up(11, slot ^ test.unsigned_abs() << 32);
        json!({"dateTime": at(slot),
            "dimensions": [{"id": test, "name": format!("Test {test}")}, world.node(chance)],
            "values": [200 + chance % 3_000, 20 + (chance >> 16) % 200, u8::from((chance >> 40).is_multiple_of(20))]})
    };
    let mut items = slots(range)
        .filter(|slot| slot.is_multiple_of(step))
        .flat_map(|slot| tests.iter().map(move |test| (slot, *test)));
    let told: Vec<_> = items.by_ref().take(ITEMS).map(|(slot, test)| run(slot, test)).collect();
    let mut item = json!({
        "startTimeUtc": dates::spell(range.start),
        "endTimeUtc": dates::spell(range.end),
        "timeZoneOffSet": "00:00:00",
        "hasMoreRecords": items.next().is_some(),
        "dimensions": [{"id": 1, "name": "Test"}, {"id": 2, "name": "Node"}],
        "indicators": [], "tracepoints": [],
        "metrics": [{"id": 20, "name": "Test Time (ms)"}, {"id": 21, "name": "DNS (ms)"}, {"id": 22, "name": "# Errors"}],
        "items": told,
        "summaryItems": [],
    });
    if granularity == Granularity::Aggregated {
        item["timeInterval"] = json!({"id": 3, "name": "1 Hour"});
    }
    Ok(Said::data(json!({"responseItems": [item], "hasMore": false, "next": null, "previous": null})))
}

fn errors(world: &World, tests_in_path: Option<&str>, ask: &Ask, (sight, links): (Sight, Links)) -> Outcome {
    let page = Page::asked(&ask.query, 200)?;
    let range = dates::range(ask, 3 * HOUR)?;
    let wanted = match tests_in_path.or_else(|| ask.query.get("testIds")) {
        Some(ids) => Some(tests(world, Some(ids), sight)?),
        None => None,
    };
    let rows = slots(range).filter_map(|slot| {
        let chance = world.made_up(12, slot);
        let (test, division) = world.original_test(chance >> 8);
        let is_wanted = wanted.as_ref().is_none_or(|ids| ids.contains(&test));
        (chance.is_multiple_of(2) && world.tests > 0 && sight.sees(Some(division)) && is_wanted).then(|| {
            json!({"dateTime": at(slot), "test": {"id": test, "name": format!("Test {test}")},
                "node": world.node(chance >> 24), "error": {"code": 50_000 + chance % 40, "name": "Connection failed"}})
        })
    });
    Ok(Said::data(page.data("responseItems", rows, ask, links)))
}

/// Pending, Running, Completed: a third of the time each, and then for good.
fn instant(world: &World, id: &str, now: UnixTime, sight: Sight) -> Outcome {
    let found = id.parse().ok().and_then(|id: i64| Some((id, world.instants.get(&id)?)));
    let Some((id, test)) = found.filter(|(_, test)| sight.sees(test.division)) else {
        return Err(Problem::not_found("Instant Test", id));
    };
    let passed = now.since(test.started);
    let status = match passed {
        _ if passed >= world.instant_test => "Completed",
        _ if passed * 3 >= world.instant_test => "Running",
        _ => "Pending",
    };
    let record = (status == "Completed").then(|| {
        let chance = world.made_up(13, id.unsigned_abs());
        json!({"id": id, "node": world.node(chance), "actualRuntime": dates::spell(test.started),
            "testResult": {"testTime": 200 + chance % 3_000}})
    });
    Ok(Said::data(json!({"instantTestStatus": status, "instantTest": {"id": id, "testId": test.test},
        "instantTestRecord": record, "hasMore": false})))
}

fn waterfall(world: &World, test: &str, ask: &Ask, sight: Sight) -> Outcome {
    let range = dates::range(ask, 3 * HOUR)?;
    let (id, _) =
        find(world, Collection::Tests, test, sight).ok_or_else(|| Problem::not_found("Test", test))?;
    let chance = world.made_up(14, id.unsigned_abs());
    let tokens: Vec<_> = slots(range)
        .take(ITEMS)
        .map(|slot| json!({"token": format!("{:016x}", world.made_up(15, slot ^ chance)), "dateTime": at(slot)}))
        .collect();
    Ok(Said::data(json!({"testWaterfallTokens": [{"testId": id, "startDateTime": dates::spell(range.start),
        "endDateTime": dates::spell(range.end), "node": world.node(chance), "waterfalls": tokens}],
        "hasMore": false, "next": null, "previous": null})))
}

/// The tests asked for, or the first five in sight.
fn tests(world: &World, ids: Option<&str>, sight: Sight) -> Result<Vec<i64>, Problem> {
    let Some(ids) = ids else {
        let seen = world.shelf(Collection::Tests).iter().filter(|(_, test)| sight.sees(test.division));
        return Ok(seen.map(|(id, _)| *id).take(5).collect());
    };
    let found = |text: &str| {
        let found = find(world, Collection::Tests, text, sight);
        found.map(|(id, _)| id).ok_or_else(|| missing("Test", text))
    };
    let (found, lost): (Vec<_>, Vec<_>) = ids.split(',').map(str::trim).map(found).partition(Result::is_ok);
    let found: Vec<_> = found.into_iter().flatten().collect();
    if found.is_empty() {
        return Err(Problem::NotFound(lost.into_iter().filter_map(Result::err).collect()));
    }
    Ok(found)
}

/// The slots that begin in a range, the newest first.
fn slots(range: Range) -> impl Iterator<Item = u64> {
    let first = range.start.as_nanos().div_ceil(SLOT_SECS * 1_000_000_000);
    let end = range.end.as_nanos().div_ceil(SLOT_SECS * 1_000_000_000);
    (first.max(end.saturating_sub(SLOTS))..end).rev()
}

fn at(slot: u64) -> String {
    dates::spell(UnixTime::from_secs(slot.saturating_mul(SLOT_SECS)))
}
