//! A write's answer has come, or was lost: what is stored and on its way for what
//! it may have changed is dropped, before the writer hears of it, so that nobody,
//! the writer least of all, reads what was before.
//!
//! 1. Reader R's fetch is sent.
//! 2. Writer W's is sent and answered.
//! 3. What W touches is purged, and the flights to it are shut.
//! 4. R's answer arrives, and is passed to those who asked before W was answered,
//!    but is not kept: its ticket is older than the purge.
//!
//! A reader who comes after 3 begins a fetch of its own.

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, StatusCode};

use super::Lane;
use super::wish::Wish;
use crate::cache::invalidate;
use crate::target::Target;

/// The vendor answered `status` with these fields, links not yet rewritten.
pub(super) async fn answered(wish: &Wish, status: StatusCode, headers: &HeaderMap) {
    let done = invalidate::invalidates(&wish.method, status);
    // A plain cache keeps to the RFC: after an error nothing is invalid.
    let in_doubt = !wish.lane.is_keyless() && invalidate::is_in_doubt(status);
    if done || in_doubt {
        drop_outdated(wish, Some(headers)).await;
    }
}

/// It left, or may have, and nobody knows what became of it.
pub(super) async fn lost(wish: &Wish) {
    drop_outdated(wish, None).await;
}

async fn drop_outdated(wish: &Wish, headers: Option<&HeaderMap>) {
    let lane = &wish.lane;
    let path = wish.target.path();
    if wish.method.is_safe() || wish.shareable || lane.config.dialect.reads(&wish.method, path) {
        return;
    }
    let named: Vec<String> = headers.map(|headers| named(lane, path, headers)).unwrap_or_default();
    let paths: Vec<&str> = std::iter::once(path).chain(named.iter().map(String::as_str)).collect();
    for selector in wish.policy().outdated(&lane.config.name, &paths) {
        lane.cache.purge(&selector);
    }
    lane.confirm_purges().await;
}

/// Canonical paths at this upstream that the answer names (RFC 9111, section 4.4).
fn named(lane: &Lane, from: &str, headers: &HeaderMap) -> Vec<String> {
    let links = [LOCATION, CONTENT_LOCATION].into_iter().flat_map(|name| headers.get_all(name));
    let paths = links.filter_map(|link| lane.links.path_here(link.to_str().ok()?, from));
    paths.filter_map(|path| Some(Target::parse(&path, None).ok()?.path().to_owned())).collect()
}
