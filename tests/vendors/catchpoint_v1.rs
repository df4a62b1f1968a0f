//! Catchpoint's legacy pull API, as its clients use it; the tokens themselves are
//! the subject of `tokens`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use http::Method;
use serde_json::json;
use weir::clock::Clock;
use weir::emulator::{Emulator, Faults, Key, Options, SignIns, Vendor};

use super::{ask, config, escaped};
use crate::support::{Caller, Reply, VENDOR_KEY, Weir, token_of};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const ROOMY: &str = "limits = { second = \"10000/1s\", minute = \"100000/1m\", hour = \"100000/1h\", \
                     day = { requests = 1000000 } }\n";

async fn vendor(options: Options) -> Emulator {
    let keys = vec![Key::client("acme", &format!("acme:{VENDOR_KEY}"))];
    Emulator::start(Options { vendor: Vendor::CatchpointV1, keys, ..options }).await.unwrap()
}

async fn unlimited(options: Options) -> Emulator {
    vendor(Options { limits: Some(Vec::new()), ..options }).await
}

fn front(vendor: &Emulator, more: &str) -> Weir {
    let key = format!("keys.main = {{ client_id = \"acme\", client_secret = \"{VENDOR_KEY}\" }}\n");
    Weir::start(&config("catchpoint-v1", vendor, &format!("{key}{more}")))
}

async fn token(weir: &Weir, secret: &str) -> Reply {
    let form = format!("grant_type=client_credentials&client_id=grafana&client_secret={}", escaped(secret));
    ask(weir, Method::POST, "/ui/api/token", &[FORM], form).await
}

/// Signs in, and is a client with that token.
async fn signed_in(weir: &Weir) -> Caller {
    let reply = token(weir, &token_of("grafana")).await;
    let body = reply.json();
    assert_eq!((reply.status.as_u16(), reply.price()), (200, 0), "{body}");
    assert!(body["expires_in"].as_u64().unwrap() > 60 && body["token_type"] == "Bearer", "{body}");
    weir.caller(body["access_token"].as_str().unwrap())
}

#[tokio::test]
async fn a_client_signs_in_and_reads() {
    let vendor = unlimited(Options { tests: 12, ..Options::default() }).await;
    let weir = front(&vendor, ROOMY);
    let exporter = signed_in(&weir).await;
    let list = exporter.get("/ui/api/v1/tests").await;
    assert_eq!((list.json()["items"].as_array().unwrap().len(), list.price()), (12, 1));
    let one = exporter.get("/ui/api/v1/tests/10003").await;
    assert_eq!(one.json()["items"][0]["id"], 10_003);
    for path in ["nodes", "nodes/7", "nodeGroups", "products", "alerts", "performance/favoriteCharts"] {
        assert_eq!(exporter.get(&format!("/ui/api/v1/{path}")).await.status, 200, "{path}");
    }
    // There are no pages in this API: a walk is the list.
    let whole = exporter.get_with("/ui/api/v1/tests", &[("weir-pages", "all")]).await;
    assert_eq!((whole.json(), whole.price()), (list.json(), 0));
    // Some clients encode the token once more.
    let issued = token(&weir, &token_of("grafana")).await.json()["access_token"].as_str().unwrap().to_owned();
    for form in [STANDARD.encode(&issued), URL_SAFE.encode(&issued)] {
        assert_eq!(weir.caller(&form).get("/ui/api/v1/tests").await.price(), 0);
    }
    assert_eq!(vendor.sign_ins(), SignIns { granted: 1, refused: 0 });
    let seen = vendor.requests();
    assert!(seen.iter().all(|seen| !seen.wire().windows(issued.len()).any(|part| part == issued.as_bytes())));
}

/// The answers of a time that is over are kept, those of one that goes on asked for again.
#[tokio::test]
async fn raw_data_of_the_past_is_kept() {
    let vendor = unlimited(Options::default()).await;
    let weir = front(&vendor, ROOMY);
    let exporter = signed_in(&weir).await;
    let past = "/ui/api/v1/performance/raw/10001?startTime=2026-01-01T00:00:01Z&endTime=2026-01-01T06:00:01Z";
    for price in [1, 0] {
        let raw = exporter.get(past).await;
        assert_eq!((raw.price(), raw.json()["detail"]["items"].as_array().unwrap().len()), (price, 71));
    }
    for _ in 0..2 {
        let missing = exporter.get("/ui/api/v1/tests/1").await;
        assert_eq!(
            (missing.status.as_u16(), missing.price()),
            (404, 1),
            "what is not there is asked for again"
        );
    }
}

#[tokio::test]
async fn errors_have_one_shape_whoever_makes_them() {
    let vendor = unlimited(Options::default()).await;
    let weir = front(&vendor, ROOMY);
    let exporter = signed_in(&weir).await;
    let message = |reply: &Reply| {
        let body = reply.json();
        let said = body["Message"].as_str().unwrap_or_else(|| panic!("no Message: {body}"));
        (reply.status.as_u16(), said.to_owned())
    };
    for (reply, status, says) in [
        (exporter.get("/ui/api/v1/tests/1").await, 404, "No valid Test found for input '1'."),
        (exporter.get("/ui/api/v1/nothing").await, 404, "No HTTP resource was found"),
        (exporter.get("/ui/api/v1/performance/raw/10001?startTime=x&endTime=y").await, 400, "not valid"),
        (exporter.ask(Method::POST, "/ui/api/v1/tests", &[], "{}").await, 405, "does not support"),
        (weir.caller("nobody's").get("/ui/api/v1/tests").await, 401, ""),
        (exporter.get("/ui/api//v1").await, 400, ""),
    ] {
        let (is, said) = message(&reply);
        assert_eq!(is, status, "{said}");
        assert!(said.contains(says), "{said}");
    }
    let wrong = token(&weir, "a-wrong-secret").await;
    assert!(wrong.status.is_client_error(), "{wrong:?}");
    vendor.set_faults(Faults { cdn_403: 1.0, ..Faults::default() });
    let cdn = exporter.get("/ui/api/v1/products").await;
    assert_eq!((cdn.status.as_u16(), cdn.header("content-type")), (403, "text/html; charset=UTF-8"));
    assert_eq!(vendor.sign_ins().granted, 1, "a CDN's page says nothing about the token");
}

#[tokio::test]
async fn the_limit_is_reached_and_never_passed() {
    let vendor = vendor(Options::default()).await;
    let weir = front(&vendor, "");
    let exporter = signed_in(&weir).await;
    let replies = futures_util::future::join_all(
        (0..20).map(async |n| exporter.get(&format!("/ui/api/v1/performance/raw/{}", 10_001 + n)).await),
    )
    .await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    let refused = exporter.get_with("/ui/api/v1/alerts", &[("prefer", "wait=0")]).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!(refused.header("proxy-status").contains("minute") && refused.json()["Message"].is_string());
    assert_eq!(vendor.refused(), 0);
}

/// Real seconds: the vendor's token ends twice on the way, and nobody notices.
#[tokio::test]
async fn a_token_of_the_vendor_ends_in_mid_run() {
    let vendor =
        unlimited(Options { token_lifetime: Some(Duration::from_secs(2)), ..Options::default() }).await;
    let weir = front(&vendor, ROOMY);
    let exporter = signed_in(&weir).await;
    let clock = Clock::system();
    for n in 0..12 {
        let reply = exporter.get(&format!("/ui/api/v1/tests/{}", 10_001 + n)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        clock.sleep_until(clock.now() + Duration::from_millis(400)).await;
    }
    let granted = vendor.sign_ins().granted;
    assert!((2..=6).contains(&granted), "{granted} sign-ins");
    // All of them at once find that it was revoked: one more, and nobody is told.
    vendor.revoke_tokens();
    let replies = futures_util::future::join_all(
        (0..30).map(async |n| exporter.get(&format!("/ui/api/v1/tests/{}", 10_101 + n)).await),
    )
    .await;
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.json() != json!(null)));
    assert!(vendor.sign_ins().granted <= granted + 2, "{:?} after {granted}", vendor.sign_ins());
}
