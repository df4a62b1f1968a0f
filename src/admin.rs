//! The operators' listener: health, readiness, status, usage, metrics, reload, purges.
//!
//! It has a listener of its own; nothing leads here from the consumers' one.
//! Loopback is no authentication, since a browser on the same machine can be
//! made to ask (DNS rebinding): so `Host` must be an address, `localhost` or a configured
//! name, what comes from another site is refused, what changes something has to be JSON, and
//! off loopback a token is required. No answer has a secret in it.
//!
//! Everything is read where it is kept, when it is asked for. What a reload
//! replaces is replaced here as a whole ([`Admin::show`]).

mod api;
mod dashboard;
mod events;
mod guard;
mod metrics;
mod openapi;
mod purge;
mod reload;
mod status;
mod usage;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use axum::body::{Bytes, HttpBody};
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{BoxError, Router, middleware};
use tokio::sync::{mpsc, watch};
use tower_service::Service;

use crate::budget::Budget;
use crate::cache::Cache;
use crate::clock::{Clock, UnixTime};
use crate::config;
use crate::telemetry::trace::Tracer;
use crate::telemetry::usage::Usage;
use crate::telemetry::{Tally, VendorCounts};

pub use reload::{Adopted, Order, Reloads, Verdict};

/// An answer that is being made.
pub type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

/// One upstream, as far as operators see it.
#[derive(Clone)]
pub struct Watched {
    /// Its configuration.
    pub config: Arc<config::Upstream>,
    /// Its allowance.
    pub budget: Arc<Budget>,
    /// Exchanges by consumer.
    pub tally: Arc<Tally>,
    /// What the vendor did.
    pub vendor: Arc<VendorCounts>,
    /// How its keys stand, and whether it is let be.
    pub health: Arc<dyn Fn(UnixTime) -> Health + Send + Sync>,
}

/// What only the one who sends knows.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Every value of every key.
    pub keys: Vec<KeyHealth>,
    /// The vendor has been failing and is not asked for some seconds.
    pub is_let_be: bool,
}

/// How one value of a vendor key stands; never the value.
#[derive(Clone, Debug)]
pub struct KeyHealth {
    /// The key's label.
    pub name: String,
    /// Which of its values: 0 is the first in the configuration.
    pub value: usize,
    /// The first moment at which it is no longer valid.
    pub expires: Option<UnixTime>,
    /// Whether the vendor has refused it.
    pub is_refused: bool,
    /// Whether it is the one that is sent now.
    pub is_in_use: bool,
}

/// What there is to show, whatever the configuration.
pub struct Sources {
    /// What is kept of vendors' answers.
    pub cache: Arc<Cache>,
    /// Who asked what.
    pub usage: Arc<Usage>,
    /// What tells the time.
    pub clock: Clock,
    /// Where reloads are asked for.
    pub orders: mpsc::Sender<Order>,
    /// Brings usage up to this moment.
    pub note: Arc<dyn Fn() + Send + Sync>,
    /// Whether requests can be booked now.
    pub can_book: Arc<dyn Fn() -> bool + Send + Sync>,
    /// What is traced, if anything is.
    pub tracer: Option<Arc<Tracer>>,
}

/// Everything that is shown.
pub struct Admin {
    upstreams: ArcSwap<Vec<Watched>>,
    sources: Sources,
    guard: ArcSwap<guard::Guard>,
    events: events::Events,
    reloads: Reloads,
    loading: AtomicBool,
    stopping: AtomicBool,
    /// Ends streams that would go on for ever.
    over: watch::Sender<bool>,
}

impl Admin {
    /// Shows `upstreams`, guarded as `config` says. Not ready before [`Admin::loaded`].
    #[must_use]
    pub fn new(config: &config::Admin, upstreams: Vec<Watched>, sources: Sources) -> Arc<Self> {
        Arc::new(Self {
            upstreams: ArcSwap::from_pointee(upstreams),
            sources,
            guard: ArcSwap::from_pointee(guard::Guard::new(config.token.as_ref(), &config.hosts)),
            events: events::Events::default(),
            reloads: Reloads::default(),
            loading: AtomicBool::new(true),
            stopping: AtomicBool::new(false),
            over: watch::Sender::new(false),
        })
    }

    /// From now on shows `upstreams`, guarded as `config` says.
    pub fn show(&self, config: &config::Admin, upstreams: Vec<Watched>) {
        self.guard.store(Arc::new(guard::Guard::new(config.token.as_ref(), &config.hosts)));
        self.upstreams.store(Arc::new(upstreams));
    }

    /// What is shown now.
    #[must_use]
    pub fn upstreams(&self) -> Arc<Vec<Watched>> {
        self.upstreams.load_full()
    }

    /// How reloads went, for whoever carries them out.
    #[must_use]
    pub fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    /// The past is known: requests can leave.
    pub fn loaded(&self) {
        self.loading.store(false, Ordering::Relaxed);
    }

    /// From now on weir is not ready: balancers send no more.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// What answers operators, for whoever listens.
    pub fn service<B>(
        self: &Arc<Self>,
    ) -> impl Fn(Request<B>) -> Answering + Clone + Send + Sync + 'static + use<B>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let router = Arc::clone(self).router();
        move |request| {
            let answering = router.clone().call(request);
            Box::pin(async move { answering.await.unwrap_or_else(|never| match never {}) })
        }
    }

    /// Streams that would go on for ever end.
    pub fn over(&self) {
        self.over.send_replace(true);
    }

    fn router(self: Arc<Self>) -> Router {
        let guarded = Router::new()
            .route("/metrics", get(metrics::show))
            .nest("/api/v1", api::router())
            .layer(middleware::from_fn_with_state(Arc::clone(&self), guard::check));
        Router::new()
            .merge(dashboard::router())
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
