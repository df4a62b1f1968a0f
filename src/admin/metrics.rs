//! `GET /metrics`: OpenMetrics text, which Prometheus reads.
//!
//! Nothing is counted here: the numbers are read where they are kept, when they
//! are asked for. Labels are names from the configuration, so they are bounded;
//! beyond [`MAX_CONSUMERS`] consumers of an upstream the rest are `_other`.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::{Admin, Watched};
use crate::budget::LimitState;
use crate::cache::SecondTally;
use crate::clock::UnixTime;
use crate::telemetry::{Counts, Outcome};

/// Consumers of one upstream that have labels of their own.
const MAX_CONSUMERS: usize = 500;

/// What a gauge reads of a limit's state.
type Read = fn(&LimitState) -> u32;

/// Everything in the exposition format.
pub(super) fn text(admin: &Admin) -> String {
    let mut registry = Registry::with_prefix("weir");
    registry.register_collector(Box::new(Reading {
        upstreams: admin.upstreams.clone(),
        cache_bytes: admin.cache.weight_bytes(),
        second: admin.cache.second_tally().unwrap_or_default(),
        now: admin.clock.wall(),
    }));
    let mut text = String::new();
    // Writing to a String cannot fail; a half-written page would be worse than none.
    if encode(&mut text, &registry).is_err() {
        text.clear();
    }
    text
}

#[derive(Debug)]
struct Reading {
    upstreams: Vec<Watched>,
    cache_bytes: u64,
    second: SecondTally,
    now: UnixTime,
}

impl Collector for Reading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.exchanges(&mut encoder)?;
        self.vendor(&mut encoder)?;
        self.budgets(&mut encoder)?;
        self.keys(&mut encoder)?;
        self.cache(&mut encoder)
    }
}

impl Reading {
    fn cache(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let second = &self.second;
        for (name, help, value) in [
            ("cache", "Weight of all answers kept in memory", self.cache_bytes),
            ("cache_disk", "Bytes that the answers kept on disk take", second.bytes),
            (
                "cache_disk_queue",
                "Weight of the answers that wait to be written to disk",
                second.queued_bytes,
            ),
        ] {
            let gauge = ConstGauge::new(float(value));
            gauge.encode(encoder.encode_descriptor(
                name,
                help,
                Some(&Unit::Bytes),
                gauge.metric_type(),
            )?)?;
        }
        for (name, help, value) in [
            ("cache_disk_found", "Answers brought up from disk", second.found),
            ("cache_disk_dropped", "Answers that the disk was too slow or too full to take", second.dropped),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }

    fn exchanges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = ConstCounter::new(0_u64).metric_type();
        let mut family = encoder.encode_descriptor("requests", "Exchanges by how they ended", None, kind)?;
        self.each_consumer(|upstream, division, consumer, counts| {
            for outcome in Outcome::ALL.iter().filter(|outcome| counts.of(**outcome) > 0) {
                let labels = [
                    ("upstream", upstream),
                    ("division", division),
                    ("consumer", consumer),
                    ("outcome", outcome.as_str()),
                ];
                ConstCounter::new(counts.of(*outcome)).encode(family.encode_family(&labels)?)?;
            }
            Ok(())
        })?;
        let help = "Requests of the account's allowance that were paid";
        let mut family = encoder.encode_descriptor("price", help, None, kind)?;
        self.each_consumer(|upstream, division, consumer, counts| {
            let labels = [("upstream", upstream), ("division", division), ("consumer", consumer)];
            ConstCounter::new(counts.price).encode(family.encode_family(&labels)?)
        })?;
        let help = "Time that callers stood in the queue";
        let mut family = encoder.encode_descriptor("wait", help, Some(&Unit::Seconds), kind)?;
        self.each_consumer(|upstream, division, consumer, counts| {
            let labels = [("upstream", upstream), ("division", division), ("consumer", consumer)];
            ConstCounter::new(counts.waited.as_secs_f64()).encode(family.encode_family(&labels)?)
        })
    }

    fn vendor(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = ConstCounter::new(0_u64).metric_type();
        let help = "Answers of the vendor by status";
        let mut family = encoder.encode_descriptor("upstream_requests", help, None, kind)?;
        for watched in &self.upstreams {
            for (status, count) in watched.vendor.answers() {
                let status = status.to_string();
                let labels = [("upstream", watched.config.name.as_str()), ("status", status.as_str())];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn budgets(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let snapshots: Vec<_> = self.upstreams.iter().map(|watched| watched.budget.snapshot()).collect();
        let kind = ConstGauge::new(0.0).metric_type();
        let read: [(&str, &str, Read); 2] = [
            ("budget_used", "Charges that count now", |state| state.used),
            ("budget_limit", "The most that may be used in one window", |state| state.allowed),
        ];
        for (name, help, value) in read {
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (watched, snapshot) in self.upstreams.iter().zip(&snapshots) {
                let nodes = snapshot.divisions.iter().map(|node| (node.node.to_string(), &node.limits));
                for (node, states) in std::iter::once(("account".to_owned(), &snapshot.account)).chain(nodes)
                {
                    for state in states {
                        let labels = [
                            ("upstream", watched.config.name.as_str()),
                            ("node", node.as_str()),
                            ("limit", state.limit.as_str()),
                        ];
                        ConstGauge::new(f64::from(value(state))).encode(family.encode_family(&labels)?)?;
                    }
                }
            }
        }
        let mut family = encoder.encode_descriptor("queue_length", "Callers that wait", None, kind)?;
        for (watched, snapshot) in self.upstreams.iter().zip(&snapshots) {
            let labels = [("upstream", watched.config.name.as_str())];
            let waiting = float(u64::try_from(snapshot.waiting).unwrap_or(u64::MAX));
            ConstGauge::new(waiting).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn keys(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = ConstGauge::new(0.0).metric_type();
        let help = "Until a vendor key expires";
        let mut family = encoder.encode_descriptor("key_expiry", help, Some(&Unit::Seconds), kind)?;
        for watched in &self.upstreams {
            for key in &watched.config.keys {
                let last = key.values.iter().filter_map(|value| value.expires).max();
                let Some(left) = last.map(|end| end.since(self.now).as_secs_f64()) else { continue };
                let labels = [("upstream", watched.config.name.as_str()), ("key", key.name.as_str())];
                ConstGauge::new(left).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    /// Upstream, division, consumer and counts, with the consumers beyond the bound as one.
    fn each_consumer(&self, mut tell: impl FnMut(&str, &str, &str, &Counts) -> fmt::Result) -> fmt::Result {
        for watched in &self.upstreams {
            let plan = &watched.config.plan;
            let upstream = watched.config.name.as_str();
            for (seat, consumer) in plan.consumers.iter().enumerate().take(MAX_CONSUMERS) {
                let division = plan.divisions[consumer.division].name.as_str();
                tell(upstream, division, consumer.name.as_str(), &watched.tally.of(seat))?;
            }
            if plan.consumers.len() > MAX_CONSUMERS {
                let rest = (MAX_CONSUMERS..plan.consumers.len()).map(|seat| watched.tally.of(seat));
                tell(upstream, "_other", "_other", &rest.fold(Counts::default(), Counts::plus))?;
            }
        }
        Ok(())
    }
}

/// Gauges are floating-point; beyond 2^53 the last digits are lost, which no gauge here reaches.
fn float(count: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "see above")]
    let float = count as f64;
    float
}
