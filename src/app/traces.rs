//! Spans, on their way to the collector: gathered for a moment, sent as OTLP over HTTP.
//!
//! Nothing waits for this. A collector that fails is told of once, and left alone for a
//! while that doubles; what does not fit into the queue meanwhile is counted, and lost.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::clock::{Clock, Moment};
use crate::config::Otlp;
use crate::telemetry::otlp::{self, Teller};
use crate::telemetry::trace::{Span, Tracer};
use crate::upstream::{SetupError, Upstream};

/// How long spans are gathered for one message.
const GATHER: Duration = Duration::from_secs(1);
/// Traced requests and fetches of one message.
const MAX_BATCH: usize = 256;
/// How long a collector may take to connect, and to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long the last message may hold up the end.
const LAST_TIMEOUT: Duration = Duration::from_secs(2);
const MIN_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// An answer of a collector is small.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The task that sends.
pub(super) struct Traces {
    over: oneshot::Sender<()>,
    sending: JoinHandle<()>,
}

struct Sender {
    tracer: Arc<Tracer>,
    queue: mpsc::Receiver<Vec<Span>>,
    collector: Upstream,
    headers: HeaderMap,
    teller: Teller,
    clock: Clock,
    /// How long it is left alone after a failure; zero while there is none.
    pause: Duration,
}

impl Traces {
    /// Nothing where no collector is configured.
    ///
    /// # Errors
    /// The collector's TLS roots cannot be read.
    pub(super) fn begin(
        config: Option<&Otlp>,
        clock: Clock,
        process: u64,
    ) -> Result<Option<(Self, Arc<Tracer>)>, SetupError> {
        let Some(config) = config else { return Ok(None) };
        let (tracer, queue) = Tracer::new(config.sample_per_million, clock);
        let collector = Upstream::server(&config.origin, &config.transport, TIMEOUT, clock)?;
        let mut headers: HeaderMap = config
            .headers
            .iter()
            .filter_map(|(name, secret)| {
                let mut value = HeaderValue::from_str(secret.expose()).ok()?;
                value.set_sensitive(true);
                Some((name.clone(), value))
            })
            .collect();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let teller = Teller { service: config.service.clone(), instance: format!("{process:016x}") };
        let (over, ended) = oneshot::channel();
        let pause = Duration::ZERO;
        let sender = Sender { tracer: Arc::clone(&tracer), queue, collector, headers, teller, clock, pause };
        let sending = tokio::spawn(sender.run(ended));
        Ok(Some((Self { over, sending }, tracer)))
    }

    /// Sends what is left, if that can be done soon.
    pub(super) async fn end(self) {
        let _ = self.over.send(());
        if let Err(error) = self.sending.await {
            tracing::error!(%error, "traces were not sent to the end");
        }
    }
}

impl Sender {
    async fn run(mut self, mut ended: oneshot::Receiver<()>) {
        let mut batch = Vec::new();
        loop {
            let is_over = tokio::select! {
                () = self.gather(&mut batch) => false,
                _ = &mut ended => true,
            };
            if is_over {
                while let Ok(spans) = self.queue.try_recv() {
                    batch.push(spans);
                }
                return self.send(std::mem::take(&mut batch), LAST_TIMEOUT).await;
            }
            self.send(std::mem::take(&mut batch), TIMEOUT).await;
            let rested = self.clock.sleep_until(self.clock.now() + self.pause);
            tokio::select! {
                () = rested => {}
                _ = &mut ended => return,
            }
        }
    }

    /// Until a moment after the first, or as many as fit. What was gathered stays in
    /// `batch` if this is dropped.
    async fn gather(&mut self, batch: &mut Vec<Vec<Span>>) {
        let mut until = Moment::NEVER;
        while batch.len() < MAX_BATCH {
            let room = MAX_BATCH - batch.len();
            tokio::select! {
                biased;
                // The tracer, which holds the other end, is ours as well: this is never 0.
                _ = self.queue.recv_many(batch, room) => {
                    until = until.min(self.clock.now() + GATHER);
                }
                () = self.clock.sleep_until(until), if until != Moment::NEVER => return,
            }
        }
    }

    async fn send(&mut self, batch: Vec<Vec<Span>>, within: Duration) {
        let spans: usize = batch.iter().map(Vec::len).sum();
        if spans == 0 {
            return;
        }
        let body = otlp::encode(&self.teller, batch.into_iter().flatten());
        let deadline = self.clock.instant(self.clock.now() + within);
        let posted = tokio::time::timeout_at(deadline, self.post(body)).await;
        match posted.unwrap_or_else(|_| Err("no answer in time".into())) {
            Ok(rejected) => {
                let rejected = rejected.min(spans);
                self.tracer.count_sent(spans - rejected);
                self.tracer.count_lost(rejected);
                if !self.pause.is_zero() {
                    tracing::info!("the collector takes traces again");
                }
                self.pause = Duration::ZERO;
            }
            Err(error) => {
                self.tracer.count_lost(spans);
                if self.pause.is_zero() {
                    tracing::warn!(
                        error,
                        "traces cannot be sent; they are lost until the collector takes them again"
                    );
                }
                self.pause = (self.pause * 2).clamp(MIN_PAUSE, MAX_PAUSE);
            }
        }
    }

    /// How many spans the collector did not take of those it was sent.
    async fn post(&self, body: Vec<u8>) -> Result<usize, String> {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static("/v1/traces");
        *request.headers_mut() = self.headers.clone();
        let sent = self.collector.send(request, || ()).await;
        let (head, body) = sent.map_err(|error| error.to_string())?.into_parts();
        // Read to its end, so that the connection is of use again.
        let answer = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        if !head.status.is_success() {
            return Err(format!("the collector answered {}", head.status.as_u16()));
        }
        Ok(answer.map_or(0, |answer| otlp::rejected(&answer.to_bytes())))
    }
}
