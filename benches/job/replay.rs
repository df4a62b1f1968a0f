//! A day of dashboards ([`super::day`] tells what is asked) in minutes: how many
//! requests does the vendor see behind each cache?
//!
//! Contenders run under libfaketime, so that their lifetimes of five minutes are the
//! trace's minutes, not ours; those that cannot are given lifetimes as much shorter.
//! Each has an origin of its own that counts.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use weir::clock::{Clock, Moment, UnixTime};

use super::day::{START, day};
use super::origin::Origin;
use super::peer::{Contender, Server};

/// The trace's clock: `factor` times as fast as ours, midnight at `begin`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FastClock {
    real: Clock,
    began: Moment,
    factor: u32,
}

/// Real time for starting everything before the day begins.
const PROLOGUE: Duration = Duration::from_secs(10);

/// How long every cache keeps an answer, in milliseconds of the trace.
const LIFETIME_MS: u64 = 300_000;

impl FastClock {
    fn begin(factor: u32) -> Self {
        let real = Clock::system();
        Self { real, began: real.now(), factor }
    }

    /// What it shows now.
    pub(crate) fn wall(&self) -> UnixTime {
        let since = self.real.now().since(self.began) * self.factor;
        UnixTime::from_secs(START) + since - PROLOGUE * self.factor
    }

    /// What libfaketime is to be told by who starts a process now.
    fn told(&self) -> String {
        let text = self.wall().to_string();
        format!("@{} x{}", text[..19].replace('T', " "), self.factor)
    }

    async fn until(&self, since_midnight: Duration) {
        self.real.sleep_until(self.began + PROLOGUE + since_midnight / self.factor).await;
    }
}

pub(crate) fn contenders(factor: u32) -> Vec<Contender> {
    let plain = |name, server, template| Contender { name, server, template, fill: Vec::new() };
    let weir = |name, rules: &str| Contender {
        name,
        server: Server::Weir,
        template: include_str!("conf/day/weir.toml"),
        fill: vec![("rules", rules.to_owned())],
    };
    vec![
        plain("nginx, proxy_cache 5 m", Server::Nginx, include_str!("conf/day/nginx.conf")),
        Contender {
            name: "Varnish, 5 m",
            server: Server::Varnish,
            template: include_str!("conf/day/varnish.vcl"),
            fill: vec![("ttl_ms", (LIFETIME_MS / u64::from(factor)).to_string())],
        },
        plain("haproxy, cache 5 m", Server::Haproxy, include_str!("conf/day/haproxy.cfg")),
        plain("Envoy, cache filter, 5 m", Server::Envoy, include_str!("conf/day/envoy.yaml")),
        weir("weir, as Catchpoint's dialect has it", ""),
        weir(
            "weir, `snap` to 5 m",
            "[[upstreams.catchpoint.cache]]\nmatch = \"GET /api/v2/tests/explorer/**\"\nttl = \"5m\"\n\
             snap = { start = \"startTimeUtc\", end = \"endTimeUtc\", step = \"5m\", settled_ttl = \"1d\" }\n",
        ),
    ]
}

/// Everybody at once; each request of the day goes to all.
pub(crate) async fn run(factor: u32) -> anyhow::Result<String> {
    ensure!(
        LIFETIME_MS.is_multiple_of(u64::from(factor) * 1_000),
        "five minutes in whole seconds: --factor 60 or 100"
    );
    let clock = FastClock::begin(factor);
    let all = contenders(factor);
    let origins = try_join_all(all.iter().map(|contender| {
        let quickened = contender.server.can_be_quickened();
        let max_age_ms = if quickened { LIFETIME_MS } else { LIFETIME_MS / u64::from(factor) };
        Origin::start(max_age_ms / 1_000, quickened.then_some(clock))
    }))
    .await?;
    let mut started = Vec::new();
    for (number, (contender, origin)) in (20..).zip(all.iter().zip(&origins)) {
        let told = contender.server.can_be_quickened().then(|| clock.told());
        started.push(contender.start(number, origin.port, told.as_deref())?);
    }
    ensure!(clock.wall() < UnixTime::from_secs(START), "starting took longer than {PROLOGUE:?}");
    // A connection each: what a fast clock thinks of idle ones is not the point.
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    let trace = day(1);
    let mut under_way = Vec::new();
    let failed: Vec<Arc<AtomicU64>> = all.iter().map(|_| Arc::default()).collect();
    for ask in &trace {
        clock.until(ask.at).await;
        for (started, failed) in started.iter().zip(&failed) {
            let (client, target) = (client.clone(), format!("{}{}", started.url, ask.target));
            let failed = Arc::clone(failed);
            under_way.push(tokio::spawn(async move {
                if let Err(error) = once(client, target).await {
                    eprintln!("{error:#}");
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
    }
    try_join_all(under_way).await?;
    let mut text = format!(
        "\nA day of dashboards, {factor} times as fast: {} asked\n\n| contender | vendor requests | free | failed |\n| --- | ---: | ---: | ---: |\n",
        trace.len()
    );
    for ((contender, origin), failed) in all.iter().zip(&origins).zip(&failed) {
        let free = 100.0 * (1.0 - origin.asked() as f64 / trace.len() as f64);
        writeln!(
            text,
            "| {} | {} | {free:.1} % | {} |",
            contender.name,
            origin.asked(),
            failed.load(Ordering::Relaxed)
        )?;
    }
    Ok(text)
}

async fn once(client: Client<HttpConnector, Empty<Bytes>>, target: String) -> anyhow::Result<()> {
    let request =
        Request::get(&target).header(AUTHORIZATION, "Bearer day-token-0123456789abcdef").body(Empty::new())?;
    let response = client.request(request).await.context(target.clone())?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    ensure!(status == StatusCode::OK, "{target}: {status} {}", String::from_utf8_lossy(&body));
    Ok(())
}
