//! Many callers at once for one key: nothing is asked twice that may be shared, nothing
//! stampedes, and an error is one error for all who waited for it.

use std::time::Duration;

use futures_util::future::join_all;
use weir::emulator::{Canned, Count, Faults, Latency, Limit, Options, Routes, Scope};

use super::House;
use super::keyed::{self, Keyed};
use crate::support::load::together;
use crate::support::{Reply, until};

/// There and back a tenth of a second.
fn afar() -> Options {
    let way = Duration::from_millis(50);
    Options { latency: Latency { least: way, most: way }, ..Options::default() }
}

fn crowd(path: &str, callers: usize) -> impl Iterator<Item = String> {
    std::iter::repeat_n(path.to_owned(), callers)
}

fn count(replies: &[Reply], what: &str) -> usize {
    replies.iter().filter(|reply| reply.header("cache-status").contains(what)).count()
}

fn no_store(status: u16) -> Canned {
    let headers = [("cache-control", "no-store")].map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()));
    let status = http::StatusCode::from_u16(status).unwrap();
    Canned { status, headers: headers.into_iter().collect(), body: "once".into() }
}

/// What all of them paid together.
fn paid(replies: &[Reply]) -> usize {
    replies.iter().map(|reply| reply.price() as usize).sum()
}

/// As in the config `limits.second = "30/1s"`, and the origin is strict about it.
fn strict() -> Options {
    let per = Duration::from_secs(1);
    let limit =
        Limit { requests: 30, per, scope: Scope::Account, routes: Routes::All, count: Count::Default };
    Options { limits: Some(vec![limit]), ..afar() }
}

const LIMIT: &str = "limits.second = \"30/1s\"\n";

/// A plain cache may share nothing that it may not keep: each is asked for singly.
#[tokio::test]
async fn what_may_not_be_shared_is_asked_for_once_each_and_never_faster_than_allowed() {
    let house = House::of(strict(), LIMIT).await;
    house.origin.script("/a", no_store(200)).unwrap();
    let replies = together(&house.caller(), crowd("/a", 50)).await;
    assert!(replies.iter().all(|reply| reply.status == 200), "{replies:?}");
    assert_eq!((house.asked(), paid(&replies), house.origin.refused()), (50, 50, 0));
    assert_eq!(count(&replies, "collapsed"), 0);
}

/// With a key, who joined before the head is served by it. From then on the key is known
/// for one that waiting for each other is of no use, and each waits for its own turn.
#[tokio::test]
async fn a_crowd_of_a_key_whose_answer_is_not_kept_is_no_stampede() {
    let house = Keyed::with(strict(), LIMIT).await;
    house.origin.script("/a", no_store(200)).unwrap();
    for (round, least_joined, most_joined) in [(0, 25, 49), (1, 0, 0)] {
        let before = house.asked();
        let replies = together(&house.caller("web"), crowd("/a", 50)).await;
        assert!(replies.iter().all(|reply| reply.status == 200 && reply.body == "once"));
        let (asked, joined) = (house.asked() - before, count(&replies, "collapsed"));
        assert_eq!((asked, paid(&replies)), (50 - joined, 50 - joined), "{round}");
        assert!((least_joined..=most_joined).contains(&joined), "{round}: {joined}");
    }
    assert_eq!(house.origin.refused(), 0);
}

#[tokio::test]
async fn an_error_is_one_error_for_all_who_wait() {
    let house = Keyed::with(afar(), "").await;
    for (path, status, asked) in [("/status/500", 500, 1), ("/status/404", 404, 1), ("/status/503", 503, 2)] {
        house.origin.forget_requests();
        let replies = together(&house.caller("web"), crowd(path, 20)).await;
        assert!(replies.iter().all(|reply| reply.status == status), "{replies:?}");
        // What a vendor's front cannot do now is tried once more, for all of them together.
        assert_eq!(house.asked(), asked, "{path}");
        assert_eq!(paid(&replies), asked, "{path}");
    }
}

#[tokio::test]
async fn a_vendor_that_is_gone_costs_none_of_the_crowd_anything() {
    let house = Keyed::with(afar(), "").await;
    let Keyed { origin, weir } = house;
    origin.shutdown().await;
    let replies = together(&weir.caller(&keyed::token("web")), crowd("/a", 20)).await;
    assert!(replies.iter().all(|reply| reply.status == 502 && reply.price() == 0), "{replies:?}");
}

/// One fetch, which no slot is free for yet: each of its callers waits as long as it
/// would, and no longer.
#[tokio::test]
async fn callers_of_one_fetch_wait_each_as_long_as_it_would() {
    let house = Keyed::with(Options::default(), "limits.second = \"1/2s\"\n").await;
    let caller = house.caller("web");
    caller.get("/first").await;
    let waits = ["wait=0", "wait=1", "wait=20", "wait=20"];
    let replies = join_all(waits.map(async |wait| caller.get_with("/a", &[("prefer", wait)]).await)).await;
    let statuses: Vec<_> = replies.iter().map(|reply| reply.status.as_u16()).collect();
    assert_eq!((statuses, house.asked()), (vec![429, 429, 200, 200], 2), "{replies:?}");
    assert_eq!(paid(&replies), 1);
}

/// The first connection breaks under all of them; who has time left goes on.
#[tokio::test]
async fn a_broken_fetch_is_begun_again_for_all_who_have_time_left() {
    let house = Keyed::with(afar(), "").await;
    house.origin.set_faults(Faults { reset: 1.0, ..Default::default() });
    let caller = house.caller("web");
    let mends = async {
        until("it was asked", || house.asked() == 1).await;
        house.origin.set_faults(Default::default());
    };
    let (replies, ()) = tokio::join!(together(&caller, crowd("/a", 20)), mends);
    assert!(replies.iter().all(|reply| reply.status == 200), "{replies:?}");
    assert_eq!(house.asked(), 2);
    assert_eq!(paid(&replies), 2);
}
