//! A vendor that fails: what callers are told, what it cost, and that nothing broken is kept.

use std::time::Duration;

use weir::emulator::{Faults, Latency, Options};

use super::{bearer, canned, consumer, echo, front, generic, vendor, vendor_with};
use crate::support::{Reply, Weir, Wire, token_of};

const PATH: &str = "/api/v2/tests/100001";

fn assert_failed(reply: &Reply, status: u16, error: &str, price: u32) {
    assert_eq!((reply.status.as_u16(), reply.price()), (status, price), "{reply:?}");
    assert!(reply.header("proxy-status").contains(&format!("error={error}")), "{reply:?}");
    assert!(reply.error().contains(error), "{}", reply.error());
    assert!(!reply.error().contains("127.0.0.1"), "{}", reply.error());
}

#[tokio::test]
async fn a_vendor_that_is_down_costs_nothing() {
    let vendor = vendor().await;
    let (_weir, grafana) = front(&vendor, "");
    vendor.shutdown().await;
    assert_failed(&grafana.get(PATH).await, 502, "connection_refused", 0);
}

#[tokio::test]
async fn what_was_sent_is_paid_for_whatever_came_back() {
    let vendor = vendor().await;
    let (_weir, grafana) = front(&vendor, "timeout = \"300ms\"\n");
    vendor.set_faults(Faults { reset: 1.0, ..Faults::default() });
    // It is tried once more, and that is paid for too.
    assert_failed(&grafana.get(PATH).await, 502, "connection_terminated", 2);
    // A real third of a second: the vendor's silence is the point.
    vendor.set_faults(Faults { silent: 1.0, ..Faults::default() });
    assert_failed(&grafana.get(PATH).await, 504, "http_response_timeout", 1);
    vendor.set_faults(Faults { server_error: 1.0, ..Faults::default() });
    let error = grafana.get(PATH).await;
    assert!(error.status.is_server_error() && error.price() == 1, "{error:?}");
    vendor.set_faults(Faults { cdn_403: 1.0, ..Faults::default() });
    let banned = grafana.get(PATH).await;
    assert_eq!((banned.status.as_u16(), banned.header("content-type")), (403, "text/html; charset=UTF-8"));
    vendor.set_faults(Faults::default());
    let fine = grafana.get(PATH).await;
    assert_eq!((fine.status.as_u16(), fine.price()), (200, 1), "none of the failures was kept");
    assert_eq!(vendor.requests().len(), 6);
}

#[tokio::test]
async fn an_answer_cut_short_breaks_the_callers_connection_and_is_not_kept() {
    let vendor = vendor().await;
    let (weir, grafana) = front(&vendor, "");
    vendor.set_faults(Faults { cut_short: 1.0, ..Faults::default() });
    let request = || http::Request::get(format!("http://{}{PATH}", weir.address()));
    let ask = |version| {
        let request =
            request().version(version).header("authorization", format!("Bearer {}", token_of("grafana")));
        request.body(Default::default()).unwrap()
    };
    assert!(grafana.send(ask(http::Version::HTTP_11)).await.is_err());
    assert!(grafana.http2().send(ask(http::Version::HTTP_2)).await.is_err());
    vendor.set_faults(Faults::default());
    assert_eq!(grafana.get(PATH).await.price(), 1);
    assert_eq!(vendor.requests().len(), 3);
}

#[tokio::test]
async fn a_stale_answer_is_better_than_an_error() {
    let vendor = vendor().await;
    let rule = "[[upstreams.catchpoint.cache]]\nmatch = \"GET /api/v2/tests/*\"\nttl = \"1s\"\nstale_if_error = \"1h\"\n";
    let (_weir, grafana) = front(&vendor, rule);
    let fresh = grafana.get(PATH).await;
    // A real second: it has to become stale.
    a_second().await;
    let (reset, error) =
        (Faults { reset: 1.0, ..Faults::default() }, Faults { server_error: 1.0, ..Faults::default() });
    for (faults, price) in [(reset, 2), (error, 1)] {
        vendor.set_faults(faults);
        let stale = grafana.get(PATH).await;
        assert_eq!((stale.status.as_u16(), &stale.body), (200, &fresh.body));
        assert!(stale.header("cache-status").contains("hit;ttl=-"), "{stale:?}");
        assert!(stale.header("cache-status").contains("detail=error"), "{stale:?}");
        assert_eq!(stale.price(), price, "what was sent is paid for");
    }
    vendor.shutdown().await;
    let stale = grafana.get(PATH).await;
    assert_eq!((stale.status.as_u16(), stale.price()), (200, 0));
}

#[tokio::test]
async fn a_stale_answer_is_served_while_a_new_one_is_fetched() {
    let latency = Latency { least: Duration::from_millis(200), most: Duration::from_millis(200) };
    let vendor = vendor_with(Options { latency, ..Options::default() }).await;
    let rule = "[[upstreams.catchpoint.cache]]\nmatch = \"GET /api/v2/tests/*\"\nttl = \"1s\"\nstale_while_revalidate = \"1h\"\n";
    let (_weir, grafana) = front(&vendor, rule);
    grafana.get(PATH).await;
    a_second().await;
    let stale = grafana.get(PATH).await;
    assert!(stale.header("cache-status").contains("detail=revalidating"), "{stale:?}");
    crate::support::until("it is fetched anew", || vendor.requests().len() == 2).await;
    crate::support::until("it is answered", || vendor.requests()[1].answered.is_some()).await;
    assert_eq!(vendor.requests().len(), 2);
}

#[tokio::test]
async fn the_vendors_silence_within_a_body_ends() {
    let vendor = echo().await;
    let config = generic("echo", &vendor, "idle_timeout = \"200ms\"\n") + &consumer("all", &["echo"]);
    let weir = Weir::start(&config);
    let mut wire = Wire::connect(weir.address()).await;
    wire.send(format!("GET /drip/3/2s HTTP/1.1\r\nHost: weir\r\n{}\r\n", bearer("all"))).await;
    assert!(wire.breaks().await);
    // And one that is well is not cut.
    assert_eq!(
        weir.caller(&token_of("all")).get("/drip/5/20ms").await.body.iter().filter(|b| **b == b'\n').count(),
        5
    );
}

#[tokio::test]
async fn redirects_and_not_modified_from_nowhere_pass_as_they_are() {
    let vendor = echo().await;
    vendor.script("/r", canned(302, &[("location", "/elsewhere?x=1")], "")).unwrap();
    let weir = Weir::start(&(generic("echo", &vendor, "mount = \"/e\"") + &consumer("all", &["echo"])));
    let reply = weir.caller(&token_of("all")).get("/e/r").await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (302, "/e/elsewhere?x=1"));
}

/// A real second (and a little): freshness is measured in whole ones by another process.
pub(super) async fn a_second() {
    let clock = weir::clock::Clock::system();
    clock.sleep_until(clock.now() + Duration::from_millis(1_100)).await;
}
