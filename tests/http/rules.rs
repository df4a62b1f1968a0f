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
