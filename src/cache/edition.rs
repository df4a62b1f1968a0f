//! What decided about an answer's life, as a digest: who the vendor is and the rule
//! that matched. An answer that was kept under another is not brought up again:
//! an operator who shortens a `ttl`, or points an upstream to another account's
//! address, does not meet yesterday's answers after the restart.
//!
//! Keys count by their names, as in a [`Scope`](super::Scope): whoever gives a key's
//! name to another account purges the upstream first.

use std::collections::HashMap;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::key::{self, Text};
use crate::config::Upstream;
use crate::id::UpstreamName;
use crate::pattern::Pattern;

/// The editions of every upstream.
#[derive(Debug, Default)]
pub struct Editions(HashMap<UpstreamName, Edition>);

#[derive(Debug)]
struct Edition {
    without_rule: u64,
    rules: Vec<(Pattern, u64, Duration)>,
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
    pub(super) fn edition(&self, key: &Text) -> Option<u64> {
        let edition = self.0.get(&key.scope().upstream)?;
        Some(edition.of_key(key).0)
    }

    /// The same, and for how long an answer is of use when it is stale and the budget says no.
    pub(super) fn edition_and_limited(&self, key: &Text) -> Option<(u64, Duration)> {
        self.0.get(&key.scope().upstream).map(|edition| edition.of_key(key))
    }
}

impl Edition {
    fn of(upstream: &Upstream) -> Self {
        let vendor = format!("{} {:?}", upstream.dialect.name(), upstream.origin);
        let rule = |rule| digest(&format!("{vendor} {rule:?}"));
        Self {
            without_rule: digest(&vendor),
            rules: upstream
                .cache
                .iter()
                .map(|of| (of.pattern.clone(), rule(of), of.stale_if_limited.unwrap_or_default()))
                .collect(),
        }
    }

    fn of_key(&self, key: &Text) -> (u64, Duration) {
        let (method, path) = (key.method(), key.path());
        let matches = |(pattern, _, _): &&(Pattern, u64, Duration)| pattern.matches(&method, path);
        let rule = self.rules.iter().find(matches);
        rule.map_or((self.without_rule, Duration::ZERO), |(_, digest, limited)| (*digest, *limited))
    }
}

fn digest(text: &str) -> u64 {
    key::beginning(&Sha256::digest(text).into())
}
