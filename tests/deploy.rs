//! What `deploy/` holds is right: rules that promtool accepts and has tried, and
//! no rule or panel that asks for a metric which weir does not have. `rendered`: chart,
//! compose file, image.

mod fleet;
mod rendered;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use weir::emulator::{Emulator, Key, Options};

use crate::support::{VENDOR_KEY, Weir, catchpoint, token_of};

/// What promtool tries the rules with.
const TESTS: [&str; 2] = ["alerts_test.yml", "alerts_days_test.yml"];

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)
}

#[test]
fn every_alert_rule_is_silent_and_loud_when_it_should_be() {
    for (what, file) in [("check", "alerts.yml"), ("test", TESTS[0]), ("test", TESTS[1])] {
        let run = Command::new("promtool").args([what, "rules"]).arg(deploy(file)).output();
        let run = run.expect("promtool is installed by tests/run");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
    }
    let names = |file: &str, word: &str| -> BTreeSet<String> {
        let text = std::fs::read_to_string(deploy(file)).unwrap();
        let after = text.split(word).skip(1);
        after.map(|rest| rest.trim_start().split([',', '\n']).next().unwrap().trim().to_owned()).collect()
    };
    let rules = names("alerts.yml", "- alert:");
    assert!(rules.len() > 10, "the rules were not found");
    let tested = TESTS.iter().flat_map(|file| names(file, "alertname:")).collect();
    assert_eq!(rules, tested, "each rule has its test");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_and_panels_ask_for_metrics_that_there_are() {
    let keys = vec![Key::client("main", VENDOR_KEY)];
    let vendor = Emulator::start(Options { keys, ..Options::default() }).await.unwrap();
    let config = catchpoint(&vendor.url(), "", &[("grafana", "web", "")]);
    let config =
        config.replace("keys.main.value = \"", "keys.main.expires = \"2099-01-01\"\nkeys.main.value = \"");
    let weir = Weir::start(&config);
    weir.caller(&token_of("grafana")).get("/api/v2/tests").await;
    let page = weir.admin().get("/metrics").await;
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    let there: BTreeSet<&str> = page
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    for file in ["alerts.yml", "grafana.json"] {
        let text = std::fs::read_to_string(deploy(file)).unwrap();
        let asked = names_of_metrics(&text);
        assert!(asked.len() > 5, "{file}: the metrics were not found");
        let missing: Vec<_> = asked.iter().filter(|name| !there.contains(name.as_str())).collect();
        assert!(missing.is_empty(), "{file} asks for {missing:?}, which are not in\n{page}");
    }
}

/// Every word that begins with `weir_` and stands where a metric can.
fn names_of_metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("weir_")).map(str::to_owned).collect()
}
