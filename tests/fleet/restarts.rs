//! A weir that comes back goes on with what its file holds, less what was purged meanwhile.

use std::time::Duration;

use super::sharing::{pair, says};
use crate::support::load::pause;
use crate::support::redis::Redis;
use crate::support::{Caller, Weir, token_of};

/// Where it is found is told by the vendor, and by a Redis that has no answers.
async fn asks(caller: &Caller, path: &str) -> u32 {
    let reply = caller.get(path).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.price()
}

fn drop_records(redis: &Redis) {
    let records = redis.command(&["KEYS", "{weir:cache}:1:r:*"]);
    for record in records.lines() {
        assert_eq!(redis.command(&["DEL", record]), "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_what_was_not_purged_meanwhile() {
    let redis = Redis::start();
    let (vendor, mut fleet, callers) = pair(&redis.url()).await;
    for path in ["/things/1", "/things/2"] {
        says(&vendor, path, path);
        assert_eq!(asks(&callers[0], path).await, 1);
    }
    // On its disk, with the position beside it.
    pause(Duration::from_millis(500)).await;
    for purged in [true, false] {
        let folder = if purged { fleet.remove(0).kill() } else { fleet.remove(0).stop_keeping() };
        if purged {
            let written = callers[1].ask(http::Method::PUT, "/things/1", &[], "new").await;
            assert_eq!(written.status, 200, "{written:?}");
        }
        drop_records(&redis);
        fleet.insert(0, Weir::again(folder));
        let caller = fleet[0].caller(&token_of("web"));
        let price = [asks(&caller, "/things/1").await, asks(&caller, "/things/2").await];
        assert_eq!(price, [u32::from(purged), 0], "{}", fleet[0].output());
        pause(Duration::from_millis(500)).await;
    }
    // A Redis that knows of no purges any more: it cannot be told.
    let folder = fleet.remove(0).stop_keeping();
    drop_records(&redis);
    assert_eq!(redis.command(&["DEL", "{weir:cache}:1:meta"]), "1");
    let again = Weir::again(folder);
    let caller = again.caller(&token_of("web"));
    assert_eq!([asks(&caller, "/things/1").await, asks(&caller, "/things/2").await], [1, 1]);
}
