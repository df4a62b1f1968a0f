//! From what was typed to what is true: everything that values must be to each
//! other. Goes on after a mistake, so that one run finds them all; what a wrong
//! value leaves unknown is not held against others.

mod bounds;
mod cache;
mod consumers;
mod credentials;
mod divisions;
mod limits;
mod listeners;
mod patience;
mod portions;
mod redis;
mod telemetry;
mod transport;
mod upstream;

pub(super) use portions::percent;

use super::Config;
use super::mistake::Walk;
use super::raw;
use super::read::Named;

/// The configuration, unless something it needs was wrong (and then is noted).
pub(super) fn config(file: &raw::File, walk: &mut Walk<'_>) -> Option<Config> {
    let server = listeners::server(file.server.value(), walk);
    let admin = listeners::admin(file.admin.value(), walk);
    listeners::apart(&server, &admin, file, walk);
    let store = listeners::store(file.store.value(), walk);
    listeners::shared(&server, file, walk);
    let otlp = telemetry::otlp(file.telemetry.value(), walk);

    let nothing = file.upstreams.is_missing() || file.upstreams.value().is_some_and(Named::is_empty);
    if nothing {
        walk.wrong(
            &file.place,
            "there is no upstream to stand in front of; write [upstreams.NAME] with dialect and url",
        );
    }
    let upstreams = file.upstreams.things();
    let mut drafts: Vec<_> =
        upstreams.iter().map(|(name, at)| upstream::draft(name, &at.value, &store, walk)).collect();
    upstream::mounts_apart(upstreams, walk);
    let consumers = consumers::consumers(file, &mut drafts, walk);
    let mut upstreams: Option<Vec<_>> = drafts.into_iter().map(|draft| draft.finish(walk)).collect();
    if let Some(whole) = &mut upstreams {
        patience::outlast(whole, &consumers, file, walk);
    }
    Some(Config {
        server,
        admin,
        store,
        otlp,
        upstreams: upstreams?,
        consumers,
        files: Vec::new(),
        warnings: Vec::new(),
    })
}
