//! Reloads that change what an upstream is, or whether there is one.

use std::time::Duration;

use http::Method;
use weir::emulator::{Emulator, Key, Latency, Options, Vendor};

use crate::support::{VENDOR_KEY, Weir, catchpoint, hash_line, token_of, until};

const LIMITS: &str =
    "linger = \"1s\"\n[upstreams.catchpoint.limits]\nsecond = \"100/1s\"\nminute = \"10/1m\"\n";

async fn vendor(latency: Duration) -> Emulator {
    let keys = vec![Key::client("main", VENDOR_KEY)];
    let latency = Latency { least: latency, most: latency };
    Emulator::start(Options { keys, latency, ..Options::default() }).await.unwrap()
}

async fn reloads(weir: &Weir, config: &str) -> serde_json::Value {
    weir.rewrite(config);
    let reply = weir.admin().post_json("/api/v1/reload", "{}").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

/// Another address is another vendor: it is asked from now on, nothing that the old one said
/// is given any more, what was under way there is answered; the account's books stay.
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_moves_is_asked_at_its_new_place() {
    let (old, new) = (vendor(Duration::from_millis(600)).await, vendor(Duration::ZERO).await);
    let at = |vendor: &Emulator, dialect: &str| {
        let text = catchpoint(&vendor.url(), LIMITS, &[("grafana", "web", "")]);
        text.replace("dialect = \"catchpoint\"", &format!("dialect = \"{dialect}\""))
    };
    let weir = Weir::start(&at(&old, "catchpoint"));
    let grafana = weir.caller(&token_of("grafana"));
    assert_eq!(grafana.get("/api/v2/nodes/all").await.price(), 1);
    assert_eq!(grafana.get("/api/v2/nodes/all").await.price(), 0);
    let under_way = tokio::spawn({
        let caller = grafana.clone();
        async move { caller.get("/api/v2/tests/alerts").await }
    });
    until("it is sent", || old.requests().len() == 2).await;
    reloads(&weir, &at(&new, "catchpoint")).await;
    assert_eq!(grafana.get("/api/v2/nodes/all").await.price(), 1, "what another vendor said is not given");
    assert_eq!(under_way.await.unwrap().status, 200);
    assert_eq!((old.requests().len(), new.requests().len()), (2, 1));
    // Another dialect, at the same place: other words, the same books.
    let forbidden = grafana.ask(Method::DELETE, "/api/v2/tests/1", &[], "").await;
    assert!(forbidden.json()["errors"].is_array(), "{forbidden:?}");
    reloads(&weir, &at(&new, "generic")).await;
    let forbidden = grafana.ask(Method::DELETE, "/api/v2/tests/1", &[], "").await;
    assert!(forbidden.status == 403 && !forbidden.json()["errors"].is_array(), "{forbidden:?}");
    let asked = grafana.get("/api/v2/nodes/all").await;
    assert_eq!(asked.price(), 1, "{asked:?}");
    let status = weir.status().await;
    let minute =
        status["limits"].as_array().unwrap().iter().find(|limit| limit["name"] == "minute").unwrap().clone();
    assert_eq!(minute["used"], 4, "{minute}");
    assert_eq!((old.refused(), new.refused()), (0, 0));
    weir.stop();
}

/// What is asked of an upstream after a reload has taken it out is in the history all the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_goes_leaves_its_last_usage() {
    let (slow, other) = (vendor(Duration::from_millis(600)).await, vendor(Duration::ZERO).await);
    let both = catchpoint(&slow.url(), LIMITS, &[("grafana", "web", "")]);
    let weir = Weir::start(&both);
    let grafana = weir.caller(&token_of("grafana"));
    let under_way = tokio::spawn(async move { grafana.get("/api/v2/nodes/all").await });
    until("it is sent", || slow.requests().len() == 1).await;
    let rest = catchpoint(&other.url(), LIMITS, &[("grafana", "web", "")]);
    reloads(&weir, &rest.replace("catchpoint]", "other]").replace("catchpoint.", "other.")).await;
    assert_eq!(under_way.await.unwrap().status, 200);
    let usage = weir.admin().get("/api/v1/usage?by=consumer").await.json();
    assert_eq!((&usage["total"]["asked"], &usage["total"]["paid"]), (&1.into(), &1.into()), "{usage}");
    weir.stop();
}

/// The first upstream whose clients exchange tokens may come later; the key that signs them
/// then stays until a restart, and that is said.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_issued_from_the_reload_on_that_brings_the_first_who_wants_them() {
    let keys = vec![Key::client("acme", "acme:s3cret/of+the=vendor")];
    let options =
        Options { vendor: Vendor::CatchpointV1, keys, limits: Some(Vec::new()), ..Options::default() };
    let (vendor, first) = (Emulator::start(options).await.unwrap(), vendor(Duration::ZERO).await);
    let only = catchpoint(&first.url(), "mount = \"/v2\"\n", &[("grafana", "web", "")]);
    let weir = Weir::start(&only);
    let more = format!(
        "[upstreams.legacy]\ndialect = \"catchpoint-v1\"\nurl = \"{}\"\nmount = \"/v1\"\n\
         keys.main = {{ client_id = \"acme\", client_secret = \"s3cret/of+the=vendor\" }}\n\
         [consumers.web]\n{}\naccess.legacy = {{}}\n",
        vendor.url(),
        hash_line(&token_of("web")),
    );
    assert_eq!(reloads(&weir, &format!("{only}\n{more}")).await["needs_restart"], serde_json::json!([]));
    let nobody = crate::support::Caller::at(format!("http://{}", weir.address()), None);
    let form = format!("grant_type=client_credentials&client_id=web&client_secret={}", token_of("web"));
    let form = form.replace('+', "%2B").replace('/', "%2F").replace("==", "%3D%3D");
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let issued = nobody.ask(Method::POST, "/v1/ui/api/token", &[kind], &form).await;
    assert_eq!(issued.status, 200, "{issued:?}");
    let web = weir.caller(issued.json()["access_token"].as_str().unwrap());
    assert_eq!(web.get("/v1/ui/api/v1/nodes").await.status, 200);
    let key = "server.token_key = \"0123456789abcdef0123456789abcdef\"\n";
    let told = reloads(&weir, &format!("{key}{only}\n{more}")).await["needs_restart"].clone();
    assert_eq!(told, serde_json::json!(["server.token_key has changed: that holds after a restart"]));
    assert_eq!(web.get("/v1/ui/api/v1/tests").await.status, 200, "what was issued is still good");
    weir.stop();
}
