//! What weir refuses itself: none of it reaches the vendor, all of it speaks the vendor's language.

use http::Method;
use weir::emulator::Emulator;

use super::{ROOMY, bearer, front, vendor};
use crate::support::{Caller, Reply, Weir, Wire, catchpoint, once, token_of};

/// A refusal: its status, the envelope, no price and nothing sent.
fn assert_refused(vendor: &Emulator, reply: &Reply, status: u16, words: &str) {
    assert_eq!(reply.status.as_u16(), status, "{words}: {reply:?}");
    assert!(reply.error().contains(words), "{words}: {}", reply.error());
    assert_eq!((reply.json()["completed"].as_bool(), reply.json()["data"].is_null()), (Some(false), true));
    assert_eq!(reply.json()["traceId"], reply.header("x-request-id"));
    assert!(reply.header("content-type").starts_with("application/json"), "{reply:?}");
    assert!(reply.header("proxy-status").starts_with("weir;error="), "{reply:?}");
    assert_eq!((reply.price(), reply.header("cache-control")), (0, "no-store"));
    assert_eq!(vendor.requests().len(), 0, "{words}");
}

#[tokio::test]
async fn ambiguous_paths_are_refused_in_the_envelope() {
    let vendor = vendor().await;
    let (weir, _) = front(&vendor, "");
    let rows = [
        ("/api/v2/../v2/tests", "dot segment"),
        ("/api/v2/./tests", "dot segment"),
        ("/api/v2/%2e%2E/tests", "dot segment"),
        ("/api/v2/..;x/tests", "dot segment"),
        ("/api/v2/.%2e%3bx/tests", "dot segment"),
        ("/api/v2%2Ftests", "slash"),
        ("/api/v2%5ctests", "slash"),
        ("/api/v2\\tests", "slash"),
        ("/api//v2/tests", "empty segment"),
        ("//api/v2/tests", "empty segment"),
        ("/api/v2/tests%00", "control"),
        ("/api/v2/tests%0d%0aX:y", "control"),
        ("/api/v2/tests%7f", "control"),
        ("/api/v2/tests\u{7f}", "control"),
        ("/api/v2/tests?a=\u{7f}", "control"),
        ("/api/v2/tests%252f..", "twice"),
        ("/api/v2/tests%zz", "%"),
        ("/api/v2/tests?a=%2", "%"),
        ("/api/v2/t%C0%AE", "UTF-8"),
        ("/api/v2/t\u{e9}sts", "percent-encoded"),
        ("http://elsewhere.example/api//v2", "empty segment"),
        ("*", "begin with"),
    ];
    for (target, words) in rows {
        let request = format!("GET {target} HTTP/1.1\r\nHost: weir\r\n{}\r\n", bearer("grafana"));
        let reply = once(weir.address(), request).await;
        assert!(!reply.body.is_empty(), "{target:?}");
        assert_refused(&vendor, &reply, 400, words);
    }
    let long = format!("GET /api/v2/tests?a={} HTTP/1.1\r\nHost: weir\r\n\r\n", "a".repeat(8_200));
    assert_refused(&vendor, &once(weir.address(), long).await, 400, "8 KiB");
}

#[tokio::test]
async fn methods_and_protocols_that_are_not_passed_on() {
    let vendor = vendor().await;
    let (weir, _) = front(&vendor, "");
    let path = "/api/v2/tests";
    let rows = [
        (format!("TRACE {path} HTTP/1.1\r\nHost: weir\r\n"), 405, "method"),
        (format!("GET {path} HTTP/1.1\r\nHost: weir\r\nX-HTTP-Method-Override: DELETE\r\n"), 405, "override"),
        (format!("POST {path} HTTP/1.1\r\nHost: weir\r\nX-HTTP-Method: GET\r\n"), 405, "override"),
        (format!("POST {path} HTTP/1.1\r\nHost: weir\r\nX-Method-Override: GET\r\n"), 405, "override"),
        ("CONNECT io.catchpoint.com:443 HTTP/1.1\r\nHost: io.catchpoint.com\r\n".into(), 501, "CONNECT"),
        (
            format!("GET {path} HTTP/1.1\r\nHost: weir\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"),
            501,
            "upgrades",
        ),
        (format!("GET {path} HTTP/1.1\r\nHost: weir\r\nUpgrade: h2c, websocket\r\n"), 501, "upgrades"),
        (format!("GET {path} HTTP/1.1\r\n"), 400, "no Host"),
        (format!("GET {path} HTTP/1.1\r\nHost: weir\r\nHost: other\r\n"), 400, "more than one Host"),
        (format!("GET {path} HTTP/1.1\r\nHost: a b\r\n"), 400, "not a host"),
    ];
    for (head, status, words) in rows {
        let reply = once(weir.address(), format!("{head}{}\r\n", bearer("grafana"))).await;
        assert_refused(&vendor, &reply, status, words);
        assert_eq!(!reply.header("allow").is_empty(), status == 405, "{words}");
    }
}

#[tokio::test]
async fn two_framings_of_one_body_never_reach_the_vendor_as_two() {
    let vendor = vendor().await;
    let (weir, _) = front(&vendor, "");
    let mut wire = Wire::connect(weir.address()).await;
    let hidden = "GET /api/v2/nodes HTTP/1.1\r\nHost: weir\r\n\r\n";
    let head = format!("POST /api/v2/tests HTTP/1.1\r\nHost: weir\r\n{}", bearer("grafana"));
    wire.send(format!("{head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"))
        .await;
    let first = wire.answer().await;
    assert!(matches!(first.status.as_u16(), 400 | 403), "{first:?}");
    assert_eq!(vendor.requests().len(), 0);
    let twice = format!("{head}Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef");
    assert_eq!(once(weir.address(), twice).await.status, 400);
    assert_eq!(vendor.requests().len(), 0);
}

#[tokio::test]
async fn who_is_not_known_learns_nothing_else() {
    let vendor = vendor().await;
    let away = catchpoint(&vendor.url(), ROOMY, &[("grafana", "web", ""), ("away", "web", "")]);
    let away = away.replace("[consumers.away]\n", "[consumers.away]\nfrom = [\"192.0.2.0/24\"]\n");
    let weir = Weir::start(&away);
    let nobody = Caller::at(format!("http://{}", weir.address()), None);
    let mut bodies = Vec::new();
    for reply in [
        nobody.get("/api/v2/tests").await,
        weir.caller("weir_guess").get("/api/v2/tests").await,
        weir.caller(&token_of("away")).get("/api/v2/tests").await,
        weir.caller("weir_guess").ask(Method::POST, "/api/v2/tests", &[], "{}").await,
        nobody.get_with("/api/v2/tests", &[("authorization", "Basic Zm9vOmJhcg==")]).await,
        weir.caller(&token_of("grafana")).get_with("/api/v2/tests", &[("authorization", "Bearer x")]).await,
    ] {
        assert_refused(&vendor, &reply, 401, "Invalid credentials");
        assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"weir\"");
        assert_eq!(reply.header("ratelimit"), "");
        let mut body = reply.json();
        body["traceId"].take();
        bodies.push((body, reply.header("proxy-status").to_owned()));
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
}

#[tokio::test]
async fn failed_sign_ins_are_limited_and_good_tokens_are_not() {
    let vendor = vendor().await;
    let (weir, grafana) = front(&vendor, "");
    let guesser = weir.caller("weir_guess");
    let mut last = guesser.get("/api/v2/tests").await;
    for _ in 0..20 {
        last = guesser.get("/api/v2/tests").await;
    }
    assert_refused(&vendor, &last, 429, "too many failed sign-ins");
    let seconds: u64 = last.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(grafana.get("/api/v2/tests").await.status, 200);
}

#[tokio::test]
async fn writes_need_leave_and_rules_are_the_consumers_own() {
    let vendor = vendor().await;
    let allow = "allow = [\"GET /api/v2/nodes/**\", \"DELETE /api/v2/tests/*\"]";
    let consumers = [("grafana", "web", ""), ("nodes", "web", allow)];
    let weir = Weir::start(&catchpoint(&vendor.url(), ROOMY, &consumers));
    let (grafana, nodes) = (weir.caller(&token_of("grafana")), weir.caller(&token_of("nodes")));
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
        let reply = grafana.ask(method, "/api/v2/tests/1", &[], "").await;
        assert_refused(&vendor, &reply, 403, "not allowed");
    }
    assert_refused(&vendor, &nodes.get("/api/v2/tests").await, 403, "not allowed to GET");
    assert_eq!(nodes.get("/api/v2/nodes").await.status, 200);
    assert_eq!(nodes.ask(Method::HEAD, "/api/v2/nodes/all", &[], "").await.status, 200);
    let delete = nodes.ask(Method::DELETE, "/api/v2/tests/100001", &[], "").await;
    assert_eq!(delete.json()["completed"], true);
}

#[tokio::test]
async fn what_the_documents_refuse_costs_nothing() {
    let vendor = vendor().await;
    let (_weir, grafana) = front(&vendor, "");
    for (target, words) in [
        ("/api/v2/tests/explorer/raw?startTimeUtc=yesterday", "startTimeUtc must be a time"),
        ("/api/v2/tests/alerts?endTimeUtc=2026-13-01T00%3A00:00", "endTimeUtc must be a time"),
        ("/api/v2/tests?pageSize=101", "at most 100"),
        ("/api/v2/tests/errors/raw?pageSize=201", "at most 200"),
        ("/api/v2/tests?pageNumber=0", "pageNumber"),
    ] {
        assert_refused(&vendor, &grafana.get(target).await, 400, words);
    }
    assert_eq!(grafana.get("/api/v2/tests/errors/raw?pageSize=200").await.price(), 1);
}

#[tokio::test]
async fn versions_are_refused_or_warned_of_once() {
    let vendor = vendor().await;
    let (weir, grafana) = front(&vendor, "versions = { warn = [\"v2\"], refuse = [\"v1\"] }\n");
    assert_refused(&vendor, &grafana.get("/API/V1/tests").await, 403, "version v1");
    for page in 1..4 {
        assert_eq!(grafana.get(&format!("/api/v2/tests?pageNumber={page}")).await.status, 200);
    }
    let warned = |line: &serde_json::Value| {
        line["message"].as_str().is_some_and(|text| text.contains("will not be allowed"))
    };
    let lines = weir.logged(warned).await;
    assert_eq!((lines.len(), &lines[0]["consumer"]), (1, &"grafana".into()));
}

#[tokio::test]
async fn the_inbound_rate_guards_cache_hits_too() {
    let vendor = vendor().await;
    let config = catchpoint(&vendor.url(), ROOMY, &[("grafana", "web", "")]);
    let weir =
        Weir::start(&config.replace("[consumers.grafana]\n", "[consumers.grafana]\ninbound = \"3/1h\"\n"));
    let grafana = weir.caller(&token_of("grafana"));
    for price in [1, 0, 0] {
        assert_eq!(grafana.get("/api/v2/tests").await.price(), price);
    }
    let fourth = grafana.get("/api/v2/tests").await;
    assert_eq!((fourth.status.as_u16(), fourth.price()), (429, 0));
    assert!(fourth.error().contains("inbound rate"), "{}", fourth.error());
    assert_eq!(fourth.header("proxy-status"), "weir;error=http_request_denied;details=\"inbound rate\"");
    assert!((1_100..=1_200).contains(&fourth.header("retry-after").parse::<u32>().unwrap()));
}

#[tokio::test]
async fn heads_that_are_too_large_are_told_so() {
    let vendor = vendor().await;
    let (weir, grafana) = front(&vendor, "");
    let head = format!("GET /api/v2/tests HTTP/1.1\r\nHost: weir\r\n{}", bearer("grafana"));
    let fat = format!("{head}X-Fat: {}\r\n\r\n", "f".repeat(70_000));
    assert_eq!(once(weir.address(), fat).await.status, 431);
    let many: String = (0..120).map(|n| format!("X-{n}: 1\r\n")).collect();
    assert_eq!(once(weir.address(), format!("{head}{many}\r\n")).await.status, 431);
    let fat = "f".repeat(70_000);
    let by_h2 = grafana.http2().get_with("/api/v2/tests", &[("x-fat", fat.as_str())]).await;
    assert_eq!(by_h2.status, 431);
    assert_eq!(vendor.requests().len(), 0);
}

#[tokio::test]
async fn only_if_cached_asks_nobody() {
    let vendor = vendor().await;
    let (_weir, grafana) = front(&vendor, "");
    let only = [("cache-control", "only-if-cached")];
    let cold = grafana.get_with("/api/v2/tests", &only).await;
    assert_refused(&vendor, &cold, 504, "only-if-cached");
    grafana.get("/api/v2/tests").await;
    assert_eq!(grafana.get_with("/api/v2/tests", &only).await.status, 200);
    assert_eq!(vendor.requests().len(), 1);
}
