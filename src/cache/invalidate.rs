//! What a write makes untrue (RFC 9111, section 4.4, and beyond).
//!
//! A plain cache drops what the RFC says: the target, and what `Location` and
//! `Content-Location` name on the same origin. Where weir knows that an API stands
//! behind, it drops whatever the written [`Resource`] touches, under every version
//! and every key of the upstream, and what a rule names. The selectors are for
//! [`super::Cache::purge`] and [`super::Flights::shut`] alike, so that answers on
//! their way are voided as well.

use http::{Method, StatusCode};

use super::key::Selector;
use super::policy::{Policy, Sharing};
use crate::dialect::Resource;
use crate::id::UpstreamName;

/// Whether an answer of this status to this method makes what is stored for the
/// target, and for `Location` and `Content-Location` of the same origin, invalid
/// (section 4.4).
#[must_use]
pub fn invalidates(method: &Method, status: StatusCode) -> bool {
    !method.is_safe() && (status.is_success() || status.is_redirection())
}

/// Whether a write so answered may have been made all the same: the error is an
/// intermediary's, who may have given up on a vendor who did not.
#[must_use]
pub fn is_in_doubt(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 502..=504 | 520..=530)
}

impl Policy<'_> {
    /// What is to be dropped after a write to `paths` (the target's first, then those
    /// that the answer names), each below the upstream's base path and canonical.
    #[must_use]
    pub fn outdated(&self, upstream: &UpstreamName, paths: &[&str]) -> Vec<Selector> {
        let of_path = |path: &&str| match self.sharing {
            Sharing::Shared => Selector::Path(upstream.clone(), (*path).to_owned()),
            Sharing::Private => Selector::Resource(upstream.clone(), Resource::of(path)),
        };
        let named = self.rule.map(|rule| rule.invalidates.as_slice()).unwrap_or_default();
        let of_rule = named.iter().map(|paths| Selector::Matching(upstream.clone(), paths.clone()));
        paths.iter().map(of_path).chain(of_rule).collect()
    }
}
