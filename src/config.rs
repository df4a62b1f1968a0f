//! What is true: the configuration after every mistake has been ruled out.
//!
//! [`Config`] has no option that "must be there" and no text that is still to
//! be parsed. What was typed, and everything that can be wrong with it, lives
//! in `config/`; nothing above this module sees it.

mod build;
mod mistake;
mod proxy;
mod raw;
mod read;
mod report;
mod scalar;
mod schema;
mod secrets;
mod size;
mod source;
mod store;
mod telemetry;
mod transport;
mod tree;
mod union;
mod url;
mod word;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderName, Method, StatusCode};
use ipnet::IpNet;

use crate::dialect::Dialect;
use crate::dialect::oauth::Client;
use crate::id::{ConsumerName, KeyName, UpstreamName};
use crate::pattern::Pattern;
use crate::quota::Plan;
use crate::secret::{Secret, TokenHash};

pub use mistake::Mistakes;
pub use report::{consumer_lines, report};
pub use schema::schema;
pub use store::{Aside, OnEmpty, OnLoss, Redis, Store};
pub use telemetry::Otlp;
pub use transport::{
    CertificateProof, ClientAuth, ClientCertificates, ClientPair, Proxy, ServerTls, Transport,
};

/// One whole, checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The listener that consumers use.
    pub server: Server,
    /// The listener that operators use.
    pub admin: Admin,
    /// Where state outlives a restart.
    pub store: Store,
    /// Where traces go; none are made without it.
    pub otlp: Option<Otlp>,
    /// The vendors' APIs, in the order of their names.
    pub upstreams: Vec<Upstream>,
    /// The internal callers, in the order of their names.
    pub consumers: Vec<Consumer>,
    /// The files that all this was read from: the file itself, secrets, roots.
    pub files: Vec<PathBuf>,
    /// What is allowed but worth saying at start, in whole sentences.
    pub warnings: Vec<String>,
}

/// `[server]`.
#[derive(Clone, Debug)]
pub struct Server {
    /// Plain HTTP (HTTP/1.1 and h2c); none if only TLS is served.
    pub listen: Option<SocketAddr>,
    /// HTTP over TLS, beside or instead of it.
    pub tls: Option<ServerTls>,
    /// Scheme and authority that absolute links in answers are rewritten to.
    pub public_url: Option<String>,
    /// How long a stopping weir answers what is under way.
    pub shutdown_grace: Duration,
    /// Signs the tokens that weir issues; none makes one under [`Store::path`].
    pub token_key: Option<Secret>,
}

/// `[admin]`.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Its own listener.
    pub listen: SocketAddr,
    /// Required off loopback.
    pub token: Option<Secret>,
    /// Names under which it is asked, in lower case, beside addresses and localhost.
    pub hosts: Vec<String>,
}

/// One vendor's API, reached with one account.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its name.
    pub name: UpstreamName,
    /// How the vendor speaks, with what config says about it.
    pub dialect: Dialect,
    /// Where it is.
    pub origin: Origin,
    /// Under what its consumers reach it.
    pub mount: Mount,
    /// Until the response head.
    pub timeout: Duration,
    /// Until a connection stands, TLS included.
    pub connect_timeout: Duration,
    /// The longest silence within a body, and the life of an idle connection.
    pub idle_timeout: Duration,
    /// The same within a stream of events.
    pub stream_idle_timeout: Duration,
    /// How long tokens that weir issues here are valid, where the dialect exchanges them.
    pub token_ttl: Duration,
    /// The longest wait for the budget.
    pub max_wait: Duration,
    /// Whether the budget is enforced.
    pub mode: Mode,
    /// Catchpoint: trust `usageLimits` in answers.
    pub learn_usage_limits: bool,
    /// How connections to it are made.
    pub transport: Transport,
    /// Names the address that requests leave from, if replicas share it behind a NAT.
    pub egress: Option<String>,
    /// The most pages a page walk reads.
    pub max_pages: u32,
    /// The account's keys; empty only for a keyless `generic`.
    pub keys: Vec<Key>,
    /// Limits, divisions and consumers as the budget sees them.
    pub plan: Plan,
    /// What each replica has for itself while Redis is away; it is not in `plan`.
    pub aside: Option<Aside>,
    /// Per division of the plan: index into `keys`, none if keyless.
    pub division_keys: Vec<Option<usize>>,
    /// Cache rules, first match wins.
    pub cache: Vec<CacheRule>,
}

/// Scheme, authority and base path of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// TLS or (to loopback only) plain.
    pub scheme: Scheme,
    /// `host` or `host:port`, as sent in `Host`.
    pub authority: http::uri::Authority,
    /// Put before every path: empty, or `/x` without a trailing slash.
    pub base_path: String,
    /// HTTP/2 without TLS, only when configured; over TLS the handshake decides.
    pub h2c: bool,
}

impl Scheme {
    /// As in a URI.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// How an upstream is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain, to loopback only.
    Http,
    /// TLS.
    Https,
}

/// What selects an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// A path prefix: empty for `/`, otherwise `/x` without a trailing slash.
    Prefix(String),
    /// The request's host, in lower case and without port.
    Host(String),
}

/// Whether the budget is enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Wait and refuse.
    #[default]
    Enforce,
    /// Count and report only.
    Observe,
}

impl Mode {
    /// As in the config.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
        }
    }
}

/// A vendor key. Several with one name are valid at once and share a scope.
#[derive(Clone, Debug)]
pub struct Key {
    /// The label under which logs and cache scopes know it.
    pub name: KeyName,
    /// The values, the one to use first in front.
    pub values: Vec<KeyValue>,
}

/// One value of a key.
#[derive(Clone, Debug)]
pub struct KeyValue {
    /// What is sent to the vendor; where tokens are exchanged, the client's secret.
    pub value: Secret,
    /// What is sent to an older API of the same vendor instead (Netskope v1).
    pub value_v1: Option<Secret>,
    /// Who signs in with it, where tokens are exchanged.
    pub client: Option<Client>,
    /// The first moment (UTC) at which it is no longer valid, if it is known.
    pub expires: Option<crate::clock::UnixTime>,
}

/// One cache rule; what it leaves out is the dialect's or the vendor's say.
#[derive(Clone, Debug)]
pub struct CacheRule {
    /// Which requests it is for.
    pub pattern: Pattern,
    /// Freshness lifetime, whatever the vendor says; zero is "do not cache".
    pub ttl: Option<Duration>,
    /// RFC 5861, section 3.
    pub stale_while_revalidate: Option<Duration>,
    /// RFC 5861, section 4.
    pub stale_if_error: Option<Duration>,
    /// How stale an answer may be that is given rather than a 429.
    pub stale_if_limited: Option<Duration>,
    /// Errors that are kept, and how long.
    pub negative: Vec<(StatusCode, Duration)>,
    /// Vendor headers to disregard.
    pub ignore: Vec<HeaderName>,
    /// Query parameters that do not matter: neither keyed nor sent.
    pub ignore_query: Vec<String>,
    /// Request headers that matter: keyed and sent.
    pub key_headers: Vec<HeaderName>,
    /// Methods that may be cached: GET (with HEAD) unless a rule says more.
    pub methods: Vec<Method>,
    /// Rounds time windows to a step, so that askers a second apart share an answer.
    pub snap: Option<Snap>,
    /// Larger answers stream through uncached.
    pub max_bytes: u64,
    /// Whether a GET of a list is one of all its pages.
    pub all_pages: bool,
    /// Paths that are fetched anew after a successful write that this rule is for,
    /// beside what every write makes fresh; whatever their methods.
    pub invalidates: Vec<Pattern>,
}

/// Rounds the time window of a query to a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snap {
    /// Query parameter of the window's start.
    pub start: String,
    /// Query parameter of the window's end.
    pub end: String,
    /// To multiples of this; longer than zero.
    pub step: Duration,
    /// How long after a window's end its data may still change.
    pub settles: Duration,
    /// Freshness lifetime of windows that have settled, instead of the rule's.
    pub settled_ttl: Option<Duration>,
}

/// One internal caller.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// Its name.
    pub name: ConsumerName,
    /// What proves it: all that are named must hold, at least one is.
    pub proof: Proof,
    /// Requests that weir itself takes from it.
    pub inbound: Option<Rate>,
    /// Where it may go; at most one entry per upstream.
    pub access: Vec<Access>,
}

/// What proves a consumer.
#[derive(Clone, Debug)]
pub struct Proof {
    /// Hash of its token.
    pub token: Option<TokenHash>,
    /// Source addresses of its connections; empty is any.
    pub from: Vec<IpNet>,
    /// Its client certificate.
    pub certificate: Option<CertificateProof>,
}

/// `requests` per `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least one.
    pub requests: std::num::NonZeroU32,
    /// Longer than zero.
    pub per: Duration,
}

/// What a consumer may do at one upstream.
#[derive(Clone, Debug)]
pub struct Access {
    /// Index into [`Config::upstreams`].
    pub upstream: usize,
    /// Index into the consumers of that upstream's plan.
    pub seat: usize,
    /// What it may ask; none is "what the dialect calls a read".
    pub allow: Option<Vec<Pattern>>,
    /// Replaces the upstream's `max_wait`.
    pub max_wait: Option<Duration>,
    /// Whether its `Cache-Control` counts.
    pub client_cache_control: ClientCacheControl,
}

/// Whether a caller's `Cache-Control` counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCacheControl {
    /// As RFC 9111 says.
    #[default]
    Honour,
    /// For callers who always send `no-cache`.
    Ignore,
}

/// Configurations are text; a larger file is another file.
const MAX_FILE_BYTES: u64 = 64 * 1_024 * 1_024;

/// Reads and checks `file`, with the `WEIR__SECTION__KEY` variables of `env` over it.
///
/// # Errors
/// All mistakes at once, see [`Mistakes`].
pub fn load(file: &Path, env: impl Iterator<Item = (String, String)>) -> Result<Config, Mistakes> {
    let name = file.display().to_string();
    let too_large = || std::io::Error::other("it is larger than 64 MiB");
    let read = std::fs::metadata(file)
        .and_then(|meta| if meta.len() > MAX_FILE_BYTES { Err(too_large()) } else { std::fs::read(file) });
    match read.map(String::from_utf8) {
        Ok(Ok(text)) => {
            let mut config = load_str(&name, &text, env)?;
            config.files.insert(0, file.to_owned());
            Ok(config)
        }
        Ok(Err(_)) => Err(Mistakes::whole_file(&name, "is not UTF-8 text; save it as UTF-8")),
        Err(error) => Err(Mistakes::whole_file(
            &name,
            &format!("cannot be read ({error}); name another with --config FILE"),
        )),
    }
}

/// Checks `text` as if it were the contents of `file`, which only messages name.
///
/// # Errors
/// All mistakes at once, see [`Mistakes`].
pub fn load_str(
    file: &str,
    text: &str,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Config, Mistakes> {
    let env = env.collect();
    let mut walk = mistake::Walk::new(&env);
    let tree = source::read(file, text, &mut walk)?;
    let raw = <raw::File as read::Read>::read(tree, &mut walk);
    let config = raw.and_then(|raw| build::config(&raw, &mut walk));
    let files = std::mem::take(&mut walk.files);
    let warnings = walk.finish(file)?;
    match config {
        Some(config) => {
            let ways = config.upstreams.iter().map(|upstream| &upstream.transport);
            let ways = ways.chain(config.otlp.iter().map(|otlp| &otlp.transport));
            let roots = ways.flat_map(|transport| transport.files().cloned());
            let files = files.into_iter().chain(roots).collect();
            Ok(Config { warnings, files, ..config })
        }
        // Whatever leaves a hole notes why; this is for the day that it does not.
        None => Err(Mistakes::whole_file(
            file,
            "could not be understood; please report this file as a bug in weir",
        )),
    }
}
