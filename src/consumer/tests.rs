use std::net::IpAddr;
use std::num::NonZeroU32;

use super::*;
use crate::clock::{Moment, UnixTime};
use crate::config::{Access, CertificateProof, ClientCacheControl, Consumer, Proof, Rate};

const SECOND: Duration = Duration::from_secs(1);

fn consumer(name: &str, token: Option<&str>, from: &[&str]) -> Consumer {
    let proof = Proof {
        token: token.map(|token| TokenHash::of(token.as_bytes())),
        from: from.iter().map(|net| net.parse().unwrap()).collect(),
        certificate: None,
    };
    Consumer { name: name.parse().unwrap(), proof, inbound: None, access: Vec::new() }
}

fn clock() -> Clock {
    Clock::virtual_at(UnixTime::from_secs(0))
}

/// The name of whoever this proves.
fn who(of: &Consumers, token: Option<&str>, peer: &str) -> Result<String, SignIn> {
    let found = of.identify(token.map(str::as_bytes), peer.parse::<IpAddr>().unwrap().into())?;
    Ok(of.config(found).name.to_string())
}

#[tokio::test]
async fn a_token_proves_its_consumer_from_anywhere_unless_it_names_networks() {
    let list = [
        consumer("open", Some("t-open"), &[]),
        consumer("bound", Some("t-bound"), &["10.1.0.0/16", "fd00::/8"]),
    ];
    let of = Consumers::new(&list, clock());
    let name = |name: &str| Ok(name.to_owned());
    assert_eq!(who(&of, Some("t-open"), "203.0.113.9"), name("open"));
    assert_eq!(who(&of, Some("t-bound"), "10.1.2.3"), name("bound"));
    assert_eq!(who(&of, Some("t-bound"), "fd12::1"), name("bound"));
    assert_eq!(who(&of, Some("t-bound"), "::ffff:10.1.2.3"), name("bound"), "IPv4 on a socket for both");
    assert_eq!(who(&of, Some("t-bound"), "10.2.0.1"), Err(SignIn::WrongAddress(ConsumerIx(1))));
    assert_eq!(who(&of, Some("t-other"), "10.1.2.3"), Err(SignIn::Unknown));
    assert_eq!(who(&of, Some(""), "10.1.2.3"), Err(SignIn::Unknown));
    assert_eq!(who(&of, None, "10.1.2.3"), Err(SignIn::Missing), "networks alone do not prove it");
}

#[tokio::test]
async fn an_address_proves_who_names_networks_only_and_the_narrowest_wins() {
    let list = [
        consumer("all", None, &["127.0.0.0/8"]),
        consumer("one", None, &["127.0.0.1/32"]),
        consumer("token", Some("t"), &[]),
    ];
    let of = Consumers::new(&list, clock());
    assert_eq!(who(&of, None, "127.0.0.1").unwrap(), "one");
    assert_eq!(who(&of, None, "127.0.0.2").unwrap(), "all");
    assert_eq!(who(&of, Some("whatever an unmodified client sends"), "127.0.0.2").unwrap(), "all");
    assert_eq!(who(&of, Some("t"), "127.0.0.1").unwrap(), "token", "a good token says more");
    assert_eq!(who(&of, None, "192.0.2.1"), Err(SignIn::Missing));
}

#[tokio::test]
async fn a_certificate_proves_who_names_it_alone_or_with_a_token() {
    let by = |name: &str, token: Option<&str>, proof: CertificateProof| {
        let known = consumer(name, token, &[]);
        Consumer { proof: Proof { certificate: Some(proof), ..known.proof }, ..known }
    };
    let san = |name: &str| CertificateProof::San(name.to_owned());
    let list = [
        by("first", None, san("a.internal")),
        by("second", None, san("b.internal")),
        by("pinned", None, CertificateProof::Sha256([7; 32])),
        by("both", Some("t-both"), san("b.internal")),
        consumer("near", None, &["10.0.0.0/8"]),
    ];
    let of = Consumers::new(&list, clock());
    let shown = |print: u8, names: &[&str]| Certificate {
        sha256: [print; 32],
        names: names.iter().map(|name| (*name).to_owned()).collect(),
    };
    let who = |token: Option<&str>, shown: &Certificate| {
        let peer = Peer { address: "10.0.0.1".parse().unwrap(), certificate: Some(shown) };
        of.identify(token.map(str::as_bytes), peer).map(|found| of.config(found).name.to_string())
    };
    let name = |name: &str| Ok(name.to_owned());
    assert_eq!(who(None, &shown(0, &["b.internal", "a.internal"])), name("second"), "its first name counts");
    assert_eq!(who(None, &shown(7, &["a.internal"])), name("pinned"), "a fingerprint says more");
    assert_eq!(who(Some("t-both"), &shown(0, &["b.internal"])), name("both"));
    let wrong = Err(SignIn::WrongCertificate(ConsumerIx(3)));
    assert_eq!(who(Some("t-both"), &shown(0, &["a.internal"])), wrong);
    assert_eq!(who(None, &shown(0, &["c.internal"])), name("near"), "nobody's: the address is left");
}

#[tokio::test(start_paused = true)]
async fn failures_are_limited_per_address_and_good_tokens_are_not() {
    let clock = clock();
    let of = Consumers::new(&[consumer("good", Some("t"), &[])], clock);
    for _ in 0..10 {
        assert_eq!(who(&of, Some("guess"), "192.0.2.1"), Err(SignIn::Unknown));
    }
    let Err(SignIn::TooManyFailures { retry_after }) = who(&of, Some("guess"), "192.0.2.1") else {
        panic!("the eleventh failure within a minute is one too many")
    };
    assert_eq!(retry_after, 6 * SECOND);
    assert_eq!(who(&of, Some("t"), "192.0.2.1").unwrap(), "good");
    assert_eq!(who(&of, None, "192.0.2.1"), Err(SignIn::Missing), "no guess, no failure");
    assert_eq!(who(&of, Some("guess"), "192.0.2.2"), Err(SignIn::Unknown), "each address has its own");
    clock.sleep_until(clock.now() + retry_after - Duration::from_millis(1)).await;
    assert!(matches!(who(&of, Some("guess"), "192.0.2.1"), Err(SignIn::TooManyFailures { .. })));
    clock.sleep_until(clock.now() + Duration::from_millis(1)).await;
    assert_eq!(who(&of, Some("guess"), "192.0.2.1"), Err(SignIn::Unknown), "not a moment later than said");
}

#[tokio::test]
async fn a_network_of_ipv6_counts_as_one_address() {
    let of = Consumers::new(&[], clock());
    for host in 0..10 {
        assert_eq!(who(&of, Some("guess"), &format!("2001:db8:0:1::{host}")), Err(SignIn::Unknown));
    }
    assert!(matches!(who(&of, Some("guess"), "2001:db8:0:1:ffff::1"), Err(SignIn::TooManyFailures { .. })));
    assert_eq!(who(&of, Some("guess"), "2001:db8:0:2::1"), Err(SignIn::Unknown));
}

#[tokio::test(start_paused = true)]
async fn inbound_lets_a_burst_through_and_then_says_when() {
    let clock = clock();
    let mut limited = consumer("limited", Some("t"), &[]);
    limited.inbound = Some(Rate { requests: NonZeroU32::new(50).unwrap(), per: SECOND });
    let of = Consumers::new(&[limited, consumer("free", Some("f"), &[])], clock);
    let (limited, free) = (ConsumerIx(0), ConsumerIx(1));
    for _ in 0..50 {
        of.admit_inbound(limited).unwrap();
    }
    let RetryAfter(wait) = of.admit_inbound(limited).unwrap_err();
    assert_eq!(wait, Duration::from_millis(20));
    assert!((0..10_000).all(|_| of.admit_inbound(free).is_ok()));
    clock.sleep_until(clock.now() + wait).await;
    of.admit_inbound(limited).unwrap();
    assert!(of.admit_inbound(limited).is_err());
}

#[tokio::test]
async fn rates_beyond_one_per_nanosecond_are_a_rate_still() {
    let mut wild = consumer("wild", Some("t"), &[]);
    wild.inbound = Some(Rate { requests: NonZeroU32::MAX, per: Duration::from_nanos(1) });
    assert!(Consumers::new(&[wild], clock()).admit_inbound(ConsumerIx(0)).is_ok());
}

#[tokio::test]
async fn access_is_by_upstream() {
    let mut consumer = consumer("c", Some("t"), &[]);
    consumer.access = vec![Access {
        upstream: 3,
        seat: 7,
        allow: None,
        max_wait: None,
        client_cache_control: ClientCacheControl::Honour,
    }];
    let of = Consumers::new(&[consumer], clock());
    assert_eq!(of.access(ConsumerIx(0), 3).unwrap().seat, 7);
    assert!(of.access(ConsumerIx(0), 0).is_none());
}

/// What a caller learns from a refusal is the same for a token nobody has and for a
/// stolen one: both are counted as failures, and both are 401 until there are too many.
#[tokio::test]
async fn a_stolen_token_fails_as_an_unknown_one_does() {
    let of = Consumers::new(&[consumer("bound", Some("stolen"), &["10.0.0.0/8"])], clock());
    let outcomes = |token: &str, peer: &str| -> Vec<_> {
        let once = |_| matches!(who(&of, Some(token), peer), Err(SignIn::TooManyFailures { .. }));
        (0..15).map(once).collect()
    };
    assert_eq!(outcomes("stolen", "192.0.2.1"), outcomes("unknown", "192.0.2.2"));
}

#[tokio::test(start_paused = true)]
async fn addresses_are_forgotten_when_their_failures_have_come_back() {
    let clock = clock();
    let failures = Failures::new(clock);
    for host in 0..1_000_u32 {
        failures.count(IpAddr::V4(host.into())).unwrap();
    }
    assert_eq!(failures.remembered(), 1_000);
    clock.sleep_until(Moment::ZERO + 70 * SECOND).await;
    failures.count("192.0.2.1".parse().unwrap()).unwrap();
    assert_eq!(failures.remembered(), 1);
}

#[tokio::test]
async fn addresses_without_end_fill_no_memory() {
    let failures = Failures::new(clock());
    for host in 0..70_000_u32 {
        _ = failures.count(IpAddr::V4(host.into()));
    }
    assert!(failures.remembered() <= failures::MAX_ADDRESSES + 1);
    assert!(failures.count("192.0.2.1".parse().unwrap()).is_err(), "all new ones count as one");
}
