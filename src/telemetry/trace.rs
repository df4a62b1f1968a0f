//! Traces: one span for a request, one for each stage of it, told to OpenTelemetry.
//!
//! * Which are traced: those whose caller says so in `traceparent`, none whose caller
//!   says not, and of all others the configured part ([`Tracer::begin`]).
//! * [`Spans`] is one span with the stages under it, which follow each other. It is
//!   empty where nothing is traced, and then costs a look at a null pointer. It hands
//!   its spans over when it is dropped, so that a caller who hangs up is told of too.
//! * A fetch has spans of its own, a [`Branch`] of those of whoever began it; a caller
//!   who joins it links to them.
//! * What is told are names, numbers, reasons and folded routes: no path, no query, no
//!   header. What the collector is too slow to take is counted, and lost.

mod parent;
mod span;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;
use tokio::sync::mpsc;

use crate::clock::{Clock, Moment, UnixTime};

pub use parent::{Parent, TraceId};
pub use span::{Link, Span, Stage, Value};

/// Traced requests (and fetches) whose spans wait to be sent.
const MAX_QUEUED: usize = 1_024;
/// Spans of one request or fetch; a walk over many pages has more than are worth telling.
const MAX_SPANS: usize = 128;

/// Decides what is traced, and passes spans on.
#[derive(Debug)]
pub struct Tracer {
    sample_per_million: u32,
    clock: Clock,
    queue: mpsc::Sender<Vec<Span>>,
    sent: AtomicU64,
    lost: AtomicU64,
}

/// One span and the stages under it; empty where nothing is traced.
#[derive(Debug, Default)]
pub struct Spans(Option<Box<Story>>);

/// Where a fetch's spans hang.
#[derive(Clone, Debug)]
pub struct Branch {
    tracer: Arc<Tracer>,
    trace: TraceId,
    parent: u64,
}

#[derive(Debug)]
struct Story {
    tracer: Arc<Tracer>,
    trace: TraceId,
    whole: Span,
    part: Option<Span>,
    done: Vec<Span>,
    /// Both clocks at one moment, so that spans are as long as they were on the monotone one.
    began: (Moment, UnixTime),
    /// Traced because its caller says so, and not by our own choice.
    is_asked_for: bool,
}

impl Tracer {
    /// Traces `sample_per_million` of the requests whose callers do not say; what is to
    /// be sent comes out of the other end.
    #[must_use]
    pub fn new(sample_per_million: u32, clock: Clock) -> (Arc<Self>, mpsc::Receiver<Vec<Span>>) {
        let (queue, spans) = mpsc::channel(MAX_QUEUED);
        let (sent, lost) = Default::default();
        (Arc::new(Self { sample_per_million, clock, queue, sent, lost }), spans)
    }

    /// The spans of a request that has come in, if it is one to trace.
    #[must_use]
    pub fn begin(self: &Arc<Self>, parent: Option<Parent>) -> Spans {
        let is_asked_for = parent.is_some_and(|parent| parent.is_sampled);
        if !is_asked_for && (parent.is_some() || !self.draws()) {
            return Spans::default();
        }
        let trace = parent.map_or_else(TraceId::random, |parent| parent.trace);
        Spans::new(self, trace, (Stage::Request, parent.map(|parent| parent.span)), is_asked_for)
    }

    fn draws(&self) -> bool {
        self.sample_per_million > 0 && rand::random_range(0..1_000_000) < self.sample_per_million
    }

    /// So many spans have been taken by the collector.
    pub fn count_sent(&self, spans: usize) {
        self.sent.fetch_add(u64::try_from(spans).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// So many were not.
    pub fn count_lost(&self, spans: usize) {
        self.lost.fetch_add(u64::try_from(spans).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Spans that the collector has taken, and that were lost.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.lost.load(Ordering::Relaxed))
    }
}

impl Spans {
    fn new(
        tracer: &Arc<Tracer>,
        trace: TraceId,
        (stage, parent): (Stage, Option<u64>),
        is_asked_for: bool,
    ) -> Self {
        let began = (tracer.clock.now(), tracer.clock.wall());
        let whole = Span::begin(trace, stage, parent, began.1);
        let tracer = Arc::clone(tracer);
        Self(Some(Box::new(Story {
            tracer,
            trace,
            whole,
            part: None,
            done: Vec::new(),
            began,
            is_asked_for,
        })))
    }

    /// The stage before is over, and `stage` begins, unless it is under way.
    pub fn at(&mut self, stage: Stage) {
        if let Some(story) = &mut self.0
            && story.part.as_ref().is_none_or(|part| part.stage != stage)
        {
            let now = story.end_part();
            story.part = Some(Span::begin(story.trace, stage, Some(story.whole.id), now));
        }
    }

    /// Says something of the stage under way.
    pub fn note(&mut self, key: &'static str, value: impl FnOnce() -> Value) {
        if let Some(part) = self.0.as_mut().and_then(|story| story.part.as_mut()) {
            part.attributes.push((key, value()));
        }
    }

    /// The stage under way waits for what another trace tells of.
    pub fn link(&mut self, to: Option<Link>) {
        if let Some(part) = self.0.as_mut().and_then(|story| story.part.as_mut()) {
            part.link = to;
        }
    }

    /// The stage under way failed, for a reason in one word.
    pub fn fail(&mut self, reason: &'static str) {
        if let Some(part) = self.0.as_mut().and_then(|story| story.part.as_mut()) {
            part.error = Some(reason);
        }
    }

    /// Says something of the whole.
    pub fn tell(&mut self, about: impl FnOnce(&mut Span)) {
        if let Some(story) = &mut self.0 {
            about(&mut story.whole);
        }
    }

    /// Nobody known asked: a stranger's word is not enough to be traced.
    pub fn came_from_nobody(&mut self) {
        if self.0.as_ref().is_some_and(|story| story.is_asked_for && !story.tracer.draws())
            && let Some(mut story) = self.0.take()
        {
            story.forget();
        }
    }

    /// Where the spans of a fetch can hang.
    #[must_use]
    pub fn branch(&self) -> Option<Branch> {
        let story = self.0.as_ref()?;
        Some(Branch { tracer: Arc::clone(&story.tracer), trace: story.trace, parent: story.whole.id })
    }

    /// For those who wait for this.
    #[must_use]
    pub fn to_link(&self) -> Option<Link> {
        self.0.as_ref().map(|story| Link { trace: story.trace, span: story.whole.id })
    }

    /// Which trace this is in.
    #[must_use]
    pub fn trace(&self) -> Option<TraceId> {
        self.0.as_ref().map(|story| story.trace)
    }

    /// A `traceparent` for what the stage under way sends.
    #[must_use]
    pub fn outgoing(&self) -> Option<HeaderValue> {
        let story = self.0.as_ref()?;
        let span = story.part.as_ref().unwrap_or(&story.whole).id;
        HeaderValue::try_from(format!("00-{}-{span:016x}-01", story.trace)).ok()
    }
}

impl Branch {
    /// The spans of a fetch.
    #[must_use]
    pub fn begin(&self) -> Spans {
        Spans::new(&self.tracer, self.trace, (Stage::Fetch, Some(self.parent)), false)
    }
}

impl Story {
    fn now(&self) -> UnixTime {
        self.began.1 + self.tracer.clock.now().since(self.began.0)
    }

    fn end_part(&mut self) -> UnixTime {
        let now = self.now();
        if let Some(mut part) = self.part.take() {
            part.ended = now;
            if self.done.len() < MAX_SPANS {
                self.done.push(part);
            } else {
                self.tracer.count_lost(1);
            }
        }
        now
    }

    fn forget(&mut self) {
        self.done.clear();
        self.part = None;
        self.whole.id = 0;
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if self.whole.id == 0 {
            return;
        }
        let now = self.end_part();
        self.whole.ended = now;
        let mut spans = std::mem::take(&mut self.done);
        spans.push(self.whole.clone());
        // Never waits: a slow collector costs its own traces and nothing else.
        if let Err(mpsc::error::TrySendError::Full(spans) | mpsc::error::TrySendError::Closed(spans)) =
            self.tracer.queue.try_send(spans)
        {
            self.tracer.count_lost(spans.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(spans: &mut mpsc::Receiver<Vec<Span>>) -> Vec<(Stage, Option<u64>, u64)> {
        let all = std::iter::from_fn(|| spans.try_recv().ok()).flatten();
        all.map(|span| (span.stage, span.parent, span.id)).collect()
    }

    const ASKED: Parent = Parent { trace: TraceId(7), span: 9, is_sampled: true };

    #[tokio::test]
    async fn the_callers_flag_is_obeyed_and_all_others_are_drawn() {
        let (all, mut spans) = Tracer::new(1_000_000, Clock::system());
        let (none, mut no_spans) = Tracer::new(0, Clock::system());
        assert!(all.begin(None).trace().is_some() && none.begin(None).trace().is_none());
        assert_eq!(none.begin(Some(ASKED)).trace(), Some(TraceId(7)));
        assert_eq!(all.begin(Some(Parent { is_sampled: false, ..ASKED })).trace(), None);
        assert_eq!((told(&mut spans).len(), told(&mut no_spans).len()), (1, 1));
        none.begin(Some(ASKED)).came_from_nobody();
        all.begin(Some(ASKED)).came_from_nobody();
        assert_eq!((told(&mut spans).len(), told(&mut no_spans).len()), (1, 0), "a stranger may not ask");
    }

    #[tokio::test]
    async fn stages_follow_each_other_under_one_span() {
        let (tracer, mut queue) = Tracer::new(0, Clock::system());
        let mut spans = tracer.begin(Some(ASKED));
        spans.note("nowhere", || unreachable!("there is no stage"));
        spans.at(Stage::Route);
        spans.at(Stage::Join);
        let outgoing = spans.outgoing().unwrap();
        let fetch = spans.branch().unwrap().begin();
        spans.link(fetch.to_link());
        drop((spans, fetch));
        let told = told(&mut queue);
        let root = told.iter().find(|(stage, ..)| *stage == Stage::Request).unwrap().2;
        let stages: Vec<_> = told.iter().map(|(stage, parent, _)| (*stage, *parent)).collect();
        let under = Some(root);
        let wanted =
            [(Stage::Route, under), (Stage::Join, under), (Stage::Request, Some(9)), (Stage::Fetch, under)];
        assert_eq!(stages, wanted);
        assert_eq!(outgoing, format!("00-{:032x}-{:016x}-01", 7, told[1].2));
    }

    #[tokio::test]
    async fn a_full_queue_and_a_long_walk_cost_spans_and_no_time() {
        let (tracer, mut queue) = Tracer::new(0, Clock::system());
        (0..MAX_QUEUED + 5).for_each(|_| drop(tracer.begin(Some(ASKED))));
        assert_eq!(tracer.counts(), (0, 5));
        assert_eq!(told(&mut queue).len(), MAX_QUEUED);
        let mut spans = tracer.begin(Some(ASKED));
        (0..MAX_SPANS + 7).for_each(|n| spans.at([Stage::Lookup, Stage::Join][n % 2]));
        drop(spans);
        assert_eq!((told(&mut queue).len(), tracer.counts()), (MAX_SPANS + 1, (0, 12)));
        drop(queue);
        drop(tracer.begin(Some(ASKED)));
        assert_eq!(tracer.counts().1, 13);
    }
}
