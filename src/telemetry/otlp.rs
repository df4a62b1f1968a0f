//! Spans as OTLP has them on the wire: `ExportTraceServiceRequest` of
//! opentelemetry-proto 1, in protobuf.
//!
//! Only the fields that weir fills are named here; the tags are the protocol's. A test
//! has the published types read what this writes.

use prost::Message;

use super::trace::{Span, Stage, Value};

/// Who tells it.
#[derive(Clone, Debug)]
pub struct Teller {
    /// `service.name`.
    pub service: String,
    /// `service.instance.id`: this process.
    pub instance: String,
}

/// One batch, to be sent as it is.
#[must_use]
pub fn encode(teller: &Teller, spans: impl Iterator<Item = Span>) -> Vec<u8> {
    let about = [
        ("service.name", teller.service.as_str()),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", teller.instance.as_str()),
    ];
    let attributes = about.into_iter().map(|(key, text)| pair(key, Value::Text(text.to_owned()))).collect();
    let scope = Scope { name: "weir".into(), version: env!("CARGO_PKG_VERSION").into() };
    let spans = spans.map(WireSpan::from).collect();
    let resource_spans = vec![ResourceSpans {
        resource: Some(Resource { attributes }),
        scope_spans: vec![ScopeSpans { scope: Some(scope), spans }],
    }];
    Request { resource_spans }.encode_to_vec()
}

/// How many spans of a batch the collector says it did not take.
#[must_use]
pub fn rejected(answer: &[u8]) -> usize {
    let partial = Response::decode(answer).ok().and_then(|answer| answer.partial_success);
    partial.and_then(|partial| usize::try_from(partial.rejected_spans).ok()).unwrap_or(0)
}

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<WireSpan>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct WireSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "13")]
    links: Vec<WireLink>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct WireLink {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(fixed32, tag = "6")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 3")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Any {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

/// `SpanKind`.
const INTERNAL: i32 = 1;
const SERVER: i32 = 2;
const CLIENT: i32 = 3;
/// `StatusCode`.
const ERROR: i32 = 2;
/// The trace flag "sampled", and that it is known whether the parent is elsewhere.
const SAMPLED: u32 = 0x101;
/// That it is.
const PARENT_IS_ELSEWHERE: u32 = 0x200;

impl From<Span> for WireSpan {
    fn from(span: Span) -> Self {
        let kind = match span.stage {
            Stage::Request => SERVER,
            Stage::Send => CLIENT,
            _ => INTERNAL,
        };
        let is_from_elsewhere = span.stage == Stage::Request && span.parent.is_some();
        let link = |link: super::trace::Link| WireLink {
            trace_id: link.trace.to_bytes().to_vec(),
            span_id: link.span.to_be_bytes().to_vec(),
            flags: SAMPLED,
        };
        Self {
            trace_id: span.trace.to_bytes().to_vec(),
            span_id: span.id.to_be_bytes().to_vec(),
            parent_span_id: span.parent.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default(),
            name: span.name.unwrap_or_else(|| span.stage.as_str().to_owned()),
            kind,
            start_time_unix_nano: span.began.as_nanos(),
            end_time_unix_nano: span.ended.as_nanos(),
            attributes: span.attributes.into_iter().map(|(key, value)| pair(key, value)).collect(),
            links: span.link.map(link).into_iter().collect(),
            status: span.error.map(|reason| Status { message: reason.to_owned(), code: ERROR }),
            flags: SAMPLED | if is_from_elsewhere { PARENT_IS_ELSEWHERE } else { 0 },
        }
    }
}

fn pair(key: &str, value: Value) -> KeyValue {
    let value = match value {
        Value::Word(word) => Any::Text(word.to_owned()),
        Value::Text(text) => Any::Text(text),
        Value::Number(number) => Any::Number(number),
    };
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}
