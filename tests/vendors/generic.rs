//! Any other API, by configuration alone.

use http::Method;
use serde_json::json;
use weir::emulator::{Emulator, Key, Options, Vendor};

use super::{ask, config, escaped};
use crate::support::{VENDOR_KEY, Weir, token_of};

async fn vendor() -> Emulator {
    let keys = vec![Key::client("main", VENDOR_KEY)];
    Emulator::start(Options { vendor: Vendor::Generic, keys, ..Options::default() }).await.unwrap()
}

#[tokio::test]
async fn the_key_goes_where_config_says_and_the_token_came_from() {
    let token = token_of("grafana");
    let basic = |user: &str, secret: &str| {
        format!("Basic {}", data_encoding::BASE64.encode(format!("{user}:{secret}").as_bytes()))
    };
    let (bearer, basic) = (format!("Bearer {token}"), basic("me", &token));
    let query = format!("/echo?a=1&key={}", escaped(&token));
    let plain = "/echo?a=1";
    for (credential, path, header) in [
        ("\"bearer\"", plain, ("authorization", bearer.as_str())),
        ("\"basic\"", plain, ("authorization", &basic)),
        ("{ header = \"X-Api-Key\" }", plain, ("x-api-key", &token)),
        ("{ query = \"key\" }", &query, ("x-none", "")),
    ] {
        let vendor = vendor().await;
        let key = if credential == "\"basic\"" { "user:password" } else { VENDOR_KEY };
        vendor.issue(Key::client("basic", "user:password"));
        let more =
            format!("credential = {credential}\nkeys.main.value = \"{key}\"\nlimits.minute = \"100/1m\"\n");
        let weir = Weir::start(&config("generic", &vendor, &more));
        let reply = ask(&weir, Method::GET, path, &[header], "").await;
        assert_eq!((reply.status.as_u16(), reply.price()), (200, 1), "{credential}: {reply:?}");
        let seen = &vendor.requests()[0];
        assert!(seen.key.is_some(), "{credential}: {seen:?}");
        assert!(!String::from_utf8(seen.wire()).unwrap().contains(&token), "{credential}");
        let stranger = ask(&weir, Method::GET, "/echo", &[], "").await;
        assert_eq!((stranger.status.as_u16(), &stranger.json()["status"]), (401, &json!(401)));
        assert_eq!(stranger.header("content-type"), "application/problem+json");
    }
}

#[tokio::test]
async fn it_keeps_what_http_lets_it_keep() {
    let vendor = vendor().await;
    let more = format!(
        "keys.main.value = \"{VENDOR_KEY}\"\nlimits.minute = \"12/1m\"\n\
         [[upstreams.v.cache]]\nmatch = \"GET /echo/**\"\nttl = \"1h\"\n"
    );
    let weir = Weir::start(&config("generic", &vendor, &more));
    let grafana = weir.caller(&token_of("grafana"));
    for (path, prices) in [
        ("/header?cache-control=max-age%3D60", [1, 0]),
        ("/header?cache-control=no-store", [1, 1]),
        ("/plain", [1, 1]),
        ("/echo/by-rule", [1, 0]),
    ] {
        for price in prices {
            let reply = grafana.get(path).await;
            assert_eq!((reply.status.as_u16(), reply.price()), (200, price), "{path}");
        }
    }
    // A write makes what it wrote fresh, and the vendor's errors pass as they are.
    let put = grafana.ask(Method::PUT, "/echo/by-rule", &[], "{}").await;
    assert_eq!((put.status.as_u16(), put.price()), (200, 1));
    assert_eq!(grafana.get("/echo/by-rule").await.json()["served"], 3);
    let failed = grafana.get("/status/404").await;
    assert_eq!((failed.status.as_u16(), &failed.json()["path"]), (404, &json!("/status/404")));
    // Nine were paid for, of twelve.
    let mut refused = None;
    for n in 0..5 {
        let reply = grafana.get_with(&format!("/n/{n}"), &[("prefer", "wait=0")]).await;
        if reply.status == 429 {
            refused = Some((n, reply));
            break;
        }
    }
    let (n, refused) = refused.unwrap();
    assert_eq!((n, &refused.json()["status"]), (3, &json!(429)), "{refused:?}");
    assert!(refused.header("proxy-status").contains("minute"));
    let walk = grafana.get_with("/echo/by-rule", &[("weir-pages", "all")]).await;
    assert_eq!(walk.status, 400, "weir knows no pages of this one");
}
