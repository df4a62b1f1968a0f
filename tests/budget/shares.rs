//! Under contention everyone gets its share (law 4). Runs for real.

use std::time::Duration;

use weir::clock::Clock;
use weir::emulator::{Options, Seen};

use super::{delays, enforcing, only, start};
use crate::support::load::{alone, asked_by, saturate};
use crate::support::{Weir, catchpoint, token_of};

/// Whole windows that are measured, after so many that are not.
const MEASURED: u32 = 4;
const WARM_UP: u32 = 2;

/// Jain's index of what each got per share: 1 if all got alike.
pub(super) fn jain(got: &[f64]) -> f64 {
    let (sum, squares) = got.iter().fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
    sum * sum / (squares * got.len() as f64)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_divisions_share_one_to_two() {
    let _alone = alone().await;
    let clock = Clock::system();
    let vendor = start(Options { latency: delays(5, 30), clock, ..enforcing(&["30/1500ms"]) }).await;
    let more = only("limits.minute = \"30/1500ms\"")
        + "[upstreams.catchpoint.divisions.web]\nkey = \"main\"\nshare = \"20%\"\n\
           [upstreams.catchpoint.divisions.ops]\nkey = \"main\"\nshare = \"40%\"\n";
    let weir = Weir::start(&catchpoint(&vendor.url(), &more, &[("one", "web", ""), ("two", "ops", "")]));
    let callers = ["one", "two"].map(|name| weir.caller(&token_of(name)));
    let window = Duration::from_millis(1_500);
    let began = clock.now();
    // Twice what a window has for both: so each has somebody in the queue whenever a slot comes.
    let replies = saturate(&callers, 60, began + window * (WARM_UP + MEASURED + 1), clock).await.concat();
    assert!(replies.iter().all(|reply| reply.status == 200));

    let seen = vendor.requests();
    // On a small machine one of them may be there a while before the other.
    let first = [0, 1].map(|who| seen.iter().find(|seen| asked_by(seen, who)).unwrap().arrived);
    let from = first[0].max(first[1]) + window * WARM_UP;
    let inside = |seen: &&Seen| seen.arrived >= from && seen.arrived < from + window * MEASURED;
    let measured: Vec<&Seen> = seen.iter().filter(inside).collect();
    let got = [0, 1].map(|who| measured.iter().filter(|seen| asked_by(seen, who)).count() as f64);
    let jain = jain(&[got[0] / 20.0, got[1] / 40.0]);
    println!("served {got:?}, Jain's index by share {jain:.4}");
    assert!(jain >= 0.97 && (got[1] / got[0] - 2.0).abs() < 0.3, "{got:?} {jain}");
    assert_eq!(vendor.refused(), 0);
}
