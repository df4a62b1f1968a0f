//! Caps: who has used its own is told so by name, and blocks nobody else.

use super::{because_of, enforcing, only, start};
use crate::support::load::{fresh_url, hang_up};
use crate::support::{Caller, Reply, Weir, catchpoint, token_of};

async fn at_once(caller: &Caller) -> Reply {
    caller.get_with(&fresh_url(0), &[("prefer", "wait=0")]).await
}

async fn is_served(caller: &Caller, times: usize) {
    for _ in 0..times {
        let reply = at_once(caller).await;
        assert_eq!((reply.status.as_u16(), reply.price()), (200, 1), "{reply:?}");
    }
}

async fn is_refused(caller: &Caller, because: &str) {
    let reply = at_once(caller).await;
    assert_eq!((reply.status.as_u16(), reply.price()), (429, 0), "{reply:?}");
    assert_eq!(reply.header("proxy-status"), because_of(because));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_cap_is_named_and_blocks_nobody_else() {
    let vendor = start(enforcing(&["10/1m"])).await;
    let more = only("max_wait = \"2m\"\nlimits.minute = \"10/1m\"")
        + "[upstreams.catchpoint.divisions.web]\nkey = \"main\"\ncaps = { minute = 3 }\n";
    let consumers =
        [("one", "web", ""), ("two", "web", ""), ("x", "ops", "caps = { minute = 2 }"), ("other", "ops", "")];
    let weir = Weir::start(&catchpoint(&vendor.url(), &more, &consumers));
    let [one, two, x, other] = consumers.map(|(name, ..)| weir.caller(&token_of(name)));

    is_served(&one, 3).await;
    is_refused(&two, "division web: minute").await;
    is_served(&x, 2).await;
    is_refused(&x, "consumer x: minute").await;
    // While one of the capped waits for its turn, the others have theirs.
    hang_up(&two, &fresh_url(1), is_served(&other, 5)).await;
    is_refused(&other, "account: minute").await;
    assert_eq!((vendor.counted(), vendor.refused()), (10, 0));
}
