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
//! * `books`: what is written down of a request that has left.
//! * `turn`: one fetch for all replicas.
//! * `sign`: the request as it leaves, with the vendor's key.
//! * `tokens`, `sign_in`: the vendor's tokens, where a key is exchanged for one;
//!   `shared_token`: one for all replicas.
//! * `written`: what a write makes untrue is dropped before the writer is answered.
//! * `keys`, `breaker`: which value of a key is sent; when a vendor that is down is let be.
//! * `relay`: what is passed on in front of another weir.
//! * `pages`: all pages of a list as one answer, each a request of its own.
//! * `leaving`: who is told that a request has left.
//! * `learn`: what an answer tells about the vendor's own count.
//! * `exchange`: what is said about it: headers, log line, counts.
//! * `refusal`: every answer that weir makes itself, and its status.
//! * `table`: what a reload replaces, and what it carries over.
//! * `headers`, `edit`, `body`: what goes on, in which form.
//!
//! Not here: who is who (`consumer`), what may leave when (`budget`), what may be
//! kept and joined (`cache`), how bytes reach the vendor (`upstream`).

mod ahead;
mod begin;
mod body;
mod books;
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
mod leaving;
mod listen;
mod pages;
mod pipeline;
mod ratelimit;
mod receive;
mod refusal;
mod relay;
mod shared_token;
mod sign;
mod sign_in;
mod snap;
mod table;
mod tokens;
mod turn;
mod wish;
mod written;

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::budget::Budget;
use crate::cache::{Cache, Flights, Forms, Scope};
use crate::clock::{Clock, UnixTime};
use crate::config;
use crate::consumer::ConsumerIx;
use crate::dialect::Links;
use crate::id::RequestIds;
use crate::telemetry::trace::Tracer;
use crate::telemetry::{Tally, VendorCounts};
use crate::upstream::Upstream;

pub use body::Body;
pub use keys::KeyState;
pub use pipeline::{Later, Met};
pub use table::AdoptError;

use breaker::Breaker;
use fault::Fault;
use fetch::Shared;
use keys::Keys;
use pages::Walks;
use ratelimit::Views;
use sign_in::Tokens;
use table::{Changing, Parts, Table, Wire};

/// Everything that answers consumers.
pub struct Gateway {
    /// Replaced as a whole by a reload.
    table: ArcSwap<Table>,
    parts: Parts,
    changing: Mutex<Changing>,
    ids: RequestIds,
    clock: Clock,
    /// None where nothing is traced.
    tracer: Option<Arc<Tracer>>,
    /// Whoever still waits is told to go elsewhere.
    last_call: watch::Sender<bool>,
}

/// One upstream with all that serves it.
pub struct Lane {
    index: usize,
    config: Arc<config::Upstream>,
    budget: Arc<Budget>,
    upstream: Arc<Upstream>,
    wire: Wire,
    cache: Arc<Cache>,
    flights: Flights<Shared, Fault>,
    /// What is stored, in other codings.
    forms: Arc<Forms>,
    links: Arc<Links>,
    /// Per key of the config: its scope in the cache.
    scopes: Vec<Scope>,
    tally: Arc<Tally>,
    keys: Keys,
    tokens: Arc<Tokens>,
    breaker: Arc<Breaker>,
    views: Views,
    walks: Walks,
    vendor: Arc<VendorCounts>,
    /// Whom it has warned of what.
    warned: Mutex<HashSet<(ConsumerIx, String)>>,
    clock: Clock,
}

impl Gateway {
    /// From now on, whoever has no answer yet, or asks anew, is told to go elsewhere.
    pub fn last_call(&self) {
        self.last_call.send_replace(true);
    }

    /// Waits until every budget knows what others have charged, or that it cannot.
    pub async fn joined(&self) {
        for lane in self.lanes() {
            lane.budget.joined().await;
        }
    }

    /// Waits until the store has been told of every charge.
    pub async fn told(&self) {
        for lane in self.lanes() {
            lane.budget.told().await;
        }
    }

    /// Resolves with the last call.
    async fn called(&self) {
        let mut told = self.last_call.subscribe();
        // The sender lives in the gateway, which is borrowed here.
        let _ = told.wait_for(|called| *called).await;
    }

    /// The lanes, in the order of the config.
    #[must_use]
    pub fn lanes(&self) -> Vec<Arc<Lane>> {
        self.table.load().lanes.clone()
    }
}

impl Lane {
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

    /// Every value of every key: whether it is sent, refused, or when it expires.
    #[must_use]
    pub fn key_states(&self, now: UnixTime) -> Vec<KeyState> {
        self.keys.states(now)
    }

    /// Whether the vendor has been failing and is let be.
    #[must_use]
    pub fn is_let_be(&self) -> bool {
        self.breaker.is_open(self.clock.now())
    }
}
