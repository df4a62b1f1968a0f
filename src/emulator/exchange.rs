//! The life of one request at the vendor, in order: it arrives, travels on, is
//! counted at one moment, is answered, travels back; or something goes wrong.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use parking_lot::Mutex;

use crate::clock::Moment;

use super::answer::{Answer, Ask, Body, Content, Query};
use super::chance::{Chance, Draws};
use super::fault::{Fault, Faults};
use super::gate::{Call, Gate, Verdict};
use super::journal::{Journal, RawHead, Seen};
use super::keyring::{Identity, Keyring, Presented};
use super::options::{Coding, CountAt, Options, Vendor};
use super::queue::Queue;
use super::vendor::{Api, Circumstances, Denial, Speaker};
use super::vendor_clock::VendorClock;
use super::{peek, sign_in};

const BODY_BYTES: usize = 16 * 1_024 * 1_024;

/// One emulated vendor, shared by its connections.
#[derive(Debug)]
pub(crate) struct Emulated {
    pub(crate) options: Options,
    pub(crate) address: SocketAddr,
    pub(crate) time: VendorClock,
    pub(crate) journal: Journal,
    pub(crate) state: Mutex<State>,
}

/// What requests change. Never locked over an await.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) chance: Chance,
    pub(crate) faults: Faults,
    pub(crate) gate: Gate,
    pub(crate) keyring: Keyring,
    pub(crate) queue: Queue,
    pub(crate) api: Api,
}

/// How a request ends for the one who sent it.
#[derive(Debug)]
pub(crate) enum Fate {
    Answered(Response<Body>),
    /// The connection or stream ends without a head.
    Reset,
    /// Nothing ever comes.
    Silence,
}

/// One request between its arrival and its head.
struct Exchange {
    emulated: Arc<Emulated>,
    parts: Parts,
    query: Query,
    address: SocketAddr,
    sequence: u64,
    draws: Draws,
    analytic: bool,
}

/// What was decided about it.
struct Decision {
    identity: Identity,
    verdict: Verdict,
    at: Moment,
    /// How long the vendor lets it wait, once counted.
    queued: Duration,
}

/// Serves one request to its end. Run it as a task of its own: a vendor counts
/// what has reached it also when the caller has hung up since.
pub(crate) async fn serve(
    emulated: Arc<Emulated>,
    request: Request<Incoming>,
    address: SocketAddr,
    raw_head: Option<RawHead>,
) -> Fate {
    if request.uri().path().starts_with("/_emulator/") {
        return Fate::Answered(peek::serve(&emulated, request).await);
    }
    let seen = Seen::arriving(&request, address, raw_head, emulated.time.now());
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let (draws, fault, analytic) = {
        let mut state = emulated.state.lock();
        let draws = state.chance.draw();
        (draws, state.faults.pick(&draws), state.api.is_analytic(&parts.method, parts.uri.path()))
    };
    let sequence = emulated.journal.open(Seen { analytic, fault, ..seen });
    let exchange = Exchange { emulated, parts, query, address, sequence, draws, analytic };
    match fault {
        Some(Fault::Cdn429) => exchange.stopped_at_the_edge(StatusCode::TOO_MANY_REQUESTS).await,
        Some(Fault::Cdn403) => exchange.stopped_at_the_edge(StatusCode::FORBIDDEN).await,
        Some(Fault::Buffered) => exchange.buffered(body).await,
        _ => exchange.reach_the_vendor(body, fault).await,
    }
}

impl Exchange {
    /// The usual life.
    async fn reach_the_vendor(self, body: Incoming, fault: Option<Fault>) -> Fate {
        let (before, after) = self.delays();
        let time = self.emulated.time;
        let options = &self.emulated.options;
        let (decision, body) = if options.count_at == CountAt::Head || options.vendor.reads_first() {
            let body = self.read(body).await;
            time.sleep(before).await;
            (self.decide(body.as_deref().unwrap_or_default()), body)
        } else {
            time.sleep(before).await;
            let decision = self.decide(&[]);
            (decision, self.read(body).await)
        };
        time.sleep(decision.queued).await;
        let answer = match fault {
            Some(Fault::Reset) => return Fate::Reset,
            Some(Fault::Silent) => return Fate::Silence,
            _ => self.answer(&decision, body, fault),
        };
        time.sleep(after).await;
        Fate::Answered(self.send(answer))
    }

    async fn stopped_at_the_edge(self, status: StatusCode) -> Fate {
        let (before, after) = self.delays();
        self.emulated.time.sleep(before + after).await;
        Fate::Answered(self.send(Answer::from_cdn(status)))
    }

    /// 1. The CDN takes the request, waits for the vendor and gives up: 504.
    /// 2. The caller settles it as failed.
    /// 3. The vendor wakes, gets what the CDN still holds, and counts it.
    async fn buffered(self, body: Incoming) -> Fate {
        let (before, after) = self.delays();
        let time = self.emulated.time;
        let body = self.read(body).await;
        time.sleep(before + after).await;
        let response = self.send(Answer::from_cdn(StatusCode::GATEWAY_TIMEOUT));
        let later = self.emulated.state.lock().faults.buffered_for;
        tokio::spawn(async move {
            time.sleep(later).await;
            let decision = self.decide(body.as_deref().unwrap_or_default());
            self.answer(&decision, body, None);
        });
        Fate::Answered(response)
    }

    /// How long until it is counted, and from then until the head is sent.
    fn delays(&self) -> (Duration, Duration) {
        let latency = self.emulated.options.latency;
        let (inbound, outbound) = (self.draws.inbound(latency), self.draws.outbound(latency));
        let both = inbound + outbound;
        match self.emulated.options.count_at {
            CountAt::Between => (inbound, outbound),
            CountAt::Arrival => (Duration::ZERO, both),
            CountAt::Head => (both, Duration::ZERO),
            CountAt::Random => {
                let before = both.mul_f64(self.draws.moment.0);
                (before, both.saturating_sub(before))
            }
        }
    }

    /// The body, as far as it came and up to 16 MiB; `None` if it was more.
    async fn read(&self, body: Incoming) -> Option<Bytes> {
        let body = Limited::new(body, BODY_BYTES).collect().await.ok()?.to_bytes();
        self.emulated.journal.note(self.sequence, |seen| seen.body = Some(body.clone()));
        Some(body)
    }

    /// The one moment at which the vendor counts, or refuses.
    fn decide(&self, body: &[u8]) -> Decision {
        let mut state = self.emulated.state.lock();
        // Read under the lock: counters want a time that never goes back.
        let at = self.emulated.time.now();
        let wall = self.emulated.time.wall(at);
        let (path, query, headers) = (self.parts.uri.path(), &self.query, &self.parts.headers);
        let identity = state.keyring.identify(Presented { path, query, headers, body }, wall);
        let call = Call { address: self.address.ip(), key: identity.owner(), analytic: self.analytic };
        let verdict = state.gate.decide(wall.as_nanos(), call);
        let queued = match (&verdict, call.key) {
            (Verdict::Counted, Some(key)) => state.queue.wait(wall.as_nanos(), key),
            _ => Duration::ZERO,
        };
        let label = match identity {
            Identity::Anybody => Some("any".to_owned()),
            identity => state.keyring.key(identity).map(|key| key.label.clone()),
        };
        self.emulated.journal.note(self.sequence, |seen| {
            (seen.counted, seen.counted_wall, seen.key) = (Some(at), Some(wall), label);
            if let Verdict::Refused(limits) = &verdict {
                seen.refused_by.clone_from(limits);
            }
        });
        Decision { identity, verdict, at, queued }
    }

    /// What the vendor has to say, once it has counted.
    fn answer(&self, decision: &Decision, body: Option<Bytes>, fault: Option<Fault>) -> Answer {
        let now = self.emulated.time.wall(decision.at);
        let ask = Ask {
            method: self.parts.method.clone(),
            path: self.parts.uri.path().to_owned(),
            query: self.query.clone(),
            headers: self.parts.headers.clone(),
            body: body.clone().unwrap_or_default(),
            now,
            origin: format!("http://{}", self.emulated.address),
            sequence: self.sequence,
        };
        let mut state = self.emulated.state.lock();
        let State { gate, keyring, api, .. } = &mut *state;
        let options = &self.emulated.options;
        let owner = decision.identity.owner().filter(|_| options.vendor == Vendor::Netskope);
        let usage = gate.usage(now.as_nanos(), owner);
        let with = Circumstances { usage: &usage, trace: self.draws.trace, now };
        let mut speaker = Speaker { api, with };
        let failing = [500, 502, 503, 504][usize::try_from(self.draws.variety % 4).unwrap_or_default()];
        match (&decision.verdict, decision.identity) {
            (Verdict::Refused(limits), _) => speaker.refuse(limits),
            _ if sign_in::is_at(options.vendor, &ask.path) => match fault {
                Some(Fault::ServerError) => speaker.fail(failing),
                _ => sign_in::answer(keyring, &ask, options.oauth_client.as_ref()),
            },
            (_, Identity::Unknown) => speaker.deny(Denial::Unknown, &ask.path),
            (_, Identity::Expired(_)) => speaker.deny(Denial::Expired, &ask.path),
            _ if fault == Some(Fault::ServerError) => speaker.fail(failing),
            _ if body.is_none() => speaker.too_large(),
            _ => {
                let key = keyring.key(decision.identity);
                let division = key.and_then(|key| key.division.as_deref());
                let mut answer = speaker.answer(&ask, key.map_or("any", |key| &key.label), division);
                if let (Some(Fault::CutShort), Content::Whole(body)) = (fault, &answer.content) {
                    answer.content = Content::CutShort(body.clone());
                }
                answer
            }
        }
    }

    /// Notes the answer and puts what every answer has on it.
    fn send(&self, mut answer: Answer) -> Response<Body> {
        let at = self.emulated.time.now();
        let status = answer.status;
        self.emulated.journal.note(self.sequence, |seen| {
            (seen.answered, seen.status) = (Some(at), Some(status));
        });
        if self.emulated.options.coding == Coding::Gzip {
            compress(&self.parts, &mut answer);
        }
        let wall = self.emulated.time.wall(at);
        finish(&self.emulated, answer, self.parts.method == Method::HEAD, wall)
    }
}

/// Adds `Date` and `Content-Length`, and leaves the body away for HEAD.
pub(crate) fn finish(
    emulated: &Emulated,
    mut answer: Answer,
    is_head: bool,
    wall: crate::clock::UnixTime,
) -> Response<Body> {
    let date = HeaderValue::try_from(httpdate::fmt_http_date(wall.to_system()));
    answer.headers.entry(header::DATE).or_insert(date.expect("an HTTP date is visible ASCII"));
    if emulated.options.vendor != Vendor::Generic {
        // Vendors of JSON APIs say it to everything.
        answer.headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    }
    let bodiless = answer.status == StatusCode::NO_CONTENT || answer.status == StatusCode::NOT_MODIFIED;
    if let (Some(length), false) = (answer.length(), bodiless) {
        answer.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let content = if is_head || bodiless { Content::Whole(Bytes::new()) } else { answer.content };
    let mut response = Response::new(content.into_body(emulated.options.clock));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}

fn compress(parts: &Parts, answer: &mut Answer) {
    let accepts = parts.headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let gzip = accepts.is_some_and(|value| value.to_ascii_lowercase().contains("gzip"));
    if let (true, Content::Whole(body)) =
        (gzip && !answer.headers.contains_key(header::CONTENT_ENCODING), &answer.content)
    {
        let mut encoder = flate2::read::GzEncoder::new(&body[..], flate2::Compression::fast());
        let mut packed = Vec::new();
        if std::io::Read::read_to_end(&mut encoder, &mut packed).is_ok() {
            answer.content = Content::Whole(Bytes::from(packed));
            answer.set(header::CONTENT_ENCODING, "gzip");
            answer.headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        }
    }
}
