//! Sends one request to the vendor, exactly once, and says for certain whether
//! anything of it may have left.
//!
//! The budget pays for what leaves, so a request must not be repeated behind our
//! back and the moment between "a connection stands" and "the first byte" must be
//! ours. hyper-util's legacy client hides both (it connects, sends and repeats in
//! one call). So connections are made with hyper-util's connector and hyper's own
//! handshakes, and `pool` keeps the idle ones; it says why hyper-util's pools do not.
//!
//! The order of one exchange, see [`Upstream::send`]:
//! 1. a place among the exchanges under way, then a connection: idle, or new (DNS,
//!    TCP, a proxy's tunnel, TLS). All that fails up to here never left.
//! 2. `sent` is called: from here on the charge stands.
//! 3. the request is handed over. Only hyper's own word that a dying connection never
//!    took it (it gives the request back) allows another connection for it.
//! 4. the head within `timeout`, then a body whose silences `idle_timeout` bounds.
//!
//! A vendor who moves is followed: a connection takes no new request once it is two
//! minutes old, and each new one looks the name up again.

mod body;
mod connect;
mod error;
mod last_byte;
mod pool;
mod tls;
mod tunnel;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri, Version, header};
use http_body::Body;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout_at;

use crate::clock::{Clock, Moment};
use crate::config::{self, Origin, Scheme, Transport};

use connect::Connector;
use last_byte::{Watch, Watched};
use pool::{Connection, Pool};

pub use body::{BodyError, UpstreamBody};
pub use error::{Failure, Reason, SendError, SetupError};

/// Any error, as bodies of others bring it.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// A request's body on its way out.
type Outgoing = UnsyncBoxBody<Bytes, BoxError>;

/// Exchanges under way with one vendor, from the search for a connection to the
/// end of the body. Budgets keep it far lower; this bounds what has none.
const MAX_EXCHANGES: usize = 1024;

/// How long a connection to a server that is no vendor is kept.
const IDLE: Duration = Duration::from_secs(60);

/// Connections to which one request may be offered, should each die before it took it.
const MAX_OFFERS: usize = 3;

/// One vendor's API, and the connections to it.
#[derive(Debug)]
pub struct Upstream {
    origin: Origin,
    host: HeaderValue,
    times: Times,
    connector: Connector,
    pool: Arc<Pool>,
    exchanges: Arc<Semaphore>,
    /// Held while connecting to a vendor whose connections can be shared (HTTP/2)
    /// or that is not known yet: a cold burst must not open one for each request.
    connecting: tokio::sync::Mutex<()>,
    clock: Clock,
}

/// The longest that each part of an exchange may take.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// From the send to the response head.
    head: Duration,
    /// Until a connection stands, TLS included.
    connect: Duration,
    /// Silence within a body, and the life of an idle connection.
    idle: Duration,
}

/// A connection that stands, and a place for one exchange on it. Nothing has left;
/// dropping it gives both back.
#[derive(Debug)]
#[must_use]
pub struct Ready<'a> {
    upstream: &'a Upstream,
    connection: Connection,
    place: OwnedSemaphorePermit,
    /// The longest silence within the body.
    idle: Duration,
}

impl Upstream {
    /// Reads the roots that TLS trusts; connects to nothing yet.
    ///
    /// # Errors
    /// [`SetupError`] if there are no usable roots or the origin cannot be a URI.
    pub fn new(config: &config::Upstream, clock: Clock) -> Result<Self, SetupError> {
        let times =
            Times { head: config.timeout, connect: config.connect_timeout, idle: config.idle_timeout };
        Self::at(&config.origin, &config.transport, times, clock)
    }

    /// The same for a server that is no vendor: whoever asks answers for the time it takes.
    ///
    /// # Errors
    /// As [`Upstream::new`].
    pub fn server(
        origin: &Origin,
        transport: &Transport,
        timeout: Duration,
        clock: Clock,
    ) -> Result<Self, SetupError> {
        Self::at(origin, transport, Times { head: timeout, connect: timeout, idle: IDLE }, clock)
    }

    fn at(origin: &Origin, transport: &Transport, times: Times, clock: Clock) -> Result<Self, SetupError> {
        let host = HeaderValue::from_str(origin.authority.as_str())
            .map_err(|_| SetupError::Authority(origin.authority.to_string()))?;
        Ok(Self {
            origin: origin.clone(),
            host,
            times,
            connector: Connector::new(origin, transport, times.connect)?,
            pool: Pool::new(times.idle, clock),
            exchanges: Arc::new(Semaphore::new(MAX_EXCHANGES)),
            connecting: tokio::sync::Mutex::new(()),
            clock,
        })
    }

    /// Sends `request` once and waits for the head of its answer.
    ///
    /// Only path and query of its URI are used, behind the configured base path;
    /// scheme, authority and `Host` are the configured ones. Hop-by-hop fields are
    /// the caller's business. `sent` runs right before the request is handed to a
    /// connection that stands, at most once.
    ///
    /// Dropping the future after `sent` closes an HTTP/1.1 connection and resets an
    /// HTTP/2 stream; the request may have left.
    ///
    /// # Errors
    /// [`SendError::NeverLeft`] is certain, even if `sent` has run (each of the
    /// connections died before it took the request).
    pub async fn send<B>(
        &self,
        request: Request<B>,
        sent: impl FnOnce(),
    ) -> Result<Response<UpstreamBody>, SendError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let ready = self.ready().await?;
        sent();
        ready.send(request).await
    }

    /// A connection to send one request on, within `connect_timeout`. For those who
    /// want to look once more at their grant before the first byte leaves.
    ///
    /// # Errors
    /// Always [`SendError::NeverLeft`].
    pub async fn ready(&self) -> Result<Ready<'_>, SendError> {
        let deadline = self.clock.now() + self.times.connect;
        let place = match timeout_at(self.clock.instant(deadline), self.place()).await {
            Ok(place) => place,
            Err(_) => return Err(SendError::never(Reason::ConnectionLimitReached, "too many exchanges")),
        };
        let connection = self.connection(deadline).await.map_err(SendError::NeverLeft)?;
        Ok(Ready { upstream: self, connection, place, idle: self.times.idle })
    }

    /// The same if there is one at once.
    #[must_use]
    pub fn ready_now(&self) -> Option<Ready<'_>> {
        let place = Arc::clone(&self.exchanges).try_acquire_owned().ok()?;
        let connection = self.pool.take()?;
        Some(Ready { upstream: self, connection, place, idle: self.times.idle })
    }

    async fn place(&self) -> OwnedSemaphorePermit {
        let places = Arc::clone(&self.exchanges);
        places.acquire_owned().await.expect("the semaphore is never closed")
    }

    /// An idle connection, or a new one before `deadline`.
    async fn connection(&self, deadline: Moment) -> Result<Connection, Failure> {
        if let Some(connection) = self.pool.take() {
            return Ok(connection);
        }
        match timeout_at(self.clock.instant(deadline), self.connect()).await {
            Ok(connected) => connected,
            Err(_) => Err(Failure::new(Reason::ConnectionTimeout, "no connection in time")),
        }
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let mut alone = None;
        if self.pool.may_share() {
            alone = Some(self.connecting.lock().await);
            // while we waited, another may have made one for all
            if let Some(connection) = self.pool.take() {
                return Ok(connection);
            }
        }
        if !self.pool.may_share() {
            drop(alone.take());
        }
        let wire = self.connector.connect().await?;
        let connection = self.pool.adopt(wire);
        drop(alone);
        Ok(connection)
    }

    /// Puts the URI and `Host` into the form that this connection speaks.
    fn address<B>(&self, request: &mut Request<B>, path: &PathAndQuery, connection: &Connection) {
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = Some(path.clone());
        match connection {
            Connection::H1(_) => {
                *request.version_mut() = Version::HTTP_11;
                request.headers_mut().insert(header::HOST, self.host.clone());
            }
            Connection::H2(_) => {
                *request.version_mut() = Version::HTTP_2;
                request.headers_mut().remove(header::HOST);
                parts.scheme = Some(match self.origin.scheme {
                    Scheme::Http => http::uri::Scheme::HTTP,
                    Scheme::Https => http::uri::Scheme::HTTPS,
                });
                parts.authority = Some(self.origin.authority.clone());
            }
        }
        *request.uri_mut() = Uri::from_parts(parts).expect("a path alone, or all three parts, is a URI");
    }

    /// The path and query to send: base path and canonical path, set side by side.
    fn path(&self, uri: &Uri) -> Result<PathAndQuery, SendError> {
        let asked = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        if self.origin.base_path.is_empty() && asked.starts_with('/') {
            return Ok(uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
        }
        let whole = format!("{}{asked}", self.origin.base_path);
        // not named in the error: a query may hold the vendor's key
        PathAndQuery::try_from(whole)
            .map_err(|_| SendError::never(Reason::HttpRequestError, "path and query make no URI"))
    }
}

impl Ready<'_> {
    /// The same for an answer that may be silent for so long.
    pub fn silent_for(self, idle: Duration) -> Self {
        Self { idle, ..self }
    }

    /// Hands `request` over and waits for the head; see [`Upstream::send`].
    ///
    /// # Errors
    /// As [`Upstream::send`].
    pub async fn send<B>(self, request: Request<B>) -> Result<Response<UpstreamBody>, SendError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.send_watched(request, None).await
    }

    /// The same; `last_byte` is told when the request's last byte has been written to
    /// the system. Dropped untold where that is not known: a broken connection, a
    /// request with a body over HTTP/2.
    ///
    /// # Errors
    /// As [`Upstream::send`].
    pub async fn send_watched<B>(
        self,
        request: Request<B>,
        last_byte: Option<oneshot::Sender<()>>,
    ) -> Result<Response<UpstreamBody>, SendError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let Self { upstream, mut connection, place, idle } = self;
        let watch = last_byte.map(Watch::new);
        let deadline = upstream.clock.now() + upstream.times.head;
        let path = upstream.path(request.uri())?;
        let mut request = request.map(|body| {
            if watch.is_none() && body.is_end_stream() {
                return UnsyncBoxBody::default();
            }
            let body = UnsyncBoxBody::new(body.map_err(error::caller_body));
            match &watch {
                None => body,
                Some(watch) => UnsyncBoxBody::new(Watched::new(body, Arc::clone(watch))),
            }
        });
        for _ in 0..MAX_OFFERS {
            upstream.address(&mut request, &path, &connection);
            watch.as_ref().inspect(|watch| connection.watch(watch));
            let offer = connection.offer(request, &upstream.pool);
            request = match timeout_at(upstream.clock.instant(deadline), offer).await {
                Err(_) => {
                    return Err(SendError::maybe(Reason::HttpResponseTimeout, "no response head in time"));
                }
                Ok(Ok((response, kept))) => return Ok(upstream.listen(response, kept, place, idle)),
                Ok(Err(mut refused)) => match refused.take_message() {
                    Some(given_back) => given_back,
                    None => return Err(SendError::MayHaveLeft(Failure::of_exchange(&refused.into_error()))),
                },
            };
            let by = deadline.min(upstream.clock.now() + upstream.times.connect);
            connection = upstream.connection(by).await.map_err(SendError::NeverLeft)?;
        }
        Err(SendError::never(
            Reason::ConnectionTerminated,
            "each connection closed before it took the request",
        ))
    }
}

impl Upstream {
    /// Wraps the body so that the connection is kept for others once it has ended.
    fn listen(
        &self,
        response: Response<hyper::body::Incoming>,
        connection: Option<Connection>,
        place: OwnedSemaphorePermit,
        idle: Duration,
    ) -> Response<UpstreamBody> {
        let lease = pool::Lease::new(Arc::clone(&self.pool), connection, place);
        response.map(|body| UpstreamBody::new(body, lease, self.clock, idle))
    }
}

#[cfg(test)]
mod tests;
