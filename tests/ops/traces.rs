//! Traces as a collector gets them: its side is read with the published types.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use weir::clock::Clock;

use crate::support::{Caller, Weir, hash_line, token_of, until};

const KEY: &str = "vendor-key-never-told";

/// A server that remembers what it is sent, as vendor or as collector.
#[derive(Clone, Default)]
struct Recorder {
    seen: Arc<Mutex<Vec<Request<Bytes>>>>,
    /// What it answers, if not 200.
    status: Arc<Mutex<StatusCode>>,
}

impl Recorder {
    async fn start() -> (Self, String) {
        let recorder = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let serving = recorder.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let recorder = serving.clone();
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(move |request| recorder.clone().answer(request));
                    let connection = hyper::server::conn::http1::Builder::new();
                    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        (recorder, base)
    }

    async fn answer(
        self,
        request: Request<hyper::body::Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        if head.uri.path() == "/slow" {
            // Real time: long enough for two callers to meet.
            let clock = Clock::system();
            clock.sleep_until(clock.now() + Duration::from_millis(500)).await;
        }
        self.seen.lock().unwrap().push(Request::from_parts(head, body));
        let answer = Response::builder().status(*self.status.lock().unwrap());
        Ok(answer.header("cache-control", "max-age=60").body(Full::from("{}")).unwrap())
    }

    fn vendor_saw(&self, method: &Method, path: &str) -> Request<Bytes> {
        let seen = self.seen.lock().unwrap();
        seen.iter().find(|r| r.method() == *method && r.uri().path() == path).unwrap().clone()
    }

    /// All spans that came, and with what resource.
    fn spans(&self) -> Vec<Span> {
        let seen = self.seen.lock().unwrap();
        let mut spans = Vec::new();
        for request in seen.iter() {
            assert_eq!((request.method(), request.uri().path()), (&Method::POST, "/v1/traces"));
            assert_eq!(request.headers()["content-type"], "application/x-protobuf");
            assert_eq!(request.headers()["x-team"], "platform");
            let batch = ExportTraceServiceRequest::decode(request.body().clone()).unwrap();
            for of_resource in batch.resource_spans {
                let about = attributes(&of_resource.resource.unwrap().attributes);
                assert_eq!((&*about["service.name"], about["service.instance.id"].len()), ("edge", 16));
                spans.extend(of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
        }
        spans
    }
}

fn attributes(of: &[opentelemetry_proto::tonic::common::v1::KeyValue]) -> BTreeMap<String, String> {
    let one = |pair: &opentelemetry_proto::tonic::common::v1::KeyValue| {
        let value = match pair.value.as_ref().unwrap().value.as_ref().unwrap() {
            Value::StringValue(text) => text.clone(),
            Value::IntValue(number) => number.to_string(),
            other => panic!("{other:?}"),
        };
        (pair.key.clone(), value)
    };
    of.iter().map(one).collect()
}

/// One trace as `name <- parent's name`, in the order in which spans began.
fn tree(spans: &[Span], trace: u128) -> Vec<String> {
    let mut of_trace: Vec<_> = spans.iter().filter(|s| s.trace_id == trace.to_be_bytes()).collect();
    of_trace.sort_by_key(|span| span.start_time_unix_nano);
    let name = |id: &[u8]| {
        of_trace.iter().find(|span| span.span_id == id).map_or("the caller", |span| span.name.as_str())
    };
    of_trace.iter().map(|span| format!("{} <- {}", span.name, name(&span.parent_span_id))).collect()
}

fn one<'s>(spans: &'s [Span], trace: u128, name: &str) -> &'s Span {
    let is_it = |span: &&Span| span.trace_id == trace.to_be_bytes() && span.name == name;
    let found: Vec<_> = spans.iter().filter(is_it).collect();
    assert_eq!(found.len(), 1, "{name} in {:?}", tree(spans, trace));
    found[0]
}

fn parent(trace: u128, flags: &str) -> String {
    format!("00-{trace:032x}-00000000000000ff-{flags}")
}

fn config(vendor: &str, collector: &str) -> String {
    format!(
        "[telemetry]\notlp = {{ endpoint = \"{collector}\", sample = 0.000001, service = \"edge\", \
         headers = {{ x-team = \"platform\" }} }}\n\
         [upstreams.api]\ndialect = \"generic\"\nurl = \"{vendor}\"\nlimits.minute = \"100/1m\"\n\
         keys.main.value = \"{KEY}\"\n\
         [consumers.grafana]\n{}\naccess.api.allow = [\"* /**\"]\n",
        hash_line(&token_of("grafana"))
    )
}

async fn asked(caller: &Caller, method: Method, path: &str, traceparent: &str) {
    let reply = caller.ask(method, path, &[("traceparent", traceparent)], "").await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miss_and_a_hit_are_told_stage_by_stage() {
    let ((vendor, url), (collector, to)) = (Recorder::start().await, Recorder::start().await);
    let weir = Weir::start(&config(&url, &to));
    let grafana = weir.caller(&token_of("grafana"));
    asked(&grafana, Method::GET, "/things/17?secret=in-the-query", &parent(1, "01")).await;
    asked(&grafana, Method::GET, "/things/17?secret=in-the-query", &parent(2, "01")).await;
    asked(&grafana, Method::GET, "/things/18", &parent(3, "00")).await;
    asked(&grafana, Method::POST, "/things", &parent(4, "01")).await;
    // A stranger's word is not enough.
    let stranger = weir.caller("no-token-of-anybody");
    let refused = stranger.get_with("/things/17", &[("traceparent", &parent(5, "01"))]).await;
    assert_eq!(refused.status, 401);
    let output = weir.stop();
    let spans = collector.spans();
    let fetch = ["fetch <- GET /things/*", "admit <- fetch", "sign <- fetch", "ready <- fetch"];
    let miss = tree(&spans, 1);
    for wanted in ["GET /things/* <- the caller", "send <- fetch", "store <- fetch"].iter().chain(&fetch) {
        assert!(miss.iter().any(|line| line == wanted), "no {wanted} in {miss:?}");
    }
    let stages = ["route", "identify", "lookup", "join", "answer"];
    for stage in stages {
        assert!(miss.contains(&format!("{stage} <- GET /things/*")), "no {stage} in {miss:?}");
    }
    assert_eq!(miss.len(), 12, "{miss:?}");
    let under: Vec<_> =
        ["route", "identify", "lookup", "answer"].map(|s| format!("{s} <- GET /things/*")).into();
    assert_eq!(tree(&spans, 2), [vec!["GET /things/* <- the caller".into()], under].concat());
    assert_eq!((tree(&spans, 3).len(), tree(&spans, 5).len()), (0, 0), "not to be traced");

    let root = one(&spans, 1, "GET /things/*");
    assert_eq!((root.kind, root.parent_span_id.as_slice()), (2, &[0, 0, 0, 0, 0, 0, 0, 0xff][..]));
    let about = attributes(&root.attributes);
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.route", "/things/*"),
        ("weir.consumer", "grafana"),
        ("weir.upstream", "api"),
        ("weir.outcome", "paid"),
        ("weir.price", "1"),
    ] {
        assert_eq!(about[key], value, "{about:?}");
    }
    assert_eq!(attributes(&one(&spans, 1, "lookup").attributes)["weir.found"], "miss");
    assert_eq!(attributes(&one(&spans, 2, "lookup").attributes)["weir.found"], "fresh");
    let send = one(&spans, 1, "send");
    assert_eq!((send.kind, &*attributes(&send.attributes)["server.address"]), (3, "127.0.0.1"));
    for span in &spans {
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{span:?}");
    }

    // What others may get is asked for in nobody's trace; what is for one goes on in its own.
    assert!(!vendor.vendor_saw(&Method::GET, "/things/17").headers().contains_key("traceparent"));
    let went_on = vendor.vendor_saw(&Method::POST, "/things").headers()["traceparent"].clone();
    let id: String = one(&spans, 4, "send").span_id.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(went_on, format!("00-{:032x}-{id}-01", 4));

    let told = format!("{spans:?}");
    for secret in [KEY, &token_of("grafana"), "in-the-query", "/things/17"] {
        assert!(!told.contains(secret), "{secret}");
    }
    assert!(output.contains(&format!("\"trace\":\"{:032x}\"", 2)), "the log names the trace");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_is_linked_to_the_fetch_it_waited_for() {
    let ((_vendor, url), (collector, to)) = (Recorder::start().await, Recorder::start().await);
    let weir = Weir::start(&config(&url, &to));
    let grafana = weir.caller(&token_of("grafana"));
    let (first, second) = (parent(1, "01"), parent(2, "01"));
    tokio::join!(
        asked(&grafana, Method::GET, "/slow", &first),
        asked(&grafana, Method::GET, "/slow", &second)
    );
    weir.stop();
    let spans = collector.spans();
    let fetches: Vec<_> = spans.iter().filter(|span| span.name == "fetch").collect();
    assert_eq!(fetches.len(), 1, "one request for both");
    let mut leads = Vec::new();
    for trace in [1, 2] {
        let join = one(&spans, trace, "join");
        assert_eq!(join.links.len(), 1);
        assert_eq!(
            (&join.links[0].trace_id, &join.links[0].span_id),
            (&fetches[0].trace_id, &fetches[0].span_id)
        );
        leads.push(attributes(&join.attributes)["weir.leads"].clone());
    }
    leads.sort();
    assert_eq!(leads, ["no", "yes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_fails_is_told_of_once_and_holds_up_nothing() {
    let ((_vendor, url), (collector, to)) = (Recorder::start().await, Recorder::start().await);
    *collector.status.lock().unwrap() = StatusCode::SERVICE_UNAVAILABLE;
    let weir = Weir::start(&config(&url, &to));
    let (grafana, admin) = (weir.caller(&token_of("grafana")), weir.admin());
    let batches = || collector.seen.lock().unwrap().len();
    let clock = Clock::system();
    for round in 1..=2 {
        let before = clock.now();
        asked(&grafana, Method::GET, "/things/17", &parent(round, "01")).await;
        assert!(clock.now().since(before) < Duration::from_secs(5));
        until("the collector is asked", || batches() >= usize::try_from(round).unwrap()).await;
    }
    let spans = |page: String, result: &str| {
        let line = format!("weir_trace_spans_total{{result=\"{result}\"}} ");
        let found = page.lines().find_map(|is| is.strip_prefix(&line)?.parse::<f64>().ok());
        found.unwrap_or_else(|| panic!("no {line} in {page}"))
    };
    let page = || async { String::from_utf8(admin.get("/metrics").await.body.to_vec()).unwrap() };
    *collector.status.lock().unwrap() = StatusCode::OK;
    asked(&grafana, Method::GET, "/things/17", &parent(3, "01")).await;
    weir.logged(|line| line["message"] == "the collector takes traces again").await;
    assert_eq!((spans(page().await, "lost"), spans(page().await, "sent")), (17.0, 5.0));
    let output = weir.stop();
    assert_eq!(output.matches("traces cannot be sent").count(), 1, "{output}");
}
