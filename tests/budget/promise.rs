//! `counted_within`: proof traded for speed with a slow vendor (law 1). Runs for real.

use std::time::Duration;

use weir::clock::Clock;
use weir::emulator::{CountAt, Options};

use super::{delays, enforcing, only, start};
use crate::support::load::{alone, eventually, fresh_url, pause, saturate};
use crate::support::{Weir, Wire, catchpoint, token_of};

const LINES: &str = "timeout = \"10s\"\ncounted_within = \"300ms\"\nlimits.minute = \"10/1s\"";

/// The vendor counts as the request arrives, and takes 1.5 s to answer: with charges
/// that last until W after the head no more than 10 in 2.5 s could leave.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_vendor_is_used_as_fast_as_it_counts() {
    let _alone = alone().await;
    let clock = Clock::system();
    // What is left of the delays is spent on the way back.
    let options =
        Options { count_at: CountAt::Arrival, latency: delays(750, 750), clock, ..enforcing(&["10/1s"]) };
    let vendor = start(options).await;
    let more = LINES.replace("300ms", "900ms");
    let weir = Weir::start(&catchpoint(&vendor.url(), &only(&more), &[("one", "all", "")]));
    let one = weir.caller(&token_of("one"));
    let until = clock.now() + Duration::from_secs(10);
    saturate(std::slice::from_ref(&one), 32, until, clock).await;
    let counted = vendor.counted();
    println!("{counted} counted in 10 s");
    // 10 in 1.9 s are 52; until W after the head, in 2.5 s, they are 40.
    assert!(counted >= 44 && vendor.refused() == 0, "{counted} counted, {} refused", vendor.refused());
    assert_eq!(weir.status().await["counted_within"], 0.9);
}

/// A body that comes slowly: its charge lasts until after the last of it, and no
/// longer, whatever the answer takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_is_charged_until_after_its_last_byte() {
    let vendor = start(Options { latency: delays(3_000, 3_000), ..enforcing(&["100/1s:all"]) }).await;
    let lines = LINES.replace("minute = \"10/1s\"", "second = { requests = 10, per = \"1s\" }");
    let access = "allow = [\"* /**\"]";
    let weir = Weir::start(&catchpoint(&vendor.url(), &only(&lines), &[("one", "all", access)]));
    let used = async || weir.status().await["limits"][0]["used"].clone();
    let mut wire = Wire::connect(weir.address()).await;
    let head = format!(
        "POST /api/v2/tests HTTP/1.1\r\nhost: weir\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: 19\r\n\r\n",
        token_of("one")
    );
    wire.send(head + "{\"name\":\"").await;
    eventually(|| vendor.total() == 1).await;
    // Longer than the promise and the window together: real seconds, of other processes.
    pause(Duration::from_millis(1_600)).await;
    assert_eq!(used().await, 1, "not all of it has been written");
    wire.send("slowly__\"}").await;
    pause(Duration::from_millis(1_800)).await;
    assert_eq!((used().await, vendor.requests()[0].answered), (0.into(), None));
    assert!(wire.answer().await.status.as_u16() < 500);
}

/// The vendor counts only as it answers, against the promise.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_429_takes_the_promise_back() {
    let _alone = alone().await;
    let clock = Clock::system();
    let options =
        Options { count_at: CountAt::Head, latency: delays(5, 400), clock, ..enforcing(&["10/1s"]) };
    let vendor = start(options).await;
    let lines = LINES.replace("300ms", "10ms");
    let weir = Weir::start(&catchpoint(&vendor.url(), &only(&lines), &[("one", "all", "")]));
    let one = weir.caller(&token_of("one"));
    // A burst whose charges would be over W after the promise, and the next one on its heels.
    let until = clock.now() + Duration::from_secs(6);
    let replies = saturate(std::slice::from_ref(&one), 24, until, clock).await.concat();
    assert!(replies.iter().all(|reply| reply.status == 200), "callers wait instead of seeing 429");
    let refused = vendor.refused();
    assert!(refused > 0, "the vendor was to break it");
    weir.says("counted_within is broken").await;
    assert_eq!(weir.status().await["counted_within"], serde_json::Value::Null);
    let weir = Weir::again(weir.kill());
    assert!(weir.output().contains("has broken counted_within before the restart"), "{}", weir.output());
    let one = weir.caller(&token_of("one"));
    assert_eq!(one.get(&fresh_url(0)).await.status, 200);
    assert_eq!(vendor.refused(), refused);
}
