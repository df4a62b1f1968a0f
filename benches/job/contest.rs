//! Six greedy callers before a vendor that allows 7 a second and 20 in two seconds.

use std::fmt::Write as _;

use anyhow::Context;
use futures_util::future::{join_all, try_join_all};
use weir::clock::Clock;
use weir::emulator::{CountAt, Emulator, Key, Latency, Limit, Options, Vendor, Windows};

use super::callers::{SIX, Saw};
use super::peer::{Contender, Server, Started};

/// How the vendor counts, and for how long it is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) seconds: u64,
    pub(crate) latency: Latency,
    pub(crate) windows: Windows,
    pub(crate) count_at: CountAt,
}

/// What the binding limit allows in a second.
const A_SECOND: u64 = 7;

/// Each as its experts would; those that space requests also with a margin, since
/// what leaves evenly does not arrive evenly.
pub(crate) fn contenders() -> Vec<Contender> {
    let nginx = |name, rate: &str| Contender {
        name,
        server: Server::Nginx,
        template: include_str!("conf/contest/nginx.conf"),
        fill: vec![("rate", rate.to_owned())],
    };
    let envoy = |name, tokens: &str, every: &str| Contender {
        name,
        server: Server::Envoy,
        template: include_str!("conf/contest/envoy.yaml"),
        fill: vec![("tokens", tokens.to_owned()), ("fill", every.to_owned())],
    };
    let haproxy = Contender {
        name: "haproxy, stick table 7 in 1 s",
        server: Server::Haproxy,
        template: include_str!("conf/contest/haproxy.cfg"),
        fill: Vec::new(),
    };
    let weir = Contender {
        name: "weir",
        server: Server::Weir,
        template: include_str!("conf/contest/weir.toml"),
        fill: vec![("consumers", consumers())],
    };
    vec![
        nginx("nginx, limit_req 7r/s with a queue", "7r/s"),
        nginx("nginx, limit_req 6r/s with a queue", "6r/s"),
        envoy("Envoy, bucket of 7 filled each second", "7", "1s"),
        envoy("Envoy, bucket of 1 filled each 143 ms", "1", "0.143s"),
        haproxy,
        weir,
    ]
}

fn consumers() -> String {
    let one = |habit: &super::callers::Habit| {
        let (name, token) = (habit.name, habit.token());
        format!("[consumers.{name}]\ntoken = \"{token}\"\naccess.vendor = {{}}\n\n")
    };
    SIX.iter().map(one).collect()
}

/// All at once, each before a vendor and with callers of its own.
pub(crate) async fn run(rules: Rules) -> anyhow::Result<String> {
    let all = contenders();
    let vendors = try_join_all(all.iter().map(|_| vendor(rules))).await?;
    let mut started = Vec::new();
    for (number, (contender, vendor)) in (0..).zip(all.iter().zip(&vendors)) {
        started.push(contender.start(number, vendor.address().port(), None)?);
    }
    let clock = Clock::system();
    let end = clock.now() + std::time::Duration::from_secs(rules.seconds);
    let saw = join_all(started.iter().map(|started: &Started| {
        join_all(SIX.map(|habit| {
            let url = started.url.clone();
            async move { tokio::spawn(habit.ask(url, end)).await }
        }))
    }))
    .await;
    let mut text = title(rules);
    for ((contender, vendor), saw) in all.iter().zip(&vendors).zip(saw) {
        let saw: Vec<Saw> = saw.into_iter().collect::<Result<_, _>>().context("a caller panicked")?;
        row(&mut text, contender, vendor, &saw, rules.seconds)?;
    }
    Ok(text)
}

async fn vendor(rules: Rules) -> std::io::Result<Emulator> {
    let second = std::time::Duration::from_secs(1);
    Emulator::start(Options {
        vendor: Vendor::Generic,
        limits: Some(vec![Limit::analytic(A_SECOND, second), Limit::analytic(20, second * 2)]),
        windows: rules.windows,
        count_at: rules.count_at,
        latency: rules.latency,
        keys: vec![Key::client("main", "vendor-key")],
        ..Options::default()
    })
    .await
}

fn title(rules: Rules) -> String {
    let callers: Vec<_> =
        SIX.iter().map(|it| format!("{} {}x{} ms", it.name, it.together, it.think_ms)).collect();
    format!(
        "{} s, the vendor counts {} and takes {} to {} ms each way; callers: {}\n\n\
         | contender | vendor 429s | used | Jain | answered | least and most of one caller | refused | failed | p50 ms | p99 ms |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        rules.seconds,
        rules.windows,
        rules.latency.least.as_millis(),
        rules.latency.most.as_millis(),
        callers.join(", ")
    )
}

fn row(
    text: &mut String,
    contender: &Contender,
    vendor: &Emulator,
    saw: &[Saw],
    seconds: u64,
) -> std::fmt::Result {
    let all = saw.iter().cloned().fold(Saw::default(), Saw::plus);
    let mut took = all.took_ms;
    took.sort_unstable_by(f64::total_cmp);
    let at = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or(f64::NAN);
    let answered = saw.iter().map(|saw| saw.answered);
    writeln!(
        text,
        "| {} | {} | {:.1} % | {:.3} | {} | {} and {} | {} | {} | {:.0} | {:.0} |",
        contender.name,
        vendor.refused(),
        100.0 * vendor.counted() as f64 / (A_SECOND * seconds) as f64,
        jain(saw),
        all.answered,
        answered.clone().min().unwrap_or(0),
        answered.max().unwrap_or(0),
        all.refused,
        all.failed,
        at(50),
        at(99),
    )
}

/// Jain's index of what the callers were answered: 1 if all got the same, a sixth if
/// one got all.
fn jain(saw: &[Saw]) -> f64 {
    let got = saw.iter().map(|saw| saw.answered as f64);
    let (sum, squares) = (got.clone().sum::<f64>(), got.map(|it| it * it).sum::<f64>());
    sum * sum / (saw.len() as f64 * squares)
}
