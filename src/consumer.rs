//! Who is asking, and how often they may.
//!
//! A consumer is known by all that its configuration names: a token, the source
//! address of its connection, or both. What is looked up is the SHA-256 of the
//! token, so neither the table nor the time of a look-up tells anything about
//! the tokens in it.
//!
//! Two bounds, both by governor on weir's own clock, guard weir itself (the
//! vendor's budget is another matter and lives in `budget`):
//! * failed sign-ins per source address. Only failures are counted and only
//!   failures are refused: a good token works from an address that others abuse.
//! * requests per consumer (`inbound`), answers from the cache included.

mod door;
mod failures;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::clock::Clock;
use crate::config;
use crate::secret::TokenHash;

use door::Door;
use failures::Failures;

/// The consumers that weir knows.
#[derive(Debug)]
pub struct Consumers {
    list: Vec<Known>,
    /// Raw hash to index into `list`.
    by_token: HashMap<[u8; 32], usize>,
    /// Those known by their address alone, the narrowest network first.
    by_address: Vec<(IpNet, usize)>,
    failures: Arc<Failures>,
    clock: Clock,
}

/// A consumer that has been identified: its index in [`config::Config::consumers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerIx(usize);

/// Why a caller is not let in.
///
/// [`SignIn::Unknown`] and [`SignIn::WrongAddress`] must be told apart in the log
/// and never to the caller: who holds a stolen token should not learn that it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignIn {
    /// No credential, and no consumer is known by this address.
    Missing,
    /// A credential that nobody has.
    Unknown,
    /// A good credential, from an address that its consumer does not use.
    WrongAddress(ConsumerIx),
    /// A bad credential, after too many others from the same address.
    TooManyFailures {
        /// Until the next failure is taken as one more mistake.
        retry_after: Duration,
    },
}

/// The consumer asks more often than its `inbound` allows; one request would be
/// taken after this time if it asked for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter(pub Duration);

#[derive(Debug)]
struct Known {
    config: config::Consumer,
    door: Option<Arc<Door>>,
}

impl Consumers {
    /// A table of `consumers`, in their order; rates are measured by `clock`.
    #[must_use]
    pub fn new(consumers: &[config::Consumer], clock: Clock) -> Self {
        let mut by_token = HashMap::with_capacity(consumers.len());
        let mut by_address = Vec::new();
        for (at, consumer) in consumers.iter().enumerate() {
            match &consumer.proof.token {
                // config has ruled out two consumers with one token
                Some(hash) => drop(by_token.insert(*hash.as_bytes(), at)),
                None => by_address.extend(consumer.proof.from.iter().map(|net| (*net, at))),
            }
        }
        by_address.sort_by_key(|(net, at)| (std::cmp::Reverse(net.prefix_len()), *at));
        let list = consumers
            .iter()
            .map(|config| Known {
                config: config.clone(),
                door: config.inbound.map(|rate| Arc::new(Door::new(rate, clock))),
            })
            .collect();
        Self { list, by_token, by_address, failures: Arc::new(Failures::new(clock)), clock }
    }

    /// A table of other consumers. Who is in both under the same rate goes on with
    /// what it has used of it, and failed sign-ins stay counted.
    #[must_use]
    pub fn succeed(&self, consumers: &[config::Consumer]) -> Self {
        let mut next = Self::new(consumers, self.clock);
        next.failures = Arc::clone(&self.failures);
        let known: HashMap<_, _> = self.list.iter().map(|known| (&known.config.name, known)).collect();
        for consumer in &mut next.list {
            if let Some(known) = known.get(&consumer.config.name)
                && known.config.inbound == consumer.config.inbound
            {
                consumer.door.clone_from(&known.door);
            }
        }
        next
    }

    /// The consumer that `presented` and the address of the connection prove.
    ///
    /// A good token needs nothing else than its own networks. Without one, a
    /// consumer that names networks only is known by them, whatever credential
    /// an unmodified client sends along.
    ///
    /// # Errors
    /// [`SignIn`] says why not. What was presented is never kept.
    pub fn identify(&self, presented: Option<&[u8]>, peer: IpAddr) -> Result<ConsumerIx, SignIn> {
        let peer = peer.to_canonical();
        let by_token = presented.and_then(|token| self.by_token(token));
        let refusal = match by_token {
            Some(ix) if self.may_come_from(ix, peer) => return Ok(ix),
            Some(ix) => SignIn::WrongAddress(ix),
            None => match (self.by_address(peer), presented) {
                (Some(ix), _) => return Ok(ix),
                // no credential is no guess: clients ask once without to be challenged
                (None, None) => return Err(SignIn::Missing),
                (None, Some(_)) => SignIn::Unknown,
            },
        };
        match self.failures.count(peer) {
            Ok(()) => Err(refusal),
            Err(retry_after) => Err(SignIn::TooManyFailures { retry_after }),
        }
    }

    /// Takes one request from the consumer's `inbound` rate.
    ///
    /// # Errors
    /// [`RetryAfter`] if that is used up; nothing is taken then.
    pub fn admit_inbound(&self, consumer: ConsumerIx) -> Result<(), RetryAfter> {
        match &self.list[consumer.0].door {
            Some(door) => door.pass().map_err(RetryAfter),
            None => Ok(()),
        }
    }

    /// Whether the consumer presents a token (and not its address alone).
    #[must_use]
    pub fn is_proven_by_token(&self, consumer: ConsumerIx) -> bool {
        self.config(consumer).proof.token.is_some()
    }

    /// What the consumer may do at an upstream (an index into
    /// [`config::Config::upstreams`]); none if it has no access there.
    #[must_use]
    pub fn access(&self, consumer: ConsumerIx, upstream: usize) -> Option<&config::Access> {
        self.config(consumer).access.iter().find(|access| access.upstream == upstream)
    }

    /// The consumer's configuration.
    #[must_use]
    pub fn config(&self, consumer: ConsumerIx) -> &config::Consumer {
        &self.list[consumer.0].config
    }

    fn by_token(&self, token: &[u8]) -> Option<ConsumerIx> {
        let hash = TokenHash::of(token);
        let at = *self.by_token.get(hash.as_bytes())?;
        // compared once more in constant time: the map's own comparison is not
        let same = self.list[at].config.proof.token == Some(hash);
        same.then_some(ConsumerIx(at))
    }

    fn may_come_from(&self, consumer: ConsumerIx, peer: IpAddr) -> bool {
        let from = &self.config(consumer).proof.from;
        from.is_empty() || from.iter().any(|net| net.contains(&peer))
    }

    fn by_address(&self, peer: IpAddr) -> Option<ConsumerIx> {
        self.by_address.iter().find(|(net, _)| net.contains(&peer)).map(|(_, at)| ConsumerIx(*at))
    }
}

impl ConsumerIx {
    /// The index in [`config::Config::consumers`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0
    }
}

impl SignIn {
    /// The reason in one word, for the log; see [`SignIn`] on what a caller may see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "no_credential",
            Self::Unknown => "unknown_token",
            Self::WrongAddress(_) => "wrong_address",
            Self::TooManyFailures { .. } => "too_many_failures",
        }
    }
}

#[cfg(test)]
mod tests;
