//! Which header fields go on, in either direction.
//!
//! Towards the vendor there are two kinds of requests. One whose answer others
//! may get carries a closed list of fields, chosen by the dialect and the rules
//! and all in the cache key (DESIGN, law 11). Any other carries the caller's
//! end-to-end fields, less what is about the way to weir and who the caller is.
//! Hop-by-hop fields never go on (RFC 9110, section 7.6.1), and they are removed
//! before the key is added, so that `Connection: authorization` cannot drop it.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT,
    HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// How weir names itself in `Via` (RFC 9110, section 7.6.3). The protocol is the
/// one weir speaks for: a fetch for many callers has no received protocol.
pub(super) const VIA_WEIR: HeaderValue = HeaderValue::from_static("1.1 weir");

/// Fields that are about one connection even where `Connection` does not list them.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Fields that end at weir: they are about this message's way here.
const ENDS_HERE: [HeaderName; 4] =
    [HOST, EXPECT, HeaderName::from_static("weir-pages"), HeaderName::from_static("http2-settings")];

/// Fields that tell a vendor about the company's inside, or are meant for weir.
const INSIDE: [HeaderName; 6] = [
    COOKIE,
    HeaderName::from_static("prefer"),
    HeaderName::from_static("priority"),
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-request-id"),
];

/// Fields with which a request asks to be taken for one of another method.
const METHOD_OVERRIDE: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

/// Fields of the vendor's answers that would lead callers past weir.
const PAST_WEIR: [HeaderName; 3] = [
    HeaderName::from_static("alt-svc"),
    HeaderName::from_static("strict-transport-security"),
    HeaderName::from_static("public-key-pins"),
];

/// Whether a request has none but fields that change nothing about how weir handles it:
/// no conditions, ranges, directives, waits or framing of a body. One look instead of a
/// look-up for each of those; true of most requests for what is stored.
pub(super) fn are_plain(headers: &HeaderMap) -> bool {
    headers.keys().all(|name| {
        matches!(
            *name,
            HOST | AUTHORIZATION | USER_AGENT | ACCEPT | ACCEPT_ENCODING | ACCEPT_LANGUAGE | CONNECTION
        )
    })
}

/// Whether the request asks to be taken for one of another method.
pub(super) fn overrides_method(headers: &HeaderMap) -> bool {
    METHOD_OVERRIDE.iter().any(|name| headers.contains_key(*name))
}

/// Whether the request asks for another protocol on this connection. h2c by
/// `Upgrade` is answered as HTTP/1.1, which RFC 9110, section 7.8 allows.
pub(super) fn asks_upgrade(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"h2c"))
}

/// Removes what is about one connection: the fields that `Connection` names and
/// those that always are.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// The caller's end-to-end fields. The credential is the dialect's to remove.
pub(super) fn end_to_end(from: &HeaderMap) -> HeaderMap {
    let mut headers = from.clone();
    remove_hop_by_hop(&mut headers);
    for name in &ENDS_HERE {
        headers.remove(name);
    }
    // The client frames the body anew.
    headers.remove(CONTENT_LENGTH);
    headers
}

/// The caller's fields that go on to a vendor whose key weir holds, with a request
/// that is for this caller alone.
pub(super) fn for_one(from: &HeaderMap) -> HeaderMap {
    let mut headers = end_to_end(from);
    for name in &INSIDE {
        headers.remove(name);
    }
    let forwarded: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("x-forwarded-")).cloned().collect();
    for name in &forwarded {
        headers.remove(name);
    }
    headers
}

/// The vendor's fields that go on to callers. `Connection` and friends end here. A
/// plain cache passes on all others (RFC 9110, section 7.6.1: end to end).
pub(super) fn from_vendor(headers: &mut HeaderMap, is_plain_cache: bool) {
    remove_hop_by_hop(headers);
    for name in PAST_WEIR.iter().filter(|_| !is_plain_cache) {
        headers.remove(name);
    }
    headers.append(VIA, VIA_WEIR);
}

/// What weir asks vendors in its own name: gzip saves most of the way, and is undone
/// once, before the body is edited, kept or passed on.
pub(super) fn ask_gzip(headers: &mut HeaderMap) {
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    #[test]
    fn what_connection_names_ends_here() {
        let mut headers =
            map(&[("connection", "close, X-Mine"), ("x-mine", "1"), ("te", "trailers"), ("a", "b")]);
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&[("a", "b")]));
    }

    #[test]
    fn the_company_inside_stays_inside() {
        let headers = for_one(&map(&[
            ("host", "weir"),
            ("x-forwarded-for", "10.0.0.1"),
            ("cookie", "s=1"),
            ("prefer", "wait=3"),
            ("content-type", "application/json"),
        ]));
        assert_eq!(headers, map(&[("content-type", "application/json")]));
    }

    #[test]
    fn overrides_are_seen() {
        assert!(overrides_method(&map(&[("X-HTTP-Method-Override", "DELETE")])));
        assert!(asks_upgrade(&map(&[("upgrade", "websocket")])));
        assert!(!asks_upgrade(&map(&[("upgrade", "h2c")])));
    }
}
