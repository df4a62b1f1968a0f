//! The example of Catchpoint's own guide: one account of 90 a minute, used up by
//! five consumers of three divisions and the client level together.

use weir::emulator::{Emulator, Key};

use super::{because_of, enforcing, only, start};
use crate::support::load::{fresh_url, together};
use crate::support::{Weir, catchpoint, token_of};

/// Consumer, division, requests in this minute.
const GUIDE: [(&str, &str, usize); 5] =
    [("a", "a", 50), ("b", "b", 10), ("c", "c", 10), ("d", "client", 10), ("e", "c", 10)];

async fn vendor(minute: &str) -> Emulator {
    let keys = ["a", "b", "c"].map(|division| Key::division(division, &format!("key-of-{division}")));
    let mut options = enforcing(&[minute]);
    options.keys.extend(keys);
    start(options).await
}

/// Weir with the guide's divisions and its consumers, and F, who comes last.
fn weir(vendor: &Emulator, minute: &str) -> Weir {
    let mut more = only(&format!("limits.minute = \"{minute}\""));
    for division in ["a", "b", "c"] {
        more.push_str(&format!("keys.{division}.value = \"key-of-{division}\"\n"));
    }
    for (division, key) in [("a", "a"), ("b", "b"), ("c", "c"), ("client", "main")] {
        more.push_str(&format!("[upstreams.catchpoint.divisions.{division}]\nkey = \"{key}\"\n"));
    }
    let mut consumers: Vec<_> = GUIDE.iter().map(|(name, division, _)| (*name, *division, "")).collect();
    consumers.push(("f", "b", ""));
    Weir::start(&catchpoint(&vendor.url(), &more, &consumers))
}

/// All of the guide's requests, at once.
async fn use_up(weir: &Weir, vendor: &Emulator) {
    let asked = GUIDE.iter().enumerate().map(async |(who, (name, _, requests))| {
        together(&weir.caller(&token_of(name)), (0..*requests).map(|_| fresh_url(who))).await
    });
    for reply in futures_util::future::join_all(asked).await.concat() {
        assert_eq!((reply.status.as_u16(), reply.price()), (200, 1), "{reply:?}");
    }
    let seen = vendor.requests();
    let by_key = |key: &str| seen.iter().filter(|seen| seen.key.as_deref() == Some(key)).count();
    assert_eq!(["a", "b", "c", "main"].map(by_key), [50, 10, 20, 10]);
    assert_eq!((vendor.counted(), vendor.refused()), (90, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sixth_consumer_is_told_no_by_weir_and_not_by_the_vendor() {
    let vendor = vendor("90/1m").await;
    let weir = weir(&vendor, "90/1m");
    use_up(&weir, &vendor).await;

    let f = weir.caller(&token_of("f")).get_with(&fresh_url(5), &[("prefer", "wait=0")]).await;
    assert_eq!((f.status.as_u16(), f.price()), (429, 0), "{f:?}");
    assert_eq!(f.header("proxy-status"), because_of("account: minute"));
    let seconds: u64 = f.header("retry-after").parse().unwrap();
    // The window and its slack of 30 ms, rounded up.
    assert!((1..=61).contains(&seconds), "{seconds}");
    let envelope = f.json();
    assert_eq!((&envelope["data"], &envelope["completed"]), (&().into(), &false.into()));
    assert_eq!(envelope["traceId"], f.header("x-request-id"));
    let message = envelope["errors"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("weir: ") && message.contains("account: minute"), "{message}");
    assert_eq!((vendor.counted(), vendor.refused()), (90, 0));
}

/// Waits for real until the first slots of the window come back.
#[tokio::test(flavor = "multi_thread")]
async fn the_sixth_consumer_is_served_if_it_waits() {
    let vendor = vendor("90/4s").await;
    let weir = weir(&vendor, "90/4s");
    use_up(&weir, &vendor).await;

    let f = weir.caller(&token_of("f")).get_with(&fresh_url(5), &[("prefer", "wait=20")]).await;
    assert_eq!((f.status.as_u16(), f.price()), (200, 1), "{f:?}");
    let counted: Vec<_> = vendor.requests().iter().map(|seen| seen.counted.unwrap()).collect();
    assert!(counted[90].since(counted[0]).as_secs() >= 4, "{counted:?}");
    assert_eq!((vendor.counted(), vendor.refused()), (91, 0));
}
