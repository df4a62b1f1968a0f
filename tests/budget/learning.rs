//! What weir learns from a vendor that says no in spite of all, and what it does
//! about keys that are refused and a vendor that is down.

use std::time::Duration;

use weir::clock::Clock;
use weir::emulator::{Emulator, Faults, Key, Options, Windows};

use super::{delays, enforcing, only, start};
use crate::support::load::{alone, fresh_url, pause, saturate, together};
use crate::support::{Caller, VENDOR_KEY, Weir, catchpoint, token_of};

const CONSUMERS: [(&str, &str, &str); 1] = [("one", "web", "")];

async fn in_front_of(options: Options, lines: &str) -> (Emulator, Weir, Caller) {
    let vendor = start(options).await;
    let weir = Weir::start(&catchpoint(&vendor.url(), &only(lines), &CONSUMERS));
    let caller = weir.caller(&token_of("one"));
    (vendor, weir, caller)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lower_limit_than_configured_is_a_wait_and_not_a_429() {
    let (vendor, weir, caller) = in_front_of(enforcing(&["5/2s"]), "limits.minute = \"10/2s\"").await;
    let replies = together(&caller, (0..12).map(|_| fresh_url(0))).await;
    assert!(replies.iter().all(|reply| reply.status == 200), "{replies:?}");
    // Those in flight when the first was refused are refused too; after that few are.
    assert!((1..=12).contains(&vendor.refused()), "{}", vendor.refused());
    // Whoever was sent back to the queue paid for that too, and is told so.
    let prices: u32 = replies.iter().map(crate::support::Reply::price).sum();
    assert_eq!(u64::from(prices), 12 + vendor.refused());
    assert!(weir.output().contains("the vendor answered 429"), "{}", weir.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_outsider_spends_is_learnt_from_usage_limits() {
    let lines = "learn_usage_limits = true\nlimits.minute = \"10/1m\"";
    let (vendor, _weir, caller) = in_front_of(enforcing(&["10/1m"]), lines).await;
    let outsider = Caller::at(vendor.url(), Some(VENDOR_KEY.into()));
    for _ in 0..6 {
        let own = outsider.get_with(&fresh_url(1), &[("accept", "*/*")]).await;
        assert_eq!(own.status, 200, "{own:?}");
    }

    // Until its first answer weir knows of its own requests only.
    assert_eq!(caller.get_with(&fresh_url(0), &[("prefer", "wait=0")]).await.status, 200);
    pause(Duration::from_millis(150)).await; // the view in the headers is up to 100 ms old
    for left in [2, 1, 0] {
        let reply = caller.get_with(&fresh_url(0), &[("prefer", "wait=0")]).await;
        assert_eq!((reply.status.as_u16(), reply.remaining("minute")), (200, left));
        pause(Duration::from_millis(150)).await;
    }
    let refused = caller.get_with(&fresh_url(0), &[("prefer", "wait=0")]).await;
    assert_eq!((refused.status.as_u16(), vendor.refused()), (429, 0), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_that_estimates_is_soon_left_in_peace() {
    let _alone = alone().await;
    let clock = Clock::system();
    let options =
        Options { windows: Windows::Counter, latency: delays(1, 10), clock, ..enforcing(&["10/1s"]) };
    let (vendor, weir, caller) = in_front_of(options, "limits.minute = \"10/1s\"").await;
    let began = clock.now();
    let replies =
        saturate(std::slice::from_ref(&caller), 8, began + Duration::from_secs(9), clock).await.concat();
    assert!(replies.iter().all(|reply| reply.status == 200), "callers wait instead of seeing 429");
    let late: Vec<_> =
        vendor.requests().into_iter().filter(|seen| seen.arrived > began + Duration::from_secs(5)).collect();
    let refused = late.iter().filter(|seen| !seen.refused_by.is_empty()).count();
    println!("refused {} in all, {refused} of the last {}", vendor.refused(), late.len());
    assert_eq!(refused, 0, "evenly spaced, it refuses no more: {}", weir.output());
    assert!(late.len() >= 20, "and most of the allowance is used: {}", late.len());
    let restarted = Weir::again(weir.kill());
    assert!(restarted.output().contains("evenly spaced, as learnt before"), "{}", restarted.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_key_takes_over_when_the_vendor_refuses_the_first() {
    let keys = vec![Key::client("old", "old-key"), Key::client("main", VENDOR_KEY)];
    let vendor = start(Options { keys, ..enforcing(&["100/1m"]) }).await;
    let text = catchpoint(&vendor.url(), &only("limits.minute = \"100/1m\""), &CONSUMERS);
    let text = text.replace(&format!("keys.main.value = \"{VENDOR_KEY}\"\n"), "")
        + &format!(
            "[[upstreams.catchpoint.keys.main]]\nvalue = \"old-key\"\n\
             [[upstreams.catchpoint.keys.main]]\nvalue = \"{VENDOR_KEY}\"\n"
        );
    let weir = Weir::start(&text);
    let caller = weir.caller(&token_of("one"));
    assert_eq!(caller.get(&fresh_url(0)).await.status, 200);
    assert!(vendor.revoke("old"));
    let reply = caller.get(&fresh_url(0)).await;
    assert_eq!((reply.status.as_u16(), reply.price()), (200, 2), "the refused try was paid for too");
    assert_eq!(caller.get(&fresh_url(0)).await.price(), 1, "the refused one is not tried again");
    let used: Vec<_> = vendor.requests().iter().map(|seen| seen.status.unwrap().as_u16()).collect();
    assert_eq!(used, [200, 401, 200, 200]);
    assert!(weir.output().contains("the vendor refuses this key"), "{}", weir.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_that_is_down_is_let_be() {
    let options =
        Options { faults: Faults { server_error: 1.0, ..Faults::default() }, ..enforcing(&["1000/1m"]) };
    let (vendor, _weir, caller) = in_front_of(options, "limits.minute = \"1000/1m\"").await;
    for _ in 0..10 {
        assert!(caller.get(&fresh_url(0)).await.status.is_server_error());
    }
    // Five failures open the breaker; one failed request may have been tried twice.
    assert!((5..=6).contains(&vendor.total()), "{}", vendor.total());
    vendor.set_faults(Faults::default());
    let let_be = caller.get(&fresh_url(0)).await;
    assert_eq!((let_be.status.as_u16(), let_be.price()), (502, 0));
    assert!(let_be.header("proxy-status").contains("error=destination_unavailable"), "{let_be:?}");
    pause(Duration::from_millis(5_100)).await; // real seconds: the breaker of another process
    assert_eq!(caller.get(&fresh_url(0)).await.status, 200);
    assert_eq!(caller.get(&fresh_url(0)).await.status, 200);
}
