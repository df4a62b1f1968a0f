//! `Retry-After` against the truth (law 7): for every refusal of a run there is a twin
//! that asks right after it and waits; when the vendor sees it is when a yes came.
//! Runs for real, since `Retry-After` has no other seconds.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use weir::clock::{Clock, Moment};
use weir::emulator::{Emulator, Options};

use super::{delays, enforcing, only, start};
use crate::support::load::{alone, fresh_url, pause};
use crate::support::{Caller, Weir, catchpoint, token_of};

const AT_ONCE: &[(&str, &str)] = &[("prefer", "wait=0")];
/// What a small machine that does much else may take to see that a moment has come. Each
/// window until then begins that much later than the one before ended.
const TARDY: Duration = Duration::from_millis(700);

/// A refusal, and the twin that waited in its stead.
struct Pair {
    asked: Moment,
    told: Duration,
    twin: String,
}

/// Asks for a no, by who waits `wait` seconds, and for a yes, one right after the other;
/// `None` if there was a slot.
async fn twins(caller: &Caller, (clock, who): (Clock, usize), wait: &str) -> Option<Pair> {
    let mut asked = clock.now();
    let reply = caller.get_with(&fresh_url(who), &[("prefer", &format!("wait={wait}"))]).await;
    if reply.status == 200 {
        return None;
    }
    assert_eq!(reply.status, 429, "{reply:?}");
    // Refused at the end of its patience, which began when weir saw it: not before now.
    let patience = Duration::from_secs(wait.parse().unwrap());
    if clock.now() >= asked + patience {
        asked = asked + patience;
    }
    let told = Duration::from_secs(reply.header("retry-after").parse().unwrap());
    let (twin, waits) = (fresh_url(who), caller.clone());
    let url = twin.clone();
    // Its answer is not waited for: when the vendor sees it is what counts.
    tokio::spawn(async move { waits.try_get(&url).await });
    Some(Pair { asked, told, twin })
}

/// When the vendor saw it.
async fn seen(vendor: &Emulator, target: &str) -> Moment {
    let mut at = None;
    crate::support::until("the twin is sent", || {
        at = vendor.requests().iter().find(|seen| seen.target == target).map(|seen| seen.arrived);
        at.is_some()
    })
    .await;
    at.unwrap()
}

async fn honest(vendor: &Emulator, pairs: Vec<Pair>, window: Duration) {
    for (index, Pair { asked, told, twin }) in pairs.into_iter().enumerate() {
        let waited = seen(vendor, &twin).await.since(asked);
        // Rounded up to a second, it is never later than a yes; and it is right to the second.
        assert!(told < waited + Duration::from_secs(1), "{index}: told {told:?}, a yes after {waited:?}");
        let windows = 1.0 + (told.as_secs_f64() / window.as_secs_f64()).ceil();
        assert!(waited <= told + TARDY.mul_f64(windows), "{index}: told {told:?}, a yes after {waited:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_no_tells_when_a_yes_would_have_come() {
    let _alone = alone().await;
    let clock = Clock::system();
    let vendor = start(Options { latency: delays(1, 5), clock, ..enforcing(&["8/4s"]) }).await;
    let more = only("max_wait = \"30s\"\nlimits.minute = \"8/4s\"")
        + "[upstreams.catchpoint.divisions.web]\nkey = \"main\"\nshare = \"50%\"\nreserve = { minute = 1 }\n\
           [upstreams.catchpoint.divisions.ops]\nkey = \"main\"\nshare = \"50%\"\n";
    let consumers = [("one", "ops", ""), ("two", "ops", ""), ("owner", "web", "")];
    let weir = Weir::start(&catchpoint(&vendor.url(), &more, &consumers));
    let [one, two] = ["one", "two"].map(|name| weir.caller(&token_of(name)));
    // Seven slots (one is held for the owner), used at moments of their own.
    let began = clock.now();
    for n in 0..7 {
        clock.sleep_until(began + Duration::from_millis(450) * n).await;
        assert_eq!([&one, &two][n as usize % 2].get_with(&fresh_url(0), AT_ONCE).await.status, 200);
    }
    // One consumer after another asks for the next slot, each with those before it in front.
    let mut pairs = Vec::new();
    for n in 0..6 {
        pairs.extend(twins(&one, (clock, 1), "0").await);
        clock.sleep_until(began + Duration::from_millis(3_200 + 100 * n)).await;
    }
    assert!(pairs.len() >= 5, "{}", pairs.len());
    honest(&vendor, pairs, Duration::from_secs(4)).await;

    // Two of another consumer wait already; whoever of them goes first is counted.
    let waiting: Vec<_> = (0..9).map(|_| (two.clone(), fresh_url(2))).collect();
    let waiting = waiting.into_iter().map(|(two, url)| tokio::spawn(async move { two.get(&url).await }));
    let waiting: Vec<_> = waiting.collect();
    pause(Duration::from_millis(300)).await;
    let pair = twins(&one, (clock, 1), "0").await.expect("others wait for all there is");
    honest(&vendor, vec![pair], Duration::from_secs(4)).await;
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().status, 200);
    }
    assert_eq!(vendor.refused(), 0);
}

/// Waits until each of `twins` stands in weir's queue or has left it, and nobody else does.
async fn all_in(vendor: &Emulator, weir: &Weir, twins: HashSet<&str>) {
    for _ in 0..1_000 {
        // In this order nobody is counted twice.
        let left = vendor.requests().iter().filter(|seen| twins.contains(seen.target.as_str())).count();
        let waiting = weir.status().await["waiting"].as_u64().unwrap();
        if left as u64 + waiting == twins.len() as u64 {
            return;
        }
        pause(Duration::from_millis(5)).await;
    }
    panic!("not all of {} twins come", twins.len());
}

/// How patient the callers of the saturated run are, in seconds.
const PATIENCE: [&str; 3] = ["0", "1", "2"];

/// One who asks until `until`, with a twin for every no.
async fn ask_with_twins(caller: Caller, who: usize, lane: usize, until: (Moment, Clock)) -> Vec<Pair> {
    let (until, clock) = until;
    let mut pairs = Vec::new();
    for round in lane.. {
        if clock.now() >= until {
            break;
        }
        let wait = PATIENCE[round % PATIENCE.len()];
        let pair = twins(&caller, (clock, who), wait).await;
        if pair.is_some() {
            // Who is refused comes back, and not in a rush.
            pause(Duration::from_millis(150)).await;
        }
        pairs.extend(pair);
    }
    pairs
}

/// Callers who wait as long as they like, and are refused at once, on the way or at the
/// end. Once nobody new comes, each no is right to the second, whoever else still waits.
/// (While they come, those whose time runs out make room to others, and twins come in any
/// order; `budget::tests::twins` is about the rest.)
#[tokio::test(flavor = "multi_thread")]
async fn after_a_saturated_run_each_no_is_right_to_the_second() {
    let _alone = alone().await;
    let clock = Clock::system();
    let vendor = start(Options { latency: delays(1, 5), clock, ..enforcing(&["20/2s"]) }).await;
    let more = only("max_wait = \"60s\"\nlimits.minute = \"20/2s\"")
        + "[upstreams.catchpoint.divisions.web]\nkey = \"main\"\nshare = \"60%\"\n\
           [upstreams.catchpoint.divisions.ops]\nkey = \"main\"\nshare = \"30%\"\nreserve = { minute = 1 }\n";
    let weir = Weir::start(&catchpoint(&vendor.url(), &more, &[("one", "web", ""), ("two", "ops", "")]));
    let callers = ["one", "two"].map(|name| weir.caller(&token_of(name)));
    let until = clock.now() + Duration::from_secs(5);
    let lanes = (0..12).map(|lane| ask_with_twins(callers[lane % 2].clone(), lane % 2, lane, (until, clock)));
    let of_run = join_all(lanes).await.into_iter().flatten().collect::<Vec<_>>();
    // Nobody asks any more, but for these, one after the other.
    let mut of_end = Vec::new();
    for _ in 0..4 {
        all_in(&vendor, &weir, of_run.iter().chain(&of_end).map(|pair| pair.twin.as_str()).collect()).await;
        of_end.extend(twins(&callers[0], (clock, 0), "0").await);
    }
    println!("{} refusals in the run, {} at its end", of_run.len(), of_end.len());
    assert!(of_run.len() >= 20 && of_end.len() == 4, "there was nothing to check");
    honest(&vendor, of_end, Duration::from_secs(2)).await;
    assert_eq!(vendor.refused(), 0);
}

/// A herd: the k-th who is refused for a slot is told of the k-th next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_herd_is_sent_home_one_by_one() {
    let _alone = alone().await;
    let clock = Clock::system();
    let vendor = start(Options { clock, ..enforcing(&["4/4s"]) }).await;
    let weir =
        Weir::start(&catchpoint(&vendor.url(), &only("limits.minute = \"4/4s\""), &[("one", "all", "")]));
    let one = weir.caller(&token_of("one"));
    let began = clock.now();
    let mut slots = Vec::new();
    for n in 0..4 {
        clock.sleep_until(began + Duration::from_millis(900) * n).await;
        assert_eq!(one.get_with(&fresh_url(0), AT_ONCE).await.status, 200);
        slots.push(clock.now() + Duration::from_secs(4));
    }
    for slot in slots {
        let asked = clock.now();
        let reply = one.get_with(&fresh_url(0), AT_ONCE).await;
        let told = Duration::from_secs(reply.header("retry-after").parse().unwrap());
        assert!(
            asked + told + TARDY >= slot && asked + told < slot + Duration::from_secs(1) + TARDY,
            "{told:?}"
        );
    }
}
