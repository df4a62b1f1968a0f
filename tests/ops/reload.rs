//! Another configuration under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use weir::clock::Clock;
use weir::emulator::{Emulator, Key, Latency, Limit, Options};

use crate::support::{VENDOR_KEY, Weir, catchpoint, token_of, until};

const WINDOW: Duration = Duration::from_secs(1);

/// What the vendor counts; every good config below stays within it.
const LIMITS: &str = "timeout = \"2s\"\nlinger = \"1s\"\nmax_wait = \"20s\"\n[upstreams.catchpoint.limits]\n\
                      second = \"500/1s\"\nhour = false\nday = false\n";

async fn vendor() -> Emulator {
    Emulator::start(Options {
        keys: vec![Key::client("main", VENDOR_KEY)],
        limits: Some(vec![Limit::address(500, WINDOW), Limit::analytic(60, WINDOW)]),
        latency: Latency { least: Duration::from_millis(1), most: Duration::from_millis(10) },
        ..Options::default()
    })
    .await
    .unwrap()
}

fn with(vendor: &Emulator, limits: &str, consumers: &[(&str, &str, &str)]) -> String {
    catchpoint(&vendor.url(), &format!("{LIMITS}{limits}"), consumers)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_reloads_under_load_fail_no_request_and_keep_the_laws() {
    let (clock, vendor) = (Clock::system(), vendor().await);
    let both = [("grafana", "web", ""), ("terraform", "ops", "")];
    let good = [
        with(&vendor, "minute = \"60/1s\"", &both),
        with(&vendor, "minute = \"50/1s\"\nextra = \"300/10s\"", &[both[1], both[0], ("late", "web", "")]),
        with(&vendor, "minute = \"60/1s\"", &[("grafana", "ops", "share = \"70%\""), both[1]]),
        format!(
            "{}\n[upstreams.catchpoint.divisions.spare]\nkey = \"main\"\n",
            with(&vendor, "minute = \"60/2s\"", &both)
        ),
    ];
    let broken = ["[upstreams.catchpoint]\ndialect = \"cathpoint\"\n", "this is no TOML", ""];
    let weir = Weir::start(&good[0]);
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers = (0..6).map(|number| {
        let caller = weir.caller(&token_of(if number % 2 == 0 { "grafana" } else { "terraform" }));
        let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
        tokio::spawn(async move {
            let mut wrong = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let id = asked.fetch_add(1, Ordering::Relaxed);
                let reply = caller.get(&format!("/api/v2/nodes/all?name=n{id}")).await;
                if reply.status != 200 {
                    wrong.push(format!("{reply:?}"));
                }
            }
            wrong
        })
    });
    let callers: Vec<_> = callers.collect();
    let admin = weir.admin();
    for number in 0..100 {
        let is_broken = number % 3 == 1;
        weir.rewrite(if is_broken { broken[number % broken.len()] } else { &good[number % good.len()] });
        let reply = admin.post_json("/api/v1/reload", "{}").await;
        let wanted = if is_broken { 409 } else { 200 };
        assert_eq!(reply.status.as_u16(), wanted, "{reply:?}");
        clock.sleep_until(clock.now() + Duration::from_millis(30)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        assert_eq!(caller.await.unwrap(), Vec::<String>::new());
    }
    assert_eq!(vendor.refused(), 0);
    let counted = vendor.tallies()[1].counted;
    println!("100 reloads, {} requests, {counted} counted by the vendor", asked.load(Ordering::Relaxed));
    assert!(counted >= 60, "hardly anything was asked: {counted}");
    let metrics = admin.get("/metrics").await;
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    // The watch on the file may have seen some of them as well.
    let count = |result: &str| {
        let prefix = format!("weir_reloads_total{{result=\"{result}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&prefix)?.parse::<f64>().ok()).unwrap()
    };
    assert!(count("ok") >= 67.0 && count("failed") >= 33.0, "{text}");
    // Both consumers' requests are still told apart, over all plans.
    let usage = admin.get("/api/v1/usage?by=consumer").await.json();
    assert_eq!(usage["total"]["asked"], asked.load(Ordering::Relaxed), "{usage}");
    weir.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_config_changes_nothing_and_every_mistake_is_told() {
    let vendor = vendor().await;
    let weir = Weir::start(&with(&vendor, "", &[("grafana", "web", "")]));
    let (admin, grafana) = (weir.admin(), weir.caller(&token_of("grafana")));
    weir.rewrite("[upstreams.catchpoint]\ndialect = \"cathpoint\"\nurl = \"ftp://x\"\n");
    let reply = admin.post_json("/api/v1/reload", "{}").await;
    assert_eq!(reply.status, 409);
    let mistakes = reply.json()["mistakes"].as_array().unwrap().clone();
    assert!(mistakes.len() >= 2, "{mistakes:?}");
    assert!(mistakes.iter().any(|m| m.as_str().unwrap().contains("dialect")), "{mistakes:?}");
    assert_eq!(grafana.get("/api/v2/tests/alerts").await.status, 200);
    assert_eq!(admin.get("/api/v1/status").await.json()["reloads"]["last_was_refused"], true);
    // A form of another site cannot ask for it.
    let form = admin.ask(http::Method::POST, "/api/v1/reload", &[("content-type", "text/plain")], "{}").await;
    assert_eq!(form.status, 415);
    weir.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_come_and_go_and_what_was_spent_stays_spent() {
    let vendor = vendor().await;
    let one = |minute: &str, consumers: &[(&str, &str, &str)]| {
        let more = format!(
            "minute = \"{minute}\"\nextra = {{ requests = 1000, per = \"1h\", routes = \"analytic\" }}"
        );
        with(&vendor, &more, consumers)
    };
    let weir = Weir::start(&one("10/60s", &[("grafana", "web", "")]));
    let (admin, grafana) = (weir.admin(), weir.caller(&token_of("grafana")));
    for number in 0..6 {
        assert_eq!(grafana.get(&format!("/api/v2/nodes/all?name=a{number}")).await.status, 200);
    }
    assert_eq!(weir.caller(&token_of("late")).get("/api/v2/nodes/all").await.status, 401);
    // By SIGHUP this time; and the listener cannot be moved live.
    let more = one("8/60s", &[("late", "web", ""), ("terraform", "web", "")]);
    weir.rewrite(&format!("[server]\nshutdown_grace = \"7s\"\n{more}"));
    weir.signal(rustix::process::Signal::HUP);
    until("it is reloaded", || weir.output().contains("reloaded: the new configuration holds")).await;
    weir.says("server.shutdown_grace has changed: that holds after a restart").await;
    assert_eq!(grafana.get("/api/v2/nodes/all?name=b").await.status, 401, "its consumer is gone");
    let late = weir.caller(&token_of("late"));
    let now = [("prefer", "wait=0")];
    for number in 0..2 {
        assert_eq!(late.get_with(&format!("/api/v2/nodes/all?name=c{number}"), &now).await.status, 200);
    }
    let refused = late.get_with("/api/v2/nodes/all?name=d", &now).await;
    assert_eq!(refused.status, 429, "6 of 8 were spent by one who is gone, 2 since: {refused:?}");
    let status = admin.get("/api/v1/status").await.json();
    let limits = status["upstreams"][0]["limits"].as_array().unwrap().clone();
    let used = |name: &str| limits.iter().find(|limit| limit["name"] == name).unwrap()["used"].clone();
    assert_eq!((used("minute"), used("extra")), (8.into(), 8.into()));
    let usage = admin.get("/api/v1/usage?by=consumer").await.json();
    let rows: Vec<_> =
        usage["rows"].as_array().unwrap().iter().map(|row| row["consumer"].as_str().unwrap()).collect();
    assert_eq!(rows, ["grafana", "late"], "who is gone stays in the history: {usage}");
    assert_eq!(vendor.refused(), 0);
    weir.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_that_is_replaced_is_taken_up() {
    let vendor = vendor().await;
    let text = with(&vendor, "", &[("grafana", "web", "")]);
    let literal = format!("keys.main.value = \"{VENDOR_KEY}\"");
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, VENDOR_KEY).unwrap();
    let file = format!("keys.main.value = {{ file = \"{}\" }}", key.to_str().unwrap());
    let weir = Weir::start(&text.replace(&literal, &file));
    let grafana = weir.caller(&token_of("grafana"));
    assert_eq!(grafana.get("/api/v2/nodes/all?name=a").await.status, 200);
    vendor.issue(Key::client("next", "another-key"));
    assert!(vendor.revoke("main"));
    let draft = folder.path().join("draft");
    std::fs::write(&draft, "another-key").unwrap();
    std::fs::rename(draft, &key).unwrap();
    until("the file is read again", || weir.output().contains("a file has changed")).await;
    assert_eq!(grafana.get("/api/v2/nodes/all?name=b").await.status, 200);
    assert!(!weir.output().contains("another-key"));
    weir.stop();
}
