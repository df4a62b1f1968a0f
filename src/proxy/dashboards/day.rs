//! The trace: seeded, so that every run asks the same.
//!
//! * **Dashboards**: six with four panels each. A panel asks for one chart over the
//!   last 1, 6 or 24 hours up to *now*, to the second. Two people have each open from
//!   7 to 17 h, refreshed every 5 minutes; their browsers are not in step.
//! * **A wallboard**: the first dashboard, all day, every 2 minutes, on two screens.
//! * **Reports**: at 2 h three teams read yesterday, chart by chart, for 60 tests.
//! * **Looking back**: 200 times in working hours somebody opens one of 20 charts of yesterday.
//! * **Exporters**: three poll the alerts every 5 minutes.
//! * **Inventories**: six scripts read five lists once an hour.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::clock::UnixTime;

/// 2026-03-03T00:00:00Z.
pub(super) const START: u64 = 1_772_496_000;

const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

/// One request.
pub(super) struct Ask {
    /// Since the day began.
    pub(super) at: Duration,
    pub(super) target: String,
}

/// All requests of the day, in order.
pub(super) fn day(seed: u64) -> Vec<Ask> {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let mut asks = Vec::new();
    for dashboard in 0..6 {
        for _viewer in 0..2 {
            view(&mut asks, dashboard, (7 * HOUR..17 * HOUR, 300), &mut chance);
        }
    }
    for _screen in 0..2 {
        view(&mut asks, 0, (0..DAY, 120), &mut chance);
    }
    for team in 0..3 {
        for test in 0..60 {
            ask(&mut asks, 2 * HOUR + team * 200 + test * 3, &chart(test, START - DAY, START));
        }
    }
    for _ in 0..200 {
        let at = 8 * HOUR + below(&mut chance, 9 * HOUR);
        ask(&mut asks, at, &chart(100 + below(&mut chance, 20), START - DAY, START));
    }
    for _exporter in 0..3 {
        let phase = below(&mut chance, 60);
        (0..DAY / 300).for_each(|poll| ask(&mut asks, poll * 300 + phase, "/api/v2/tests/alerts"));
    }
    for script in 0..6 {
        for hour in 0..24 {
            for list in ["tests", "nodes", "folders", "products", "nodes/all"] {
                ask(&mut asks, hour * HOUR + script * 7, &format!("/api/v2/{list}"));
            }
        }
    }
    asks.sort_by_key(|ask| ask.at);
    asks
}

/// One screen with one dashboard.
fn view(
    asks: &mut Vec<Ask>,
    dashboard: u64,
    (hours, every): (std::ops::Range<u64>, u64),
    chance: &mut ChaCha8Rng,
) {
    let mut at = hours.start + below(chance, every);
    while at < hours.end {
        for panel in 0..4 {
            let now = START + at;
            let length = [1, 6, 24][usize::try_from((dashboard + panel) % 3).unwrap_or(0)] * HOUR;
            ask(asks, at, &chart(1_000 + dashboard * 10 + panel, now - length, now));
        }
        at += every;
    }
}

fn chart(test: u64, from: u64, to: u64) -> String {
    let spelt = |secs| UnixTime::from_secs(secs).to_string()[..19].to_owned();
    format!(
        "/api/v2/tests/explorer/aggregated?testIds={test}&startTimeUtc={}&endTimeUtc={}",
        spelt(from),
        spelt(to)
    )
}

fn ask(asks: &mut Vec<Ask>, secs: u64, target: &str) {
    asks.push(Ask { at: Duration::from_secs(secs), target: target.to_owned() });
}

fn below(chance: &mut ChaCha8Rng, bound: u64) -> u64 {
    chance.next_u64() % bound
}
