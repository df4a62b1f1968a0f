//! `weir demo`: gateway, emulated Catchpoint and six consumers in one process, on
//! windows scaled down so that a minute lasts four seconds.
//!
//! Nothing in here is simulated: the consumers speak HTTP to the gateway on
//! loopback, the gateway to the emulator, and the emulator counts strictly, by
//! its own code. The summary's count of 429s is the emulator's.

mod consumers;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use crate::app::{App, Signals};
use crate::clock::{Clock, UnixTime};
use crate::config;
use crate::emulator::{Emulator, Key, Latency, Limit, Options};
use crate::secret::Token;

use consumers::{Caller, Habit};
use table::Table;

/// How long a scaled minute lasts.
const MINUTE: Duration = Duration::from_secs(4);

/// The demo's consumers: name, habit, division.
const CONSUMERS: [(&str, Habit, &str); 6] = [
    ("grafana", Habit::Dashboard, "web"),
    ("nightly-script", Habit::Greedy, "web"),
    ("exporter", Habit::Exporter, "ops"),
    ("terraform", Habit::Burst, "ops"),
    ("deploy-bot", Habit::Poller, "data"),
    ("impatient", Habit::HangsUp, "data"),
];

/// How the demo writes what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// A table that is drawn over itself.
    Live,
    /// A line now and then, for logs and pipes.
    Lines,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// 429s by the vendor. Zero, if weir keeps its first law.
    pub refused_by_vendor: u64,
}

/// Runs for `length`, or until a signal says stop, showing what happens through `print`.
///
/// # Errors
/// A socket cannot be had, or signals cannot be listened for.
pub async fn run(
    length: Duration,
    view: View,
    mut print: impl FnMut(&str) -> std::io::Result<()>,
) -> anyhow::Result<Outcome> {
    let mut signals = Signals::listen()?;
    let clock = Clock::system();
    let key = Token::generate()?;
    let vendor = Emulator::start(Options {
        limits: Some(limits()),
        keys: vec![Key::client("demo", key.expose())],
        latency: Latency { least: Duration::from_millis(5), most: Duration::from_millis(60) },
        seed: seed(clock.wall()),
        ..Options::default()
    })
    .await
    .context("the emulated vendor cannot start")?;
    let tokens: Vec<Token> = CONSUMERS.iter().map(|_| Token::generate()).collect::<Result<_, _>>()?;
    let text = config_text(&vendor.url(), &key, &tokens);
    let folder = Folder::fresh().context("the system's folder for temporary files cannot be used")?;
    let mut config =
        config::load_str("the demo's config", &text, std::iter::empty()).map_err(anyhow::Error::msg)?;
    config.store.path = folder.0.clone();
    let app = App::start(config).await?;
    let base = format!("http://{}", app.address());
    print(&format!(
        "weir demo: gateway {base}, dashboard http://{}/, emulated Catchpoint {}, six consumers.\n\
         A minute lasts {} s here.\n",
        app.admin_address(),
        vendor.url(),
        MINUTE.as_secs()
    ))?;
    let callers: Vec<_> = CONSUMERS
        .iter()
        .zip(&tokens)
        .map(|((_, habit, _), token)| {
            let caller = Caller::new(*habit, token.expose().to_owned(), base.clone(), clock);
            tokio::spawn(caller.run())
        })
        .collect();
    let began = clock.now();
    let watched = app.watched().remove(0);
    let mut table = Table::new(view, began);
    let every = if view == View::Live { Duration::from_millis(250) } else { Duration::from_secs(1) };
    let mut next = began;
    while clock.now().since(began) < length {
        print(&table.frame(&watched, &vendor, clock.now()))?;
        next = next + every;
        tokio::select! {
            () = clock.sleep_until(next.min(began + length)) => {}
            () = signals.stop() => break,
        }
    }
    for caller in callers {
        caller.abort();
    }
    print(&table.summary(&watched, &vendor, clock.now()))?;
    let outcome = Outcome { refused_by_vendor: vendor.refused() };
    app.stop().await;
    vendor.shutdown().await;
    Ok(outcome)
}

/// Where the demo's ledger lives; removed with all that is in it.
struct Folder(PathBuf);

impl Folder {
    fn fresh() -> anyhow::Result<Self> {
        let mut number = [0; 8];
        getrandom::fill(&mut number).context("the system has no randomness")?;
        let folder = format!("weir-demo-{}-{:016x}", std::process::id(), u64::from_le_bytes(number));
        Ok(Self(std::env::temp_dir().join(folder)))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::debug!(%error, folder = %self.0.display(), "the demo's folder is left behind");
        }
    }
}

/// The guide's limits, with the minute scaled and the hour in proportion to it.
fn limits() -> Vec<Limit> {
    vec![
        Limit::address(7, Duration::from_secs(1)),
        Limit::analytic(20, MINUTE),
        Limit::analytic(120, MINUTE * 8),
        Limit::analytic(2_000, Duration::from_secs(86_400)).calendar(),
    ]
}

/// What a team would write, with the demo's addresses in it.
fn config_text(vendor: &str, key: &Token, tokens: &[Token]) -> String {
    let mut text = format!(
        r#"
[server]
listen = "127.0.0.1:0"
shutdown_grace = "1s"

[admin]
listen = "127.0.0.1:0"

[upstreams.catchpoint]
dialect = "catchpoint"
url = "{vendor}"
max_wait = "10s"
keys.main.value = "{key}"

[upstreams.catchpoint.limits]
minute = "20/{minute}s"
hour = "120/{hour}s"

[upstreams.catchpoint.divisions]
web = {{ share = "40%" }}
ops = {{ share = "40%" }}
data = {{ share = "20%" }}
"#,
        key = key.expose(),
        minute = MINUTE.as_secs(),
        hour = MINUTE.as_secs() * 8,
    );
    for ((name, _, division), token) in CONSUMERS.iter().zip(tokens) {
        text.push_str(&format!(
            "[consumers.{name}]\ntoken = {{ sha256 = \"{}\" }}\naccess.catchpoint.division = \"{division}\"\n",
            token.hash().to_hex()
        ));
    }
    text
}

/// Another run, another history.
fn seed(now: UnixTime) -> u64 {
    now.as_nanos()
}
