//! A real headless Chromium, driven by WebDriver (W3C) through its chromedriver.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use http::{Method, Request};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Caller, until_async};

/// One browser window; it closes when this is dropped.
pub(super) struct Browser {
    driver: Child,
    caller: Caller,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts both; `width` and `height` are of the window, in CSS pixels.
    pub(super) async fn start(width: u32, height: u32) -> Self {
        let mut driver = Command::new("chromedriver")
            .args(["--port=0", "--log-level=SEVERE"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed by tests/run");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let started = lines.find_map(|line| {
            let line = line.unwrap();
            let port = line.split("successfully on port ").nth(1)?;
            Some(port.trim_end_matches('.').parse::<u16>().unwrap())
        });
        let caller = Caller::at(format!("http://127.0.0.1:{}", started.unwrap()), None);
        let profile = tempfile::tempdir().unwrap();
        let mut args: Vec<String> = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--force-device-scale-factor=1",
        ]
        .map(str::to_owned)
        .into();
        args.push(format!("--window-size={width},{height}"));
        args.push(format!("--user-data-dir={}", profile.path().display()));
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": args },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let mut browser = Self { driver, caller, session: String::new(), _profile: profile };
        let made = browser.post("", wanted).await;
        browser.session = made["sessionId"].as_str().unwrap().to_owned();
        browser
    }

    pub(super) async fn open(&self, url: &str) {
        self.post("/url", json!({ "url": url })).await;
    }

    /// The value of a JavaScript expression in the page.
    pub(super) async fn eval(&self, expression: &str) -> Value {
        let script = format!("return ({expression});");
        self.post("/execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Waits until an expression is true, for as long as tests wait for anything.
    pub(super) async fn until(&self, expression: &str) {
        until_async(expression, || async { self.eval(expression).await == Value::Bool(true) }).await;
    }

    /// Types into the element that has the focus.
    pub(super) async fn keys(&self, text: &str) {
        let keys = text.chars().flat_map(|key| {
            ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
        });
        let keys: Vec<Value> = keys.collect();
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": keys }] });
        self.post("/actions", actions).await;
    }

    /// What a person's settings and screen are like.
    pub(super) async fn pretend(&self, command: &str, params: Value) {
        self.post("/goog/cdp/execute", json!({ "cmd": command, "params": params })).await;
    }

    /// Saves what is seen under `target/dashboard/`, for people to look at.
    #[allow(clippy::print_stdout, reason = "says where to look")]
    pub(super) async fn screenshot(&self, name: &str) {
        let picture = self.request(Method::GET, "/screenshot", None).await;
        let bytes = base64::engine::general_purpose::STANDARD.decode(picture.as_str().unwrap()).unwrap();
        assert!(bytes.len() > 10_000, "{name} shows nothing: {} bytes", bytes.len());
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../dashboard");
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{name}.png"));
        std::fs::write(&file, bytes).unwrap();
        println!("screenshot: {}", file.display());
    }

    /// What the page complained of in its console, worse than a warning.
    pub(super) async fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", json!({ "type": "browser" })).await;
        let severe = log.as_array().unwrap().iter().filter(|entry| entry["level"] == "SEVERE");
        severe.map(|entry| entry["message"].to_string()).collect()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.request(Method::POST, path, Some(body)).await
    }

    async fn request(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let session = if self.session.is_empty() { String::new() } else { format!("/{}", self.session) };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/session{session}{path}", self.caller.base()))
            .header("content-type", "application/json")
            .body(body.map(|body| body.to_string()).unwrap_or_default().into())
            .unwrap();
        let reply = self.caller.send(request).await.unwrap();
        let answer = reply.json();
        assert!(reply.status.is_success(), "{path}: {answer}");
        answer["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // chromedriver leaves its browser behind when it is ended: the browser is told first.
        if !self.session.is_empty() {
            let _ = self.quit();
        }
        let pid = rustix::process::Pid::from_child(&self.driver);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.driver.wait();
    }
}

impl Browser {
    /// Ends the session, and with it the browser; waits for the answer, without a runtime.
    fn quit(&self) -> std::io::Result<usize> {
        let address = self.caller.base().trim_start_matches("http://").to_owned();
        let mut stream = TcpStream::connect(&address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "DELETE /session/{} HTTP/1.1\r\nHost: {address}\r\n\r\n", self.session)?;
        stream.read(&mut [0; 1_024])
    }
}
