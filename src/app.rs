//! The only place where parts are built from the configuration and joined:
//! listeners, the gateway, reload, shutdown.
//!
//! * `sockets`: where connections come in. `listener`: how they are served.
//! * `reload`, `files`: another configuration under load.
//! * `chronicle`: what was counted, carried to where it is kept.
//! * `traces`: spans, on their way to the collector.
//! * `stop`: the end, in good order. `systemd`: a word to the service manager.

mod chronicle;
mod files;
pub mod listener;
mod reload;
mod sockets;
mod stop;
mod systemd;
mod token_key;
mod traces;

use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::Either;
use http::Response;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};

use crate::admin::{Admin, Health, KeyHealth, Order, Sources, Watched};
use crate::budget::ledger::Begun;
use crate::budget::{Standing, Store};
use crate::cache::{Cache, CacheLimits, Disk, DiskOptions, Editions, SecondLevel, Shared, SharedOptions};
use crate::clock::Clock;
use crate::config::Config;
use crate::proxy::{Body, Gateway, Lane, Met};
use crate::secret::Secret;
use crate::telemetry::trace::Tracer;
use crate::telemetry::usage::Usage;
use crate::token::Issuer;

use chronicle::Chronicle;
use files::Watch;
use listener::{Doors, Drained, Options};
use reload::{Fixed, Reloader};
use sockets::Purpose;
use traces::Traces;

pub use reload::Origin;
pub use sockets::Sockets;
pub use stop::Signals;

/// How long operators' requests may hold up the end.
const ADMIN_GRACE: Duration = Duration::from_secs(1);
/// Reloads that wait for their turn.
const MAX_ORDERS: usize = 16;

/// What weir is started with, beside its configuration.
#[derive(Default)]
pub struct Setup {
    /// Sockets that a service manager holds.
    pub sockets: Sockets,
    /// Where the configuration can be read again; without it there are no reloads.
    pub origin: Option<Origin>,
}

/// A running weir. Dropping it stops accepting; [`App::stop`] also waits.
pub struct App {
    gateway: Arc<Gateway>,
    store: Store,
    cache: Arc<Cache>,
    usage: Arc<Usage>,
    chronicle: Arc<Chronicle>,
    traces: Option<Traces>,
    clock: Clock,
    grace: Duration,
    address: SocketAddr,
    admin: Arc<Admin>,
    admin_address: SocketAddr,
    /// Ends the consumers' listener; the operators' goes on until all is answered.
    stop: watch::Sender<bool>,
    over: watch::Sender<bool>,
    /// One per door.
    served: Vec<JoinHandle<Drained>>,
    admin_served: JoinHandle<Drained>,
    beside: Vec<AbortHandle>,
}

impl App {
    /// Starts on sockets of its own, and without reloads.
    ///
    /// # Errors
    /// As for [`App::start_with`].
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        Self::start_with(config, Setup::default()).await
    }

    /// Builds everything and listens. When it returns, the first request can come;
    /// it can leave as well, unless a predecessor still has the ledger.
    ///
    /// # Errors
    /// An address is taken, an upstream's TLS roots cannot be read, or the ledger
    /// is one that this weir cannot use.
    pub async fn start_with(config: Config, mut setup: Setup) -> anyhow::Result<Self> {
        let clock = Clock::system();
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let process = getrandom::u64().context("the system has no randomness")?;
        let store = Store::open(&config.store, clock, process).context("the ledger cannot be kept")?;
        let key = token_key::of(&config)?;
        let cache = cache(&config, clock, process).await?;
        let (traces, tracer) = Traces::begin(config.otlp.as_ref(), clock, process)?.unzip();
        let gateway = Gateway::new(
            &config,
            (&store, &cache),
            clock,
            (process, key.as_ref().map(Issuer::new), tracer.clone()),
        )?;
        let begun = store.begun().await?;
        let usage = Usage::open(config.store.path.clone(), clock.wall())
            .context("the thread that keeps usage cannot start")?;
        let doors = Doors::open(&config.server, clock, &mut setup.sockets)?;
        let address = doors.address();
        let (admin_listener, admin_address) = setup.sockets.take(Purpose::Admin, config.admin.listen)?;
        let ((stop, stopped), (over, _)) = (watch::channel(false), watch::channel(false));
        let (orders, ordered) = mpsc::channel(MAX_ORDERS);
        let chronicle = Chronicle::new(&gateway, &usage, clock);
        let sources = sources(&gateway, (&usage, &chronicle, tracer), &store, orders, clock);
        let admin = Admin::new(&config.admin, watched(&gateway), sources);
        let mut beside = vec![
            tokio::spawn(Arc::clone(&chronicle).run()).abort_handle(),
            tokio::spawn(systemd::watchdog(clock)).abort_handle(),
        ];
        beside.extend(take_up(begun, &store, (&gateway, &admin)));
        if let Some(origin) = setup.origin {
            let reloader = reloader(origin, &config, key.as_ref(), (&gateway, &admin), clock).await;
            let hangups = signal(SignalKind::hangup()).context("SIGHUP cannot be listened for")?;
            drop(tokio::spawn(reloader.run(ordered, hangups, stopped.clone())));
        }
        let grace = config.server.shutdown_grace;
        let admin_served = operators(&admin, admin_listener, clock, over.subscribe());
        describe(&gateway);
        tracing::info!(address = %admin_address, "admin listening");
        doors.announce();
        let served = doors.serve(service(&gateway), Options::new(clock, grace), || until(stopped.clone()));
        systemd::ready();
        Ok(Self {
            gateway,
            store,
            cache,
            usage,
            chronicle,
            traces,
            clock,
            grace,
            address,
            admin,
            admin_address,
            stop,
            over,
            served,
            admin_served,
            beside,
        })
    }

    /// Where consumers reach it: the port that was really bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where operators reach it.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// The upstreams, for those who watch them.
    #[must_use]
    pub fn watched(&self) -> Vec<Watched> {
        watched(&self.gateway)
    }
}

/// What carries out reloads of the configuration from `origin`.
async fn reloader(
    origin: Origin,
    config: &Config,
    key: Option<&Secret>,
    (gateway, admin): (&Arc<Gateway>, &Arc<Admin>),
    clock: Clock,
) -> Reloader {
    let mut watch = Watch::default();
    watch.follow(config.files.clone()).await;
    Reloader {
        origin,
        gateway: Arc::clone(gateway),
        admin: Arc::clone(admin),
        clock,
        fixed: Fixed::of(config),
        signs: reload::signs(key),
        watch,
    }
}

/// Takes up the past, now or in a task of its own.
fn take_up(
    begun: Begun,
    store: &Store,
    (gateway, admin): (&Arc<Gateway>, &Arc<Admin>),
) -> Option<AbortHandle> {
    match begun {
        Begun::Loaded => {
            gateway.recall();
            admin.loaded();
            None
        }
        Begun::Waits => {
            let told = (Arc::clone(gateway), Arc::clone(admin));
            Some(tokio::spawn(recall(store.clone(), told)).abort_handle())
        }
    }
}

/// Takes up the past as soon as the ledger can be had.
async fn recall(store: Store, (gateway, admin): (Arc<Gateway>, Arc<Admin>)) {
    match store.loaded().await {
        Ok(()) => {
            gateway.recall();
            gateway.joined().await;
            admin.loaded();
        }
        Err(error) => {
            tracing::error!(%error, "nothing will leave before this is repaired and weir restarted")
        }
    }
}

fn sources(
    gateway: &Arc<Gateway>,
    (usage, chronicle, tracer): (&Arc<Usage>, &Arc<Chronicle>, Option<Arc<Tracer>>),
    store: &Store,
    orders: mpsc::Sender<Order>,
    clock: Clock,
) -> Sources {
    let (store, chronicle, open) = (store.clone(), Arc::clone(chronicle), Arc::clone(gateway));
    Sources {
        cache: Arc::clone(gateway.cache()),
        usage: Arc::clone(usage),
        clock,
        orders,
        tracer,
        note: Arc::new(move || chronicle.tick()),
        can_book: Arc::new(move || {
            store.is_up() && open.lanes().iter().all(|lane| lane.budget().standing() != Some(Standing::Lost))
        }),
    }
}

fn watched(gateway: &Gateway) -> Vec<Watched> {
    gateway.lanes().into_iter().map(watch).collect()
}

fn watch(lane: Arc<Lane>) -> Watched {
    Watched {
        config: Arc::clone(lane.config()),
        budget: Arc::clone(lane.budget()),
        tally: Arc::clone(lane.tally()),
        vendor: Arc::clone(lane.vendor()),
        health: Arc::new(move |now| Health {
            keys: lane.key_states(now).into_iter().map(key_health).collect(),
            is_let_be: lane.is_let_be(),
        }),
    }
}

fn key_health(state: crate::proxy::KeyState) -> KeyHealth {
    KeyHealth {
        name: state.name.to_string(),
        value: state.value,
        expires: state.expires,
        is_refused: state.is_refused,
        is_in_use: state.is_in_use,
    }
}

/// The one cache of all lanes, over its file and what replicas share.
async fn cache(config: &Config, clock: Clock, process: u64) -> anyhow::Result<Arc<Cache>> {
    let open = |max_bytes| {
        let options = DiskOptions { path: config.store.path.clone(), max_bytes };
        let disk = Disk::open(&options, Editions::of(&config.upstreams), clock);
        disk.map(|disk| Arc::new(disk) as Arc<dyn SecondLevel>)
    };
    let second = config.store.cache_disk_bytes.map(open).transpose();
    let second = second.context("the thread of the cache's file cannot start")?;
    let limits = CacheLimits { max_bytes: config.store.cache_memory_bytes };
    let (Some(redis), Some(key)) = (&config.store.redis, &config.server.token_key) else {
        return Ok(Arc::new(Cache::over(limits, second, None)));
    };
    let options = SharedOptions {
        server: redis.server.clone(),
        prefix: &redis.prefix,
        process,
        key,
        max_bytes: redis.cache_bytes,
    };
    let shared = Shared::new(options, Editions::of(&config.upstreams), clock);
    let (shared, orders) = shared.context("the system has no randomness")?;
    let cache = Arc::new(Cache::over(limits, second, Some(Arc::clone(&shared))));
    shared.start(&cache, orders);
    // Nothing is served that was purged elsewhere while this one was not there.
    shared.joined().await;
    Ok(cache)
}

fn describe(gateway: &Gateway) {
    for lane in gateway.lanes() {
        let upstream = lane.config();
        tracing::info!(
            upstream = %upstream.name,
            dialect = upstream.dialect.name(),
            limits = upstream.plan.limits.len(),
            consumers = upstream.plan.consumers.len(),
            "upstream ready"
        );
    }
}

/// The operators' door, with the bounds of the consumers' one.
fn operators(
    admin: &Arc<Admin>,
    listener: TcpListener,
    clock: Clock,
    over: watch::Receiver<bool>,
) -> JoinHandle<Drained> {
    let (answer, admin) = (admin.service(), Arc::clone(admin));
    let shutdown = async move {
        until(over).await;
        admin.over();
    };
    let service = move |request, _: listener::Peer| answer(request);
    listener::serve((listener, None), service, Options::new(clock, ADMIN_GRACE), shutdown)
}

/// Hands a connection's requests to the gateway. Most are answered on the spot; only
/// one that has to wait gets a box.
fn service(
    gateway: &Arc<Gateway>,
) -> impl Fn(http::Request<listener::RequestBody>, listener::Peer) -> Answering + Clone + Send + Sync + 'static
{
    let gateway = Arc::clone(gateway);
    move |request, peer| match gateway.at_once(request, peer.seen()) {
        Met::Answered(response) => Either::Left(ready(response)),
        Met::Later(later) => {
            let gateway = Arc::clone(&gateway);
            Either::Right(Box::pin(async move { gateway.later(*later, peer.seen()).await }))
        }
    }
}

/// An answer that is there, or will be.
type Answering = Either<Ready<Response<Body>>, Pin<Box<dyn Future<Output = Response<Body>> + Send>>>;

/// Resolves when stopping is asked for, or whoever could ask is gone.
async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}
