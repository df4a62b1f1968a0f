//! The hot pieces one by one: what a request goes through before and beside the budget
//! (which `budget.rs` times) and the whole hit (`hit.rs`).
//!
//! `cargo bench --bench pieces` times them; `--count NAME N` runs one N times for
//! callgrind, whose counts repeat on a noisy machine: `benches/counts/run` compares all
//! of them with what was seen before.

#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::Context;
use bytes::BytesMut;
use criterion::Criterion;
use http::{HeaderMap, HeaderValue, Method, header};
use weir::cache::{Key, RequestDirectives, Scope};
use weir::clock::Clock;
use weir::config::{self, Config};
use weir::consumer::{Consumers, Peer};
use weir::dialect::{Editor, Links};
use weir::target::Target;

/// The one that weir has.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PEER: Peer<'static> = Peer { address: IpAddr::V4(Ipv4Addr::LOCALHOST), certificate: None };
const PATH: &str = "/api/v2/tests/4711";

/// A piece's name, and one run of it.
type Piece = (&'static str, Box<dyn FnMut()>);

fn main() -> anyhow::Result<()> {
    let mut pieces = pieces()?;
    let args: Vec<String> = std::env::args().collect();
    if args.iter().any(|arg| arg == "--list") {
        pieces.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(());
    }
    if let Some([_, name, count]) = args.windows(3).find(|three| three[0] == "--count") {
        let (_, piece) =
            pieces.iter_mut().find(|(known, _)| known == name).context("no such piece; see --list")?;
        for _ in 0..count.parse().context("--count NAME N")? {
            measured(piece);
        }
        return Ok(());
    }
    let mut criterion = Criterion::default().configure_from_args();
    for (name, piece) in &mut pieces {
        criterion.bench_function(name, |bencher| bencher.iter(|| measured(piece)));
    }
    criterion.final_summary();
    Ok(())
}

/// Never inlined, so that callgrind can be told to count nothing else.
#[inline(never)]
fn measured(piece: &mut dyn FnMut()) {
    piece();
}

fn pieces() -> anyhow::Result<Vec<Piece>> {
    let config = config()?;
    let upstream = config.upstreams.first().context("the configuration has an upstream")?;
    let (dialect, scope) = (upstream.dialect.clone(), Scope { upstream: upstream.name.clone(), key: None });
    let target = Target::parse(PATH, Some("pageNumber=2&pageSize=100"))?;
    let consumers = Consumers::new(&config.consumers, Clock::system());
    let headers = headers();
    let keyed = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("application/json"))]);
    let (page, links) = (page()?, Arc::new(links()));
    let answer = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let (route_of, check_of, fresh_of) = (dialect.clone(), dialect.clone(), dialect.clone());
    let (checked, fresh, caller) = (target.clone(), target.clone(), token(500));
    let route = dialect.route(&Method::GET, PATH);
    let now = Clock::system().wall();
    Ok(vec![
        piece("target", || Target::parse(PATH, Some("pageNumber=2&pageSize=100"))),
        piece("target-respelt", || Target::parse(PATH, Some("b=%41%2Fx&a=1&%7Ec=a%20b"))),
        piece("route", move || route_of.route(&Method::GET, PATH)),
        piece("check", move || check_of.check(route, &checked)),
        piece("freshness", move || fresh_of.freshness(route, (&Method::GET, &fresh), now)),
        piece("directives", move || RequestDirectives::of(&headers)),
        piece("identify", move || consumers.identify(Some(caller.as_bytes()), PEER)),
        piece("key", move || Key::new(&scope, &Method::GET, &target, &keyed, None)),
        piece("edit-64k", move || {
            let mut editor = dialect.edits(PATH, &answer, &links).map(Editor::new)?;
            let mut out = BytesMut::with_capacity(80 << 10);
            editor.push(&page, &mut out);
            Some((editor.finish(&mut out), out))
        }),
    ])
}

fn piece<T>(name: &'static str, mut once: impl FnMut() -> T + 'static) -> Piece {
    (
        name,
        Box::new(move || {
            black_box(once());
        }),
    )
}

/// Catchpoint's dialect, before a thousand consumers.
fn config() -> anyhow::Result<Config> {
    let mut text = "[upstreams.catchpoint]\ndialect = \"catchpoint\"\nurl = \"https://io.catchpoint.com\"\nkeys.main.value = \"0123456789ABCDEF0123456789ABCDEF\"\n".to_owned();
    for at in 0..1_000 {
        write!(text, "[consumers.c{at}]\ntoken = \"{}\"\naccess.catchpoint = {{}}\n", token(at))?;
    }
    Ok(config::load_str("pieces.toml", &text, std::iter::empty())?)
}

fn token(consumer: usize) -> String {
    format!("piece-token-{consumer:020}")
}

/// What a browser's or a library's request carries.
fn headers() -> HeaderMap {
    let all = [
        (header::HOST, "weir.internal:8080"),
        (header::USER_AGENT, "python-requests/2.32.0"),
        (header::ACCEPT, "application/json"),
        (header::ACCEPT_ENCODING, "gzip, deflate"),
        (header::CACHE_CONTROL, "max-age=60, stale-if-error=600"),
        (header::CONNECTION, "keep-alive"),
    ];
    HeaderMap::from_iter(all.map(|(name, value)| (name, HeaderValue::from_static(value))))
}

fn links() -> Links {
    Links {
        scheme: "https".to_owned(),
        authority: "io.catchpoint.com".to_owned(),
        base_path: String::new(),
        mount: "/catchpoint".to_owned(),
        public_url: None,
    }
}

/// A list as Catchpoint sends it, of some 64 KiB, with a link to the next page.
fn page() -> anyhow::Result<Vec<u8>> {
    let mut text = "{\"data\":{\"tests\":[".to_owned();
    for at in 0.. {
        write!(
            text,
            "{{\"id\":{at},\"name\":\"test number {at}\",\"url\":\"https://example.com/{at}\",\"status\":{{\"id\":0}}}}"
        )?;
        if text.len() > 64 << 10 {
            break;
        }
        text.push(',');
    }
    text += "],\"hasMore\":true},\"messages\":[],\"errors\":[],\"completed\":true,\"links\":{\"next\":\"https://io.catchpoint.com/api/v2/tests?pageNumber=3\"}}";
    Ok(text.into_bytes())
}
