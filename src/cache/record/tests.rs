use bytes::Bytes;
use http::HeaderMap;
use proptest::prelude::*;

use super::*;
use crate::cache::Exchange;
use crate::cache::policy::{Policy, Sharing};
use crate::cache::{Asked, Head as Answered};
use crate::config::ClientCacheControl;
use crate::dialect::{Dialect, Generic};
use crate::target::Target;

const GENERIC: Dialect = Dialect::Generic(Generic { credential: None });
const BOOT: BootId = BootId([7; 16]);
const OTHER_BOOT: BootId = BootId([8; 16]);

/// All clocks `secs` after the beginning: the process starts at 1,000 s, the machine
/// has been up for 5,000 s, the wall shows 2026.
fn at(secs: u64) -> Reading {
    let present = Present {
        now: Moment::ZERO + Duration::from_secs(1_000 + secs),
        since_boot: (5_000 + secs) * 1_000_000_000,
        boot: BOOT,
    };
    Reading { present, wall: UnixTime::from_secs(1_767_225_600 + secs) }
}

/// The same after a boot `up` seconds ago, with a wall that shows `wall` seconds
/// after the beginning.
fn rebooted(up: u64, wall: u64) -> Reading {
    let present = Present { since_boot: up * 1_000_000_000, boot: OTHER_BOOT, ..at(0).present };
    Reading { present, wall: at(wall).wall }
}

fn key(path: &str) -> Key {
    let scope = Scope { upstream: "u".parse().unwrap(), key: Some("main".parse().unwrap()) };
    Key::new(&scope, &Method::GET, &Target::parse(path, Some("a=1")).unwrap(), &HeaderMap::new(), None)
}

/// Received at 0, fresh for a minute.
fn entry(key: &Key, fields: &[(&str, &str)], body: &[u8]) -> Entry {
    let mut headers = HeaderMap::new();
    for (name, value) in fields.iter().chain(&[("cache-control", "max-age=60"), ("vary", "accept")]) {
        headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    let policy = Policy {
        dialect: &GENERIC,
        rule: None,
        settled_ttl: None,
        default_ttl: None,
        sharing: Sharing::Private,
    };
    let empty = HeaderMap::new();
    let asked = Asked::new(&Method::GET, &empty, &empty, ClientCacheControl::Honour);
    let now = Now { at: at(0).present.now, wall: at(0).wall };
    let head = Answered { status: StatusCode::OK, headers };
    let storable = policy.admit(&asked, &head, &Exchange { sent: now.at, received: now }).unwrap();
    storable.entry(key, Body::of(&[Bytes::copy_from_slice(body)])).unwrap()
}

fn read(head: &[u8], key: &Key, body: &[u8], now: &Reading) -> Result<Entry, Garbled> {
    Head::read(head)?.entry(key, Bytes::copy_from_slice(body), now)
}

fn age(of: &Entry, now: &Reading) -> u64 {
    of.freshness().age(Now { at: now.present.now, wall: now.wall }).as_secs()
}

#[test]
fn ages_go_on_while_nobody_runs() {
    let key = key("/a");
    let head = head_of(&entry(&key, &[], b"x"), 1, &at(3));
    for (now, want) in [
        (at(3), Some(3)),
        (at(50), Some(50)),
        // The wall does not matter within a boot.
        (Reading { wall: at(0).wall - Duration::from_secs(86_400), ..at(50) }, Some(50)),
        // Across a boot it does,
        (rebooted(20, 50), Some(50)),
        // but the machine is up for longer than it says has passed,
        (rebooted(20, 10), Some(20)),
        // or it says that nothing has been kept yet.
        (rebooted(20, 0), Some(20)),
        (Reading { wall: at(0).wall - Duration::from_secs(1), ..rebooted(20, 0) }, None),
    ] {
        let entry = read(&head, &key, b"x", &now);
        assert_eq!(entry.map(|entry| age(&entry, &now)).ok(), want, "{now:?}");
    }
    // As old as the process's own clock cannot say.
    assert!(read(&head, &key, b"x", &rebooted(20, 2_000)).is_err());
}

#[test]
fn neither_query_nor_cookie_is_written() {
    let key = key("/a");
    let entry = entry(&key, &[("set-cookie", "secret=1"), ("x-kept", "kept")], b"x");
    let head = head_of(&entry, 1, &at(0));
    let has = |text: &[u8]| head.windows(text.len()).any(|window| window == text);
    assert!(has(b"kept") && !has(b"a=1") && !has(b"secret"));
}

#[test]
fn what_was_altered_or_is_for_another_is_none() {
    let mine = key("/a");
    let head = head_of(&entry(&mine, &[("x", "y")], b"body"), 1, &at(0));
    assert!(read(&head, &mine, b"body", &at(1)).is_ok());
    assert!(read(&head, &mine, b"Body", &at(1)).is_err());
    assert!(read(&head, &mine, b"bod", &at(1)).is_err());
    assert!(read(&head, &key("/b"), b"body", &at(1)).is_err());
    for cut in 0..head.len() {
        assert!(Head::read(&head[..cut]).is_err() && Listed::read(&head[..cut]).is_err(), "cut at {cut}");
        let mut altered = head.clone();
        altered[cut] ^= 1;
        assert!(Head::read(&altered).is_err() && Listed::read(&altered).is_err(), "altered at {cut}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// What comes back is what went: fields in their order, body, variant, lifetime.
    #[test]
    fn records_keep_all_of_an_answer(
        fields in proptest::collection::vec(("x-[a-z]{1,9}", "[ -~]{0,40}"), 0..8),
        body in proptest::collection::vec(any::<u8>(), 0..3_000),
        later in 0..100_u64,
    ) {
        let key = key("/api/v2/Tests/1,2");
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.trim())).collect();
        let entry = entry(&key, &fields, &body);
        let head = head_of(&entry, 9, &at(0));
        let again = read(&head, &key, &body, &at(later)).unwrap();
        prop_assert_eq!(Head::read(&head).unwrap().edition, 9);
        prop_assert!(head.len() <= head_bytes(&entry) && head_bytes(&entry) <= head.len() + 64);
        let listed = Listed::read(&head).unwrap();
        prop_assert_eq!(listed.name, entry.name());
        prop_assert!(entry.key().is_listed_as(&listed.key));
        prop_assert_eq!(again.headers(), entry.headers());
        prop_assert_eq!(again.body().blocks().concat(), body);
        prop_assert_eq!(again.freshness(), entry.freshness());
        prop_assert_eq!(again.name(), entry.name());
        prop_assert_eq!(again.key(), entry.key());
        prop_assert_eq!(again.status(), entry.status());
    }

    /// No bytes make it panic.
    #[test]
    fn noise_is_no_record(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Head::read(&bytes).is_err() && Listed::read(&bytes).is_err());
        let mut sealed = bytes;
        sealed.extend(sum([&sealed[..]]).to_be_bytes());
        let _ = (Head::read(&sealed), Listed::read(&sealed));
    }
}
