//! Vendors whose clients exchange an id and a secret for a token: weir issues its own
//! to consumers, and keeps one of the vendor's for all.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use http::{Method, StatusCode};
use weir::clock::Clock;
use weir::emulator::{Canned, Credential, Emulator, Key, Options, Vendor};

use crate::support::{Caller, Reply, Weir, Wire, hash_line, token_of, until_async};

const SECRET: &str = "s3cret/of+the=vendor";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

async fn vendor(of: Vendor, options: Options) -> Emulator {
    let keys = vec![Key::client("acme", &format!("acme:{SECRET}"))];
    Emulator::start(Options { vendor: of, keys, limits: Some(Vec::new()), ..options }).await.unwrap()
}

fn config(dialect: &str, vendor: &Emulator, more: &str) -> String {
    let none = "limits = { second = false, minute = false, hour = false, day = false }\n";
    let none = if dialect == "catchpoint-v1" { none } else { "" };
    let access = "allow = [\"* /**\"]";
    format!(
        "[upstreams.v]\ndialect = \"{dialect}\"\nurl = \"{}\"\n{none}{more}\n\
         [upstreams.v.keys.main]\nclient_id = \"acme\"\nclient_secret = \"{SECRET}\"\n\
         [consumers.web]\n{}\naccess.v = {{ {access} }}\n[consumers.other]\n{}\n",
        vendor.url(),
        hash_line(&token_of("web")),
        hash_line(&token_of("other")),
    )
}

/// Asks weir for a token as a client of v1 asks Catchpoint.
async fn ask_token(weir: &Weir, id: &str, secret: &str) -> Reply {
    let form: String = form_urlencoded(&[
        ("grant_type", "client_credentials"),
        ("client_id", id),
        ("client_secret", secret),
    ]);
    let nobody = Caller::at(format!("http://{}", weir.address()), None);
    nobody.ask(Method::POST, "/ui/api/token", &[FORM], &form).await
}

fn form_urlencoded(pairs: &[(&str, &str)]) -> String {
    let escape = |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    pairs.join("&")
}

fn access_token(reply: &Reply) -> String {
    assert_eq!(reply.status, StatusCode::OK, "{:?}", reply.body);
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(reply.price(), 0);
    reply.json()["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_hundred_first_requests_cause_one_sign_in_and_a_revoked_token_one_more() {
    let vendor = vendor(Vendor::CatchpointV1, Options::default()).await;
    let weir = Weir::start(&config("catchpoint-v1", &vendor, ""));
    let token = access_token(&ask_token(&weir, "web", &token_of("web")).await);
    assert_eq!(vendor.total(), 0, "weir answers its consumers itself");
    let caller = weir.caller(&token);
    for round in 1..=2_u64 {
        let paths: Vec<_> = (0..100).map(|n| format!("/ui/api/v1/nodes?round={round}&n={n}")).collect();
        let replies = join_all(paths.iter().map(|path| caller.get(path))).await;
        for reply in &replies {
            assert_eq!(reply.status, StatusCode::OK, "{:?} {:?}", reply.headers, reply.body);
        }
        assert_eq!(vendor.sign_ins().granted, round);
        assert_eq!(vendor.sign_ins().refused, 0);
        assert!(vendor.revoke_tokens() > 0);
    }
}

#[tokio::test]
async fn clients_of_v1_sign_in_with_name_and_weir_token() {
    let vendor = vendor(Vendor::CatchpointV1, Options::default()).await;
    let weir = Weir::start(&config("catchpoint-v1", &vendor, ""));
    let token = access_token(&ask_token(&weir, "web", &token_of("web")).await);
    for form in [token.clone(), STANDARD.encode(&token), URL_SAFE_NO_PAD.encode(&token), token_of("web")] {
        assert_eq!(weir.caller(&form).get("/ui/api/v1/tests").await.status, StatusCode::OK);
    }
    for (id, secret, status) in [
        ("web", "wrong", 401),
        ("other", &token_of("web"), 401),
        ("other", &token_of("other"), 403),
        ("", "", 400),
    ] {
        let reply = ask_token(&weir, id, secret).await;
        assert_eq!(reply.status.as_u16(), status, "{id}");
        assert!(reply.json()["Message"].is_string(), "{:?}", reply.body);
    }
    let get = weir.caller("x").get("/ui/api/token").await;
    assert_eq!(get.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(get.json()["Message"].is_string());
    // Guessing is bounded at this door as at any other.
    let guesses = join_all((0..12).map(|_| ask_token(&weir, "web", "guess"))).await;
    assert!(guesses.iter().any(|reply| reply.status == StatusCode::TOO_MANY_REQUESTS));
    assert_eq!(weir.caller(&token).get("/ui/api/v1/tests").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_closes_after_each_get_shares_answers_with_the_others() {
    let vendor = vendor(Vendor::CatchpointV1, Options::default()).await;
    let weir = Weir::start(&config("catchpoint-v1", &vendor, ""));
    let token = access_token(&ask_token(&weir, "web", &token_of("web")).await);
    assert_eq!(weir.caller(&token).get("/ui/api/v1/tests").await.price(), 0, "no limit counts it");
    let encoded = STANDARD.encode(&token);
    let mut wire = Wire::connect(weir.address()).await;
    let head = format!("GET /ui/api/v1/tests HTTP/1.1\r\nHost: weir\r\nAuthorization: Bearer {encoded}\r\n");
    wire.send(format!("{head}Content-Length: 0\r\nConnection: close\r\n\r\n")).await;
    let reply = wire.answer().await;
    assert_eq!((reply.status, reply.header("connection")), (StatusCode::OK, "close"));
    assert!(reply.header("cache-status").contains("hit"), "{:?}", reply.headers);
    assert!(wire.is_closed().await);
}

#[tokio::test]
async fn tokens_survive_a_restart_and_end() {
    let vendor = vendor(Vendor::CatchpointV1, Options::default()).await;
    let weir = Weir::start(&config("catchpoint-v1", &vendor, "token_ttl = \"3s\""));
    let clock = Clock::system();
    let token = access_token(&ask_token(&weir, "web", &token_of("web")).await);
    let issued = clock.now();
    let weir = Weir::again(weir.kill());
    let caller = weir.caller(&token);
    assert_eq!(caller.get("/ui/api/v1/tests").await.status, StatusCode::OK);
    // Real time: it is the token's.
    clock.sleep_until(issued + Duration::from_millis(3_100)).await;
    let late = caller.get("/ui/api/v1/tests").await;
    assert_eq!(late.status, StatusCode::UNAUTHORIZED);
    assert!(late.json()["Message"].as_str().unwrap().contains("Expired token"), "{:?}", late.body);
    let token = access_token(&ask_token(&weir, "web", &token_of("web")).await);
    assert_eq!(weir.caller(&token).get("/ui/api/v1/tests").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_vendors_token_is_renewed_before_its_end_and_in_mid_run() {
    let options = Options { token_lifetime: Some(Duration::from_secs(2)), ..Options::default() };
    let vendor = vendor(Vendor::Privx, options).await;
    let weir = Weir::start(&config("privx", &vendor, ""));
    let clock = Clock::system();
    let caller = weir.caller(&token_of("web"));
    let began = clock.now();
    let mut asked = 0;
    // Real time: the vendor's tokens live for two seconds.
    while clock.now() < began + Duration::from_millis(4_500) {
        asked += 1;
        let reply = caller.get(&format!("/host-store/api/v1/hosts?offset={asked}")).await;
        assert_eq!(reply.status, StatusCode::OK, "{:?} {:?}", reply.headers, reply.body);
        let body = r#"{"keywords":""}"#;
        let json = [("content-type", "application/json")];
        let search = caller.ask(Method::POST, "/host-store/api/v1/hosts/search", &json, body).await;
        assert_eq!(search.status, StatusCode::OK, "{:?} {:?}", search.headers, search.body);
        clock.sleep_until(clock.now() + Duration::from_millis(50)).await;
    }
    let signed_in = vendor.sign_ins().granted;
    assert!((3..=4).contains(&signed_in), "{signed_in} sign-ins");
    let refused =
        vendor.requests().iter().filter(|seen| seen.status == Some(StatusCode::UNAUTHORIZED)).count();
    assert_eq!(refused, 0, "renewed before the end");
    // A write whose token was revoked is done once, with another.
    vendor.revoke_tokens();
    let json = [("content-type", "application/json")];
    let host = caller.ask(Method::POST, "/host-store/api/v1/hosts", &json, r#"{"common_name":"new"}"#).await;
    assert_eq!(host.status, StatusCode::CREATED, "{:?}", host.body);
}

#[tokio::test]
async fn clients_of_privx_sign_in_by_either_grant_and_renew() {
    let oauth_client = Some(Credential::new("privx-external:0auth"));
    let vendor = vendor(Vendor::Privx, Options { oauth_client, ..Options::default() }).await;
    let more =
        "[upstreams.v.keys.main]\noauth_client_id = \"privx-external\"\noauth_client_secret = \"0auth\"\n";
    let config = config("privx", &vendor, "").replace("[upstreams.v.keys.main]\n", more);
    let weir = Weir::start(&config);
    let nobody = Caller::at(format!("http://{}", weir.address()), None);
    let ask = |basic: Option<(&str, String)>, form: Vec<(&'static str, String)>| {
        let basic = basic.map(|(id, secret)| format!("Basic {}", STANDARD.encode(format!("{id}:{secret}"))));
        let pairs: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (form, nobody) = (form_urlencoded(&pairs), nobody.clone());
        async move {
            let mut headers = vec![FORM];
            headers.extend(basic.as_deref().map(|basic| ("authorization", basic)));
            nobody.ask(Method::POST, "/auth/api/v1/oauth/token", &headers, &form).await
        }
    };
    let text = |text: &str| text.to_owned();
    let client = Some(("privx-external", text("whatever the company's client has")));
    let password = |token: String| {
        vec![("grant_type", text("password")), ("username", text("web")), ("password", token)]
    };
    let granted = ask(client.clone(), password(token_of("web"))).await;
    let refresh = granted.json()["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(granted.json()["expires_in"], 300);
    let by_basic =
        ask(Some(("web", token_of("web"))), vec![("grant_type", text("client_credentials"))]).await;
    let again = vec![("grant_type", text("refresh_token")), ("refresh_token", refresh.clone())];
    let renewed = ask(client.clone(), again).await;
    for reply in [&granted, &by_basic, &renewed] {
        let caller = weir.caller(&access_token(reply));
        assert_eq!(caller.get("/role-store/api/v1/roles").await.status, StatusCode::OK);
    }
    assert_eq!(weir.caller(&refresh).get("/role-store/api/v1/roles").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(vendor.sign_ins().granted, 1);
    for (form, status, error) in [
        (password(text("wrong")), 401, "invalid_client"),
        (vec![("grant_type", text("refresh_token")), ("refresh_token", text("x"))], 400, "invalid_grant"),
        (vec![("grant_type", text("implicit"))], 400, "unsupported_grant_type"),
        (vec![], 400, "invalid_request"),
    ] {
        let reply = ask(client.clone(), form).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (status, &error.into()), "{error}");
        assert!(reply.json()["error_description"].is_string());
    }
}

/// Who only observes hears of sign-ins, too, what would have become of them.
#[tokio::test]
async fn a_sign_in_over_the_limit_is_observed() {
    let vendor = vendor(Vendor::CatchpointV1, Options::default()).await;
    let config = config("catchpoint-v1", &vendor, "mode = \"observe\"\n");
    let weir = Weir::start(&config.replace("second = false", "second = \"2/1m\""));
    let caller = weir.caller(&token_of("web"));
    assert_eq!(caller.get("/ui/api/v1/nodes?n=1").await.status, StatusCode::OK);
    assert!(vendor.revoke_tokens() > 0);
    assert_eq!(caller.get("/ui/api/v1/nodes?n=2").await.status, StatusCode::OK);
    // Two were free: for a sign-in and a request. Then came a request, a sign-in, and the request again.
    assert_eq!((vendor.total(), vendor.sign_ins().granted), (5, 2));
    assert_eq!(weir.status().await["consumers"][0]["held_up"], 3);
    let is_one =
        |line: &serde_json::Value| line["message"].as_str().is_some_and(|text| text.starts_with("observed"));
    let mut observed = 0;
    crate::support::until("all three are told", || {
        let lines = weir.output();
        observed = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(is_one).count();
        observed >= 3
    })
    .await;
    assert_eq!(observed, 3, "{}", weir.output());
}

#[tokio::test]
async fn a_vendor_who_refuses_to_sign_in_is_not_asked_again_at_once() {
    let vendor = vendor(Vendor::CatchpointV1, Options::default()).await;
    assert!(vendor.revoke("acme"));
    let weir = Weir::start(&config("catchpoint-v1", &vendor, ""));
    let caller = weir.caller(&token_of("web"));
    let paths: Vec<_> = (0..50).map(|n| format!("/ui/api/v1/nodes/{n}")).collect();
    let replies = join_all(paths.iter().map(|path| caller.get(path))).await;
    for reply in &replies {
        assert_eq!(reply.status, StatusCode::BAD_GATEWAY);
        assert!(reply.json()["Message"].as_str().unwrap().contains("sign_in_refused"), "{:?}", reply.body);
        assert_eq!(reply.price(), 0);
    }
    assert_eq!(vendor.total(), 1);
    let said = weir.logged(|line| line["reason"] == "sign_in_refused" && line["level"] == "ERROR").await;
    assert_eq!(said[0]["key"], "main");
    assert!(!weir.output().contains(SECRET));
}

#[tokio::test]
async fn a_body_tells_of_an_expired_token_and_a_vendor_who_refuses_all_is_not_stormed() {
    let vendor = Emulator::start(Options { vendor: Vendor::Generic, ..Options::default() }).await.unwrap();
    let canned = |status, body: &'static str| {
        let json = (http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        Canned { status, headers: [json].into_iter().collect(), body: body.into() }
    };
    let granted = canned(StatusCode::OK, r#"{"access_token":"t","token_type":"Bearer","expires_in":3600}"#);
    vendor.script("/ui/api/token", granted).unwrap();
    let expired = canned(StatusCode::BAD_REQUEST, r#"{"Message":"This is an Expired Token."}"#);
    vendor.script("/ui/api/v1/products", expired).unwrap();
    let other = canned(StatusCode::BAD_REQUEST, r#"{"Message":"No such thing."}"#);
    vendor.script("/ui/api/v1/nodes", other).unwrap();
    let weir = Weir::start(&config("catchpoint-v1", &vendor, ""));
    let caller = weir.caller(&token_of("web"));
    let asked = |path: &str| vendor.requests().iter().filter(|seen| seen.target == path).count();

    let reply = caller.get("/ui/api/v1/nodes").await;
    assert_eq!((reply.status.as_u16(), asked("/ui/api/token"), asked("/ui/api/v1/nodes")), (400, 1, 1));
    let reply = caller.get("/ui/api/v1/products").await;
    assert_eq!(
        (asked("/ui/api/token"), asked("/ui/api/v1/products")),
        (2, 2),
        "once more, with another token"
    );
    assert_eq!(
        (reply.status.as_u16(), reply.body.as_ref()),
        (400, &br#"{"Message":"This is an Expired Token."}"#[..])
    );
    let many = join_all((0..20).map(|_| caller.get("/ui/api/v1/products"))).await;
    assert!(many.iter().all(|reply| reply.status == StatusCode::BAD_REQUEST));
    // A second later one more may be asked for, two seconds later another.
    assert!(asked("/ui/api/token") <= 4, "{} sign-ins", asked("/ui/api/token"));
}

/// A stale answer is given whatever becomes of its renewal; that this fails, or that the
/// vendor's token has to be fetched first, is nobody's wait and is not kept quiet.
#[tokio::test]
async fn a_refresh_signs_in_behind_the_readers_back_and_is_told_of_when_it_fails() {
    let vendor = vendor(Vendor::CatchpointV1, Options::default()).await;
    let rule = "[[upstreams.v.cache]]\nmatch = \"GET /ui/api/v1/nodes\"\nttl = \"1ms\"\nstale_while_revalidate = \"1h\"\n";
    let weir = Weir::start(&config("catchpoint-v1", &vendor, rule));
    let caller = weir.caller(&token_of("web"));
    let asked =
        || vendor.requests().iter().filter(|seen| seen.target.starts_with("/ui/api/v1/nodes")).count();
    assert_eq!(caller.get("/ui/api/v1/nodes").await.status, StatusCode::OK);
    assert!(vendor.revoke_tokens() > 0);
    // A millisecond later at the earliest.
    let clock = Clock::system();
    clock.sleep_until(clock.now() + Duration::from_millis(20)).await;
    let stale = caller.get("/ui/api/v1/nodes").await;
    assert!(stale.header("cache-status").contains("detail=revalidating"), "{stale:?}");
    let told = weir.logged(|line| line["message"] == "background refreshes fail: stale answers stand").await;
    assert_eq!((&told[0]["level"], &told[0]["status"]), (&"WARN".into(), &401.into()));
    let page = weir.admin().get("/metrics").await;
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(page.contains("weir_refresh_failures_total{upstream=\"v\"} 1"), "{page}");
    // The next reader sets off the sign-in; once its token is there, one sets off the refresh.
    until_async("the vendor is asked again", async || {
        assert_eq!(caller.get("/ui/api/v1/nodes").await.price(), 0);
        vendor.sign_ins().granted == 2 && asked() >= 3
    })
    .await;
    weir.logged(|line| line["message"] == "background refreshes succeed again").await;
    let lines = weir.output();
    assert_eq!(lines.matches("background refreshes fail").count(), 1, "{lines}");
}
