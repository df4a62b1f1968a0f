//! Each vendor's API through the built binary, against its emulator: what an
//! unmodified client does, and what its users must not notice.

mod catchpoint;
mod pages;

use weir::emulator::{Emulator, Key, Options};

use crate::support::{Caller, VENDOR_KEY, Weir, catchpoint, token_of};

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
