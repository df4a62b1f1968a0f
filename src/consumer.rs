//! Who is asking, and how often they may.
//!
//! A consumer is known by all that its configuration names: a token, the source
//! address of its connection, its client certificate. What is looked up is the
//! SHA-256 of the token, so neither the table nor the time of a look-up tells
//! anything about the tokens in it.
//!
//! Two bounds, both by governor on weir's own clock, guard weir itself (the
//! vendor's budget is another matter and lives in `budget`):
//! * failed sign-ins per source address. Only failures are counted and only
//!   failures are refused: a good token works from an address that others abuse.
//! * requests per consumer (`inbound`), answers from the cache included.

mod certificate;
mod door;
mod failures;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::clock::Clock;
use crate::config::{self, CertificateProof};
use crate::secret::{Secret, TokenHash};

use door::Door;
use failures::Failures;

pub use certificate::{Certificate, Peer};

/// The consumers that weir knows.
#[derive(Debug)]
pub struct Consumers {
    list: Vec<Known>,
    /// Raw hash to index into `list`.
    by_token: HashMap<[u8; 32], usize, BuildHasherDefault<OfDigest>>,
    /// Those without a token who name a certificate, by its fingerprint or name.
    by_fingerprint: HashMap<[u8; 32], usize>,
    by_name: HashMap<String, usize>,
    /// Those known by their address alone, the narrowest network first.
    by_address: Vec<(IpNet, usize)>,
    failures: Arc<Failures>,
    clock: Clock,
}

/// The hash of a digest is its beginning: it is as good as random, and nobody can put
/// anything into the table from outside.
#[derive(Debug, Default)]
struct OfDigest(u64);

impl Hasher for OfDigest {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, digest: &[u8]) {
        self.0 = digest.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
    }

    /// An array's length, which is always the same.
    fn write_usize(&mut self, _: usize) {}
}

/// A consumer that has been identified: its index in [`config::Config::consumers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerIx(usize);

/// Why a caller is not let in.
///
/// [`SignIn::Unknown`] and those of a good credential must be told apart in the log
/// and never to the caller: who holds a stolen token should not learn that it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignIn {
    /// No credential, and no consumer is known by this address.
    Missing,
    /// A credential that nobody has.
    Unknown,
    /// A good credential, from an address that its consumer does not use.
    WrongAddress(ConsumerIx),
    /// A good credential, without the certificate that its consumer has.
    WrongCertificate(ConsumerIx),
    /// A token that weir issued, and that is over: its client signs in again.
    Expired,
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
        let mut by_token = HashMap::with_capacity_and_hasher(consumers.len(), BuildHasherDefault::default());
        let (mut by_fingerprint, mut by_name, mut by_address) = (HashMap::new(), HashMap::new(), Vec::new());
        for (at, consumer) in consumers.iter().enumerate() {
            // config has ruled out two consumers with one proof
            match (&consumer.proof.token, &consumer.proof.certificate) {
                (Some(hash), _) => drop(by_token.insert(*hash.as_bytes(), at)),
                (None, Some(CertificateProof::Sha256(print))) => drop(by_fingerprint.insert(*print, at)),
                (None, Some(CertificateProof::San(name))) => drop(by_name.insert(name.clone(), at)),
                (None, None) => by_address.extend(consumer.proof.from.iter().map(|net| (*net, at))),
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
        let failures = Arc::new(Failures::new(clock));
        Self { list, by_token, by_fingerprint, by_name, by_address, failures, clock }
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

    /// The consumer that `presented` and the connection prove.
    ///
    /// A good token needs nothing else than what its consumer names beside it.
    /// Without one, a consumer that names no token is known by its certificate, or
    /// by its networks, whatever credential an unmodified client sends along. Of the
    /// names in one certificate the first counts that is a consumer's.
    ///
    /// # Errors
    /// [`SignIn`] says why not. What was presented is never kept.
    pub fn identify(&self, presented: Option<&[u8]>, peer: Peer<'_>) -> Result<ConsumerIx, SignIn> {
        let peer = Peer { address: peer.address.to_canonical(), ..peer };
        self.let_in(presented.and_then(|token| self.by_token(token)), presented.is_some(), peer)
    }

    /// The consumer that one of these pairs of name and token proves, for clients that
    /// sign in with both; otherwise as for [`Consumers::identify`].
    ///
    /// # Errors
    /// [`SignIn`] says why not; one failure is counted, however many pairs there are.
    pub fn sign_in(&self, pairs: &[(String, Secret)], peer: Peer<'_>) -> Result<ConsumerIx, SignIn> {
        let peer = Peer { address: peer.address.to_canonical(), ..peer };
        let proven = pairs.iter().find_map(|(name, token)| {
            let known = self.by_token(token.expose().as_bytes())?;
            (self.config(known).name.as_str() == name).then_some(known)
        });
        self.let_in(proven, true, peer)
    }

    /// The consumer of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<ConsumerIx> {
        self.list.iter().position(|known| known.config.name.as_str() == name).map(ConsumerIx)
    }

    /// The same consumer, whom a token that weir issued has proven, if it names nothing
    /// that this connection lacks.
    ///
    /// # Errors
    /// As for [`Consumers::identify`].
    pub fn proven(&self, consumer: ConsumerIx, peer: Peer<'_>) -> Result<ConsumerIx, SignIn> {
        let peer = Peer { address: peer.address.to_canonical(), ..peer };
        self.let_in(Some(consumer), true, peer)
    }

    fn let_in(
        &self,
        by_token: Option<ConsumerIx>,
        presents: bool,
        peer: Peer<'_>,
    ) -> Result<ConsumerIx, SignIn> {
        let refusal = match by_token.or_else(|| self.by_certificate(peer.certificate)) {
            Some(ix) => match self.lacks(ix, peer) {
                None => return Ok(ix),
                Some(lack) => lack,
            },
            None => match (self.by_address(peer.address), presents) {
                (Some(ix), _) => return Ok(ix),
                // no credential is no guess: clients ask once without to be challenged
                (None, false) => return Err(SignIn::Missing),
                (None, true) => SignIn::Unknown,
            },
        };
        match self.failures.count(peer.address) {
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

    /// The consumer that names no token and this certificate; its fingerprint says more than a name.
    fn by_certificate(&self, certificate: Option<&Certificate>) -> Option<ConsumerIx> {
        let certificate = certificate?;
        let by_print = self.by_fingerprint.get(&certificate.sha256);
        by_print
            .or_else(|| certificate.names.iter().find_map(|name| self.by_name.get(name)))
            .map(|at| ConsumerIx(*at))
    }

    /// What a consumer names and this connection does not prove.
    fn lacks(&self, consumer: ConsumerIx, peer: Peer<'_>) -> Option<SignIn> {
        let proof = &self.config(consumer).proof;
        if let Some(wanted) = &proof.certificate
            && !peer.certificate.is_some_and(|shown| shown.proves(wanted))
        {
            return Some(SignIn::WrongCertificate(consumer));
        }
        let is_near = proof.from.is_empty() || proof.from.iter().any(|net| net.contains(&peer.address));
        (!is_near).then_some(SignIn::WrongAddress(consumer))
    }

    fn by_address(&self, peer: std::net::IpAddr) -> Option<ConsumerIx> {
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
            Self::WrongCertificate(_) => "wrong_certificate",
            Self::Expired => "expired_token",
            Self::TooManyFailures { .. } => "too_many_failures",
        }
    }
}

#[cfg(test)]
mod tests;
