//! Answers that are kept, and in which forms they are given again.

use http::Method;
use weir::emulator::{Coding, NotFound, Options};

use super::{canned, consumer, echo, front, generic, vendor, vendor_with};
use crate::support::{Weir, catchpoint, token_of};

const LIST: &str = "/api/v2/tests?pageSize=5";

#[tokio::test]
async fn one_fetch_answers_whole_head_part_and_condition() {
    let vendor = echo().await;
    let fields = [("etag", "\"v1\""), ("cache-control", "max-age=60"), ("content-type", "text/plain")];
    vendor.script("/doc", canned(200, &fields, "0123456789")).unwrap();
    let weir = Weir::start(&(generic("echo", &vendor, "") + &consumer("all", &["echo"])));
    let all = weir.caller(&token_of("all"));
    // Also the first caller's own condition and range are answered here.
    let cold = all.get_with("/doc", &[("if-none-match", "\"v1\"")]).await;
    assert_eq!((cold.status.as_u16(), cold.price(), cold.body.len()), (304, 1, 0));
    let (get, head) = (Method::GET, Method::HEAD);
    for (method, field, status, body) in [
        (&get, ("x-none", "1"), 200, "0123456789"),
        (&head, ("x-none", "1"), 200, ""),
        (&get, ("if-none-match", "W/\"v1\", \"v0\""), 304, ""),
        (&get, ("if-none-match", "\"v0\""), 200, "0123456789"),
        (&get, ("range", "bytes=2-4"), 206, "234"),
        (&get, ("range", "bytes=-3"), 206, "789"),
        (&get, ("range", "bytes=10-"), 416, ""),
        (&get, ("range", "bytes=0-1,4-5"), 200, "0123456789"),
        (&head, ("range", "bytes=2-4"), 200, ""),
    ] {
        let reply = all.ask(method.clone(), "/doc", &[field], "").await;
        assert_eq!((reply.status.as_u16(), &reply.body[..]), (status, body.as_bytes()), "{method} {field:?}");
        assert_eq!((reply.price(), reply.header("etag")), (0, "\"v1\""), "{field:?}");
        let range = reply.header("content-range");
        assert_eq!(range.starts_with("bytes "), matches!(status, 206 | 416), "{field:?}: {range}");
    }
    assert_eq!(vendor.requests().len(), 1);
}

#[tokio::test]
async fn a_head_alone_is_asked_as_a_head() {
    let vendor = vendor().await;
    let (_weir, grafana) = front(&vendor, "");
    let cold = grafana.ask(Method::HEAD, LIST, &[], "").await;
    assert_eq!((cold.status.as_u16(), cold.price(), cold.body.len()), (200, 1, 0));
    assert_eq!(vendor.requests()[0].method, Method::HEAD);
    let whole = grafana.get(LIST).await;
    assert_eq!((whole.status.as_u16(), whole.price()), (200, 1), "a HEAD leaves nothing to give to a GET");
    assert!(!whole.body.is_empty());
    let warm = grafana.ask(Method::HEAD, LIST, &[], "").await;
    assert_eq!((warm.price(), warm.header("content-length")), (0, whole.body.len().to_string().as_str()));
}

#[tokio::test]
async fn after_a_write_a_read_is_fresh() {
    let vendor = vendor().await;
    let allow = "allow = [\"* /api/v2/**\"]";
    let weir = Weir::start(&catchpoint(
        &vendor.url(),
        super::ROOMY,
        &[("terraform", "web", allow), ("grafana", "web", "")],
    ));
    let (terraform, grafana) = (weir.caller(&token_of("terraform")), weir.caller(&token_of("grafana")));
    let paths = ["/api/v2/tests/100001", "/api/v2/tests/100001,100002", LIST, "/API/v2/Tests/100001/"];
    for path in paths {
        assert_eq!(grafana.get(path).await.json()["completed"], true, "{path}");
    }
    let untouched = grafana.get("/api/v2/nodes").await;
    assert_eq!(untouched.price(), 1);
    let patch = r#"[{"op":"replace","path":"/name","value":"renamed"}]"#;
    let json = [("content-type", "application/json")];
    let written = terraform.ask(Method::PATCH, paths[0], &json, patch).await;
    assert_eq!((written.json()["completed"].as_bool(), written.price()), (Some(true), 1));
    for path in paths {
        let read = grafana.get(path).await;
        assert_eq!(
            (read.price(), read.json().to_string().contains("renamed")),
            (1, path != LIST || read.json().to_string().contains("renamed")),
            "{path}"
        );
    }
    assert_eq!(grafana.get("/api/v2/nodes").await.price(), 0);
}

#[tokio::test]
async fn what_is_not_complete_is_not_kept() {
    for not_found in [NotFound::Ok, NotFound::BadRequest] {
        let vendor = vendor_with(Options { not_found, ..Options::default() }).await;
        let (_weir, grafana) =
            front(&vendor, "[[upstreams.catchpoint.cache]]\nmatch = \"GET /**\"\nttl = \"1h\"\n");
        for _ in 0..2 {
            let missing = grafana.get("/api/v2/tests/999").await;
            assert_eq!((missing.json()["completed"].as_bool(), missing.price()), (Some(false), 1));
        }
        assert_eq!(vendor.requests().len(), 2);
    }
}

#[tokio::test]
async fn gzip_between_weir_and_vendor_is_weirs_affair() {
    let vendor = vendor_with(Options { coding: Coding::Gzip, ..Options::default() }).await;
    let (_weir, grafana) = front(&vendor, "");
    let plain = grafana.get_with(LIST, &[("accept-encoding", "identity")]).await;
    let again = grafana.get_with(LIST, &[("accept-encoding", "deflate")]).await;
    assert_eq!(vendor.requests()[0].header("accept-encoding"), Some("gzip"));
    for reply in [&plain, &again] {
        assert_eq!((reply.header("content-encoding"), reply.json()["completed"].as_bool()), ("", Some(true)));
    }
    assert_eq!((again.price(), &again.body), (0, &plain.body));
}

/// `keeping(None)`: a screenshot is no envelope, so nothing says that it is whole
/// and final, and it is asked for each time.
#[tokio::test]
async fn what_is_no_envelope_passes_and_is_not_kept() {
    let vendor = echo().await;
    let fields = [("content-type", "image/png"), ("cache-control", "max-age=60")];
    let path = "/api/v2/tests/records/waterfall/screenshot/abc";
    vendor.script(path, canned(200, &fields, "\u{89}PNG usageLimits")).unwrap();
    let (_weir, grafana) = front(&vendor, "");
    for _ in 0..2 {
        let reply = grafana.get(path).await;
        assert_eq!((reply.price(), &reply.body[..]), (1, "\u{89}PNG usageLimits".as_bytes()));
        assert_eq!(reply.header("cache-status"), "weir;fwd=uri-miss;fwd-status=200;detail=dialect");
    }
}
