//! What will be asked of the vendor for a call, and who may share the answer.
//!
//! Law 11: two wishes with the same key send byte-identical requests. So a
//! request whose answer others may get is built anew, from the canonical target
//! and a closed list of headers, all of them in the key. In a keyless `generic`
//! every end-to-end header is sent, and `Vary` decides.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONTENT_TYPE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    RANGE, VIA,
};
use http::{HeaderMap, HeaderValue, Method};

use super::call::{Call, Caller};
use super::snap::Snapped;
use super::{Lane, headers};
use crate::cache::{Asked, FlightKey, Key, Policy, RequestDirectives, Sharing};
use crate::clock::UnixTime;
use crate::config::{CacheRule, ClientCacheControl};
use crate::dialect::{Manner, Place};
use crate::quota::LimitSet;
use crate::target::Target;

/// A request as it would be sent, less the vendor's key.
pub(super) struct Wish {
    pub(super) lane: Arc<Lane>,
    pub(super) method: Method,
    pub(super) target: Target,
    /// What the caller sent: its conditions and ranges.
    pub(super) caller: HeaderMap,
    /// Its directives, as far as they count.
    pub(super) directives: RequestDirectives,
    pub(super) key: Key,
    /// Index into the upstream's keys.
    pub(super) vendor_key: Option<usize>,
    /// Which limits it counts against.
    pub(super) limits: LimitSet,
    /// Whether the same can be sent again: nothing of it streams from the caller.
    pub(super) is_repeatable: bool,
    /// Whether its answer may be silent for long.
    pub(super) is_stream: bool,
    /// Where the caller's credential stood, and so where the vendor's goes.
    pub(super) place: Place,
    /// Whether a stored or a shared answer may serve it.
    pub(super) shareable: bool,
    /// Whether weir asks for gzip of its own accord, and so undoes it for all callers.
    pub(super) undoes_gzip: bool,
    /// The body, if it was read before it is sent: the canonical one of a POST that a
    /// rule calls a read, which is keyed; or as it came, less the caller's credential.
    pub(super) body: Option<Bytes>,
    rule: Option<usize>,
    settled_ttl: Option<Duration>,
    default_ttl: Option<Duration>,
    /// The fields that are in the key.
    keyed: HeaderMap,
    /// See [`Wish::sent`].
    sent: OnceLock<HeaderMap>,
}

/// Conditions and ranges are answered here, from a complete copy.
const ANSWERED_HERE: [http::HeaderName; 6] =
    [IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE];

impl Wish {
    /// `body` is the canonical one of a POST that a rule calls a read.
    pub(super) fn of(call: Call, body: Option<Bytes>, caller: &Caller<'_>, now: UnixTime) -> Self {
        let lane = call.lane;
        let config = &lane.config;
        let dialect = &config.dialect;
        let (method, path) = (&call.method, call.target.path());
        let rule = config.cache.iter().position(|rule| rule.pattern.matches(method, path));
        let limits = config.plan.limits_for(method, path, call.route.class);
        let (target, settled_ttl) = match rule.map(|rule| &config.cache[rule]) {
            Some(rule) => canonical_target(call.target, rule, now),
            None => (call.target, None),
        };
        let is_get = method == Method::GET || method == Method::HEAD;
        // Preconditions that guard against a lost update are the origin's to judge.
        let guarded = !call.is_plain
            && (call.headers.contains_key(IF_MATCH) || call.headers.contains_key(IF_UNMODIFIED_SINCE));
        let manner = dialect.manner(target.path());
        let is_read = (is_get && !call.has_body) || body.is_some();
        let shareable = is_read && !guarded && manner == Manner::Shared;
        let division = config.plan.consumers[caller.access.seat].division;
        let vendor_key = config.division_keys[division];
        let default_ttl = dialect.freshness(call.route, (method, &target), now);
        let mut keyed = HeaderMap::new();
        if shareable && !lane.is_keyless() {
            shape(&lane, &call.headers, rule.map(|rule| &config.cache[rule]), body.is_some(), &mut keyed);
        }
        let scope = &lane.scopes[vendor_key.unwrap_or_default()];
        let directives = match caller.access.client_cache_control {
            ClientCacheControl::Honour if !call.is_plain => RequestDirectives::of(&call.headers),
            ClientCacheControl::Honour | ClientCacheControl::Ignore => RequestDirectives::default(),
        };
        let wish = Self {
            key: Key::new(scope, method, &target, &keyed, body.as_deref()),
            undoes_gzip: undoes_gzip(&lane, target.path(), shareable.then_some(&keyed)),
            method: call.method,
            target,
            caller: call.headers,
            directives,
            vendor_key,
            limits,
            // Of one key, one request: not even where the token stands may differ.
            place: if shareable { Place::Query } else { call.place },
            is_repeatable: !call.has_body || body.is_some() || call.body.is_some(),
            is_stream: manner == Manner::Stream,
            shareable,
            body: body.or(call.body),
            rule,
            settled_ttl,
            default_ttl,
            keyed,
            sent: OnceLock::new(),
            lane,
        };
        if wish.lane.relays() {
            // What remains of this caller's patience is told, so now is when.
            let mut sent = wish.request();
            wish.lane.pass_on(caller, &wish.caller, &mut sent);
            let _ = wish.sent.set(sent);
        }
        wish
    }

    /// The fields that are sent, less the vendor's key. Worked out when they are first
    /// asked for: most hits do not.
    pub(super) fn sent(&self) -> &HeaderMap {
        self.sent.get_or_init(|| self.request())
    }

    fn request(&self) -> HeaderMap {
        let mut sent = match self.shareable {
            true => shared_request(&self.lane, &self.caller, &self.keyed),
            false => own_request(&self.lane, &self.caller),
        };
        if self.undoes_gzip {
            headers::ask_gzip(&mut sent);
        }
        sent
    }

    /// What decides about keeping and reusing.
    pub(super) fn policy(&self) -> Policy<'_> {
        let config = &self.lane.config;
        Policy {
            dialect: &config.dialect,
            rule: self.rule.map(|rule| &config.cache[rule]),
            default_ttl: self.default_ttl,
            settled_ttl: self.settled_ttl,
            sharing: if self.lane.is_keyless() { Sharing::Shared } else { Sharing::Private },
        }
    }

    /// What the cache has to know of the caller.
    pub(super) fn asked(&self) -> Asked<'_> {
        Asked {
            method: &self.method,
            caller: &self.caller,
            sent: self.sent(),
            directives: self.directives.clone(),
        }
    }

    /// Which fetch would serve it.
    pub(super) fn flight(&self) -> FlightKey {
        self.key.flight(self.sent())
    }
}

/// The target as it is keyed and sent, and how long an answer is fresh because the
/// window it asks about has settled.
fn canonical_target(asked: Target, rule: &CacheRule, now: UnixTime) -> (Target, Option<Duration>) {
    let target = match rule.ignore_query.is_empty() {
        true => asked,
        false => asked.without(&rule.ignore_query),
    };
    let Some(snap) = &rule.snap else { return (target, None) };
    let Some(snapped) = Snapped::of(&target, snap) else { return (target, None) };
    let settled_ttl = snap.settled_ttl.filter(|_| snapped.has_settled(snap, now));
    (snapped.target, settled_ttl)
}

/// The fields that shape an answer which others may get: all of them are in the key.
fn shape(lane: &Lane, from: &HeaderMap, rule: Option<&CacheRule>, has_body: bool, keyed: &mut HeaderMap) {
    lane.config.dialect.shape(from, keyed);
    for name in rule.map(|rule| rule.key_headers.as_slice()).unwrap_or_default() {
        for value in from.get_all(name) {
            keyed.append(name, value.clone());
        }
    }
    if has_body {
        keyed.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
}

/// A request whose answer others may get: what is keyed, and what every one of them has.
fn shared_request(lane: &Lane, from: &HeaderMap, keyed: &HeaderMap) -> HeaderMap {
    if lane.is_keyless() {
        let mut sent = headers::end_to_end(from);
        for name in &ANSWERED_HERE {
            sent.remove(name);
        }
        sent.append(VIA, headers::VIA_WEIR);
        return sent;
    }
    let mut sent = keyed.clone();
    lane.config.dialect.supply(&mut sent);
    sent.insert(VIA, headers::VIA_WEIR);
    sent
}

/// A request for this caller alone: all its end-to-end headers.
fn own_request(lane: &Lane, from: &HeaderMap) -> HeaderMap {
    let mut sent = if lane.is_keyless() { headers::end_to_end(from) } else { headers::for_one(from) };
    lane.config.dialect.supply(&mut sent);
    sent.append(VIA, headers::VIA_WEIR);
    sent
}

/// Whether gzip is weir's own wish: where it edits bodies, and where one answer is for
/// callers of every coding. Not where a rule has the callers' wishes in the key, and not
/// towards a weir, which has its own tag for each coding. `keyed` are the fields in the
/// key; none if the answer is for one caller.
fn undoes_gzip(lane: &Lane, path: &str, keyed: Option<&HeaderMap>) -> bool {
    let is_for_all = keyed.is_some_and(|keyed| !keyed.contains_key(ACCEPT_ENCODING));
    let recodes = is_for_all && !lane.is_keyless() && !lane.relays();
    lane.config.dialect.edits_bodies(path) || recodes
}
