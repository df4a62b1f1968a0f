//! The emulator over real sockets: what it answers, counts and journals.

#![allow(clippy::unwrap_used, reason = "a helper of tests may fail like a test")]

mod catchpoint;
mod others;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir::clock::{Clock, UnixTime};
use weir::emulator::{Canned, CountAt, Emulator, Fault, Faults, Key, Latency, Limit, Options, Skew, Vendor};

/// Someone who calls one emulator with one key.
struct Caller {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    key: String,
}

impl Caller {
    fn new(emulator: &Emulator, key: &str) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, url: emulator.url(), key: key.to_owned() }
    }

    fn http2(emulator: &Emulator, key: &str) -> Self {
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        Self { client, ..Self::new(emulator, key) }
    }

    fn request(&self, method: Method, target: &str, body: &str) -> Request<Full<Bytes>> {
        let url = if target.starts_with('/') { format!("{}{target}", self.url) } else { target.to_owned() };
        let request = Request::builder().method(method).uri(url).header("accept", "*/*");
        let request = request.header("authorization", format!("Bearer {}", self.key));
        request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Response<Bytes> {
        let (head, body) = self.client.request(request).await.unwrap().into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }

    async fn ask(&self, method: Method, target: &str, body: Value) -> (StatusCode, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let response = self.send(self.request(method, target, &body)).await;
        (response.status(), serde_json::from_slice(response.body()).unwrap())
    }

    async fn get(&self, target: &str) -> (StatusCode, Value) {
        self.ask(Method::GET, target, Value::Null).await
    }
}

async fn start(options: Options) -> Emulator {
    Emulator::start(options).await.unwrap()
}

fn unlimited() -> Options {
    Options { limits: Some(Vec::new()), ..Options::default() }
}

fn limited(limits: &[&str]) -> Options {
    let limits = limits.iter().map(|limit| limit.parse::<Limit>().unwrap()).collect();
    Options { limits: Some(limits), ..Options::default() }
}

/// Real time, because what is waited for is the other side of a socket.
async fn until(what: impl Fn() -> bool) {
    let clock = Clock::system();
    for _ in 0..500 {
        if what() {
            return;
        }
        clock.sleep_until(clock.now() + Duration::from_millis(10)).await;
    }
    panic!("it did not happen within five seconds");
}

async fn wait(by: Duration) {
    let clock = Clock::system();
    clock.sleep_until(clock.now() + by).await;
}

const ALERTS: &str = "/api/v2/tests/alerts";

#[tokio::test]
async fn limits_refuse_exactly_what_is_over_them() {
    let emulator = start(limited(&["20/1h", "25/1h:address"])).await;
    let caller = Caller::new(&emulator, "any");
    for _ in 0..20 {
        assert_eq!(caller.get(ALERTS).await.0, StatusCode::OK);
    }
    let (status, body) = caller.get(ALERTS).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(body["completed"], false);
    assert_eq!(emulator.requests().last().unwrap().refused_by, ["20/1h:analytic"]);
    // Not analytic: only the address's 25 count them, and the refused one did not count.
    for _ in 0..5 {
        assert_eq!(caller.get("/api/v2/tests/100001").await.0, StatusCode::OK);
    }
    assert_eq!(caller.get("/api/v2/tests/100001").await.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!((emulator.refused(), emulator.counted(), emulator.total()), (2, 25, 27));
    let tallies: Vec<_> =
        emulator.tallies().into_iter().map(|tally| (tally.counted, tally.refused)).collect();
    assert_eq!(tallies, [(20, 1), (25, 1)]);
}

#[tokio::test]
async fn fourteen_at_once_from_one_address_are_seven_too_many() {
    let emulator = start(Options::default()).await;
    let caller = Caller::new(&emulator, "any");
    let calls = (0..14).map(|_| caller.get("/api/v2/nodes/1"));
    let answers = futures_util::future::join_all(calls).await;
    let fine = answers.iter().filter(|(status, _)| *status == StatusCode::OK).count();
    assert_eq!((fine, emulator.refused()), (7, 7));
}

#[tokio::test]
async fn the_day_ends_by_the_vendors_own_clock() {
    // Its clock is a minute ahead: half a second before its midnight it is 23:58:59.5 here.
    let midnight = 20_000 * 86_400_000_000_000;
    let here = UnixTime::from_nanos(midnight - 60_500_000_000);
    let clock = Clock::virtual_at(here);
    let skew = Skew::Ahead(Duration::from_secs(60));
    let emulator = start(Options { clock, skew, ..limited(&["1/1d:calendar"]) }).await;
    let caller = Caller::new(&emulator, "any");
    let response = caller.send(caller.request(Method::GET, ALERTS, "")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers()["date"].to_str().unwrap().contains("23:59:59"), "{:?}", response.headers());
    assert_eq!(caller.get(ALERTS).await.0, StatusCode::TOO_MANY_REQUESTS);
    wait(Duration::from_millis(600)).await;
    assert_eq!(caller.get(ALERTS).await.0, StatusCode::OK);
}

#[tokio::test]
async fn requests_are_delayed_and_counted_when_asked_to() {
    let latency = Latency { least: Duration::from_millis(20), most: Duration::from_millis(60) };
    for count_at in [CountAt::Between, CountAt::Arrival, CountAt::Head, CountAt::Random] {
        let emulator = start(Options { latency, count_at, seed: 9, ..unlimited() }).await;
        let caller = Caller::new(&emulator, "any");
        let calls = (0..12).map(|_| caller.get("/api/v2/nodes/1"));
        futures_util::future::join_all(calls).await;
        for seen in emulator.requests() {
            let counted = seen.counted.unwrap();
            let (before, after) = (counted.since(seen.arrived), seen.answered.unwrap().since(counted));
            assert!(before + after >= 2 * latency.least, "{count_at:?}");
            match count_at {
                CountAt::Between => assert!(before >= latency.least && after >= latency.least),
                CountAt::Arrival => assert!(after >= 2 * latency.least),
                CountAt::Head => assert!(before >= 2 * latency.least),
                CountAt::Random => {}
            }
        }
    }
}

#[tokio::test]
async fn who_hangs_up_is_counted_all_the_same() {
    let latency = Latency { least: Duration::from_millis(80), most: Duration::from_millis(80) };
    let emulator = start(Options { latency, ..unlimited() }).await;
    let mut stream = TcpStream::connect(emulator.address()).await.unwrap();
    let head =
        format!("GET {ALERTS} HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nAuthorization: Bearer any\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    until(|| emulator.total() == 1).await;
    drop(stream);
    assert_eq!(emulator.counted(), 0);
    until(|| emulator.counted() == 1).await;
}

#[tokio::test]
async fn heads_are_kept_byte_by_byte() {
    let emulator = start(unlimited()).await;
    let mut stream = TcpStream::connect(emulator.address()).await.unwrap();
    let heads = [
        "GET /api/v2/nodes/1?b=%3A&a= HTTP/1.1\r\nhOsT: x\r\nAccept:*/*\r\nX-Two: 1\r\nauthorization: Bearer k\r\nx-two:  2\r\n\r\n",
        "POST /api/v2/labels HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nAuthorization: Bearer k\r\nContent-Length: 12\r\n\r\n",
        "GET /api/v2/nodes/2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ];
    let all = format!("{}{}{{\"name\":\"n\"}}{}", heads[0], heads[1], heads[2]);
    stream.write_all(all.as_bytes()).await.unwrap();
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).await.unwrap();
    let seen = emulator.requests();
    assert_eq!(seen.len(), 3);
    for (seen, head) in seen.iter().zip(heads) {
        assert_eq!(seen.raw_head.as_ref().unwrap().0, head.as_bytes());
        assert!(!format!("{seen:?}").contains("Bearer"));
    }
    assert_eq!(seen[0].header("x-two"), Some("1"));
    assert_eq!(seen[1].wire(), format!("{}{{\"name\":\"n\"}}", heads[1]).into_bytes());
}

#[tokio::test]
async fn http2_without_tls_is_served() {
    let emulator = start(limited(&["3/1h"])).await;
    let caller = Caller::http2(&emulator, "any");
    let answers = futures_util::future::join_all((0..5).map(|_| caller.get(ALERTS))).await;
    let fine = answers.iter().filter(|(status, _)| *status == StatusCode::OK).count();
    assert_eq!((fine, emulator.refused()), (3, 2));
    let seen = emulator.requests();
    assert!(seen.iter().all(|seen| seen.version == http::Version::HTTP_2 && seen.raw_head.is_none()));
    assert_eq!(seen[0].wire(), seen[1].wire());
    assert_eq!(seen[0].authority, emulator.address().to_string());
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let emulator = start(unlimited()).await;
    for caller in [Caller::new(&emulator, "any"), Caller::http2(&emulator, "any")] {
        let whole = caller.send(caller.request(Method::GET, "/api/v2/products/201", "")).await;
        let head = caller.send(caller.request(Method::HEAD, "/api/v2/products/201", "")).await;
        assert!(head.body().is_empty());
        assert_eq!(head.headers()["content-length"], whole.headers()["content-length"]);
    }
}

#[tokio::test]
async fn faults_happen_as_asked() {
    let emulator = start(limited(&["100/1h"])).await;
    let caller = Caller::new(&emulator, "any");
    let call = async || {
        let request = caller.request(Method::GET, ALERTS, "");
        let head = tokio::time::timeout(Duration::from_millis(300), caller.client.request(request)).await;
        let response = match head {
            Err(_) => return "silence".to_owned(),
            Ok(Err(_)) => return "no head".to_owned(),
            Ok(Ok(response)) => response,
        };
        let (status, kind) = (response.status().as_u16(), response.headers()["content-type"].clone());
        let html = kind.to_str().unwrap().starts_with("text/html");
        match response.into_body().collect().await {
            Ok(_) if html => format!("{status} html"),
            Ok(_) => status.to_string(),
            Err(_) => format!("{status} cut"),
        }
    };
    assert_eq!(call().await, "200");
    let one = |of: fn(&mut Faults) -> &mut f64| {
        let mut faults = Faults { buffered_for: Duration::from_millis(50), ..Faults::default() };
        *of(&mut faults) = 1.0;
        emulator.set_faults(faults);
    };
    one(|faults| &mut faults.reset);
    assert_eq!((call().await.as_str(), emulator.counted()), ("no head", 2));
    one(|faults| &mut faults.silent);
    assert_eq!((call().await.as_str(), emulator.counted()), ("silence", 3));
    one(|faults| &mut faults.cut_short);
    assert_eq!((call().await.as_str(), emulator.counted()), ("200 cut", 4));
    one(|faults| &mut faults.cdn_429);
    assert_eq!((call().await.as_str(), emulator.counted()), ("429 html", 4));
    one(|faults| &mut faults.cdn_403);
    assert_eq!((call().await.as_str(), emulator.counted()), ("403 html", 4));
    one(|faults| &mut faults.server_error);
    assert!(call().await.starts_with("50"));
    assert_eq!((emulator.counted(), emulator.refused()), (5, 0));
    one(|faults| &mut faults.buffered);
    assert_eq!((call().await.as_str(), emulator.counted()), ("504 html", 5));
    until(|| emulator.counted() == 6).await;
    assert_eq!(emulator.requests().last().unwrap().fault, Some(Fault::Buffered));
}

#[tokio::test]
async fn it_can_be_asked_about_itself() {
    let keys = vec![Key::division("web", "very-secret")];
    let emulator = start(Options { keys, ..limited(&["1/1h", "9/1s:address"]) }).await;
    let caller = Caller::new(&emulator, "very-secret");
    caller.get(ALERTS).await;
    caller.get(ALERTS).await;
    let (_, stats) = caller.get("/_emulator/stats").await;
    assert_eq!((&stats["requests"], &stats["counted"], &stats["refused"]), (&json!(2), &json!(1), &json!(1)));
    assert_eq!(stats["limits"][0], json!({"limit": "1/1h:analytic", "counted": 1, "refused": 1}));
    let (_, log) = caller.get("/_emulator/log").await;
    assert_eq!((&log[1]["status"], &log[1]["key"]), (&json!(429), &json!("web")));
    assert!(!log.to_string().contains("very-secret"));
    assert!(log[0]["headers"].as_array().unwrap().contains(&json!(["authorization", "key web"])));
    let faults = json!({"cdn_403": 1.0});
    assert_eq!(caller.ask(Method::POST, "/_emulator/faults", faults).await.0, StatusCode::OK);
    let answer = caller.send(caller.request(Method::GET, ALERTS, "")).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn gzip_is_for_those_who_ask() {
    let coding = weir::emulator::Coding::Gzip;
    let emulator = start(Options { coding, ..unlimited() }).await;
    let caller = Caller::new(&emulator, "any");
    let mut request = caller.request(Method::GET, "/api/v2/nodes", "");
    request.headers_mut().insert("accept-encoding", "br, gzip".parse().unwrap());
    let packed = caller.send(request).await;
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed.body()[..]), &mut text).unwrap();
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["data"]["nodes"].as_array().unwrap().len(), 120);
    assert_eq!(caller.get("/api/v2/nodes/1").await.1["completed"], true);
}

#[tokio::test]
async fn the_generic_origin_answers_as_its_path_says() {
    let emulator = start(Options { vendor: Vendor::Generic, ..Options::default() }).await;
    let caller = Caller::new(&emulator, "any");
    assert_eq!(caller.get("/status/503").await.0.as_u16(), 503);
    assert_eq!(caller.get("/some/thing?a=b").await.1["query"], json!([["a", "b"]]));
    assert_eq!(caller.get("/some/thing").await.1["served"], 2);
    let bytes = caller.send(caller.request(Method::GET, "/bytes/100000", "")).await;
    assert_eq!(bytes.body().len(), 100_000);
    let fresh = caller.send(caller.request(Method::GET, "/header?cache-control=max-age%3D5&x-a=1", "")).await;
    assert_eq!(
        (&fresh.headers()["cache-control"], &fresh.headers()["x-a"]),
        (&"max-age=5".parse().unwrap(), &"1".parse().unwrap())
    );
    let mut conditional = caller.request(Method::GET, "/etag/v1", "");
    assert_eq!(caller.send(conditional.clone()).await.headers()["etag"], "\"v1\"");
    conditional.headers_mut().insert("if-none-match", "\"v0\", W/\"v1\"".parse().unwrap());
    assert_eq!(caller.send(conditional).await.status(), StatusCode::NOT_MODIFIED);
    let drip = caller.send(caller.request(Method::GET, "/drip/3/5ms", "")).await;
    assert_eq!(drip.body().split(|byte| *byte == b'\n').count(), 4);
    let headers = http::HeaderMap::from_iter([(http::header::AGE, "7".parse().unwrap())]);
    let canned = Canned { status: StatusCode::IM_A_TEAPOT, headers, body: "short".into() };
    emulator.script("/pot", canned).unwrap();
    let pot = caller.send(caller.request(Method::GET, "/pot?x=1", "")).await;
    assert_eq!(
        (pot.status().as_u16(), &pot.headers()["age"], &pot.body()[..]),
        (418, &"7".parse().unwrap(), &b"short"[..])
    );
}

#[tokio::test]
async fn it_stops_when_told_and_when_dropped() {
    let emulator = start(unlimited()).await;
    let caller = Caller::new(&emulator, "any");
    caller.get("/api/v2/nodes/1").await;
    let address = emulator.address();
    emulator.shutdown().await;
    let again = start(Options { listen: address, ..unlimited() }).await;
    assert_eq!(again.address(), address);
    drop(again);
    let clock = Clock::system();
    for _ in 0..100 {
        if TcpStream::connect(address).await.is_err() {
            return;
        }
        clock.sleep_until(clock.now() + Duration::from_millis(10)).await;
    }
    panic!("dropped, and still listening");
}
