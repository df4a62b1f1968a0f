//! The line of each exchange.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{bearer, front, vendor};
use crate::support::{Wire, blocking_get, catchpoint, once, until};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test]
async fn an_answer_names_its_line() {
    let vendor = vendor().await;
    let (weir, grafana) = front(&vendor, "");
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let asked = [("traceparent", traceparent.as_str()), ("x-request-id", "of-the-caller")];
    let reply = grafana.get_with("/api/v2/tests/100001?secret=1", &asked).await;
    let id = reply.header("x-request-id");
    let line = weir.logged(|line| line["id"] == id).await.remove(0);
    for (field, want) in [
        ("consumer", "grafana"),
        ("upstream", "catchpoint"),
        ("method", "GET"),
        ("route", "/api/v2/tests/100001"),
        ("outcome", "paid"),
        ("reason", "uri-miss"),
        ("trace", TRACE),
    ] {
        assert_eq!(line[field], want, "{field}: {line}");
    }
    assert_eq!((&line["status"], &line["price"]), (&200.into(), &1.into()));
    assert!(line["upstream_ms"].as_f64().unwrap() > 0.0 && line["wait_ms"].is_number(), "{line}");
}

#[tokio::test]
async fn what_a_caller_writes_cannot_write_the_log() {
    let vendor = vendor().await;
    let (weir, _) = front(&vendor, "");
    for path in ["/a\u{9b}2J", "/a\u{202e}gnp", "/a\\n\"b", "/%0d%0a%1b[2J"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: weir\r\n{}\r\n", bearer("grafana"));
        let reply = once(weir.address(), request).await;
        assert_eq!(reply.status, 400, "{path:?}");
        weir.logged(|line| line["id"] == reply.header("x-request-id")).await;
    }
    let printed = weir.stop();
    assert!(printed.chars().all(|c| c == '\n' || (c.is_ascii() && !c.is_control())), "{printed:?}");
}

#[tokio::test]
async fn a_bad_trace_is_no_trace() {
    let vendor = vendor().await;
    let (weir, grafana) = front(&vendor, "");
    let reply = grafana.get_with("/api/v2/tests", &[("traceparent", "00-ABC\"}-1-01")]).await;
    let line = weir.logged(|line| line["id"] == reply.header("x-request-id")).await.remove(0);
    assert!(line["trace"].is_null(), "{line}");
}

#[tokio::test]
async fn a_stop_loses_no_line_and_tears_none() {
    let vendor = vendor().await;
    let (weir, grafana) = front(&vendor, "");
    for n in 0..200 {
        assert_eq!(grafana.get(&format!("/api/v2/tests/{}", n % 10)).await.status, 200);
    }
    let printed = weir.stop();
    let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let ids: Vec<_> =
        lines.iter().filter(|line| line["target"] == "weir::access").map(|line| &line["id"]).collect();
    assert_eq!(ids.len(), 200);
    // One caller asks one thing after another.
    assert!(ids.is_sorted_by_key(|id| id.as_str().unwrap()));
}

/// weir with a log that is read only as far as its addresses.
struct Unread {
    process: std::process::Child,
    log: BufReader<std::process::ChildStderr>,
    door: SocketAddr,
    admin: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Unread {
    fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("weir.toml");
        std::fs::write(&file, config).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["run", "--log", "json", "--config"])
            .arg(&file)
            .env("WEIR__SERVER__LISTEN", "127.0.0.1:0")
            .env("WEIR__ADMIN__LISTEN", "127.0.0.1:0")
            .env("WEIR__STORE__PATH", folder.path().join("data"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut address = |of: &str| loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "weir did not start");
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["message"] == of {
                break event["address"].as_str().unwrap().parse().unwrap();
            }
        };
        let (admin, door) = (address("admin listening"), address("listening"));
        Self { process, log, door, admin, _folder: folder }
    }

    /// More than may wait: long lines, of requests that are refused. Each has its answer.
    async fn ask_until_lines_are_lost(&self) {
        let request = format!("GET /{} HTTP/1.1\r\nHost: weir\r\n\r\n", "x".repeat(7_000));
        let mut wire = Wire::connect(self.door).await;
        for _ in 0..2_500 {
            wire.send(&request).await;
            assert!(wire.answer().await.status.is_client_error());
        }
        let metrics = blocking_get(self.admin, "/metrics");
        let lost = metrics.lines().find_map(|line| line.strip_prefix("weir_log_lines_lost_total "));
        let lost: f64 = lost.expect(&metrics).parse().unwrap();
        // 4 MiB wait, and what was under way: over 500 of these lines.
        assert!((1.0..2_000.0).contains(&lost), "{lost}");
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_whoever_reads_the_log() {
    let mut weir = Unread::start(&catchpoint("http://127.0.0.1:1", "", &[("grafana", "web", "")]));
    weir.ask_until_lines_are_lost().await;
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&weir.process),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    until("it ends, with its log unread", || weir.process.try_wait().unwrap().is_some()).await;
    let mut rest = String::new();
    weir.log.read_to_string(&mut rest).unwrap();
    // The last line was under way when it ended.
    let (whole, _) = rest.rsplit_once('\n').unwrap();
    assert!(
        whole.lines().count() > 1 && whole.lines().all(|line| serde_json::from_str::<Value>(line).is_ok())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_is_told_once_the_log_is_read_again() {
    let mut weir = Unread::start(&catchpoint("http://127.0.0.1:1", "", &[("grafana", "web", "")]));
    weir.ask_until_lines_are_lost().await;
    let told = tokio::task::spawn_blocking(move || {
        let (mut lines, mut line) = (0, String::new());
        loop {
            line.clear();
            assert!(weir.log.read_line(&mut line).unwrap() > 0, "weir has ended");
            let event: Value = serde_json::from_str(&line).expect(&line);
            lines += 1;
            if event["message"].as_str().is_some_and(|text| text.starts_with("log lines were lost")) {
                return (lines, event["lines"].as_u64().unwrap());
            }
        }
    });
    let (read, lost) = told.await.unwrap();
    assert!(read > 100 && lost > 0, "{read} {lost}");
}
