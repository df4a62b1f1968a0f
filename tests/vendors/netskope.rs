//! Netskope's REST API, v1 and v2, as its clients use it.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use weir::emulator::{Emulator, Key, NotFound, Options, Seen, Serves, Vendor};

use super::{ask, config, escaped};
use crate::support::{Reply, VENDOR_KEY, Weir, token_of};

const V2_KEY: &str = "v2-key/Zm9v+bar==";
const ROOMY: &str = "limits.second = \"100000/1s\"\nlimits.burst = \"100000/5s\"\n";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json");

async fn vendor(options: Options) -> Emulator {
    let keys = vec![Key::client("v1", VENDOR_KEY), Key::client("v2", V2_KEY)];
    Emulator::start(Options { vendor: Vendor::Netskope, keys, ..options }).await.unwrap()
}

/// Without limits or a pace of its own.
async fn unlimited(options: Options) -> Emulator {
    let serves = Some(Serves { requests: 100_000, per: Duration::from_secs(1) });
    vendor(Options { limits: Some(Vec::new()), serves, ..options }).await
}

fn front(vendor: &Emulator, more: &str) -> Weir {
    let keys = format!("keys.main = {{ value = \"{V2_KEY}\", value_v1 = \"{VENDOR_KEY}\" }}\n");
    Weir::start(&config("netskope", vendor, &format!("{keys}{more}")))
}

fn rows(reply: &Reply) -> usize {
    let body = reply.json();
    let rows = body.get("data").or_else(|| body.get("result")).and_then(Value::as_array);
    rows.unwrap_or_else(|| panic!("no rows: {body}")).len()
}

async fn v1(weir: &Weir, endpoint: &str, query: &str) -> Reply {
    ask(
        weir,
        Method::GET,
        &format!("/api/v1/{endpoint}?token={}&{query}", escaped(&token_of("grafana"))),
        &[],
        "",
    )
    .await
}

async fn v2(weir: &Weir, method: Method, path: &str, body: &str) -> Reply {
    let token = token_of("grafana");
    ask(weir, method, &format!("/api/v2/{path}"), &[("netskope-api-token", &token), JSON], body.to_owned())
        .await
}

#[tokio::test]
async fn the_token_is_swapped_where_it_stands() {
    let vendor = unlimited(Options { tests: 9, ..Options::default() }).await;
    let weir = front(&vendor, ROOMY);
    let token = token_of("grafana");
    assert_eq!(rows(&v1(&weir, "alerts", "limit=4").await), 4);
    let form = format!("limit=5&token={}&skip=1", escaped(&token));
    assert_eq!(rows(&ask(&weir, Method::POST, "/api/v1/alerts", &[FORM], form).await), 5);
    let body = json!({"limit": 3, "token": token, "timeperiod": "3600"}).to_string();
    assert_eq!(rows(&ask(&weir, Method::POST, "/api/v1/events", &[JSON], body).await), 3);
    assert_eq!(rows(&v2(&weir, Method::GET, "events/data/alert?limit=2", "").await), 2);
    let seen = vendor.requests();
    let keys: Vec<_> = seen.iter().map(|seen| seen.key.as_deref()).collect();
    assert_eq!(keys, [Some("v1"), Some("v1"), Some("v1"), Some("v2")]);
    let wires: Vec<_> = seen.iter().map(Seen::wire).collect();
    for wire in wires {
        let wire = String::from_utf8(wire).unwrap();
        assert!(!wire.contains(&token) && !wire.contains(&escaped(&token)), "{wire}");
    }
    // Nor in what is told of it.
    for line in weir.stop().lines().filter(|line| line.contains("/api/v1")) {
        assert!(!line.contains("token="), "{line}");
    }
}

#[tokio::test]
async fn lists_are_walked_by_what_they_skip() {
    let vendor = unlimited(Options { tests: 25, ..Options::default() }).await;
    let weir = front(&vendor, ROOMY);
    let all = [("weir-pages", "all")];
    let path = format!("/api/v1/alerts?token={}&limit=10", escaped(&token_of("grafana")));
    let whole = ask(&weir, Method::GET, &path, &all, "").await;
    assert_eq!((whole.status.as_u16(), rows(&whole), whole.price()), (200, 25, 3), "{whole:?}");
    assert_eq!(whole.json()["status"], "success");
    let token = token_of("grafana");
    let all = [("weir-pages", "all"), ("netskope-api-token", token.as_str())];
    let whole = ask(&weir, Method::GET, "/api/v2/events/data/alert?limit=5", &all, "").await;
    assert_eq!((rows(&whole), whole.price()), (25, 6), "the sixth page is empty: {whole:?}");
    // A cursor is no list.
    let export = "/api/v2/events/dataexport/events/page?index=i&operation=next";
    let cursor = ask(&weir, Method::GET, export, &all, "").await;
    assert_eq!((cursor.status.as_u16(), cursor.price()), (400, 0), "{cursor:?}");
}

#[tokio::test]
async fn a_list_of_urls_is_written_and_read_back() {
    let vendor = unlimited(Options::default()).await;
    let weir = front(&vendor, ROOMY);
    let made =
        v2(&weir, Method::POST, "policy/urllist", r#"{"name":"a","data":{"urls":["b.example"]}}"#).await;
    assert_eq!((made.status.as_u16(), &made.json()["id"]), (200, &json!(1)), "{made:?}");
    let urls = async || v2(&weir, Method::GET, "policy/urllist/1", "").await.json()["data"]["urls"].clone();
    assert_eq!(urls().await, json!(["b.example"]));
    v2(&weir, Method::PATCH, "policy/urllist/1", r#"{"data":{"urls":["c.example"]}}"#).await;
    assert_eq!(urls().await, json!(["c.example"]));
    // v1 replaces it by a GET, which is none that reads.
    for list in ["d.example", "e.example"] {
        assert_eq!(v1(&weir, "updateUrlList", &format!("name=a&list={list}")).await.status, 200);
    }
    assert_eq!(urls().await, json!(["e.example"]));
}

#[tokio::test]
async fn an_error_with_http_200_is_not_kept() {
    let vendor = unlimited(Options::default()).await;
    let weir = front(&vendor, ROOMY);
    for _ in 0..2 {
        let error = v1(&weir, "alerts", "timeperiod=7").await;
        assert_eq!((error.status.as_u16(), error.price()), (200, 1), "{error:?}");
        assert_eq!(
            (&error.json()["status"], &error.json()["errorCode"]),
            (&json!("error"), &json!("Bad Request"))
        );
    }
    for price in [1, 0] {
        assert_eq!(v1(&weir, "alerts", "limit=2").await.price(), price);
    }
}

#[tokio::test]
async fn a_cursor_moves_with_each_request_and_is_nobody_elses() {
    let vendor = unlimited(Options { tests: 200, ..Options::default() }).await;
    let weir = front(&vendor, ROOMY);
    const NEXT: &str = "events/dataexport/events/page?index=i&operation=next";
    let asked = futures_util::future::join_all((0..8).map(|_| v2(&weir, Method::GET, NEXT, ""))).await;
    let mut firsts: Vec<_> = asked.iter().map(|reply| reply.json()["result"][0]["_id"].to_string()).collect();
    firsts.sort();
    firsts.dedup();
    assert_eq!((firsts.len(), vendor.total()), (8, 8));
    // Not tried again either: the answer that was lost would be skipped.
    vendor.set_faults(weir::emulator::Faults { reset: 1.0, ..Default::default() });
    assert_eq!(v2(&weir, Method::GET, NEXT, "").await.status, 502);
    assert_eq!(vendor.total(), 9);
}

#[tokio::test]
async fn errors_have_one_shape_whoever_makes_them() {
    let vendor = unlimited(Options { not_found: NotFound::BadRequest, ..Options::default() }).await;
    let weir = front(&vendor, ROOMY);
    let stranger = ask(&weir, Method::GET, "/api/v1/alerts?token=wrong", &[], "").await;
    let none = ask(&weir, Method::GET, "/api/v2/policy/urllist", &[], "").await;
    assert_eq!(vendor.total(), 0);
    let unknown = v1(&weir, "none", "").await;
    let wrong = v1(&weir, "alerts", "starttime=1").await;
    for (reply, status) in [(stranger, 401), (none, 401), (unknown, 404), (wrong, 400)] {
        assert_eq!(reply.status, status, "{reply:?}");
        let body = reply.json();
        assert_eq!(body["status"], "error", "{body}");
        assert!(body["errorCode"].is_string() && body["errors"][0].is_string(), "{body}");
    }
    vendor.revoke("v1");
    assert_eq!(v1(&weir, "clients", "").await.status, 403);
}

/// Real seconds: the vendor serves four of them in one, and weir sends no faster.
#[tokio::test]
async fn it_is_never_asked_faster_than_it_serves() {
    let vendor = vendor(Options::default()).await;
    let weir = front(&vendor, "");
    let replies = futures_util::future::join_all(
        (0..10)
            .map(async |n| v2(&weir, Method::GET, &format!("events/data/alert?limit={}", n + 1), "").await),
    )
    .await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!((vendor.queued(), vendor.refused(), vendor.counted()), (0, 0, 10));
    // The vendor's own numbers are not replayed: clients sleep by them.
    let again = v2(&weir, Method::GET, "events/data/alert?limit=3", "").await;
    assert_eq!((again.price(), again.header("ratelimit-remaining")), (0, ""));
    // Of six at once there is room for four, and no time to wait for it.
    let token = token_of("grafana");
    let now = [("netskope-api-token", token.as_str()), ("prefer", "wait=0")];
    let replies = futures_util::future::join_all((0..6).map(async |n| {
        ask(&weir, Method::GET, &format!("/api/v2/events/data/page?limit={}", n + 1), &now, "").await
    }))
    .await;
    let refused = replies.iter().find(|reply| reply.status == 429).unwrap();
    assert_eq!(refused.json()["status"], "error");
}
