use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use proptest::prelude::*;

use super::*;
use crate::cache::entry::Body;
use crate::cache::key::Scope;
use crate::cache::{Exchange, Head, Sharing};
use crate::clock::{Moment, UnixTime};
use crate::config::ClientCacheControl;
use crate::dialect::{Dialect, Generic};
use crate::target::Target;

const GENERIC: Dialect = Dialect::Generic(Generic { credential: None });

fn policy() -> Policy<'static> {
    Policy {
        dialect: &GENERIC,
        rule: None,
        default_ttl: Some(Duration::from_secs(60)),
        settled_ttl: None,
        sharing: Sharing::Private,
    }
}

fn now(secs: u64) -> Now {
    Now { at: Moment::ZERO + Duration::from_secs(secs), wall: UnixTime::from_secs(1_767_225_600 + secs) }
}

pub(super) fn key(scope: &str, path: &str) -> Key {
    let scope = Scope { upstream: "u".parse().unwrap(), key: Some(scope.parse().unwrap()) };
    Key::new(&scope, &Method::GET, &Target::parse(path, None).unwrap(), &HeaderMap::new(), None)
}

pub(super) fn entry(key: &Key, bytes: usize) -> EntryArc {
    let empty = HeaderMap::new();
    let asked = Asked::new(&Method::GET, &empty, &empty, ClientCacheControl::Honour);
    let exchange = Exchange { sent: now(0).at, received: now(0) };
    let head = Head { status: StatusCode::OK, headers: HeaderMap::new() };
    let storable = policy().admit(&asked, &head, &exchange).unwrap();
    EntryArc::new(storable.entry(key, Body::of(&[Bytes::from(vec![7; bytes])])).unwrap())
}

fn has(cache: &Cache, key: &Key) -> bool {
    let empty = HeaderMap::new();
    let asked = Asked::new(&Method::GET, &empty, &empty, ClientCacheControl::Honour);
    matches!(cache.lookup(key, &policy(), &asked, now(1)), Lookup::Fresh(_))
}

fn put(cache: &Cache, key: &Key) -> Stored {
    cache.insert(cache.ticket(), entry(key, 100))
}

#[test]
fn the_bound_in_bytes_holds_after_each_insert() {
    let cache = Cache::new(CacheLimits { max_bytes: 200_000 });
    let mut last = key("a", "/none");
    for number in 0..2_000 {
        last = key("a", &format!("/{number}"));
        assert_eq!(cache.insert(cache.ticket(), entry(&last, number % 3_000)), Stored::Kept);
        assert!(cache.weight_bytes() <= 200_000, "{number}: {}", cache.weight_bytes());
    }
    assert!(cache.weight_bytes() > 180_000, "and is used: {}", cache.weight_bytes());
    assert!(has(&cache, &last), "what has just been paid for stays");
    assert_eq!(cache.slots.indexed() as u64, cache.len(), "the index forgets what was evicted");
    let giant = cache.insert(cache.ticket(), entry(&key("a", "/giant"), 200_000));
    assert_eq!(giant, Stored::TooLarge);
}

#[test]
fn purges_remove_what_they_name_and_say_how_many() {
    let up = || "u".parse().unwrap();
    let scope = |name: &str| Selector::Scope(key(name, "/").text().scope());
    for (selector, gone) in [
        (Selector::All, 8),
        (Selector::Upstream(up()), 8),
        (Selector::Upstream("v".parse().unwrap()), 0),
        (scope("a"), 4),
        (Selector::Path(up(), "/t".into()), 2),
        (Selector::Path(up(), "/T/".into()), 2),
        (Selector::Prefix(up(), "/t".into()), 6),
        (Selector::Prefix(up(), "/t/".into()), 4),
        (Selector::Prefix(up(), "/x".into()), 0),
    ] {
        let cache = Cache::new(CacheLimits::default());
        let keys: Vec<_> = ["a", "b"]
            .iter()
            .flat_map(|scope| ["/s", "/t", "/t/1", "/T/2"].map(|path| key(scope, path)))
            .collect();
        keys.iter().for_each(|key| assert_eq!(put(&cache, key), Stored::Kept));
        assert_eq!(cache.purge(&selector), gone, "{selector:?}");
        for key in &keys {
            assert_eq!(has(&cache, key), !selector.selects(key.text()), "{selector:?} {key:?}");
        }
        assert_eq!(cache.len(), 8 - gone);
        assert_eq!(cache.slots.indexed() as u64, 8 - gone);
    }
}

#[test]
fn a_fill_that_was_overtaken_is_not_stored() {
    let cache = Cache::new(CacheLimits::default());
    let (one, two) = (key("a", "/1"), key("a", "/2"));
    let ticket = cache.ticket();
    assert_eq!(cache.purge(&Selector::Path("u".parse().unwrap(), "/1".into())), 0);
    assert_eq!(cache.insert(ticket, entry(&one, 10)), Stored::Overtaken);
    assert_eq!(cache.insert(ticket, entry(&two, 10)), Stored::Kept, "others are not touched");
    assert_eq!(put(&cache, &one), Stored::Kept);
    // So many that the log no longer knows: refused unseen.
    for number in 0..=MAX_LOGGED {
        cache.purge(&Selector::Path("u".parse().unwrap(), format!("/x/{number}")));
    }
    assert_eq!(cache.insert(ticket, entry(&two, 10)), Stored::Overtaken);
    assert!(has(&cache, &one) && has(&cache, &two));
}

#[test]
fn purge_and_fill_race_without_leaving_anything_stale() {
    let cache = Cache::new(CacheLimits::default());
    for _ in 0..300 {
        let ticket = cache.ticket();
        let stored = std::thread::scope(|threads| {
            let fills: Vec<_> = (0..4)
                .map(|number| {
                    let cache = &cache;
                    threads.spawn(move || cache.insert(ticket, entry(&key("a", &format!("/{number}")), 10)))
                })
                .collect();
            cache.purge(&Selector::Upstream("u".parse().unwrap()));
            fills.into_iter().map(|fill| fill.join().unwrap()).collect::<Vec<_>>()
        });
        // Whether a fill came before the purge or after, its answer is gone.
        assert!(stored.iter().all(|s| matches!(s, Stored::Kept | Stored::Overtaken)), "{stored:?}");
        assert!(cache.is_empty(), "{stored:?}");
        assert_eq!(cache.slots.indexed(), 0);
    }
}

#[test]
fn index_and_slots_agree_under_load() {
    // Eviction, replacement, removal and purges from four threads.
    let cache = Cache::new(CacheLimits { max_bytes: 60_000 });
    std::thread::scope(|threads| {
        for thread in 0..4 {
            let cache = &cache;
            threads.spawn(move || {
                for round in 0..1_000_usize {
                    let key = key(["a", "b"][thread % 2], &format!("/{}", (round * 7 + thread) % 90));
                    let entry = entry(&key, round % 900);
                    cache.insert(cache.ticket(), entry.clone());
                    match round % 50 {
                        0 => drop(cache.purge(&Selector::Prefix("u".parse().unwrap(), "/3".into()))),
                        1..10 => cache.remove(&entry),
                        _ => {}
                    }
                }
            });
        }
    });
    assert!(cache.weight_bytes() <= 60_000);
    assert_eq!(cache.slots.indexed() as u64, cache.len());
    cache.purge(&Selector::All);
    assert!(cache.is_empty());
    assert_eq!((cache.slots.indexed(), cache.weight_bytes()), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The weight that is booked is that of the bytes kept, and of what is lost beside them.
    #[test]
    fn weight_grows_with_the_body(bytes in 0..1_000_000_usize) {
        let (empty, full) = (entry(&key("a", "/1"), 0), entry(&key("a", "/1"), bytes));
        let more = full.weight_bytes() - empty.weight_bytes();
        prop_assert!(more >= bytes && more <= bytes + (bytes / 4).clamp(16, 4_096));
    }
}

/// Run alone: `cargo test --lib measured_memory -- --ignored --nocapture`.
#[test]
#[ignore = "measures the memory of the whole process, so that nothing may run beside it"]
fn measured_memory_is_what_is_booked() {
    let resident = || -> u64 {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
    };
    for bytes in [0, 100, 1_000, 20_000] {
        let cache = Cache::new(CacheLimits { max_bytes: 1 << 40 });
        let before = resident();
        let count = 200_000_000 / (bytes + 1_000);
        for number in 0..count {
            put_sized(&cache, &key("a", &format!("/api/v2/tests/{number}")), bytes);
        }
        let (grown, booked) = (resident() - before, cache.weight_bytes());
        println!(
            "{bytes} bytes: booked {} each, resident {} each",
            booked / count as u64,
            grown / count as u64
        );
        assert!(grown as f64 <= booked as f64 * 1.15, "{bytes}: {grown} resident, {booked} booked");
        std::mem::forget(cache);
    }
}

fn put_sized(cache: &Cache, key: &Key, bytes: usize) {
    assert_eq!(cache.insert(cache.ticket(), entry(key, bytes)), Stored::Kept);
}
