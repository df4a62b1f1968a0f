//! The only place where parts are built from the configuration and joined:
//! listeners, the gateway, shutdown.

pub mod listener;
mod token_key;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::admin::{Admin, Watched};
use crate::budget::Store;
use crate::budget::ledger::Begun;
use crate::cache::{Cache, CacheLimits, Disk, DiskOptions, Editions, SecondLevel};
use crate::clock::Clock;
use crate::config::Config;
use crate::proxy::{Gateway, Lane};
use crate::token::Issuer;

use listener::{Doors, Drained, Options};

/// A running weir. Dropping it stops accepting; [`App::stop`] also waits.
pub struct App {
    gateway: Arc<Gateway>,
    store: Store,
    cache: Arc<Cache>,
    address: SocketAddr,
    admin: Arc<Admin>,
    admin_address: SocketAddr,
    stop: watch::Sender<bool>,
    /// One per door.
    served: Vec<JoinHandle<Drained>>,
    admin_served: JoinHandle<std::io::Result<()>>,
}

impl App {
    /// Builds everything and listens. When it returns, the first request can come;
    /// it can leave as well, unless a predecessor still has the ledger.
    ///
    /// # Errors
    /// An address is taken, an upstream's TLS roots cannot be read, or the ledger
    /// is one that this weir cannot use.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let clock = Clock::system();
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let mut process = [0; 8];
        getrandom::fill(&mut process).context("the system has no randomness")?;
        let process = u64::from_le_bytes(process);
        let store = Store::open(&config.store, clock, process).context("the ledger cannot be kept")?;
        let issuer = token_key::of(&config)?.map(|key| Issuer::new(&key));
        let cache = cache(&config, clock)?;
        let gateway = Gateway::new(&config, (&store, &cache), clock, (process, issuer))?;
        let begun = store.begun().await?;
        let doors = Doors::open(&config.server, clock)?;
        let address = doors.address();
        let (admin_listener, admin_address) = bind(config.admin.listen)?;
        let (stop, stopped) = watch::channel(false);
        let admin = Admin::new(&config.admin, watched(&gateway), Arc::clone(&cache), clock);
        match begun {
            Begun::Loaded => {
                gateway.recall();
                admin.loaded();
            }
            Begun::Waits => {
                let told = (Arc::clone(&gateway), Arc::clone(&admin));
                drop(tokio::spawn(recall(store.clone(), told)));
            }
        }
        let admin_served = tokio::spawn(Arc::clone(&admin).serve(admin_listener, until(stopped.clone())));
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
        tracing::info!(address = %admin_address, "admin listening");
        doors.announce();
        let options = Options::new(clock, config.server.shutdown_grace);
        let served = doors.serve(service(&gateway), options, || until(stopped.clone()));
        Ok(Self { gateway, store, cache, address, admin, admin_address, stop, served, admin_served })
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

    /// Serves until SIGTERM or SIGINT, then stops in good order.
    ///
    /// # Errors
    /// The signals cannot be listened for.
    pub async fn serve_until_signal(self) -> anyhow::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be listened for")?;
        // A write beyond a file-size limit is to fail as on a full disk, and not to end the process.
        let beyond_limit = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
        let _caught = signal(beyond_limit).context("SIGXFSZ cannot be listened for")?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: a second signal ends it at once");
        tokio::select! {
            cut = self.stop() => {
                if cut > 0 {
                    tracing::warn!(cut, "connections were cut when the grace was over");
                }
            }
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    }

    /// Accepts nothing new, answers what is under way, tells the rest to go
    /// elsewhere; then lets go of ledger and cache, for which a successor may be waiting.
    /// Says how many connections had to be cut.
    pub async fn stop(self) -> usize {
        self.gateway.stop();
        self.admin.stop();
        self.stop.send_replace(true);
        if let Ok(Err(error)) = self.admin_served.await {
            tracing::error!(%error, "the admin listener failed");
        }
        let mut cut = 0;
        for served in self.served {
            match served.await {
                Ok(drained) => cut += drained.cut,
                Err(error) => tracing::error!(%error, "the listener failed"),
            }
        }
        self.gateway.told().await;
        tokio::join!(self.store.close(), self.cache.close());
        cut
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

fn bind(wanted: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = listener::bind(wanted).with_context(|| format!("{wanted} cannot be listened on"))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn watched(gateway: &Gateway) -> Vec<Watched> {
    let one = |lane: &Arc<Lane>| Watched {
        config: Arc::clone(lane.config()),
        budget: Arc::clone(lane.budget()),
        tally: Arc::clone(lane.tally()),
        vendor: Arc::clone(lane.vendor()),
    };
    gateway.lanes().iter().map(one).collect()
}

/// The one cache of all lanes, over its file.
fn cache(config: &Config, clock: Clock) -> anyhow::Result<Arc<Cache>> {
    let open = |max_bytes| {
        let options = DiskOptions { path: config.store.path.clone(), max_bytes };
        let disk = Disk::open(&options, Editions::of(&config.upstreams), clock);
        disk.map(|disk| Arc::new(disk) as Arc<dyn SecondLevel>)
    };
    let second = config.store.cache_disk_bytes.map(open).transpose();
    let second = second.context("the thread of the cache's file cannot start")?;
    Ok(Arc::new(Cache::over(CacheLimits { max_bytes: config.store.cache_memory_bytes }, second)))
}

/// Hands a connection's requests to the gateway.
fn service(
    gateway: &Arc<Gateway>,
) -> impl Fn(
    http::Request<listener::RequestBody>,
    listener::Peer,
) -> std::pin::Pin<Box<dyn Future<Output = http::Response<crate::proxy::Body>> + Send>>
+ Clone
+ Send
+ Sync
+ 'static {
    let gateway = Arc::clone(gateway);
    move |request, peer| {
        let gateway = Arc::clone(&gateway);
        Box::pin(async move { gateway.answer(request, peer.seen()).await })
    }
}

/// Resolves when stopping is asked for, or whoever could ask is gone.
async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}
