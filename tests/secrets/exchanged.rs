//! The same where ids and secrets are exchanged for tokens, and where a token stands
//! in a body; beside the log, in metrics, admin answers and the store's files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use weir::emulator::{Credential, Emulator, Key, Options, Seen, Serves, Vendor};

use super::{Needle, url_encoded};
use crate::support::{Caller, Reply, Weir, hash_line, token_of};

const CLIENT_SECRET: &str = "client/secret+of=v1";
const API_SECRET: &str = "api/secret+of=privx";
const OAUTH_SECRET: &str = "0auth/secret+of=the-company";
const V1_KEY: &str = "netskope/v1+token==";
const V2_KEY: &str = "netskope/v2+token==";
const SIGNING_KEY: &str = "signing/key+0123456789abcdef0123456789abcdef";
const WRONG: &str = "wrong/token+of=nobody";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json");

struct Vendors {
    v1: Emulator,
    privx: Emulator,
    netskope: Emulator,
}

impl Vendors {
    async fn start() -> Self {
        let start = |vendor, keys: &[(&str, &str)], oauth: Option<&str>| {
            let keys = keys.iter().map(|(label, secret)| Key::client(label, secret)).collect();
            let oauth_client = oauth.map(Credential::new);
            let serves = Some(Serves { requests: 1_000, per: std::time::Duration::from_secs(1) });
            let limits = Some(Vec::new());
            Emulator::start(Options { vendor, keys, oauth_client, serves, limits, ..Options::default() })
        };
        let oauth = format!("privx-external:{OAUTH_SECRET}");
        let v1 = start(Vendor::CatchpointV1, &[("acme", &format!("acme:{CLIENT_SECRET}"))], None);
        let privx = start(Vendor::Privx, &[("api", &format!("api:{API_SECRET}"))], Some(&oauth));
        let netskope = start(Vendor::Netskope, &[("v1", V1_KEY), ("v2", V2_KEY)], None);
        let (v1, privx, netskope) = tokio::join!(v1, privx, netskope);
        Self { v1: v1.unwrap(), privx: privx.unwrap(), netskope: netskope.unwrap() }
    }

    fn seen(&self) -> Vec<Seen> {
        [self.v1.requests(), self.privx.requests(), self.netskope.requests()].concat()
    }

    fn config(&self) -> String {
        format!(
            "[server]\ntoken_key = {{ env = \"SIGNING_KEY\" }}\n\
             [upstreams.v1]\ndialect = \"catchpoint-v1\"\nurl = \"{}\"\nmount = \"/v1\"\n\
             keys.main = {{ client_id = \"acme\", client_secret = {{ env = \"CLIENT_SECRET\" }} }}\n\
             [upstreams.privx]\ndialect = \"privx\"\nurl = \"{}\"\nmount = \"/privx\"\n\
             [upstreams.privx.keys.main]\nclient_id = \"api\"\nclient_secret = {{ env = \"API_SECRET\" }}\n\
             oauth_client_id = \"privx-external\"\noauth_client_secret = {{ env = \"OAUTH_SECRET\" }}\n\
             [upstreams.netskope]\ndialect = \"netskope\"\nurl = \"{}\"\nmount = \"/netskope\"\n\
             limits = {{ second = false, burst = false }}\n\
             keys.main = {{ value = {{ env = \"V2_KEY\" }}, value_v1 = {{ env = \"V1_KEY\" }} }}\n\
             [consumers.web]\n{}\naccess = {{ v1 = {{}}, privx = {{}}, netskope = {{}} }}\n",
            self.v1.url(),
            self.privx.url(),
            self.netskope.url(),
            hash_line(&token_of("web")),
        )
    }
}

/// Every kind of sign-in, refusal and renewal. The tokens that weir issued, and its answers.
async fn exchange(weir: &Weir, vendors: &Vendors) -> (Vec<String>, Vec<Reply>) {
    let nobody = Caller::at(format!("http://{}", weir.address()), None);
    let (token, mut issued, mut replies) = (url_encoded(&token_of("web")), Vec::new(), Vec::new());
    for secret in [token.clone(), url_encoded(WRONG)] {
        let form = format!("grant_type=client_credentials&client_id=web&client_secret={secret}");
        let v1 = nobody.ask(Method::POST, "/v1/ui/api/token", &[FORM], &form).await;
        let form = format!("grant_type=password&username=web&password={secret}");
        let privx = nobody.ask(Method::POST, "/privx/auth/api/v1/oauth/token", &[FORM], &form).await;
        for reply in [v1, privx] {
            let said = reply.json();
            let tokens = ["access_token", "refresh_token"].map(|name| said[name].as_str().map(str::to_owned));
            if said["access_token"].is_null() {
                replies.push(reply);
            }
            issued.extend(tokens.into_iter().flatten());
        }
    }
    for presented in [issued[0].clone(), STANDARD.encode(&issued[0]), WRONG.to_owned(), issued[2].clone()] {
        replies.push(weir.caller(&presented).get("/v1/ui/api/v1/tests").await);
    }
    let privx = weir.caller(&issued[1]);
    replies.push(privx.get("/privx/role-store/api/v1/roles").await);
    vendors.privx.revoke_tokens();
    vendors.v1.revoke_tokens();
    replies.push(privx.get("/privx/role-store/api/v1/roles?offset=1").await);
    // From here on the vendor refuses to sign weir in.
    assert!(vendors.v1.revoke("acme"));
    replies.push(weir.caller(&issued[0]).get("/v1/ui/api/v1/products").await);

    for token in [&token, &url_encoded(WRONG)] {
        let path = format!("/netskope/api/v1/alerts?limit=1&token={token}");
        replies.push(nobody.get(&path).await);
        let form = format!("limit=1&token={token}");
        replies.push(nobody.ask(Method::POST, "/netskope/api/v1/alerts", &[FORM], &form).await);
    }
    for token in [token_of("web"), WRONG.to_owned()] {
        let json = format!("{{\"limit\":1,\"token\":{token:?}}}");
        replies.push(nobody.ask(Method::POST, "/netskope/api/v1/alerts", &[JSON], &json).await);
        let header = [("netskope-api-token", token.as_str())];
        replies.push(nobody.get_with("/netskope/api/v2/policy/urllist", &header).await);
    }
    (issued, replies)
}

/// The tokens that the vendors gave out, as weir sent them.
fn vendor_tokens(seen: &[Seen]) -> Vec<String> {
    let bearers = seen.iter().filter_map(|seen| seen.header("authorization")?.strip_prefix("Bearer "));
    bearers.map(str::to_owned).collect()
}

#[tokio::test]
async fn exchanged_secrets_and_tokens_stay_in() {
    let vendors = Vendors::start().await;
    let env = [
        ("WEIR_LOG", "trace"),
        ("SIGNING_KEY", SIGNING_KEY),
        ("CLIENT_SECRET", CLIENT_SECRET),
        ("API_SECRET", API_SECRET),
        ("OAUTH_SECRET", OAUTH_SECRET),
        ("V1_KEY", V1_KEY),
        ("V2_KEY", V2_KEY),
    ];
    let weir = Weir::start_logging("json", &vendors.config(), &env);
    let (issued, replies) = exchange(&weir, &vendors).await;
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status.as_u16()).collect();
    for expected in [200, 401, 502] {
        assert!(statuses.contains(&expected), "no {expected} among {statuses:?}");
    }
    let seen = vendors.seen();
    let theirs = vendor_tokens(&seen);
    assert!(theirs.len() >= 3 && issued.len() == 3, "{} and {}", theirs.len(), issued.len());

    let secrets = [CLIENT_SECRET, API_SECRET, OAUTH_SECRET, V1_KEY, V2_KEY, SIGNING_KEY];
    let all = secrets.iter().map(|secret| Needle::of("a secret of the config", secret));
    let all = all.chain(theirs.iter().map(|token| Needle::of("the vendor's token", token)));
    let ours = [token_of("web"), WRONG.to_owned()].into_iter().chain(issued);
    let ours: Vec<_> = ours.map(|token| Needle::of("a consumer's token", &token)).collect();
    let all: Vec<_> = all.collect();
    let nowhere = |place: &str, text: &str| {
        for needle in all.iter().chain(&ours) {
            assert_eq!(needle.found_in(text), None, "{} is in {place}", needle.what);
        }
    };

    let line = weir.output();
    let line = line.lines().find(|line| line.contains("admin listening")).unwrap().to_owned();
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    let admin = Caller::at(format!("http://{}", event["address"].as_str().unwrap()), None);
    for path in ["/metrics", "/api/v1/status"] {
        let reply = admin.get(path).await;
        assert_eq!(reply.status, 200);
        nowhere(path, &String::from_utf8_lossy(&reply.body));
    }
    for reply in &replies {
        nowhere("an answer", &format!("{:?}{}", reply.headers, String::from_utf8_lossy(&reply.body)));
    }
    // Where each belongs it is, and nothing of a consumer's is sent on.
    for request in &seen {
        let sent = String::from_utf8_lossy(&request.wire()).into_owned();
        for needle in &ours {
            assert_eq!(needle.found_in(&sent), None, "{} was sent on: {sent}", needle.what);
        }
    }
    let sent_by = |path: &str| {
        let request = seen.iter().find(|seen| seen.target.starts_with(path));
        let request = request.unwrap_or_else(|| panic!("nothing to {path}"));
        format!("{}{}", request.target, String::from_utf8_lossy(request.body.as_deref().unwrap_or_default()))
    };
    assert!(sent_by("/ui/api/token").contains(&url_encoded(CLIENT_SECRET).replace("%2E", ".")));
    assert!(sent_by("/api/v1/alerts?").contains("netskope%2Fv1%2Btoken%3D%3D"));

    let mut files = 0;
    for entry in std::fs::read_dir(weir.folder().join("data")).unwrap() {
        let file = entry.unwrap().path();
        if file.is_file() {
            files += 1;
            nowhere(&file.display().to_string(), &String::from_utf8_lossy(&std::fs::read(&file).unwrap()));
        }
    }
    assert!(files > 0, "no store");
    nowhere("the log", &weir.stop());
}
