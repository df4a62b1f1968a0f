//! Real sockets on loopback; waiting passes at once under tokio's paused time.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::stream;
use http::StatusCode;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::*;
use crate::clock::Moment;

const SECOND: Duration = Duration::from_secs(1);

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Drained>,
    clock: Clock,
    options: Options,
}

/// A listener whose service is `answer`.
async fn start<F>(answer: impl Fn(Request<RequestBody>) -> F + Clone + Send + Sync + 'static) -> Running
where
    F: Future<Output = Response<TestBody>> + Send + 'static,
{
    start_with(16, answer).await
}

async fn start_with<F>(
    max_connections: usize,
    answer: impl Fn(Request<RequestBody>) -> F + Clone + Send + Sync + 'static,
) -> Running
where
    F: Future<Output = Response<TestBody>> + Send + 'static,
{
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let clock = Clock::virtual_at(crate::clock::UnixTime::from_secs(0));
    let options = Options { max_connections, ..Options::new(clock, 20 * SECOND) };
    let (stop, stopped) = oneshot::channel();
    let service = move |request, peer: Peer| {
        assert!(peer.ip().is_loopback());
        answer(request)
    };
    let server = serve((listener, None), service, options, async { drop(stopped.await) });
    Running { address, stop, server, clock, options }
}

type TestBody = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

fn said(text: impl Into<Bytes>) -> Response<TestBody> {
    Response::new(Full::new(text.into()).boxed_unsync())
}

/// An answer without end.
fn endless() -> Response<TestBody> {
    let frames = stream::repeat_with(|| Ok(Frame::data(Bytes::from(vec![b'x'; 64 * 1024]))));
    Response::new(StreamBody::new(frames).boxed_unsync())
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    fn elapsed_secs(&self) -> u64 {
        self.clock.now().since(Moment::ZERO).as_secs()
    }

    async fn wait(&self, time: Duration) {
        self.clock.sleep_until(self.clock.now() + time).await;
    }
}

/// All that the server says until it closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    drop(stream.read_to_end(&mut bytes).await);
    String::from_utf8(bytes).unwrap()
}

/// One answer of which the body is `body`.
async fn answer(stream: &mut TcpStream, body: &str) {
    let mut bytes = Vec::new();
    while !bytes.ends_with(body.as_bytes()) {
        bytes.push(stream.read_u8().await.unwrap());
    }
}

/// An HTTP/2 connection without TLS.
async fn h2(stream: TcpStream) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
    let io = TokioIo::new(stream);
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn get(running: &Running) -> Request<Full<Bytes>> {
    Request::get(format!("http://{}/", running.address)).body(Full::default()).unwrap()
}

#[tokio::test]
async fn one_port_speaks_http1_and_h2c() {
    let running = start(|request| async move { said(format!("{:?}.", request.version())) }).await;
    let mut stream = running.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    answer(&mut stream, "HTTP/1.1.").await;
    let response = h2(running.connect().await).await.send_request(get(&running)).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "HTTP/2.0.");
}

#[tokio::test]
async fn heads_that_are_too_large_are_431() {
    let running = start(|_| async { said("never") }).await;
    let many = "a: b\r\n".repeat(101);
    let large = format!("a: {}\r\n", "b".repeat(300_000));
    for fields in [many, large] {
        let mut stream = running.connect().await;
        drop(stream.write_all(format!("GET / HTTP/1.1\r\n{fields}\r\n").as_bytes()).await);
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 431");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_is_cut_off() {
    let running = start(|_| async { said("never") }).await;
    let mut stream = running.connect().await;
    for byte in b"GET / HTTP/1.1\r\n" {
        if stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        running.wait(SECOND).await;
    }
    // a few bytes came after the cut; what counts is that it came, and when
    assert_eq!(rest(&mut stream).await, "");
    let limit = running.options.head_timeout.as_secs();
    assert!((limit..limit + 8).contains(&running.elapsed_secs()), "{}", running.elapsed_secs());
}

#[tokio::test(start_paused = true)]
async fn connections_that_do_nothing_are_closed() {
    let running = start(|_| async { said("done") }).await;
    let keep_alive = running.options.keep_alive.as_secs();
    let mut silent = running.connect().await;
    assert_eq!(rest(&mut silent).await, "");
    assert_eq!(running.elapsed_secs(), keep_alive, "not a byte");

    let mut idle = running.connect().await;
    for _ in 0..3 {
        idle.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        answer(&mut idle, "done").await;
        running.wait(running.options.keep_alive - SECOND).await;
    }
    let before = running.elapsed_secs();
    assert_eq!(rest(&mut idle).await, "");
    assert_eq!(running.elapsed_secs() - before, 1, "kept alive between requests, not after");

    let mut sender = h2(running.connect().await).await;
    sender.send_request(get(&running)).await.unwrap().into_body().collect().await.unwrap();
    let before = running.elapsed_secs();
    while !sender.is_closed() {
        running.wait(SECOND).await;
    }
    let took = running.elapsed_secs() - before;
    assert!((keep_alive..=keep_alive + 2).contains(&took), "HTTP/2: {took}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_us_is_never_cut_off() {
    let running = start(|_| async {
        let clock = Clock::virtual_at(crate::clock::UnixTime::from_secs(0));
        clock.sleep_until(clock.now() + 600 * SECOND).await;
        said("at last")
    })
    .await;
    let mut stream = running.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    answer(&mut stream, "at last").await;
    assert_eq!(running.elapsed_secs(), 600);
}

#[tokio::test(start_paused = true)]
async fn a_request_body_that_falls_silent_breaks_off() {
    let running = start(|request| async move {
        match request.into_body().collect().await {
            Err(RequestBodyError::TooSlow) => said("too slow"),
            other => panic!("{other:?}"),
        }
    })
    .await;
    let mut stream = running.connect().await;
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n").await.unwrap();
    for _ in 0..5 {
        stream.write_all(b"x").await.unwrap();
        running.wait(running.options.body_timeout - SECOND).await;
    }
    answer(&mut stream, "too slow").await;
    let body_timeout = running.options.body_timeout.as_secs();
    assert_eq!(running.elapsed_secs(), 4 * (body_timeout - 1) + body_timeout);
}

#[tokio::test(start_paused = true)]
async fn who_reads_nothing_is_cut_off() {
    let running = start(|_| async { endless() }).await;
    let write_timeout = running.options.write_timeout.as_secs();
    let mut stream = running.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    running.wait(running.options.write_timeout + SECOND).await;
    rest(&mut stream).await;
    assert_eq!(running.elapsed_secs(), write_timeout + 1, "it was cut before, or this would not end");

    let mut sender = h2(running.connect().await).await;
    let unread = sender.send_request(get(&running)).await.unwrap();
    let before = running.elapsed_secs();
    while !sender.is_closed() {
        running.wait(SECOND).await;
    }
    let took = running.elapsed_secs() - before;
    assert!((write_timeout..=2 * write_timeout + 2).contains(&took), "HTTP/2: {took}");
    drop(unread);
}

#[tokio::test(start_paused = true)]
async fn who_reads_slowly_but_reads_is_not_cut_off() {
    const LENGTH: usize = 16 * 1024 * 1024;
    let running = start(|_| async { said(vec![b'x'; LENGTH]) }).await;
    let mut stream = running.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut read = 0;
    let mut some = vec![0; 512 * 1024];
    loop {
        running.wait(running.options.write_timeout - 5 * SECOND).await;
        let mut now = 0;
        while now < some.len() {
            match stream.read(&mut some[now..]).await.unwrap() {
                0 => return assert!(read + now > LENGTH, "{}", read + now),
                n => now += n,
            }
        }
        read += now;
    }
}

/// Tells when it is dropped.
struct Told(Arc<AtomicUsize>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn who_hangs_up_is_not_served_any_further() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let (count, began) = (Arc::clone(&dropped), Arc::new(tokio::sync::Notify::new()));
    let begin = Arc::clone(&began);
    let running = start(move |_| {
        let (told, begin) = (Told(Arc::clone(&count)), Arc::clone(&begin));
        async move {
            let _told = told;
            begin.notify_one();
            std::future::pending().await
        }
    })
    .await;
    let mut stream = running.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    began.notified().await;
    drop(stream);
    while dropped.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn stopping_finishes_what_is_under_way_and_takes_nothing_new() {
    let running = start(|_| async {
        let clock = Clock::virtual_at(crate::clock::UnixTime::from_secs(0));
        clock.sleep_until(clock.now() + 10 * SECOND).await;
        said("finished")
    })
    .await;
    let mut idle = running.connect().await;
    let mut busy = running.connect().await;
    busy.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut sender = h2(running.connect().await).await;
    let mut stream = pin!(sender.send_request(get(&running)));
    tokio::select! {
        _ = &mut stream => panic!("too early"),
        () = running.wait(SECOND) => {}
    }
    running.stop.send(()).unwrap();
    assert_eq!(rest(&mut idle).await, "");
    assert_eq!(
        running.clock.now().since(Moment::ZERO).as_secs(),
        2,
        "a new one has a second for its request"
    );
    assert!(TcpStream::connect(running.address).await.is_err(), "the door is shut");
    answer(&mut busy, "finished").await;
    assert_eq!(stream.await.unwrap().status(), StatusCode::OK);
    assert_eq!(running.server.await.unwrap(), Drained { cut: 0 });
    assert_eq!(running.clock.now().since(Moment::ZERO).as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn stopping_cuts_what_does_not_end_within_the_grace() {
    let running = start(|_| std::future::pending()).await;
    let mut stream = running.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    running.wait(SECOND).await;
    running.stop.send(()).unwrap();
    assert_eq!(running.server.await.unwrap(), Drained { cut: 1 });
    assert_eq!(rest(&mut stream).await, "");
    let grace = running.options.shutdown_grace.as_secs();
    assert_eq!(running.clock.now().since(Moment::ZERO).as_secs(), 1 + grace);
}

#[tokio::test(start_paused = true)]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let running = start_with(1, |_| async { said("done") }).await;
    let mut first = running.connect().await;
    first.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    answer(&mut first, "done").await;
    let mut second = running.connect().await;
    second.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut byte = [0];
    tokio::select! {
        _ = second.read(&mut byte) => panic!("there was no place"),
        () = running.wait(5 * SECOND) => {}
    }
    drop(first);
    answer(&mut second, "done").await;
}

/// A door with TLS, of the fixtures' certificate.
async fn start_secure() -> Running {
    let pem =
        |name: &str| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/tls").join(name);
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let clock = Clock::virtual_at(crate::clock::UnixTime::from_secs(0));
    let files = crate::config::ServerTls {
        listen: address,
        cert: pem("server.pem"),
        key: pem("server.key"),
        clients: None,
    };
    let tls = Tls::open(&files, clock).unwrap();
    let options = Options { max_connections: 2, ..Options::new(clock, 20 * SECOND) };
    let (stop, stopped) = oneshot::channel();
    let service = |_, _| async { said("") };
    let server = serve((listener, Some(tls)), service, options, async { drop(stopped.await) });
    Running { address, stop, server, clock, options }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_has_the_time_of_a_head_and_a_connections_place() {
    let running = start_secure().await;
    let began = running.clock.now();
    let mut silent = [running.connect().await, running.connect().await];
    // The first bytes of a handshake, and no more.
    silent[1].write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await.unwrap();
    // No place is left, so this one is not even accepted before one of them is cut.
    let mut third = running.connect().await;
    for stream in &mut silent {
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0);
    }
    let took = running.clock.now().since(began);
    assert!(took >= running.options.head_timeout && took < 2 * running.options.head_timeout, "{took:?}");
    assert_eq!(third.read(&mut [0; 16]).await.unwrap_or(0), 0, "it has its own time");
}

#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_for_handshakes() {
    let running = start_secure().await;
    let mut silent = running.connect().await;
    silent.write_all(&[0x16]).await.unwrap();
    let began = running.clock.now();
    running.stop.send(()).unwrap();
    assert_eq!(running.server.await.unwrap(), Drained { cut: 0 });
    assert!(running.clock.now().since(began) <= SECOND);
}
