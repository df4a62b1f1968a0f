//! What consumers asked and what vendors answered.

use std::fmt;

use super::{MAX_CONSUMERS, OTHER, Page, Seen, float};
use crate::telemetry::{Counts, Outcome};

pub(super) fn write(page: &mut Page<'_>, upstreams: &[Seen]) -> fmt::Result {
    let consumers: Vec<_> = upstreams.iter().flat_map(consumers).collect();
    let mut by_outcome = consumers.iter().flat_map(|(labels, counts)| {
        let outcomes = Outcome::ALL.iter().filter(|outcome| counts.of(**outcome) > 0);
        outcomes.map(|outcome| {
            let [upstream, division, consumer] = labels.clone();
            let outcome_label = ("outcome", outcome.as_str().to_owned());
            ([upstream, division, consumer, outcome_label], float(counts.of(*outcome)))
        })
    });
    page.counters("requests", "Exchanges by how they ended", &mut by_outcome)?;
    let mut prices = consumers.iter().map(|(labels, counts)| (labels.clone(), float(counts.price)));
    page.counters("price", "Requests of the account's allowance that were paid", &mut prices)?;
    let waits = upstreams.iter().map(|seen| (of(seen), seen.watched.tally.waits()));
    page.seconds("wait", "Time in the queue of those who stood in it or paid", waits)?;

    let mut answers = upstreams.iter().flat_map(|seen| {
        let answers = seen.watched.vendor.answers();
        answers.map(|(status, count)| ([upstream(seen), ("status", status.to_string())], float(count)))
    });
    page.counters("upstream_requests", "Answers of the vendor by status", &mut answers)?;
    let mut sent = upstreams.iter().map(|seen| (of(seen), float(seen.watched.vendor.sent())));
    page.counters("upstream_sent", "Requests that left for the vendor, or may have", &mut sent)?;
    let mut refused = upstreams.iter().map(|seen| (of(seen), float(seen.watched.vendor.refused())));
    page.counters("upstream_refused", "429s of the vendor: none, if the laws hold", &mut refused)?;
    let mut lost = upstreams.iter().map(|seen| (of(seen), float(seen.watched.vendor.lost_refreshes())));
    page.counters("refresh_failures", "Background refreshes that brought nothing", &mut lost)?;
    let latency = upstreams.iter().map(|seen| (of(seen), seen.watched.vendor.latency()));
    page.seconds("upstream_latency", "From the send to the vendor's response head", latency)?;
    let mut let_be = upstreams.iter().map(|seen| (of(seen), f64::from(u8::from(seen.health.is_let_be))));
    page.gauges("upstream_let_be", "1 while a failing vendor is not asked", None, &mut let_be)
}

/// Labels and counts of every consumer, with those beyond the bound as one.
fn consumers(seen: &Seen) -> Vec<([(&'static str, String); 3], Counts)> {
    let (plan, tally) = (&seen.watched.config.plan, &seen.watched.tally);
    let labels = |division: &str, consumer: &str| {
        [upstream(seen), ("division", division.to_owned()), ("consumer", consumer.to_owned())]
    };
    let own = plan.consumers.iter().enumerate().take(MAX_CONSUMERS);
    let own = own.map(|(seat, consumer)| {
        let division = plan.divisions[consumer.division].name.as_str();
        (labels(division, consumer.name.as_str()), tally.of(seat))
    });
    let mut all: Vec<_> = own.collect();
    if plan.consumers.len() > MAX_CONSUMERS {
        let rest = (MAX_CONSUMERS..plan.consumers.len()).map(|seat| tally.of(seat));
        all.push((labels(OTHER, OTHER), rest.fold(Counts::default(), Counts::plus)));
    }
    all
}

fn upstream(seen: &Seen) -> (&'static str, String) {
    ("upstream", seen.name().to_owned())
}

fn of(seen: &Seen) -> [(&'static str, String); 1] {
    [upstream(seen)]
}
