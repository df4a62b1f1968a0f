//! More than one weir: a sidecar in front of a central one, and two side by side that
//! share an account by `portion` alone.

use std::time::Duration;

use weir::clock::Clock;
use weir::emulator::{Emulator, Key, Options};

use crate::support::load::{fresh_url, saturate, together};
use crate::support::{Caller, VENDOR_KEY, Weir, catchpoint, token_of};

async fn vendor(limits: &[&str]) -> Emulator {
    let limits = limits.iter().map(|limit| limit.parse().unwrap()).collect();
    let keys = vec![Key::client("main", VENDOR_KEY)];
    Emulator::start(Options { limits: Some(limits), keys, ..Options::default() }).await.unwrap()
}

/// Of Catchpoint's limits the minute alone, with this rate.
fn minute(rate: &str) -> String {
    format!("limits.second = false\nlimits.hour = false\nlimits.day = false\nlimits.minute = \"{rate}\"\n")
}

/// A sidecar for whoever is on this machine.
fn sidecar(central: &Weir, more: &str) -> (Weir, Caller) {
    let config = format!(
        "[upstreams.central]\ndialect = \"weir\"\nurl = \"http://{}\"\nkeys.main.value = \"{}\"\n{more}\n\
         [consumers.local]\nfrom = [\"127.0.0.1\"]\naccess.central.allow = [\"* /**\"]\n",
        central.address(),
        token_of("sidecar"),
    );
    let weir = Weir::start(&config);
    let caller = Caller::at(format!("http://{}", weir.address()), None);
    (weir, caller)
}

#[tokio::test]
async fn prices_and_cache_states_of_the_central_weir_are_told() {
    let vendor = vendor(&["100/1m"]).await;
    let central = Weir::start(&catchpoint(&vendor.url(), &minute("100/1m"), &[("sidecar", "web", "")]));
    let (sidecar, team) = sidecar(&central, "");

    let url = fresh_url(0);
    let paid = team.get(&url).await;
    assert_eq!((paid.status.as_u16(), paid.price()), (200, 1), "{paid:?}");
    let states: Vec<&str> =
        paid.headers.get_all("cache-status").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(states.len(), 2, "{states:?}");
    assert!(states[0].starts_with("weir;fwd=uri-miss;fwd-status=200;stored"), "{states:?}");
    assert!(states[1].starts_with("weir;fwd=uri-miss;fwd-status=200"), "{states:?}");
    assert_eq!(paid.remaining("minute"), 99, "the central weir's own view");
    // The central one has it now, and that costs nothing.
    let kept = team.get(&url).await;
    assert_eq!((kept.status.as_u16(), kept.price()), (200, 0), "{kept:?}");
    assert!(kept.header("cache-status").starts_with("weir;hit;ttl="), "{kept:?}");
    assert_eq!(kept.body, paid.body);
    assert_eq!(vendor.requests().len(), 1);
    // All pages of a list are walked by the central weir, which knows how.
    let pages = team.get_with("/api/v2/tests?pageSize=100", &[("weir-pages", "all")]).await;
    let page = team.get("/api/v2/tests?pageSize=100").await;
    assert_eq!(pages.status, 200, "{pages:?}");
    assert!(pages.body.len() > page.body.len(), "{} and {}", pages.body.len(), page.body.len());
    // Writes go through, if they are allowed there.
    let patched =
        team.ask(http::Method::POST, "/api/v2/labels", &[("content-type", "application/json")], "{}").await;
    assert_eq!(patched.status, 403, "the central weir allows this consumer reads only: {patched:?}");
    assert!(patched.error().contains("not allowed"), "{patched:?}");
    let said = sidecar.stop();
    assert!(!said.contains(&token_of("sidecar")));
    assert!(!said.contains("refuses this key"), "the token is as good as before: {said}");
}

#[tokio::test]
async fn a_stored_answer_of_the_sidecar_costs_nothing_and_tells_of_itself_alone() {
    let vendor = vendor(&["100/1m"]).await;
    let central = Weir::start(&catchpoint(&vendor.url(), &minute("100/1m"), &[("sidecar", "web", "")]));
    let rule = "[[upstreams.central.cache]]\nmatch = \"GET /**\"\nttl = \"1m\"\n";
    let (_sidecar, team) = sidecar(&central, rule);
    let paths = std::iter::repeat_n(fresh_url(0), 10);
    let replies = together(&team, paths).await;
    let prices: u32 = replies.iter().map(crate::support::Reply::price).sum();
    assert_eq!((prices, vendor.requests().len()), (1, 1), "ten joined callers, one request, one price");
    let url = fresh_url(0);
    assert_eq!(team.get(&url).await.price(), 1);
    let hit = team.get(&url).await;
    assert_eq!(hit.price(), 0);
    assert!(hit.header("cache-status").starts_with("weir;hit;ttl="), "{hit:?}");
    assert_eq!(hit.header("ratelimit"), "", "allowances are never replayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_and_refusals_pass_through_and_close_nothing() {
    // A real window of two seconds: the wait is the point.
    let vendor = vendor(&["1/2s"]).await;
    let more = minute("1/2s") + "max_wait = \"20s\"";
    let central = Weir::start(&catchpoint(&vendor.url(), &more, &[("sidecar", "web", "")]));
    let (sidecar, team) = sidecar(&central, "max_wait = \"1m\"");
    assert_eq!(team.get(&fresh_url(0)).await.price(), 1);

    let refused = team.get_with(&fresh_url(0), &[("prefer", "wait=0")]).await;
    assert_eq!((refused.status.as_u16(), refused.price()), (429, 0), "{refused:?}");
    assert!(refused.header("proxy-status").contains("account: minute"), "{refused:?}");
    // The window and its slack, rounded up.
    assert!(matches!(refused.header("retry-after"), "1" | "2" | "3"), "{refused:?}");
    assert!(refused.error().starts_with("weir: the allowance"), "the vendor's own shape: {refused:?}");
    // Without a word the wait is the sidecar's, which the central one clips and says so.
    let waited = team.get(&fresh_url(0)).await;
    assert_eq!((waited.status.as_u16(), waited.price()), (200, 1), "{waited:?}");
    assert_eq!(waited.header("preference-applied"), "wait=20");
    // The refusal has closed nothing: two more in a row, each after its window.
    for _ in 0..2 {
        let next = team.get_with(&fresh_url(0), &[("prefer", "wait=10")]).await;
        assert_eq!((next.status.as_u16(), next.price()), (200, 1), "{next:?}");
        assert_eq!(next.header("preference-applied"), "");
    }
    assert_eq!((vendor.counted(), vendor.refused()), (4, 0));
    let said = sidecar.stop();
    assert!(!said.contains("the vendor answered 429"), "{said}");
}

#[tokio::test]
async fn a_central_weir_that_fails_its_vendor_is_neither_asked_twice_nor_let_be() {
    let vendor = vendor(&["100/1m"]).await;
    let central = Weir::start(&catchpoint(&vendor.url(), &minute("100/1m"), &[("sidecar", "web", "")]));
    let (_sidecar, team) = sidecar(&central, "");
    let url = fresh_url(0);
    assert_eq!(team.get(&url).await.status, 200);
    vendor.shutdown().await;
    for _ in 0..20 {
        let failed = team.get(&fresh_url(0)).await;
        assert_eq!(failed.status, 502, "{failed:?}");
        assert_eq!(failed.headers.get_all("proxy-status").iter().count(), 1);
        assert!(failed.header("proxy-status").starts_with("weir;error="), "{failed:?}");
    }
    // What the central weir still has comes through: the sidecar did not give it up.
    assert_eq!(team.get(&url).await.status, 200);
}

/// Two weirs without a shared store, each with its part of one account.
async fn side_by_side(part: &str, (requests, seconds): (u32, u64), least: usize) {
    let limit = format!("{requests}/{seconds}s");
    let vendor = vendor(&[&limit]).await;
    let more = minute(&limit) + &format!("max_wait = \"20s\"\nportion = \"{part}\"");
    let config = catchpoint(&vendor.url(), &more, &[("team", "web", "")]);
    let weirs = [Weir::start(&config), Weir::start(&config)];
    let callers = [weirs[0].caller(&token_of("team")), weirs[1].caller(&token_of("team"))];
    let clock = Clock::system();
    let until = clock.now() + Duration::from_secs(3 * seconds) + Duration::from_millis(500);
    let replies = saturate(&callers, 3, until, clock).await;
    assert!(replies.iter().flatten().all(|reply| reply.status == 200), "{replies:?}");
    assert!(replies.iter().all(|replies| replies.len() >= least), "{:?}", replies.each_len());
    assert_eq!(vendor.refused(), 0);
}

/// For a message.
trait EachLen {
    fn each_len(&self) -> Vec<usize>;
}

impl<T> EachLen for Vec<Vec<T>> {
    fn each_len(&self) -> Vec<usize> {
        self.iter().map(Vec::len).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn portions_of_one_account_add_up_to_no_refusal() {
    // Halves fill it to the brim; of tenths there is room for eight more.
    tokio::join!(side_by_side("1/2", (20, 2), 20), side_by_side("1/10", (20, 2), 4));
}
