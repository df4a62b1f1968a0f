//! Each vendor's API through the built binary, against its emulator: what an
//! unmodified client does, and what its users must not notice.

mod catchpoint;
mod catchpoint_v1;
mod examples;
mod generic;
mod netskope;
mod pages;
mod privx;
mod recorded_future;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use weir::emulator::{Emulator, Key, Options};

use crate::support::{Caller, Reply, VENDOR_KEY, Weir, catchpoint, hash_line, token_of};

/// Limits that no test reaches, so that each request still has a price.
const ROOMY: &str = "limits = { second = \"10000/1s\", minute = \"100000/1m\", hour = \"100000/1h\", \
                     day = { requests = 1000000 } }\n";

/// Catchpoint without limits of its own.
async fn unlimited(options: Options) -> Emulator {
    let keys = vec![Key::client("main", VENDOR_KEY)];
    Emulator::start(Options { limits: Some(Vec::new()), keys, ..options }).await.unwrap()
}

/// weir in front of Catchpoint, and a consumer who may do everything.
fn front(vendor: &Emulator, more: &str) -> (Weir, Caller) {
    let more = if more.contains("limits") { more.to_owned() } else { format!("{ROOMY}{more}") };
    let allowed = "allow = [\"* /**\"]";
    let weir = Weir::start(&catchpoint(&vendor.url(), &more, &[("grafana", "web", allowed)]));
    let grafana = weir.caller(&token_of("grafana"));
    (weir, grafana)
}

/// A config with one upstream `v` and one consumer of all its methods.
fn config(dialect: &str, vendor: &Emulator, more: &str) -> String {
    format!(
        "[server]\ntoken_key = \"{TOKEN_KEY}\"\n[upstreams.v]\ndialect = \"{dialect}\"\nurl = \"{}\"\n{more}\n\
         [consumers.grafana]\n{}\naccess.v = {{ allow = [\"* /**\"] }}\n",
        vendor.url(),
        hash_line(&token_of("grafana")),
    )
}

/// What signs the tokens that weir gives out.
const TOKEN_KEY: &str = "5f1d7e84a9c3b2605f1d7e84a9c3b2605f1d7e84a9c3b2605f1d7e84a9c3b260";

/// Asks as grafana, with these header fields instead of a Bearer token.
async fn ask(
    weir: &Weir,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Reply {
    let nobody = Caller::at(format!("http://{}", weir.address()), None);
    let mut request = Request::builder().method(method).uri(format!("http://{}{path}", weir.address()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    nobody.send(request.body(Full::from(body.into())).unwrap()).await.unwrap()
}

/// Percent-encoded, for a query or a form.
fn escaped(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
