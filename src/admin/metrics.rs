//! `GET /metrics`: OpenMetrics text, which Prometheus reads.
//!
//! Nothing is counted here: the numbers are read where they are kept, when they
//! are asked for. Labels are names from the configuration, so they are bounded;
//! beyond [`MAX_CONSUMERS`] consumers of an upstream the rest are `_other`.

mod budgets;
mod exchanges;
mod weir;

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::{Admin, Health, Watched};
use crate::budget::Snapshot;
use crate::clock::UnixTime;
use crate::telemetry::Histogram;

/// Consumers (and divisions) of one upstream that have labels of their own.
const MAX_CONSUMERS: usize = 500;
/// What all others are called.
const OTHER: &str = "_other";

pub(super) async fn show(State(admin): State<Arc<Admin>>) -> Response {
    const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, TEXT)], text(&admin)).into_response()
}

/// Everything in the exposition format.
fn text(admin: &Arc<Admin>) -> String {
    let mut registry = Registry::with_prefix("weir");
    let now = admin.sources.clock.wall();
    let upstreams = admin.upstreams();
    let seen = upstreams.iter().map(|watched| Seen {
        watched: watched.clone(),
        snapshot: watched.budget.snapshot(),
        health: (watched.health)(now),
    });
    let seen = seen.collect();
    registry.register_collector(Box::new(Reading { admin: Arc::clone(admin), upstreams: seen, now }));
    let mut text = String::new();
    // Writing to a String cannot fail; a half-written page would be worse than none.
    if encode(&mut text, &registry).is_err() {
        text.clear();
    }
    text
}

/// One upstream at the moment of the scrape.
struct Seen {
    watched: Watched,
    snapshot: Snapshot,
    health: Health,
}

struct Reading {
    admin: Arc<Admin>,
    upstreams: Vec<Seen>,
    now: UnixTime,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").finish_non_exhaustive()
    }
}

impl Collector for Reading {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        exchanges::write(&mut page, &self.upstreams)?;
        budgets::write(&mut page, &self.upstreams)?;
        weir::write(&mut page, self)
    }
}

impl Seen {
    fn name(&self) -> &str {
        self.watched.config.name.as_str()
    }
}

/// The page as it is written, family by family.
struct Page<'a>(DescriptorEncoder<'a>);

/// What a family is told apart by, and a number for each.
type Samples<'a, const N: usize> = &'a mut dyn Iterator<Item = ([(&'static str, String); N], f64)>;

impl Page<'_> {
    fn counters<const N: usize>(&mut self, name: &str, help: &str, samples: Samples<'_, N>) -> fmt::Result {
        let kind = ConstCounter::new(0_u64).metric_type();
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, count) in samples {
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauges<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: Samples<'_, N>,
    ) -> fmt::Result {
        let kind = ConstGauge::new(0.0).metric_type();
        let mut family = self.0.encode_descriptor(name, help, unit, kind)?;
        for (labels, value) in samples {
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// One count without labels.
    fn counter(&mut self, name: &str, help: &str, count: f64) -> fmt::Result {
        let counter = ConstCounter::new(count);
        counter.encode(self.0.encode_descriptor(name, help, None, counter.metric_type())?)
    }

    /// One number without labels.
    fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: f64) -> fmt::Result {
        let gauge = ConstGauge::new(value);
        gauge.encode(self.0.encode_descriptor(name, help, unit, gauge.metric_type())?)
    }

    fn seconds<'s>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl Iterator<Item = ([(&'static str, String); 1], &'s Histogram)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (labels, histogram) in samples {
            Durations(histogram).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// A histogram that is kept elsewhere.
struct Durations<'a>(&'a Histogram);

impl EncodeMetric for Durations<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let buckets = self.0.buckets();
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<[(&str, &str); 0]>(self.0.sum().as_secs_f64(), count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// Metrics are floating-point; beyond 2^53 the last digits are lost, which nothing here reaches.
fn float(count: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "see above")]
    let float = count as f64;
    float
}

fn float_of(count: usize) -> f64 {
    float(u64::try_from(count).unwrap_or(u64::MAX))
}
