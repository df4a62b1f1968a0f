//! `[telemetry]`: where traces go.

use std::path::PathBuf;

use http::Uri;

use super::listeners;
use crate::config::mistake::{Place, Walk};
use crate::config::raw;
use crate::config::url::{self, Url};
use crate::config::{Origin, Otlp, Scheme, Transport, proxy};
use crate::secret::Secret;

/// One in a hundred of those whose callers do not say.
const DEFAULT_SAMPLE_PER_MILLION: u32 = 10_000;
const MAX_SERVICE_BYTES: usize = 128;
/// Fields that are about the message or its way, and are set by weir.
const OWN: [&str; 5] = ["content-type", "content-length", "host", "connection", "transfer-encoding"];

pub(super) fn otlp(raw: Option<&raw::Telemetry>, walk: &mut Walk<'_>) -> Option<Otlp> {
    let raw = raw?.otlp.value()?;
    let words = "its endpoint is not said; write endpoint = \"http://127.0.0.1:4318\"";
    let endpoint = raw.endpoint.required(&raw.place, words, walk);
    let headers = headers(raw, endpoint.map(|at| &at.value.0), walk);
    if let Some(at) = raw.ca.given() {
        listeners::roots(at, walk);
    }
    let service = raw.service.value().cloned().unwrap_or_else(|| "weir".into());
    if let Some(at) = raw.service.given()
        && (service.is_empty() || service.len() > MAX_SERVICE_BYTES)
    {
        walk.wrong(&at.place, "must be 1 to 128 bytes long, such as \"weir\"");
    }
    let Url { scheme, authority, base_path } = endpoint?.value.0.clone();
    let origin = Origin { scheme, authority, base_path, h2c: false };
    let transport = Transport {
        ca: raw.ca.value().map(PathBuf::from).into_iter().collect(),
        proxy: through(&origin, &raw.place, walk),
        ..Transport::default()
    };
    let sample_per_million = raw.sample.value().map_or(DEFAULT_SAMPLE_PER_MILLION, |part| part.per_million());
    Some(Otlp { origin, transport, sample_per_million, headers, service })
}

fn headers(raw: &raw::Otlp, endpoint: Option<&Url>, walk: &mut Walk<'_>) -> Vec<(http::HeaderName, Secret)> {
    let mut headers = Vec::new();
    let in_clear =
        endpoint.is_some_and(|url| url.scheme == Scheme::Http && !url::is_loopback(url.authority.host()));
    for (name, at) in raw.headers.things() {
        // A name of the config is always the name of a header.
        let Ok(parsed) = name.parse() else { continue };
        let secret = &at.value.0;
        if OWN.contains(&name.as_str()) {
            walk.wrong(&at.place, "weir sets this header itself; remove it");
        } else if http::HeaderValue::from_str(secret.expose()).is_err() {
            walk.wrong(&at.place, "this value cannot stand in a header; use visible ASCII characters");
        } else if in_clear {
            walk.wrong(
                &at.place,
                "would travel in clear text; write endpoint = \"https://…\", or send to a collector on loopback",
            );
        } else {
            headers.push((parsed, secret.clone()));
        }
    }
    headers
}

/// The proxy that the environment names, as for vendors.
fn through(origin: &Origin, at: &Place, walk: &mut Walk<'_>) -> Option<crate::config::Proxy> {
    if origin.scheme == Scheme::Http || url::is_loopback(origin.authority.host()) {
        return None;
    }
    let uri = Uri::builder().scheme("https").authority(origin.authority.clone()).path_and_query("/");
    proxy::of_environment(&uri.build().ok()?, at, walk)
}
