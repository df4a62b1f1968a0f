mod full;

use std::collections::HashMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use super::*;
use crate::cache::entry::Body;
use crate::cache::key::Scope;
use crate::cache::policy::{Policy, Sharing};
use crate::cache::store::{Cache, CacheLimits};
use crate::cache::{Asked, Exchange, Head, Lookup, Now};
use crate::config::ClientCacheControl;
use crate::dialect::{Dialect, Generic};
use crate::target::Target;

const GENERIC: Dialect = Dialect::Generic(Generic { credential: None });
const POLICY: Policy<'_> = Policy {
    dialect: &GENERIC,
    rule: None,
    settled_ttl: None,
    default_ttl: Some(Duration::from_secs(3_600)),
    sharing: Sharing::Private,
};
const ROOMY: u64 = 1 << 30;

fn key(path: &str) -> Key {
    let scope = Scope { upstream: "u".parse().unwrap(), key: None };
    Key::new(&scope, &Method::GET, &Target::parse(path, None).unwrap(), &HeaderMap::new(), None)
}

fn path(path: &str) -> Selector {
    Selector::Path("u".parse().unwrap(), path.into())
}

/// An answer of `len` bytes that tells its number.
fn entry(path: &str, number: usize, len: usize) -> EntryArc {
    let empty = HeaderMap::new();
    let asked = Asked::new(&Method::GET, &empty, &empty, ClientCacheControl::Honour);
    let now = now();
    let head = Head { status: StatusCode::OK, headers: HeaderMap::new() };
    let storable = POLICY.admit(&asked, &head, &Exchange { sent: now.at, received: now }).unwrap();
    let mut body = number.to_be_bytes().to_vec();
    body.resize(len.max(8), u8::try_from(number % 251).unwrap());
    EntryArc::new(storable.entry(&key(path), Body::of(&[Bytes::from(body)])).unwrap())
}

fn clock() -> Clock {
    static CLOCK: std::sync::OnceLock<Clock> = std::sync::OnceLock::new();
    *CLOCK.get_or_init(Clock::system)
}

fn now() -> Now {
    Now { at: clock().now(), wall: clock().wall() }
}

fn editions() -> Editions {
    Editions::alike(&["u".parse().unwrap()])
}

fn open(folder: &Path, max_bytes: u64) -> Arc<Disk> {
    let options = DiskOptions { path: folder.join("data"), max_bytes };
    Arc::new(Disk::open(&options, editions(), clock()).unwrap())
}

fn on(place: impl Place + 'static) -> Arc<Disk> {
    Arc::new(Disk::start(Box::new(place), ROOMY, (editions(), clock(), BootId([1; 16]))).unwrap())
}

fn over(disk: &Arc<Disk>) -> Cache {
    Cache::over(CacheLimits::default(), Some(Arc::clone(disk) as Arc<dyn SecondLevel>), None)
}

/// The number of the answer that is found in the second level.
async fn found(disk: &Disk, path: &str) -> Option<usize> {
    let entries = disk.look(&key(path), &[])?.await;
    let first = entries.first()?.body().blocks()[0].first_chunk().copied();
    first.map(usize::from_be_bytes)
}

async fn settled(disk: &Disk) {
    assert_ne!(disk.shared.inbox.settled_phase().await, Phase::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_is_there_after_a_restart_and_what_was_purged_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path(), ROOMY);
    for number in 0..50 {
        disk.keep(&entry(&format!("/{number}"), number, number * 5_000));
    }
    disk.keep(&entry("/7", 700, 70));
    assert_eq!(disk.purge(&path("/8")).len(), 1);
    disk.forget(&entry("/9", 9, 0));
    disk.close().await;
    let disk = open(folder.path(), ROOMY);
    for number in 0..50 {
        let want = match number {
            7 => Some(700),
            8 | 9 => None,
            number => Some(number),
        };
        assert_eq!(found(&disk, &format!("/{number}")).await, want);
    }
    assert_eq!(found(&disk, "/never").await, None);
    assert_eq!((disk.tally().entries, disk.tally().found, disk.tally().dropped), (48, 48, 0));
    let file = std::fs::metadata(folder.path().join("data/cache.redb")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    // Another edition: yesterday's rules.
    disk.close().await;
    drop(disk);
    let options = DiskOptions { path: folder.path().join("data"), max_bytes: ROOMY };
    let disk = Disk::open(&options, Editions::default(), clock()).unwrap();
    assert_eq!(found(&disk, "/1").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_purge_is_durable_whatever_is_queued() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path(), ROOMY);
    let cache = over(&disk);
    for round in 0..20 {
        for number in 0..20 {
            cache.insert(cache.ticket(), entry(&format!("/{number}"), round, 20_000));
        }
        assert_eq!(cache.purge(&Selector::Prefix("u".parse().unwrap(), "/1".into())), 11);
        cache.confirmed().await.unwrap();
        // What a process that is killed now leaves: a copy of the file as it is.
        let copy = tempfile::tempdir().unwrap();
        std::fs::create_dir(copy.path().join("data")).unwrap();
        std::fs::copy(folder.path().join("data/cache.redb"), copy.path().join("data/cache.redb")).unwrap();
        let again = open(copy.path(), ROOMY);
        for number in [1, 10, 19] {
            assert_eq!(found(&again, &format!("/{number}")).await, None, "round {round}, {number}");
        }
        assert_eq!(found(&again, "/0").await.is_some(), again.tally().entries > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_a_purge_overtakes_brings_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path(), ROOMY);
    first.keep(&entry("/a", 1, 100));
    first.close().await;
    drop(first);
    for purged in [false, true] {
        let disk = open(folder.path(), ROOMY);
        settled(&disk).await;
        let cache = over(&disk);
        let a = key("/a");
        let mut up = Box::pin(cache.bring_up(&a, clock()));
        // It has its ticket, and is reading.
        let file = disk.shared.file.write();
        assert!(futures_util::future::FutureExt::now_or_never(&mut up).is_none());
        if purged {
            assert_eq!(cache.purge(&path("/a")), 1);
        }
        drop(file);
        assert_eq!(up.await, !purged);
        let empty = HeaderMap::new();
        let asked = Asked::new(&Method::GET, &empty, &empty, ClientCacheControl::Honour);
        let found = cache.lookup(&key("/a"), &POLICY, &asked, now());
        assert_eq!(matches!(found, Lookup::Fresh(_)), !purged);
        assert!(!cache.bring_up(&key("/a"), clock()).await, "nothing more is there");
        disk.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bounds_hold_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let max_bytes = 8 << 20;
    let disk = open(folder.path(), max_bytes);
    settled(&disk).await;
    for number in 0..600 {
        // From 8 bytes to 300 KB.
        disk.keep(&entry(&format!("/{number}"), number, (number * 7_919) % 300_000));
        assert!(disk.tally().bytes <= max_bytes);
        while disk.tally().queued_bytes > 4 << 20 {
            tokio::task::yield_now().await;
        }
    }
    assert!(disk.tally().bytes > max_bytes * 9 / 10, "{:?}", disk.tally());
    assert_eq!(disk.tally().dropped, 0);
    disk.close().await;
    let file = std::fs::metadata(folder.path().join("data/cache.redb")).unwrap();
    let (on_disk, counted) = (file.blocks() * 512, disk.tally().bytes);
    assert!(on_disk <= 2 * max_bytes, "{on_disk} on disk, {counted} counted");
    drop(disk);
    // A smaller bound takes effect at the next start; what was kept last stays.
    let disk = open(folder.path(), max_bytes / 4);
    assert_eq!(found(&disk, "/599").await, Some(599));
    assert_eq!(found(&disk, "/400").await, None);
    assert!(disk.tally().bytes <= max_bytes / 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_dropped_and_never_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path(), ROOMY);
    settled(&disk).await;
    disk.keep(&entry("/large", 1, 8));
    let mut flood: Vec<_> = (0..4).map(|number| entry(&format!("/{number}"), number, 10 << 20)).collect();
    flood.push(entry("/large", 2, 15 << 20));
    flood.iter().for_each(|entry| disk.keep(entry));
    let tally = disk.tally();
    assert!(tally.dropped > 0 && tally.queued_bytes <= 32 << 20, "{tally:?}");
    disk.close().await;
    let again = open(folder.path(), ROOMY);
    assert_eq!(found(&again, "/large").await, None, "its predecessor went with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_costs_no_more_than_itself() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data/cache.redb");
    let first = open(folder.path(), ROOMY);
    for number in 0..40 {
        first.keep(&entry(&format!("/{number}"), number, 30_000));
    }
    first.close().await;
    drop(first);
    let sound = std::fs::read(&file).unwrap();
    let mut warm = 0;
    for round in 0..16_usize {
        let mut torn = sound.clone();
        match round {
            0 => torn.truncate(100),
            1 => torn.truncate(sound.len() / 2),
            2 => torn = b"not a database at all".repeat(1_000),
            // One page is noise.
            round => {
                let page = (round * 104_729) % (sound.len() / 4_096);
                torn[page * 4_096..][..4_096].fill(u8::try_from(round).unwrap());
            }
        }
        std::fs::write(&file, &torn).unwrap();
        let disk = open(folder.path(), ROOMY);
        for number in 0..40 {
            let found = found(&disk, &format!("/{number}")).await;
            assert!(found.is_none() || found == Some(number), "round {round}: {found:?}");
            warm += usize::from(found.is_some());
        }
        // And it goes on.
        disk.keep(&entry("/new", 99, 100));
        disk.close().await;
        let again = open(folder.path(), ROOMY);
        let kept = found(&again, "/new").await;
        assert!(kept == Some(99) || again.tally().dropped > 0 || disk.tally().dropped > 0, "round {round}");
        again.close().await;
    }
    assert!(warm > 40, "a broken page costs not everything: {warm}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_waits_and_a_purge_of_its_own_holds() {
    let folder = tempfile::tempdir().unwrap();
    let old = open(folder.path(), ROOMY);
    old.keep(&entry("/a", 1, 100));
    old.keep(&entry("/b", 2, 100));
    settled(&old).await;
    let new = open(folder.path(), ROOMY);
    settled(&new).await;
    assert_eq!(new.shared.inbox.phase(), Phase::Absent);
    assert!(new.look(&key("/a"), &[]).is_none(), "nobody waits for it");
    new.keep(&entry("/b", 3, 100));
    old.close().await;
    let mut phase = new.shared.inbox.subscribe();
    phase.wait_for(|phase| *phase == Phase::Opened).await.unwrap();
    new.close().await;
    let third = open(folder.path(), ROOMY);
    assert_eq!((found(&third, "/a").await, found(&third, "/b").await), (Some(1), Some(3)));
    // The next successor is asked to purge what it cannot reach yet.
    let fourth = open(folder.path(), ROOMY);
    settled(&fourth).await;
    fourth.purge(&path("/a"));
    fourth.confirmed().await.unwrap();
    third.close().await;
    fourth.close().await;
    let fifth = open(folder.path(), ROOMY);
    assert_eq!(found(&fifth, "/a").await, None);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(8))]

    /// Whatever is kept, purged and restarted: a look finds the last one kept since
    /// the last purge, or nothing; and after a flush exactly that.
    #[test]
    fn histories_agree_with_a_map(steps in proptest::collection::vec((0..6_u8, 0..8_usize), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut disk, mut model) = (open(folder.path(), ROOMY), HashMap::new());
            for (number, (what, which)) in steps.into_iter().enumerate() {
                let name = format!("/{which}");
                match what {
                    0..=2 => {
                        disk.keep(&entry(&name, number, number * 997 % 90_000));
                        model.insert(which, number);
                    }
                    3 => {
                        disk.purge(&path(&name));
                        model.remove(&which);
                        disk.confirmed().await.unwrap();
                    }
                    4 => {
                        let found = found(&disk, &name).await;
                        assert!(found.is_none() || found == model.get(&which).copied());
                    }
                    _ => {
                        disk.close().await;
                        disk = open(folder.path(), ROOMY);
                        for which in 0..8 {
                            assert_eq!(found(&disk, &format!("/{which}")).await, model.get(&which).copied());
                        }
                    }
                }
            }
        });
    }
}
