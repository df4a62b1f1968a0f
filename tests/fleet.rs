//! Many weirs, one account, on a real Redis (DESIGN, law 9). Real processes in real
//! time: that one of them, or Redis, dies at a real moment is the point here.

mod aside;
mod cluster;
mod doors;
mod faults;
mod learning;
mod loss;
mod reload;
mod restarts;
pub(crate) mod sharing;
mod together;
mod tokens;

use std::time::Duration;

use weir::emulator::{Emulator, Key, Latency, Limit, Options};

use crate::support::redis::Redis;
use crate::support::{Caller, VENDOR_KEY, Weir, catchpoint, token_of};

/// What the vendor allows: scaled down, so that windows end while we watch.
const REQUESTS: u64 = 24;
const WINDOW: Duration = Duration::from_secs(2);
const LATENCY: Duration = Duration::from_millis(20);

/// `linger` is a little above the emulator's longest one-way delay.
const UPSTREAM: &str = r#"
timeout = "1s"
connect_timeout = "1s"
linger = "30ms"
max_wait = "10s"
[upstreams.catchpoint.limits]
second = false
minute = "24/2s"
hour = false
day = false
"#;

async fn vendor() -> Emulator {
    Emulator::start(Options {
        keys: vec![Key::client("main", VENDOR_KEY)],
        limits: Some(vec![Limit::analytic(REQUESTS, WINDOW)]),
        latency: Latency { least: Duration::from_millis(1), most: LATENCY },
        ..Options::default()
    })
    .await
    .unwrap()
}

/// `store.redis` in front of a config.
fn on(url: &str, config: &str) -> String {
    format!("[store]\nredis = {{ url = \"{url}\" }}\n{config}")
}

/// Consumers `c0`, `c1`, … in divisions `web` and `ops`.
fn config(vendor: &Emulator, redis: &str, more: &str, consumers: usize) -> String {
    let names: Vec<String> = (0..consumers).map(|number| format!("c{number}")).collect();
    let division = |number: usize| if number.is_multiple_of(2) { "web" } else { "ops" };
    let consumers: Vec<(&str, &str, &str)> =
        names.iter().enumerate().map(|(number, name)| (name.as_str(), division(number), "")).collect();
    on(redis, &catchpoint(&vendor.url(), &format!("{UPSTREAM}{more}"), &consumers))
}

/// Replicas that have joined.
async fn fleet(config: &str, replicas: usize) -> Vec<Weir> {
    let fleet: Vec<Weir> = (0..replicas).map(|_| Weir::start(config)).collect();
    for weir in &fleet {
        weir.logged(|line| line["message"] == "the shared ledger is open").await;
    }
    fleet
}

/// Caller `number` at the replica that it falls to.
fn caller(fleet: &[Weir], number: usize) -> Caller {
    fleet[number % fleet.len()].caller(&token_of(&format!("c{number}")))
}

fn outputs(fleet: &[Weir]) -> String {
    fleet.iter().map(Weir::output).collect::<Vec<_>>().join("\n---\n")
}
