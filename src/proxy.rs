//! From a caller's request to an answer. `pipeline` tells it in order.
//!
//! * `call`: what is asked, and by whom: route, identify, allow, check.
//! * `ahead`: request bodies that are read before they are sent on.
//! * `issue`: weir as the token endpoint of consumers whose clients exchange tokens.
//! * `pipeline`: the story, from the request to the answer.
//! * `begin`: how a fetch begins: looked up, joined, alone, or behind a reader's back.
//! * `listen`: a caller's wait for it, and the answer in that caller's form.
//! * `wish`: what will be asked of the vendor, and who may share the answer.
//! * `keyed_body`, `snap`: the one spelling of a cacheable POST and of a time window.
//! * `fetch`, `receive`: the task that owns a permit, sends once, and fills flight and cache.
//! * `sign`: the request as it leaves, with the vendor's key.
//! * `tokens`, `sign_in`: the vendor's tokens, where a key is exchanged for one.
//! * `written`: what a write makes untrue is dropped before the writer is answered.
//! * `keys`, `breaker`: which value of a key is sent; when a vendor that is down is let be.
//! * `relay`: what is passed on in front of another weir.
//! * `pages`: all pages of a list as one answer, each a request of its own.
//! * `learn`: what an answer tells about the vendor's own count.
//! * `exchange`: what is said about it: headers, log line, counts.
//! * `refusal`: every answer that weir makes itself, and its status.
//! * `headers`, `edit`, `body`: what goes on, in which form.
//!
//! Not here: who is who (`consumer`), what may leave when (`budget`), what may be
//! kept and joined (`cache`), how bytes reach the vendor (`upstream`).

mod ahead;
mod begin;
mod body;
mod breaker;
mod cache_status;
mod call;
#[cfg(test)]
mod dashboards;
mod edit;
mod exchange;
mod fault;
mod fetch;
mod headers;
mod issue;
mod keyed_body;
mod keys;
mod learn;
mod listen;
mod pages;
mod pipeline;
mod ratelimit;
mod receive;
mod refusal;
mod relay;
mod sign;
mod sign_in;
mod snap;
mod tokens;
mod wish;
mod written;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::budget::{Budget, Store};
use crate::cache::{Cache, FlightLimits, Flights, Forms, Scope};
use crate::clock::Clock;
use crate::config::{self, Config, Mount};
use crate::consumer::{ConsumerIx, Consumers};
use crate::dialect::Links;
use crate::id::RequestIds;
use crate::telemetry::{Tally, VendorCounts};
use crate::token::Issuer;
use crate::upstream::{SetupError, Upstream};

pub use body::Body;

use breaker::Breaker;
use fault::Fault;
use fetch::Shared;
use keys::Keys;
use pages::Walks;
use ratelimit::Views;
use sign_in::Tokens;

/// Everything that answers consumers.
pub struct Gateway {
    lanes: Vec<Arc<Lane>>,
    consumers: Consumers,
    ids: RequestIds,
    /// None where no upstream's consumers exchange tokens.
    issuer: Option<Issuer>,
    clock: Clock,
    stopping: AtomicBool,
}

/// One upstream with all that serves it.
pub struct Lane {
    index: usize,
    config: Arc<config::Upstream>,
    budget: Arc<Budget>,
    upstream: Upstream,
    cache: Arc<Cache>,
    flights: Flights<Shared, Fault>,
    /// What is stored, in other codings.
    forms: Arc<Forms>,
    links: Arc<Links>,
    /// Per key of the config: its scope in the cache.
    scopes: Vec<Scope>,
    tally: Arc<Tally>,
    keys: Keys,
    tokens: Tokens,
    breaker: Breaker,
    views: Views,
    walks: Walks,
    vendor: Arc<VendorCounts>,
    /// Whom it has warned of what.
    warned: Mutex<HashSet<(ConsumerIx, String)>>,
    clock: Clock,
}

impl Gateway {
    /// Builds every lane of `config` over one cache; connects to nothing yet. Nothing
    /// leaves before [`Gateway::recall`].
    ///
    /// # Errors
    /// An upstream's TLS roots cannot be read.
    pub fn new(
        config: &Config,
        (store, cache): (&Store, &Arc<Cache>),
        clock: Clock,
        (process, issuer): (u64, Option<Issuer>),
    ) -> Result<Arc<Self>, SetupError> {
        let lane = |(index, upstream): (usize, &config::Upstream)| {
            let budget = store.budget(upstream, clock);
            Lane::new(index, upstream, config, budget, Arc::clone(cache)).map(Arc::new)
        };
        Ok(Arc::new(Self {
            lanes: config.upstreams.iter().enumerate().map(lane).collect::<Result<_, _>>()?,
            consumers: Consumers::new(&config.consumers, clock),
            ids: RequestIds::new(process),
            issuer,
            clock,
            stopping: AtomicBool::new(false),
        }))
    }

    /// The ledger is loaded: every budget takes up what was charged before.
    pub fn recall(&self) {
        for lane in &self.lanes {
            lane.budget.recall();
        }
    }

    /// Waits until every budget knows what others have charged, or that it cannot.
    pub async fn joined(&self) {
        for lane in &self.lanes {
            lane.budget.joined().await;
        }
    }

    /// Waits until the store has been told of every charge.
    pub async fn told(&self) {
        for lane in &self.lanes {
            lane.budget.told().await;
        }
    }

    /// From now on, new requests are told to go elsewhere.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// The lanes, in the order of the config.
    #[must_use]
    pub fn lanes(&self) -> &[Arc<Lane>] {
        &self.lanes
    }
}

impl Lane {
    fn new(
        index: usize,
        upstream: &config::Upstream,
        config: &Config,
        budget: Arc<Budget>,
        cache: Arc<Cache>,
    ) -> Result<Self, SetupError> {
        let scope = |key| Scope { upstream: upstream.name.clone(), key };
        let mut scopes: Vec<Scope> = upstream.keys.iter().map(|key| scope(Some(key.name.clone()))).collect();
        if scopes.is_empty() {
            scopes.push(scope(None));
        }
        let clock = budget.clock();
        let max_kept_bytes = config.store.cache_memory_bytes;
        let flights = Flights::timed(FlightLimits { max_kept_bytes, ..FlightLimits::default() }, clock);
        let to_shut = flights.clone();
        cache.on_purge(move |selector| {
            to_shut.shut(selector);
        });
        Ok(Self {
            index,
            budget,
            upstream: Upstream::new(upstream, clock)?,
            cache,
            flights,
            forms: Arc::default(),
            links: Arc::new(links(upstream, config)),
            scopes,
            tally: Arc::new(Tally::new(upstream.plan.consumers.len())),
            keys: Keys::new(&upstream.keys),
            tokens: Tokens::new(&upstream.keys),
            breaker: if upstream.keys.is_empty() { Breaker::off() } else { Breaker::default() },
            views: Views::new(upstream.plan.consumers.len()),
            walks: Walks::default(),
            vendor: Arc::default(),
            config: Arc::new(upstream.clone()),
            warned: Mutex::default(),
            clock,
        })
    }

    /// What a write dropped stays dropped, whatever happens to this process: before its
    /// writer hears of it. A disk that does not say so holds up no answer for ever.
    async fn confirm_purges(&self) {
        if let Err(error) = self.cache.confirmed().await {
            tracing::error!(upstream = %self.config.name, %error, "after a crash, old answers may come back");
        }
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &Arc<config::Upstream> {
        &self.config
    }

    /// Its account's allowance.
    #[must_use]
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Counts of exchanges by consumer.
    #[must_use]
    pub fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// What is kept of its answers, and of the other lanes'.
    #[must_use]
    pub fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// What the vendor did.
    #[must_use]
    pub fn vendor(&self) -> &Arc<VendorCounts> {
        &self.vendor
    }
}

/// Where the upstream is and where its consumers think it is.
fn links(upstream: &config::Upstream, config: &Config) -> Links {
    Links {
        scheme: upstream.origin.scheme.as_str().to_owned(),
        authority: upstream.origin.authority.to_string(),
        base_path: upstream.origin.base_path.clone(),
        mount: match &upstream.mount {
            Mount::Prefix(prefix) => prefix.clone(),
            Mount::Host(_) => String::new(),
        },
        public_url: config.server.public_url.clone(),
    }
}
