//! What cache rules make of requests: searches by POST, windows of time, errors that are kept.

use http::Method;
use weir::emulator::Emulator;

use super::{canned, consumer, echo, generic};
use crate::support::{Caller, Reply, Weir, token_of};

/// weir in front of an echoing vendor, with these rules and a consumer who may do anything.
async fn front(rules: &str) -> (Emulator, Weir, Caller) {
    let vendor = echo().await;
    let config = generic("echo", &vendor, rules) + &consumer("all", &["echo"]);
    let weir = Weir::start(&config.replace("access.echo = {}", "access.echo = { allow = [\"* /**\"] }"));
    let caller = weir.caller(&token_of("all"));
    (vendor, weir, caller)
}

const SEARCH: &str = "[[upstreams.echo.cache]]\nmatch = \"POST /search\"\nmethods = [\"POST\"]\nttl = \"1h\"\n\
                      negative = { 404 = \"1h\" }\n";

async fn search(caller: &Caller, content_type: &str, body: &str) -> Reply {
    caller.ask(Method::POST, "/search", &[("content-type", content_type)], body).await
}

#[tokio::test]
async fn a_search_by_post_is_kept_by_what_it_says() {
    let (vendor, _weir, caller) = front(SEARCH).await;
    const JSON: &str = "application/json; charset=utf-8";
    let mut prices = Vec::new();
    for body in [
        r#"{ "limit": 10, "keywords": ["a", "b"] }"#,
        r#"{"keywords":["\u0061","b"],"limit":10}"#,
        r#"{"keywords":["b","a"],"limit":10}"#,
        r#"{"keywords":["a","b"],"limit":10.0}"#,
    ] {
        prices.push(search(&caller, JSON, body).await.price());
    }
    assert_eq!(prices, [1, 0, 1, 1], "order of members and escapes do not matter, all else does");
    let sent = vendor.requests();
    assert_eq!(sent[0].body.as_deref(), Some(&br#"{"keywords":["a","b"],"limit":10}"#[..]));
    assert_eq!(sent[0].header("content-type"), Some("application/json"));
    // What has no canonical form goes on as it came, each time.
    let long = format!("[\"{}\"]", "x".repeat(70_000));
    for (content_type, body) in
        [("text/plain", r#"{"a":1}"#), (JSON, r#"{"a":1,"a":1}"#), (JSON, "{\"a\" :"), (JSON, long.as_str())]
    {
        vendor.forget_requests();
        for _ in 0..2 {
            assert_eq!(search(&caller, content_type, body).await.price(), 1, "{content_type} {:.20}", body);
        }
        let sent = vendor.requests();
        assert!(
            sent.len() == 2 && sent.iter().all(|seen| seen.body.as_deref() == Some(body.as_bytes())),
            "{:.20}",
            body
        );
    }
}

/// It is a read because the rule says so: it makes nothing untrue. And an error is
/// kept if the rule names it.
#[tokio::test]
async fn a_search_invalidates_nothing_and_its_error_may_be_kept() {
    let (vendor, _weir, caller) = front(SEARCH).await;
    vendor.script("/", canned(200, &[("cache-control", "max-age=60")], "x")).unwrap();
    assert_eq!(caller.get("/").await.price(), 1);
    assert_eq!(search(&caller, "application/json", "{}").await.price(), 1);
    assert_eq!(caller.get("/").await.price(), 0);
    vendor.script("/search", canned(404, &[], "none")).unwrap();
    let prices =
        [search(&caller, "application/json", "[]").await, search(&caller, "application/json", "[ ]").await];
    assert_eq!(prices.map(|reply| (reply.status.as_u16(), reply.price())), [(404, 1), (404, 0)]);
}

#[tokio::test]
async fn windows_are_rounded_alike_in_key_and_request() {
    let rule = "[[upstreams.echo.cache]]\nmatch = \"GET /data\"\nttl = \"0s\"\n\
                snap = { start = \"startTime\", end = \"endTime\", step = \"1m\", settled_ttl = \"1d\" }\n";
    let (vendor, _weir, caller) = front(rule).await;
    let past = |second: u32| {
        format!("/data?startTime=2026-01-31T09:45:{second:02}&endTime=2026-01-31T10:45:{second:02}")
    };
    assert_eq!(caller.get(&past(7)).await.price(), 1);
    assert_eq!(caller.get(&past(52)).await.price(), 0, "another second of the same minute");
    let sent = &vendor.requests()[0];
    assert_eq!(sent.target, "/data?endTime=2026-01-31T10:45:00&startTime=2026-01-31T09:45:00");
    let future = "/data?startTime=2026-01-31T09:45:00&endTime=2999-01-31T10:45:00";
    for _ in 0..2 {
        assert_eq!(caller.get(future).await.price(), 1, "it has not settled, so the rule's own ttl holds");
    }
}

#[tokio::test]
async fn what_a_rule_ignores_the_vendor_might_as_well_not_have_said() {
    let rule = "[[upstreams.echo.cache]]\nmatch = \"GET /ignored\"\nignore = [\"cache-control\", \"vary\"]\n\
                [[upstreams.echo.cache]]\nmatch = \"GET /half\"\nignore = [\"cache-control\"]\n";
    let (vendor, _weir, caller) = front(rule).await;
    let fields = [("cache-control", "no-store"), ("vary", "*"), ("expires", "Tue, 01 Jan 2999 00:00:00 GMT")];
    for (path, prices) in [("/ignored", [1, 0, 0]), ("/half", [1, 1, 1]), ("/heeded", [1, 1, 1])] {
        vendor.script(path, canned(200, &fields, "x")).unwrap();
        for price in prices {
            let reply = caller.get(path).await;
            assert_eq!(reply.price(), price, "{path}");
            assert_eq!(reply.header("cache-control"), "no-store", "callers are told it all the same");
        }
    }
}

#[tokio::test]
async fn what_a_rule_names_is_in_the_key_and_in_the_request_and_nothing_else() {
    let rule = "[[upstreams.echo.cache]]\nmatch = \"GET /**\"\nttl = \"1h\"\n\
                key = { ignore_query = [\"_\", \"utm\"], headers = [\"Accept-Language\"] }\n";
    let (vendor, _weir, caller) = front(rule).await;
    for (path, fields, price) in [
        ("/a?x=1&_=1", &[("accept-language", "en")][..], 1),
        ("/a?_=2&x=1&utm=b&_=3", &[("accept-language", "en"), ("x-trace", "2")], 0),
        ("/a?x=1", &[("accept-language", "de")], 1),
        ("/a?x=1", &[], 1),
        ("/a?x=2", &[("accept-language", "en")], 1),
        ("/a?x=1&__=1", &[("accept-language", "en")], 1),
    ] {
        assert_eq!(caller.get_with(path, fields).await.price(), price, "{path} {fields:?}");
    }
    let sent: Vec<_> = vendor.requests();
    let targets: Vec<_> = sent.iter().map(|seen| seen.target.as_str()).collect();
    assert_eq!(targets, ["/a?x=1", "/a?x=1", "/a?x=1", "/a?x=2", "/a?__=1&x=1"]);
    let languages: Vec<_> = sent.iter().map(|seen| seen.header("accept-language")).collect();
    assert_eq!(languages, [Some("en"), Some("de"), None, Some("en"), Some("en")]);
    assert!(sent.iter().all(|seen| seen.header("x-trace").is_none()));
}

#[tokio::test]
async fn errors_are_kept_as_long_as_the_rule_says_and_others_not_at_all() {
    let rule = "[[upstreams.echo.cache]]\nmatch = \"GET /**\"\nttl = \"1h\"\n\
                negative = { 404 = \"1s\", 410 = \"1h\", 500 = \"1h\" }\n";
    let (vendor, _weir, caller) = front(rule).await;
    let said = [("cache-control", "no-store")];
    for (path, status, prices) in
        [("/n404", 404, [1, 0]), ("/n410", 410, [1, 0]), ("/n500", 500, [1, 0]), ("/n403", 403, [1, 1])]
    {
        vendor.script(path, canned(status, &said, "none")).unwrap();
        for price in prices {
            let reply = caller.get(path).await;
            assert_eq!(
                (reply.status.as_u16(), reply.price(), &reply.body[..]),
                (status, price, &b"none"[..])
            );
        }
    }
    // What was not there a moment ago may be there now, and is then kept as an answer.
    super::failing::a_second().await;
    for (path, prices) in [("/n404", [1, 0]), ("/n410", [0, 0])] {
        vendor.script(path, canned(200, &[], "there")).unwrap();
        for price in prices {
            assert_eq!(caller.get(path).await.price(), price, "{path}");
        }
    }
    assert_eq!(caller.get("/n404").await.body, "there");
}

/// RFC 9211, also where weir answers for itself.
#[tokio::test]
async fn every_answer_has_a_cache_status() {
    let (vendor, weir, caller) = front("").await;
    vendor.script("/kept", canned(200, &[("cache-control", "max-age=60")], "x")).unwrap();
    let stranger = weir.caller("weir_nobody");
    for (reply, status) in [
        (caller.get("/kept").await, "weir;fwd=uri-miss;fwd-status=200;stored"),
        (caller.get("/kept").await, "weir;hit;ttl="),
        (
            caller.get_with("/none", &[("cache-control", "only-if-cached")]).await,
            "weir;detail=only-if-cached",
        ),
        (caller.get("/a//b").await, "weir;detail=bad-target"),
        (stranger.get("/kept").await, "weir;detail=unknown_token"),
    ] {
        let is = reply.header("cache-status");
        let is_so = if status.ends_with('=') { is.starts_with(status) } else { is == status };
        assert!(is_so, "{is}, not {status}");
    }
    vendor.shutdown().await;
    let down = caller.get("/down").await;
    assert!(
        down.header("cache-status").starts_with("weir;fwd=uri-miss;detail="),
        "{}",
        down.header("cache-status")
    );
}
