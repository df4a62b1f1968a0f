//! Races made on purpose: nothing stale, nothing lost, memory within its bound.

use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use weir::emulator::{Emulator, Latency, Options, Vendor};

use super::{House, config};
use crate::support::load::pause;
use crate::support::{Weir, until};

const KEPT: &str = "[[upstreams.echo.cache]]\nmatch = \"GET /**\"\nttl = \"1h\"\n";

/// Its head comes at once, its body half a second later.
const SLOW: &str = "/delay/500ms";

#[tokio::test]
async fn a_write_or_a_purge_during_a_fetch_leaves_nothing_stale() {
    for purge in [false, true] {
        let house = House::with(KEPT).await;
        let caller = house.caller();
        let reading = async { caller.get(SLOW).await };
        let meanwhile = async {
            until("it is fetched", || house.asked() == 1).await;
            pause(Duration::from_millis(100)).await;
            if purge {
                house.purge(r#"{"upstream":"echo","prefix":"/delay"}"#).await
            } else {
                caller.ask(Method::DELETE, SLOW, &[], "").await
            }
        };
        let (read, other) = tokio::join!(reading, meanwhile);
        assert_eq!((read.status.as_u16(), other.status.as_u16()), (200, 200));
        let before = house.asked();
        let fresh = caller.get(SLOW).await;
        assert_eq!(house.asked(), before + 1, "what was on its way was not kept");
        assert!(fresh.json()["served"].as_u64() > read.json()["served"].as_u64());
        assert_eq!(caller.get(SLOW).await.body, fresh.body, "and this one was");
    }
}

#[tokio::test]
async fn killed_while_it_writes_behind_it_comes_back_with_no_wrong_answer() {
    let mut house = House::with(KEPT).await;
    for round in 0..3 {
        let caller = house.caller();
        let paths: Vec<_> = (0..120).map(|number| format!("/thing/{number}")).collect();
        for reply in join_all(paths.iter().map(|path| caller.get(path))).await.iter().zip(&paths) {
            assert_eq!(reply.0.json()["path"], **reply.1);
        }
        let (asked, folder) = (house.asked(), house.weir.kill());
        house.weir = Weir::again(folder);
        let caller = house.caller();
        for path in &paths {
            assert_eq!(caller.get(path).await.json()["path"], **path, "round {round}");
        }
        if round > 0 {
            assert!(house.asked() < asked + 120, "something was warm");
        }
        house.purge(r#"{"upstream":"echo","prefix":"/thing/1"}"#).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_joiners_nine_hundred_leave() {
    more_files();
    let latency = Latency { least: Duration::from_millis(700), most: Duration::from_millis(700) };
    let house = House::of(Options { latency, ..Options::default() }, KEPT).await;
    let crowd = (0..1_000_u64).map(async |who| {
        let caller = house.caller();
        let stays = who % 10 == 0;
        tokio::select! {
            reply = caller.get("/crowd") => Some(reply),
            () = pause(Duration::from_millis(50 + who % 400)), if !stays => None,
        }
    });
    let replies: Vec<_> = join_all(crowd).await.into_iter().flatten().collect();
    assert!(replies.len() >= 100, "{}", replies.len());
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.body == replies[0].body));
    assert_eq!(house.asked(), 1, "one fetch, whoever left");
}

#[tokio::test(flavor = "multi_thread")]
async fn eviction_under_load_keeps_memory_within_its_bound() {
    let origin = Emulator::start(Options { vendor: Vendor::Generic, ..Options::default() }).await.unwrap();
    let sizes = [("WEIR__STORE__CACHE_MEMORY", "8MiB"), ("WEIR__STORE__CACHE_DISK", "16MiB")];
    let weir = Weir::start_with(&config(&origin, KEPT), &sizes);
    let house = House { origin, weir };
    let before = house.weir.resident_bytes();
    join_all((0..8).map(async |lane| {
        let caller = house.caller();
        for number in 0..100 {
            let reply = caller.get(&format!("/bytes/100000?n={}", number * 8 + lane)).await;
            assert_eq!(reply.body.len(), 100_000);
        }
    }))
    .await;
    let status = house.admin().get("/api/v1/status").await.json();
    let (memory, disk) =
        (status["cache"]["bytes"].as_u64().unwrap(), status["cache"]["disk"]["bytes"].as_u64().unwrap());
    assert!(memory <= 8 << 20 && memory > 6 << 20, "{memory}");
    assert!(disk <= 16 << 20 && disk > 4 << 20, "{disk}");
    // 80 MB went through: 8 MiB of it may stay, 32 MiB may wait for the disk, the rest
    // is redb's, the allocator's and the connections'.
    let grown = house.weir.resident_bytes().saturating_sub(before);
    assert!(grown < 72 << 20, "{grown}");
}

/// A thousand connections are more than some shells allow; the weir that is started
/// after this inherits it.
fn more_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(8_192).min(8_192);
    if limit.current.is_some_and(|current| current < most) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..limit }).unwrap();
    }
}
