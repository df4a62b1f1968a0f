//! A bare hyper server: the origin behind every peer, and the ceiling beside them.
//!
//! `/hit/SIZE/KEY` may be kept for an hour, `/pass/SIZE/KEY` may not,
//! `/slow/MS/KEY` takes its time and may be kept, `/count` says how many slow ones came.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;

static SLOW: AtomicU64 = AtomicU64::new(0);

pub(crate) fn serve(port: u16, workers: usize) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                // A load generator that hangs up is no fault of the server's.
                let _ = server.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            });
        }
    })
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    static BODY: [u8; 65_536] = [b'x'; 65_536];
    let mut parts = request.uri().path().split('/').skip(1);
    let kind = parts.next().unwrap_or_default();
    let number = parts.next().and_then(|text| text.parse::<usize>().ok()).unwrap_or_default();
    let (control, body) = match kind {
        "hit" => ("max-age=3600", Bytes::from_static(&BODY[..number.min(BODY.len())])),
        "pass" => ("no-store", Bytes::from_static(&BODY[..number.min(BODY.len())])),
        "slow" => {
            SLOW.fetch_add(1, Ordering::Relaxed);
            pause(number).await;
            ("max-age=3600", Bytes::from_static(b"slow"))
        }
        "count" => ("no-store", Bytes::from(SLOW.swap(0, Ordering::Relaxed).to_string())),
        _ => {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::NOT_FOUND;
            return Ok(response);
        }
    };
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(control));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

#[allow(clippy::disallowed_methods, reason = "the origin of a bench is no part of weir")]
async fn pause(ms: usize) {
    tokio::time::sleep(Duration::from_millis(ms as u64)).await;
}
