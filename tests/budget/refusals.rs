//! A no is honest (law 7): who comes back when told is served, and not before.

use std::time::Duration;

use weir::clock::Clock;
use weir::emulator::Options;

use super::{because_of, enforcing, only, start};
use crate::support::load::{fresh_url, pause, together};
use crate::support::{Reply, Weir, catchpoint, token_of};

const AT_ONCE: &[(&str, &str)] = &[("prefer", "wait=0")];

fn told(refused: &Reply) -> Duration {
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(refused.header("proxy-status"), because_of("account: minute"));
    Duration::from_secs(refused.header("retry-after").parse().unwrap())
}

/// Real seconds, since `Retry-After` has no others. Three slots, used 0.7 s apart,
/// then three callers who are refused: each is told of another slot.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_when_told_is_served_and_not_before() {
    let clock = Clock::system();
    let vendor = start(Options { clock, ..enforcing(&["3/2s"]) }).await;
    let weir =
        Weir::start(&catchpoint(&vendor.url(), &only("limits.minute = \"3/2s\""), &[("one", "all", "")]));
    let one = weir.caller(&token_of("one"));
    let began = clock.now();
    for n in 0..3 {
        clock.sleep_until(began + Duration::from_millis(700) * n).await;
        assert_eq!(one.get_with(&fresh_url(0), AT_ONCE).await.status, 200);
    }
    let mut back = Vec::new();
    for _ in 0..3 {
        let refused = one.get_with(&fresh_url(0), AT_ONCE).await;
        back.push(clock.now() + told(&refused));
    }
    let answered: Vec<_> = vendor.requests().iter().map(|seen| seen.answered.unwrap()).collect();
    for (at, answered) in back.iter().zip(&answered) {
        // A window after the head of the answer that held the slot, rounded up to a second.
        let slot = *answered + Duration::from_secs(2);
        assert!(*at >= slot && at.since(slot) < Duration::from_millis(1_100), "{at:?} {slot:?}");
    }
    clock.sleep_until(answered[0] + Duration::from_millis(1_950)).await;
    told(&one.get_with(&fresh_url(0), AT_ONCE).await);
    for at in back {
        clock.sleep_until(at).await;
        let served = one.get_with(&fresh_url(0), AT_ONCE).await;
        assert_eq!((served.status.as_u16(), served.price()), (200, 1), "{served:?}");
    }
    assert_eq!((vendor.counted(), vendor.refused()), (6, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_observes_delays_and_refuses_nothing() {
    let vendor = start(enforcing(&["100/1m"])).await;
    let more = only("mode = \"observe\"\nlimits.minute = \"5/1m\"");
    let weir = Weir::start(&catchpoint(&vendor.url(), &more, &[("one", "all", "")]));
    let one = weir.caller(&token_of("one"));
    let urls: Vec<_> = (0..12).map(|_| fresh_url(0)).collect();
    for reply in together(&one, urls.clone()).await {
        assert_eq!((reply.status.as_u16(), reply.price()), (200, 1), "{reply:?}");
    }
    // Counted all the same. What is said of the limits may be 100 ms old.
    pause(Duration::from_millis(150)).await;
    let hit = one.get(&urls[0]).await;
    assert_eq!((hit.price(), hit.remaining("minute")), (0, 0), "{hit:?}");
    assert_eq!((vendor.counted(), vendor.refused()), (12, 0));
    // And it is said what would have become of the seven that were too many.
    let is_one =
        |line: &serde_json::Value| line["message"].as_str().is_some_and(|text| text.starts_with("observed"));
    let observed = weir.logged(is_one).await;
    assert_eq!((observed.len(), &observed[0]["limit"]), (7, &"account: minute".into()), "{observed:?}");
    assert!(observed.iter().all(|line| line["would"] == "refuse" && line["wait_s"].as_f64() > Some(50.0)));
    assert_eq!(weir.status().await["consumers"][0]["held_up"], 7);
}
