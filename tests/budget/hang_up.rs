//! Callers who leave, and callers who want the same: nothing is paid for twice, or
//! for nothing (law 3).

use std::time::Duration;

use futures_util::future::join_all;
use weir::emulator::Options;

use super::{delays, enforcing, only, start};
use crate::support::load::{eventually, fresh_url, hang_up, pause};
use crate::support::{Weir, catchpoint, token_of};

/// Waits for real until a window of two seconds has lapsed.
#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_while_waiting_costs_nothing() {
    let vendor = start(enforcing(&["1/2s"])).await;
    let more = only("limits.minute = \"1/2s\"");
    let weir = Weir::start(&catchpoint(&vendor.url(), &more, &[("one", "all", ""), ("two", "all", "")]));
    let (one, two) = (weir.caller(&token_of("one")), weir.caller(&token_of("two")));

    let first = one.get(&fresh_url(0)).await;
    assert_eq!((first.status.as_u16(), first.price()), (200, 1), "{first:?}");
    hang_up(&one, &fresh_url(0), pause(Duration::from_millis(300))).await;
    pause(Duration::from_millis(1_900)).await;
    // The slot that the one who waited would have had is there.
    let next = two.get_with(&fresh_url(1), &[("prefer", "wait=0")]).await;
    assert_eq!((next.status.as_u16(), next.price()), (200, 1), "{next:?}");
    assert_eq!((vendor.total(), vendor.refused()), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_after_the_send_has_paid_for_the_next() {
    let vendor = start(Options { latency: delays(150, 150), ..enforcing(&["9/1m"]) }).await;
    let more = only("limits.minute = \"9/1m\"");
    let weir = Weir::start(&catchpoint(&vendor.url(), &more, &[("one", "all", ""), ("two", "all", "")]));
    let (one, two) = (weir.caller(&token_of("one")), weir.caller(&token_of("two")));

    let url = fresh_url(0);
    hang_up(&one, &url, eventually(|| vendor.total() == 1)).await;
    eventually(|| vendor.requests()[0].answered.is_some()).await;
    pause(Duration::from_millis(100)).await;
    let next = two.get(&url).await;
    assert_eq!((next.status.as_u16(), next.price()), (200, 0), "{next:?}");
    assert!(next.header("cache-status").starts_with("weir;hit;"), "{next:?}");
    assert_eq!((vendor.total(), next.remaining("minute")), (1, 8));

    // Also while the answer is still on its way.
    let url = fresh_url(0);
    hang_up(&one, &url, eventually(|| vendor.total() == 2)).await;
    let next = two.get(&url).await;
    assert_eq!((next.status.as_u16(), next.price()), (200, 0), "{next:?}");
    assert_eq!(vendor.total(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_callers_of_one_cold_url_cost_one_request() {
    let vendor = start(Options { latency: delays(150, 150), ..enforcing(&["9/1m"]) }).await;
    let names = ["a", "b", "c", "d"];
    let more = only("limits.minute = \"9/1m\"");
    let weir = Weir::start(&catchpoint(&vendor.url(), &more, &names.map(|name| (name, "all", ""))));
    let callers = names.map(|name| weir.caller(&token_of(name)));

    let url = fresh_url(0);
    let replies = join_all((0..200).map(|n| callers[n % callers.len()].get(&url))).await;
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.body == replies[0].body));
    assert_eq!(replies.iter().map(|reply| reply.price()).sum::<u32>(), 1);
    assert_eq!((vendor.total(), vendor.refused()), (1, 0));
}
