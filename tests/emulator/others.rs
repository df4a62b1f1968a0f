//! The emulated vendors other than Catchpoint v2: sign-ins, errors, pages, limits
//! and what moves, as UPSTREAMS.md has them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use weir::emulator::{Credential, Emulator, Key, Options, Serves, SignIns, Vendor};

use super::{Caller, start, wait};

const FORM: &str = "application/x-www-form-urlencoded";

async fn vendor(vendor: Vendor, options: Options) -> Emulator {
    start(Options { vendor, ..options }).await
}

/// Posts a form to a token endpoint; gives status and body.
async fn sign_in(emulator: &Emulator, path: &str, basic: &str, form: &str) -> (u16, Value) {
    let mut request = Request::post(format!("{}{path}", emulator.url())).header("content-type", FORM);
    if !basic.is_empty() {
        request = request.header("authorization", format!("Basic {}", STANDARD.encode(basic)));
    }
    let request = request.body(Full::from(form.to_owned())).unwrap();
    let response = Caller::new(emulator, "").send(request).await;
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
}

#[tokio::test]
async fn catchpoint_v1_gives_out_tokens_that_end() {
    let options = Options {
        keys: vec![Key::division("web", "s3cret")],
        token_lifetime: Some(Duration::from_millis(900)),
        limits: Some(Vec::new()),
        ..Options::default()
    };
    let emulator = vendor(Vendor::CatchpointV1, options).await;
    let token = async |secret: &str| {
        let form = format!("grant_type=client_credentials&client_id=web&client_secret={secret}");
        sign_in(&emulator, "/ui/api/token", "", &form).await
    };
    let (status, body) = token("wrong").await;
    assert_eq!(status, 400);
    assert!(body["Message"].is_string(), "{body}");
    let (status, body) = token("s3cret").await;
    assert_eq!((status, &body["token_type"]), (200, &json!("Bearer")));
    let raw = body["access_token"].as_str().unwrap().to_owned();
    for form in [raw.clone(), STANDARD.encode(&raw), URL_SAFE.encode(&raw)] {
        let (status, body) = Caller::new(&emulator, &form).get("/ui/api/v1/tests").await;
        assert_eq!((status.as_u16(), body["items"].as_array().unwrap().len()), (200, 250));
    }
    let caller = Caller::new(&emulator, &raw);
    assert_eq!(caller.get("/ui/api/v1/Tests/10001").await.1["items"][0]["id"], 10_001);
    assert_eq!(caller.get("/ui/api/v1/tests/1").await.0, StatusCode::NOT_FOUND);
    assert_eq!(caller.get("/ui/api/v1/performance/raw/10001?startTime=x").await.0, StatusCode::BAD_REQUEST);
    let window =
        "/ui/api/v1/performance/raw/10001?startTime=2026-01-01T00:00:01Z&endTime=2026-01-01T01:00:01Z";
    let (_, first) = caller.get(window).await;
    assert_eq!(first["detail"]["items"].as_array().unwrap().len(), 11);
    assert_eq!(caller.get(window).await.1, first, "what has ended never changes");
    assert_eq!(caller.ask(Method::POST, "/ui/api/v1/tests", json!({})).await.0, 405);
    wait(Duration::from_millis(900)).await;
    let (status, body) = caller.get("/ui/api/v1/tests").await;
    assert_eq!(status, 401);
    assert!(body["Message"].as_str().unwrap().contains("Expired token"), "{body}");
    assert_eq!(emulator.sign_ins(), SignIns { granted: 1, refused: 1 });
    assert_eq!(emulator.revoke_tokens(), 1);
    let (_, body) = caller.get("/ui/api/v1/tests").await;
    assert_eq!(body, json!({"Message": "Authorization has been denied for this request."}));
}

#[tokio::test]
async fn samples_are_uploaded_polled_and_paged() {
    let emulator = vendor(Vendor::RecordedFutureSandbox, Options { tests: 120, ..Options::default() }).await;
    let caller = Caller::new(&emulator, "any");
    let content = "\u{0}\r\n--a\r\n\r\n";
    let body = format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.exe\"\r\n\r\n{content}\r\n--b--\r\n"
    );
    let mut upload = caller.request(Method::POST, "/v0/samples", &body);
    upload.headers_mut().insert("content-type", "multipart/form-data; boundary=b".parse().unwrap());
    let sample: Value = serde_json::from_slice(caller.send(upload).await.body()).unwrap();
    assert_eq!((&sample["status"], &sample["size"]), (&json!("pending"), &json!(content.len())));
    let id = sample["id"].as_str().unwrap();
    // Each look is a step, in whichever shape of the path.
    let mut states = Vec::new();
    for shape in ["/v0", "/api/v0", "/api", "/v0"] {
        assert_eq!(
            caller.get(&format!("{shape}/samples/{id}/overview.json")).await.0 == StatusCode::OK,
            states.len() == 3
        );
        states.push(caller.get(&format!("{shape}/samples/{id}")).await.1["status"].clone());
    }
    assert_eq!(states, ["pending", "static_analysis", "scheduled", "reported"]);
    let bytes = caller.send(caller.request(Method::GET, &format!("/v0/samples/{id}/sample"), "")).await;
    assert_eq!(bytes.body(), content.as_bytes());

    let mut next = Some(String::new());
    let mut ids = Vec::new();
    while let Some(offset) = next {
        let (_, page) = caller.get(&format!("/v0/samples?subset=public&limit=50&offset={offset}")).await;
        ids.extend(page["data"].as_array().unwrap().iter().map(|sample| sample["id"].to_string()));
        next = page["next"].as_str().map(str::to_owned);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 120);
    for (method, path, status, code) in [
        (Method::GET, "/v0/samples?limit=201", 400, "BAD_REQUEST"),
        (Method::POST, "/v0/profiles", 400, "BAD_REQUEST"),
        (Method::GET, "/v0/samples/none", 404, "NOT_FOUND"),
        (Method::PUT, "/v0/samples", 405, "METHOD_NOT_ALLOWED"),
    ] {
        let (is, body) = caller.ask(method, path, Value::Null).await;
        assert_eq!((is.as_u16(), &body["error"]), (status, &json!(code)), "{path}");
    }
}

#[tokio::test]
async fn an_event_stream_goes_on_line_by_line() {
    let options = Options { tests: 1, event_pause: Duration::from_millis(40), ..Options::default() };
    let emulator = vendor(Vendor::RecordedFutureSandbox, options).await;
    let caller = Caller::new(&emulator, "any");
    let (_, sample) =
        caller.ask(Method::POST, "/v0/samples", json!({"kind": "url", "url": "https://a.example/"})).await;
    let path = format!("/v0/samples/{}/events", sample["id"].as_str().unwrap());
    let response = caller.client.request(caller.request(Method::GET, &path, "")).await.unwrap();
    assert!(!response.headers().contains_key("content-length"));
    let mut body = response.into_body();
    let (mut lines, mut frames) = (String::new(), 0);
    while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
        lines.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        frames += 1;
    }
    let states: Vec<_> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["status"].clone()).collect();
    assert_eq!((states.len(), &states[5]), (6, &json!("reported")));
    assert!(frames > 3, "{frames} pieces");
}

#[tokio::test]
async fn privx_signs_in_in_three_ways() {
    let options = Options {
        keys: vec![Key::client("api", "api-id:p/w+d=")],
        oauth_client: Some(Credential::new("ext:c%ret")),
        tests: 7,
        ..Options::default()
    };
    let emulator = vendor(Vendor::Privx, options).await;
    const TOKEN: &str = "/auth/api/v1/oauth/token";
    let password = "grant_type=password&username=api-id&password=p%2Fw%2Bd%3D";
    for (basic, form, status, error) in [
        ("ext:wrong", password, 401, "invalid_client"),
        ("", password, 401, "invalid_client"),
        ("ext:c%ret", "grant_type=password&username=api-id&password=x", 400, "invalid_grant"),
        ("ext:c%ret", "grant_type=magic", 400, "unsupported_grant_type"),
        ("ext:c%ret", "", 400, "invalid_request"),
    ] {
        let (is, body) = sign_in(&emulator, TOKEN, basic, form).await;
        assert_eq!((is, &body["error"]), (status, &json!(error)), "{body}");
        assert!(body["error_description"].is_string());
    }
    let (status, first) = sign_in(&emulator, TOKEN, "ext:c%ret", password).await;
    assert_eq!((status, &first["expires_in"]), (200, &json!(300)));
    let refresh = first["refresh_token"].as_str().unwrap();
    let refresh = percent_encoding::utf8_percent_encode(refresh, percent_encoding::NON_ALPHANUMERIC);
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    let (_, second) = sign_in(&emulator, TOKEN, "ext:c%ret", &form).await;
    let (_, third) = sign_in(&emulator, TOKEN, "api-id:p/w+d=", "grant_type=client_credentials").await;
    for token in [&first, &second, &third] {
        let caller = Caller::new(&emulator, token["access_token"].as_str().unwrap());
        let (status, body) = caller.get("/host-store/api/v1/hosts?limit=5").await;
        assert_eq!((status.as_u16(), &body["count"]), (200, &json!(7)));
    }
    assert_eq!(emulator.sign_ins(), SignIns { granted: 3, refused: 5 });
    let (status, body) = Caller::new(&emulator, "forged").get("/host-store/api/v1/hosts").await;
    assert_eq!((status.as_u16(), &body["error_code"]), (401, &json!("UNAUTHORIZED")));
}

#[tokio::test]
async fn privx_makes_searches_and_reads_back() {
    let emulator = vendor(Vendor::Privx, Options { tests: 7, ..Options::default() }).await;
    let form = "grant_type=password&username=a&password=b";
    let (_, token) = sign_in(&emulator, "/auth/api/v1/oauth/token", "x:y", form).await;
    let caller = Caller::new(&emulator, token["access_token"].as_str().unwrap());
    const HOSTS: &str = "/host-store/api/v1/hosts";
    let page = async |offset: u32| {
        let (_, body) = caller.get(&format!("{HOSTS}?limit=5&offset={offset}")).await;
        body["items"].as_array().unwrap().len()
    };
    assert_eq!((page(0).await, page(5).await), (5, 2));
    let made = caller.send(caller.request(Method::POST, HOSTS, r#"{"common_name":"new.example.com"}"#)).await;
    assert_eq!(made.status(), 201);
    let location = made.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(caller.get(&location).await.1["common_name"], "new.example.com");
    let search = format!("{HOSTS}/search?limit=10&sortkey=common_name&sortdir=DESC");
    let (_, found) = caller.ask(Method::POST, &search, json!({"keywords": "new"})).await;
    assert_eq!(found["count"], 1);
    let gone = caller.send(caller.request(Method::GET, &format!("{HOSTS}/none"), "")).await;
    assert_eq!((gone.status().as_u16(), gone.body().len()), (404, 0));
    let (status, body) = caller.ask(Method::POST, HOSTS, json!({"name": 1})).await;
    assert_eq!(
        (status.as_u16(), &body["error_code"], &body["property"]),
        (400, &json!("BAD_REQUEST"), &json!("common_name"))
    );
    assert_eq!(caller.get(&format!("{HOSTS}/")).await.0, 404);
}

#[tokio::test]
async fn netskope_takes_its_token_where_it_says() {
    let options = Options {
        keys: vec![Key::client("t", "tok/en+1")],
        limits: Some(Vec::new()),
        tests: 9,
        ..Options::default()
    };
    let emulator = vendor(Vendor::Netskope, options).await;
    let caller = Caller::new(&emulator, "ignored");
    let ask = async |method: Method, target: &str, headers: &[(&'static str, &str)], body: &str| {
        let mut request = caller.request(method, target, body);
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let response = caller.send(request).await;
        (response.status().as_u16(), serde_json::from_slice::<Value>(response.body()).unwrap())
    };
    let (_, all) = ask(Method::GET, "/api/v1/alerts?token=tok/en%2B1", &[], "").await;
    assert_eq!(all["data"].as_array().unwrap().len(), 9);
    let typed = |kind: &'static str| [("content-type", kind)];
    let json = typed("application/json");
    for (headers, body) in [
        (&typed(FORM), "token=tok%2Fen%2B1&limit=4&skip=7"),
        (&json, r#"{"token":"tok/en+1","limit":4,"skip":7}"#),
    ] {
        let (status, page) = ask(Method::POST, "/api/v1/alerts", headers, body).await;
        assert_eq!((status, page["data"].as_array().unwrap().len()), (200, 2), "{page}");
    }
    assert_eq!(ask(Method::GET, "/api/v1/alerts?token=wrong", &[], "").await.0, 403);
    let (status, body) = ask(Method::GET, "/api/v1/none?token=tok/en%2B1", &[], "").await;
    assert_eq!((status, &body["status"]), (200, &json!("error")), "an error with HTTP 200");
    let v2 = [("netskope-api-token", "tok/en+1")];
    let (status, list) =
        ask(Method::POST, "/api/v2/policy/urllist", &v2, r#"{"name":"a","data":{"urls":["b"]}}"#).await;
    assert_eq!((status, &list["id"]), (200, &json!(1)));
    assert_eq!(ask(Method::GET, "/api/v2/policy/urllist/1", &v2, "").await.1["data"]["urls"], json!(["b"]));
    let export = "/api/v2/events/dataexport/events/page?index=i&operation=";
    let mut first = Vec::new();
    for operation in ["1767225600", "next", "resend", "next"] {
        let (_, rows) = ask(Method::GET, &format!("{export}{operation}"), &v2, "").await;
        first.push(rows["result"][0]["_id"].clone());
    }
    assert_eq!(first, [json!("page-0"), Value::Null, Value::Null, Value::Null]);
    assert_eq!(ask(Method::GET, "/api/v2/policy/urllist", &[], "").await.0, 401);
}

#[tokio::test]
async fn netskope_serves_no_faster_than_its_pace_and_refuses_above_its_limit() {
    // Four in a second, but that this test need not last six.
    let serves = Some(Serves { requests: 4, per: Duration::from_millis(200) });
    let emulator = vendor(Vendor::Netskope, Options { serves, ..Options::default() }).await;
    let caller = Caller::new(&emulator, "");
    let ask = async |n: u32| {
        let mut request = caller.request(Method::GET, &format!("/api/v2/policy/urllist?n={n}"), "");
        request.headers_mut().insert("netskope-api-token", "any".parse().unwrap());
        caller.send(request).await
    };
    for left in (20..24).rev() {
        let response = ask(left).await;
        assert_eq!(response.headers()["ratelimit-limit"], "24");
        assert_eq!(response.headers()["ratelimit-remaining"], left.to_string().as_str());
    }
    assert_eq!(emulator.queued(), 0);
    let all = futures_util::future::join_all((0..24).map(ask)).await;
    let refused = all.iter().filter(|response| response.status() == 429).count();
    assert!((4..=24).contains(&refused), "{refused}");
    assert!(emulator.queued() >= 4, "{}", emulator.queued());
}
