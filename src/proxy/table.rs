//! What requests are answered by: the lanes and who may use them. A reload puts
//! another table in its place.
//!
//! A request keeps the table that it met to its end. So two tables may be in use
//! at once; they share what must be one: budgets (which understand both, see
//! `budget`), cache, flights, connections, counts, breakers. An upstream that is
//! taken out keeps its books: should it come back, what was spent is still spent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::breaker::Breaker;
use super::fault::Fault;
use super::fetch::Shared;
use super::keys::Keys;
use super::pages::Walks;
use super::ratelimit::Views;
use super::sign_in::Tokens;
use super::{Gateway, Lane};
use crate::budget::{Budget, Store};
use crate::cache::{Cache, FlightLimits, Flights, Scope, Selector};
use crate::clock::Clock;
use crate::config::{self, Config, Mount, Origin};
use crate::consumer::Consumers;
use crate::dialect::Links;
use crate::id::{ConsumerName, DivisionName, RequestIds, UpstreamName};
use crate::telemetry::Tally;
use crate::telemetry::trace::Tracer;
use crate::token::Issuer;
use crate::upstream::{SetupError, Upstream};

/// One configuration's lanes and consumers.
pub(super) struct Table {
    pub(super) lanes: Vec<Arc<Lane>>,
    pub(super) consumers: Consumers,
    /// None where no upstream's consumers exchange tokens.
    pub(super) issuer: Option<Arc<Issuer>>,
    pub(super) clock: Clock,
}

/// What lanes are made of, whatever the configuration.
pub(super) struct Parts {
    store: Store,
    cache: Arc<Cache>,
    clock: Clock,
}

/// Why a configuration cannot be adopted.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// An upstream's connections cannot be made.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// Replicas have to agree on limits.
    #[error(
        "upstreams.{0}: its limits, divisions, consumers or timeouts have changed, and its account is shared through Redis: restart the replicas with the new configuration"
    )]
    Shared(UpstreamName),
}

/// Held while the table is replaced, so that this happens one at a time.
#[derive(Default)]
pub(super) struct Changing {
    /// Whether what was charged before this process is known.
    is_recalled: bool,
    /// Upstreams that a reload has taken out.
    retired: HashMap<UpstreamName, Arc<Lane>>,
}

/// All that connections depend on: the same wire, the same connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wire {
    origin: Origin,
    times: [Duration; 3],
    /// Of the transport as it is configured, its secrets, and what is in its files.
    transport: [u8; 32],
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
        (process, issuer, tracer): (u64, Option<Issuer>, Option<Arc<Tracer>>),
    ) -> Result<Arc<Self>, AdoptError> {
        let parts = Parts { store: store.clone(), cache: Arc::clone(cache), clock };
        let consumers = Consumers::new(&config.consumers, clock);
        let nothing = Table { lanes: Vec::new(), consumers, issuer: None, clock };
        let gateway = Arc::new(Self {
            table: ArcSwap::from_pointee(nothing),
            parts,
            changing: Mutex::default(),
            ids: RequestIds::new(process),
            clock,
            tracer,
            last_call: watch::Sender::new(false),
        });
        gateway.adopt(config, issuer)?;
        Ok(gateway)
    }

    /// From now on `config` holds for what comes; what is under way goes on as it
    /// began, on the same books. Tokens are signed by `issuer` if they were by nobody before.
    ///
    /// # Errors
    /// An upstream's TLS roots cannot be read. Then nothing has changed.
    pub fn adopt(&self, config: &Config, issuer: Option<Issuer>) -> Result<(), AdoptError> {
        let mut changing = self.changing.lock();
        let old = self.table.load_full();
        let before = |name: &UpstreamName| {
            let lane = old.lanes.iter().find(|lane| lane.config.name == *name);
            lane.or_else(|| changing.retired.get(name)).map(Arc::clone)
        };
        // All that can fail comes first.
        let is_fixed = |upstream: &&config::Upstream| {
            before(&upstream.name)
                .is_some_and(|lane| lane.budget.standing().is_some() && !is_same_plan(&lane, upstream))
        };
        if let Some(upstream) = config.upstreams.iter().find(is_fixed) {
            return Err(AdoptError::Shared(upstream.name.clone()));
        }
        let connections = config.upstreams.iter().map(|upstream| {
            let (wire, before) = (Wire::of(upstream), before(&upstream.name));
            let same =
                before.as_ref().filter(|lane| lane.wire == wire).map(|lane| Arc::clone(&lane.upstream));
            let connections = match same {
                Some(connections) => connections,
                None => Arc::new(Upstream::new(upstream, self.clock)?),
            };
            Ok((before, connections, wire))
        });
        let connections: Vec<_> = connections.collect::<Result<_, AdoptError>>()?;
        let lanes = config.upstreams.iter().zip(connections).enumerate();
        let lanes = lanes.map(|(index, (upstream, (before, connections, wire)))| {
            let draft = Draft { index, upstream, config, connections, wire };
            Arc::new(match &before {
                Some(lane) => draft.after(lane),
                None => {
                    let lane = draft.fresh(&self.parts);
                    if changing.is_recalled {
                        lane.budget.recall();
                    }
                    lane
                }
            })
        });
        let lanes: Vec<_> = lanes.collect();
        let is_in = |name: &UpstreamName| lanes.iter().any(|lane| lane.config.name == *name);
        changing.retired.retain(|name, _| !is_in(name));
        for lane in old.lanes.iter().filter(|lane| !is_in(&lane.config.name)) {
            changing.retired.insert(lane.config.name.clone(), Arc::clone(lane));
        }
        let consumers = old.consumers.succeed(&config.consumers);
        self.table.store(Arc::new(Table {
            lanes,
            consumers,
            issuer: old.issuer.clone().or_else(|| issuer.map(Arc::new)),
            clock: self.clock,
        }));
        Ok(())
    }

    /// The ledger is loaded: every budget takes up what was charged before.
    pub fn recall(&self) {
        let mut changing = self.changing.lock();
        changing.is_recalled = true;
        self.table.load().lanes.iter().chain(changing.retired.values()).for_each(|lane| lane.budget.recall());
    }

    /// What is kept of all vendors' answers.
    #[must_use]
    pub fn cache(&self) -> &Arc<Cache> {
        &self.parts.cache
    }

    /// The lanes that there are, and those that a reload has taken out: what was begun
    /// there goes on, and is counted there.
    #[must_use]
    pub fn every_lane(&self) -> Vec<Arc<Lane>> {
        let changing = self.changing.lock();
        self.table.load().lanes.iter().chain(changing.retired.values()).map(Arc::clone).collect()
    }

    /// Requests that have left, or may, and have not come to an end; over all
    /// upstreams there are or were.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        let changing = self.changing.lock();
        let table = self.table.load();
        table.lanes.iter().chain(changing.retired.values()).map(|lane| lane.budget.outstanding()).sum()
    }
}

impl Wire {
    fn of(upstream: &config::Upstream) -> Self {
        let transport = &upstream.transport;
        let mut print = Sha256::new();
        // Whatever has a form for debugging; secrets have none, so they follow by themselves.
        print.update(format!("{transport:?}"));
        if let Some(credentials) = transport.proxy.as_ref().and_then(|proxy| proxy.credentials.as_ref()) {
            print.update(credentials.expose());
        }
        for file in transport.files() {
            // One that cannot be read is told when the connections are made.
            print.update(std::fs::read(file).unwrap_or_default());
        }
        Self {
            origin: upstream.origin.clone(),
            times: [upstream.timeout, upstream.connect_timeout, upstream.idle_timeout],
            transport: print.finalize().into(),
        }
    }
}

/// A lane that is to be.
struct Draft<'a> {
    index: usize,
    upstream: &'a config::Upstream,
    config: &'a Config,
    connections: Arc<Upstream>,
    wire: Wire,
}

impl Draft<'_> {
    /// For an upstream that was not there before.
    fn fresh(self, parts: &Parts) -> Lane {
        let upstream = self.upstream;
        let budget = parts.store.budget(upstream, parts.clock);
        Lane {
            flights: flights(self.config, &parts.cache, parts.clock),
            tally: Arc::new(Tally::new(seats(upstream))),
            keys: Keys::new(&upstream.keys),
            breaker: breaker(upstream),
            vendor: Arc::default(),
            ..self.lane(budget, Arc::clone(&parts.cache))
        }
    }

    /// In the place of `before`.
    fn after(self, before: &Lane) -> Lane {
        let upstream = self.upstream;
        let budget = match is_same_plan(before, upstream) {
            true => Arc::clone(&before.budget),
            false => before.budget.replanned(upstream.plan.clone(), longest(upstream)),
        };
        let was = &before.config;
        let is_same_vendor = was.origin == upstream.origin && was.dialect.name() == upstream.dialect.name();
        if !is_same_vendor {
            // What another vendor said is no answer of this one.
            before.cache.purge(&Selector::Upstream(upstream.name.clone()));
        }
        let is_same_kind = is_same_vendor && was.keys.is_empty() == upstream.keys.is_empty();
        Lane {
            flights: match is_same_vendor {
                true => before.flights.clone(),
                false => flights(self.config, &before.cache, before.clock),
            },
            tally: Arc::new(before.tally.succeed(seats(upstream))),
            keys: before.keys.succeed(&upstream.keys),
            tokens: match is_same_vendor && before.keys.are(&upstream.keys) {
                true => Arc::clone(&before.tokens),
                false => Arc::new(Tokens::new(&upstream.keys)),
            },
            forms: Arc::clone(&before.forms),
            breaker: if is_same_kind { Arc::clone(&before.breaker) } else { breaker(upstream) },
            vendor: Arc::clone(&before.vendor),
            ..self.lane(budget, Arc::clone(&before.cache))
        }
    }

    /// All that follows from the configuration, on these books.
    fn lane(self, budget: Arc<Budget>, cache: Arc<Cache>) -> Lane {
        let upstream = self.upstream;
        let scope = |key| Scope { upstream: upstream.name.clone(), key };
        let mut scopes: Vec<Scope> = upstream.keys.iter().map(|key| scope(Some(key.name.clone()))).collect();
        if scopes.is_empty() {
            scopes.push(scope(None));
        }
        Lane {
            index: self.index,
            clock: budget.clock(),
            budget,
            upstream: self.connections,
            wire: self.wire,
            cache,
            flights: Flights::new(FlightLimits::default()),
            links: Arc::new(links(upstream, self.config)),
            scopes,
            tally: Arc::new(Tally::new([])),
            keys: Keys::new(&[]),
            tokens: Arc::new(Tokens::new(&upstream.keys)),
            forms: Arc::default(),
            breaker: Arc::default(),
            views: Views::new(upstream.plan.consumers.len()),
            walks: Walks::default(),
            vendor: Arc::default(),
            config: Arc::new(upstream.clone()),
            warned: Mutex::default(),
        }
    }
}

/// Whether the books can stay as they are.
fn is_same_plan(before: &Lane, upstream: &config::Upstream) -> bool {
    before.budget.plan() == &upstream.plan && longest(&before.config) == longest(upstream)
}

/// A request is sent and given up within this time of its booking.
fn longest(upstream: &config::Upstream) -> Duration {
    upstream.connect_timeout + upstream.timeout
}

/// Fetches under way that a purge can shut.
fn flights(config: &Config, cache: &Cache, clock: Clock) -> Flights<Shared, Fault> {
    let limits = FlightLimits { max_kept_bytes: config.store.cache_memory_bytes, ..FlightLimits::default() };
    let flights = Flights::timed(limits, clock);
    let to_shut = flights.clone();
    cache.on_purge(move |selector| {
        to_shut.shut(selector);
    });
    flights
}

fn breaker(upstream: &config::Upstream) -> Arc<Breaker> {
    Arc::new(if upstream.keys.is_empty() { Breaker::off() } else { Breaker::default() })
}

fn seats(upstream: &config::Upstream) -> impl Iterator<Item = (ConsumerName, DivisionName)> {
    let plan = &upstream.plan;
    plan.consumers.iter().map(|c| (c.name.clone(), plan.divisions[c.division].name.clone()))
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
