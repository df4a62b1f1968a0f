//! The Recorded Future Sandbox, as its clients use it.

use std::time::Duration;

use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use weir::clock::Clock;
use weir::emulator::{Emulator, Faults, Key, Limit, Options, Vendor};

use super::config;
use crate::support::{Caller, Reply, VENDOR_KEY, Weir, token_of, until};

const ROOMY: &str = "limits.minute = \"100000/1m\"\n";

async fn vendor(options: Options) -> Emulator {
    let vendor = Vendor::RecordedFutureSandbox;
    let keys = vec![Key::client("main", VENDOR_KEY)];
    Emulator::start(Options { vendor, keys, ..options }).await.unwrap()
}

fn front(vendor: &Emulator, more: &str) -> (Weir, Caller) {
    let key = format!("keys.main.value = \"{VENDOR_KEY}\"\n");
    let weir = Weir::start(&config("recorded-future-sandbox", vendor, &format!("{key}{more}")));
    let soar = weir.caller(&token_of("grafana"));
    (weir, soar)
}

async fn submit(soar: &Caller) -> String {
    let json = [("content-type", "application/json")];
    let body = r#"{"kind":"url","url":"https://a.example/"}"#;
    let made = soar.ask(Method::POST, "/v0/samples", &json, body).await;
    assert_eq!((made.status.as_u16(), made.price()), (200, 1), "{made:?}");
    made.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_poller_sees_each_state_and_the_report_is_kept() {
    let vendor = vendor(Options::default()).await;
    let (_weir, soar) = front(&vendor, ROOMY);
    let id = submit(&soar).await;
    // Not there yet, and asked for again each time.
    for _ in 0..2 {
        let early = soar.get(&format!("/v0/samples/{id}/overview.json")).await;
        assert_eq!((early.status.as_u16(), early.price()), (404, 1));
    }
    let mut states = Vec::new();
    for _ in 0..5 {
        let sample = soar.get(&format!("/v0/samples/{id}")).await;
        states.push((sample.json()["status"].as_str().unwrap().to_owned(), sample.price()));
    }
    let states: Vec<_> = states.iter().map(|(state, price)| (state.as_str(), *price)).collect();
    assert_eq!(
        states,
        [("pending", 1), ("static_analysis", 1), ("scheduled", 1), ("reported", 1), ("reported", 0)]
    );
    let path = format!("/v0/samples/{id}/overview.json");
    assert_eq!((soar.get(&path).await.price(), soar.get(&path).await.price()), (1, 0));
    // What is deleted is gone.
    let gone = soar.ask(Method::DELETE, &format!("/v0/samples/{id}"), &[], "").await;
    assert_eq!(gone.status, 200);
    assert_eq!(soar.get(&format!("/v0/samples/{id}")).await.status, 404);
}

/// Before the end of the stream its lines are there, each on its own.
#[tokio::test]
async fn an_event_stream_comes_line_by_line() {
    let vendor = vendor(Options { event_pause: Duration::from_millis(250), ..Options::default() }).await;
    let (weir, soar) =
        front(&vendor, &format!("{ROOMY}idle_timeout = \"1s\"\nstream_idle_timeout = \"1h\"\n"));
    let id = submit(&soar).await;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::get(format!("http://{}/v0/samples/{id}/events", weir.address()))
        .header("authorization", format!("Bearer {}", token_of("grafana")))
        .body(Full::<bytes::Bytes>::default())
        .unwrap();
    let clock = Clock::system();
    let mut body = client.request(request).await.unwrap().into_body();
    let mut at = Vec::new();
    let mut text = String::new();
    while let Some(frame) = body.frame().await {
        text.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        at.push(clock.now());
    }
    let states: Vec<Value> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["status"].clone()).collect();
    assert_eq!(states.len(), 6);
    assert_eq!((&states[0], &states[5]), (&json!("pending"), &json!("reported")));
    assert!(at.len() >= 4, "{} pieces", at.len());
    assert!(at[at.len() - 1].since(at[0]) > Duration::from_millis(700), "it was held back");
}

#[tokio::test]
async fn an_upload_arrives_byte_for_byte_and_is_sent_once() {
    let vendor = vendor(Options::default()).await;
    let (_weir, soar) = front(&vendor, ROOMY);
    let mut content: Vec<u8> = (0..3_000_000_u32).map(|n| (n * 7 % 251) as u8).collect();
    content.extend_from_slice(b"\r\n--edge\r\n\0\xff");
    let mut body =
        b"--edge-of-parts\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.exe\"\r\n\r\n"
            .to_vec();
    body.extend_from_slice(&content);
    body.extend_from_slice(b"\r\n--edge-of-parts--\r\n");
    let upload = async || {
        let request = Request::post(format!("{}/v0/samples", soar.base()))
            .header("authorization", format!("Bearer {}", token_of("grafana")))
            .header("content-type", "multipart/form-data; boundary=edge-of-parts")
            .body(Full::from(body.clone()))
            .unwrap();
        soar.send(request).await.unwrap()
    };
    let sample = upload().await.json();
    use sha2::Digest as _;
    let digest: String = sha2::Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((&sample["sha256"], &sample["size"]), (&json!(digest), &json!(content.len())));
    assert_eq!(vendor.requests()[0].body.as_deref(), Some(&body[..]));
    let back = soar.get(&format!("/v0/samples/{}/sample", sample["id"].as_str().unwrap())).await;
    assert!(back.body == content, "{} bytes", back.body.len());
    // One that fails may have been taken: it is never sent again.
    let before = vendor.total();
    vendor.set_faults(Faults { server_error: 1.0, ..Faults::default() });
    assert!(upload().await.status.is_server_error());
    vendor.set_faults(Faults { reset: 1.0, ..Faults::default() });
    assert_eq!(upload().await.status, 502);
    assert_eq!(vendor.total() - before, 2);
}

#[tokio::test]
async fn lists_are_paged_by_their_offsets_and_walked() {
    let vendor = vendor(Options { tests: 120, ..Options::default() }).await;
    let (_weir, soar) = front(&vendor, ROOMY);
    let first = soar.get("/v0/samples?subset=public").await.json();
    assert_eq!(first["data"].as_array().unwrap().len(), 50);
    let offset = first["next"].as_str().unwrap();
    assert!(offset.contains(':'), "un-encoded: {offset}");
    let second = soar.get(&format!("/v0/samples?subset=public&offset={offset}")).await;
    assert_eq!(second.json()["data"].as_array().unwrap().len(), 50);
    let whole = soar.get_with("/v0/samples?subset=public", &[("weir-pages", "all")]).await;
    assert_eq!((whole.status.as_u16(), whole.price()), (200, 1), "two of its pages were there: {whole:?}");
    let body = whole.json();
    assert_eq!((body["data"].as_array().unwrap().len(), body.get("next")), (120, None));
    let found = soar.get("/v0/search?query=invoice-7.exe").await;
    assert_eq!(found.json()["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn three_shapes_of_one_path() {
    let vendor = vendor(Options { tests: 3, ..Options::default() }).await;
    let id = {
        let (_weir, soar) = front(&vendor, ROOMY);
        soar.get("/v0/samples").await.json()["data"][0]["id"].as_str().unwrap().to_owned()
    };
    // A url with a path says which shape this vendor has, whatever the client was built for.
    let key = format!("keys.main.value = \"{VENDOR_KEY}\"\n{ROOMY}");
    let text = config("recorded-future-sandbox", &vendor, &key);
    let weir = Weir::start(&text.replace(&vendor.url(), &format!("{}/api", vendor.url())));
    let soar = weir.caller(&token_of("grafana"));
    vendor.forget_requests();
    for (shape, price) in [("/v0", 1), ("/api/v0", 0), ("/api", 0)] {
        let sample = soar.get(&format!("{shape}/samples/{id}")).await;
        assert_eq!((&sample.json()["id"], sample.price()), (&json!(id), price), "{shape}");
    }
    assert_eq!(vendor.requests()[0].target, format!("/api/samples/{id}"));
}

#[tokio::test]
async fn errors_have_documented_codes_whoever_makes_them() {
    let vendor = vendor(Options {
        limits: Some(vec![Limit::analytic(1_000, Duration::from_secs(60))]),
        ..Options::default()
    })
    .await;
    let (weir, soar) = front(&vendor, "limits.minute = \"8/1m\"\n");
    let json = [("content-type", "application/json")];
    let coded = |reply: &Reply| (reply.status.as_u16(), reply.json()["error"].as_str().unwrap().to_owned());
    let post = async |path: &str, body: &str| soar.ask(Method::POST, path, &json, body).await;
    for (reply, status, code) in [
        (soar.get("/v0/samples?limit=201").await, 400, "BAD_REQUEST"),
        (post("/v0/samples", r#"{"kind":"x"}"#).await, 400, "INVALID"),
        (soar.get("/v0/samples/none").await, 404, "NOT_FOUND"),
        (soar.get("/v0/samples/none").await, 404, "NOT_FOUND"),
        (soar.ask(Method::PUT, "/v0/samples", &json, "{}").await, 405, "METHOD_NOT_ALLOWED"),
        (weir.caller("nobody's").get("/v0/samples").await, 401, "UNAUTHORIZED"),
        (soar.get("/v0//samples").await, 400, "BAD_REQUEST"),
    ] {
        assert_eq!(coded(&reply), (status, code.to_owned()), "{reply:?}");
        assert!(reply.json()["message"].is_string());
    }
    assert_eq!(vendor.total(), 5);
    vendor.revoke("main");
    assert_eq!(coded(&soar.get("/v0/profiles").await), (401, "UNAUTHORIZED".into()));
    let mut left = 2;
    let refused = loop {
        let reply = soar.get_with(&format!("/v0/samples/{left}"), &[("prefer", "wait=0")]).await;
        if reply.status == 429 || left > 9 {
            break reply;
        }
        left += 1;
    };
    assert_eq!(coded(&refused), (429, "INTERNAL".into()), "{refused:?}");
    assert!(!refused.header("retry-after").is_empty());
    until("the vendor has heard no more than its limit", || vendor.total() <= 8).await;
}
