//! The durable ledger from outside: kill -9, again and again, under load (DESIGN, law 8).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use weir::emulator::{Emulator, Key, Latency, Limit, Options};

use crate::support::{Caller, VENDOR_KEY, Weir, catchpoint, token_of};

/// What the vendor allows: scaled down, so that windows end while we watch.
const REQUESTS: u64 = 40;
const WINDOW: Duration = Duration::from_secs(1);
const LATENCY: Duration = Duration::from_millis(40);
const CALLERS: usize = 8;

/// `linger` is a little above the emulator's longest one-way delay.
const UPSTREAM: &str = r#"
timeout = "2s"
linger = "60ms"
max_wait = "5s"
[upstreams.catchpoint.limits]
second = false
minute = "40/1s"
hour = false
day = false
"#;

async fn vendor() -> Emulator {
    Emulator::start(Options {
        keys: vec![Key::client("main", VENDOR_KEY)],
        limits: Some(vec![Limit::analytic(REQUESTS, WINDOW)]),
        latency: Latency { least: Duration::from_millis(5), most: LATENCY },
        ..Options::default()
    })
    .await
    .unwrap()
}

/// Callers that ask without end for what nobody else asks for, wherever weir is just now.
struct Load {
    tasks: Vec<tokio::task::JoinHandle<()>>,
    answered: Arc<AtomicU64>,
}

impl Load {
    fn on(weir: &Weir, base: &Arc<AtomicU64>) -> Self {
        let answered = Arc::new(AtomicU64::new(0));
        let tasks = (0..CALLERS).map(|_| {
            let caller = weir.caller(&token_of("grafana"));
            tokio::spawn(ask_on(caller, Arc::clone(base), Arc::clone(&answered)))
        });
        Self { tasks: tasks.collect(), answered }
    }

    async fn stop(self) {
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
    }
}

async fn ask_on(caller: Caller, number: Arc<AtomicU64>, answered: Arc<AtomicU64>) {
    loop {
        let id = number.fetch_add(1, Ordering::Relaxed);
        let path = format!("/api/v2/tests/explorer/aggregated?testIds={id}");
        match caller.try_get(&path).await {
            Some(reply) if reply.status == 200 => drop(answered.fetch_add(1, Ordering::Relaxed)),
            Some(_) => {}
            None => return,
        }
    }
}

fn now() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "a test of real processes in real time")]
    Instant::now()
}

async fn rest(time: Duration) {
    #[allow(clippy::disallowed_methods, reason = "a test of real processes in real time")]
    tokio::time::sleep(time).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_nine_at_any_moment_costs_the_vendor_nothing() {
    let kills = if std::env::var_os("WEIR_LONG").is_some() { 50 } else { 10 };
    let vendor = vendor().await;
    let config = catchpoint(&vendor.url(), UPSTREAM, &[("grafana", "web", "")]);
    let numbers = Arc::new(AtomicU64::new(0));
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut weir = Weir::start(&config);
    // Without kills first: what the vendor counts in a second.
    let load = Load::on(&weir, &numbers);
    rest(WINDOW).await;
    let (began, counted) = (now(), vendor.counted());
    rest(WINDOW * 3).await;
    let calm = (vendor.counted() - counted) as f64 / began.elapsed().as_secs_f64();
    load.stop().await;
    let (mut up, mut slowest) = (Duration::ZERO, Duration::ZERO);
    rest(WINDOW + LATENCY * 4).await;
    let counted = vendor.counted();
    for kill in 0..kills {
        let (alive, load) = (now(), Load::on(&weir, &numbers));
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // Into bursts: they come as a window ends, about a window after the start.
        rest(WINDOW * 9 / 10 + Duration::from_millis(random >> 32 & 511)).await;
        weir = weir.kill_and_restart(&config);
        up += alive.elapsed();
        load.stop().await;
        assert_eq!(vendor.refused(), 0, "kill {kill}: {}", weir.output());
        slowest = slowest.max(weir.started_in());
    }
    rest(WINDOW).await;
    let possible = calm * up.as_secs_f64();
    let used = (vendor.counted() - counted) as f64 / possible;
    println!("{kills} kills: {calm:.1}/s calm, used {:.1} %, slowest start {slowest:?}", used * 100.0);
    assert_eq!(vendor.refused(), 0);
    weir.stop();
}
