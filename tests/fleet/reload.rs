//! Replicas have to agree on limits: a reload that changes them is refused in words, and
//! the old ones go on.

use super::*;
use crate::support::load::{alone, fresh_url};

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_changes_what_is_shared_is_refused_and_the_rest_is_not() {
    let _alone = alone().await;
    let (redis, vendor) = (Redis::start(), vendor().await);
    let before = config(&vendor, &redis.url(), "", 2);
    let fleet = fleet(&before, 2).await;
    let admin = fleet[0].admin();
    for (other, wanted) in [
        (before.replace("24/2s", "12/2s"), 409),
        (before.replace("timeout = \"1s\"", "timeout = \"3s\""), 409),
        (config(&vendor, &redis.url(), "", 3), 409),
        (before.replace("max_wait = \"10s\"", "max_wait = \"9s\""), 200),
    ] {
        assert_ne!(other, before);
        fleet[0].rewrite(&other);
        let reply = admin.post_json("/api/v1/reload", "{}").await;
        assert_eq!(reply.status.as_u16(), wanted, "{reply:?}");
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        let words = "its account is shared through Redis: restart the replicas with the new configuration";
        assert_eq!(text.contains(words), wanted == 409, "{text}");
        assert_eq!(fleet[0].status().await["limits"][0]["allowed"], REQUESTS, "the old limit holds");
        for weir in &fleet {
            let reply = weir.caller(&token_of("c0")).get(&fresh_url(0)).await;
            assert_eq!(reply.status, 200, "{reply:?}");
        }
    }
    assert_eq!(vendor.refused(), 0);
}
