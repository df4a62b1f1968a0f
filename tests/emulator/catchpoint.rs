//! What the emulated Catchpoint says, over its data.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use weir::clock::UnixTime;
use weir::emulator::{Key, Links, NotFound, Options};

use super::{ALERTS, Caller, start, unlimited, wait};

#[tokio::test]
async fn every_answer_is_an_envelope() {
    let emulator = start(Options::default()).await;
    let caller = Caller::new(&emulator, "any");
    let response = caller.send(caller.request(Method::GET, ALERTS, "")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-cache");
    assert!(response.headers().contains_key("date"));
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(body["completed"], true);
    assert_eq!(body["traceId"].as_str().unwrap().len(), 32);
    assert_eq!(body["usageLimits"]["limits"], json!({"minute": 20, "hour": 500, "day": 2_000}));
    assert_eq!(body["usageLimits"]["runs"], json!({"minute": 1, "hour": 1, "day": 1}));
    for part in ["data", "messages", "errors"] {
        assert!(body.get(part).is_some(), "{part}");
    }
    let (status, body) = caller.get("/api/v2/no/such/thing").await;
    assert_eq!((status, &body["completed"]), (StatusCode::NOT_FOUND, &json!(false)));
}

#[tokio::test]
async fn keys_are_checked_expire_and_are_revoked() {
    let old = Key { expires: Some(UnixTime::from_secs(1)), ..Key::client("old", "k-old") };
    let keys = vec![Key::client("main", "k-main"), old];
    let emulator = start(Options { keys, ..unlimited() }).await;
    let says = async |key: &str| {
        let (status, body) = Caller::new(&emulator, key).get(ALERTS).await;
        (status.as_u16(), body["errors"][0]["message"].as_str().map(str::to_owned))
    };
    assert_eq!(says("k-main").await, (200, None));
    assert_eq!(says("k-old").await, (401, Some("Expired Token".into())));
    assert_eq!(says("k-wrong").await, (401, Some("Invalid credentials".into())));
    assert!(emulator.revoke("main"));
    assert_eq!(says("k-main").await, (401, Some("Invalid credentials".into())));
    emulator.issue(Key::client("next", "k-next"));
    assert_eq!(says("k-next").await, (200, None));
    let labels: Vec<_> = emulator.requests().into_iter().map(|seen| seen.key).collect();
    let label = |name: &str| Some(name.to_owned());
    assert_eq!(labels, [label("main"), label("old"), None, None, label("next")]);
}

#[tokio::test]
async fn pages_can_be_walked_by_both_kinds_of_links() {
    for links in [Links::Absolute, Links::Relative] {
        let emulator = start(Options { links, ..unlimited() }).await;
        let caller = Caller::new(&emulator, "any");
        let mut next = Some("/api/v2/tests?statusId=0&pageSize=60".to_owned());
        let mut ids = Vec::new();
        while let Some(target) = next {
            let (_, body) = caller.get(&target).await;
            let tests = body["data"]["tests"].as_array().unwrap();
            ids.extend(tests.iter().map(|test| test["id"].as_i64().unwrap()));
            next = body["data"]["next"].as_str().map(str::to_owned);
            assert_eq!(body["data"]["hasMore"], next.is_some());
        }
        let total = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), total);
        assert!((200..250).contains(&total), "{total} of 250 are active");
    }
}

#[tokio::test]
async fn a_division_sees_its_own_alone() {
    let keys =
        vec![Key::client("all", "k-all"), Key::division("web", "k-web"), Key::division("api", "k-api")];
    let emulator = start(Options { keys, ..unlimited() }).await;
    let mut sums = Vec::new();
    for key in ["k-all", "k-web", "k-api"] {
        let caller = Caller::new(&emulator, key);
        let mut count = 0;
        for page in 1..=3 {
            let (_, body) = caller.get(&format!("/api/v2/tests?pageNumber={page}")).await;
            for test in body["data"]["tests"].as_array().unwrap() {
                count += 1;
                match key {
                    "k-web" => assert_eq!(test["divisionId"], 101),
                    "k-api" => assert_eq!(test["divisionId"], 102),
                    _ => {}
                }
            }
        }
        sums.push(count);
    }
    assert_eq!(sums[0], 250);
    assert!(sums[1] > 50 && sums[2] > 50 && sums[1] + sums[2] < 250, "{sums:?}");
    // 100002 is of the second division.
    let (status, body) = Caller::new(&emulator, "k-web").get("/api/v2/tests/100002").await;
    assert_eq!((status.as_u16(), &body["completed"]), (200, &json!(false)));
}

#[tokio::test]
async fn what_is_not_there_is_not_404() {
    for (not_found, expected) in [(NotFound::Ok, 200), (NotFound::BadRequest, 400)] {
        let emulator = start(Options { not_found, ..unlimited() }).await;
        let caller = Caller::new(&emulator, "any");
        let (status, body) = caller.get("/api/v2/tests/123").await;
        assert_eq!((status.as_u16(), &body["completed"]), (expected, &json!(false)));
        assert_eq!(body["errors"][0]["message"], "No valid Test found for input '123'.");
        // One of them is there.
        let (status, body) = caller.get("/api/v2/tests/123,100001").await;
        assert_eq!((status.as_u16(), &body["completed"]), (200, &json!(true)));
        assert_eq!(body["data"]["tests"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_the_documents_forbid_is_400() {
    let emulator = start(unlimited()).await;
    let caller = Caller::new(&emulator, "any");
    for target in [
        "/api/v2/tests?pageSize=101",
        "/api/v2/tests?pageNumber=0",
        "/api/v2/tests/errors/raw?pageSize=201",
        "/api/v2/tests/alerts?startTimeUtc=2026-01-01",
        "/api/v2/tests/alerts?startTimeUtc=2026-13-01T00:00:00",
        "/api/v2/tests/explorer/raw?endTimeUtc=yesterday",
        "/api/v2/tests/alerts?startTimeUtc=2026-01-02T00:00:00&endTimeUtc=2026-01-01T00:00:00",
        "/api/v2/nodes/testrun/1?startTimeUtc=2026-01-01T00:00:00&endTimeUtc=2026-01-01T01:00:01",
        "/api/v2/nodes/errors/1?startTime=2026-01-01T00:00:00&endTime=2026-01-09T00:00:00",
        "/api/v1/tests",
    ] {
        assert_eq!(caller.get(target).await.0, StatusCode::BAD_REQUEST, "{target}");
    }
    for target in [
        "/api/v2/tests/errors/raw?pageSize=200",
        "/api/v4/Tests?pageSize=100&startTimeUtc=2026-01-01T00%3A00%3A00",
    ] {
        assert_eq!(caller.get(target).await.0, StatusCode::OK, "{target}");
    }
    for accept in [None, Some("text/html"), Some("image/png, text/json;q=0.5")] {
        let mut request = caller.request(Method::GET, "/api/v2/nodes/1", "");
        request.headers_mut().remove("accept");
        accept.map(|accept| request.headers_mut().insert("accept", accept.parse().unwrap()));
        let expected = if accept.is_some_and(|accept| accept.contains("json")) { 200 } else { 400 };
        assert_eq!(caller.send(request).await.status().as_u16(), expected, "{accept:?}");
    }
}

#[tokio::test]
async fn what_is_written_is_read_back() {
    let emulator = start(unlimited()).await;
    let caller = Caller::new(&emulator, "any");
    let (_, body) =
        caller.ask(Method::POST, "/api/v2/tests", json!({"name": "Mine", "productId": 201})).await;
    let id = body["data"]["id"].as_i64().unwrap();
    let one = format!("/api/v2/tests/{id}");
    assert_eq!(caller.get(&one).await.1["data"]["tests"][0]["name"], "Mine");
    let (status, _) = caller.ask(Method::POST, "/api/v2/tests", json!({"name": "Mine"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "the name exists");

    let patch = json!([
        {"op": "replace", "path": "/name", "value": "Ours"},
        {"op": "add", "path": "/status", "value": {"id": 1, "name": "Inactive"}},
        {"op": "replace", "path": "/status/id", "value": 0},
        {"op": "replace", "path": "/divisionId", "value": 999},
        {"op": "remove", "path": "/productId"},
    ]);
    let (status, body) = caller.ask(Method::PATCH, &one, patch).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["messages"][0]["ignoredPath"][0]["path"], "/divisionId");
    let test = caller.get(&one).await.1["data"]["tests"][0].clone();
    assert_eq!(
        test,
        json!({"id": id, "divisionId": 101, "name": "Ours", "status": {"id": 0, "name": "Inactive"}})
    );

    let (_, body) = caller.ask(Method::DELETE, &format!("{one},123"), Value::Null).await;
    assert_eq!((&body["data"]["deleted"], &body["completed"]), (&json!(id.to_string()), &json!(false)));
    assert_eq!(caller.get(&one).await.1["completed"], false);
    let broken = caller.send(caller.request(Method::POST, "/api/v2/tests", "{\n\"name\": }")).await;
    assert_eq!(broken.status(), StatusCode::BAD_REQUEST);
    assert!(String::from_utf8_lossy(broken.body()).contains("line 2"));
}

#[tokio::test]
async fn alerts_are_acknowledged() {
    let emulator = start(unlimited()).await;
    let caller = Caller::new(&emulator, "any");
    let id = caller.get(ALERTS).await.1["data"]["alerts"][0]["id"].clone();
    let change =
        json!([{"alertId": id, "acknowledgeAlert": true, "assignToContactByEmail": "a@example.com"}]);
    assert_eq!(caller.ask(Method::PATCH, ALERTS, change).await.0, StatusCode::OK);
    let (_, body) = caller.get(&format!("{ALERTS}/{}", id.as_str().unwrap())).await;
    assert_eq!(body["data"]["alerts"][0]["acknowledgedBy"]["name"], "a@example.com");
}

#[tokio::test]
async fn a_range_that_has_ended_never_changes_and_a_seed_makes_a_world() {
    let target = "/api/v2/tests/explorer/raw?startTimeUtc=2026-01-01T00:00:00&endTimeUtc=2026-01-01T06:00:00";
    let mut data = Vec::new();
    for seed in [5, 5, 6] {
        let emulator = start(Options { seed, ..unlimited() }).await;
        let caller = Caller::new(&emulator, "any");
        let first = caller.get(target).await.1["data"].take();
        assert_eq!(caller.get(target).await.1["data"], first);
        assert!(!first["responseItems"][0]["items"].as_array().unwrap().is_empty());
        data.push(first);
    }
    assert_eq!(data[0], data[1]);
    assert_ne!(data[0], data[2]);
}

#[tokio::test]
async fn an_instant_test_makes_progress() {
    let emulator = start(Options { instant_test: Duration::from_millis(600), ..unlimited() }).await;
    let caller = Caller::new(&emulator, "any");
    let (_, body) = caller.ask(Method::POST, "/api/v2/instanttests/100001", json!({"nodesIds": [1]})).await;
    let target = format!("/api/v2/instanttests/{}", body["data"]["id"]);
    let mut states = Vec::new();
    for _ in 0..40 {
        let body = caller.get(&target).await.1;
        states.push(body["data"]["instantTestStatus"].as_str().unwrap().to_owned());
        wait(Duration::from_millis(25)).await;
    }
    states.dedup();
    assert_eq!(states, ["Pending", "Running", "Completed"]);
}
