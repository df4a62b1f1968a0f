//! Replicas share what they keep, fetch once for all, and hear of each other's purges and
//! writes; a Redis that dies or freezes costs none of them a hit.

use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use weir::clock::Clock;
use weir::emulator::{Canned, Emulator, Latency, Options, Vendor};

use crate::support::load::{pause, together};
use crate::support::redis::{Redis, Wire};
use crate::support::{Caller, Reply, Weir, hash_line, token_of};

/// A path, a query, a body and a key that nobody may find in Redis.
const CANARIES: [&str; 5] =
    ["/canary-path/a", "canary=query", "canary-body-of-the-vendor", "canary-vendor-key", TOKEN_KEY];
const TOKEN_KEY: &str = "canary-token-key-0123456789abcdef0123456789";
const KEPT: &str = "/canary-path/a?canary=query";

/// A vendor far enough away that a crowd comes together.
async fn vendor(one_way: Duration) -> Emulator {
    let latency = Latency { least: one_way, most: one_way };
    Emulator::start(Options { vendor: Vendor::Generic, latency, ..Options::default() }).await.unwrap()
}

pub(super) fn says(vendor: &Emulator, path: &str, body: &str) {
    let headers = [("cache-control", "max-age=3600"), ("content-type", "text/plain")];
    let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    let status = http::StatusCode::OK;
    let body = body.to_owned().into();
    vendor.script(path, Canned { status, headers: headers.into_iter().collect(), body }).unwrap();
}

fn config(vendor: &Emulator, redis: &str, more: &str) -> String {
    format!(
        "[server]\ntoken_key = \"{TOKEN_KEY}\"\n[store]\nredis = {{ url = \"{redis}\" }}\n\
         [upstreams.echo]\ndialect = \"generic\"\nurl = \"{}\"\nlimits.day = \"100000/1d\"\n\
         keys.main.value = \"canary-vendor-key\"\n{more}\n[upstreams.echo.divisions.web]\nkey = \"main\"\n\
         [consumers.web]\n{}\n[consumers.web.access.echo]\ndivision = \"web\"\nallow = [\"* /**\"]\n",
        vendor.url(),
        hash_line(&token_of("web"))
    )
}

/// Replicas whose ledger and cache are open.
async fn fleet(configs: &[&str]) -> Vec<Weir> {
    let fleet: Vec<Weir> = configs.iter().map(|config| Weir::start(config)).collect();
    for weir in &fleet {
        weir.logged(|line| line["message"] == "the shared ledger is open").await;
        weir.logged(says_open).await;
    }
    fleet
}

/// A vendor, two replicas in front of it that reach Redis at `url`, and a caller at each.
pub(crate) async fn pair(url: &str) -> (Emulator, Vec<Weir>, Vec<Caller>) {
    let vendor = vendor(Duration::from_millis(1)).await;
    says(&vendor, "/things/1", "thing");
    let config = config(&vendor, url, "");
    let fleet = fleet(&[&config, &config]).await;
    let callers = fleet.iter().map(web).collect();
    (vendor, fleet, callers)
}

fn says_open(line: &serde_json::Value) -> bool {
    line["message"].as_str().is_some_and(|text| text.starts_with("the shared cache is open"))
}

fn web(weir: &Weir) -> Caller {
    weir.caller(&token_of("web"))
}

fn output(fleet: &[Weir]) -> String {
    fleet.iter().map(Weir::output).collect::<Vec<_>>().join("\n---\n")
}

async fn purge(weir: &Weir) -> Reply {
    weir.admin().post_json("/api/v1/cache/purge", r#"{"upstream":"echo"}"#).await
}

async fn write(caller: &Caller, path: &str) {
    let reply = caller.ask(Method::PUT, path, &[], "new").await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

fn paid(replies: &[Reply]) -> u32 {
    replies.iter().map(Reply::price).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_at_three_replicas_is_one_request() {
    let (redis, vendor) = (Redis::start(), vendor(Duration::from_millis(250)).await);
    says(&vendor, "/canary-path/a", "canary-body-of-the-vendor");
    let config = config(&vendor, &redis.url(), "");
    let fleet = fleet(&[&config, &config, &config]).await;
    let crowds =
        fleet.iter().map(async |weir| together(&web(weir), std::iter::repeat_n(KEPT.to_owned(), 100)).await);
    let replies = join_all(crowds).await.concat();
    let seen: Vec<String> = vendor.requests().iter().map(|seen| seen.target.clone()).collect();
    assert_eq!(seen, [KEPT], "{}", output(&fleet));
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.body == "canary-body-of-the-vendor"));
    assert_eq!(paid(&replies), 1);
    let how = |what: &str| replies.iter().filter(|reply| reply.header("cache-status").contains(what)).count();
    assert_eq!(how("collapsed") + how("hit"), 299, "{:?}", replies[0]);
    assert!(how("collapsed") >= 200, "{}", how("collapsed"));
    // What one has fetched is a hit at another that was not there.
    let late = Weir::start(&config);
    let reply = web(&late).get(KEPT).await;
    assert!(reply.header("cache-status").contains("hit"), "{reply:?}");
    assert_eq!((reply.price(), vendor.requests().len()), (0, 1));
    nothing_is_readable(&redis);
}

/// Neither in names nor in values, as text, in base64 or in hex.
fn nothing_is_readable(redis: &Redis) {
    let keys = redis.command(&["KEYS", "*"]);
    assert!(keys.contains("{weir:cache}:1:r:"), "no answer is kept: {keys}");
    let mut all = keys.clone();
    for key in keys.lines() {
        let how: &[&str] = match redis.command(&["TYPE", key]).as_str() {
            "string" => &["GET", key],
            "hash" => &["HGETALL", key],
            "list" => &["LRANGE", key, "0", "-1"],
            "zset" => &["ZRANGE", key, "0", "-1"],
            other => panic!("{key} is a {other}"),
        };
        all += &redis.command(how);
        let lives: i64 = redis.command(&["PTTL", key]).parse().unwrap();
        assert!(lives > 0 || !key.contains(":cache}"), "{key} lives for ever");
    }
    for canary in CANARIES {
        let forms = [
            canary.to_owned(),
            data_encoding::HEXLOWER.encode(canary.as_bytes()),
            data_encoding::BASE64_NOPAD.encode(canary.as_bytes()),
        ];
        for form in forms {
            assert!(!all.contains(&form), "{form} is readable in Redis");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_and_a_write_reach_every_replica_before_they_are_answered() {
    let redis = Redis::start();
    let longest = reach_every_replica(&redis.url()).await;
    println!("the slowest purge or write took {longest:?}");
    assert!(longest < Duration::from_millis(900), "nobody was waited for in vain: {longest:?}");
}

/// Purges and writes at one replica are known to all when they are answered; how long the
/// slowest took.
pub(super) async fn reach_every_replica(url: &str) -> Duration {
    let vendor = vendor(Duration::from_millis(1)).await;
    let config = config(&vendor, url, "");
    let fleet = fleet(&[&config, &config, &config]).await;
    let clock = Clock::system();
    // Who has just connected waits until the leases of those it may not know are over.
    pause(Duration::from_millis(1_300)).await;
    let mut longest = Duration::ZERO;
    for round in 0..20 {
        let body = format!("version {round}");
        says(&vendor, "/things/1", &body);
        let writer = &fleet[round % 3];
        let asked = clock.now();
        if round % 2 == 0 {
            write(&web(writer), "/things/1").await;
        } else {
            let purged = purge(writer).await;
            assert_eq!(purged.status, 200, "{purged:?}");
        }
        longest = longest.max(clock.now().since(asked));
        for weir in &fleet {
            let reply = web(weir).get("/things/1").await;
            assert_eq!(reply.body, body, "{round} {reply:?}\n{}", output(&fleet));
        }
    }
    longest
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_replica_that_dies_is_answered() {
    let (redis, vendor) = (Redis::start(), vendor(Duration::from_millis(700)).await);
    says(&vendor, "/a", "a");
    let config = config(&vendor, &redis.url(), "");
    let mut fleet = fleet(&[&config, &config]).await;
    let (leader, follower) = (web(&fleet[0]), web(&fleet[1]));
    let led = tokio::spawn(async move { leader.try_get("/a").await });
    crate::support::until("the leader's request has left", || vendor.requests().len() == 1).await;
    let followed =
        tokio::spawn(async move { together(&follower, std::iter::repeat_n("/a".into(), 5)).await });
    pause(Duration::from_millis(200)).await;
    assert_eq!(vendor.requests().len(), 1, "the follower waits");
    drop(fleet.remove(0).kill());
    let replies = followed.await.unwrap();
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.body == "a"), "{replies:?}");
    assert_eq!((paid(&replies), vendor.requests().len()), (1, 2));
    assert!(led.await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_may_share_holds_nobody_up() {
    let (redis, vendor) = (Redis::start(), vendor(Duration::from_millis(200)).await);
    let headers = [("cache-control".parse().unwrap(), "no-store".parse().unwrap())];
    let canned = Canned {
        status: http::StatusCode::OK,
        headers: headers.into_iter().collect(),
        body: "own".to_owned().into(),
    };
    vendor.script("/a", canned).unwrap();
    let config = config(&vendor, &redis.url(), "");
    let fleet = fleet(&[&config, &config]).await;
    for round in 0..2 {
        let (clock, before) = (Clock::system(), vendor.requests().len());
        let asked = clock.now();
        let callers: Vec<Caller> = fleet.iter().map(web).collect();
        let replies = join_all(callers.iter().map(|caller| caller.get("/a"))).await;
        assert!(replies.iter().all(|reply| reply.status == 200 && reply.body == "own"), "{replies:?}");
        assert_eq!(vendor.requests().len() - before, 2, "one each");
        // The first time the second learns it from the first one's head; then both know.
        let most = if round == 0 { 1_600 } else { 790 };
        let took = clock.now().since(asked);
        assert!(took < Duration::from_millis(most), "{round}: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_redis_delays_no_hit_and_a_miss_by_a_bound() {
    let (redis, vendor) = (Redis::start(), vendor(Duration::from_millis(1)).await);
    for path in ["/a", "/b", "/c", "/d", "/e", "/f", "/g"] {
        says(&vendor, path, path);
    }
    // Without limits of its own, so that the ledger has no say in it.
    let config = config(&vendor, &redis.url(), "").replace("limits.day = \"100000/1d\"\n", "");
    let weir = Weir::start(&config);
    weir.logged(says_open).await;
    let (caller, clock) = (web(&weir), Clock::system());
    assert_eq!(caller.get("/a").await.status, 200);
    redis.freeze();
    let timed = async |path: &str| {
        let asked = clock.now();
        let reply = caller.get(path).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        (clock.now().since(asked), reply)
    };
    let mut hits = Vec::new();
    let (first, _) = timed("/b").await;
    for _ in 0..200 {
        let (took, reply) = timed("/a").await;
        assert!(reply.header("cache-status").contains("hit"), "{reply:?}");
        hits.push(took);
        pause(Duration::from_millis(5)).await;
    }
    let mut misses = Vec::new();
    for path in ["/c", "/d", "/e", "/f", "/g"] {
        misses.push(timed(path).await.0);
    }
    hits.sort_unstable();
    misses.sort_unstable();
    println!("hits: median {:?}, worst {:?}; misses: {first:?}, {misses:?}", hits[100], hits[199]);
    // Beside other tests the worst of many tells of the machine; a Redis that is waited for
    // would show in the middle.
    assert!(hits[100] < Duration::from_millis(20) && hits[199] < Duration::from_millis(400), "{hits:?}");
    assert!(first < Duration::from_millis(600), "{first:?}");
    assert!(misses[2] < Duration::from_millis(100), "it is left alone: {misses:?}");
    // A write is answered, though nobody can be told; and then they are.
    let asked = clock.now();
    write(&caller, "/a").await;
    assert!(clock.now().since(asked) < Duration::from_secs(2));
    weir.logged(|line| line["error"].as_str().is_some_and(|text| text.starts_with("redis does not confirm")))
        .await;
    let written = caller.get("/a").await;
    assert!(written.header("cache-status").contains("fwd"), "{written:?}");
    redis.thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_cut_off_drops_what_was_written_meanwhile() {
    let (mut redis, vendor) = (Redis::start(), vendor(Duration::from_millis(1)).await);
    let wire = Wire::to(redis.address()).await;
    let direct = config(&vendor, &redis.url(), "").replace("limits.day = \"100000/1d\"\n", "");
    let by_wire = config(&vendor, &wire.url(), "").replace("limits.day = \"100000/1d\"\n", "");
    let fleet: Vec<Weir> = [&direct, &by_wire].into_iter().map(|config| Weir::start(config)).collect();
    for weir in &fleet {
        weir.logged(says_open).await;
    }
    let (here, there) = (web(&fleet[0]), web(&fleet[1]));
    for (path, body) in [("/things/1", "old"), ("/things/2", "kept")] {
        says(&vendor, path, body);
        assert_eq!(there.get(path).await.body, body);
    }
    wire.cut();
    fleet[1]
        .logged(|line| line["message"].as_str().is_some_and(|text| text.starts_with("redis does not answer")))
        .await;
    says(&vendor, "/things/1", "new");
    write(&here, "/things/1").await;
    assert_eq!(here.get("/things/1").await.body, "new");
    assert_eq!(there.get("/things/1").await.body, "old", "it says that it hears nothing, and goes on");
    // Redis loses what it knew as well: the writer tells it again.
    redis.kill();
    redis.again_empty();
    wire.mend();
    let asked = vendor.requests().len();
    for attempt in 0.. {
        if there.get("/things/1").await.body == "new" {
            break;
        }
        assert!(attempt < 60, "{}", output(&fleet));
        pause(Duration::from_millis(100)).await;
    }
    let kept = there.get("/things/2").await;
    assert!(kept.header("cache-status").contains("hit"), "only what was written is dropped: {kept:?}");
    assert!(vendor.requests().len() - asked <= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_version_wrote_is_not_there() {
    let (redis, vendor) = (Redis::start(), vendor(Duration::from_millis(1)).await);
    for path in ["/a", "/b", "/c"] {
        says(&vendor, path, path);
    }
    let config = config(&vendor, &redis.url(), "");
    let first = fleet(&[&config]).await;
    for path in ["/a", "/b", "/c"] {
        web(&first[0]).get(path).await;
    }
    let records = || -> Vec<String> {
        redis.command(&["KEYS", "{weir:cache}:1:r:*"]).lines().map(str::to_owned).collect()
    };
    crate::support::until("three answers are shared", || records().len() == 3).await;
    // One is of another kind, one was sealed otherwise, one is as this version wrote it.
    let records = records();
    redis.command(&["SET", &records[0], "of another kind"]);
    let field = redis.command(&["HKEYS", &records[1]]);
    redis.command(&["DEL", &records[1]]);
    redis.command(&["HSET", &records[1], &field, "sealed by another version"]);
    // Keys and messages of another version beside ours are no matter either.
    redis.command(&["SET", "{weir:cache}:2:log", "of another version"]);
    redis.command(&["PUBLISH", "{weir:cache}:1:news", "zzz"]);
    let second = fleet(&[&config]).await;
    let before = vendor.requests().len();
    let mut hits = 0;
    for path in ["/a", "/b", "/c"] {
        let reply = web(&second[0]).get(path).await;
        assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, path.as_bytes()));
        hits += usize::from(reply.header("cache-status").contains("hit"));
    }
    assert_eq!((hits, vendor.requests().len() - before), (1, 2), "{}", output(&second));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shared_is_bounded() {
    let (redis, vendor) = (Redis::start(), vendor(Duration::from_millis(1)).await);
    let large = "x".repeat(200_000);
    let config =
        config(&vendor, &redis.url(), "").replace(" }\n[upstreams", ", cache = \"1MiB\" }\n[upstreams");
    assert!(config.contains("1MiB"));
    let fleet = fleet(&[&config]).await;
    for number in 0..30 {
        let path = format!("/large/{number}");
        says(&vendor, &path, &large);
        assert_eq!(web(&fleet[0]).get(&path).await.status, 200);
    }
    says(&vendor, "/last", "last");
    web(&fleet[0]).get("/last").await;
    let count = || redis.command(&["KEYS", "{weir:cache}:1:r:*"]).lines().count();
    pause(Duration::from_millis(300)).await;
    let total: u64 = redis.command(&["HGET", "{weir:cache}:1:sizes", "total"]).parse().unwrap();
    assert!((200_000..=1 << 20).contains(&total), "{total}");
    assert!((2..=6).contains(&count()), "{}", count());
    let info = redis.command(&["INFO", "memory"]);
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().to_owned();
    assert!(used.parse::<u64>().unwrap() < 8 << 20, "{used}");
}
