//! The listener and its connections: HTTP/1.1 and HTTP/2 without TLS.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::answer::Body;
use super::exchange::{self, Emulated, Fate};
use super::wire::{Splitter, Tap};

const CONNECTIONS: usize = 4_096;
const STREAMS: u32 = 1_024;
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Accepts connections until `stop` says so or its sender is gone.
pub(crate) async fn listen(emulated: Arc<Emulated>, listener: TcpListener, stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let accept = async {
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, address)) => {
                    let connection = connection(Arc::clone(&emulated), stream, address);
                    let stopped = stopped(stop.clone());
                    tokio::spawn(async move {
                        tokio::select! {
                            () = connection => {}
                            () = stopped => {}
                        }
                        drop(permit);
                    });
                }
                // Out of file descriptors, or the peer has gone already: go on.
                Err(error) => {
                    tracing::debug!(%error, "the emulator could not accept a connection");
                    emulated.time.sleep(Duration::from_millis(10)).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept => {}
        () = stopped(stop.clone()) => {}
    }
}

/// Resolves when the emulator stops.
pub(crate) async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the handle is gone, which stops it just the same.
    drop(stop.wait_for(|stop| *stop).await);
}

async fn connection(emulated: Arc<Emulated>, stream: TcpStream, address: SocketAddr) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the emulator answers without TCP_NODELAY");
    }
    let (tap, splitter) = Tap::new(stream);
    let service =
        service_fn(move |request| answer(Arc::clone(&emulated), request, address, Arc::clone(&splitter)));
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS);
    if let Err(error) = builder.serve_connection(TokioIo::new(tap), service).await {
        tracing::debug!(%error, "a connection to the emulator ended");
    }
}

async fn answer(
    emulated: Arc<Emulated>,
    request: Request<Incoming>,
    address: SocketAddr,
    splitter: Arc<Mutex<Splitter>>,
) -> Result<Response<Body>, Cut> {
    let target = match request.uri().scheme() {
        Some(_) => request.uri().to_string(),
        None => request.uri().path_and_query().map_or("*", |target| target.as_str()).to_owned(),
    };
    let raw_head = splitter.lock().take(request.method().as_str(), &target);
    // Its own task: the request is counted even if the caller hangs up now.
    let task = tokio::spawn(exchange::serve(emulated, request, address, raw_head));
    match task.await {
        Ok(Fate::Answered(response)) => Ok(response),
        Ok(Fate::Silence) => match std::future::pending::<Infallible>().await {},
        Ok(Fate::Reset) | Err(_) => Err(Cut),
    }
}

/// The reason a connection ends without an answer.
#[derive(Debug)]
struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cut by the emulator, as asked")
    }
}

impl std::error::Error for Cut {}
