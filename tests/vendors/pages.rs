//! `Weir-Pages: all`: whole lists or none.

use std::time::Duration;

use http::Method;
use serde_json::json;
use weir::clock::Clock;
use weir::emulator::{Canned, Faults, Links, Options, Vendor};

use super::{front, unlimited};
use crate::support::{Caller, Reply, until};

const ALL: [(&str, &str); 1] = [("weir-pages", "all")];
const NOW: [(&str, &str); 2] = [("weir-pages", "all"), ("prefer", "wait=0")];

async fn walk(caller: &Caller, path: &str) -> Reply {
    caller.get_with(path, &ALL).await
}

fn tests_in(reply: &Reply) -> usize {
    reply.json()["data"]["tests"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_walk_is_one_list_in_the_vendors_shape() {
    for (links, more) in [(Links::Absolute, "mount = \"/cp\"\n"), (Links::Relative, "")] {
        let vendor = unlimited(Options { links, ..Options::default() }).await;
        let (_weir, grafana) = front(&vendor, more);
        let list = format!("{}/api/v2/tests?pageSize=100", if more.is_empty() { "" } else { "/cp" });
        let whole = walk(&grafana, &list).await;
        assert_eq!(
            (whole.status.as_u16(), whole.price(), whole.header("weir-pages")),
            (200, 3, "3"),
            "{whole:?}"
        );
        let body = whole.json();
        let mut ids: Vec<_> = body["data"]["tests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|test| test["id"].as_i64().unwrap())
            .collect();
        assert!(ids.is_sorted());
        ids.dedup();
        assert_eq!(ids.len(), 250);
        assert_eq!((&body["data"]["hasMore"], &body["data"]["next"]), (&json!(false), &json!(null)));
        assert_eq!((&body["completed"], &body["errors"]), (&json!(true), &json!([])));
        // Its pages are pages like any other, and so is what was one already.
        assert_eq!(grafana.get(&list).await.price(), 0);
        let again = walk(&grafana, &list).await;
        assert_eq!((again.price(), &again.body), (0, &whole.body));
        assert_eq!(vendor.total(), 3);
        // One page is a walk as well; what is not there is told as the vendor tells it.
        assert_eq!(tests_in(&walk(&grafana, &list.replace("tests?", "tests/100001,100002?")).await), 2);
        let missing = walk(&grafana, &list.replace("tests?", "tests/1?")).await;
        assert_eq!(
            (missing.status.as_u16(), missing.error()),
            (200, "No valid Test found for input '1'.".into())
        );
    }
}

#[tokio::test]
async fn walks_join_page_by_page() {
    let vendor = unlimited(Options::default()).await;
    let (_weir, grafana) = front(&vendor, "");
    let walks = (0..12).map(|_| walk(&grafana, "/api/v2/tests?pageSize=50"));
    let all = futures_util::future::join_all(walks).await;
    assert_eq!(all.iter().map(Reply::price).sum::<u32>(), 5);
    assert!(all.iter().all(|reply| tests_in(reply) == 250));
    assert_eq!(vendor.total(), 5);
}

#[tokio::test]
async fn a_rule_asks_for_those_who_cannot() {
    let vendor = unlimited(Options::default()).await;
    let rule = "[[upstreams.catchpoint.cache]]\nmatch = \"GET /api/v2/tests\"\npages = \"all\"\n";
    let (_weir, grafana) = front(&vendor, rule);
    let whole = grafana.get("/api/v2/tests?pageSize=100").await;
    assert_eq!((tests_in(&whole), whole.price()), (250, 3), "{whole:?}");
    // From the page that is asked for on; and one object is no list.
    assert_eq!(tests_in(&grafana.get("/api/v2/tests?pageSize=100&pageNumber=3").await), 50);
    assert_eq!(grafana.get("/api/v2/tests/100001").await.price(), 1);
    let head = grafana.ask(Method::HEAD, "/api/v2/tests?pageSize=100", &[], "").await;
    assert_eq!((head.status.as_u16(), head.header("weir-pages")), (200, ""));
}

/// The pages are stale by the time of the retry, and still not paid for twice.
/// Real seconds: the window of the limit has to lapse.
#[tokio::test]
async fn a_retry_goes_on_where_the_deadline_was() {
    let vendor = unlimited(Options::default()).await;
    let more = "limits.second = false\nlimits.minute = { requests = 3, per = \"2s\", routes = \"all\" }\n\
                limits.hour = false\nlimits.day = false\n\
                [[upstreams.catchpoint.cache]]\nmatch = \"GET /api/v2/tests\"\nttl = \"1s\"\n";
    let (_weir, grafana) = front(&vendor, more);
    const LIST: &str = "/api/v2/tests?pageSize=60";
    let refused = grafana.get_with(LIST, &NOW).await;
    assert_eq!((refused.status.as_u16(), refused.price()), (429, 3), "{refused:?}");
    assert!(refused.header("proxy-status").contains("minute"), "{refused:?}");
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=2).contains(&seconds), "{seconds}");
    let clock = Clock::system();
    clock.sleep_until(clock.now() + Duration::from_secs(seconds)).await;
    let whole = grafana.get_with(LIST, &ALL).await;
    assert_eq!((whole.status.as_u16(), whole.price(), tests_in(&whole)), (200, 2, 250), "{whole:?}");
    assert_eq!(vendor.total(), 5);
    // What is finished begins anew: its pages are stale by now, or will be.
    clock.sleep_until(clock.now() + Duration::from_millis(1_100)).await;
    let anew = grafana.get_with(LIST, &NOW).await;
    assert!(vendor.total() > 5, "{anew:?}");
}

/// The same where it is the caller who does not wait. Real seconds, as above.
#[tokio::test]
async fn what_a_caller_paid_who_hung_up_is_not_paid_twice() {
    let vendor = unlimited(Options::default()).await;
    let more = "limits.second = false\nlimits.minute = { requests = 3, per = \"3s\", routes = \"all\" }\n\
                limits.hour = false\nlimits.day = false\n\
                [[upstreams.catchpoint.cache]]\nmatch = \"GET /api/v2/tests\"\nttl = \"1s\"\n";
    let (weir, grafana) = front(&vendor, more);
    let walking = tokio::spawn({
        let grafana = grafana.clone();
        async move { walk(&grafana, "/api/v2/tests?pageSize=60").await }
    });
    until("three pages were asked for", || vendor.total() == 3).await;
    let clock = Clock::system();
    clock.sleep_until(clock.now() + Duration::from_millis(1_200)).await;
    walking.abort();
    // weir has noticed.
    weir.logged(|line| line.to_string().contains("hung-up")).await;
    let whole = walk(&grafana, "/api/v2/tests?pageSize=60").await;
    assert_eq!((whole.status.as_u16(), whole.price(), tests_in(&whole)), (200, 2, 250), "{whole:?}");
    assert_eq!(vendor.total(), 5);
}

#[tokio::test]
async fn never_a_short_list() {
    let vendor = unlimited(Options::default()).await;
    let (_weir, grafana) = front(&vendor, "max_pages = 4\n");
    let many = walk(&grafana, "/api/v2/tests?pageSize=50").await;
    assert_eq!(many.status, 400);
    assert!(many.error().contains("more than 4 pages"), "{many:?}");
    // The first page is there, the next one fails.
    assert_eq!(grafana.get("/api/v2/tests?pageSize=90").await.status, 200);
    vendor.set_faults(Faults { cdn_403: 1.0, ..Faults::default() });
    let failed = walk(&grafana, "/api/v2/tests?pageSize=90").await;
    assert_eq!((failed.status.as_u16(), failed.price()), (502, 1), "{failed:?}");
    assert!(failed.error().contains("page 2 of the list was answered 403"), "{failed:?}");
    // A failure of the first is told as it is.
    let first = walk(&grafana, "/api/v2/tests?pageSize=80").await;
    assert_eq!((first.status.as_u16(), first.header("content-type")), (403, "text/html; charset=UTF-8"));
    vendor.set_faults(Faults { cut_short: 1.0, ..Faults::default() });
    let cut = walk(&grafana, "/api/v2/tests?pageSize=70").await;
    assert_eq!(cut.status, 502, "{cut:?}");
}

#[tokio::test]
async fn what_is_no_list_is_not_walked() {
    let vendor = unlimited(Options { vendor: Vendor::Generic, ..Options::default() }).await;
    let (_weir, grafana) = front(&vendor, "");
    let page = |body: String| Canned {
        headers: [("content-type", "application/json")]
            .into_iter()
            .map(|(n, v)| (http::HeaderName::from_static(n), http::HeaderValue::from_static(v)))
            .collect(),
        body: body.into(),
        ..Canned::default()
    };
    let next =
        |to: &str| page(format!(r#"{{"data":{{"tests":[1],"hasMore":true,"next":{to}}},"completed":true}}"#));
    let large = format!(r#"{{"data":{{"tests":["{}"],"hasMore":false}}}}"#, "x".repeat(17 << 20));
    for (path, canned, status, says) in [
        ("/api/v2/tests", next(r#""/api/v2/tests?pageNumber=2""#), 502, "leads back"),
        ("/api/v2/nodes", next(r#""/api/v2/tests?pageNumber=2""#), 502, "no page of this list can be"),
        ("/api/v2/labels", next("null"), 502, "does not say where"),
        ("/api/v2/folders", next(r#""https://elsewhere.example/api/v2/folders""#), 502, "does not say where"),
        ("/api/v2/products", page(r#"{"data":{"a":1},"completed":true}"#.into()), 502, "exactly one list"),
        ("/api/v2/contacts", page(large), 400, "larger than 16 MiB"),
    ] {
        vendor.script(path, canned).unwrap();
        let reply = walk(&grafana, path).await;
        assert_eq!(reply.status, status, "{path}: {:?}", reply.headers);
        assert!(reply.error().contains(says), "{path}: {}", reply.error());
    }
    let asked = vendor.total();
    let wrong = grafana.get_with("/api/v2/tests", &[("weir-pages", "3")]).await;
    assert_eq!((wrong.status.as_u16(), wrong.price()), (400, 0), "{wrong:?}");
    let write = grafana.ask(Method::POST, "/api/v2/tests", &ALL, "{}").await;
    assert_eq!((write.status.as_u16(), write.price()), (400, 0), "{write:?}");
    assert_eq!(vendor.total(), asked);
}
