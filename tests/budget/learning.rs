//! What weir learns from a vendor that says no in spite of all, and what it does
//! about keys that are refused and a vendor that is down.

use std::time::Duration;

use weir::clock::Clock;
use weir::emulator::{Emulator, Faults, Key, Options, Windows};

use super::{delays, enforcing, is_long_run, only, start};
use crate::support::load::{alone, asked_by, eventually, fresh_url, pause, saturate, together};
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
    weir.says("the vendor answered 429").await;
}

/// What the dashboard says of the only limit, while the vendor has closed its window;
/// and a restart in the middle of it forgets nothing.
#[tokio::test(flavor = "multi_thread")]
async fn why_they_wait_is_shown_and_outlives_a_restart() {
    let (vendor, weir, caller) = in_front_of(enforcing(&["5/20s"]), "limits.minute = \"10/20s\"").await;
    let waiting = (0..6).map(|_| (caller.clone(), fresh_url(0)));
    let waiting: Vec<_> =
        waiting.map(|(caller, url)| tokio::spawn(async move { caller.try_get(&url).await })).collect();
    eventually(|| vendor.refused() > 0).await;
    pause(Duration::from_millis(300)).await;
    let shown = async |weir: &Weir| {
        let status = weir.status().await;
        let limit = status["limits"][0].clone();
        println!("{limit}");
        let closed_for = limit["closed_for"].as_f64().unwrap();
        (
            limit["used"].clone(),
            limit["used_by_others"].as_u64().unwrap(),
            closed_for,
            status["waiting"].clone(),
        )
    };
    let (used, others, closed_for, _) = shown(&weir).await;
    assert!((10.0..=20.0).contains(&closed_for), "{closed_for}");
    assert_eq!((used, others), (10.into(), 4), "six of ten are weir's own");
    let weir = Weir::again(weir.kill());
    for waiting in waiting {
        waiting.abort();
    }
    let (used, others, still, _) = shown(&weir).await;
    assert!(still > 5.0 && still < closed_for, "{still} of {closed_for}");
    assert_eq!((used, others), (10.into(), 4));
    let refused = vendor.refused();
    let told = weir.caller(&token_of("one")).get_with(&fresh_url(0), &[("prefer", "wait=5")]).await;
    assert_eq!((told.status.as_u16(), vendor.refused()), (429, refused), "nothing leaves meanwhile");
    let retry_after: f64 = told.header("retry-after").parse().unwrap();
    assert!(retry_after >= 5.0 && retry_after <= still + 1.0, "{retry_after} of {still}");
}

/// Half of what the vendor allows is spent by somebody else.
#[tokio::test(flavor = "multi_thread")]
async fn beside_an_outsider_callers_wait() {
    let _alone = alone().await;
    for lines in ["limits.minute = \"10/1s\"", "learn_usage_limits = true\nlimits.minute = \"10/1s\""] {
        let clock = Clock::system();
        let options = Options { clock, latency: delays(1, 5), ..enforcing(&["10/1s"]) };
        let (vendor, weir, caller) = in_front_of(options, lines).await;
        let outsider = Caller::at(vendor.url(), Some(VENDOR_KEY.into()));
        let until = clock.now() + Duration::from_secs(6);
        let spends = async {
            while clock.now() < until {
                outsider.get_with(&fresh_url(1), &[("accept", "*/*")]).await;
                pause(Duration::from_millis(200)).await;
            }
        };
        let callers = std::slice::from_ref(&caller);
        let (replies, ()) = tokio::join!(saturate(callers, 8, until, clock), spends);
        let replies = replies.concat();
        let seen = vendor.requests();
        let own: Vec<_> = seen.iter().filter(|seen| asked_by(seen, 0)).collect();
        let refused = own.iter().filter(|seen| !seen.refused_by.is_empty()).count();
        println!(
            "{lines:?}: {} of ours served, {refused} refused; {}",
            own.len() - refused,
            weir.status().await["limits"][0]
        );
        assert!(replies.iter().all(|reply| reply.status == 200), "callers wait instead of seeing 429");
        assert!(replies.len() >= 8, "and are served: {}", replies.len());
        assert!(refused <= own.len() / 2, "{refused} of {}", own.len());
    }
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
    // Beside other tests on a small machine, one may be held up for longer than any before it.
    let most = if is_long_run() { 0 } else { 1 };
    assert!(refused <= most, "evenly spaced, it refuses {refused} more: {}", weir.output());
    assert!(late.len() >= 20, "and most of the allowance is used: {}", late.len());
    let limit = weir.status().await["limits"][0].clone();
    assert_eq!(limit["pace"], "even");
    // Nine gaps in a window and the measured spread of latencies.
    let spread = weir.status().await["latency_spread"].as_f64().unwrap();
    let gap = limit["gap"].as_f64().unwrap();
    assert!(spread > 0.0 && (gap - (1.0 + spread) / 9.0).abs() < 0.01, "{gap} {spread}");
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
    weir.says("the vendor refuses this key").await;
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
