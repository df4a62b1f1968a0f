//! One upstream while it is put together: its consumers take their seats in it
//! before its plan is finished.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use super::bounds::{self, Between};
use super::divisions::{self, Division};
use super::limits::Limits;
use super::{cache, credentials, transport};
use crate::config::mistake::{Place, Walk};
use crate::config::raw;
use crate::config::read::{At, Field};
use crate::config::scalar::{Part, spell};
use crate::config::{Aside, Mode, Mount, Origin, Scheme, Store, Upstream};
use crate::dialect::{Dialect, OAuth};
use crate::quota::{ConsumerPlan, Pace, Plan, QueueBounds, Scope};
use crate::secret::TokenHash;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// An analysis may take long, and says nothing meanwhile.
const DEFAULT_STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(3_600);
const DEFAULT_MAX_WAIT: Duration = Duration::from_secs(30);
const DEFAULT_MAX_PAGES: u64 = 50;
/// A process holds each waiting caller's connection open.
const MOST_WAITING: u64 = 10_000_000;

/// An upstream without its consumers.
#[derive(Debug)]
pub(super) struct Draft {
    /// As typed.
    pub(super) name: String,
    pub(super) limits: Limits,
    pub(super) divisions: Vec<Division>,
    /// Nothing wrong hides a division from us.
    pub(super) divisions_known: bool,
    /// In the order of the consumers' names.
    pub(super) seats: Vec<Seat>,
    /// None if something it needs was wrong.
    rest: Option<Upstream>,
}

/// A consumer's place in an upstream's plan.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) place: Place,
    pub(super) share: Field<Part>,
    pub(super) plan: ConsumerPlan,
}

pub(super) fn draft(name: &str, raw: &raw::Upstream, store: &Store, walk: &mut Walk<'_>) -> Draft {
    let dialect = credentials::dialect(raw, &raw.place, walk);
    let mut limits = Limits::of(raw, dialect.as_ref(), walk);
    if let Some(redis) = &store.redis {
        limits.set_aside(redis, !raw.egress.is_missing(), &raw.place, walk);
    }
    let keys = credentials::keys(raw, &raw.place, dialect.as_ref(), walk);
    let divisions = divisions::divisions(raw, &raw.place, &keys, &limits, walk);
    let unused = keys.iter().enumerate().filter(|(index, _)| divisions.iter().all(|d| d.key != Some(*index)));
    if divisions.iter().any(|division| division.named) {
        for (_, key) in unused {
            walk.warn(&raw.place, format!("no division uses the key {}", key.name));
        }
    }
    let origin = origin(raw, walk);
    let times = times(raw, walk);
    let plan = plan(raw, times.timeout, walk);
    let cache = cache::rules(raw, walk);
    egress(raw, &limits, store, walk);
    let token_ttl = bounds::duration(&raw.token_ttl, Between::TOKEN, walk);
    let max_pages = bounds::number(&raw.max_pages, 1, 10_000, walk).unwrap_or(DEFAULT_MAX_PAGES);
    let transport = transport::transport(raw, origin.as_ref(), walk);
    let rest = || {
        Some(Upstream {
            name: name.parse().ok()?,
            token_ttl: token_ttl
                .or(dialect.as_ref().and_then(Dialect::oauth).map(OAuth::issued_lifetime))
                .unwrap_or_default(),
            dialect: dialect?,
            origin: origin?,
            mount: mount(raw),
            timeout: times.timeout,
            connect_timeout: times.connect,
            idle_timeout: times.idle,
            stream_idle_timeout: times.stream_idle,
            max_wait: times.wait,
            mode: raw.mode.value().map_or(Mode::Enforce, |word| word.0),
            learn_usage_limits: raw.learn_usage_limits.or(false),
            transport,
            egress: raw.egress.value().cloned(),
            max_pages: u32::try_from(max_pages).unwrap_or(u32::MAX),
            keys,
            plan,
            aside: None,
            division_keys: Vec::new(),
            cache,
        })
    };
    let divisions_known = match &raw.divisions {
        Field::Wrong => false,
        Field::Missing => true,
        Field::Given(at) => at.value.is_whole(),
    };
    Draft { name: name.to_owned(), limits, divisions, divisions_known, seats: Vec::new(), rest: rest() }
}

impl Draft {
    /// Hashes of the vendor's keys, to find them where they do not belong.
    pub(super) fn key_hashes(&self) -> impl Iterator<Item = [u8; 32]> {
        let values = self.rest.iter().flat_map(|upstream| &upstream.keys).flat_map(|key| &key.values);
        let secrets = values.flat_map(|key| {
            let via = key.client.iter().flat_map(|client| &client.via).map(|via| &via.secret);
            std::iter::once(&key.value).chain(&key.value_v1).chain(via)
        });
        secrets.map(|secret| *TokenHash::of(secret.expose().as_bytes()).as_bytes())
    }

    /// The whole upstream.
    pub(super) fn finish(mut self, walk: &mut Walk<'_>) -> Option<Upstream> {
        super::consumers::settle(&mut self, walk);
        let mut upstream = self.rest?;
        upstream.plan.limits = self.limits.list;
        for division in self.divisions {
            upstream.plan.divisions.push(division.plan?);
            upstream.division_keys.push(division.key);
        }
        upstream.plan.consumers = self.seats.into_iter().map(|seat| seat.plan).collect();
        upstream.aside = self.limits.aside.map(|aside| set_aside(&upstream.plan, &aside));
        Some(upstream)
    }
}

/// What one replica has for itself: shares as ever, no reserves, and no cap above what there is.
fn set_aside(plan: &Plan, parts: &[u32]) -> Aside {
    let mut plan = plan.clone();
    let at_least_one = |part: u32| NonZeroU32::new(part).unwrap_or(NonZeroU32::MIN);
    for (limit, part) in plan.limits.iter_mut().zip(parts) {
        limit.requests = at_least_one(*part);
    }
    let divisions = plan.divisions.iter_mut().map(|division| (&mut division.reserve, &mut division.caps));
    let consumers = plan.consumers.iter_mut().map(|consumer| (&mut consumer.reserve, &mut consumer.caps));
    for (reserve, caps) in divisions.chain(consumers) {
        reserve.clear();
        caps.iter_mut().for_each(|cap| cap.requests = cap.requests.min(at_least_one(parts[cap.limit])));
    }
    let lacking = parts.iter().enumerate().filter(|(_, part)| **part == 0).map(|(limit, _)| limit);
    Aside { plan, lacking: lacking.collect() }
}

struct Times {
    timeout: Duration,
    connect: Duration,
    idle: Duration,
    stream_idle: Duration,
    wait: Duration,
}

fn times(raw: &raw::Upstream, walk: &mut Walk<'_>) -> Times {
    Times {
        timeout: bounds::duration(&raw.timeout, Between::TIMEOUT, walk).unwrap_or(DEFAULT_TIMEOUT),
        connect: bounds::duration(&raw.connect_timeout, Between::TIMEOUT, walk)
            .unwrap_or(DEFAULT_CONNECT_TIMEOUT),
        idle: bounds::duration(&raw.idle_timeout, Between::TIMEOUT, walk).unwrap_or(DEFAULT_IDLE_TIMEOUT),
        stream_idle: bounds::duration(&raw.stream_idle_timeout, Between::SILENCE, walk)
            .unwrap_or(DEFAULT_STREAM_IDLE_TIMEOUT),
        wait: bounds::duration(&raw.max_wait, Between::WAIT, walk).unwrap_or(DEFAULT_MAX_WAIT),
    }
}

/// Who shares an egress address matters to limits per address when processes divide an account.
fn egress(raw: &raw::Upstream, limits: &Limits, store: &Store, walk: &mut Walk<'_>) {
    let per_address = limits.list.iter().find(|limit| limit.scope == Scope::Address);
    match (raw.portion.given(), raw.egress.given(), per_address) {
        (Some(at), None, Some(limit)) if raw.egress.is_missing() => walk.warn(
            &at.place,
            format!(
                "limit {} is counted per egress address and left whole; if processes share an address, \
                 name it, such as egress = \"nat-1\", and each uses its portion",
                limit.name
            ),
        ),
        (None, Some(at), _) if store.redis.is_none() => {
            walk.warn(&at.place, "has no effect without `portion` or `store.redis`");
        }
        _ => {}
    }
}

/// All of the plan that does not depend on divisions and consumers.
fn plan(raw: &raw::Upstream, timeout: Duration, walk: &mut Walk<'_>) -> Plan {
    let counted_within = bounds::duration(&raw.counted_within, Between::TIMEOUT, walk);
    if let (Some(within), Some(at)) = (counted_within, raw.counted_within.given())
        && within > timeout
    {
        walk.wrong(&at.place, format!("longer than `timeout`; write at most \"{}\"", spell(timeout)));
    }
    Plan {
        limits: Vec::new(),
        divisions: Vec::new(),
        consumers: Vec::new(),
        pace: raw.pace.value().map_or(Pace::Auto, |word| word.0),
        counted_within,
        linger: bounds::duration(&raw.linger, Between::WAIT, walk).unwrap_or(timeout),
        queue: queue(raw, walk),
    }
}

fn queue(raw: &raw::Upstream, walk: &mut Walk<'_>) -> QueueBounds {
    let default = QueueBounds::default();
    let Some(at) = raw.max_queue.given() else { return default };
    let mut bound = |field, default: usize| {
        bounds::number(field, 1, MOST_WAITING, walk).and_then(|n| usize::try_from(n).ok()).unwrap_or(default)
    };
    let per_consumer = bound(&at.value.per_consumer, default.per_consumer);
    let total = bound(&at.value.total, default.total.max(per_consumer));
    if total < per_consumer {
        walk.wrong(
            &at.place,
            "fewer may wait in all than for one consumer; raise total to per_consumer at least",
        );
    }
    QueueBounds { per_consumer, total }
}

fn origin(raw: &raw::Upstream, walk: &mut Walk<'_>) -> Option<Origin> {
    let words = "its url is not said; write url = \"https://HOST\"";
    let url = &raw.url.required(&raw.place, words, walk)?.value.0;
    let h2c = raw.h2c.or(false);
    if let (true, Scheme::Https, Some(at)) = (h2c, url.scheme, raw.h2c.given()) {
        walk.wrong(&at.place, "over https:// the handshake chooses HTTP/2 by itself; remove it");
    }
    Some(Origin {
        scheme: url.scheme,
        authority: url.authority.clone(),
        base_path: url.base_path.clone(),
        h2c,
    })
}

fn mount(raw: &raw::Upstream) -> Mount {
    match (raw.host.value(), raw.mount.value()) {
        (Some(host), _) => Mount::Host(host.0.clone()),
        (None, Some(prefix)) => Mount::Prefix(prefix.0.clone()),
        (None, None) => Mount::Prefix(String::new()),
    }
}

/// No two upstreams under one prefix or host, and none under both.
pub(super) fn mounts_apart(upstreams: &[(String, At<raw::Upstream>)], walk: &mut Walk<'_>) {
    let mut taken: HashMap<(bool, String), &str> = HashMap::new();
    for (name, At { value: raw, place }) in upstreams {
        if let (Some(_), Some(at)) = (raw.host.given(), raw.mount.given()) {
            walk.wrong(&at.place, "is reached by host already; keep `mount` or `host`");
        }
        if matches!(raw.host, Field::Wrong) || matches!(raw.mount, Field::Wrong) {
            continue;
        }
        let key = match mount(raw) {
            Mount::Host(host) => (true, host),
            Mount::Prefix(prefix) => (false, prefix),
        };
        if let Some(other) = taken.get(&key) {
            let place = raw
                .host
                .given()
                .map(|at| &at.place)
                .or(raw.mount.given().map(|at| &at.place))
                .unwrap_or(place);
            walk.wrong(place, format!("upstreams {other} and {name} are reached in the same way; give one another mount, such as mount = \"/{name}\""));
        }
        taken.insert(key, name);
    }
}
