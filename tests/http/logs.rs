//! The line of each exchange.

use super::{bearer, front, vendor};
use crate::support::once;

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
    for path in ["/a\u{7f}\u{9b}2J", "/a\u{202e}gnp", "/a\\n\"b", "/%0d%0a%1b[2J"] {
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
