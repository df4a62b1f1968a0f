//! How an emulated vendor behaves.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::clock::{Clock, UnixTime};

use super::fault::Faults;

/// Everything that can be chosen about an emulator before it starts. The
/// default is Catchpoint as documented, without latency or faults.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which API to speak.
    pub vendor: Vendor,
    /// Where to listen; port 0 takes a free one. Loopback unless a test needs more.
    pub listen: SocketAddr,
    /// What is enforced; `None` is what the vendor documents.
    pub limits: Option<Vec<Limit>>,
    /// How a limit is counted that does not say so itself.
    pub windows: Windows,
    /// Where fixed windows begin: this long after a multiple of their width.
    pub phase: Duration,
    /// Edges of fixed and calendar windows come late by up to this much.
    pub late_resets: Duration,
    /// Whether a refused request counts too.
    pub refusals: Refusals,
    /// When between arrival and response head a request is counted.
    pub count_at: CountAt,
    /// Who may call. Without any, every key is a client-level key.
    pub keys: Vec<Key>,
    /// One-way delay, drawn twice for each request.
    pub latency: Latency,
    /// How wrong the vendor's clock is.
    pub skew: Skew,
    /// How much faster the vendor's clock runs, in parts per million.
    pub drift_ppm: i32,
    /// Decides the data, the delays and the faults.
    pub seed: u64,
    /// What goes wrong, and how often.
    pub faults: Faults,
    /// The form of `next` and `previous`.
    pub links: Links,
    /// The status of an answer about something that is not there.
    pub not_found: NotFound,
    /// Whether answers are compressed for those who ask for it.
    pub coding: Coding,
    /// How many objects the account has: tests (nodes, folders and so on follow),
    /// samples, hosts or alerts.
    pub tests: u32,
    /// How long an instant test takes.
    pub instant_test: Duration,
    /// How long tokens live that the vendor gives out for a key; `None` is its own choice.
    pub token_lifetime: Option<Duration>,
    /// PrivX: `ID:SECRET` of the OAuth client that every program presents beside
    /// its own key; without one any is taken.
    pub oauth_client: Option<Credential>,
    /// How often a sample is asked for until it is `reported`.
    pub polls: u32,
    /// The pause before each line of an event stream.
    pub event_pause: Duration,
    /// How fast counted requests are served; `None` is what the vendor documents.
    pub serves: Option<Serves>,
    /// The number of requests kept in the journal; older ones are forgotten.
    pub journal_requests: usize,
    /// Tells the time, without the skew.
    pub clock: Clock,
}

/// Which vendor is emulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Vendor {
    /// Catchpoint's REST API, v2 and later.
    #[default]
    Catchpoint,
    /// Catchpoint's legacy pull API, v1, with its token endpoint.
    CatchpointV1,
    /// The Recorded Future Sandbox (tria.ge), v0.
    RecordedFutureSandbox,
    /// `PrivX`, with its OAuth token endpoint.
    Privx,
    /// Netskope's REST API, v1 and v2.
    Netskope,
    /// An origin that echoes requests and answers as its path says.
    Generic,
}

/// A pace: so many requests are served in any `per`, the others wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serves {
    /// How many.
    pub requests: usize,
    /// In how long.
    pub per: Duration,
}

/// One limit: at most `requests` in any `per`, counted as `windows` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How many.
    pub requests: u64,
    /// In how long.
    pub per: Duration,
    /// Who shares it.
    pub scope: Scope,
    /// Which requests it counts.
    pub routes: Routes,
    /// How it is counted.
    pub count: Count,
}

/// Who shares a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everybody.
    Account,
    /// Those who call from one address.
    Address,
    /// Those who call with one key.
    Key,
}

/// Which requests a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routes {
    /// All of them, the unauthorized too.
    All,
    /// Those the vendor calls analytic (with `generic`: all but unauthorized).
    Analytic,
}

/// How one limit is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// As [`Options::windows`] says.
    Default,
    /// In its own way.
    Windows(Windows),
    /// From one multiple of `per` since 1970-01-01T00:00:00Z to the next.
    Calendar,
}

/// A kind of window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Windows {
    /// A log of the moments.
    #[default]
    Sliding,
    /// Starting anew at each edge.
    Fixed,
    /// This fixed window and what still weighs of the one before.
    Counter,
    /// A token bucket of this capacity (default: the limit's requests),
    /// refilled at requests/per.
    Bucket(Option<u64>),
}

/// Whether what is refused is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Refusals {
    /// Refused requests cost nothing.
    #[default]
    Free,
    /// Refused requests are counted by every limit that applies to them.
    Counted,
}

/// When a request is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum CountAt {
    /// After the inbound delay, before the outbound one.
    #[default]
    Between,
    /// As the head of the request has been read.
    Arrival,
    /// Just before the head of the response is sent.
    Head,
    /// Anywhere between these two.
    Random,
}

/// Somebody who may call.
#[derive(Clone, Debug)]
pub struct Key {
    /// What is presented.
    pub secret: Credential,
    /// How the journal names it.
    pub label: String,
    /// The division whose data it sees; `None` is a client-level key.
    pub division: Option<String>,
    /// From then on it is answered `Expired Token`.
    pub expires: Option<UnixTime>,
}

/// What a caller presents. It does not print itself. (The judge does not even
/// borrow weir's own type for secrets.)
#[derive(Clone, PartialEq, Eq)]
pub struct Credential(String);

impl Credential {
    /// This text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Key {
    /// A client-level key without an end, named `label`.
    #[must_use]
    pub fn client(label: &str, secret: &str) -> Self {
        Self { secret: Credential::new(secret), label: label.to_owned(), division: None, expires: None }
    }

    /// A key of one division without an end, named as the division is.
    #[must_use]
    pub fn division(division: &str, secret: &str) -> Self {
        Self { division: Some(division.to_owned()), ..Self::client(division, secret) }
    }
}

/// A range of one-way delays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// At least this.
    pub least: Duration,
    /// At most this.
    pub most: Duration,
}

/// How wrong a clock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skew {
    /// It shows a later time.
    Ahead(Duration),
    /// It shows an earlier time.
    Behind(Duration),
}

/// The form of links in answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Links {
    /// With the emulator's own scheme and authority.
    #[default]
    Absolute,
    /// Path and query only.
    Relative,
}

/// The status of `No valid Test found`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum NotFound {
    /// 200 with `completed: false`.
    #[default]
    Ok,
    /// 400 with `completed: false`.
    BadRequest,
}

/// Whether bodies are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Coding {
    /// Never.
    #[default]
    Identity,
    /// If the request accepts gzip.
    Gzip,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            vendor: Vendor::Catchpoint,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            limits: None,
            windows: Windows::Sliding,
            phase: Duration::ZERO,
            late_resets: Duration::ZERO,
            refusals: Refusals::Free,
            count_at: CountAt::Between,
            keys: Vec::new(),
            latency: Latency::default(),
            skew: Skew::Ahead(Duration::ZERO),
            drift_ppm: 0,
            seed: 1,
            faults: Faults::default(),
            links: Links::Absolute,
            not_found: NotFound::Ok,
            coding: Coding::Identity,
            tests: 250,
            instant_test: Duration::from_secs(3),
            token_lifetime: None,
            oauth_client: None,
            polls: 3,
            event_pause: Duration::from_millis(100),
            serves: None,
            journal_requests: 65_536,
            clock: Clock::system(),
        }
    }
}

impl Vendor {
    /// What the vendor documents: for Catchpoint 7/s from one address for every
    /// call, and 20/min, 500/h, 2,000 a day (reset at 00:00 UTC) for analytic
    /// calls over the account; for Netskope 24 in 5 s for each token. The others
    /// document none.
    #[must_use]
    pub fn limits(self) -> Vec<Limit> {
        match self {
            Self::Catchpoint | Self::CatchpointV1 => vec![
                Limit::address(7, Duration::from_secs(1)),
                Limit::analytic(20, Duration::from_secs(60)),
                Limit::analytic(500, Duration::from_secs(3_600)),
                Limit { count: Count::Calendar, ..Limit::analytic(2_000, Duration::from_secs(86_400)) },
            ],
            Self::Netskope => {
                let limit = Limit::analytic(24, Duration::from_secs(5));
                vec![Limit { scope: Scope::Key, routes: Routes::All, ..limit }]
            }
            Self::RecordedFutureSandbox | Self::Privx | Self::Generic => Vec::new(),
        }
    }

    /// Netskope serves 4 in the first second and lets the rest wait.
    pub(crate) fn serves(self) -> Option<Serves> {
        (self == Self::Netskope).then_some(Serves { requests: 4, per: Duration::from_secs(1) })
    }

    /// How long its tokens live; `PrivX` documents five minutes.
    pub(crate) fn token_lifetime(self) -> Duration {
        Duration::from_secs(if self == Self::Privx { 300 } else { 1_800 })
    }

    /// Whether who calls may stand in the body, so that it is read before counting.
    pub(crate) fn reads_first(self) -> bool {
        self == Self::Netskope
    }
}

impl Limit {
    /// Over the whole account, for analytic calls only.
    #[must_use]
    pub fn analytic(requests: u64, per: Duration) -> Self {
        Self { requests, per, scope: Scope::Account, routes: Routes::Analytic, count: Count::Default }
    }

    /// For each source address, for every call.
    #[must_use]
    pub fn address(requests: u64, per: Duration) -> Self {
        Self { scope: Scope::Address, routes: Routes::All, ..Self::analytic(requests, per) }
    }

    /// From one multiple of `per` since 1970 to the next, on the vendor's clock.
    #[must_use]
    pub fn calendar(self) -> Self {
        Self { count: Count::Calendar, ..self }
    }
}
