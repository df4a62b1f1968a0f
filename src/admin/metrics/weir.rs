//! Keys, cache, store, reloads: weir itself.

use std::fmt;

use prometheus_client::registry::Unit;

use super::{Page, Reading, float};
use crate::cache::{Cache, SharedTally};
use crate::telemetry;

pub(super) fn write(page: &mut Page<'_>, reading: &Reading) -> fmt::Result {
    keys(page, reading)?;
    let sources = &reading.admin.sources;
    cache(page, &sources.cache)?;
    let up = f64::from(u8::from((sources.can_book)()));
    page.gauge("store_up", "1 while requests can be booked; else only cached answers flow", None, up)?;
    let reloads = reading.admin.reloads();
    let (adopted, refused) = reloads.counts();
    let mut by_result = [("ok", adopted), ("failed", refused)]
        .into_iter()
        .map(|(result, count)| ([("result", result.to_owned())], float(count)));
    page.counters("reloads", "Reloads of the configuration", &mut by_result)?;
    let is_current = f64::from(u8::from(!reloads.last_was_refused()));
    let help = "1 while the last reload was adopted, or there was none";
    page.gauge("config_last_reload_successful", help, None, is_current)?;
    if let Some(tracer) = &sources.tracer {
        let (sent, lost) = tracer.counts();
        let mut by_result = [("sent", sent), ("lost", lost)]
            .into_iter()
            .map(|(result, count)| ([("result", result.to_owned())], float(count)));
        page.counters("trace_spans", "Spans that the collector took, and that were lost", &mut by_result)?;
    }
    let help = "Log lines that were lost: nobody took those before them from stderr";
    page.counter("log_lines_lost", help, float(telemetry::lost_lines()))?;
    let version = [("version", env!("CARGO_PKG_VERSION").to_owned())];
    page.gauges("build_info", "Which weir this is", None, &mut std::iter::once((version, 1.0)))
}

fn keys(page: &mut Page<'_>, reading: &Reading) -> fmt::Result {
    let mut expiries = reading.upstreams.iter().flat_map(|seen| {
        let mut last = Vec::<(&str, u64)>::new();
        for key in &seen.health.keys {
            let Some(end) = key.expires.map(|end| end.since(reading.now).as_secs()) else { continue };
            match last.last_mut().filter(|(name, _)| *name == key.name) {
                Some((_, latest)) => *latest = end.max(*latest),
                None => last.push((&key.name, end)),
            }
        }
        // One value without a date never expires, so the key does not.
        last.retain(|(name, _)| {
            !seen.health.keys.iter().any(|key| key.name == *name && key.expires.is_none() && !key.is_refused)
        });
        last.into_iter().map(|(name, left)| {
            let labels = [("upstream", seen.name().to_owned()), ("key", name.to_owned())];
            (labels, float(left))
        })
    });
    let help = "Until the last value of a vendor key expires";
    page.gauges("key_expiry", help, Some(&Unit::Seconds), &mut expiries)?;
    let mut refused = reading.upstreams.iter().flat_map(|seen| {
        seen.health.keys.iter().map(|key| {
            let labels = [
                ("upstream", seen.name().to_owned()),
                ("key", key.name.clone()),
                ("value", (key.value + 1).to_string()),
            ];
            (labels, f64::from(u8::from(key.is_refused)))
        })
    });
    page.gauges("key_refused", "1 if the vendor has refused this value of a key", None, &mut refused)
}

fn cache(page: &mut Page<'_>, cache: &Cache) -> fmt::Result {
    let second = cache.second_tally().unwrap_or_default();
    for (name, help, value) in [
        ("cache", "Weight of all answers kept in memory", cache.weight_bytes()),
        ("cache_disk", "Bytes that the answers kept on disk take", second.bytes),
        ("cache_disk_queue", "Weight of the answers that wait to be written to disk", second.queued_bytes),
    ] {
        page.gauge(name, help, Some(&Unit::Bytes), float(value))?;
    }
    page.gauge("cache_entries", "Answers that are kept in memory", None, float(cache.len()))?;
    for (name, help, value) in [
        ("cache_disk_found", "Answers brought up from disk", second.found),
        ("cache_disk_dropped", "Answers that the disk was too slow or too full to take", second.dropped),
    ] {
        page.counters::<0>(name, help, &mut std::iter::once(([], float(value))))?;
    }
    match cache.shared_tally() {
        Some(shared) => shared_cache(page, &shared),
        None => Ok(()),
    }
}

/// What replicas share through Redis.
fn shared_cache(page: &mut Page<'_>, shared: &SharedTally) -> fmt::Result {
    let is_open = f64::from(u8::from(shared.is_open));
    page.gauge("cache_redis_open", "1 while purges and writes of other replicas are heard", None, is_open)?;
    let help = "Weight of the answers that wait to be shared";
    page.gauge("cache_redis_queue", help, Some(&Unit::Bytes), float(shared.queued_bytes))?;
    for (name, help, value) in [
        ("cache_redis_found", "Answers found in Redis", shared.found),
        ("cache_redis_joined", "Fetches that another replica's stood in for", shared.joined),
        ("cache_redis_told", "Purges and writes that other replicas told", shared.told),
        ("cache_redis_dropped", "Answers that Redis was too slow or too full to take", shared.dropped),
    ] {
        page.counters::<0>(name, help, &mut std::iter::once(([], float(value))))?;
    }
    Ok(())
}
