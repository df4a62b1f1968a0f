use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use parking_lot::Mutex;
use proptest::prelude::*;
use tracing::{Dispatch, dispatcher};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::id::RequestIds;
use crate::telemetry::trace::Parent;
use crate::telemetry::{Exchange, Outcome};

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Kept {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// What is said of an exchange, in values that can be made up.
#[derive(Clone, Debug)]
struct Story {
    numbers: (u64, u32, u64, u64, u64),
    names: (Option<String>, Option<String>, String),
    path: String,
    method: Method,
    status: Option<u16>,
    outcome: Outcome,
    is_traced: bool,
}

impl Story {
    fn log(&self) {
        let (process, price, waited, upstream, took) = self.numbers;
        let (consumer, upstream_name, reason) = &self.names;
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let headers = HeaderMap::from_iter([(
            http::HeaderName::from_static("traceparent"),
            HeaderValue::from_static(traceparent),
        )]);
        let exchange = Exchange {
            id: RequestIds::new(process).next(),
            consumer: consumer.as_deref(),
            upstream: upstream_name.as_deref(),
            method: &self.method,
            path: &self.path,
            status: self.status.and_then(|status| StatusCode::from_u16(status).ok()),
            outcome: self.outcome,
            reason,
            price,
            waited: Duration::from_nanos(waited),
            upstream_time: Duration::from_nanos(upstream),
            trace: Parent::of(&headers).filter(|_| self.is_traced).map(|parent| parent.trace),
        };
        exchange.log(|| Duration::from_nanos(took));
    }
}

fn stories() -> impl Strategy<Value = Story> {
    let text = || prop_oneof!["[a-z0-9/_-]{0,40}", "[ -~]{0,20}", ".{0,20}", "[\\x00-\\xff]{0,8}"];
    let nanos = || prop_oneof![Just(0), 0..10_000_000_u64, any::<u64>()];
    let methods = prop::sample::select(vec![Method::GET, Method::POST, Method::from_bytes(b"A'B!").unwrap()]);
    (
        (any::<u64>(), any::<u32>(), nanos(), nanos(), nanos()),
        (prop::option::of(text()), prop::option::of(text()), text()),
        text(),
        methods,
        prop::option::of(100..1_000_u16),
        prop::sample::select(Outcome::ALL.to_vec()),
        any::<bool>(),
    )
        .prop_map(|(numbers, names, path, method, status, outcome, is_traced)| Story {
            numbers,
            names,
            path,
            method,
            status,
            outcome,
            is_traced,
        })
}

/// As weir logs, and as tracing-subscriber alone would.
fn both(format: LogFormat, has_colours: bool, clock: Clock) -> [(Dispatch, Kept); 2] {
    let (ours, theirs) = (Kept::default(), Kept::default());
    let filter = || EnvFilter::new("info");
    let builder = tracing_subscriber::fmt()
        .with_timer(Timestamp(clock))
        .with_env_filter(filter())
        .with_ansi(has_colours)
        .with_writer(theirs.clone());
    let alone = match format {
        LogFormat::Text => builder.into(),
        LogFormat::Json => builder.json().flatten_event(true).into(),
    };
    [(super::super::dispatch(format, (filter(), has_colours), clock, ours.clone()), ours), (alone, theirs)]
}

fn frozen_at(nanos: u64) -> (tokio::runtime::Runtime, Clock) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    let clock = {
        let _inside = runtime.enter();
        Clock::virtual_at(UnixTime::from_nanos(nanos))
    };
    (runtime, clock)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_line_is_what_tracing_subscriber_would_write(
        stories in prop::collection::vec(stories(), 1..4),
        at in 0..4_000_000_000_000_000_000_u64,
        (is_json, has_colours, in_span) in any::<(bool, bool, bool)>(),
    ) {
        let (runtime, clock) = frozen_at(at);
        let _inside = runtime.enter();
        let format = if is_json { LogFormat::Json } else { LogFormat::Text };
        let [ours, theirs] = both(format, has_colours, clock).map(|(dispatch, kept)| {
            dispatcher::with_default(&dispatch, || {
                let _span = in_span.then(|| tracing::info_span!("outer", a = 1).entered());
                stories.iter().for_each(Story::log);
                tracing::warn!(word = "\u{202e}", "another line");
            });
            String::from_utf8(kept.0.lock().clone()).unwrap()
        });
        prop_assert_eq!(ours.lines().count(), stories.len() + 1);
        prop_assert_eq!(ours, theirs);
    }
}

#[test]
fn a_timestamp_has_microseconds_and_follows_the_second() {
    let mut second = Second::default();
    let mut text = |nanos| {
        let at = UnixTime::from_nanos(nanos);
        format!("{}.{:06}Z", second.of(at).unwrap(), micros(at))
    };
    assert_eq!(text(0), "1970-01-01T00:00:00.000000Z");
    assert_eq!(text(1_764_131_633_724_661_999), "2025-11-26T04:33:53.724661Z");
    assert_eq!(text(1_764_131_634_000_001_000), "2025-11-26T04:33:54.000001Z");
    // The wall may step back.
    assert_eq!(text(1_764_131_633_000_000_000), "2025-11-26T04:33:53.000000Z");
}
