//! Law 12: keys stay in. A whole run at the highest log level, with all that can
//! go wrong; then everything that came out is searched for every secret in every
//! form that a program might write it in.

mod exchanged;

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use http::{Method, Request};
use weir::emulator::{Emulator, Faults, Key, Options, Seen, Vendor};

use crate::support::{Caller, Reply, VENDOR_KEY, Weir, catchpoint, hash_line, once, token_of};

/// What may not be found, with what it is called when it is.
struct Needle {
    what: String,
    forms: Vec<String>,
}

impl Needle {
    fn of(what: &str, secret: &str) -> Self {
        let mut forms = vec![secret.to_owned(), format!("{secret:?}").trim_matches('"').to_owned()];
        // Alone, and at each alignment within something longer, such as the `user:` of Basic.
        for before in ["", "x", "xy"] {
            for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
                let encoded = engine.encode(format!("{before}{secret}"));
                // The first and last characters depend on the neighbours.
                let inner = encoded.trim_end_matches('=');
                let skip = if before.is_empty() { 0 } else { before.len() + 1 };
                forms.push(inner[skip..inner.len() - 1].to_owned());
            }
        }
        let escape = |all: bool, byte: u8| match byte {
            b if !all && (b.is_ascii_alphanumeric() || b"-._~".contains(&b)) => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        };
        for all in [false, true] {
            let escaped: String = secret.bytes().map(|byte| escape(all, byte)).collect();
            let lower = escaped.split('%').enumerate().map(|(n, part)| match part.split_at_checked(2) {
                Some((hex, rest)) if n > 0 => format!("%{}{rest}", hex.to_lowercase()),
                _ => part.to_owned(),
            });
            forms.push(lower.collect());
            forms.push(escaped);
        }
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let bytes = format!("{:?}", secret.as_bytes());
        forms.extend([hex.clone(), hex.to_uppercase(), bytes.trim_matches(['[', ']']).to_owned()]);
        Self { what: what.to_owned(), forms }
    }

    fn found_in(&self, haystack: &str) -> Option<&str> {
        self.forms.iter().find(|form| haystack.contains(form.as_str())).map(String::as_str)
    }
}

#[test]
fn the_search_finds_what_it_looks_for() {
    let needle = Needle::of("key", VENDOR_KEY);
    for text in [
        VENDOR_KEY.to_owned(),
        format!("Basic {}", STANDARD.encode(format!("user:{VENDOR_KEY}"))),
        format!("Basic {}", URL_SAFE_NO_PAD.encode(format!("{VENDOR_KEY}:password"))),
        "vendor-key-Zm9v%2Fbar%2Bbaz%3D%3D".to_owned(),
        "vendor-key-Zm9v%2fbar%2bbaz%3d%3d".to_owned(),
        format!("{:?}", VENDOR_KEY.as_bytes()),
    ] {
        assert!(needle.found_in(&format!("a {text} b")).is_some(), "{text}");
    }
    assert_eq!(needle.found_in("vendor-key- Authorization: ***"), None);
}

/// A key that stands in a query, and one of Basic.
const QUERY_KEY: &str = "query/key+of=the&vendor";
const BASIC_KEY: &str = "user:p/a+s=s word";
const WRONG: [&str; 2] = ["weir_wrong/token+of=nobody", "another%wrong token"];

/// All that a run did.
#[derive(Default)]
struct Run {
    printed: String,
    replies: Vec<Reply>,
    seen: Vec<Seen>,
}

/// Two upstreams, and every kind of call, error and refusal.
async fn run(format: &str, filter: &str) -> Run {
    let keys = vec![Key::client("main", VENDOR_KEY)];
    let vendor = Emulator::start(Options { keys, ..Options::default() }).await.unwrap();
    let keys = [QUERY_KEY, BASIC_KEY].map(|key| Key::client("k", key)).to_vec();
    let origin =
        Emulator::start(Options { vendor: Vendor::Generic, keys, ..Options::default() }).await.unwrap();
    let weir =
        Weir::start_logging(format, &config(&vendor, &origin), &[("WEIR_LOG", filter), ("Q_KEY", QUERY_KEY)]);
    let mut run = Run::default();
    let grafana = weir.caller(&token_of("grafana"));
    for faults in [
        Faults::default(),
        Faults { server_error: 1.0, ..Faults::default() },
        Faults { reset: 1.0, ..Faults::default() },
        Faults { cdn_403: 1.0, ..Faults::default() },
        Faults { cdn_429: 1.0, ..Faults::default() },
        Faults { silent: 1.0, ..Faults::default() },
    ] {
        vendor.set_faults(faults);
        run.replies.push(grafana.get(&format!("/api/v2/tests/{}", 100_001 + run.replies.len())).await);
    }
    vendor.set_faults(Faults::default());
    vendor.revoke("main");
    run.replies.push(grafana.get("/api/v2/nodes").await);
    run.replies.push(grafana.http2().get("/api/v2/nodes/all").await);
    refused(&weir, &grafana, &mut run).await;
    by_query_and_basic(&weir, &mut run).await;
    run.seen = [vendor.requests(), origin.requests()].concat();
    vendor.shutdown().await;
    run.replies.push(grafana.get("/api/v2/tests/1").await);
    run.printed = weir.stop();
    run
}

fn config(vendor: &Emulator, origin: &Emulator) -> String {
    let grafana = catchpoint(&vendor.url(), "timeout = \"200ms\"\n", &[("grafana", "web", "")]);
    let generic = |name: &str, key: &str, credential: &str| {
        format!(
            "[upstreams.{name}]\ndialect = \"generic\"\nurl = \"{}\"\nmount = \"/{name}\"\n\
             keys.main.value = {key}\ncredential = {credential}\n",
            origin.url()
        )
    };
    let query = generic("query", "{ env = \"Q_KEY\" }", "{ query = \"token\" }");
    let basic = generic("basic", &format!("\"{BASIC_KEY}\""), "\"basic\"");
    let both = "access.query = { allow = [\"* /**\"] }\naccess.basic = {}\n";
    format!("{query}{basic}[consumers.script]\n{}\n{both}{grafana}", hash_line(&token_of("script")))
}

/// What never gets as far as a vendor.
async fn refused(weir: &Weir, grafana: &Caller, run: &mut Run) {
    for wrong in WRONG {
        run.replies.push(weir.caller(wrong).get("/api/v2/tests").await);
    }
    let token = token_of("grafana");
    let escaped = token.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
    for path in
        [format!("/api//v2?token={escaped}"), "/api/v2/tests?pageSize=1000".into(), "/api/v2/%2e%2e/".into()]
    {
        run.replies.push(grafana.get(&path).await);
    }
    run.replies.push(grafana.ask(Method::POST, "/api/v2/tests", &[], &token).await);
    let bearer = format!("Authorization: Bearer {token}\r\n");
    for request in [
        format!("GET /api/v2/tests HTTP/1.1\r\n{bearer}{bearer}Host: weir\r\n\r\n"),
        format!("GET /api/v2/tests HTTP/1.1\r\n{bearer}Host: weir\r\nConnection: authorization\r\n\r\n"),
        format!("GET http://user:{escaped}@weir/api/v2/tests HTTP/1.1\r\n{bearer}Host: weir\r\n\r\n"),
        format!("{bearer}GET / HTTP/1.1\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {token}\r\n{bearer}\r\n"),
        format!("GET / HTTP/1.1\r\nHost: weir\r\n{bearer}X: \u{1}\r\n\r\n"),
    ] {
        run.replies.push(once(weir.address(), request).await);
    }
}

/// Where the credential stands in the query or in Basic, as the consumer's token does.
async fn by_query_and_basic(weir: &Weir, run: &mut Run) {
    let token = token_of("script");
    let nobody = Caller::at(format!("http://{}", weir.address()), None);
    let escaped: String = url_encoded(&token);
    run.replies.push(nobody.get(&format!("/query/echo?b=1&token={escaped}&a=2")).await);
    run.replies.push(nobody.get(&format!("/query/status/503?token={escaped}")).await);
    run.replies.push(nobody.get(&format!("/query/echo?token={escaped}&token={escaped}")).await);
    run.replies.push(
        nobody
            .get(&format!("/query/header?location=%2Fx%3Ftoken%3D{escaped}&token={}", url_encoded(WRONG[0])))
            .await,
    );
    run.replies.push(nobody.ask(Method::POST, &format!("/query/up?token={escaped}"), &[], "{}").await);
    let basic = format!("Basic {}", STANDARD.encode(format!("me:{token}")));
    run.replies.push(nobody.get_with("/basic/echo", &[("authorization", basic.as_str())]).await);
    let request =
        Request::get(format!("http://{}/basic/etag/1", weir.address())).header("authorization", basic);
    run.replies.push(nobody.send(request.body(Default::default()).unwrap()).await.unwrap());
    // Until guesses from here are no longer listened to.
    for _ in 0..12 {
        run.replies.push(weir.caller(WRONG[1]).get("/api/v2/tests").await);
    }
}

fn url_encoded(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

fn assert_kept(run: &Run) {
    let statuses: Vec<u16> = run.replies.iter().map(|reply| reply.status.as_u16()).collect();
    for expected in [200, 400, 401, 403, 429, 502, 503, 504] {
        assert!(statuses.contains(&expected), "no {expected} among {statuses:?}");
    }
    let keys = [("the vendor key", VENDOR_KEY), ("the query key", QUERY_KEY), ("the basic key", BASIC_KEY)];
    let tokens: Vec<_> = ["grafana", "script"].map(token_of).to_vec();
    let tokens =
        tokens.iter().map(String::as_str).chain(WRONG).map(|token| Needle::of("a consumer's token", token));
    let (keys, tokens): (Vec<_>, Vec<_>) =
        (keys.map(|(what, key)| Needle::of(what, key)).into(), tokens.collect());
    for line in run.printed.lines() {
        for needle in keys.iter().chain(&tokens) {
            assert_eq!(needle.found_in(line), None, "{} was printed: {line}", needle.what);
        }
    }
    for reply in &run.replies {
        let head: Vec<_> = reply.headers.iter().map(|(name, value)| format!("{name}: {value:?}\n")).collect();
        let whole = head.concat() + &String::from_utf8_lossy(&reply.body);
        // The echo of the query is the vendor's own word about its own key.
        let vendor_says = whole.contains("\"query\":");
        for needle in keys.iter().filter(|_| !vendor_says).chain(&tokens) {
            assert_eq!(needle.found_in(&whole), None, "{} was answered: {whole}", needle.what);
        }
    }
    for seen in &run.seen {
        let sent = String::from_utf8_lossy(&seen.wire()).into_owned();
        for needle in &tokens {
            assert_eq!(needle.found_in(&sent), None, "{} was sent on: {sent}", needle.what);
        }
        let elsewhere = sent.lines().filter(|line| !line.to_lowercase().starts_with("authorization: "));
        let elsewhere: String = elsewhere.filter(|line| !line.contains("token=query%2Fkey")).collect();
        for needle in &keys {
            assert_eq!(needle.found_in(&elsewhere), None, "{} stood elsewhere: {sent}", needle.what);
        }
    }
    // And each key was where it belongs, or this would prove nothing.
    let basic = format!("Basic {}", STANDARD.encode(BASIC_KEY));
    let signed = |name: &str, by: &dyn Fn(&Seen) -> bool| {
        assert!(
            run.seen.iter().any(by),
            "no request by {name} among {:?}",
            run.seen.iter().map(|seen| &seen.target).collect::<Vec<_>>()
        )
    };
    signed("bearer", &|seen| seen.header("authorization") == Some(format!("Bearer {VENDOR_KEY}").as_str()));
    signed("query", &|seen| seen.target.contains("token=query%2Fkey"));
    signed("basic", &|seen| seen.header("authorization") == Some(basic.as_str()));
}

#[tokio::test]
async fn a_run_that_traces_everything_as_json_tells_no_secret() {
    let run = run("json", "trace").await;
    assert!(run.printed.contains("\"level\":\"TRACE\"") && run.printed.contains("weir::access"));
    assert_kept(&run);
}

#[tokio::test]
async fn a_run_that_traces_everything_as_text_tells_no_secret() {
    let run = run("text", "trace").await;
    assert!(run.printed.contains("TRACE ") && run.printed.contains("weir::access"), "{}", run.printed);
    assert_kept(&run);
}

#[test]
fn mistakes_in_the_config_are_told_without_their_values() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weir.toml");
    for config in [
        format!(
            "[upstreams.c]\ndialect = \"catchpoint\"\nurl = \"http://{VENDOR_KEY}@x\"\nkeys.main.value = \"{VENDOR_KEY}\"\n"
        ),
        format!(
            "[upstreams.c]\ndialect = \"catchpoint\"\nurl = \"https://x\"\nkeys.main = \"{VENDOR_KEY}\"\n"
        ),
        format!(
            "[upstreams.c]\ndialect = \"catchpoint\"\nurl = \"https://x\"\nkeys.main.value = [\"{VENDOR_KEY}\"]\n"
        ),
        format!(
            "[upstreams.c]\ndialect = \"catchpoint\"\nurl = \"https://x\"\nkeys.main.value = \"{VENDOR_KEY} \\u0001\"\n"
        ),
        format!(
            "[upstreams.c]\ndialect = \"catchpoint\"\nurl = \"https://x\"\nkeys.main.value = {{ env = \"{VENDOR_KEY}\" }}\n"
        ),
        format!("[upstreams.c]\nurl = \"https://x\"\nkeys.main.value = \"{VENDOR_KEY}\n"),
        format!(
            "[consumers.a]\ntoken = \"{VENDOR_KEY}\"\n[consumers.b]\ntoken = {{ sha256 = \"{VENDOR_KEY}\" }}\n"
        ),
        format!(
            "[consumers.a]\ntoken = {{ literal = \"{VENDOR_KEY}\" }}\n[admin]\ntoken = \"{VENDOR_KEY}\"\n"
        ),
        format!(
            "[store]\nredis = {{ url = \"redis://:{VENDOR_KEY}@x/\" }}\n[server]\ntoken_key = \"{VENDOR_KEY}\"\n"
        ),
    ] {
        std::fs::write(&file, &config).unwrap();
        for command in ["check", "run"] {
            let mut weir = Command::new(env!("CARGO_BIN_EXE_weir"));
            let output =
                weir.args([command, "--config"]).arg(&file).env("WEIR_LOG", "trace").output().unwrap();
            let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert_eq!(output.status.code(), Some(2), "{config}\n{printed}");
            assert_eq!(Needle::of("the key", VENDOR_KEY).found_in(&printed), None, "{config}\n{printed}");
        }
    }
}
