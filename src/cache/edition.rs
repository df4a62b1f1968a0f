//! What decided about an answer's life, as a digest: who the vendor is and the rule
//! that matched. An answer that was kept under another is not brought up again:
//! an operator who shortens a `ttl`, or points an upstream to another account's
//! address, does not meet yesterday's answers after the restart.
//!
//! Keys count by their names, as in a [`Scope`](super::Scope): whoever gives a key's
//! name to another account purges the upstream first.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::key::Key;
use crate::config::Upstream;
use crate::id::UpstreamName;
use crate::pattern::Pattern;

/// The editions of every upstream.
#[derive(Debug, Default)]
pub struct Editions(HashMap<UpstreamName, Edition>);

#[derive(Debug)]
struct Edition {
    without_rule: u64,
    rules: Vec<(Pattern, u64)>,
}

impl Editions {
    /// As `upstreams` are configured now.
    #[must_use]
    pub fn of(upstreams: &[Upstream]) -> Self {
        Self(upstreams.iter().map(|upstream| (upstream.name.clone(), Edition::of(upstream))).collect())
    }

    /// Without rules, all the same.
    #[cfg(test)]
    pub(super) fn alike(upstreams: &[UpstreamName]) -> Self {
        let edition = || Edition { without_rule: 1, rules: Vec::new() };
        Self(upstreams.iter().map(|name| (name.clone(), edition())).collect())
    }

    /// What would decide about `key` now; none for an upstream that is no more.
    pub(super) fn edition(&self, key: &Key) -> Option<u64> {
        let edition = self.0.get(&key.scope().upstream)?;
        let rule = edition.rules.iter().find(|(pattern, _)| pattern.matches(key.method(), key.path()));
        Some(rule.map_or(edition.without_rule, |(_, digest)| *digest))
    }
}

impl Edition {
    fn of(upstream: &Upstream) -> Self {
        let vendor = format!("{} {:?}", upstream.dialect.name(), upstream.origin);
        let rule = |rule| digest(&format!("{vendor} {rule:?}"));
        Self {
            without_rule: digest(&vendor),
            rules: upstream.cache.iter().map(|of| (of.pattern.clone(), rule(of))).collect(),
        }
    }
}

fn digest(text: &str) -> u64 {
    let hash: [u8; 32] = Sha256::digest(text).into();
    hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
