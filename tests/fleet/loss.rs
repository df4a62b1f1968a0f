//! Redis dies, freezes, forgets or is cut off, or a weir dies: nothing leaves that might
//! be too much, cached answers flow on, and all of it mends itself.

use super::*;
use crate::support::load::{alone, fresh_url, pause};
use crate::support::redis::Wire;
use tokio::task::JoinHandle;

/// Callers that ask without end for what nobody has asked for before.
struct Load(Vec<JoinHandle<()>>);

impl Load {
    fn on(weir: &Weir, from: usize) -> Self {
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
        Self((from..from + 4).map(ask).collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

const KEPT: &str = "/api/v2/nodes/all";

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
async fn mends(fleet: &[Weir]) {
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

async fn warm(fleet: &[Weir]) {
    for weir in fleet {
        let reply = weir.caller(&token_of("c0")).get(KEPT).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_dies_makes_the_vendor_refuse() {
    let _alone = alone().await;
    let (mut redis, vendor) = (Redis::start(), vendor().await);
    let wire = Wire::to(redis.address()).await;
    let direct = config(&vendor, &redis.url(), "", 12);
    let mut fleet = vec![Weir::start(&direct), Weir::start(&direct)];
    fleet.push(Weir::start(&config(&vendor, &wire.url(), "", 12)));
    warm(&fleet).await;
    let mut load: Vec<Load> = fleet.iter().enumerate().map(|(at, weir)| Load::on(weir, at * 4)).collect();
    pause(WINDOW).await;

    // A weir is killed; what it held comes back by itself, and it comes back itself.
    let folder = fleet.remove(0).kill();
    fleet.insert(0, Weir::again(folder));
    load[0] = Load::on(&fleet[0], 0);
    pause(WINDOW).await;

    // Redis stands still.
    redis.freeze();
    pause(Duration::from_millis(500)).await;
    cached_answers_flow(&fleet[1..]).await;
    pause(Duration::from_secs(2)).await;
    cached_answers_flow(&fleet[1..]).await;
    redis.thaw();
    mends(&fleet).await;

    // It comes back as it was some time ago.
    redis.save();
    pause(WINDOW / 2).await;
    redis.kill();
    redis.again();
    mends(&fleet).await;

    // It comes back with nothing.
    redis.kill();
    cached_answers_flow(&fleet[1..]).await;
    redis.again_empty();
    mends(&fleet).await;

    // One replica is cut off: it closes, the others go on.
    wire.cut();
    pause(Duration::from_secs(3)).await;
    cached_answers_flow(&fleet[1..]).await;
    let caller = fleet[2].caller(&token_of("c1"));
    let refused = caller.get(&fresh_url(1)).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(refused.header("retry-after"), "1");
    assert!(refused.header("proxy-status").contains("the shared ledger cannot be reached"), "{refused:?}");
    mends(&fleet[..2]).await;
    wire.mend();
    mends(&fleet).await;
    drop(load);
    assert_eq!(vendor.refused(), 0, "{}", outputs(&fleet));
}
