//! `weir emulate`: an emulator from the command line.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use super::options::{
    Coding, CountAt, Credential, Key, Latency, Limit, Links, NotFound, Options, Refusals, Skew, Vendor,
    Windows,
};
use super::{Emulator, Faults, spell};

const EXAMPLES: &str = "\
Examples:
  weir emulate catchpoint
  weir emulate catchpoint --listen 127.0.0.1:8081 --key web:s3cret --key client-level-key
  weir emulate catchpoint --limit 20/2s --limit 100/20s --limit 7/1s:address --latency 5ms..120ms --seed 7
  weir emulate catchpoint --limit 2000/10s:calendar --skew=-1500ms --late-resets 300ms
  weir emulate catchpoint --windows bucket:5 --refusals counted --count-at random
  weir emulate catchpoint-v1 --key web:s3cret --token-lifetime 90s
  weir emulate recorded-future-sandbox --key s3cret --polls 5 --event-pause 500ms
  weir emulate privx --key api-id:api-secret --oauth-client privx-external:s3cret --token-lifetime 20s
  weir emulate netskope --key s3cret --limit 24/5s:key:all
  weir emulate generic --limit 10/1s

Where the vendor signs callers in (catchpoint-v1, privx) a key is ID:SECRET, for its token endpoint.
Ask http://ADDRESS/_emulator/stats for what it counted, refused and signed in, /_emulator/log for what it saw;
POST to /_emulator/revoke?key=LABEL, /_emulator/revoke?tokens=all or /_emulator/faults to make things go wrong.";

/// An emulated vendor that enforces its limits strictly, for tests.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Whose API to speak
    #[arg(value_enum)]
    pub dialect: Vendor,

    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,

    /// Replaces the vendor's limits (repeatable); after N/DURATION may follow :account, :address or :key,
    /// :analytic or :all, and :calendar, :sliding, :fixed, :counter or :bucket=B
    #[arg(long, value_name = "N/DURATION")]
    pub limit: Vec<Limit>,

    /// How limits are counted: sliding, fixed, counter or bucket:B
    #[arg(long, default_value = "sliding")]
    pub windows: Windows,

    /// How long after a multiple of their width fixed windows begin
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = spell::duration)]
    pub phase: Duration,

    /// Edges of fixed and calendar windows come late by up to this much
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = spell::duration)]
    pub late_resets: Duration,

    /// Whether refused requests count
    #[arg(long, value_enum, default_value = "free")]
    pub refusals: Refusals,

    /// When between arrival and answer a request is counted
    #[arg(long, value_enum, default_value = "between")]
    pub count_at: CountAt,

    /// A key that may call: KEY at client level, DIVISION:KEY of one division (repeatable); without any,
    /// every key may
    #[arg(long, value_name = "[DIVISION:]KEY")]
    pub key: Vec<Key>,

    /// A key that is answered "Expired Token" (repeatable)
    #[arg(long, value_name = "[DIVISION:]KEY")]
    pub expired_key: Vec<Key>,

    /// One-way delay, drawn for each way of each request
    #[arg(long, value_name = "A..B", default_value = "0s")]
    pub latency: Latency,

    /// How far the vendor's clock is ahead, or with a minus behind
    #[arg(long, value_name = "DURATION", default_value = "0s", allow_hyphen_values = true)]
    pub skew: Skew,

    /// How much faster the vendor's clock runs, in parts per million
    #[arg(long, value_name = "PPM", default_value = "0", allow_hyphen_values = true)]
    pub drift: i32,

    /// Decides data, delays and faults
    #[arg(long, value_name = "N", default_value = "1")]
    pub seed: u64,

    /// The form of links to further pages
    #[arg(long, value_enum, default_value = "absolute")]
    pub links: Links,

    /// The status of answers about what is not there
    #[arg(long, value_enum, default_value = "ok")]
    pub not_found: NotFound,

    /// Whether answers are compressed for those who accept gzip
    #[arg(long, value_enum, default_value = "identity")]
    pub coding: Coding,

    /// How long tokens live that the vendor gives out for a key; default is the vendor's choice
    #[arg(long, value_name = "DURATION", value_parser = spell::duration)]
    pub token_lifetime: Option<Duration>,

    /// privx: the OAuth client that every program presents beside its own key; without it any is taken
    #[arg(long, value_name = "ID:SECRET", value_parser = oauth_client)]
    pub oauth_client: Option<Credential>,

    /// recorded-future-sandbox: how often a sample is asked for until it is reported
    #[arg(long, value_name = "N", default_value = "3")]
    pub polls: u32,

    /// recorded-future-sandbox, privx: the pause before each line of a stream
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = spell::duration)]
    pub event_pause: Duration,

    /// How many objects the account has: tests, samples, hosts or alerts
    #[arg(long, value_name = "N", default_value = "250", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub tests: u32,

    /// Probability of a 5xx after counting
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    pub server_error: f64,

    /// Probability of a connection cut after counting, before the answer
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    pub reset: f64,

    /// Probability of never answering
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    pub silent: f64,

    /// Probability of an answer that ends half way
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    pub cut_short: f64,

    /// Probability of an HTML 429 from the CDN, uncounted
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    pub cdn_429: f64,

    /// Probability of an HTML 403 from the CDN, uncounted
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    pub cdn_403: f64,

    /// Probability of a 504 from the CDN for a request that is counted later
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    pub buffered: f64,

    /// How much later
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = spell::duration)]
    pub buffered_for: Duration,
}

impl Args {
    /// What was typed as what to do.
    #[must_use]
    pub fn options(self) -> Options {
        let faults = Faults {
            server_error: self.server_error,
            reset: self.reset,
            silent: self.silent,
            cut_short: self.cut_short,
            cdn_429: self.cdn_429,
            cdn_403: self.cdn_403,
            buffered: self.buffered,
            buffered_for: self.buffered_for,
        };
        let start = crate::clock::UnixTime::default();
        let expired = self.expired_key.into_iter().map(|key| Key { expires: Some(start), ..key });
        let mut keys: Vec<_> = self.key.into_iter().chain(expired).collect();
        number(&mut keys);
        Options {
            vendor: self.dialect,
            listen: self.listen,
            limits: (!self.limit.is_empty()).then_some(self.limit),
            windows: self.windows,
            phase: self.phase,
            late_resets: self.late_resets,
            refusals: self.refusals,
            count_at: self.count_at,
            keys,
            latency: self.latency,
            skew: self.skew,
            drift_ppm: self.drift,
            seed: self.seed,
            faults,
            links: self.links,
            not_found: self.not_found,
            coding: self.coding,
            tests: self.tests,
            token_lifetime: self.token_lifetime,
            oauth_client: self.oauth_client,
            polls: self.polls,
            event_pause: self.event_pause,
            ..Options::default()
        }
    }
}

/// Serves until ctrl-c. Prints the URL as the first line of stdout, so that
/// whoever started it with port 0 learns the port.
///
/// # Errors
/// If the address cannot be bound, or stdout or the signal cannot be had.
pub async fn run(args: Args) -> io::Result<()> {
    let emulator = Emulator::start(args.options()).await?;
    writeln!(io::stdout(), "{}", emulator.url())?;
    io::stdout().flush()?;
    tokio::signal::ctrl_c().await?;
    emulator.shutdown().await;
    Ok(())
}

/// Gives keys of one label a number each: `client`, `client-2`.
fn number(keys: &mut [Key]) {
    for index in 0..keys.len() {
        let label = keys[index].label.clone();
        let earlier = |key: &&Key| key.label == label || key.label.starts_with(&format!("{label}-"));
        let count = keys[..index].iter().filter(earlier).count();
        if count > 0 {
            keys[index].label = format!("{label}-{}", count + 1);
        }
    }
}

fn oauth_client(text: &str) -> Result<Credential, String> {
    match text.split_once(':') {
        Some((id, secret)) if !id.is_empty() && !secret.is_empty() => Ok(Credential::new(text)),
        _ => Err("an OAuth client is written ID:SECRET".to_owned()),
    }
}

fn probability(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(p) if (0.0..=1.0).contains(&p) => Ok(p),
        _ => Err(format!("{text:?} is no probability; write a number from 0 to 1")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn options(line: &str) -> Options {
        Line::parse_from(line.split(' ')).args.options()
    }

    #[test]
    fn the_examples_are_understood() {
        let mut examples = 0;
        for line in EXAMPLES.lines().filter_map(|line| line.strip_prefix("  weir ")) {
            options(line);
            examples += 1;
        }
        assert!(examples >= 10);
    }

    #[test]
    fn limits_replace_the_vendors() {
        assert!(options("emulate catchpoint").limits.is_none());
        let limits = options("emulate catchpoint --limit 20/2s --limit 7/1s:address").limits.unwrap();
        assert_eq!(limits.len(), 2);
    }

    #[test]
    fn keys_are_told_apart_and_not_printed() {
        let options = options("emulate catchpoint --key hidden1 --key hidden2 --expired-key web:hidden3");
        let labels: Vec<_> = options.keys.iter().map(|key| key.label.as_str()).collect();
        assert_eq!(labels, ["client", "client-2", "web"]);
        assert!(!format!("{options:?}").contains("hidden"));
    }
}
