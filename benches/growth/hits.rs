//! What a hit costs, from the parsed request to the answer.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::ensure;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use weir::budget::ledger::Options;
use weir::budget::{Ledger, Store};
use weir::cache::{Cache, CacheLimits};
use weir::clock::Clock;
use weir::config::{self, OnEmpty};
use weir::consumer::Peer;
use weir::emulator::{self, Emulator, Vendor};
use weir::proxy::Gateway;

use super::{Point, cost};

const PEER: Peer<'static> = Peer { address: IpAddr::V4(Ipv4Addr::LOCALHOST), certificate: None };
/// What may be kept: more than a million objects weigh.
const MAX_CACHE_BYTES: u64 = 8 << 30;

/// A gateway in front of an emulated origin.
struct Site {
    runtime: Runtime,
    gateway: Arc<Gateway>,
    _origin: Emulator,
    _folder: TempDir,
}

/// Hits on one object; the callers take turns.
pub(crate) fn consumers(sizes: &[usize]) -> anyhow::Result<Vec<Point>> {
    let point = |&consumers: &usize| {
        let site = Site::new(consumers)?;
        site.fill(0..1)?;
        let mut caller = 0;
        let ns = cost(|| {
            caller = (caller + 7_919) % consumers;
            site.ask(caller, 0)
        })?;
        Ok((consumers, ns))
    };
    sizes.iter().map(point).collect()
}

/// Hits on all objects in turn, far apart.
pub(crate) fn objects(sizes: &[usize]) -> anyhow::Result<Vec<Point>> {
    let site = Site::new(10)?;
    let mut kept = 0;
    let mut point = |&objects: &usize| {
        site.fill(kept..objects)?;
        kept = objects;
        let mut object = 0;
        let ns = cost(|| {
            object = (object + 7_919) % objects;
            site.ask(3, object)
        })?;
        Ok((objects, ns))
    };
    sizes.iter().map(&mut point).collect()
}

impl Site {
    fn new(consumers: usize) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let folder = tempfile::tempdir()?;
        let options =
            emulator::Options { vendor: Vendor::Generic, journal_requests: 1, ..Default::default() };
        let origin = runtime.block_on(Emulator::start(options))?;
        let mut text = format!(
            "[upstreams.origin]\ndialect = \"generic\"\nurl = \"{}\"\ncredential = \"bearer\"\n\
             keys.main.value = \"vendor-key\"\n\
             [[upstreams.origin.cache]]\nmatch = \"GET /**\"\nttl = \"1d\"\n",
            origin.url()
        );
        for caller in 0..consumers {
            write!(
                text,
                "[consumers.c{caller}]\ntoken = \"{}\"\ninbound = \"1000000000/1s\"\naccess.origin = {{}}\n",
                token(caller)
            )?;
        }
        let config = config::load_str("growth.toml", &text, std::iter::empty())?;
        let clock = Clock::system();
        let ledger =
            Ledger::open(Options { path: folder.path().to_owned(), on_empty: OnEmpty::Trust }, clock)?;
        let store = Store::Embedded(ledger);
        let cache = Arc::new(Cache::new(CacheLimits { max_bytes: MAX_CACHE_BYTES }));
        let gateway = runtime.block_on(async {
            let gateway = Gateway::new(&config, (&store, &cache), clock, (1, None, None))?;
            store.begun().await?;
            gateway.recall();
            anyhow::Ok(gateway)
        })?;
        Ok(Self { runtime, gateway, _origin: origin, _folder: folder })
    }

    /// Has these objects kept.
    fn fill(&self, objects: std::ops::Range<usize>) -> anyhow::Result<()> {
        self.runtime.block_on(async {
            let all: Vec<usize> = objects.collect();
            for some in all.chunks(64) {
                let asked = some.iter().map(|object| async {
                    let answer = self.gateway.answer(request(0, *object)?, PEER).await;
                    ensure!(answer.status() == StatusCode::OK, "{}", answer.status());
                    answer.into_body().collect().await.map_err(|_| anyhow::anyhow!("a body broke off"))?;
                    Ok(())
                });
                futures_util::future::try_join_all(asked).await?;
            }
            Ok(())
        })
    }

    fn ask(&self, caller: usize, object: usize) -> anyhow::Result<()> {
        let answer = self.runtime.block_on(self.gateway.answer(request(caller, object)?, PEER));
        let hit =
            answer.headers().get("cache-status").is_some_and(|it| it.as_bytes().starts_with(b"weir;hit"));
        ensure!(hit, "no hit: {:?}", answer.headers());
        Ok(())
    }
}

fn token(caller: usize) -> String {
    format!("growth-token-{caller:012}")
}

fn request(caller: usize, object: usize) -> anyhow::Result<Request<Empty<Bytes>>> {
    let request = Request::get(format!("/bytes/1024?object={object}"))
        .header("host", "127.0.0.1:8080")
        .header("authorization", format!("Bearer {}", token(caller)));
    Ok(request.body(Empty::new())?)
}
