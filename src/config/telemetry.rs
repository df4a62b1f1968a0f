//! What is true of traces: where they go, and which.

use http::HeaderName;

use super::{Origin, Transport};
use crate::secret::Secret;

/// `[telemetry] otlp`: a collector that takes OTLP over HTTP.
#[derive(Clone, Debug)]
pub struct Otlp {
    /// Where it is; `/v1/traces` stands behind its base path.
    pub origin: Origin,
    /// How connections to it are made.
    pub transport: Transport,
    /// Of a million requests without a `traceparent`, so many are traced.
    pub sample_per_million: u32,
    /// Sent with every batch.
    pub headers: Vec<(HeaderName, Secret)>,
    /// The `service.name` of this weir.
    pub service: String,
}
