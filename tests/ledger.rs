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
const REQUESTS: u64 = 200;
const WINDOW: Duration = Duration::from_secs(1);
const LATENCY: Duration = Duration::from_millis(8);
const CALLERS: usize = 4;
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
    let limits = vec![Limit::address(1_000, WINDOW), Limit::analytic(REQUESTS, WINDOW)];
    Emulator::start(Options {
        keys: vec![Key::client("main", VENDOR_KEY)],
        limits: Some(limits),
        latency: Latency { least: Duration::from_millis(1), most: LATENCY },
        ..Options::default()
    })
    .await
    .unwrap()
}

/// Analytic requests that the vendor has counted.
fn counted(vendor: &Emulator) -> u64 {
    vendor.tallies()[1].counted
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

fn seconds(clock: Clock, since: Moment) -> f64 {
    clock.now().since(since).as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_nine_at_any_moment_costs_the_vendor_nothing() {
    let _alone = alone().await;
    let is_long = std::env::var_os("WEIR_LONG").is_some();
    let kills = if is_long { 50 } else { 10 };
    let (clock, vendor) = (Clock::system(), vendor().await);
    let numbers = Arc::new(AtomicU64::new(0));
    let mut weir = Weir::start(&catchpoint(&vendor.url(), UPSTREAM, &[("grafana", "web", "")]));
    // Without kills first: what the vendor counts in a second.
    let load = Load::on(&weir, &numbers);
    rest(clock, WINDOW).await;
    let (began, before) = (clock.now(), counted(&vendor));
    rest(clock, WINDOW * 4).await;
    let calm = (counted(&vendor) - before) as f64 / seconds(clock, began);
    let (mut up, mut slowest, mut random) = (0.0, Duration::ZERO, 0x9e37_79b9_7f4a_7c15_u64);
    let mut load = load;
    let before = counted(&vendor);
    let mut alive = clock.now();
    for kill in 0..kills {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        rest(clock, Duration::from_millis(1_500 + (random >> 33) % 500)).await;
        // Into a burst: when the vendor has just counted another one.
        let now = counted(&vendor);
        while counted(&vendor) == now {
            rest(clock, Duration::from_millis(1)).await;
        }
        rest(clock, Duration::from_millis((random >> 20) % 12)).await;
        let folder = weir.kill();
        up += seconds(clock, alive);
        load.stop().await;
        let dead = clock.now();
        weir = Weir::again(folder);
        let plain = format!("/api/v2/tests?name=k{kill}");
        let first = weir.caller(&token_of("grafana")).get(&plain).await;
        assert_eq!(first.status, 200, "{first:?}");
        slowest = slowest.max(clock.now().since(dead));
        alive = clock.now();
        load = Load::on(&weir, &numbers);
        assert_eq!(vendor.refused(), 0, "after kill {kill}: {}", weir.output());
    }
    rest(clock, WINDOW).await;
    up += seconds(clock, alive);
    load.stop().await;
    let used = (counted(&vendor) - before) as f64 / (calm * up);
    println!(
        "{kills} kills in {up:.1} s up: {calm:.1}/s calm, {:.1} % of it used, slowest first grant {slowest:?}",
        used * 100.0
    );
    assert_eq!(vendor.refused(), 0, "{}", weir.output());
    // What is to be reached is 0.98, on a machine that does nothing else; 0.92 was the
    // best so far. Beside other tests only a collapse can be told from noise.
    assert!(used >= if is_long { 0.98 } else { 0.4 }, "only {used}");
    assert!(slowest <= FIRST_GRANT, "{slowest:?}");
    weir.stop();
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
