//! Servers that close connections at nasty moments, and count what reaches them.
//!
//! The law under test: what `NeverLeft` is said of has not reached the server, not
//! even in part; what was answered reached it exactly once; nothing reaches it twice.

use std::collections::HashMap;
use std::sync::Mutex;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// All bytes that ever reached the server, connection after connection.
type Seen = Arc<Mutex<Vec<u8>>>;

/// How often each request was seen, by its number.
type Counts = HashMap<usize, usize>;

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Closed right after an answer: the pool may or may not have noticed.
    AfterAnswer,
    /// Reset right after an answer.
    ResetAfterAnswer,
    /// In the middle of the next request's head.
    InHead,
    /// After the next request, unanswered.
    Unanswered,
    /// With `connection: close`, as one ought to.
    Announced,
}

const ENDS: [End; 5] =
    [End::AfterAnswer, End::ResetAfterAnswer, End::InHead, End::Unanswered, End::Announced];

/// Answers a few requests, then ends the connection in one of the nasty ways.
async fn nasty(mut stream: TcpStream, seen: Seen, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let end = ENDS[rng.random_range(0..ENDS.len())];
    let mut log = Vec::new();
    for left in (0..rng.random_range(1..4)).rev() {
        let Some(request) = head(&mut stream).await else { break };
        log.extend_from_slice(request.as_bytes());
        let close = if left == 0 && matches!(end, End::Announced) { "connection: close\r\n" } else { "" };
        let answer = format!("HTTP/1.1 200 OK\r\n{close}content-length: 2\r\n\r\nok");
        drop(stream.write_all(answer.as_bytes()).await);
    }
    // between "at once" and "when the next request is on its way"
    for _ in 0..rng.random_range(0..20) {
        tokio::task::yield_now().await;
    }
    match end {
        End::AfterAnswer | End::Announced | End::ResetAfterAnswer => {}
        End::InHead => {
            let mut some = [0; 7];
            if stream.read_exact(&mut some).await.is_ok() {
                log.extend_from_slice(&some);
            }
        }
        End::Unanswered => log.extend_from_slice(head(&mut stream).await.unwrap_or_default().as_bytes()),
    }
    if matches!(end, End::ResetAfterAnswer) {
        // what had arrived has reached us; what comes later is thrown away unseen
        let mut rest = [0; 4096];
        while let Ok(n @ 1..) = stream.try_read(&mut rest) {
            log.extend_from_slice(&rest[..n]);
        }
        stream.set_zero_linger().unwrap();
    } else {
        // we close, and still see all that was sent before they noticed
        drop(stream.shutdown().await);
        drop(stream.read_to_end(&mut log).await);
    }
    seen.lock().unwrap().extend_from_slice(&log);
}

/// How often the server saw each request, whole or in part.
fn count(seen: &[u8]) -> Counts {
    let text = std::str::from_utf8(seen).unwrap();
    let mut counts = Counts::new();
    for rest in text.split("GET /").skip(1) {
        *counts.entry(rest[..6].parse().unwrap()).or_default() += 1;
    }
    counts
}

#[derive(Debug, Default)]
struct Tally {
    answered: usize,
    never_left: usize,
    may_have_left: usize,
}

/// How the exchange of each request ended.
type Outcomes = HashMap<usize, Result<(), SendError>>;

/// Four callers at once, each with 400 requests, one after the other.
async fn ask_all(upstream: Upstream) -> Outcomes {
    let upstream = Arc::new(upstream);
    let callers = (0..4).map(|n| tokio::spawn(ask(Arc::clone(&upstream), n * 400..(n + 1) * 400)));
    let parts: Vec<_> = callers.collect();
    let mut outcomes = Outcomes::new();
    for part in parts {
        outcomes.extend(part.await.unwrap());
    }
    outcomes
}

async fn ask(upstream: Arc<Upstream>, ids: std::ops::Range<usize>) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for id in ids {
        let sent = AtomicUsize::new(0);
        let mark = || {
            sent.fetch_add(1, Ordering::Relaxed);
        };
        let outcome = upstream.send(get(&format!("/{id:06}")), mark).await;
        if !matches!(outcome, Err(SendError::NeverLeft(_))) {
            assert_eq!(sent.load(Ordering::Relaxed), 1, "what may have left is marked, once");
        }
        // a body that breaks off changes nothing: the head has come
        outcomes.insert(
            id,
            match outcome {
                Ok(response) => text(response).await.map(drop).or(Ok(())),
                Err(error) => Err(error),
            },
        );
        // sometimes the closing is seen first, sometimes the race is on
        for _ in 0..id % 7 {
            tokio::task::yield_now().await;
        }
    }
    outcomes
}

fn judge(outcomes: Outcomes, counts: &Counts) -> Tally {
    let mut tally = Tally::default();
    for (id, outcome) in outcomes {
        if let Err(error) = &outcome {
            assert_ne!(error.reason(), Reason::HttpResponseTimeout, "request {id} was left lying");
        }
        match (outcome, counts.get(&id).copied().unwrap_or(0)) {
            (Ok(()), 1) => tally.answered += 1,
            (Err(SendError::NeverLeft(_)), 0) => tally.never_left += 1,
            (Err(SendError::MayHaveLeft(_)), 0 | 1) => tally.may_have_left += 1,
            (outcome, times) => panic!("request {id} was seen {times} times and ended as {outcome:?}"),
        }
    }
    tally
}

/// Hands each connection to `serve` with its number, until `stopped`; ends when all
/// of them have ended.
async fn listen<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    mut stopped: tokio::sync::oneshot::Receiver<()>,
    serve: impl Fn(TcpStream, u64) -> F,
) {
    let mut connections = tokio::task::JoinSet::new();
    for number in 0.. {
        tokio::select! {
            accepted = listener.accept() => {
                connections.spawn(serve(accepted.unwrap().0, number));
            }
            _ = &mut stopped => break,
        }
    }
    connections.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_sent_twice_over_dying_http1_connections() {
    let (listener, address) = bound().await;
    let seen = Seen::default();
    let log = Arc::clone(&seen);
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let server = tokio::spawn(listen(listener, stopped, move |stream, n| nasty(stream, Arc::clone(&log), n)));
    let outcomes = ask_all(plain(address)).await;
    drop(stop);
    server.await.unwrap();
    let tally = judge(outcomes, &count(&seen.lock().unwrap()));
    assert!(tally.answered > 800, "{tally:?}");
    assert!(tally.may_have_left > 0, "the nasty moments were met: {tally:?}");
}

/// Answers a few streams, then says goodbye (GOAWAY) or is simply gone.
async fn nasty_h2(stream: TcpStream, counts: Arc<Mutex<Counts>>, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let enough = rng.random_range(1..9);
    let served = Arc::new(AtomicUsize::new(0));
    let done = Arc::new(tokio::sync::Notify::new());
    let tell = Arc::clone(&done);
    let service = service_fn(move |request: Request<Incoming>| {
        let id = request.uri().path()[1..].parse().unwrap();
        *counts.lock().unwrap().entry(id).or_default() += 1;
        if served.fetch_add(1, Ordering::Relaxed) + 1 == enough {
            tell.notify_one();
        }
        async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("ok"))) }
    });
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        () = done.notified() => {}
    }
    for _ in 0..rng.random_range(0..20) {
        tokio::task::yield_now().await;
    }
    if rng.random_bool(0.7) {
        connection.as_mut().graceful_shutdown();
        drop(connection.await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_sent_twice_over_dying_http2_connections() {
    let (listener, address) = bound().await;
    let counts = Arc::new(Mutex::new(Counts::new()));
    let log = Arc::clone(&counts);
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let server =
        tokio::spawn(listen(listener, stopped, move |stream, n| nasty_h2(stream, Arc::clone(&log), n)));
    let origin = origin(Scheme::Http, &address.to_string(), true);
    let outcomes =
        ask_all(Upstream::at(&origin, &Transport::default(), TIMES, Clock::system()).unwrap()).await;
    drop(stop);
    server.await.unwrap();
    let tally = judge(outcomes, &counts.lock().unwrap());
    assert!(tally.answered > 800, "{tally:?}");
    assert!(tally.may_have_left > 0, "the nasty moments were met: {tally:?}");
}

/// A connection that closes between "it stands" and "take this" gives the request
/// back, which goes out once over another; or nowhere, if there is none.
#[tokio::test]
async fn a_request_that_was_never_taken_is_offered_to_another_connection() {
    for listening in [true, false] {
        let (listener, address) = bound().await;
        let upstream = plain(address);
        let first = upstream.ready().await.unwrap();
        drop(listener.accept().await.unwrap());
        while !matches!(&first.connection, Connection::H1(alone) if alone.is_closed()) {
            tokio::task::yield_now().await;
        }
        if listening {
            tokio::spawn(async move { serve_echo(listener.accept().await.unwrap().0).await });
            assert!(text(first.send(get("/once")).await.unwrap()).await.unwrap().contains("/once"));
        } else {
            drop(listener);
            let error = first.send(get("/once")).await.unwrap_err();
            let refused = matches!(&error, SendError::NeverLeft(f) if f.reason == Reason::ConnectionRefused);
            assert!(refused, "{error}");
        }
    }
}
