//! Whatever goes wrong, on either side, the vendor is not overrun (law 1). Runs for real.

use std::time::Duration;

use futures_util::future::join_all;
use weir::clock::Clock;
use weir::emulator::{CountAt, Faults, Options, Windows};

use super::{delays, enforcing, only, start};
use crate::support::load::{alone, fresh_url, pause};
use crate::support::{Weir, catchpoint, token_of};

/// Answers that never come, break off, or come from a CDN that delivers the
/// request later; callers that hang up at any moment; a vendor that counts at any
/// moment and whose clock runs slow.
#[tokio::test(flavor = "multi_thread")]
async fn no_vendor_is_overrun_whatever_goes_wrong() {
    let _alone = alone().await;
    let outcomes = [Windows::Sliding, Windows::Fixed].map(async |windows| {
        let clock = Clock::system();
        let faults = Faults {
            server_error: 0.05,
            reset: 0.05,
            silent: 0.02,
            cut_short: 0.05,
            buffered: 0.03,
            buffered_for: Duration::from_millis(600),
            ..Faults::default()
        };
        let vendor = start(Options {
            windows,
            phase: Duration::from_millis(137),
            count_at: CountAt::Random,
            latency: delays(1, 80),
            drift_ppm: -500,
            faults,
            clock,
            ..enforcing(&["10/1s", "40/5s"])
        })
        .await;
        let more = only(
            "timeout = \"800ms\"\nmax_wait = \"20s\"\nlimits.minute = \"10/1s\"\nlimits.hour = \"40/5s\"",
        );
        let names = ["a", "b", "c", "d"];
        let weir = Weir::start(&catchpoint(&vendor.url(), &more, &names.map(|name| (name, "all", ""))));
        let until = clock.now() + Duration::from_secs(8);
        join_all(names.iter().zip(0..).map(async |(name, who)| {
            let caller = weir.caller(&token_of(name));
            join_all((0..4).map(async |lane: u64| {
                for round in 0_u64.. {
                    if clock.now() >= until {
                        return;
                    }
                    let patience = pause(Duration::from_millis((round * 7_919 + lane * 613) % 1_500));
                    let url = fresh_url(who);
                    tokio::select! {
                        () = patience => {}
                        _ = caller.try_get(&url) => {}
                    }
                }
            }))
            .await
        }))
        .await;
        assert_eq!(vendor.refused(), 0, "{:?}", vendor.tallies());
        vendor.counted()
    });
    let counted: u64 = join_all(outcomes).await.iter().sum();
    // Weir lets a vendor be that fails five times in ten, so it may be asked for a part of the time only.
    assert!(counted >= 40, "hardly anything was tried: {counted}");
}
