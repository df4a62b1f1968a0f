//! The operators' listener: health, readiness, status, metrics and purges.
//!
//! It has a listener of its own; nothing leads here from the consumers' one.
//! Loopback is no authentication, since a browser on the same machine can be
//! made to ask (DNS rebinding): so `Host` must be an address or a name that was
//! configured, what comes from another site is refused, and off loopback a token
//! is required. No answer has a secret in it.

mod guard;
mod metrics;
mod purge;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;

use crate::budget::Budget;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config;
use crate::telemetry::{Tally, VendorCounts};

/// One upstream, as far as operators see it.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Its configuration.
    pub config: Arc<config::Upstream>,
    /// Its allowance.
    pub budget: Arc<Budget>,
    /// Exchanges by consumer.
    pub tally: Arc<Tally>,
    /// What the vendor did.
    pub vendor: Arc<VendorCounts>,
}

/// Everything that is shown.
pub struct Admin {
    upstreams: Vec<Watched>,
    cache: Arc<Cache>,
    clock: Clock,
    guard: guard::Guard,
    loading: AtomicBool,
    stopping: AtomicBool,
}

impl Admin {
    /// Shows `upstreams`, guarded as `config` says. Not ready before [`Admin::loaded`].
    #[must_use]
    pub fn new(
        config: &config::Admin,
        upstreams: Vec<Watched>,
        cache: Arc<Cache>,
        clock: Clock,
    ) -> Arc<Self> {
        let guard = guard::Guard::new(config.token.clone());
        let (loading, stopping) = (AtomicBool::new(true), AtomicBool::new(false));
        Arc::new(Self { upstreams, cache, clock, guard, loading, stopping })
    }

    /// The past is known: requests can leave.
    pub fn loaded(&self) {
        self.loading.store(false, Ordering::Relaxed);
    }

    /// From now on weir is not ready: balancers send no more.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Serves until `shutdown` resolves.
    ///
    /// # Errors
    /// The listener fails.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let service = self.router().into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener, service).with_graceful_shutdown(shutdown).await
    }

    fn router(self: Arc<Self>) -> Router {
        let guarded = Router::new()
            .route("/metrics", get(show_metrics))
            .route("/api/v1/status", get(show_status))
            .route("/api/v1/cache/purge", post(purge::purge))
            .layer(middleware::from_fn_with_state(Arc::clone(&self), guard::check));
        Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readiness))
            .merge(guarded)
            .with_state(self)
    }
}

async fn readiness(State(admin): State<Arc<Admin>>) -> Response {
    if admin.stopping.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    if admin.loading.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "loading\n").into_response();
    }
    "ready\n".into_response()
}

async fn show_metrics(State(admin): State<Arc<Admin>>) -> Response {
    const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, TEXT)], metrics::text(&admin)).into_response()
}

async fn show_status(State(admin): State<Arc<Admin>>) -> Response {
    axum::Json(status::of(&admin)).into_response()
}
