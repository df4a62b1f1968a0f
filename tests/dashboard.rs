//! The operators' page, in a real browser: a demo that moves, dark mode, a phone, an admin token.

mod browser;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::{Weir, catchpoint};
use browser::Browser;

/// `weir demo`, which ends with the test.
struct Demo {
    process: Child,
    admin: String,
}

impl Demo {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["demo", "--seconds", "300"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let first = lines.find(|line| line.contains("http://")).unwrap();
        let admin = first.split("dashboard ").nth(1).unwrap().split([',', ' ']).next().unwrap();
        let admin = admin.trim_end_matches('/').to_owned();
        // It must not be held up by a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, admin }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It takes its folder away.
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
    }
}

const BARS: &str = "[...document.querySelectorAll('#limits [role=meter]')].map(bar => bar.getAttribute('aria-valuetext')).join()";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_a_running_demo() {
    let (demo, browser) = (Demo::start(), Browser::start(1280, 1600).await);
    browser.open(&format!("{}/", demo.admin)).await;
    browser.until("document.getElementById('state').textContent === 'live'").await;
    browser.until("document.querySelectorAll('#limits [role=meter]').length === 4").await;

    // Bars move.
    let before = browser.eval(BARS).await;
    browser.until(&format!("{BARS} !== {before}")).await;
    // A refusal appears, with its reason; the tree has every consumer; a picture is drawn.
    browser.until("document.querySelectorAll('#refusals tbody tr').length > 0").await;
    browser.until("document.querySelectorAll('#tree tr.consumer').length === 6").await;
    browser.until("document.querySelectorAll('#requests rect').length > 0").await;
    browser.until("document.querySelectorAll('#routes tbody tr').length > 0").await;
    browser.screenshot("light").await;

    // Sound for those who cannot see it.
    let nameless = "[...document.querySelectorAll('[role=meter],svg[role=img]')].filter(e => !e.getAttribute('aria-label')).length";
    assert_eq!(browser.eval(nameless).await, 0);
    let scopeless = "[...document.querySelectorAll('th')].filter(e => !e.scope).length";
    assert_eq!(browser.eval(scopeless).await, 0);
    browser.keys("\u{e004}").await;
    assert_eq!(
        browser.eval("document.activeElement.className").await,
        "skip",
        "Tab leads to the skip link first"
    );

    // Dark, because the reader's system is.
    let ground = "getComputedStyle(document.body).backgroundColor";
    let light = browser.eval(ground).await;
    let dark = json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] });
    browser.pretend("Emulation.setEmulatedMedia", dark).await;
    assert_ne!(browser.eval(ground).await, light);
    browser.screenshot("dark").await;

    // On a phone nothing has to be scrolled sideways but wide tables in themselves.
    let phone = json!({ "width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": true });
    browser.pretend("Emulation.setDeviceMetricsOverride", phone).await;
    browser.until("document.documentElement.scrollWidth <= 390").await;
    browser.screenshot("phone").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_token_is_asked_for() {
    let config = catchpoint("http://127.0.0.1:9", "", &[("grafana", "web", "")]);
    let config = format!("admin.token = \"right-token-0123456789\"\n{config}");
    let (weir, browser) = (Weir::start(&config), Browser::start(1000, 800).await);
    browser.open(&format!("{}/", weir.admin().base())).await;
    browser.until("!document.getElementById('sign-in').hidden").await;
    assert_eq!(browser.eval("document.getElementById('figures').hidden").await, true);
    assert_eq!(browser.eval("document.activeElement.id").await, "token");

    browser.keys("wrong-token\u{e007}").await;
    browser.until("document.getElementById('sign-in-error').textContent.includes('not this weir')").await;
    browser.screenshot("wrong-token").await;

    browser.keys("right-token-0123456789\u{e007}").await;
    browser.until("document.getElementById('state').textContent === 'live'").await;
    browser.until("!document.getElementById('figures').hidden").await;
    // It is in no address and outlives no browser.
    let kept = "location.href + JSON.stringify(localStorage) + document.cookie";
    let kept = browser.eval(kept).await;
    assert!(!kept.as_str().unwrap().contains("right-token"), "{kept}");
}
