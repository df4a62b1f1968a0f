//! What may be typed: every table of the file with its keys.
//!
//! One line per key is all there is: the walk, the check for unknown keys and
//! the JSON Schema follow from it. What the values must be to each other is
//! checked in `build`.

use super::proxy::ProxyValue;
use super::read::{List, Named, tables};
use super::scalar::{
    DateText, FingerprintText, HeaderText, Lasting, ListenText, MethodText, NetText, Part, PathText,
    PatternText, PerText, RateText, ResetsText, SanText,
};
use super::secrets::{ClientIdValue, SecretValue, TokenValue};
use super::size::SizeText;
use super::union::{
    CredentialValue, Dialects, FilesValue, KeyTables, LimitValue, OnLossWord, QueueValue, ReserveValue,
    RoutesValue,
};
use super::url::{EndpointText, HostText, MountText, PublicUrlText, UrlText};
use super::word::{
    CacheControlWord, ClientAuthWord, ModeWord, OnEmptyWord, PaceWord, PagesWord, ScopeWord, WindowWord,
};

tables! {
    /// The configuration of weir.
    File {
        /// The listener that consumers use.
        server: Server,
        /// The listener that operators use.
        admin: Admin,
        /// Where state outlives a restart.
        store: Store,
        /// Where traces go.
        telemetry: Telemetry,
        /// The vendors' APIs, by name.
        upstreams: Named<Upstream>,
        /// The internal callers, by name.
        consumers: Named<Consumer>,
    }

    /// The listener that consumers use.
    Server {
        /// Address and port; default 127.0.0.1:8080.
        listen: ListenText,
        /// What absolute links in answers are rewritten to.
        public_url: PublicUrlText,
        /// How long a stopping weir answers what is under way; default 30s.
        shutdown_grace: Lasting,
        /// TLS beside or instead of `listen`.
        tls: Tls,
        /// Signs the tokens that weir issues; replicas share it. Default: one that weir makes under store.path.
        token_key: SecretValue,
    }

    /// A TLS listener.
    Tls {
        /// Address and port.
        listen: ListenText,
        /// PEM file of the certificate and its chain; read again when it changes.
        cert: String,
        /// PEM file of the private key.
        key: String,
        /// PEM file of the roots that callers' certificates must lead to.
        client_ca: String,
        /// required (default) or optional: whether a caller without a certificate is refused.
        client_auth: ClientAuthWord,
    }

    /// The listener that operators use.
    Admin {
        /// Address and port; default 127.0.0.1:9090. Off loopback a token is required.
        listen: ListenText,
        /// What operators present as Bearer token.
        token: SecretValue,
        /// Names under which operators and scrapers reach it, beside its addresses and localhost.
        hosts: List<HostText>,
    }

    /// Where state outlives a restart.
    Store {
        /// Folder of ledger, cache and usage; default data.
        path: String,
        /// What cached answers may take in memory; default 256MiB.
        cache_memory: SizeText,
        /// What cached answers may take on disk, so that a restart keeps them; default 1GiB, 0MiB keeps none.
        cache_disk: SizeText,
        /// Shared by replicas.
        redis: Redis,
        /// What a ledger file that is new means: trust (nothing was spent) or cautious (all current windows are).
        on_empty: OnEmptyWord,
    }

    /// A Redis or Valkey that replicas share.
    Redis {
        /// redis:// or rediss:// URL.
        url: SecretValue,
        /// PEM file of roots instead of the system's, for rediss://.
        ca: String,
        /// Put before every key; default weir.
        prefix: String,
        /// How many weirs share it.
        replicas: u64,
        /// What the answers that they share may take there; default 256MiB.
        cache: SizeText,
        /// What a replica does that is cut off: closed, or share:FRACTION.
        on_loss: OnLossWord,
    }

    /// What is told to other systems; metrics are fetched from the admin listener.
    Telemetry {
        /// Traces, to a collector of OpenTelemetry; default none.
        otlp: Otlp,
    }

    /// A collector that takes OTLP over HTTP, in protobuf.
    Otlp {
        /// Where it is, without /v1/traces.
        endpoint: EndpointText,
        /// The part of requests without a `traceparent` that is traced; default 1%. A caller's own flag is obeyed.
        sample: Part,
        /// Headers that the collector wants, such as authorization.
        headers: Named<SecretValue>,
        /// PEM file of roots instead of the system's.
        ca: String,
        /// The service.name of this weir; default weir.
        service: String,
    }

    /// One vendor's API, reached with one account.
    Upstream {
        /// How the vendor speaks.
        dialect: Dialects,
        /// Where it is; http:// only to loopback.
        url: UrlText,
        /// Path prefix under which consumers reach it; default /.
        mount: MountText,
        /// Host under which consumers reach it, instead of a prefix.
        host: HostText,
        /// Until the response head; default 30s.
        timeout: Lasting,
        /// Until a connection stands, TLS included; default 10s.
        connect_timeout: Lasting,
        /// The longest silence within a body; default 60s.
        idle_timeout: Lasting,
        /// The longest wait for the budget, and the wait when a caller names none; default 30s.
        max_wait: Lasting,
        /// The most that may wait, per consumer or as { per_consumer, total }; default 1024 and 131072.
        max_queue: QueueValue,
        /// enforce (default), or observe: count and report, delay and refuse nothing.
        mode: ModeWord,
        /// How charges are spread: exact, even or auto (default).
        pace: PaceWord,
        /// The longest time after our last byte within which the vendor has counted: trades proof for speed with slow vendors. A 429 unsets it.
        counted_within: Lasting,
        /// How long after giving up a request may still reach the vendor; default is `timeout`.
        linger: Lasting,
        /// Catchpoint: trust `usageLimits` in answers; default false.
        learn_usage_limits: bool,
        /// Catchpoint: versions of the API to warn about or to refuse.
        versions: Versions,
        /// The part of the account (and, with `egress`, of its address) that this process may use.
        portion: Part,
        /// HTTP proxy on the way to the vendor; default is what HTTPS_PROXY and NO_PROXY say; false is none.
        proxy: ProxyValue,
        /// PEM file of roots instead of the system's, or a list of such files.
        ca: FilesValue,
        /// Whether the system's roots count beside those of `ca`; default false.
        system_roots: bool,
        /// PEM file of weir's certificate towards the vendor, with its chain.
        client_cert: String,
        /// PEM file of that certificate's key.
        client_key: String,
        /// HTTP/2 without TLS, for http:// URLs; default false.
        h2c: bool,
        /// Names the address that requests leave from, if processes share it behind a NAT.
        egress: String,
        /// The most pages that `Weir-Pages: all` reads; default 50.
        max_pages: u64,
        /// catchpoint-v1, privx: how long tokens that weir issues are valid; default 30m and 5m.
        token_ttl: Lasting,
        /// The longest silence within an event stream; default 1h.
        stream_idle_timeout: Lasting,
        /// generic: where the key goes; default bearer.
        credential: CredentialValue,
        /// Limits by name, merged over the dialect's; false removes one.
        limits: Named<LimitValue>,
        /// The account's keys by name; [[…]] twice while two are valid.
        keys: Named<KeyTables>,
        /// Groups of consumers, often with a key of their own.
        divisions: Named<Division>,
        /// Cache rules; the first match wins.
        cache: List<CacheRule>,
    }

    /// Versions of an API.
    Versions {
        /// Let through with a warning to the operator.
        warn: List<String>,
        /// Refused.
        refuse: List<String>,
    }

    /// One limit; what it leaves out is the dialect's.
    Limit {
        /// Requests per window.
        requests: u64,
        /// Length of the window, or month.
        per: PerText,
        /// sliding (default, always safe) or calendar.
        window: WindowWord,
        /// Time and zone of a calendar window's edge; default 00:00 UTC.
        resets: ResetsText,
        /// Counted over the account (default) or each egress address.
        scope: ScopeWord,
        /// Added to a charge's life, for clocks that run at different rates.
        slack: Lasting,
        /// Which requests it counts: all (default), a class the dialect knows, or patterns.
        routes: RoutesValue,
    }

    /// One value of a vendor key.
    Key {
        /// The key itself: { env = … }, { file = … } or, with a warning, text.
        value: SecretValue,
        /// netskope: the token of API v1, if that is another one.
        value_v1: SecretValue,
        /// catchpoint-v1, privx: the id that the account signs in with (of a PrivX API client).
        client_id: ClientIdValue,
        /// catchpoint-v1, privx: its secret.
        client_secret: SecretValue,
        /// privx: the OAuth client that an API client signs in through; without it client_id is one itself.
        oauth_client_id: ClientIdValue,
        /// privx: its secret.
        oauth_client_secret: SecretValue,
        /// When it is no longer valid.
        expires: DateText,
    }

    /// A group of consumers under one upstream.
    Division {
        /// Name of its key; may be left out with exactly one key.
        key: String,
        /// What it gets under contention, of the account.
        share: Part,
        /// Held for it while it is quiet: a part of every window of a minute or longer, or requests by limit.
        reserve: ReserveValue,
        /// The most it may take, in requests by limit.
        caps: Named<u64>,
    }

    /// One cache rule; what it leaves out is the dialect's or the vendor's say.
    CacheRule {
        /// Which requests it is for.
        r#match: PatternText,
        /// How long an answer is fresh; 0s does not cache.
        ttl: Lasting,
        /// How long a stale answer is given while it is renewed.
        stale_while_revalidate: Lasting,
        /// How long a stale answer is given when the vendor fails.
        stale_if_error: Lasting,
        /// How long a stale answer is given rather than a 429.
        stale_if_limited: Lasting,
        /// How long errors are kept, by status.
        negative: Named<Lasting>,
        /// Vendor headers to disregard.
        ignore: List<HeaderText>,
        /// What matters to the answer and what does not.
        key: CacheKey,
        /// Methods whose answers may be kept; default GET with HEAD.
        methods: List<MethodText>,
        /// Rounds time windows to a step.
        snap: Snap,
        /// Larger answers stream through uncached; default 16777216.
        max_bytes: u64,
        /// all: as if each GET of a list asked for all of its pages with `Weir-Pages: all`.
        pages: PagesWord,
        /// Paths that a successful write which this rule is for makes fresh, beside what every write does.
        invalidates: List<PathText>,
    }

    /// What matters to an answer and what does not.
    CacheKey {
        /// Query parameters that do not matter: neither keyed nor sent.
        ignore_query: List<String>,
        /// Request headers that matter: keyed and sent.
        headers: List<HeaderText>,
    }

    /// Rounds time windows to a step.
    Snap {
        /// Query parameter of the window's start.
        start: String,
        /// Query parameter of the window's end.
        end: String,
        /// To multiples of this, downwards.
        step: Lasting,
        /// How long after a window's end its data may still change; default 15m.
        settles: Lasting,
        /// How long an answer about a window that has settled is fresh; default the rule's `ttl`.
        settled_ttl: Lasting,
    }

    /// One internal caller, known by all of token, from and certificate that it names.
    Consumer {
        /// Its token: { sha256 = … }, { env = … }, { file = … } or, with a warning, text.
        token: TokenValue,
        /// Source addresses of its connections.
        from: List<NetText>,
        /// Its client certificate.
        certificate: Certificate,
        /// Requests that weir itself takes from it.
        inbound: RateText,
        /// Where it may go, by upstream.
        access: Named<Access>,
    }

    /// What a client certificate must be: one of these.
    Certificate {
        /// One of its subject alternative names: a DNS name or a URI.
        san: SanText,
        /// Its fingerprint: SHA-256 of its DER form.
        sha256: FingerprintText,
    }

    /// What a consumer may do at one upstream.
    Access {
        /// Its division; may be left out where there are none.
        division: String,
        /// What it gets under contention, of its division.
        share: Part,
        /// Held for it while it is quiet, as for a division.
        reserve: ReserveValue,
        /// The most it may take, in requests by limit.
        caps: Named<u64>,
        /// Methods and paths it may ask; default: reads only.
        allow: List<PatternText>,
        /// Replaces the upstream's `max_wait`.
        max_wait: Lasting,
        /// Whether its Cache-Control counts: honour (default) or ignore.
        client_cache_control: CacheControlWord,
    }
}
