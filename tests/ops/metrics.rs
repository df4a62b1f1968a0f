//! Metrics as Prometheus reads them, and how many there are at most.

use std::io::Write;
use std::process::{Command, Stdio};

use weir::emulator::{Emulator, Key, Options};

use crate::support::{VENDOR_KEY, Weir, catchpoint, hash_line, token_of};

async fn vendor() -> Emulator {
    let keys = vec![Key::client("main", VENDOR_KEY)];
    Emulator::start(Options { keys, ..Options::default() }).await.unwrap()
}

/// What Prometheus's own parser says of `text`.
fn checked(text: &str) {
    // promtool reads the older format: no `# EOF`, no units, and a counter's family is
    // named with `_total`.
    let counters: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut plain = String::new();
    for line in text.lines().filter(|line| !line.starts_with("# EOF") && !line.starts_with("# UNIT")) {
        let mut words: Vec<_> = line.splitn(4, ' ').map(str::to_owned).collect();
        if words[0] == "#" && counters.contains(&words[2].as_str()) {
            words[2].push_str("_total");
        }
        plain.push_str(&words.join(" "));
        plain.push('\n');
    }
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = command.spawn().expect("promtool is there: see tests/run");
    promtool.stdin.take().unwrap().write_all(plain.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_alerts_need_is_there_and_parses() {
    let vendor = vendor().await;
    let more = "[[upstreams.catchpoint.keys.dated]]\nvalue = \"dated-key-one\"\nexpires = \"2099-01-31\"\n\
                [[upstreams.catchpoint.keys.dated]]\nvalue = \"dated-key-two\"\nexpires = \"2099-06-30\"\n\
                [upstreams.catchpoint.divisions.web]\nkey = \"main\"\nshare = \"60%\"\nreserve = \"10%\"\n";
    let weir = Weir::start(&catchpoint(&vendor.url(), more, &[("grafana", "web", "")]));
    let (admin, grafana) = (weir.admin(), weir.caller(&token_of("grafana")));
    assert_eq!(grafana.get("/api/v2/tests/alerts").await.status, 200);
    assert_eq!(grafana.get("/api/v2/tests/alerts").await.status, 200);
    let reply = admin.get("/metrics").await;
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    checked(&text);
    for line in [
        "weir_requests_total{upstream=\"catchpoint\",division=\"web\",consumer=\"grafana\",outcome=\"fresh\"} 1",
        "weir_price_total{upstream=\"catchpoint\",division=\"web\",consumer=\"grafana\"} 1",
        "weir_upstream_requests_total{upstream=\"catchpoint\",status=\"200\"} 1",
        "weir_upstream_sent_total{upstream=\"catchpoint\"} 1",
        "weir_upstream_refused_total{upstream=\"catchpoint\"} 0",
        "weir_upstream_let_be{upstream=\"catchpoint\"} 0",
        "weir_upstream_latency_seconds_count{upstream=\"catchpoint\"} 1",
        "weir_wait_seconds_count{upstream=\"catchpoint\"} 1",
        "weir_wait_seconds_bucket{le=\"0.005\",upstream=\"catchpoint\"}",
        "weir_budget_used{upstream=\"catchpoint\",node=\"account\",limit=\"minute\"} 1",
        "weir_budget_limit{upstream=\"catchpoint\",node=\"account\",limit=\"day\"} 2000",
        "weir_budget_free{upstream=\"catchpoint\",node=\"account\",limit=\"day\"} 1999",
        "weir_budget_held{upstream=\"catchpoint\",node=\"account\",limit=\"day\"}",
        "weir_budget_reset_seconds{upstream=\"catchpoint\",limit=\"day\"}",
        "weir_budget_window_seconds{upstream=\"catchpoint\",limit=\"day\"} 86400",
        "weir_queue_length{upstream=\"catchpoint\"} 0",
        "weir_division_waiting{upstream=\"catchpoint\",division=\"web\"} 0",
        "weir_division_waiting_below_share{upstream=\"catchpoint\",division=\"web\"} 0",
        "weir_division_waiting_with_reserve{upstream=\"catchpoint\",division=\"web\"} 0",
        "weir_key_expiry_seconds{upstream=\"catchpoint\",key=\"dated\"}",
        "weir_key_refused{upstream=\"catchpoint\",key=\"main\",value=\"1\"} 0",
        "weir_cache_bytes",
        "weir_cache_entries 1",
        "weir_store_up 1",
        "weir_reloads_total{result=\"ok\"} 0",
        "weir_config_last_reload_successful 1",
        "weir_build_info{version=",
    ] {
        assert!(text.lines().any(|is| is.starts_with(line)), "no {line} in\n{text}");
    }
    for secret in [VENDOR_KEY, "dated-key-one", "dated-key-two", &token_of("grafana")] {
        assert!(!text.contains(secret));
    }
    let keys = admin.get("/api/v1/status").await.json()["upstreams"][0]["keys"].clone();
    let dated = keys.as_array().unwrap().iter().find(|key| key["name"] == "dated").unwrap();
    assert_eq!(
        (&dated["values"][0]["is_in_use"], &dated["values"][1]["is_in_use"]),
        (&true.into(), &false.into())
    );
    assert!(dated["values"][1]["days_left"].as_u64() > dated["values"][0]["days_left"].as_u64());
    weir.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_consumers_make_a_bounded_page() {
    let vendor = vendor().await;
    let mut text = catchpoint(&vendor.url(), "[upstreams.catchpoint.divisions.web]\nkey = \"main\"\n", &[]);
    for number in 0..10_000 {
        let token = hash_line(&token_of(&format!("c{number}")));
        text.push_str(&format!("[consumers.c{number}]\n{token}\naccess.catchpoint.division = \"web\"\n"));
    }
    let weir = Weir::start(&text);
    for number in (0..10_000).step_by(97) {
        let caller = weir.caller(&token_of(&format!("c{number}")));
        assert_eq!(caller.get("/api/v2/tests/alerts").await.status, 200);
    }
    let reply = weir.admin().get("/metrics").await;
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    checked(&text);
    let requests = text.lines().filter(|line| line.starts_with("weir_requests_total")).count();
    let asked: f64 = text
        .lines()
        .filter(|line| line.starts_with("weir_requests_total"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    println!(
        "10,000 consumers: {} series, {} bytes",
        text.lines().filter(|l| !l.starts_with('#')).count(),
        text.len()
    );
    assert_eq!(asked, 104.0, "whoever has no label of its own is counted as _other");
    assert!(text.contains("consumer=\"_other\""));
    assert!(requests <= 502 * 9 && text.len() < 1 << 20, "{} bytes", text.len());
    weir.stop();
}
