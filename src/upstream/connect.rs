//! Opens connections: DNS anew each time, IPv4 and IPv6 in a race (RFC 8305, as
//! hyper-util has it), a tunnel where there is a proxy, TLS, and the handshake of the
//! protocol that was agreed on.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::client::conn::{http1, http2};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiAddrs, GaiResolver, Name};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower_service::Service;

use crate::config::{Origin, Scheme, Transport};

use super::Outgoing;
use super::error::{DnsFailed, Failure, Reason, SetupError};
use super::last_byte::{Outbox, Told};
use super::tls::Tls;
use super::tunnel::Tunnel;

/// The most that the head of a response may have, and 100 fields: hyper's own bound, since
/// to name one costs two lists of that size, filled for each answer.
pub(super) const MAX_HEAD_BYTES: usize = 64 * 1024;
/// What an HTTP/2 peer may send before we have read it, per stream and in all.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// Request bodies held back per HTTP/2 stream.
const MAX_SEND_BUFFER_BYTES: usize = 256 * 1024;
/// A silent HTTP/2 connection with open streams is asked whether it lives.
const PING_AFTER: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for TCP.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// Opens connections to one origin.
#[derive(Debug)]
pub(super) struct Connector {
    tcp: HttpConnector<Resolver>,
    origin: Uri,
    tls: Option<Tls>,
    tunnel: Option<Tunnel>,
    h2c: bool,
}

/// The sending side of a connection; a task of its own drives the other.
#[derive(Debug)]
pub(super) enum Wire {
    /// One exchange at a time.
    H1(http1::SendRequest<Outgoing>, Ended, Outbox),
    /// Many.
    H2(http2::SendRequest<Outgoing>, Ended, Outbox),
}

/// Tells that hyper has let go of a connection and takes no more requests from it.
#[derive(Clone, Debug)]
pub(super) struct Ended(watch::Receiver<()>);

impl Ended {
    /// Drives a connection to its end. How it ends is told to the exchanges on it; an
    /// idle one has nobody to tell.
    fn of(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) -> Self {
        let (open, ended) = watch::channel(());
        tokio::spawn(async move {
            connection.await.unwrap_or_default();
            drop(open);
        });
        Self(ended)
    }

    pub(super) async fn wait(&mut self) {
        // nothing is ever sent: this returns when the other side is dropped
        while self.0.changed().await.is_ok() {}
    }
}

impl Connector {
    pub(super) fn new(origin: &Origin, transport: &Transport, timeout: Duration) -> Result<Self, SetupError> {
        let (scheme, tls) = match origin.scheme {
            Scheme::Http => ("http", None),
            Scheme::Https => ("https", Some(Tls::new(origin.authority.host(), transport)?)),
        };
        let tunnel = transport.proxy.as_ref().map(|proxy| Tunnel::new(proxy, origin)).transpose()?;
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(origin.authority.clone())
            .path_and_query("/")
            .build()
            .map_err(|_| SetupError::Authority(origin.authority.to_string()))?;
        let mut tcp = HttpConnector::new_with_resolver(Resolver(GaiResolver::new()));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(TCP_KEEPALIVE));
        // shared out over the addresses, so that one dead address leaves time for the next
        tcp.set_connect_timeout(Some(timeout));
        Ok(Self { tcp, origin: uri, tls, tunnel, h2c: origin.h2c })
    }

    /// A new connection, ready for a request. The caller bounds the time.
    pub(super) async fn connect(&self) -> Result<Wire, Failure> {
        match (&self.tls, &self.tunnel) {
            (Some(tls), Some(tunnel)) => {
                let tcp = self.tcp(&tunnel.proxy).await.map_err(Failure::at_the_proxy)?;
                secure(tls, tunnel.through(tcp).await?).await
            }
            (Some(tls), None) => secure(tls, self.tcp(&self.origin).await?).await,
            (None, _) if self.h2c => http2(self.tcp(&self.origin).await?).await,
            (None, _) => http1(self.tcp(&self.origin).await?).await,
        }
    }

    async fn tcp(&self, to: &Uri) -> Result<TcpStream, Failure> {
        let mut tcp = self.tcp.clone();
        let connected = async {
            poll_fn(|cx| tcp.poll_ready(cx)).await?;
            tcp.call(to.clone()).await
        };
        connected.await.map(TokioIo::into_inner).map_err(|error| Failure::of_tcp(&error))
    }
}

async fn secure<S>(tls: &Tls, stream: S) -> Result<Wire, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = tls.handshake(stream).await?;
    if Tls::agreed_on_h2(&stream) { http2(stream).await } else { http1(stream).await }
}

async fn http1<S>(stream: S) -> Result<Wire, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (stream, outbox) = Told::new(stream);
    let (mut sender, connection) = http1::Builder::new()
        .max_header_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Failure::of_exchange(&error))?;
    let ended = Ended::of(connection);
    sender.ready().await.map_err(|error| Failure::of_exchange(&error))?;
    Ok(Wire::H1(sender, ended, outbox))
}

async fn http2<S>(stream: S) -> Result<Wire, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (stream, outbox) = Told::new(stream);
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).expect("64 KiB"))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(MAX_SEND_BUFFER_BYTES)
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_TIMEOUT)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Failure::new(Reason::HttpProtocolError, &error.to_string()))?;
    let ended = Ended::of(connection);
    sender.ready().await.map_err(|error| Failure::of_exchange(&error))?;
    Ok(Wire::H2(sender, ended, outbox))
}

/// The system's resolver, whose failures can be told from those of TCP.
#[derive(Clone, Debug)]
struct Resolver(GaiResolver);

impl Service<Name> for Resolver {
    type Response = GaiAddrs;
    type Error = DnsFailed;
    type Future = Pin<Box<dyn Future<Output = Result<GaiAddrs, DnsFailed>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DnsFailed>> {
        self.0.poll_ready(cx).map_err(DnsFailed)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let looked_up = self.0.call(name);
        Box::pin(async move { looked_up.await.map_err(DnsFailed) })
    }
}
