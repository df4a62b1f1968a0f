//! Redis dies, freezes, forgets or is cut off, or a weir dies: nothing leaves that might
//! be too much, cached answers flow on, and all of it mends itself.

use std::ops::Range;

use super::*;
use crate::support::load::{alone, fresh_url, pause};
use crate::support::redis::Wire;
use tokio::task::JoinHandle;

/// Callers that ask without end for what nobody has asked for before.
pub(super) struct Load(Vec<JoinHandle<()>>);

impl Load {
    /// Four of them, from this number on.
    pub(super) fn on(weir: &Weir, from: usize) -> Self {
        Self::of(weir, from..from + 4)
    }

    pub(super) fn of(weir: &Weir, numbers: Range<usize>) -> Self {
        let ask = |number: usize| {
            let caller = weir.caller(&token_of(&format!("c{number}")));
            tokio::spawn(async move {
                while let Some(reply) = caller.try_get(&fresh_url(number)).await {
                    if reply.status != 200 {
                        pause(Duration::from_millis(50)).await;
                    }
                }
            })
        };
        Self(numbers.map(ask).collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

pub(super) const KEPT: &str = "/api/v2/nodes/all";

/// What is kept is answered at once, whatever became of Redis.
async fn cached_answers_flow(fleet: &[Weir]) {
    let clock = weir::clock::Clock::system();
    for weir in fleet {
        let (asked, reply) = (clock.now(), weir.caller(&token_of("c0")).get(KEPT).await);
        assert_eq!((reply.status.as_u16(), reply.price()), (200, 0), "{}", weir.output());
        let took = clock.now().since(asked);
        assert!(took < Duration::from_millis(250), "{took:?}");
    }
}

/// Asks until it is admitted: nobody lends a hand.
pub(super) async fn mends(fleet: &[Weir]) {
    for weir in fleet {
        let caller = weir.caller(&token_of("c1"));
        for attempt in 0.. {
            if caller.get(&fresh_url(1)).await.status == 200 {
                break;
            }
            assert!(attempt < 60, "{}", weir.output());
            pause(Duration::from_millis(250)).await;
        }
    }
}

/// From now on each of them has it.
pub(super) async fn warm(fleet: &[Weir]) {
    for weir in fleet {
        let caller = weir.caller(&token_of("c0"));
        for attempt in 0.. {
            if caller.get(KEPT).await.status == 200 {
                break;
            }
            assert!(attempt < 60, "{}", weir.output());
            pause(Duration::from_millis(250)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_cut_off_closes_says_so_and_is_ready_for_what_it_keeps() {
    let _alone = alone().await;
    let (redis, vendor) = (Redis::start(), vendor().await);
    let wire = Wire::to(redis.address()).await;
    let direct = config(&vendor, &redis.url(), "", 12);
    let mut fleet = vec![Weir::start(&direct), Weir::start(&direct)];
    fleet.push(Weir::start(&config(&vendor, &wire.url(), "", 12)));
    warm(&fleet).await;
    let load: Vec<Load> = fleet.iter().enumerate().map(|(at, weir)| Load::on(weir, at * 4)).collect();
    let gauge = async || {
        let page = fleet[2].admin().get("/metrics").await;
        let page = String::from_utf8(page.body.to_vec()).unwrap();
        page.lines().find_map(|line| line.strip_prefix("weir_store_up ")).map(str::to_owned)
    };
    assert_eq!(gauge().await.as_deref(), Some("1.0"));

    wire.cut();
    pause(Duration::from_secs(3)).await;
    cached_answers_flow(&fleet[1..]).await;
    let caller = fleet[2].caller(&token_of("c1"));
    let refused = caller.get(&fresh_url(1)).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(refused.header("retry-after"), "1");
    assert!(refused.header("proxy-status").contains("the shared ledger cannot be reached"), "{refused:?}");
    assert_eq!(gauge().await.as_deref(), Some("0.0"));
    assert_eq!(fleet[2].admin().get("/readyz").await.status, 200);
    mends(&fleet[..2]).await;
    wire.mend();
    mends(&fleet).await;
    assert_eq!(gauge().await.as_deref(), Some("1.0"));
    drop(load);
    assert_eq!(vendor.refused(), 0, "{}", outputs(&fleet));
}
