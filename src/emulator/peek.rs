//! `/_emulator/…`: what a black-box test may ask the emulator about itself.
//! Never counted, never delayed, never journalled.
//!
//! * `GET /_emulator/stats`: totals, and what each limit counted and refused.
//! * `GET /_emulator/log`: the journal, with the label of the key in place of
//!   the credential.
//! * `POST /_emulator/faults`: sets the probabilities named in the JSON body,
//!   all others to 0.
//! * `POST /_emulator/revoke?key=LABEL`: that key is unknown from now on, and
//!   with it the tokens given out for it.
//! * `POST /_emulator/revoke?tokens=all`: all tokens are, but no key.
//! * `POST /_emulator/answers` (generic): `{"path","status","headers","body"}`,
//!   what to answer at that path from now on.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Body, Query};
use super::exchange::{Emulated, finish};
use super::fault::{Fault, Faults};
use super::generic::Canned;
use super::journal::Seen;
use super::vendor::Api;

const BODY_BYTES: usize = 1_024 * 1_024;

/// Answers one such request.
pub(crate) async fn serve(emulated: &Emulated, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, BODY_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => Default::default(),
    };
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let answer = match (&parts.method, parts.uri.path()) {
        (&Method::GET, "/_emulator/stats") => Answer::json(StatusCode::OK, &stats(emulated)),
        (&Method::GET, "/_emulator/log") => {
            let log: Vec<_> = emulated.journal.all().iter().map(entry).collect();
            Answer::json(StatusCode::OK, &Value::Array(log))
        }
        (&Method::POST, "/_emulator/faults") => said(set_faults(emulated, &body)),
        (&Method::POST, "/_emulator/revoke") => said(revoke(emulated, &query)),
        (&Method::POST, "/_emulator/answers") => said(set_answer(emulated, &body)),
        _ => Answer::json(
            StatusCode::NOT_FOUND,
            &json!({"error": "the emulator has stats, log, faults, revoke and answers"}),
        ),
    };
    finish(emulated, answer, parts.method == Method::HEAD, emulated.time.wall(emulated.time.now()))
}

fn said(result: Result<(), String>) -> Answer {
    match result {
        Ok(()) => Answer::json(StatusCode::OK, &json!({"done": true})),
        Err(why) => Answer::json(StatusCode::BAD_REQUEST, &json!({"error": why})),
    }
}

fn revoke(emulated: &Emulated, query: &Query) -> Result<(), String> {
    let keyring = &mut emulated.state.lock().keyring;
    match (query.get("tokens"), query.get("key")) {
        (Some("all"), _) if keyring.tokens.revoke_all() > 0 => Ok(()),
        (Some("all"), _) => Err("no token was given out".to_owned()),
        (_, Some(key)) if keyring.revoke(key) => Ok(()),
        _ => Err("no such key".to_owned()),
    }
}

fn stats(emulated: &Emulated) -> Value {
    let state = emulated.state.lock();
    let limits: Vec<_> = state
        .gate
        .tallies()
        .into_iter()
        .map(|tally| json!({"limit": tally.limit, "counted": tally.counted, "refused": tally.refused}))
        .collect();
    json!({
        "requests": emulated.journal.total(),
        "counted": state.gate.counted(),
        "refused": state.gate.refused(),
        "queued": state.queue.queued(),
        "sign_ins": {
            "granted": state.keyring.tokens.signed_in.granted,
            "refused": state.keyring.tokens.signed_in.refused,
        },
        "limits": limits,
    })
}

fn entry(seen: &Seen) -> Value {
    let value = |name: &HeaderName, value: &HeaderValue| {
        if *name == header::AUTHORIZATION || value.is_sensitive() {
            return seen.key.as_ref().map_or_else(|| "unknown".to_owned(), |label| format!("key {label}"));
        }
        String::from_utf8_lossy(value.as_bytes()).into_owned()
    };
    let headers: Vec<_> =
        seen.headers.iter().map(|(name, text)| json!([name.as_str(), value(name, text)])).collect();
    json!({
        "sequence": seen.sequence,
        "arrived_nanos": seen.arrived.as_nanos(),
        "counted_nanos": seen.counted.map(crate::clock::Moment::as_nanos),
        "counted_wall": seen.counted_wall.map(|wall| wall.to_string()),
        "answered_nanos": seen.answered.map(crate::clock::Moment::as_nanos),
        "method": seen.method.as_str(),
        "target": without_token(&seen.target),
        "authority": seen.authority,
        "version": format!("{:?}", seen.version),
        "headers": headers,
        "body_bytes": seen.body.as_ref().map(bytes::Bytes::len),
        "address": seen.address.to_string(),
        "key": seen.key,
        "analytic": seen.analytic,
        "refused_by": seen.refused_by,
        "fault": seen.fault.map(Fault::as_str),
        "status": seen.status.map(|status| status.as_u16()),
    })
}

/// Netskope has its credential in the query.
fn without_token(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let parts = query.split('&').map(|part| match part.split_once('=') {
        Some(("token", _)) => "token=***",
        _ => part,
    });
    format!("{path}?{}", parts.collect::<Vec<_>>().join("&"))
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct FaultsBody {
    server_error: f64,
    reset: f64,
    silent: f64,
    cut_short: f64,
    cdn_429: f64,
    cdn_403: f64,
    buffered: f64,
    buffered_for_ms: u64,
}

fn set_faults(emulated: &Emulated, body: &[u8]) -> Result<(), String> {
    let body: FaultsBody = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    emulated.state.lock().faults = Faults {
        server_error: body.server_error,
        reset: body.reset,
        silent: body.silent,
        cut_short: body.cut_short,
        cdn_429: body.cdn_429,
        cdn_403: body.cdn_403,
        buffered: body.buffered,
        buffered_for: Duration::from_millis(body.buffered_for_ms),
    };
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerBody {
    path: String,
    #[serde(default = "ok")]
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
}

fn ok() -> u16 {
    200
}

fn set_answer(emulated: &Emulated, body: &[u8]) -> Result<(), String> {
    let body: AnswerBody = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let mut headers = HeaderMap::new();
    for (name, value) in &body.headers {
        let name = HeaderName::try_from(name.as_str()).map_err(|error| error.to_string())?;
        headers.append(name, HeaderValue::try_from(value.as_str()).map_err(|error| error.to_string())?);
    }
    let status = StatusCode::from_u16(body.status).map_err(|error| error.to_string())?;
    match &mut emulated.state.lock().api {
        Api::Generic(origin) => origin.script(body.path, Canned { status, headers, body: body.body.into() }),
        _ => Err("only the generic origin can be told what to answer".to_owned()),
    }
}
