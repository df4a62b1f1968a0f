//! What weir itself does for one hit: from the parsed request to the answer,
//! without sockets and HTTP parsing. Token, inbound rate, keying, lookup, headers, counts.
//!
//! `cargo bench --bench hit` times it. For counts that repeat on a noisy machine:
//! `valgrind --tool=callgrind --toggle-collect='*one_hit*' <the built bench> --count 10000`.

#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use criterion::Criterion;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use weir::budget::ledger::Options;
use weir::budget::{Ledger, Store};
use weir::cache::{Cache, CacheLimits};
use weir::clock::Clock;
use weir::config::{self, OnEmpty};
use weir::consumer::Peer;
use weir::proxy::Gateway;

/// The one that weir has.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PEER: Peer<'static> = Peer { address: IpAddr::V4(Ipv4Addr::LOCALHOST), certificate: None };
const TOKEN: &str = "hit-token-0123456789abcdef";

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let folder = tempfile::tempdir()?;
    let gateway = runtime.block_on(gateway(folder.path()))?;
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == "--count") {
        let count: u32 = args.get(at + 1).map_or(Ok(10_000), |text| text.parse())?;
        for _ in 0..count {
            one_hit(&runtime, &gateway);
        }
        println!("{count} hits");
        return Ok(());
    }
    let mut criterion = Criterion::default().configure_from_args();
    criterion.bench_function("hit", |bencher| bencher.iter(|| one_hit(&runtime, &gateway)));
    criterion.final_summary();
    Ok(())
}

/// Never inlined, so that callgrind can be told to count nothing else.
#[inline(never)]
fn one_hit(runtime: &Runtime, gateway: &Gateway) {
    let response = runtime.block_on(gateway.answer(request(), PEER));
    assert_eq!(response.status(), StatusCode::OK);
    black_box(response);
}

fn request() -> Request<Empty<Bytes>> {
    Request::get("/hit/1024/one?a=1&b=2")
        .header("host", "127.0.0.1:8080")
        .header("authorization", format!("Bearer {TOKEN}"))
        .header("user-agent", "curl/8.0")
        .header("accept", "*/*")
        .body(Empty::new())
        .unwrap_or_default()
}

/// A gateway whose cache holds what is asked for.
async fn gateway(folder: &std::path::Path) -> anyhow::Result<Arc<Gateway>> {
    let origin = TcpListener::bind("127.0.0.1:0").await?;
    let text = format!(
        r#"
        [upstreams.origin]
        dialect = "generic"
        url = "http://{}"
        credential = "bearer"
        [upstreams.origin.limits]
        second = "7/1s"
        [upstreams.origin.keys.main]
        value = "vendor-key"
        [[upstreams.origin.cache]]
        match = "GET /hit/**"
        ttl = "1h"
        [consumers.peer]
        token = "{TOKEN}"
        inbound = "1000000000/1s"
        [consumers.peer.access.origin]
        "#,
        origin.local_addr()?
    );
    let config = config::load_str("hit.toml", &text, std::iter::empty())?;
    let clock = Clock::system();
    let options = Options { path: folder.to_owned(), on_empty: OnEmpty::Trust };
    let store = Store::Embedded(Ledger::open(options, clock)?);
    let cache = Arc::new(Cache::new(CacheLimits::default()));
    let gateway = Gateway::new(&config, (&store, &cache), clock, (1, None, None))?;
    store.begun().await?;
    gateway.recall();
    let (first, answered) = tokio::join!(gateway.answer(request(), PEER), answer_once(origin));
    answered?;
    anyhow::ensure!(first.status() == StatusCode::OK, "the origin's answer did not come through");
    first.into_body().collect().await.map_err(|_| anyhow::anyhow!("its body broke off"))?;
    Ok(gateway)
}

async fn answer_once(origin: TcpListener) -> std::io::Result<()> {
    let (mut stream, _) = origin.accept().await?;
    let mut asked = [0; 4_096];
    let _ = stream.read(&mut asked).await?;
    let body = "x".repeat(1_024);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncache-control: max-age=3600\r\ncontent-length: 1024\r\n\r\n";
    stream.write_all(format!("{head}{body}").as_bytes()).await
}
