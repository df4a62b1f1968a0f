//! `PrivX`, as its clients use it; the tokens themselves are the subject of `tokens`.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use weir::emulator::{Credential, Emulator, Faults, Key, Options, Vendor};

use super::{ask, config, escaped};
use crate::support::{Caller, Reply, VENDOR_KEY, Weir, token_of};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const HOSTS: &str = "/host-store/api/v1/hosts";
const ROOMY: &str = "limits.minute = \"100000/1m\"\n";
const CLIENT: &str = "oauth/client+secret==";

async fn vendor(options: Options) -> Emulator {
    let keys = vec![Key::client("api", &format!("api-id:{VENDOR_KEY}"))];
    let oauth_client = Some(Credential::new(&format!("privx-external:{CLIENT}")));
    Emulator::start(Options { vendor: Vendor::Privx, keys, oauth_client, ..options }).await.unwrap()
}

fn front(vendor: &Emulator, more: &str) -> Weir {
    let key = format!(
        "keys.main = {{ client_id = \"api-id\", client_secret = \"{VENDOR_KEY}\", \
         oauth_client_id = \"privx-external\", oauth_client_secret = \"{CLIENT}\" }}\n"
    );
    Weir::start(&config("privx", vendor, &format!("{key}{more}")))
}

/// The password grant, as PrivX's own SDKs ask for it.
async fn token(weir: &Weir, mount: &str, secret: &str) -> Reply {
    let basic = format!("Basic {}", data_encoding::BASE64.encode(b"privx-external:whatever"));
    let form = format!("grant_type=password&username=grafana&password={}", escaped(secret));
    let headers = [("content-type", FORM), ("authorization", basic.as_str())];
    ask(weir, Method::POST, &format!("{mount}/auth/api/v1/oauth/token"), &headers, form).await
}

async fn signed_in(weir: &Weir, mount: &str) -> Caller {
    let reply = token(weir, mount, &token_of("grafana")).await;
    assert_eq!((reply.status.as_u16(), reply.price()), (200, 0), "{reply:?}");
    weir.caller(reply.json()["access_token"].as_str().unwrap())
}

fn names(reply: &Reply) -> Vec<String> {
    let body = reply.json();
    let items = body["items"].as_array().unwrap_or_else(|| panic!("no items: {body}"));
    items.iter().map(|item| item["common_name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn lists_are_paged_by_offset_and_walked() {
    let vendor = vendor(Options { tests: 23, ..Options::default() }).await;
    let weir = front(&vendor, ROOMY);
    let inventory = signed_in(&weir, "").await;
    let first = inventory.get(&format!("{HOSTS}?limit=10")).await;
    let second = inventory.get(&format!("{HOSTS}?limit=10&offset=10")).await;
    assert_eq!((names(&first).len(), names(&second).len()), (10, 10));
    let whole = inventory.get_with(&format!("{HOSTS}?limit=10"), &[("weir-pages", "all")]).await;
    assert_eq!((whole.status.as_u16(), whole.json()["count"].clone()), (200, json!(23)), "{whole:?}");
    let all = names(&whole);
    assert_eq!((all.len(), &all[..20]), (23, &[names(&first), names(&second)].concat()[..]));
    assert_eq!(vendor.sign_ins().granted, 1);
}

#[tokio::test]
async fn a_search_is_a_read_and_a_write_is_read_back() {
    let vendor = vendor(Options { tests: 5, ..Options::default() }).await;
    let rule = "[[upstreams.v.cache]]\nmatch = \"GET|POST /host-store/**\"\nmethods = [\"GET\", \"POST\"]\nttl = \"1m\"\n";
    let weir = front(&vendor, &format!("mount = \"/privx\"\n{ROOMY}{rule}"));
    let bot = signed_in(&weir, "/privx").await;
    let path = |rest: &str| format!("/privx{HOSTS}{rest}");
    assert_eq!(names(&bot.get(&path("")).await).len(), 5);
    let made = bot.ask(Method::POST, &path(""), &JSON, r#"{"common_name":"new.example.com"}"#).await;
    assert_eq!((made.status.as_u16(), made.price()), (201, 1), "{made:?}");
    let location = made.header("location").to_owned();
    assert!(location.starts_with(&path("/")), "{location}");
    assert_eq!(bot.get(&location).await.json()["common_name"], "new.example.com");
    assert_eq!(names(&bot.get(&path("")).await).len(), 6, "the list is fresh too");
    let put = bot.ask(Method::PUT, &location, &JSON, r#"{"common_name":"renamed.example.com"}"#).await;
    assert_eq!(put.status, 200);
    assert_eq!(bot.get(&location).await.json()["common_name"], "renamed.example.com");
    // A search changes nothing, so what is kept stays kept.
    assert_eq!(bot.get(&location).await.price(), 0);
    let search = path("/search?limit=10&sortkey=common_name&sortdir=DESC");
    for (body, price) in [
        (r#"{"keywords":"renamed","exact":1}"#, 1),
        (r#"{ "exact": 1, "keywords": "renamed" }"#, 0),
        (r#"{"keywords":"renamed","exact":2}"#, 1),
    ] {
        let found = bot.ask(Method::POST, &search, &JSON, body).await;
        assert_eq!((names(&found), found.price()), (vec!["renamed.example.com".to_owned()], price), "{body}");
    }
    assert_eq!(bot.get(&location).await.price(), 0);
    let gone = bot.ask(Method::DELETE, &location, &JSON, "").await;
    assert_eq!(gone.status, 200);
    let found = bot.ask(Method::POST, &search, &JSON, r#"{"keywords":"renamed","exact":1}"#).await;
    assert_eq!((names(&found).len(), found.price()), (0, 1), "what was found is gone");
    let missing = bot.get(&location).await;
    assert_eq!((missing.status.as_u16(), missing.body.len()), (404, 0), "without a body, as it came");
}

#[tokio::test]
async fn secrets_are_never_kept_and_trails_stream() {
    let vendor =
        vendor(Options { tests: 2, event_pause: Duration::from_millis(5), ..Options::default() }).await;
    let weir = front(&vendor, ROOMY);
    let bot = signed_in(&weir, "").await;
    for _ in 0..2 {
        let secrets = bot.get("/vault/api/v1/secrets").await;
        assert_eq!((secrets.json()["count"].clone(), secrets.price()), (json!(2), 1));
    }
    let connections = bot.get("/connection-manager/api/v1/connections").await.json();
    let id = connections["items"][0]["id"].as_str().unwrap();
    let trail = bot.get(&format!("/connection-manager/api/v1/connections/{id}/trail")).await;
    assert_eq!(trail.body.split(|byte| *byte == b'\n').count(), 21);
}

#[tokio::test]
async fn errors_have_one_shape_whoever_makes_them() {
    let vendor = vendor(Options::default()).await;
    let weir = front(&vendor, ROOMY);
    let bot = signed_in(&weir, "").await;
    for (reply, status, code) in [
        (bot.ask(Method::POST, HOSTS, &JSON, "{}").await, 400, Some("BAD_REQUEST")),
        (bot.get("/host-store/api/v1/none").await, 404, Some("NOT_FOUND")),
        (bot.ask(Method::PATCH, HOSTS, &JSON, "{}").await, 405, Some("METHOD_NOT_ALLOWED")),
        (weir.caller("nobody's").get(HOSTS).await, 401, None),
        (bot.get("/host-store//hosts").await, 400, None),
    ] {
        let body = reply.json();
        assert_eq!(reply.status, status, "{body}");
        let is = body["error_code"].as_str().unwrap_or_else(|| panic!("no code: {body}"));
        assert!(code.is_none_or(|code| code == is), "{body}");
        assert!(body["message"].is_string() && body["details"].is_array(), "{body}");
    }
    // At the token endpoint both speak OAuth.
    let refused = token(&weir, "", "a-wrong-secret").await;
    let body: Value = refused.json();
    assert!(refused.status.is_client_error() && body["error"].is_string(), "{body}");
    assert!(body["error_description"].is_string(), "{body}");
    vendor.set_faults(Faults { cdn_403: 1.0, ..Faults::default() });
    assert_eq!(bot.get("/role-store/api/v1/roles").await.header("content-type"), "text/html; charset=UTF-8");
}

#[tokio::test]
async fn the_limit_is_reached_and_no_token_costs_any() {
    let limits = Some(vec!["5/1m:all".parse().unwrap()]);
    let vendor = vendor(Options { limits, ..Options::default() }).await;
    // The vendor counts the one sign-in as well.
    let weir = front(&vendor, "limits.minute = \"5/1m\"\n");
    let bot = signed_in(&weir, "").await;
    let mut last = None;
    for n in 0..6 {
        let reply = bot.get_with(&format!("{HOSTS}?limit={}", n + 1), &[("prefer", "wait=0")]).await;
        let status = reply.status.as_u16();
        last = Some(reply);
        if status == 429 {
            break;
        }
    }
    let refused = last.unwrap();
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!(refused.json()["error_code"].is_string() && !refused.header("retry-after").is_empty());
    assert_eq!(vendor.refused(), 0);
}
