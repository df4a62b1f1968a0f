//! Law 11: one cache key, one request. Two callers spell one request in every way
//! that the tests can think of; what the vendor sees of them is the same bytes.
//!
//! Each case is asked of two weirs in front of one vendor: both spellings of the
//! first, and the second spelling alone of the other. So whatever the first
//! weir's answer to the second caller was fetched by can be compared with what
//! that caller would have sent.

use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::TestRunner;
use weir::emulator::{Emulator, Seen};

use super::{OTHER_KEY, ROOMY, bearer, echo};
use crate::support::{Reply, VENDOR_KEY, Weir, catchpoint, once, token_of};

/// Two consumers of one division, one of another that shares its key, one with its own.
const CALLERS: [&str; 4] = ["alice", "bob", "carol", "other"];

/// Fields that may not make a difference.
const HARMLESS: &[(&str, &str)] = &[
    ("Accept", "*/*"),
    ("ACCEPT", "application/json"),
    ("accept", "text/html, application/xhtml+xml, */*;q=0.8"),
    ("Accept", "Application/JSON ; q=0.5"),
    ("Accept", "application/xml"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Encoding", "identity;q=1, *;q=0"),
    ("Accept-Language", "de-CH, de;q=0.9"),
    ("Accept-Charset", "latin1"),
    ("User-Agent", "Grafana/11.2"),
    ("Cookie", "session=1; b=2"),
    ("Referer", "https://inside.example/x"),
    ("Origin", "https://inside.example"),
    ("X-Forwarded-For", "10.0.0.1"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Proto", "http"),
    ("X-Original-URL", "/api/v2/other"),
    ("X-Rewrite-URL", "/api/v2/other"),
    ("Forwarded", "for=10.0.0.1;host=evil.example"),
    ("X-Real-IP", "10.0.0.1"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("tracestate", "a=b"),
    ("baggage", "user=1"),
    ("X-Request-Id", "mine"),
    ("X-Correlation-Id", "mine"),
    ("If-None-Match", "\"abc\""),
    ("If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("Range", "bytes=0-3"),
    ("If-Range", "\"abc\""),
    ("Cache-Control", "max-age=3600"),
    ("Cache-Control", "max-stale, no-transform"),
    ("Prefer", "wait=9"),
    ("Prefer", "return=minimal"),
    ("Priority", "u=0, i"),
    ("Content-Type", "application/json"),
    ("Content-Language", "de"),
    ("Via", "1.0 edge"),
    ("Max-Forwards", "3"),
    ("DNT", "1"),
    ("Sec-Fetch-Mode", "cors"),
    ("Upgrade-Insecure-Requests", "1"),
    ("X-Api-Key", "guess"),
    ("X-Http-Version", "1"),
    ("Weir-Price", "0"),
    ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
];

/// The same, of HTTP/1 only: these are about one connection.
const HOPS: &[(&str, &str)] = &[
    ("Connection", "X-Hop, Accept"),
    ("Connection", "Authorization, Via, Host"),
    ("X-Hop", "1"),
    ("Keep-Alive", "timeout=5"),
    ("TE", "trailers, deflate;q=0.5"),
    ("Trailer", "X-Trailer"),
    ("Content-Length", "0"),
    ("Proxy-Authorization", "Basic Zm9vOmJhcg=="),
    ("Proxy-Connection", "keep-alive"),
    ("Upgrade", "h2c"),
    ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
];

/// Fields that may make a difference, and then one that the key knows of.
const SHAPING: &[(&str, &str)] = &[
    ("Accept", "text/plain"),
    ("Accept", "text/json, text/plain;q=0.1"),
    ("Cache-Control", "no-cache"),
    ("Cache-Control", "no-store"),
    ("Cache-Control", "max-age=0"),
    ("Cache-Control", "only-if-cached"),
    ("Pragma", "no-cache"),
    ("If-Match", "\"abc\""),
    ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("Transfer-Encoding", "chunked"),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Protocol {
    Http10,
    Http11,
    Absolute,
    Http2,
}

/// One way to ask for `path?query`.
#[derive(Clone, Debug)]
struct Spelling {
    caller: &'static str,
    protocol: Protocol,
    host: &'static str,
    fields: Vec<(&'static str, &'static str)>,
    path: String,
    query: String,
}

fn spellings() -> impl Strategy<Value = (Spelling, Spelling)> {
    // Stands for the number that makes a case cold: digits are unreserved, too.
    let path = "/api/v2/tests/#";
    let names = vec!["a", "A", "pageNumber", "x-y", "t~", "b"];
    let values =
        prop::collection::vec(select(vec!["1", "", "2026-01-01T00:00:00", "a,b/c@d", "%2B%26=", "+x"]), 6);
    (subsequence(names, 0..=6), values, any::<bool>()).prop_flat_map(move |(names, values, twice)| {
        let mut pairs: Vec<(&str, &str)> =
            names.into_iter().filter(|name| *name != "pageNumber").zip(values).collect();
        if let (true, Some((name, _))) = (twice, pairs.first().copied()) {
            pairs.push((name, "again"));
        }
        (spelling(path, pairs.clone()), spelling(path, pairs))
    })
}

fn spelling(path: &'static str, pairs: Vec<(&'static str, &'static str)>) -> impl Strategy<Value = Spelling> {
    let fields = subsequence(HARMLESS, 0..=6).prop_shuffle();
    let hops = subsequence(HOPS, 0..=2);
    let shaping = prop_oneof![4 => Just(None), 1 => select(SHAPING).prop_map(Some)];
    let protocol = select(vec![Protocol::Http10, Protocol::Http11, Protocol::Absolute, Protocol::Http2]);
    let host = select(vec!["weir", "WEIR:80", "evil.example", "127.0.0.1", "[::1]:8080"]);
    let noise = prop::collection::vec(any::<u8>(), 128);
    (select(&CALLERS[..]), protocol, host, fields, (hops, shaping, noise)).prop_map(
        move |(caller, protocol, host, mut fields, (hops, shaping, noise))| {
            if protocol != Protocol::Http2 {
                fields.extend(hops);
            }
            fields.extend(
                shaping.filter(|(name, _)| (protocol == Protocol::Http11) || *name != "Transfer-Encoding"),
            );
            let mut noise = noise.into_iter().cycle();
            let query = query(&pairs, &mut noise);
            Spelling { caller, protocol, host, fields, path: escape(path, "/", &mut noise), query }
        },
    )
}

/// The pairs in another order (of one name: in theirs), spelt in another way.
fn query(pairs: &[(&str, &str)], noise: &mut impl Iterator<Item = u8>) -> String {
    let mut pieces: Vec<(&str, String)> = Vec::new();
    for (name, value) in pairs {
        let at = usize::from(noise.next().unwrap()) % (pieces.len() + 1);
        let after = pieces.iter().rposition(|(other, _)| other == name).map_or(0, |last| last + 1);
        let piece = format!("{}={}", escape(name, "", noise), escape(value, ":,/@=+", noise));
        pieces.insert(at.max(after), (name, piece));
    }
    let separator = |noise: &mut dyn Iterator<Item = u8>| if noise.next().unwrap() < 40 { "&&" } else { "&" };
    pieces.into_iter().map(|(_, piece)| piece + separator(noise)).collect()
}

/// Some unreserved characters of `text` escaped, in either case, and some of
/// `:,/@`; what is escaped already, and `kept`, stays. `#` stays for the number.
fn escape(text: &str, kept: &str, noise: &mut impl Iterator<Item = u8>) -> String {
    let mut escapes_left = 0;
    let spell = |c: char| {
        let dice = noise.next().unwrap();
        escapes_left = if c == '%' { 4u8 } else { escapes_left }.saturating_sub(1);
        let may = escapes_left == 0 && !"%#=+".contains(c) && (!kept.contains(c) || ":,@".contains(c));
        match dice {
            0..30 if may && c != '/' => format!("%{:02X}", u32::from(c)),
            30..60 if may && c != '/' => format!("%{:02x}", u32::from(c)),
            _ => c.to_string(),
        }
    };
    text.chars().map(spell).collect()
}

impl Spelling {
    /// Asks `weir` for it, with `number` to make it another thing than before.
    async fn ask(&self, weir: &Weir, number: u64) -> Reply {
        let target = format!("{}?{}", self.path.replace('#', &number.to_string()), self.query);
        let target = target.trim_end_matches('?');
        if self.protocol == Protocol::Http2 {
            let fields: Vec<_> = self.fields.iter().map(|(name, value)| (*name, *value)).collect();
            return weir.caller(&token_of(self.caller)).http2().get_with(target, &fields).await;
        }
        let (target, version) = match self.protocol {
            Protocol::Http10 => (target.to_owned(), "1.0"),
            Protocol::Absolute => (format!("http://{}{target}", self.host), "1.1"),
            Protocol::Http11 | Protocol::Http2 => (target.to_owned(), "1.1"),
        };
        let lines: String = self.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head =
            format!("GET {target} HTTP/{version}\r\nHost: {}\r\n{}{lines}", self.host, bearer(self.caller));
        let chunked = if lines.contains("Transfer-Encoding") { "0\r\n\r\n" } else { "" };
        once(weir.address(), format!("{head}Connection: close\r\n\r\n{chunked}")).await
    }

    fn is_harmless(&self) -> bool {
        self.fields.iter().all(|field| !SHAPING.contains(field))
    }

    fn key(&self) -> &'static str {
        if self.caller == "other" { OTHER_KEY } else { VENDOR_KEY }
    }
}

fn config(vendor: &Emulator) -> String {
    let more = format!(
        "{ROOMY}keys.other.value = \"{OTHER_KEY}\"\n[upstreams.catchpoint.divisions.api]\nkey = \"other\"\n"
    );
    let consumers = [("alice", "web", ""), ("bob", "web", ""), ("carol", "ops", ""), ("other", "api", "")];
    catchpoint(&vendor.url(), &more, &consumers)
}

/// What was sent for `ask`, and its answer.
async fn sent(vendor: &Emulator, ask: impl Future<Output = Reply>) -> (Vec<Seen>, Reply) {
    let before = usize::try_from(vendor.total()).unwrap();
    let reply = ask.await;
    (vendor.requests().split_off(before), reply)
}

/// As the vendor saw it, but for the key.
fn unsigned(seen: &Seen) -> String {
    let head = String::from_utf8(seen.wire()).unwrap();
    head.replace(OTHER_KEY, "KEY").replace(VENDOR_KEY, "KEY")
}

#[test]
fn one_cache_key_one_request() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let vendor = runtime.block_on(echo());
    let (first, second) = (Weir::start(&config(&vendor)), Weir::start(&config(&vendor)));
    let number = AtomicU64::new(0);
    let (hits, misses) = (AtomicU64::new(0), AtomicU64::new(0));
    let config = ProptestConfig { cases: 160, source_file: Some(file!()), ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(&spellings(), |(one, other)| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        runtime.block_on(async {
            let (one_sent, one_reply) = sent(&vendor, one.ask(&first, number)).await;
            let (again, reply) = sent(&vendor, other.ask(&first, number)).await;
            let (alone, cold) = sent(&vendor, other.ask(&second, number)).await;
            prop_assert!(one_reply.status.as_u16() < 500 || !one.is_harmless(), "{one_reply:?}");
            prop_assert!(reply.status != 400 && cold.status != 400, "{reply:?} {cold:?}");
            prop_assert!(one_sent.len() <= 1 && again.len() <= 1 && alone.len() <= 1);
            for (spelling, seen) in
                one_sent.iter().map(|s| (&one, s)).chain(again.iter().chain(&alone).map(|s| (&other, s)))
            {
                let key = format!("Bearer {}", spelling.key());
                prop_assert_eq!(seen.header("authorization"), Some(key.as_str()));
            }
            if let (Some(again), Some(alone)) = (again.first(), alone.first()) {
                // What was asked before makes no difference to what is sent.
                prop_assert_eq!(unsigned(again), unsigned(alone));
            }
            let shared = again.is_empty() && reply.status.is_success();
            hits.fetch_add(u64::from(shared), Ordering::Relaxed);
            misses.fetch_add(u64::from(!shared), Ordering::Relaxed);
            if let (true, Some(alone)) = (shared, alone.first()) {
                prop_assert_eq!(one_sent[0].wire(), alone.wire(), "one key, two requests");
                prop_assert_eq!(one.key(), other.key(), "one key's answer under another's");
            }
            if one.is_harmless() && other.is_harmless() {
                prop_assert_eq!(again.is_empty(), one.key() == other.key(), "{:?}", reply);
                prop_assert_eq!(unsigned(&one_sent[0]), unsigned(&alone[0]));
            }
            Ok(())
        })
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let (hits, misses) = (hits.into_inner(), misses.into_inner());
    assert!(hits > 20 && misses > 20, "{hits} shared, {misses} not: the cases prove little");
}
