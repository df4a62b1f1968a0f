//! What is for one caller alone: streams, uploads, cursors; and credentials in bodies.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use weir::clock::Clock;
use weir::emulator::{Emulator, Key, NotFound, Options, Seen, Serves, Vendor};

use crate::support::{Caller, VENDOR_KEY, Weir, hash_line, token_of};

async fn vendor(of: Vendor, options: Options) -> Emulator {
    let keys = vec![Key::client("main", VENDOR_KEY)];
    let serves = Some(Serves { requests: 1_000, per: Duration::from_secs(1) });
    let options = Options { vendor: of, keys, limits: Some(Vec::new()), serves, ..options };
    Emulator::start(options).await.unwrap()
}

fn weir(dialect: &str, vendor: &Emulator, more: &str) -> Weir {
    Weir::start(&format!(
        "[upstreams.v]\ndialect = \"{dialect}\"\nurl = \"{}\"\n{more}\nkeys.main.value = \"{VENDOR_KEY}\"\n\
         [consumers.web]\n{}\naccess.v = {{ allow = [\"* /**\"] }}\n",
        vendor.url(),
        hash_line(&token_of("web")),
    ))
}

const NO_PACE: &str = "limits = { second = false, burst = false }";

#[tokio::test]
async fn events_pass_line_by_line_however_long_they_are_silent() {
    // Real time: the silences are longer than any other body may be silent.
    let pause = Duration::from_millis(400);
    let vendor =
        vendor(Vendor::RecordedFutureSandbox, Options { event_pause: pause, ..Options::default() }).await;
    let weir = weir("recorded-future-sandbox", &vendor, "idle_timeout = \"150ms\"\ntimeout = \"2s\"\n");
    let caller = weir.caller(&token_of("web"));
    let samples = caller.get("/v0/samples?limit=1").await.json();
    let id = samples["data"][0]["id"].as_str().unwrap();
    let posted = caller
        .ask(
            Method::POST,
            "/v0/samples",
            &[("content-type", "application/json")],
            r#"{"kind":"url","url":"https://x.example"}"#,
        )
        .await;
    assert_eq!(posted.status, StatusCode::OK, "{:?}", posted.body);
    let fresh = posted.json()["id"].as_str().unwrap_or(id).to_owned();
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let request = || {
        let request = Request::get(format!("http://{}/v0/samples/{fresh}/events", weir.address()));
        request.header("authorization", format!("Bearer {}", token_of("web"))).body(Full::default()).unwrap()
    };
    let clock = Clock::system();
    let (mut lines, mut gaps) = (Vec::new(), Vec::new());
    let mut body = client.request(request()).await.unwrap().into_body();
    let mut last = clock.now();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.expect("the stream broke off").into_data() else { continue };
        gaps.push(clock.now().since(last));
        last = clock.now();
        assert!(data.ends_with(b"\n"), "part of a line: {data:?}");
        lines.push(data);
    }
    assert!(lines.len() >= 3, "{lines:?}");
    // The first may come with the head.
    assert!(gaps.iter().skip(1).all(|gap| *gap >= pause / 2), "several at once: {gaps:?}");
    assert!(String::from_utf8_lossy(lines.last().unwrap()).contains("reported"));

    let asked =
        |vendor: &Emulator| vendor.requests().iter().filter(|seen| seen.target.ends_with("/events")).count();
    let before = asked(&vendor);
    let both = join_all([client.request(request()), client.request(request())]).await;
    assert!(both.iter().all(|answer| answer.as_ref().unwrap().status() == StatusCode::OK));
    assert_eq!(asked(&vendor), before + 2, "streams are not shared");
}

#[tokio::test]
async fn a_sample_is_kept_once_it_is_reported_and_uploads_pass_byte_for_byte() {
    let vendor = vendor(Vendor::RecordedFutureSandbox, Options { polls: 3, ..Options::default() }).await;
    // Whatever shape a client was built for, it reaches the one that is configured.
    let weir = weir("recorded-future-sandbox", &vendor, "");
    let caller = weir.caller(&token_of("web"));
    let body = "--b\r\nContent-Disposition: form-data; name=\"_json\"\r\n\r\n{\"kind\":\"file\"}\r\n\
                --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\r\n\x00\r\n--c\u{ff}\r\n--b--\r\n";
    let multipart = [("content-type", "multipart/form-data; boundary=b")];
    let posted = caller.ask(Method::POST, "/v0/samples", &multipart, body).await;
    assert_eq!(posted.status, StatusCode::OK, "{:?}", posted.body);
    let sent = vendor.requests().into_iter().find(|seen| seen.method == Method::POST).unwrap();
    assert_eq!(sent.body.as_deref(), Some(body.as_bytes()));
    assert_eq!(sent.header("content-length"), Some(body.len().to_string().as_str()));
    assert_eq!(sent.header("content-type"), Some(multipart[0].1));
    let path = format!("/v0/samples/{}", posted.json()["id"].as_str().unwrap());
    assert_eq!(caller.get(&format!("{path}/overview.json")).await.status, StatusCode::NOT_FOUND);
    let mut seen = Vec::new();
    loop {
        let reply = caller.get(&path).await;
        assert!(!reply.header("cache-status").contains("hit"), "an unfinished one was kept");
        seen.push(reply.json()["status"].as_str().unwrap().to_owned());
        if seen.last().unwrap() == "reported" {
            break;
        }
        assert!(seen.len() < 50, "{seen:?}");
    }
    assert!(seen.len() > 2, "{seen:?}");
    assert!(caller.get(&path).await.header("cache-status").contains("hit"));
    let overview = caller.get(&format!("{path}/overview.json")).await;
    assert_eq!(overview.status, StatusCode::OK, "the 404 was kept");
    for _ in 0..2 {
        let sample = caller.get(&format!("{path}/sample")).await;
        assert!(sample.status == StatusCode::OK && !sample.header("cache-status").contains("hit"));
    }
}

/// The request that reached the vendor last.
fn last(vendor: &Emulator) -> Seen {
    vendor.requests().pop().unwrap()
}

#[tokio::test]
async fn netskopes_token_is_swapped_where_it_stood() {
    let vendor = vendor(Vendor::Netskope, Options::default()).await;
    let weir = weir("netskope", &vendor, NO_PACE);
    let nobody = Caller::at(format!("http://{}", weir.address()), None);
    let (token, key): (String, String) = (percent(&token_of("web")), percent(VENDOR_KEY));

    let reply = nobody.get(&format!("/api/v1/alerts?token={token}&limit=2")).await;
    assert_eq!(reply.status, StatusCode::OK, "{:?}", reply.body);
    let hit = nobody.get(&format!("/api/v1/alerts?limit=2&token={token}")).await;
    assert!(hit.header("cache-status").contains("hit"), "{:?}", hit.headers);

    let form = [("content-type", "application/x-www-form-urlencoded")];
    let reply = nobody.ask(Method::POST, "/api/v1/alerts", &form, &format!("limit=2&token={token}")).await;
    assert_eq!(reply.json()["status"], "success", "{:?}", reply.body);
    let sent = last(&vendor);
    assert_eq!(sent.target, "/api/v1/alerts");
    let body = String::from_utf8(sent.body.clone().unwrap().to_vec()).unwrap();
    assert!(body.starts_with("limit=2&token=") && !body.contains(&token), "{body}");
    assert_eq!(sent.header("content-length"), Some(body.len().to_string().as_str()));

    let json = [("content-type", "application/json")];
    let text = format!("{{\"limit\": 2, \"token\":{:?}}}", token_of("web"));
    let reply = nobody.ask(Method::POST, "/api/v1/alerts", &json, &text).await;
    assert_eq!(reply.json()["status"], "success", "{:?}", reply.body);
    let sent = last(&vendor);
    assert_eq!(sent.body.as_deref(), Some(format!("{{\"token\":{VENDOR_KEY:?},\"limit\": 2}}").as_bytes()));

    // A body of another kind streams; the token is in the query then.
    let csv = [("content-type", "text/csv")];
    let reply = nobody.ask(Method::POST, &format!("/api/v1/events?token={token}"), &csv, "a,b").await;
    assert_ne!(reply.status, StatusCode::UNAUTHORIZED);
    assert_eq!(last(&vendor).target.to_uppercase(), format!("/API/V1/EVENTS?TOKEN={}", key.to_uppercase()));

    let header = [("netskope-api-token", token_of("web"))];
    let header: Vec<_> = header.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let reply = nobody.get_with("/api/v2/policy/urllist", &header).await;
    assert_eq!(reply.status, StatusCode::OK, "{:?}", reply.body);
    assert_eq!(last(&vendor).header("netskope-api-token"), Some(VENDOR_KEY));

    let twice = format!("/api/v1/alerts?token={token}");
    for (path, kind, body) in [
        ("/api/v1/alerts", &json, r#"{"token":"wrong"}"#.to_owned()),
        ("/api/v1/alerts", &form, "token=wrong".to_owned()),
        (twice.as_str(), &form, format!("token={token}")),
        ("/api/v1/alerts", &json, "[]".to_owned()),
    ] {
        let reply = nobody.ask(Method::POST, path, kind, &body).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{body}");
        assert_eq!(reply.json()["status"], "error");
    }
    let large = format!("{{\"token\":{:?},\"x\":\"{}\"}}", token_of("web"), "x".repeat(2 << 20));
    let reply = nobody.ask(Method::POST, "/api/v1/alerts", &json, &large).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    let printed = weir.stop();
    for secret in [&token, &token_of("web"), &key, VENDOR_KEY] {
        assert!(!printed.contains(secret), "a secret was printed");
    }
}

fn percent(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => char::from(b).to_string(),
        b => format!("%{b:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[tokio::test]
async fn cursors_move_for_each_caller_and_errors_with_200_are_not_kept() {
    let vendor = vendor(Vendor::Netskope, Options { not_found: NotFound::Ok, ..Options::default() }).await;
    let weir = weir("netskope", &vendor, NO_PACE);
    let nobody = Caller::at(format!("http://{}", weir.address()), None);
    let token = token_of("web");
    let header = [("netskope-api-token", token.as_str())];
    let path = "/api/v2/events/dataexport/alerts/dlp?index=siem&operation=next";
    let both = join_all([nobody.get_with(path, &header), nobody.get_with(path, &header)]).await;
    let third = nobody.get_with(path, &header).await;
    assert!(both.iter().chain([&third]).all(|reply| reply.status == StatusCode::OK));
    assert!(both[0].body != both[1].body && third.body != both[0].body && third.body != both[1].body);
    assert_eq!(vendor.total(), 3);

    let wrong = format!("/api/v1/nowhere?token={}", percent(&token));
    for asked in 4..=5 {
        let reply = nobody.get(&wrong).await;
        assert_eq!((reply.status, &reply.json()["status"]), (StatusCode::OK, &"error".into()));
        assert_eq!(vendor.total(), asked, "an error was kept");
    }
}
