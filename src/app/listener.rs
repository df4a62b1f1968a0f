//! The consumers' door: accepts connections, plain or TLS, speaks HTTP/1.1 and HTTP/2
//! (without TLS by prior knowledge) and hands each request to the service with its peer.
//!
//! Everything a caller can hold on to is bounded: connections, heads (431 beyond),
//! streams, and times. `guard` cuts connections that send no whole head, read no
//! answer or do nothing at all; `body` cuts request bodies that stand still; a
//! handshake has the time of a head, and holds a connection's place. A
//! caller who hangs up makes hyper drop the service's future at whatever await it is.
//! `streams` says where HTTP/2's requests run, `outgoing` how answers leave.
//!
//! Stopping: no new connections, idle ones are closed, what is under way is finished
//! within the grace, the rest is cut. A connection that has asked nothing yet was accepted
//! a moment ago, as a rule: it has another moment for its first request.

mod body;
mod doors;
mod ending;
mod guard;
mod outgoing;
mod streams;
mod tls;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout_at;

use crate::clock::Clock;
use crate::consumer::{self, Certificate};
use crate::upstream::BoxError;

use body::Answer;
use ending::{Stopped, to_its_end};
use guard::{Activity, Guarded};
use outgoing::Outgoing;
use streams::AtOnce;

pub use body::{RequestBody, RequestBodyError};
pub use doors::Doors;
pub use tls::{Tls, Unfit};

/// The most that a request's head may have; beyond it hyper answers 431, and beyond 100
/// fields, its own bound: to name it costs two lists of that size, filled for each request.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Requests under way on one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
/// What an HTTP/2 caller may send before we have read it, per stream and in all.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// What is held back per HTTP/2 stream for a caller who reads slowly.
const MAX_SEND_BUFFER_BYTES: usize = 256 * 1024;
/// What the kernel holds back per connection (it takes twice that, for its own needs).
const SEND_BUFFER_BYTES: u32 = 256 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// A silent HTTP/2 connection is asked whether it lives.
const PING_AFTER: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Before accepting again when the system refuses (no file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What answers requests: any function from a request and its peer to the future of a
/// response, which is dropped when the caller hangs up.
pub trait Service: Clone + Send + Sync + 'static {
    /// The body of a response.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static;

    /// What becomes a response.
    type Future: Future<Output = Response<Self::Body>> + Send + 'static;

    /// Answers one request.
    fn answer(&self, request: Request<RequestBody>, peer: Peer) -> Self::Future;
}

impl<S, F, B> Service for S
where
    S: Fn(Request<RequestBody>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Body = B;
    type Future = F;

    fn answer(&self, request: Request<RequestBody>, peer: Peer) -> F {
        self(request, peer)
    }
}

/// How long callers may take, and how many there may be.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What measures it.
    pub clock: Clock,
    /// Open connections; more wait in the system's backlog.
    pub max_connections: usize,
    /// How long a connection may stand without a request under way.
    pub keep_alive: Duration,
    /// From the first byte of a head to its last.
    pub head_timeout: Duration,
    /// The longest silence within a request's body.
    pub body_timeout: Duration,
    /// The longest time in which a caller takes nothing of an answer.
    pub write_timeout: Duration,
    /// How long a stopping listener goes on with what is under way.
    pub shutdown_grace: Duration,
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    address: SocketAddr,
    certificate: Option<Arc<Certificate>>,
}

/// How stopping went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections with something under way that were cut when the grace was over.
    pub cut: usize,
}

/// A listening socket whose connections hold back no more than 256 KiB
/// in the kernel. That bounds memory, and how slowly one may read: the kernel lets us
/// write again only after a third of its buffer is gone, which it would grow to
/// megabytes by itself, and a slow reader would seem to read nothing.
///
/// # Errors
/// As the system says: the address is taken, or not ours.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // a successor may listen while connections of the predecessor are still closing
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The same for a socket that somebody else has bound.
///
/// # Errors
/// As the system says: it is no socket to listen on.
pub fn adopt(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    rustix::net::sockopt::set_socket_send_buffer_size(&listener, SEND_BUFFER_BYTES as usize)?;
    TcpListener::from_std(listener)
}

/// Serves the connections of a [`bind`], plain or (with `tls`) over TLS, until `shutdown`
/// resolves and what was under way has ended. The service's future is dropped when its
/// caller hangs up.
pub fn serve<S: Service>(
    (listener, tls): (TcpListener, Option<Arc<Tls>>),
    service: S,
    options: Options,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<Drained> {
    let server = Arc::new(Server { builder: builder(), service, options, tls });
    tokio::spawn(async move {
        let mut shutdown = std::pin::pin!(shutdown);
        let places = Arc::new(Semaphore::new(options.max_connections));
        let (open, stopped) = watch::channel(());
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(_) = connections.join_next() => {}
                (stream, address, place) = accept(&listener, &places, options.clock) => {
                    connections.spawn(Arc::clone(&server).converse(stream, address, stopped.clone(), place));
                }
            }
        }
        // closed first: a balancer's next attempt must find the door shut, not a queue
        drop(listener);
        drop(open);
        drain(connections, &options).await
    })
}

async fn drain(mut connections: JoinSet<()>, options: &Options) -> Drained {
    let deadline = options.clock.instant(options.clock.now() + options.shutdown_grace);
    let all = async { while connections.join_next().await.is_some() {} };
    // Or the grace is over: what has not ended is what is left.
    let _ = timeout_at(deadline, all).await;
    while connections.try_join_next().is_some() {}
    let cut = connections.len();
    connections.shutdown().await;
    Drained { cut }
}

/// The next connection, once there is a place for it. Dropping it loses none: what
/// was not accepted stays in the backlog.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    clock: Clock,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                // a caller that is gone already shows itself at the first read
                drop(stream.set_nodelay(true));
                return (stream, address, place);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                clock.sleep_until(clock.now() + ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What all connections of a listener share.
struct Server<S> {
    builder: auto::Builder<AtOnce>,
    service: S,
    options: Options,
    tls: Option<Arc<Tls>>,
}

impl<S: Service> Server<S> {
    /// A connection from its first byte to its last, at which it gives up its place.
    async fn converse(
        self: Arc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        stopped: Stopped,
        _place: OwnedSemaphorePermit,
    ) {
        let ended = match &self.tls {
            None => self.serve(stream, Peer { address, certificate: None }, stopped).await,
            // In a box: or every plain connection has room for what TLS needs.
            Some(tls) => Box::pin(self.serve_secure(tls, stream, (address, stopped))).await,
        };
        // hyper, or TLS, has told the caller what could be told
        if let Err(error) = ended {
            tracing::debug!(peer = %address, %error, "connection ended");
        }
    }

    async fn serve_secure(
        &self,
        tls: &Tls,
        stream: TcpStream,
        (address, stopped): (SocketAddr, Stopped),
    ) -> Result<(), BoxError> {
        let (stream, certificate) = tokio::select! {
            shaken = self.handshake(tls, stream) => shaken?,
            () = self.last_moment(stopped.clone()) => return Ok(()),
        };
        let peer = Peer { address, certificate: certificate.map(Arc::new) };
        self.serve(stream, peer, stopped).await
    }

    async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
        stopped: Stopped,
    ) -> Result<(), BoxError> {
        let activity = Activity::new(self.options.clock);
        let connection = pin!(self.connection(stream, peer, &activity));
        to_its_end(connection, &activity, (stopped, &self.options)).await
    }

    /// The listener stops, and there was time for a first request.
    async fn last_moment(&self, mut stopped: Stopped) {
        // Nothing is ever sent: the other end is dropped.
        let _ = stopped.changed().await;
        self.options.first_request().await;
    }

    async fn handshake(&self, tls: &Tls, stream: TcpStream) -> io::Result<Shaken> {
        let clock = self.options.clock;
        let deadline = clock.instant(clock.now() + self.options.head_timeout);
        match timeout_at(deadline, tls.accept(stream)).await {
            Ok(shaken) => shaken,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no handshake in time")),
        }
    }

    fn connection<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: IO,
        peer: Peer,
        activity: &Arc<Activity>,
    ) -> impl GracefulConnection<Error = BoxError> + Send + use<S, IO> {
        let options = self.options;
        let activity = Arc::clone(activity);
        let stream = Outgoing::new(Guarded::new(stream, Arc::clone(&activity), &options));
        let service = self.service.clone();
        let each = service_fn(move |request: Request<Incoming>| {
            let exchange = Activity::begin(&activity);
            let request = request.map(|body| RequestBody::new(body, options.clock, options.body_timeout));
            let answer = service.answer(request, peer.clone());
            async move {
                let response = answer.await;
                Ok::<_, Infallible>(response.map(|body| Answer::new(body, exchange)))
            }
        });
        self.builder.serve_connection(TokioIo::new(stream), each).into_owned()
    }
}

type Shaken = (tokio_rustls::server::TlsStream<TcpStream>, Option<Certificate>);

fn builder() -> auto::Builder<AtOnce> {
    let mut builder = auto::Builder::new(AtOnce);
    builder
        .http1()
        .max_buf_size(MAX_HEAD_BYTES)
        // the guard does it, from the connection's first byte on and with one timer
        .header_read_timeout(None);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).expect("64 KiB"))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(MAX_SEND_BUFFER_BYTES)
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

impl Options {
    /// Bounds that fit a gateway inside a company.
    #[must_use]
    pub fn new(clock: Clock, shutdown_grace: Duration) -> Self {
        Self {
            clock,
            max_connections: 16_384,
            keep_alive: Duration::from_secs(75),
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            shutdown_grace,
        }
    }
}

impl Peer {
    /// Address and port as the system has them.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address; IPv4 as such even on a socket for both families.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.address.ip().to_canonical()
    }

    /// What tells who it is.
    #[must_use]
    pub fn seen(&self) -> consumer::Peer<'_> {
        consumer::Peer { address: self.ip(), certificate: self.certificate.as_deref() }
    }
}

#[cfg(test)]
mod tests;
