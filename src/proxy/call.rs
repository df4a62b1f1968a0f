//! What is asked, and by whom: route, identify, allow, inbound rate, check.
//!
//! Nothing in here costs any of the allowance. A caller who is not known learns
//! nothing but that: routes and rules are looked at after the sign-in.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Method, Uri, Version};

use super::Lane;
use super::exchange::Exchange;
use super::headers;
use super::refusal::No;
use super::table::Table;
use crate::cache::Now;
use crate::clock::Moment;
use crate::config::{Access, Mount};
use crate::consumer::{ConsumerIx, Peer};
use crate::dialect::{OAuth, Place, Route, Verdict};
use crate::secret::Secret;
use crate::target::{Target, is_under};
use crate::telemetry::trace::Branch;
use crate::token::Kind;

/// A request that has a meaning: for one upstream, by a canonical target.
pub(super) struct Call {
    pub(super) lane: Arc<Lane>,
    pub(super) method: Method,
    /// As the vendor sees it, without the caller's credential.
    pub(super) target: Target,
    /// What the dialect knows of method and path.
    pub(super) route: Route,
    /// As received; the credential is gone once the caller is known.
    pub(super) headers: HeaderMap,
    /// See [`headers::are_plain`].
    pub(super) is_plain: bool,
    /// Whether a body may follow the head.
    pub(super) has_body: bool,
    /// The body, if it was read already, without the caller's credential.
    pub(super) body: Option<Bytes>,
    /// The credential that stood in it, and where credentials stand in this request.
    pub(super) in_body: Option<Secret>,
    pub(super) place: Place,
}

/// Who asks, and what it may.
pub(super) struct Caller<'a> {
    pub(super) consumer: ConsumerIx,
    pub(super) access: &'a Access,
    /// Until when it waits for its turn.
    pub(super) deadline: Moment,
    /// RFC 9218, 0 first, 7 last.
    pub(super) urgency: u8,
    /// The wait in seconds, where less than the caller asked for applies.
    pub(super) clipped_wait: Option<u64>,
    /// Where the spans of a fetch that it begins hang.
    pub(super) branch: Option<Branch>,
}

/// The same without what the table it was found in holds.
pub(super) struct Admitted {
    consumer: ConsumerIx,
    deadline: Moment,
    urgency: u8,
    clipped_wait: Option<u64>,
}

/// The order among its own requests of a caller that names none (RFC 9218, section 4.1).
const DEFAULT_URGENCY: u8 = 3;

impl Table {
    /// Which upstream is meant, and the canonical target there.
    ///
    /// # Errors
    /// Beside the refusal, the upstream that the request seems to be for, even if it is
    /// malformed: an error is told in the words that its client understands.
    pub(super) fn route(&self, head: Parts, has_body: bool) -> Result<Call, (No, Option<&Arc<Lane>>)> {
        match self.placed(&head) {
            Ok((lane, target)) => {
                Ok(Call::new(Arc::clone(lane), (head.method, target), head.headers, has_body))
            }
            Err(no) => {
                let host = host_of(&head.uri, &head.headers).ok().flatten();
                Err((no, self.lane_at(host, head.uri.path())))
            }
        }
    }

    fn placed(&self, head: &Parts) -> Result<(&Arc<Lane>, Target), No> {
        let is_plain = headers::are_plain(&head.headers);
        if head.method == Method::CONNECT || (!is_plain && headers::asks_upgrade(&head.headers)) {
            return Err(No::NotImplemented);
        }
        if head.method == Method::TRACE || (!is_plain && headers::overrides_method(&head.headers)) {
            return Err(No::Method);
        }
        // More than one framing of one body is how requests are smuggled (RFC 9112, section 6.1).
        if !is_plain
            && head.headers.contains_key(TRANSFER_ENCODING)
            && head.headers.contains_key(http::header::CONTENT_LENGTH)
        {
            return Err(No::Malformed("the request has both Content-Length and Transfer-Encoding"));
        }
        // RFC 9112, section 3.2. HTTP/2 has `:authority` instead.
        if head.version == Version::HTTP_11 && !head.headers.keys().any(|name| *name == HOST) {
            return Err(No::Malformed("the request has no Host"));
        }
        let target = Target::parse(head.uri.path(), head.uri.query()).map_err(No::Target)?;
        let host = host_of(&head.uri, &head.headers)?;
        let lane = self.lane_at(host, target.path()).ok_or(No::NotRouted)?;
        let target = match &lane.config.mount {
            Mount::Prefix(prefix) if !prefix.is_empty() => target.strip_mount(prefix).ok_or(No::NotRouted)?,
            Mount::Prefix(_) | Mount::Host(_) => target,
        };
        Ok((lane, lane.config.dialect.canonical(target)))
    }

    /// A host is the more special choice than a prefix, a longer prefix than a shorter.
    fn lane_at(&self, host: Option<&str>, path: &str) -> Option<&Arc<Lane>> {
        let by_host = self.lanes.iter().find(|lane| match &lane.config.mount {
            Mount::Host(name) => host.is_some_and(|host| host.eq_ignore_ascii_case(name)),
            Mount::Prefix(_) => false,
        });
        let by_prefix = self.lanes.iter().filter_map(|lane| match &lane.config.mount {
            Mount::Prefix(prefix) if is_under(path, prefix) => Some((prefix.len(), lane)),
            Mount::Prefix(_) | Mount::Host(_) => None,
        });
        by_host.or_else(|| by_prefix.max_by_key(|(length, _)| *length).map(|(_, lane)| lane))
    }

    /// Identify, allow, inbound rate, check.
    pub(super) fn let_in(
        &self,
        exchange: &mut Exchange,
        call: &mut Call,
        (peer, now): (Peer<'_>, Now),
    ) -> Result<Caller<'_>, No> {
        let mut caller = self.identify(call, (peer, now.at))?;
        caller.branch = exchange.spans.branch();
        exchange.identified(&caller, &self.consumers.config(caller.consumer).name);
        caller.may(call)?;
        self.admit_inbound(&caller)?;
        self.check(call, &caller)?;
        Ok(caller)
    }

    /// Who asks. The credential is taken out of the call, whoever it is.
    pub(super) fn identify(
        &self,
        call: &mut Call,
        (peer, now): (Peer<'_>, Moment),
    ) -> Result<Caller<'_>, No> {
        let dialect = &call.lane.config.dialect;
        let known = {
            let presented = match (&call.in_body, dialect.presented(&call.headers, &call.target)) {
                (None, presented) => presented,
                (Some(token), None) => Some(Cow::Borrowed(token.expose().as_bytes())),
                // Two identities: whoever reads the other one sees somebody else.
                (Some(_), Some(_)) => None,
            };
            let issued =
                presented.as_deref().and_then(|it| self.by_issued(&call.lane, it, Kind::Access, peer));
            let known = issued.unwrap_or_else(|| self.consumers.identify(presented.as_deref(), peer));
            known.map_err(No::SignIn)?
        };
        // Without a key of weir's, a caller's own credential goes on, but never the token
        // that proved who it is.
        if !call.lane.is_keyless() || self.consumers.is_proven_by_token(known) {
            dialect.strip(&mut call.headers, &mut call.target);
        }
        self.caller(call, known, now)
    }

    /// What is known of the caller at this upstream.
    pub(super) fn caller(&self, call: &Call, known: ConsumerIx, now: Moment) -> Result<Caller<'_>, No> {
        let access = self.consumers.access(known, call.lane.index).ok_or_else(No::no_access)?;
        let most = access.max_wait.unwrap_or(call.lane.config.max_wait);
        let (wait, clipped_wait) = if call.is_plain { (most, None) } else { patience(&call.headers, most) };
        Ok(Caller {
            consumer: known,
            access,
            deadline: now + wait,
            urgency: if call.is_plain { DEFAULT_URGENCY } else { urgency(&call.headers) },
            clipped_wait,
            branch: None,
        })
    }

    /// What the documents say the vendor would refuse costs nothing here.
    pub(super) fn check(&self, call: &Call, caller: &Caller<'_>) -> Result<(), No> {
        let config = &call.lane.config;
        match config.dialect.check(call.route, &call.target) {
            Verdict::Pass => Ok(()),
            Verdict::Warn(what) => {
                // Who has to change something, once each: a poller would fill the log.
                // What is said comes from config's list, so there is a bound to it.
                if call.lane.warned.lock().insert((caller.consumer, what.clone())) {
                    let consumer = &self.consumers.config(caller.consumer).name;
                    tracing::warn!(upstream = %config.name, %consumer, "{what}");
                }
                Ok(())
            }
            Verdict::Invalid(why) => Err(No::Invalid(why)),
            Verdict::Forbidden(why) => Err(No::Forbidden(why)),
        }
    }

    /// The caller's own inbound rate: guards weir itself, cache hits included.
    pub(super) fn admit_inbound(&self, caller: &Caller<'_>) -> Result<(), No> {
        self.consumers.admit_inbound(caller.consumer).map_err(|wait| No::Inbound { retry_after: wait.0 })
    }
}

impl Call {
    /// One of whose body nothing was read yet.
    pub(super) fn new(
        lane: Arc<Lane>,
        (method, target): (Method, Target),
        headers: HeaderMap,
        has_body: bool,
    ) -> Self {
        let is_plain = headers::are_plain(&headers);
        let route = lane.config.dialect.route(&method, target.path());
        Self {
            lane,
            method,
            target,
            route,
            headers,
            is_plain,
            has_body,
            body: None,
            in_body: None,
            place: Place::default(),
        }
    }

    /// Whether it asks for a token, and in which way.
    pub(super) fn asks_token(&self) -> Option<OAuth> {
        self.lane.config.dialect.oauth().filter(|oauth| oauth.is_token_path(self.target.path()))
    }
}

impl Admitted {
    /// Who it was in the same table.
    pub(super) fn at<'t>(
        &self,
        table: &'t Table,
        (lane, exchange): (&Lane, &Exchange),
    ) -> Result<Caller<'t>, No> {
        let Self { consumer, deadline, urgency, clipped_wait } = *self;
        let access = table.consumers.access(consumer, lane.index).ok_or_else(No::no_access)?;
        Ok(Caller { consumer, access, deadline, urgency, clipped_wait, branch: exchange.spans.branch() })
    }
}

impl Caller<'_> {
    /// To wait with.
    pub(super) fn admitted(&self) -> Admitted {
        let Self { consumer, deadline, urgency, clipped_wait, .. } = *self;
        Admitted { consumer, deadline, urgency, clipped_wait }
    }

    /// Method and path: reads only, unless config says more.
    pub(super) fn may(&self, call: &Call) -> Result<(), No> {
        let (method, path) = (&call.method, call.target.path());
        let allowed = match &self.access.allow {
            Some(patterns) => patterns.iter().any(|pattern| pattern.matches(method, path)),
            None => call.lane.config.dialect.reads(method, path),
        };
        if allowed {
            return Ok(());
        }
        Err(No::Forbidden(format!("weir: this consumer is not allowed to {method} this path.")))
    }
}

impl Lane {
    /// Whether callers' own credentials go on: a keyless `generic` has nothing to put in their place.
    pub(super) fn is_keyless(&self) -> bool {
        self.config.keys.is_empty()
    }
}

/// The host a request is for, without port: the target's, or `Host` (RFC 9112,
/// section 3.2.2). Two that differ in count or form are a 400.
fn host_of<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<Option<&'a str>, No> {
    const NO_HOST: No = No::Malformed("the Host is not a host");
    // A look at each name is cheaper than to hash one.
    let mut hosts = headers.iter().filter(|(name, _)| **name == HOST).map(|(_, host)| host);
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(No::Malformed("the request has more than one Host"));
    }
    if let Some(authority) = uri.authority() {
        return Ok(Some(authority.host()));
    }
    let Some(host) = first else { return Ok(None) };
    let text = host.to_str().map_err(|_| NO_HOST)?;
    if let Some(name) = plain_host(text) {
        return Ok(Some(name));
    }
    let authority = http::uri::Authority::try_from(text).map_err(|_| NO_HOST)?;
    // The same text, as long as the host at its end or before its port.
    let name = authority.host();
    let start = text.find(name).ok_or(NO_HOST)?;
    Ok(Some(&text[start..start + name.len()]))
}

/// The name in a host of letters, digits, dots and dashes with or without a port, as
/// nearly all are: no parser would find anything else in it.
fn plain_host(text: &str) -> Option<&str> {
    let stands = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
    let (name, rest) = text.split_at(text.bytes().position(|b| !stands(b)).unwrap_or(text.len()));
    let port = if rest.is_empty() { "0" } else { rest.strip_prefix(':')? };
    let is_port = matches!(port.len(), 1..=5) && port.bytes().all(|b| b.is_ascii_digit());
    (!name.is_empty() && is_port).then_some(name)
}

/// How long the caller waits for its turn: `Prefer: wait=N` (RFC 7240, section
/// 4.3), at most `most`; and N as applied, if that is less than was asked.
fn patience(headers: &HeaderMap, most: Duration) -> (Duration, Option<u64>) {
    let preferences =
        headers.get_all("prefer").iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    let wait = preferences.filter_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("wait").then(|| value.parse::<u64>().ok()).flatten()
    });
    // The first one counts (RFC 7240, section 2).
    match wait.map(Duration::from_secs).next() {
        None => (most, None),
        Some(asked) if asked > most => (most, Some(most.as_secs())),
        Some(asked) => (asked, None),
    }
}

/// `Priority: u=N` (RFC 9218, section 4.1); what cannot be read counts as absent.
fn urgency(headers: &HeaderMap) -> u8 {
    let Some(value) = headers.get("priority") else { return DEFAULT_URGENCY };
    let parsed = sfv::Parser::new(value.as_bytes()).parse::<sfv::Dictionary>().ok();
    let u = parsed.and_then(|dictionary| match dictionary.get("u") {
        Some(sfv::ListEntry::Item(item)) => item.bare_item.as_integer().map(i64::from),
        _ => None,
    });
    u.and_then(|u| u8::try_from(u).ok()).filter(|u| *u <= 7).unwrap_or(DEFAULT_URGENCY)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn with(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_static(value))])
    }

    #[test]
    fn waits_are_asked_for_and_clipped() {
        let most = Duration::from_secs(30);
        assert_eq!(patience(&HeaderMap::new(), most), (most, None));
        assert_eq!(patience(&with("prefer", "wait=5"), most), (Duration::from_secs(5), None));
        assert_eq!(patience(&with("prefer", "return=minimal, Wait=\"0\""), most), (Duration::ZERO, None));
        assert_eq!(patience(&with("prefer", "wait=90"), most), (most, Some(30)));
        assert_eq!(patience(&with("prefer", "wait=soon"), most), (most, None));
    }

    #[test]
    fn urgency_is_read_or_left() {
        for (value, want) in [("u=0", 0), ("u=7, i", 7), ("u=8", 3), ("i", 3), ("((", 3)] {
            assert_eq!(urgency(&with("priority", value)), want, "{value}");
        }
    }

    #[test]
    fn one_host_counts() {
        let origin: Uri = "/x".parse().unwrap();
        assert_eq!(host_of(&origin, &with("host", "Weir.Internal:8080")).unwrap(), Some("Weir.Internal"));
        for (text, name) in [("a-b.c", Some("a-b.c")), ("a:1", Some("a")), ("[::1]:1", Some("[::1]"))] {
            assert_eq!(host_of(&origin, &with("host", text)).unwrap(), name);
        }
        for bad in ["a b", "a/b", "a@b:c:d"] {
            assert!(host_of(&origin, &with("host", bad)).is_err(), "{bad}");
        }
        let absolute: Uri = "http://a.example/x".parse().unwrap();
        assert_eq!(host_of(&absolute, &with("host", "b.example")).unwrap(), Some("a.example"));
        let mut twice = with("host", "a");
        twice.append(HOST, HeaderValue::from_static("b"));
        assert!(host_of(&origin, &twice).is_err());
    }
}
