//! The API keeps what its description says; events flow; nothing leads here from outside.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use weir::emulator::{Emulator, Key, Options};

use crate::support::{VENDOR_KEY, Weir, catchpoint, token_of};

async fn vendor() -> Emulator {
    let keys = vec![Key::client("main", VENDOR_KEY)];
    Emulator::start(Options { keys, ..Options::default() }).await.unwrap()
}

/// Whether `value` has the form that `schema` describes; what differs, with its path.
fn mismatch(value: &Value, schema: &Value, all: &Value, path: &str) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        let known = &all["components"]["schemas"][name];
        assert!(known.is_object(), "{name} is not described");
        return mismatch(value, known, all, path);
    }
    for any in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[any].as_array() {
            let fits = choices.iter().any(|choice| mismatch(value, choice, all, path).is_none());
            return (!fits).then(|| format!("{path}: none of {any}"));
        }
    }
    if let Some(parts) = schema["allOf"].as_array() {
        return parts.iter().find_map(|part| mismatch(value, part, all, path));
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = types.contains(&is) || (is == "integer" && types.contains(&"number"));
    if !fits {
        return Some(format!("{path}: is {is}, not {types:?}"));
    }
    if let Some(items) = value.as_array() {
        return items.iter().find_map(|item| mismatch(item, &schema["items"], all, &format!("{path}[]")));
    }
    let (Some(fields), Some(known)) = (value.as_object(), schema["properties"].as_object()) else {
        return None;
    };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            return Some(format!("{path}.{name}: is missing"));
        }
    }
    fields.iter().find_map(|(name, value)| match known.get(name) {
        Some(schema) => mismatch(value, schema, all, &format!("{path}.{name}")),
        // A flattened part stands in another schema of an allOf.
        None if path.contains("minutes") => None,
        None => Some(format!("{path}.{name}: is not described")),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_true() {
    let vendor = vendor().await;
    let weir = Weir::start(&catchpoint(&vendor.url(), "", &[("grafana", "web", "")]));
    let (admin, grafana) = (weir.admin(), weir.caller(&token_of("grafana")));
    assert_eq!(grafana.get("/api/v2/tests/alerts").await.status, 200);
    for n in 0..21 {
        grafana.get_with(&format!("/api/v2/nodes/all?name={n}"), &[("prefer", "wait=0")]).await;
    }
    let api = admin.get("/api/v1/openapi.json").await.json();
    assert!(api["openapi"].as_str().unwrap().starts_with("3."));
    let described: BTreeSet<_> = api["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    for path in [
        "/api/v1/status",
        "/api/v1/events",
        "/api/v1/usage",
        "/api/v1/history",
        "/api/v1/reload",
        "/api/v1/openapi.json",
    ] {
        assert!(described.contains(path), "{path} is not described: {described:?}");
    }
    for (path, methods) in api["paths"].as_object().unwrap() {
        if path.ends_with("/events") {
            continue;
        }
        for (method, about) in methods.as_object().unwrap() {
            let reply = match method.as_str() {
                "get" => admin.get(path).await,
                "post" => admin.post_json(path, "{}").await,
                other => panic!("{other} {path}"),
            };
            let described = &about["responses"][reply.status.as_str()];
            assert!(described.is_object(), "{method} {path}: {} is not described", reply.status);
            let schema = &described["content"]["application/json"]["schema"];
            assert_eq!(mismatch(&reply.json(), schema, &api, path), None);
        }
    }
    let status = admin.get("/api/v1/status").await.json();
    let refusals = status["upstreams"][0]["refusals"].as_array().unwrap();
    assert!(!refusals.is_empty() && refusals[0]["consumer"] == "grafana", "{status}");
    assert!(refusals[0]["details"].as_str().unwrap().contains("second"), "{status}");
    weir.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_flow_each_second_to_a_bounded_number_and_end_with_weir() {
    let vendor = vendor().await;
    let weir = Weir::start(&catchpoint(&vendor.url(), "", &[("grafana", "web", "")]));
    let admin = weir.admin();
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<bytes::Bytes>>();
    let open = async || {
        let request = Request::get(format!("{}/api/v1/events", admin.base())).body(Full::default()).unwrap();
        client.request(request).await.unwrap()
    };
    let mut events = open().await;
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let mut heard = String::new();
    while heard.matches("event: status").count() < 3 {
        let frame = tokio::time::timeout(Duration::from_secs(20), events.body_mut().frame()).await;
        heard.push_str(std::str::from_utf8(frame.unwrap().unwrap().unwrap().data_ref().unwrap()).unwrap());
    }
    let data = heard.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let status: Value = serde_json::from_str(data).unwrap();
    assert_eq!(status["upstreams"][0]["name"], "catchpoint");
    let mut others = Vec::new();
    for _ in 0..63 {
        others.push(open().await);
        assert_eq!(others.last().unwrap().status(), 200);
    }
    assert_eq!(open().await.status(), 503, "one more than is allowed");
    others.clear();
    weir.signal(rustix::process::Signal::TERM);
    let ended = async { while events.body_mut().frame().await.is_some_and(|frame| frame.is_ok()) {} };
    tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();
    let (status, output, _) = weir.ended();
    assert!(status.success(), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_is_guarded_and_none_is_reached_by_consumers() {
    let vendor = vendor().await;
    let text = catchpoint(&vendor.url(), "", &[("grafana", "web", "")]);
    let weir = Weir::start_with(&text, &[("WEIR__ADMIN__TOKEN", "operators-only")]);
    let admin = weir.admin();
    let bearer = ("authorization", "Bearer operators-only");
    let paths = [
        "/metrics",
        "/api/v1/status",
        "/api/v1/events",
        "/api/v1/usage",
        "/api/v1/history",
        "/api/v1/openapi.json",
    ];
    for path in paths {
        assert_eq!(admin.get(path).await.status, 401, "{path}");
        let foreign = admin.get_with(path, &[bearer, ("sec-fetch-site", "cross-site")]).await;
        assert_eq!(foreign.status, 403, "{path}");
        let rebound = admin.get_with(path, &[bearer, ("host", "rebound.example")]).await;
        assert_eq!(rebound.status, 421, "{path}");
        let outside = weir.caller(&token_of("grafana")).get(path).await;
        assert_ne!(outside.status, 200, "{path}");
    }
    assert_eq!(admin.post_json("/api/v1/reload", "{}").await.status, 401);
    let get = admin.get_with("/api/v1/reload", &[bearer]).await;
    assert_eq!(get.status, 405, "what changes something is a POST");
    weir.stop();
}

/// What packages install beside the binary, and that each command shows how it is used.
#[test]
fn the_manual_and_completions_name_every_command() {
    let run = |args: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_weir")).args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let manual = run(&["man"]);
    let scripts = ["bash", "zsh", "fish"].map(|shell| run(&["completions", shell]));
    for command in ["run", "check", "demo", "emulate", "token", "status", "usage", "schema"] {
        assert!(manual.contains(&format!("WEIR {}", command.to_uppercase())), "{command} in\n{manual}");
        assert!(scripts.iter().all(|script| script.contains(command)), "{command}");
        assert!(run(&[command, "--help"]).contains("Example"), "{command}");
    }
}
