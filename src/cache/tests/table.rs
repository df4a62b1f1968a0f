//! RFC 9111, case by case, and where it meets RFC 9110 and RFC 9213.

use super::*;

/// A response fetched at 0 by `first`, then asked for by `second` at `at`.
struct Case {
    section: &'static str,
    first: &'static str,
    response: &'static str,
    at: u64,
    second: &'static str,
    shared: &'static str,
    private: &'static str,
}

const fn both(
    section: &'static str,
    response: &'static str,
    at: u64,
    second: &'static str,
    is: &'static str,
) -> Case {
    Case { section, first: "", response, at, second, shared: is, private: is }
}

const fn apart(
    section: &'static str,
    response: &'static str,
    at: u64,
    shared: &'static str,
    private: &'static str,
) -> Case {
    Case { section, first: "", response, at, second: "", shared, private }
}

const fn after(
    section: &'static str,
    first: &'static str,
    response: &'static str,
    shared: &'static str,
    private: &'static str,
) -> Case {
    Case { section, first, response, at: 0, second: first, shared, private }
}

const fn vary(
    section: &'static str,
    response: &'static str,
    first: &'static str,
    second: &'static str,
    is: &'static str,
) -> Case {
    Case { section, first, response, at: 1, second, shared: is, private: is }
}

const MISS: &str = "uri-miss";

#[rustfmt::skip]
const CASES: &[Case] = &[
    // What may be stored.
    both("3 method", "200 | cc: max-age=60", 1, "HEAD", "fresh"),
    after("3 method", "POST", "200 | cc: max-age=60", MISS, MISS),
    after("3 method", "HEAD", "200 | cc: max-age=60", MISS, MISS),
    both("3 final status", "206 | cc: max-age=60 | content-range: bytes 0-1/5", 1, "", MISS),
    both("3 final status", "304 | cc: max-age=60", 1, "", MISS),
    both("3 any final status", "599 | cc: max-age=60", 1, "", "fresh"),
    both("3 any final status", "404 | cc: max-age=60", 1, "", "fresh"),
    both("3 nothing explicit", "200", 1, "", MISS),
    both("3 nothing explicit", "200 | last-modified: @-86400", 1, "", "stale"),
    both("3 not cacheable by default", "500 | etag: \"a\"", 1, "", MISS),
    both("RFC 6585", "429 | cc: max-age=60", 1, "", MISS),
    both("5.2.2.5 no-store", "200 | cc: no-store, max-age=60", 1, "", MISS),
    both("5.2.2.5 no-store", "200 | cc: max-age=60 | cc: No-Store", 1, "", MISS),
    both("5.2.2.5 no-store in quotes is none", "200 | cc: x=\"no-store\", max-age=60", 1, "", "fresh"),
    after("5.2.1.5 no-store", "cc: no-store", "200 | cc: max-age=60", MISS, MISS),
    both("5.2.1.5 may still be answered", "200 | cc: max-age=60", 1, "cc: no-store", "fresh"),
    apart("5.2.2.7 private", "200 | cc: private, max-age=60", 1, MISS, "fresh"),
    apart("5.2.2.7 private with fields", "200 | cc: private=\"x-a\", max-age=60", 1, "fresh", "fresh"),
    apart("5.2.2.7 private, malformed list", "200 | cc: private=\"x a\", max-age=60", 1, MISS, "fresh"),
    both("5.2.2.3 must-understand, understood", "200 | cc: must-understand, no-store, max-age=60", 1, "", "fresh"),
    both("5.2.2.3 must-understand, an error understood", "404 | cc: must-understand, no-store, max-age=60", 1, "", "fresh"),
    both("5.2.2.3 must-understand, the order does not count", "200 | cc: no-store | cc: max-age=60, Must-Understand", 1, "", "fresh"),
    both("5.2.2.3 must-understand, not understood, no-store", "599 | cc: must-understand, no-store, max-age=60", 1, "", MISS),
    both("5.2.2.3 must-understand is no lifetime", "200 | cc: must-understand, no-store", 1, "", MISS),
    both("5.2.2.3 must-understand, partial", "206 | cc: must-understand, max-age=60", 1, "", MISS),
    both("5.2.2.3 must-understand, not understood", "599 | cc: must-understand, max-age=60", 1, "", MISS),
    after("3.5 authorization", "authorization: x", "200 | cc: max-age=60", MISS, "fresh"),
    after("3.5 authorization, public", "authorization: x", "200 | cc: max-age=60, public", "fresh", "fresh"),
    after("3.5 authorization, s-maxage", "authorization: x", "200 | cc: s-maxage=60", "fresh", MISS),
    after("3.5 authorization, must-revalidate", "authorization: x", "200 | cc: max-age=60, must-revalidate", "fresh", "fresh"),
    both("3.5 authorization in the second only", "200 | cc: max-age=60", 1, "authorization: x", "fresh"),
    apart("7.3 cookies", "200 | cc: max-age=60 | set-cookie: a=b", 1, MISS, "fresh"),
    apart("7.3 cookies, public", "200 | cc: max-age=60, public | set-cookie: a=b", 1, "fresh", "fresh"),
    // Freshness.
    both("4.2 one tick before", "200 | cc: max-age=60", 59, "", "fresh"),
    both("4.2 at the lifetime", "200 | cc: max-age=60", 60, "", MISS_STALE),
    both("4.2.1 max-age over expires", "200 | cc: max-age=60 | expires: @-60 | date: @0", 59, "", "fresh"),
    both("4.2.1 max-age over expires", "200 | cc: max-age=5 | expires: @60 | date: @0", 6, "", "stale"),
    apart("5.2.2.10 s-maxage", "200 | cc: s-maxage=60, max-age=5", 6, "fresh", "stale"),
    apart("5.2.2.10 s-maxage", "200 | cc: s-maxage=5, max-age=60", 6, "stale", "fresh"),
    both("5.3 expires", "200 | expires: @60 | date: @0", 59, "", "fresh"),
    both("5.3 expires", "200 | expires: @60 | date: @0", 60, "", "stale"),
    both("5.3 expires without date", "200 | expires: @60", 59, "", "fresh"),
    both("5.3 expires on another clock", "200 | expires: @3660 | date: @3600", 59, "", "fresh"),
    both("5.3 expires on another clock", "200 | expires: @3660 | date: @3600", 60, "", "stale"),
    both("5.3 expires, invalid", "200 | expires: 0 | etag: \"a\"", 0, "", "stale"),
    both("5.3 expires, invalid", "200 | expires: -1", 0, "", MISS),
    both("5.3 expires, rfc 850", "200 | expires: Thursday, 01-Jan-26 00:01:00 GMT | date: @0", 59, "", "fresh"),
    both("5.3 expires, asctime", "200 | expires: Thu Jan  1 00:01:00 2026 | date: @0", 59, "", "fresh"),
    both("4.2.1 expires twice", "200 | expires: @60 | expires: @90 | etag: \"a\"", 1, "", "stale"),
    both("4.2.1 expires twice, same", "200 | expires: @60 | expires: @60", 1, "", "fresh"),
    both("4.2.1 max-age twice", "200 | cc: max-age=60, max-age=90 | etag: \"a\"", 1, "", "stale"),
    both("4.2.1 max-age twice, same", "200 | cc: max-age=60 | cc: max-age=60", 1, "", "fresh"),
    both("4.2.1 max-age, malformed", "200 | cc: max-age=6o | expires: @60 | etag: \"a\"", 1, "", "stale"),
    both("4.2.1 max-age, negative", "200 | cc: max-age=-1", 0, "", MISS),
    both("5.2 max-age, quoted", "200 | cc: max-age=\"60\"", 1, "", "fresh"),
    both("5.2 names fold", "200 | cc: MAX-AGE=60", 1, "", "fresh"),
    both("1.2.2 huge", "200 | cc: max-age=99999999999999999999", 1, "", "fresh"),
    both("4.2.2 no heuristics", "200 | last-modified: @-8640000 | date: @0", 1, "", "stale"),
    both("5.4 pragma in a response says nothing", "200 | pragma: no-cache | cc: max-age=60", 1, "", "fresh"),
    // Age.
    both("4.2.3 age counts", "200 | cc: max-age=60 | age: 50", 9, "", "fresh"),
    both("4.2.3 age counts", "200 | cc: max-age=60 | age: 50", 10, "", "stale"),
    both("4.2.3 apparent age", "200 | cc: max-age=60 | date: @-50", 10, "", "stale"),
    both("4.2.3 the larger counts", "200 | cc: max-age=60 | date: @-50 | age: 20", 9, "", "fresh"),
    both("4.2.3 a date to come is no age", "200 | cc: max-age=60 | date: @3600", 59, "", "fresh"),
    both("5.1 a list: the first", "200 | cc: max-age=60 | age: 50, 0", 10, "", "stale"),
    both("5.1 a list: the first", "200 | cc: max-age=60 | age: 0 | age: 50", 10, "", "fresh"),
    both("5.1 invalid: disregarded", "200 | cc: max-age=60 | age: -5", 10, "", "fresh"),
    both("5.1 invalid: disregarded", "200 | cc: max-age=60 | age: 50.5", 10, "", "fresh"),
    // What callers demand.
    both("5.2.1.1 max-age", "200 | cc: max-age=60", 10, "cc: max-age=10", "fresh"),
    both("5.2.1.1 max-age", "200 | cc: max-age=60", 11, "cc: max-age=10", "request"),
    both("5.2.1.1 max-age=0", "200 | cc: max-age=60", 1, "cc: max-age=0", "request"),
    both("5.2.1.1 max-age, malformed", "200 | cc: max-age=60", 1, "cc: max-age=x", "request"),
    both("5.2.1.1 max-age, Age counts", "200 | cc: max-age=60 | age: 30", 1, "cc: max-age=10", "request"),
    both("5.2.1.2 max-stale", "200 | cc: max-age=60 | etag: \"a\"", 65, "cc: max-stale=5", "fresh"),
    both("5.2.1.2 max-stale", "200 | cc: max-age=60 | etag: \"a\"", 66, "cc: max-stale=5", "stale"),
    both("5.2.1.2 max-stale, any", "200 | cc: max-age=60 | etag: \"a\"", 66_666, "cc: max-stale", "fresh"),
    both("5.2.1.2 max-stale, malformed", "200 | cc: max-age=60 | etag: \"a\"", 61, "cc: max-stale=x", "stale"),
    both("5.2.1.3 min-fresh", "200 | cc: max-age=60", 50, "cc: min-fresh=10", "fresh"),
    both("5.2.1.3 min-fresh", "200 | cc: max-age=60", 51, "cc: min-fresh=10", "request"),
    both("5.2.1.3 min-fresh against max-stale", "200 | cc: max-age=60 | etag: \"a\"", 61, "cc: min-fresh=1, max-stale", "stale"),
    both("5.2.1.4 no-cache", "200 | cc: max-age=60", 1, "cc: no-cache", "request"),
    both("5.2.1.4 no-cache", "200 | cc: max-age=60", 1, "cc: max-age=60 | cc: NO-CACHE", "request"),
    both("5.4 pragma", "200 | cc: max-age=60", 1, "pragma: no-cache", "request"),
    both("5.4 pragma beside cache-control", "200 | cc: max-age=60", 1, "pragma: no-cache | cc: x", "fresh"),
    both("5.2.1.7 only-if-cached", "200 | cc: max-age=60", 1, "cc: only-if-cached", "fresh"),
    both("5.2.1.7 only-if-cached", "200 | cc: max-age=60 | etag: \"a\"", 61, "cc: only-if-cached", "504"),
    both("5.2.1.7 only-if-cached", "200 | cc: max-age=60", 61, "cc: only-if-cached, max-stale", "fresh"),
    both("5.2.1.7 only-if-cached", "200 | cc: no-store", 61, "cc: only-if-cached", "504"),
    // What the vendor forbids.
    both("5.2.2.4 no-cache", "200 | cc: no-cache, max-age=60 | etag: \"a\"", 1, "", "stale"),
    both("5.2.2.4 no-cache against max-stale", "200 | cc: no-cache, max-age=60 | etag: \"a\"", 1, "cc: max-stale", "stale"),
    both("5.2.2.4 no-cache, nothing to validate by", "200 | cc: no-cache, max-age=60", 1, "", MISS),
    both("5.2.2.4 no-cache with fields", "200 | cc: no-cache=\"x-a\", max-age=60", 1, "", "fresh"),
    both("5.2.2.2 must-revalidate while fresh", "200 | cc: must-revalidate, max-age=60", 1, "", "fresh"),
    both("5.2.2.2 must-revalidate against max-stale", "200 | cc: must-revalidate, max-age=60", 61, "cc: max-stale", "stale"),
    Case { section: "5.2.2.8 proxy-revalidate", first: "", response: "200 | cc: proxy-revalidate, max-age=60", at: 61, second: "cc: max-stale", shared: "stale", private: "fresh" },
    Case { section: "5.2.2.10 s-maxage is proxy-revalidate", first: "", response: "200 | cc: s-maxage=60, max-age=60", at: 61, second: "cc: max-stale", shared: "stale", private: "fresh" },
    // Vary.
    Case { section: "4.1 vary", first: "accept: a", response: "200 | cc: max-age=60 | vary: Accept", at: 1, second: "accept: a", shared: "fresh", private: "fresh" },
    Case { section: "4.1 vary", first: "accept: a", response: "200 | cc: max-age=60 | vary: Accept", at: 1, second: "accept: b", shared: "vary-miss", private: "vary-miss" },
    Case { section: "4.1 vary, absent", first: "accept: a", response: "200 | cc: max-age=60 | vary: Accept", at: 1, second: "", shared: "vary-miss", private: "vary-miss" },
    Case { section: "4.1 vary, absent twice", first: "", response: "200 | cc: max-age=60 | vary: Accept", at: 1, second: "x: y", shared: "fresh", private: "fresh" },
    Case { section: "4.1 vary, blanks", first: "accept: a, b", response: "200 | cc: max-age=60 | vary: Accept", at: 1, second: "accept: a | accept: b", shared: "fresh", private: "fresh" },
    Case { section: "4.1 vary, two lines", first: "accept: a | x: b", response: "200 | cc: max-age=60 | vary: Accept | vary: X", at: 1, second: "accept: a | x: c", shared: "vary-miss", private: "vary-miss" },
    both("4.1 vary: *", "200 | cc: max-age=60 | vary: *", 1, "", MISS),
    both("4.1 vary: * among others", "200 | cc: max-age=60 | vary: accept, *", 1, "", MISS),
    vary("4.1 vary, case counts", "200 | cc: max-age=60 | vary: accept", "accept: a", "accept: A", "vary-miss"),
    vary("4.1 vary, order counts", "200 | cc: max-age=60 | vary: accept", "accept: a, b", "accept: b, a", "vary-miss"),
    vary("4.1 vary, names fold", "200 | cc: max-age=60 | vary: ACCEPT", "accept: a", "accept: a", "fresh"),
    vary("4.1 vary, a name that is none", "200 | cc: max-age=60 | vary: a b", "", "", MISS),
    // "Normalizing both header field values in a way that is known to have identical semantics".
    vary("4.1 vary, 9110 12.5.4 case", "200 | cc: max-age=60 | vary: accept-language", "accept-language: en-GB", "accept-language: EN-gb", "fresh"),
    vary("4.1 vary, 9110 12.5.4 order", "200 | cc: max-age=60 | vary: accept-language", "accept-language: en, de;q=0.5", "accept-language: de;q=0.5 | accept-language: en", "fresh"),
    vary("4.1 vary, 9110 12.5.4 weights", "200 | cc: max-age=60 | vary: accept-language", "accept-language: en, de;q=0.5", "accept-language: en, de", "vary-miss"),
    vary("4.1 vary, 9110 12.5.3 order", "200 | cc: max-age=60 | vary: accept-encoding", "accept-encoding: gzip, br", "accept-encoding: BR,gzip", "fresh"),
    vary("4.1 vary, 9110 12.5.3 absent is not empty", "200 | cc: max-age=60 | vary: accept-encoding", "", "accept-encoding:", "vary-miss"),
    // RFC 9213: only where the cache is everybody's.
    apart("9213 targeted wins", "200 | cc: no-store | cdn-cache-control: max-age=60", 1, "fresh", MISS),
    apart("9213 targeted wins", "200 | cc: max-age=60 | cdn-cache-control: no-store", 1, MISS, "fresh"),
    apart("9213 and puts Expires aside", "200 | expires: @60 | cdn-cache-control: no-cache | etag: \"a\"", 1, "stale", "fresh"),
    apart("9213 2.2 alone", "200 | cdn-cache-control: max-age=60", 1, "fresh", MISS),
    apart("9213 2.2 nothing is merged", "200 | cc: max-age=60 | cdn-cache-control: must-revalidate | etag: \"a\"", 1, "stale", "fresh"),
    apart("9213 2.2 private", "200 | cc: max-age=60 | cdn-cache-control: private, max-age=60", 1, MISS, "fresh"),
    apart("9213 2.2 the shorter may win", "200 | cc: max-age=60 | cdn-cache-control: max-age=5", 6, "stale", "fresh"),
    apart("9213 2.2 unknown directives count as a field", "200 | cc: no-store | cdn-cache-control: ext", 1, MISS, MISS),
    apart("9213 2.1 a lifetime that is no integer", "200 | cc: max-age=60 | cdn-cache-control: max-age=x | etag: \"a\"", 1, "stale", "fresh"),
    apart("9213 2.1 empty: disregarded", "200 | cc: max-age=60 | cdn-cache-control:", 1, "fresh", "fresh"),
    apart("9213 2.1 upper case is malformed: disregarded", "200 | cc: max-age=60 | cdn-cache-control: No-Store", 1, "fresh", "fresh"),
    apart("9213 malformed: disregarded", "200 | cc: max-age=60 | cdn-cache-control: max-age=5 6", 10, "fresh", "fresh"),
    // RFC 5861 does not make an answer fresh.
    both("5861 3", "200 | cc: max-age=60, stale-while-revalidate=60", 61, "", "stale"),
];

/// Stored for nothing but its freshness, which is over; still there until evicted.
const MISS_STALE: &str = "stale";

#[test]
fn every_case_is_decided_as_the_rfc_says() {
    let mut wrong = Vec::new();
    for case in CASES {
        for (sharing, expected) in [(Sharing::Shared, case.shared), (Sharing::Private, case.private)] {
            let world = World::new(sharing);
            let _ = world.fetch(0, case.first, case.response);
            let is = world.ask(case.at, case.second);
            if is != expected {
                wrong.push(format!("{} ({sharing:?}) {}: {is}, not {expected}", case.section, case.response));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(CASES.len() >= 100, "{}", CASES.len());
}

/// Section, method, path, status, `Location`, and whether `/a` is still fresh.
#[rustfmt::skip]
const WRITES: &[(&str, &str, &str, u16, &str, bool)] = &[
    ("4.4 unsafe and no error", "POST", "/a", 200, "", false),
    ("4.4 unsafe and no error", "PUT", "/a", 204, "", false),
    ("4.4 unsafe and no error", "DELETE", "/a", 303, "", false),
    ("4.4 unsafe, unknown method", "M-SEARCH", "/a", 200, "", false),
    ("4.4 safe", "OPTIONS", "/a", 200, "", true),
    ("4.4 safe", "HEAD", "/a", 200, "", true),
    ("4.4 an error", "PUT", "/a", 404, "", true),
    ("4.4 an error", "DELETE", "/a", 500, "", true),
    ("4.4 another target", "PUT", "/b", 200, "", true),
    ("4.4 no ancestors in a plain cache", "PUT", "/a/b", 200, "", true),
    ("4.4 location", "POST", "/b", 201, "/a", false),
    ("4.4 location, relative", "POST", "/b", 201, "a", false),
    ("4.4 location, same origin spelt otherwise", "POST", "/b", 201, "https://API.example:443/a", false),
    ("4.4 location, another origin", "POST", "/b", 201, "https://elsewhere.example/a", true),
    ("4.4 location, another port", "POST", "/b", 201, "https://api.example:8443/a", true),
    ("4.4 and this house: http behind a TLS terminator", "POST", "/b", 201, "http://api.example/a", false),
    ("4.4 location of an error", "POST", "/b", 409, "/a", true),
];

#[test]
fn writes_make_invalid_what_they_are_about() {
    for (section, method, path, status, location, is_fresh) in WRITES {
        let world = World::new(Sharing::Shared);
        world.fetch(0, "", "200 | cc: max-age=60").unwrap();
        world.write(method, path, *status, location);
        let is = world.ask(1, "");
        assert_eq!(is, if *is_fresh { "fresh" } else { MISS }, "{section} {method} {path} {location}");
    }
}

/// Section, what is stored at 0, what a HEAD at 70 is answered, and what a GET at 75 finds.
#[rustfmt::skip]
const HEADS: &[(&str, &str, &str, &str)] = &[
    ("4.3.5 validators agree", "etag: \"a\"", "200 | etag: \"a\"", "fresh"),
    ("4.3.5 validators agree", "last-modified: @-9", "200 | last-modified: @-9", "fresh"),
    ("4.3.5 none says otherwise", "etag: \"a\"", "200", "fresh"),
    ("4.3.5 another tag", "etag: \"a\"", "200 | etag: \"b\"", MISS),
    ("4.3.5 a tag where there was none", "last-modified: @-9", "200 | etag: \"a\"", MISS),
    ("4.3.5 another date", "last-modified: @-9", "200 | last-modified: @-8", MISS),
    ("4.3.5 another length", "etag: \"a\"", "200 | etag: \"a\" | content-length: 1", MISS),
    ("4.3.5 fields are updated", "etag: \"a\"", "200 | cc: max-age=3", "stale"),
    ("4.3.5 fields are updated", "etag: \"a\"", "200 | cc: no-store", MISS),
    ("4.3.5 only a 200 tells", "etag: \"a\"", "404", "stale"),
];

#[test]
fn a_head_tells_about_what_a_get_stored() {
    for (section, stored, response, expected) in HEADS {
        let world = World::new(Sharing::Shared);
        world.fetch(0, "", &format!("200 | cc: max-age=60 | {stored}")).unwrap();
        world.head(70, "", response);
        assert_eq!(&world.ask(75, ""), expected, "{section} {stored} / {response}");
    }
}

#[test]
fn what_is_replayed_is_what_was_stored() {
    // Section 3.1, and the fields of sections 5.2.2.4 and 5.2.2.7.
    let response = "200 | cc: max-age=60, no-cache=\"x-secret\", private=\"x-mine\" | connection: x-hop, close \
                    | keep-alive: 5 | x-hop: 1 | x-secret: 1 | x-mine: 1 | proxy-authenticate: b \
                    | transfer-encoding: chunked | trailer: x | upgrade: h2c | te: x | ratelimit-remaining: 0 \
                    | x-ratelimit-limit: 5 | retry-after: 1 | age: 7 | link: <a> | link: <b> | x-kept: 1";
    let world = World::new(Sharing::Shared);
    world.fetch(0, "", response).unwrap();
    let headers = world.hit(3, "").answer(&Method::GET, &HeaderMap::new(), Shape::Stored).headers;
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["age", "cache-control", "date", "link", "x-kept"]);
    assert_eq!(headers["age"], "10");
    assert_eq!(headers["date"], http_date(0), "RFC 9110, section 6.6.1");
    assert_eq!(headers.get_all("link").iter().count(), 2);
    // A private cache may keep what is private.
    let world = World::new(Sharing::Private);
    world.fetch(0, "", response).unwrap();
    assert!(world.hit(3, "").entry.headers().contains_key("x-mine"));
}

#[test]
fn the_most_recent_variant_is_chosen() {
    // Section 4.1.
    let world = World::new(Sharing::Shared);
    world.fetch(0, "accept: a", "200 | cc: max-age=60 | vary: accept | x: 1").unwrap();
    world.fetch(1, "accept: b", "200 | cc: max-age=60 | vary: accept | x: 2").unwrap();
    assert_eq!(world.hit(2, "accept: a").entry.headers()["x"], "1");
    assert_eq!(world.hit(2, "accept: b").entry.headers()["x"], "2");
    world.fetch(2, "accept: a", "200 | cc: max-age=60 | vary: accept | x: 3").unwrap();
    assert_eq!(world.hit(2, "accept: a").entry.headers()["x"], "3");
    world.fetch(3, "accept: a", "200 | cc: max-age=60 | x: 4").unwrap();
    assert_eq!(world.hit(3, "accept: b").entry.headers()["x"], "4");
    // One that was on its way for long does not take the place of a later one.
    world.fetch(2, "accept: a", "200 | cc: max-age=60 | x: 5").unwrap();
    assert_eq!(world.hit(3, "accept: b").entry.headers()["x"], "4");
}

#[test]
fn delay_counts_as_age() {
    // Section 4.2.3: response_delay.
    let world = World::new(Sharing::Shared);
    world.fetch_slowly(0, 20, "", "200 | cc: max-age=60 | age: 5").unwrap();
    assert_eq!(world.hit(30, "").age, Duration::from_secs(35));
    assert_eq!(world.hit(30, "").ttl, 25);
    assert_eq!(world.ask(55, ""), "stale");
    let hit = world.hit(75, "cc: max-stale");
    assert_eq!((hit.age, hit.ttl), (Duration::from_secs(80), -20));
}
