//! HTTP at weir's door and towards the vendor: what is refused, what goes on, what comes back.

mod codings;
mod failing;
mod logs;
mod passing;
mod refusals;
mod rules;
mod sameness;
mod scopes;
mod stored;
mod wording;
mod written;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use weir::emulator::{Canned, Emulator, Key, Options, Vendor};

use crate::support::{Caller, VENDOR_KEY, Weir, catchpoint, hash_line, token_of};

/// Limits that no test reaches, so that each request still has a price.
const ROOMY: &str = "limits = { second = \"10000/1s\", minute = \"100000/1m\", hour = \"100000/1h\", \
                     day = { requests = 1000000 } }\n";

/// Catchpoint without limits of its own.
async fn vendor() -> Emulator {
    vendor_with(Options::default()).await
}

async fn vendor_with(options: Options) -> Emulator {
    let keys = vec![Key::client("main", VENDOR_KEY), Key::division("other", OTHER_KEY)];
    Emulator::start(Options { limits: Some(Vec::new()), keys, ..options }).await.unwrap()
}

/// An origin that echoes what it was asked, or answers as it was told.
async fn echo() -> Emulator {
    vendor_with(Options { vendor: Vendor::Generic, ..Options::default() }).await
}

const OTHER_KEY: &str = "vendor-key-of-another-division";

/// weir in front of it, with one consumer.
fn front(vendor: &Emulator, more: &str) -> (Weir, Caller) {
    let weir = Weir::start(&catchpoint(&vendor.url(), &format!("{ROOMY}{more}"), &[("grafana", "web", "")]));
    let grafana = weir.caller(&token_of("grafana"));
    (weir, grafana)
}

/// A generic upstream `name` at `place` (its mount or host), for one consumer.
fn generic(name: &str, vendor: &Emulator, more: &str) -> String {
    format!(
        "[upstreams.{name}]\ndialect = \"generic\"\nurl = \"{}\"\nkeys.main.value = \"{VENDOR_KEY}\"\n\
         limits.minute = \"100000/1m\"\n{more}\n",
        vendor.url()
    )
}

/// A consumer with access to these upstreams.
fn consumer(name: &str, upstreams: &[&str]) -> String {
    let access = upstreams.iter().map(|to| format!("access.{to} = {{}}\n"));
    format!("[consumers.{name}]\n{}\n{}", hash_line(&token_of(name)), access.collect::<String>())
}

/// `Authorization` of a consumer, as a line of a head.
fn bearer(name: &str) -> String {
    format!("Authorization: Bearer {}\r\n", token_of(name))
}

fn canned(status: u16, headers: &[(&'static str, &str)], body: &str) -> Canned {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect();
    Canned { status: StatusCode::from_u16(status).unwrap(), headers, body: body.to_owned().into() }
}
