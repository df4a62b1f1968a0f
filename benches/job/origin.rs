//! The vendor of the day: says yes to everything, lets it be kept, lives by the same
//! clock as who asks, and counts.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, DATE};
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::replay::FastClock;

/// A running origin.
pub(crate) struct Origin {
    pub(crate) port: u16,
    asked: Arc<AtomicU64>,
}

impl Origin {
    /// Answers may be kept for `max_age` seconds of the contender's clock.
    pub(crate) async fn start(max_age: u64, clock: Option<FastClock>) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let max_age = HeaderValue::try_from(format!("max-age={max_age}")).map_err(std::io::Error::other)?;
        let asked = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (count, max_age) = (Arc::clone(&count), max_age.clone());
                tokio::spawn(async move {
                    let service = service_fn(|_: Request<Incoming>| {
                        count.fetch_add(1, Ordering::Relaxed);
                        std::future::ready(Ok::<_, Infallible>(answer(&max_age, clock)))
                    });
                    let server = hyper::server::conn::http1::Builder::new();
                    // A gateway that closes its connection is no fault.
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { port, asked })
    }

    /// Requests so far.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

fn answer(max_age: &HeaderValue, clock: Option<FastClock>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"{\"completed\":true,\"data\":[]}")));
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, max_age.clone());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Without one, hyper says what the real time is.
    let date = clock.map(|clock| httpdate::fmt_http_date(clock.wall().to_system()));
    if let Some(Ok(date)) = date.map(HeaderValue::try_from) {
        headers.insert(DATE, date);
    }
    response
}
