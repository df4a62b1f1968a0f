//! The durable ledger from outside: kill -9, again and again, under load (DESIGN, law 8).
//! Real processes in real time: that a real moment passes is the point here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use weir::clock::{Clock, Moment};
use weir::emulator::{Emulator, Key, Latency, Limit, Options};

use crate::support::load::alone;
use crate::support::{Caller, VENDOR_KEY, Weir, catchpoint, token_of};

/// What the vendor allows: scaled down, so that windows end while we watch.
const REQUESTS: usize = 200;
const WINDOW: Duration = Duration::from_secs(1);
const CALLERS: usize = 8;
/// From the start of a process to its first answer from the vendor.
const FIRST_GRANT: Duration = Duration::from_millis(500);

/// `linger` is a little above the emulator's longest one-way delay.
const UPSTREAM: &str = r#"
timeout = "2s"
linger = "12ms"
max_wait = "5s"
[upstreams.catchpoint.limits]
second = "1000/1s"
minute = "200/1s"
hour = false
day = false
"#;

async fn vendor() -> Emulator {
    let limits = vec![Limit::address(1_000, WINDOW), Limit::analytic(REQUESTS as u64, WINDOW)];
    Emulator::start(Options {
        keys: vec![Key::client("main", VENDOR_KEY)],
        limits: Some(limits),
        latency: Latency { least: Duration::from_millis(1), most: Duration::from_millis(8) },
        clock: Clock::system(),
        ..Options::default()
    })
    .await
    .unwrap()
}

/// When the vendor has counted each analytic request so far.
fn counted(vendor: &Emulator) -> Vec<Moment> {
    let seen = vendor.requests().into_iter().filter(|seen| seen.analytic);
    let mut at: Vec<_> = seen.filter_map(|seen| seen.counted).collect();
    at.sort_unstable();
    at
}

/// Callers that ask without end for what nobody has asked for before.
struct Load(Vec<tokio::task::JoinHandle<()>>);

impl Load {
    fn on(weir: &Weir, numbers: &Arc<AtomicU64>) -> Self {
        let task = |_| tokio::spawn(ask_on(weir.caller(&token_of("grafana")), Arc::clone(numbers)));
        Self((0..CALLERS).map(task).collect())
    }

    async fn stop(self) {
        for task in self.0 {
            task.abort();
            let _ = task.await;
        }
    }
}

/// Until the connection breaks.
async fn ask_on(caller: Caller, numbers: Arc<AtomicU64>) {
    loop {
        let id = numbers.fetch_add(1, Ordering::Relaxed);
        if caller.try_get(&format!("/api/v2/nodes/all?name=n{id}")).await.is_none() {
            return;
        }
    }
}

async fn rest(clock: Clock, time: Duration) {
    clock.sleep_until(clock.now() + time).await;
}

/// What the vendor counts in a second without kills, over whole rounds of its
/// window: the first is left out.
async fn calm_rate(clock: Clock, vendor: &Emulator, rounds: usize) -> f64 {
    let began = counted(vendor).len();
    rest(clock, WINDOW * u32::try_from(rounds + 3).unwrap()).await;
    let at = &counted(vendor)[began + REQUESTS..];
    let whole = (at.len() - 1) / REQUESTS * REQUESTS;
    whole as f64 / at[whole].since(at[0]).as_secs_f64()
}

/// Analytic requests that the vendor has counted and could not answer any more.
fn lost(vendor: &Emulator) -> usize {
    let seen = vendor.requests();
    seen.iter().filter(|seen| seen.analytic && seen.counted.is_some() && seen.answered.is_none()).count()
}

/// When the process could serve, and from when not.
struct Life {
    from: Moment,
    to: Moment,
}

/// What a kill costs is what was in flight or booked ahead: the vendor may have counted
/// it, so it is charged until a window after the restart. That is at most one request of
/// each caller and a hundredth of the limit, so how much of the whole it is depends on how
/// far the kills are apart: 10 of 800 in the long run (`WEIR_LONG=1`: fifty kills, 3 to 5 s
/// apart).
#[tokio::test(flavor = "multi_thread")]
async fn kill_nine_at_any_moment_costs_the_vendor_nothing() {
    let _alone = alone().await;
    let is_long = std::env::var_os("WEIR_LONG").is_some();
    let (kills, rounds, apart) = if is_long { (50, 10, 3_000..5_000) } else { (10, 3, 800..1_300) };
    let (clock, vendor, numbers) = (Clock::system(), vendor().await, Arc::new(AtomicU64::new(0)));
    let mut weir = Weir::start(&catchpoint(&vendor.url(), UPSTREAM, &[("grafana", "web", "")]));
    let mut load = Load::on(&weir, &numbers);
    let calm = calm_rate(clock, &vendor, rounds).await;
    let (mut lives, mut grants, mut from) = (Vec::new(), Vec::new(), clock.now());
    for kill in 0..kills {
        rest(clock, Duration::from_millis(rand::random_range(apart.clone()))).await;
        // Into a burst: when the vendor has just counted another one.
        let now = vendor.counted();
        while vendor.counted() == now {
            rest(clock, Duration::from_millis(1)).await;
        }
        rest(clock, Duration::from_micros(rand::random_range(0..15_000))).await;
        let (to, folder) = (clock.now(), weir.kill());
        lives.push(Life { from, to });
        load.stop().await;
        let dead = clock.now();
        weir = Weir::again(folder);
        load = Load::on(&weir, &numbers);
        let first = weir.caller(&token_of("grafana")).get(&format!("/api/v2/tests?name=k{kill}")).await;
        assert_eq!(first.status, 200, "{first:?}");
        from = clock.now();
        grants.push(from.since(dead));
        assert_eq!(vendor.refused(), 0, "after kill {kill}: {}", weir.output());
    }
    rest(clock, WINDOW).await;
    lives.push(Life { from, to: clock.now() });
    load.stop().await;
    let counted = counted(&vendor);
    let (mut due, mut used, mut up) = (0.0, 0, Duration::ZERO);
    for Life { from, to } in &lives {
        due += calm * to.since(*from).as_secs_f64();
        used += counted.iter().filter(|at| *from <= **at && **at <= *to).count();
        up += to.since(*from);
    }
    grants.sort_unstable();
    let (middle, slowest) = (grants[grants.len() / 2], grants[grants.len() - 1]);
    let part = used as f64 / due;
    println!(
        "{kills} kills in {up:.1?} up: {calm:.2}/s calm, of {due:.0} due {used} used ({:.1} %), \
         first grant {middle:.0?}, slowest {slowest:.0?}; paid for and lost in a kill: {}",
        part * 100.0,
        lost(&vendor),
    );
    assert_eq!(vendor.refused(), 0, "{}", weir.output());
    // Beside other tests the machine decides how fast a process starts and asks: there only a
    // collapse can be told from noise.
    assert!(part >= if is_long { 0.98 } else { 0.6 }, "only {part}");
    assert!(if is_long { slowest } else { grants[0] } <= FIRST_GRANT, "{grants:?}");
    weir.stop();
}

/// A disk that is full as far as this process can tell.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_cached_answers_flow_and_nothing_else() {
    let vendor = vendor().await;
    let weir = Weir::start(&catchpoint(&vendor.url(), UPSTREAM, &[("grafana", "web", "")]));
    let caller = weir.caller(&token_of("grafana"));
    let cached = "/api/v2/nodes/all?name=cached";
    assert_eq!(caller.get(cached).await.price(), 1);
    weir.fill_disk(true);
    let told = caller.get("/api/v2/nodes/all?name=a").await;
    assert_eq!((told.status.as_u16(), told.price()), (503, 0), "{told:?}");
    let hit = caller.get(cached).await;
    assert_eq!((hit.status.as_u16(), hit.price()), (200, 0), "{hit:?}");
    weir.logged(|line| {
        line["message"].as_str().is_some_and(|m| m.starts_with("the ledger cannot be written"))
    })
    .await;
    assert_eq!(vendor.total(), 1, "what cannot be booked does not leave");
    weir.fill_disk(false);
    let by = Clock::system().now() + Duration::from_secs(10);
    while caller.get("/api/v2/nodes/all?name=b").await.status != 200 {
        assert!(Clock::system().now() < by, "it does not recover: {}", weir.output());
        rest(Clock::system(), Duration::from_millis(50)).await;
    }
    weir.logged(|line| line["message"] == "the ledger can be written again").await;
}

/// Whoever starts weir again with other names and limits reads what that does to the count.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_new_config_makes_of_old_charges_is_said() {
    let vendor = vendor().await;
    let limits =
        "limits.minute = \"5/10m\"\nlimits.second = false\nlimits.hour = false\nlimits.day = false\n";
    let config = catchpoint(&vendor.url(), limits, &[("grafana", "web", ""), ("script", "web", "")]);
    let weir = Weir::start(&config);
    for name in ["grafana", "script", "grafana"] {
        let url = crate::support::load::fresh_url(0);
        assert_eq!(weir.caller(&token_of(name)).get(&url).await.status, 200);
    }
    // The division renamed, a consumer gone, and a limit that looks further back.
    let anew = catchpoint(&vendor.url(), &limits.replace("10m", "20m"), &[("grafana", "ops", "")]);
    std::fs::write(weir.folder().join("weir.toml"), anew).unwrap();
    let weir = Weir::again(weir.kill());
    for said in [
        "the ledger knows charges of grafana (web) from another division than now",
        "the ledger knows charges of script, no longer consumers here",
        "limit minute looks further back than it did",
    ] {
        assert!(weir.output().contains(said), "no {said:?} in {}", weir.output());
    }
    let status = weir.status().await;
    let (minute, ops) = (&status["limits"][0], &status["divisions"][0]["limits"][0]);
    assert_eq!((&minute["used"], &ops["used"]), (&5.into(), &2.into()), "what is not known counts as used");
    let grafana = weir.caller(&token_of("grafana"));
    let told = grafana.get_with("/api/v2/tests/alerts", &[("prefer", "wait=0")]).await;
    assert_eq!(told.status, 429, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_serves_its_queue_once_its_predecessor_has_gone() {
    let vendor = vendor().await;
    let config = catchpoint(&vendor.url(), UPSTREAM, &[("grafana", "web", "")]);
    let old = Weir::start(&config);
    let token = token_of("grafana");
    assert_eq!(old.caller(&token).get("/api/v2/nodes/all?name=a").await.status, 200);
    let store = old.folder().join("data");
    let new = Weir::start_with(&config, &[("WEIR__STORE__PATH", store.to_str().unwrap())]);
    let impatient = new.caller(&token).get_with("/api/v2/nodes/all?name=b", &[("prefer", "wait=0")]).await;
    assert_eq!((impatient.status.as_u16(), impatient.header("retry-after")), (503, "1"), "{impatient:?}");
    assert!(impatient.header("proxy-status").contains("the ledger is not loaded yet"), "{impatient:?}");
    let caller = new.caller(&token);
    let waiting = tokio::spawn(async move { caller.get("/api/v2/nodes/all?name=c").await });
    tokio::task::spawn_blocking(move || old.stop()).await.unwrap();
    assert_eq!(waiting.await.unwrap().status, 200);
}
