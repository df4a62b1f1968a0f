//! `[store] redis`: whom this weir shares its accounts with.

use super::bounds;
use crate::config::mistake::Walk;
use crate::config::raw;
use crate::config::{OnLoss, Redis};
use crate::redis::{BadServer, Server};

const MAX_REPLICAS: u64 = 1_000;
const CACHE_BYTES: u64 = 256 << 20;
const SMALLEST_CACHE: u64 = 1 << 20;
const LARGEST_CACHE: u64 = 1 << 40;

/// A Redis, unless something about it was wrong (and then is noted).
pub(super) fn redis(raw: &raw::Redis, walk: &mut Walk<'_>) -> Option<Redis> {
    let prefix = prefix(raw, walk);
    let replicas = bounds::number(&raw.replicas, 1, MAX_REPLICAS, walk);
    let mut on_loss = raw.on_loss.value().map_or(OnLoss::Closed, |typed| typed.0);
    if let (OnLoss::Share(parts), Some(at)) = (on_loss, raw.on_loss.given()) {
        let most = replicas.map(|replicas| OnLoss::WHOLE / replicas);
        if most.is_none_or(|most| parts > most) {
            // What does not add up is not held against each limit as well.
            on_loss = OnLoss::Closed;
        }
        if let Some(most) = most.filter(|most| parts > *most) {
            walk.wrong(
                &at.place,
                format!(
                    "for each of {} replicas it is more than the whole; write at most \"share:{}\"",
                    replicas.unwrap_or(1),
                    part(most)
                ),
            );
        } else if raw.replicas.is_missing() {
            walk.wrong(
                &at.place,
                "sets a part aside for each replica, and how many there are is not said; write replicas = 3",
            );
        }
    }
    let cache = bounds::bytes(&raw.cache, SMALLEST_CACHE, LARGEST_CACHE, walk);
    let server = server(raw, walk)?;
    Some(Redis {
        server,
        prefix: prefix?,
        replicas: replicas.and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
        on_loss,
        cache_bytes: cache.unwrap_or(CACHE_BYTES),
    })
}

/// `0.33333333`.
fn part(parts: u64) -> String {
    if parts == OnLoss::WHOLE {
        return "1".into();
    }
    format!("0.{parts:08}").trim_end_matches('0').to_owned()
}

fn server(raw: &raw::Redis, walk: &mut Walk<'_>) -> Option<Server> {
    let Some(url) = raw.url.given() else {
        if raw.url.is_missing() {
            walk.wrong(&raw.place, "names no server; write url = { env = \"REDIS_URL\" }");
        }
        return None;
    };
    let ca = raw.ca.given();
    let is_plain = Server::new(&url.value.0, None).is_ok_and(|server| !server.is_encrypted());
    if let (true, Some(ca)) = (is_plain, ca) {
        walk.wrong(&ca.place, "roots are for rediss:// alone; correct url, or remove this");
        return None;
    }
    match Server::new(&url.value.0, ca.map(|at| at.value.as_ref())) {
        Ok(server) => {
            if !server.is_encrypted() && !server.is_near() {
                walk.warn(
                    &url.place,
                    "its password and the ledger travel in clear text; rediss:// encrypts them",
                );
            }
            Some(server)
        }
        Err(error @ BadServer::Url) => {
            walk.wrong(&url.place, error.to_string());
            None
        }
        Err(error @ BadServer::Roots(_)) => {
            walk.wrong(ca.map_or(&url.place, |at| &at.place), error.to_string());
            None
        }
    }
}

fn prefix(raw: &raw::Redis, walk: &mut Walk<'_>) -> Option<String> {
    let Some(at) = raw.prefix.given() else { return raw.prefix.is_missing().then(|| "weir".to_owned()) };
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if (1..=40).contains(&at.value.len()) && at.value.bytes().all(is_name) {
        return Some(at.value.clone());
    }
    walk.wrong(&at.place, "must be 1 to 40 of a-z, 0-9, _ and -; such as \"weir\"");
    None
}
