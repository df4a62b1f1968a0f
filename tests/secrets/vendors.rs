//! Law 12 for the vendors whose credentials stand in bodies, queries and token
//! exchanges: a run through all of them, then everything that came out, the store's
//! files and the operators' answers are searched.

use std::path::Path;

use http::{Method, Request};
use http_body_util::Full;
use weir::emulator::{Credential, Emulator, Faults, Key, Options, Seen, Vendor};

use super::{Needle, url_encoded};
use crate::support::{Caller, Reply, Weir, hash_line, token_of};

const V1_SECRET: &str = "v1/secret+of=acme";
const API_SECRET: &str = "api/secret+of=privx";
const CLIENT_SECRET: &str = "oauth/client+of=privx";
const NETSKOPE_V1: &str = "netskope/v1+token==";
const NETSKOPE_V2: &str = "netskope/v2+token==";
const SANDBOX: &str = "sandbox/key+of=soc";
const TOKEN_KEY: &str = "5f1d7e84a9c3b2605f1d7e84a9c3b2605f1d7e84a9c3b2605f1d7e84a9c3b260";
const WRONG: &str = "a/wrong+token==";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json");
const TOKEN_V1: &str = "/legacy/ui/api/token";
const TOKEN_PRIVX: &str = "/privx/auth/api/v1/oauth/token";

struct Vendors([Emulator; 4]);

impl Vendors {
    async fn start() -> Self {
        let start = async |vendor: Vendor, keys: Vec<Key>| {
            let oauth_client = Some(Credential::new(&format!("ext:{CLIENT_SECRET}")));
            let options = Options {
                vendor,
                keys,
                oauth_client,
                limits: Some(Vec::new()),
                tests: 5,
                ..Options::default()
            };
            Emulator::start(options).await.unwrap()
        };
        Self([
            start(Vendor::CatchpointV1, vec![Key::client("k", &format!("acme:{V1_SECRET}"))]).await,
            start(Vendor::Privx, vec![Key::client("k", &format!("api-id:{API_SECRET}"))]).await,
            start(Vendor::Netskope, vec![Key::client("v1", NETSKOPE_V1), Key::client("v2", NETSKOPE_V2)])
                .await,
            start(Vendor::RecordedFutureSandbox, vec![Key::client("k", SANDBOX)]).await,
        ])
    }

    fn config(&self) -> String {
        let upstream = |name: &str, dialect: &str, index: usize, keys: &str| {
            format!(
                "[upstreams.{name}]\ndialect = \"{dialect}\"\nurl = \"{}\"\nmount = \"/{name}\"\nmax_wait = \"1s\"\n\
                 timeout = \"2s\"\nkeys.main = {{ {keys} }}\n",
                self.0[index].url()
            )
        };
        let privx = format!(
            "client_id = \"api-id\", client_secret = \"{API_SECRET}\", \
             oauth_client_id = \"ext\", oauth_client_secret = \"{CLIENT_SECRET}\""
        );
        let netskope = format!("value = \"{NETSKOPE_V2}\", value_v1 = \"{NETSKOPE_V1}\"");
        let v1 = format!("client_id = \"acme\", client_secret = \"{V1_SECRET}\"");
        let access = ["legacy", "privx", "netskope", "sandbox"]
            .map(|name| format!("access.{name} = {{ allow = [\"* /**\"] }}\n"))
            .concat();
        format!(
            "[server]\ntoken_key = \"{TOKEN_KEY}\"\n{}{}{}{}[consumers.script]\n{}\n{access}",
            upstream("legacy", "catchpoint-v1", 0, &v1),
            upstream("privx", "privx", 1, &privx),
            upstream("netskope", "netskope", 2, &netskope),
            upstream("sandbox", "recorded-future-sandbox", 3, &format!("value = \"{SANDBOX}\"")),
            hash_line(&token_of("script"))
        )
    }
}

/// All that a run did; what weir gave out as tokens stands apart.
struct Run {
    weir: Weir,
    replies: Vec<Reply>,
    issued: Vec<String>,
}

impl Run {
    async fn ask(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: String) -> Reply {
        let mut request =
            Request::builder().method(method).uri(format!("http://{}{path}", self.weir.address()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let nobody = Caller::at(String::new(), None);
        nobody.send(request.body(Full::from(body)).unwrap()).await.unwrap()
    }

    async fn get(&mut self, path: &str, headers: &[(&str, &str)]) {
        let reply = self.ask(Method::GET, path, headers, String::new()).await;
        self.replies.push(reply);
    }

    /// The token that weir gives out for this form; none for a wrong one.
    async fn sign_in(&mut self, path: &str, form: String) -> Option<String> {
        let basic = format!("Basic {}", data_encoding::BASE64.encode(b"ext:whatever"));
        let reply = self.ask(Method::POST, path, &[FORM, ("authorization", &basic)], form).await;
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let Some(token) = body["access_token"].as_str().map(str::to_owned) else {
            self.replies.push(reply);
            return None;
        };
        self.issued.extend(body["refresh_token"].as_str().map(str::to_owned));
        self.issued.push(token.clone());
        Some(token)
    }

    async fn tokens(&mut self, vendors: &Vendors) {
        let secret = url_encoded(&token_of("script"));
        for (path, list, id, key) in [
            (TOKEN_V1, "/legacy/ui/api/v1/tests", "client_id", "client_secret"),
            (TOKEN_PRIVX, "/privx/host-store/api/v1/hosts", "username", "password"),
        ] {
            let grant = if path == TOKEN_V1 { "client_credentials" } else { "password" };
            let form = |secret: &str| format!("grant_type={grant}&{id}=script&{key}={secret}");
            let token = self.sign_in(path, form(&secret)).await.expect("weir knows its consumer");
            assert_eq!(self.sign_in(path, form(&url_encoded(WRONG))).await, None);
            let bearer = format!("Bearer {token}");
            self.get(list, &[("authorization", &bearer)]).await;
            for vendor in &vendors.0[..2] {
                vendor.revoke_tokens();
            }
            self.get(&format!("{list}/1"), &[("authorization", &bearer)]).await;
            self.get(list, &[("authorization", "Bearer forged/token+x==")]).await;
            self.get(&format!("{path}?{key}={secret}"), &[]).await;
        }
    }

    async fn bodies_and_queries(&mut self) {
        let token = token_of("script");
        let escaped = url_encoded(&token);
        let header = [("netskope-api-token", token.as_str())];
        self.get("/netskope/api/v2/policy/urllist", &header).await;
        self.get("/netskope/api/v2/policy/urllist", &[("netskope-api-token", WRONG)]).await;
        self.get(&format!("/netskope/api/v1/alerts?limit=2&token={escaped}"), &[]).await;
        self.get(&format!("/netskope/api/v1/alerts?token={}", url_encoded(WRONG)), &[]).await;
        self.get(&format!("/netskope/api/v1/alerts?token={escaped}&token={escaped}"), &[]).await;
        for (kind, body) in [
            (FORM, format!("token={escaped}&limit=1")),
            (JSON, format!("{{\"limit\":1,\"token\":\"{token}\"}}")),
            (JSON, format!("{{\"token\":\"{token}\",")),
            (JSON, format!("{{\"token\":\"{WRONG}\"}}")),
        ] {
            let reply = self.ask(Method::POST, "/netskope/api/v1/alerts", &[kind], body).await;
            self.replies.push(reply);
        }
        let bearer = format!("Bearer {token}");
        self.get("/sandbox/v0/samples", &[("authorization", &bearer)]).await;
        self.get("/sandbox/v0/samples/none", &[("authorization", &bearer)]).await;
    }
}

#[tokio::test]
async fn no_credential_of_either_side_comes_out_anywhere() {
    let vendors = Vendors::start().await;
    let weir = Weir::start_logging("json", &vendors.config(), &[("WEIR_LOG", "trace")]);
    let mut run = Run { weir, replies: Vec::new(), issued: Vec::new() };
    run.tokens(&vendors).await;
    run.bodies_and_queries().await;
    for faults in [
        Faults { server_error: 1.0, ..Faults::default() },
        Faults { reset: 1.0, ..Faults::default() },
        Faults { cdn_403: 1.0, ..Faults::default() },
    ] {
        vendors.0.iter().for_each(|vendor| vendor.set_faults(faults));
        run.bodies_and_queries().await;
    }
    let operators = Caller::at(format!("http://{}", run.weir.admin_address()), None);
    let mut told = String::new();
    for path in ["/metrics", "/api/v1/status", "/api/v1/usage", "/"] {
        told.push_str(&String::from_utf8_lossy(&operators.get(path).await.body));
    }
    let seen: Vec<Seen> = vendors.0.iter().flat_map(Emulator::requests).collect();
    let (printed, folder) = {
        let Run { weir, .. } = &run;
        (weir.output(), weir.folder())
    };
    assert!(printed.contains("weir::access") && printed.contains("\"level\":\"TRACE\""));

    let vendor_tokens: Vec<String> = seen
        .iter()
        .filter_map(|seen| Some(seen.header("authorization")?.strip_prefix("Bearer ")?.to_owned()))
        .filter(|token| token.starts_with("vt-"))
        .collect();
    assert!(vendor_tokens.len() > 3, "weir signed in, and used its tokens");
    let of_vendors = [V1_SECRET, API_SECRET, CLIENT_SECRET, NETSKOPE_V1, NETSKOPE_V2, SANDBOX, TOKEN_KEY];
    let of_vendors = of_vendors.iter().copied().chain(vendor_tokens.iter().map(String::as_str));
    let of_vendors: Vec<_> =
        of_vendors.map(|secret| Needle::of("a secret of the vendor's side", secret)).collect();
    let own = token_of("script");
    let of_callers = [own.as_str(), WRONG].into_iter().chain(run.issued.iter().map(String::as_str));
    let of_callers: Vec<_> = of_callers.map(|secret| Needle::of("a caller's secret", secret)).collect();
    let absent = |needles: &[Needle], text: &str, place: &str| {
        for needle in needles {
            assert_eq!(needle.found_in(text), None, "{} is in {place}: {text}", needle.what);
        }
    };
    for line in printed.lines() {
        absent(&of_vendors, line, "the log");
        absent(&of_callers, line, "the log");
    }
    absent(&of_vendors, &told, "what operators see");
    absent(&of_callers, &told, "what operators see");
    for reply in &run.replies {
        let whole = format!("{:?}\n{}", reply.headers, String::from_utf8_lossy(&reply.body));
        absent(&of_vendors, &whole, "an answer");
        absent(&of_callers, &whole, "an answer");
    }
    for seen in &seen {
        absent(&of_callers, &String::from_utf8_lossy(&seen.wire()), "what was sent on");
    }
    let stored = files(&folder.join("data"));
    assert!(!stored.is_empty(), "there is a store");
    for (name, content) in stored {
        for needle in of_vendors.iter().chain(&of_callers) {
            assert_eq!(needle.found_in(&content), None, "{} is in {name}", needle.what);
        }
    }
}

/// Every file below `folder`, as text.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let content = std::fs::read(&path).unwrap();
            found.push((path.display().to_string(), String::from_utf8_lossy(&content).into_owned()));
        }
    }
    found
}
