//! The fields that say what weir did: structured, and true.

use sfv::{List, ListEntry, Parser};
use weir::emulator::Emulator;

use super::{front, vendor};
use crate::support::{Reply, Weir, catchpoint, token_of};

/// The members of a list of items with integer parameters: `"minute";q=20;w=60`.
fn items(reply: &Reply, field: &str) -> Vec<(String, Vec<(String, i64)>)> {
    let list: List = Parser::new(reply.header(field)).parse().unwrap_or_else(|e| panic!("{field}: {e}"));
    let item = |entry: ListEntry| {
        let ListEntry::Item(item) = entry else { panic!("{field} has an inner list") };
        let name = item.bare_item.as_string().expect("a string").as_str().to_owned();
        let params = item.params.into_iter();
        let params = params.map(|(key, value)| (key.as_str().to_owned(), value.as_integer().unwrap().into()));
        (name, params.collect())
    };
    list.into_iter().map(item).collect()
}

#[tokio::test]
async fn rate_limits_are_structured_fields_of_ones_own_view() {
    let vendor = vendor().await;
    let more =
        "limits = { second = false, minute = \"10/1m\", hour = \"500/1h\", day = { requests = 2000 } }\n";
    let weir = Weir::start(&catchpoint(&vendor.url(), more, &[("grafana", "web", "")]));
    let grafana = weir.caller(&token_of("grafana"));
    let reply = grafana.get("/api/v2/tests/alerts").await;
    let of = |key: &str, value| (key.to_owned(), value);
    assert_eq!(
        items(&reply, "ratelimit-policy"),
        [
            ("minute".to_owned(), vec![of("q", 10), of("w", 60)]),
            ("hour".to_owned(), vec![of("q", 500), of("w", 3_600)]),
            ("day".to_owned(), vec![of("q", 2_000), of("w", 86_400)]),
        ]
    );
    let left = items(&reply, "ratelimit");
    let minute = left.iter().find(|(name, _)| name == "minute").unwrap();
    assert_eq!(minute.1[0], of("r", 9));
    assert!((1..=61).contains(&minute.1[1].1), "{minute:?}");
    let plain = grafana.get("/api/v2/nodes").await;
    assert_eq!((plain.header("ratelimit"), plain.price()), ("", 0), "no limit counts it");
}

#[tokio::test]
async fn a_refusal_names_its_limit_and_an_honest_moment() {
    let vendor = vendor().await;
    let more = "limits = { second = false, minute = \"2/1m\" }\n";
    let weir = Weir::start(&catchpoint(&vendor.url(), more, &[("grafana", "web", "")]));
    let grafana = weir.caller(&token_of("grafana"));
    let alerts = |page: u32| format!("/api/v2/tests/alerts?pageNumber={page}");
    grafana.get(&alerts(1)).await;
    grafana.get(&alerts(2)).await;
    let no = grafana.get_with(&alerts(3), &[("prefer", "wait=0")]).await;
    assert_eq!((no.status.as_u16(), no.price(), no.header("preference-applied")), (429, 0, ""));
    assert!((58..=61).contains(&no.header("retry-after").parse::<u32>().unwrap()), "{no:?}");
    let details = item_of(&no, "details");
    assert!(details.contains("minute"), "{details}");
    assert!(no.error().contains(&details), "{}", no.error());
    assert_eq!(vendor_requests(&vendor), 2);
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_clipped_and_said() {
    let vendor = vendor().await;
    let (_weir, grafana) = front(&vendor, "max_wait = \"7s\"\n");
    for (asked, applied) in [
        ("wait=600", "wait=7"),
        ("wait=5", ""),
        ("wait=18446744073709551615", "wait=7"),
        ("respond-async", ""),
    ] {
        let reply = grafana.get_with("/api/v2/tests", &[("prefer", asked)]).await;
        assert_eq!((reply.status.as_u16(), reply.header("preference-applied")), (200, applied), "{asked}");
    }
    let own = "max_wait = \"2m\"";
    let weir = Weir::start(&catchpoint(&vendor.url(), "", &[("grafana", "web", own)]));
    let reply = weir.caller(&token_of("grafana")).get_with("/api/v2/tests", &[("prefer", "wait=600")]).await;
    assert_eq!(reply.header("preference-applied"), "wait=120");
}

#[tokio::test]
async fn cache_status_tells_hit_and_miss() {
    let vendor = vendor().await;
    let (_weir, grafana) = front(&vendor, "");
    let path = "/api/v2/tests/100001";
    let (miss, hit) = (grafana.get(path).await, grafana.get(path).await);
    assert_eq!(miss.header("cache-status"), "weir;fwd=uri-miss;fwd-status=200;stored");
    assert!(hit.header("cache-status").starts_with("weir;hit;ttl="), "{hit:?}");
    assert_eq!((miss.header("age"), hit.header("age").parse::<u32>().is_ok()), ("", true));
    let insists = grafana.get_with(path, &[("cache-control", "no-cache")]).await;
    assert_eq!(
        (insists.header("cache-status"), insists.price()),
        ("weir;fwd=request;fwd-status=200;stored", 1)
    );
}

/// A parameter of weir's own member of `Proxy-Status`.
fn item_of(reply: &Reply, parameter: &str) -> String {
    let list: List = Parser::new(reply.header("proxy-status")).parse().unwrap();
    let Some(ListEntry::Item(item)) = list.first() else { panic!("{reply:?}") };
    let found = item.params.iter().find(|(key, _)| key.as_str() == parameter).expect("it is there");
    found.1.as_string().expect("a string").as_str().to_owned()
}

fn vendor_requests(vendor: &Emulator) -> usize {
    vendor.requests().len()
}
