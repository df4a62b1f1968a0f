//! The built binary in front of the strict emulator, as a caller sees it.

use weir::emulator::{Emulator, Key, Options};

use crate::support::{VENDOR_KEY, Weir, catchpoint, token_of};

async fn vendor() -> Emulator {
    Emulator::start(Options { keys: vec![Key::client("main", VENDOR_KEY)], ..Options::default() })
        .await
        .unwrap()
}

#[tokio::test]
async fn a_second_ask_is_free() {
    let vendor = vendor().await;
    let weir = Weir::start(&catchpoint(&vendor.url(), "", &[("grafana", "web", "")]));
    let grafana = weir.caller(&token_of("grafana"));

    let first = grafana.get("/api/v2/tests?pageSize=5").await;
    assert_eq!((first.status.as_u16(), first.price()), (200, 1), "{first:?}");
    assert_eq!(first.header("cache-status"), "weir;fwd=uri-miss;fwd-status=200;stored");
    let second = grafana.get("/api/v2/tests?pageSize=5").await;
    assert_eq!((second.status.as_u16(), second.price()), (200, 0));
    assert!(second.header("cache-status").starts_with("weir;hit;ttl="), "{second:?}");
    assert_eq!(first.body, second.body);
    assert_eq!(vendor.requests().len(), 1);
    assert_eq!(vendor.requests()[0].key.as_deref(), Some("main"));
}

#[tokio::test]
async fn an_unknown_caller_costs_nothing() {
    let vendor = vendor().await;
    let weir = Weir::start(&catchpoint(&vendor.url(), "", &[("grafana", "web", "")]));
    let stranger = weir.caller("weir_guess").get("/api/v2/tests").await;
    assert_eq!(stranger.status, 401);
    assert_eq!(stranger.json()["errors"][0]["message"], "Invalid credentials");
    assert_eq!(vendor.requests().len(), 0);
}
