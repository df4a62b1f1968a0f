//! Real sockets on loopback; hours of waiting pass at once under tokio's paused time.

mod dying;
mod secure;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

use secure::trusting;

const SECOND: Duration = Duration::from_secs(1);
const TIMES: Times = Times {
    head: SECOND.saturating_mul(30),
    connect: SECOND.saturating_mul(5),
    idle: SECOND.saturating_mul(20),
};

fn origin(scheme: Scheme, authority: &str, h2c: bool) -> Origin {
    Origin { scheme, authority: authority.parse().unwrap(), base_path: String::new(), h2c }
}

fn plain(address: SocketAddr) -> Upstream {
    let origin = origin(Scheme::Http, &address.to_string(), false);
    Upstream::at(&origin, &Transport::default(), TIMES, Clock::system()).unwrap()
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(path).body(Empty::new()).unwrap()
}

async fn text(response: Response<UpstreamBody>) -> Result<String, BodyError> {
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

/// A listener, and its address.
async fn bound() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Answers each connection with `answer`, a raw script.
async fn scripted<F>(answer: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let (listener, address) = bound().await;
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(stream));
        }
    });
    address
}

/// Reads one head without body; none at the end of the stream.
async fn head<S: AsyncRead + Unpin>(stream: &mut S) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(bytes).unwrap())
}

/// Says what it was asked: version, scheme, host, method, path, body.
async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let host = head.headers.get(header::HOST).map(|host| host.to_str().unwrap());
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8_lossy(&body);
    let seen = format!("{:?} {} {} host={host:?} body={body}", head.version, head.method, head.uri);
    Ok(Response::new(Full::from(seen)))
}

async fn serve_echo<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) {
    let server = auto::Builder::new(TokioExecutor::new());
    drop(server.serve_connection(TokioIo::new(stream), service_fn(echo)).await);
}

#[tokio::test]
async fn sends_the_configured_authority_and_base_path_and_nothing_of_the_callers() {
    let address = scripted(serve_echo).await;
    let mut origin = origin(Scheme::Http, &address.to_string(), false);
    origin.base_path = "/base".into();
    let upstream = Upstream::at(&origin, &Transport::default(), TIMES, Clock::system()).unwrap();
    let mut request = get("http://evil.example/a/b?x=1");
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("evil.example"));
    let said = text(upstream.send(request, || ()).await.unwrap()).await.unwrap();
    assert_eq!(said, format!("HTTP/1.1 GET /base/a/b?x=1 host=Some(\"{address}\") body="));
}

#[tokio::test]
async fn speaks_h2_without_tls_only_when_configured() {
    let address = scripted(serve_echo).await;
    let origin = origin(Scheme::Http, &address.to_string(), true);
    let upstream = Upstream::at(&origin, &Transport::default(), TIMES, Clock::system()).unwrap();
    let request = Request::post("/a?b").body(Full::from("some body")).unwrap();
    let said = text(upstream.send(request, || ()).await.unwrap()).await.unwrap();
    assert_eq!(said, format!("HTTP/2.0 POST http://{address}/a?b host=None body=some body"));
}

#[tokio::test]
async fn h2_callers_share_one_connection_from_a_cold_start() {
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    let address = scripted(move |stream| {
        count.fetch_add(1, Ordering::Relaxed);
        serve_echo(stream)
    })
    .await;
    let origin = origin(Scheme::Http, &address.to_string(), true);
    let upstream = Upstream::at(&origin, &Transport::default(), TIMES, Clock::system()).unwrap();
    let asked = (0..50).map(|_| async { text(upstream.send(get("/"), || ()).await.unwrap()).await.unwrap() });
    futures_util::future::join_all(asked).await;
    assert_eq!(accepted.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_refused_connection_never_left_and_is_never_marked_sent() {
    let (listener, address) = bound().await;
    drop(listener);
    let sent = AtomicBool::new(false);
    let error = plain(address).send(get("/"), || sent.store(true, Ordering::Relaxed)).await.unwrap_err();
    assert!(matches!(&error, SendError::NeverLeft(f) if f.reason == Reason::ConnectionRefused), "{error}");
    assert!(!sent.load(Ordering::Relaxed));
}

#[tokio::test]
async fn a_name_without_address_is_a_dns_error() {
    let origin = origin(Scheme::Http, "no-such-name.invalid", false);
    let upstream = Upstream::at(&origin, &Transport::default(), TIMES, Clock::system()).unwrap();
    let error = upstream.send(get("/"), || ()).await.unwrap_err();
    assert!(matches!(&error, SendError::NeverLeft(f) if f.reason == Reason::DnsError), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_never_ends_is_cut_at_connect_timeout() {
    let address = scripted(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let origin = origin(Scheme::Https, &address.to_string(), false);
    let (_dir, ca, _) = secure::authority();
    let clock = Clock::virtual_at(crate::clock::UnixTime::from_secs(0));
    let upstream = Upstream::at(&origin, &trusting(&ca), TIMES, clock).unwrap();
    let error = upstream.send(get("/"), || ()).await.unwrap_err();
    assert!(matches!(&error, SendError::NeverLeft(f) if f.reason == Reason::ConnectionTimeout), "{error}");
    assert_eq!(clock.now().since(Moment::ZERO).as_secs(), TIMES.connect.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_is_cut_at_the_timeout() {
    let address = scripted(|mut stream| async move {
        head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let clock = Clock::virtual_at(crate::clock::UnixTime::from_secs(0));
    let sent = AtomicBool::new(false);
    let error = plain(address).send(get("/"), || sent.store(true, Ordering::Relaxed)).await.unwrap_err();
    assert!(
        matches!(&error, SendError::MayHaveLeft(f) if f.reason == Reason::HttpResponseTimeout),
        "{error}"
    );
    assert!(sent.load(Ordering::Relaxed));
    assert_eq!(clock.now().since(Moment::ZERO).as_secs(), TIMES.head.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_body_may_be_slow_but_not_silent() {
    let address = scripted(|mut stream| async move {
        let clock = Clock::virtual_at(crate::clock::UnixTime::from_secs(0));
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n").await.unwrap();
        for _ in 0..5 {
            clock.sleep_until(clock.now() + TIMES.idle - SECOND).await;
            stream.write_all(b"x").await.unwrap();
        }
        std::future::pending::<()>().await;
    })
    .await;
    let upstream = plain(address);
    let mut body = pin!(upstream.send(get("/"), || ()).await.unwrap().into_body());
    for _ in 0..5 {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "x");
    }
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Reason::ConnectionReadTimeout);
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_body_that_ends_early_is_not_whole() {
    let address = scripted(|mut stream| async move {
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc").await.unwrap();
    })
    .await;
    let error = text(plain(address).send(get("/"), || ()).await.unwrap()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::HttpResponseIncomplete);
}

#[tokio::test]
async fn answers_that_are_not_http_or_too_large_have_their_own_reasons() {
    let huge = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(100_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(300));
    let cases = [
        ("nonsense\r\n\r\n", Reason::HttpProtocolError),
        (huge.as_str(), Reason::HttpResponseHeaderSectionSize),
        (many.as_str(), Reason::HttpResponseHeaderSectionSize),
        ("", Reason::ConnectionTerminated),
    ];
    for (answer, reason) in cases {
        let bytes = answer.to_owned();
        let address = scripted(move |mut stream| {
            let bytes = bytes.clone();
            async move {
                head(&mut stream).await;
                drop(stream.write_all(bytes.as_bytes()).await);
                // the rest of what the client may say, so that closing is no reset
                drop(stream.shutdown().await);
                drop(stream.read_to_end(&mut Vec::new()).await);
            }
        })
        .await;
        let error = plain(address).send(get("/"), || ()).await.unwrap_err();
        assert!(matches!(&error, SendError::MayHaveLeft(f) if f.reason == reason), "{reason:?}: {error}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_at_the_caller_is_the_callers_fault() {
    let address = scripted(serve_echo).await;
    let chunks = [Ok(http_body::Frame::data(Bytes::from("abc"))), Err("hung up")];
    let body = http_body_util::StreamBody::new(futures_util::stream::iter(chunks));
    let request = Request::post("/").body(body).unwrap();
    let error = plain(address).send(request, || ()).await.unwrap_err();
    assert!(matches!(&error, SendError::MayHaveLeft(f) if f.reason == Reason::HttpRequestError), "{error}");
}

#[tokio::test(start_paused = true)]
async fn connections_are_reused_and_closed_when_idle_for_too_long() {
    let open = Arc::new(AtomicUsize::new(0));
    let accepted = Arc::new(AtomicUsize::new(0));
    let (is_open, count) = (Arc::clone(&open), Arc::clone(&accepted));
    let address = scripted(move |stream| {
        count.fetch_add(1, Ordering::Relaxed);
        is_open.fetch_add(1, Ordering::Relaxed);
        let is_open = Arc::clone(&is_open);
        async move {
            serve_echo(stream).await;
            is_open.fetch_sub(1, Ordering::Relaxed);
        }
    })
    .await;
    let clock = Clock::system();
    let upstream = plain(address);
    for _ in 0..10 {
        text(upstream.send(get("/"), || ()).await.unwrap()).await.unwrap();
        clock.sleep_until(clock.now() + SECOND).await;
    }
    assert_eq!(accepted.load(Ordering::Relaxed), 1, "one after the other on one connection");
    assert_eq!(open.load(Ordering::Relaxed), 1);
    clock.sleep_until(clock.now() + TIMES.idle + SECOND).await;
    assert_eq!(open.load(Ordering::Relaxed), 0, "closed though nobody asked");
}

#[tokio::test(start_paused = true)]
async fn exchanges_are_bounded_and_one_that_finds_no_place_never_left() {
    let address = scripted(serve_echo).await;
    let upstream = plain(address);
    let all = u32::try_from(MAX_EXCHANGES).unwrap();
    let places = Arc::clone(&upstream.exchanges).acquire_many_owned(all).await.unwrap();
    let error = upstream.send(get("/"), || ()).await.unwrap_err();
    assert!(
        matches!(&error, SendError::NeverLeft(f) if f.reason == Reason::ConnectionLimitReached),
        "{error}"
    );
    drop(places);
    let response = upstream.send(get("/"), || ()).await.unwrap();
    assert_eq!(upstream.exchanges.available_permits(), MAX_EXCHANGES - 1, "held until the body has ended");
    text(response).await.unwrap();
    assert_eq!(upstream.exchanges.available_permits(), MAX_EXCHANGES);
}

#[tokio::test]
async fn ipv6_addresses_are_asked_like_any_other() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        return; // this machine has no IPv6
    };
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { serve_echo(listener.accept().await.unwrap().0).await });
    let said = text(plain(address).send(get("/"), || ()).await.unwrap()).await.unwrap();
    assert!(said.contains("[::1]"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_old_takes_no_new_request() {
    for h2c in [false, true] {
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let address = scripted(move |stream| {
            count.fetch_add(1, Ordering::Relaxed);
            serve_echo(stream)
        })
        .await;
        let clock = Clock::virtual_at(crate::clock::UnixTime::from_secs(0));
        let origin = origin(Scheme::Http, &address.to_string(), h2c);
        let upstream = Upstream::at(&origin, &Transport::default(), TIMES, clock).unwrap();
        // Never idle for long: only its age can end it.
        let mut seen = Vec::new();
        for _ in 0..13 {
            text(upstream.send(get("/"), || ()).await.unwrap()).await.unwrap();
            seen.push(accepted.load(Ordering::Relaxed));
            clock.sleep_until(clock.now() + TIMES.idle / 2).await;
        }
        assert_eq!((seen[11], seen[12]), (1, 2), "h2c {h2c}: {seen:?}");
    }
}
