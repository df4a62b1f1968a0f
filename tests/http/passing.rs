//! What goes on: towards the vendor, and back.

use http::{Method, Request, Version};
use weir::emulator::{Links, Options};

use super::{ROOMY, bearer, canned, consumer, echo, front, generic, vendor, vendor_with};
use crate::support::{VENDOR_KEY, Weir, Wire, catchpoint, once, token_of};

/// A weir whose consumer may do everything, in front of an echo.
async fn open() -> (weir::emulator::Emulator, Weir) {
    let vendor = echo().await;
    let allowed = consumer("all", &["echo"]).replace("{}", "{ allow = [\"* /**\"] }");
    let weir = Weir::start(&(generic("echo", &vendor, "mount = \"/e\"") + &allowed));
    (vendor, weir)
}

#[tokio::test]
async fn a_megabyte_of_chunks_streams_through() {
    let (vendor, weir) = open().await;
    let mut wire = Wire::connect(weir.address()).await;
    let head = format!("POST /e/up?b=2&a=1 HTTP/1.1\r\nHost: weir\r\n{}", bearer("all"));
    wire.send(format!("{head}Content-Type: text/x\r\nTransfer-Encoding: chunked\r\n\r\n")).await;
    let chunk = "x".repeat(64 * 1_024);
    for _ in 0..16 {
        wire.send(format!("{:x};ext=1\r\n{chunk}\r\n", chunk.len())).await;
    }
    wire.send("0\r\nX-Trailer: 1\r\n\r\n").await;
    assert_eq!(wire.answer().await.status, 200);
    let seen = vendor.requests().remove(0);
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/up?a=1&b=2"));
    assert_eq!(seen.body.as_deref(), Some(chunk.repeat(16).as_bytes()));
    assert_eq!((seen.header("content-type"), seen.header("x-trailer")), (Some("text/x"), None));
    let expects = format!("{head}Content-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    wire.send(expects).await;
    assert_eq!(wire.answer().await.status, 100);
    wire.send("abc").await;
    assert_eq!(wire.answer().await.status, 200);
    assert_eq!(vendor.requests()[1].body.as_deref(), Some(b"abc".as_slice()));
    assert_eq!(vendor.requests()[1].header("expect"), None);
}

#[tokio::test]
async fn a_write_carries_the_callers_fields_and_nothing_of_its_inside() {
    let (vendor, weir) = open().await;
    let inside = "Cookie: s=1\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Host: weir\r\nForwarded: for=10.0.0.1\r\n\
                  X-Real-IP: 10.0.0.1\r\nPrefer: wait=1\r\nPriority: u=1\r\nX-Request-Id: mine\r\nX-Hop: 1\r\n\
                  Keep-Alive: timeout=5\r\nProxy-Authorization: Basic eA==\r\nTE: trailers\r\n\
                  Connection: keep-alive, X-Hop, Authorization\r\n";
    let outside = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nX-Own: 1\r\nX-Own: 2\r\n\
                   If-Match: \"a\"\r\nAccept: text/csv\r\nUser-Agent: script/1\r\nVia: 1.0 edge\r\n";
    let head = format!("POST /e/up HTTP/1.1\r\nHost: weir\r\n{}{inside}{outside}", bearer("all"));
    once(weir.address(), format!("{head}Content-Length: 2\r\n\r\n{{}}")).await;
    let seen = vendor.requests().remove(0);
    let text = String::from_utf8(seen.wire()).unwrap().to_lowercase();
    for name in
        ["cookie", "forwarded", "x-real-ip", "prefer", "priority", "x-request-id", "x-hop", "keep-alive"]
    {
        assert!(!text.contains(&format!("{name}:")), "{name}: {text}");
    }
    for name in ["connection", "te", "proxy-authorization"] {
        assert!(!text.contains(&format!("\n{name}:")), "{name}: {text}");
    }
    for line in outside.split("\r\n").filter(|line| !line.starts_with("Via")) {
        assert!(text.contains(&line.to_lowercase()), "{line}: {text}");
    }
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {VENDOR_KEY}").as_str()));
    assert_eq!((seen.authority, text.matches("authorization").count()), (vendor.address().to_string(), 1));
    assert!(text.contains("via: 1.0 edge\r\nvia: 1.1 weir"), "{text}");
}

#[tokio::test]
async fn hop_by_hop_fields_of_the_vendor_end_here() {
    let (vendor, weir) = open().await;
    let fields = [
        ("connection", "X-Vendor-Hop, close"),
        ("x-vendor-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("alt-svc", "h3=\":443\""),
        ("strict-transport-security", "max-age=1"),
        ("set-cookie", "session=of-the-first"),
        ("ratelimit-remaining", "3"),
        ("weir-price", "99"),
        ("cache-control", "max-age=60"),
        ("x-vendor", "1"),
    ];
    vendor.script("/hops", canned(200, &fields, "hi")).unwrap();
    let all = weir.caller(&token_of("all"));
    for (price, cookie) in [(1, "session=of-the-first"), (0, "")] {
        let reply = all.get("/e/hops").await;
        assert_eq!((reply.price(), reply.header("set-cookie")), (price, cookie), "{reply:?}");
        assert_eq!((reply.header("x-vendor"), reply.header("via")), ("1", "1.1 weir"));
        let ended = [
            "connection",
            "x-vendor-hop",
            "keep-alive",
            "proxy-authenticate",
            "alt-svc",
            "strict-transport-security",
        ];
        for name in ended {
            assert_eq!(reply.header(name), "", "{name}");
        }
        assert_eq!(reply.header("ratelimit-remaining"), if price == 1 { "3" } else { "" });
    }
    assert_eq!(vendor.requests().len(), 1);
}

#[tokio::test]
async fn locations_lead_back_through_weir_or_nowhere() {
    let (vendor, weir) = open().await;
    let all = weir.caller(&token_of("all"));
    for (n, (location, want)) in [
        (format!("{}/new/1", vendor.url()), "/e/new/1"),
        ("/new/2?x=1#f".to_owned(), "/e/new/2?x=1#f"),
        ("https://attacker.example/x".to_owned(), ""),
        (format!("//{}@attacker.example/", vendor.address()), ""),
        ("relative".to_owned(), "relative"),
    ]
    .into_iter()
    .enumerate()
    {
        vendor.script(&format!("/make/{n}"), canned(201, &[("location", &location)], "")).unwrap();
        let reply = all.ask(Method::POST, &format!("/e/make/{n}"), &[("host", "evil.example")], "{}").await;
        assert_eq!((reply.status.as_u16(), reply.header("location")), (201, want), "{location}");
    }
    let line = weir.logged(|line| line["message"].as_str().is_some_and(|m| m.contains("Location"))).await;
    assert!(!line.is_empty());
}

#[tokio::test]
async fn pages_can_be_walked_through_weir() {
    for (links, server, mount, want) in [
        (Links::Absolute, "", "/cp", "/cp/api/v2/tests?"),
        (Links::Relative, "", "/cp", "/cp/api/v2/tests?"),
        (
            Links::Absolute,
            "[server]\npublic_url = \"https://weir.internal\"\n",
            "/cp",
            "https://weir.internal/cp/api/v2/tests?",
        ),
        (Links::Absolute, "", "/", "/api/v2/tests?"),
    ] {
        let vendor = vendor_with(Options { links, ..Options::default() }).await;
        let more = format!("mount = \"{mount}\"\n{ROOMY}");
        let weir =
            Weir::start(&(server.to_owned() + &catchpoint(&vendor.url(), &more, &[("grafana", "web", "")])));
        let grafana = weir.caller(&token_of("grafana"));
        let prefix = mount.trim_end_matches('/');
        let (mut target, mut pages) = (format!("{prefix}/api/v2/tests?pageSize=90"), 0);
        loop {
            let reply = grafana.get_with(&target, &[("host", "evil.example")]).await;
            let body = reply.json();
            assert_eq!((reply.status.as_u16(), body.get("usageLimits")), (200, None), "{body}");
            pages += 1;
            let previous = body["data"]["previous"].as_str();
            assert!(previous.is_none_or(|link| link.starts_with(want)), "{previous:?}");
            let Some(next) = body["data"]["next"].as_str() else { break };
            assert!(next.starts_with(want), "{next}");
            target = next.trim_start_matches("https://weir.internal").to_owned();
        }
        assert_eq!((pages, vendor.requests().len()), (3, 3));
    }
}

#[tokio::test]
async fn one_connection_serves_many_and_close_means_close() {
    let vendor = vendor().await;
    let (weir, grafana) = front(&vendor, "");
    let head = format!("GET /api/v2/tests/100001 HTTP/1.1\r\nHost: weir\r\n{}", bearer("grafana"));
    let mut wire = Wire::connect(weir.address()).await;
    // Two at once, then a third.
    wire.send(format!("{head}\r\n{head}\r\n")).await;
    for price in [1, 0] {
        assert_eq!(wire.answer().await.price(), price);
    }
    wire.send(format!("{head}Content-Length: 0\r\nConnection: close\r\n\r\n")).await;
    let last = wire.answer().await;
    assert_eq!((last.price(), last.header("connection")), (0, "close"));
    assert!(wire.is_closed().await);
    let old = format!("GET /api/v2/tests/100001 HTTP/1.0\r\n{}\r\n", bearer("grafana"));
    let mut wire = Wire::connect(weir.address()).await;
    wire.send(old).await;
    assert_eq!(wire.answer().await.price(), 0);
    assert!(wire.is_closed().await);
    let h2 = grafana.http2();
    let request =
        Request::get(format!("http://{}/api/v2/tests/100001", weir.address())).version(Version::HTTP_2);
    let request = request.header("authorization", format!("Bearer {}", token_of("grafana")));
    let reply = h2.send(request.body(Default::default()).unwrap()).await.unwrap();
    assert_eq!((reply.price(), reply.header("connection")), (0, ""));
    let post = h2.ask(Method::POST, "/api/v2/tests", &[], "{}").await;
    assert_eq!((post.status.as_u16(), post.error().contains("not allowed")), (403, true));
}

#[tokio::test]
async fn a_weir_that_stops_finishes_and_closes() {
    let vendor = echo().await;
    let weir = Weir::start(&(generic("echo", &vendor, "") + &consumer("all", &["echo"])));
    let (mut idle, mut busy) = (Wire::connect(weir.address()).await, Wire::connect(weir.address()).await);
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: weir\r\n{}\r\n", bearer("all"));
    idle.send(ask("/idle")).await;
    assert_eq!(idle.answer().await.header("connection"), "");
    busy.send(ask("/drip/5/100ms")).await;
    crate::support::until("it is under way", || vendor.requests().len() == 2).await;
    let stopped = tokio::task::spawn_blocking(move || weir.stop());
    assert!(idle.is_closed().await);
    assert_eq!(busy.answer().await.body.iter().filter(|byte| **byte == b'\n').count(), 5);
    assert!(busy.is_closed().await);
    assert!(!stopped.await.unwrap().contains("cut"));
}
