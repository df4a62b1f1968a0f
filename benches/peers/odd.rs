//! Cases with a figure of their own: joined callers, memory, start.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, ensure};
use weir::clock::Clock;

use super::calls;
use super::cases::{Load, Odd, Paths, Wire};
use super::load;
use super::machine::{pause, until};
use super::peer::{Peer, Site, TOKEN};

/// Callers of one cold key.
const JOINERS: usize = 200;
/// Objects kept.
const OBJECTS: usize = 100_000;
/// Connections that ask nothing.
const IDLE: usize = 10_000;
/// Callers who wait for the budget.
const WAITING: usize = 1_000;

/// One peer's figure in one round.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) peer: Peer,
    pub(crate) value: f64,
    pub(crate) note: String,
}

pub(crate) fn turns(site: &Site, peers: &[Peer], odd: Odd, rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for _ in 0..rounds {
        for peer in peers.iter().copied().filter(|peer| takes(*peer, odd)) {
            let (value, note) = figure(site, peer, odd).with_context(|| format!("{peer:?}"))?;
            eprintln!("  {peer:?}: {value:.2}{note}");
            figures.push(Figure { peer, value, note });
        }
    }
    Ok(figures)
}

/// The bare server keeps nothing; only weir has a budget that callers wait for.
fn takes(peer: Peer, odd: Odd) -> bool {
    match odd {
        Odd::Joined | Odd::Objects => peer != Peer::Hyper,
        Odd::Idle | Odd::Start | Odd::Connections => true,
        Odd::Saturated => peer == Peer::Weir,
        Odd::Calls(load) => peer.speaks(load.wire),
    }
}

fn figure(site: &Site, peer: Peer, odd: Odd) -> anyhow::Result<(f64, String)> {
    match odd {
        Odd::Joined => joined(site, peer),
        Odd::Objects => objects(site, peer),
        Odd::Idle => {
            let server = site.start(peer)?;
            ask(site, peer, "/hit/1024/idle")?;
            pause(1_000);
            Ok((server.resident_bytes() as f64 / 1_048_576.0, String::new()))
        }
        Odd::Start => start(site, peer),
        Odd::Connections => {
            let server = site.start(peer)?;
            ask(site, peer, "/hit/1024/idle")?;
            let before = server.resident_bytes();
            let open: Vec<_> =
                (0..IDLE).map(|_| TcpStream::connect(site.address(peer))).collect::<Result<_, _>>()?;
            pause(2_000);
            let each = server.resident_bytes().saturating_sub(before) / IDLE as u64;
            drop(open);
            Ok((each as f64, String::new()))
        }
        Odd::Saturated => saturated(site),
        Odd::Calls(load) => calls::counted(site, peer, &load),
    }
}

fn joined(site: &Site, peer: Peer) -> anyhow::Result<(f64, String)> {
    let _server = site.start(peer)?;
    ask(site, peer, "/hit/1024/warm")?;
    let clock = Clock::system();
    let path = format!("/slow/300/{}", clock.wall().as_secs());
    raw(("127.0.0.1", 21_000), "/count")?;
    let begun = clock.now();
    let callers: Vec<_> = (0..JOINERS)
        .map(|_| {
            let (address, path, clock) = (site.address(peer), path.clone(), clock);
            std::thread::spawn(move || raw(address, &path).map(|_| clock.now()))
        })
        .collect();
    let mut last = begun;
    for caller in callers {
        last = last.max(caller.join().map_err(|_| anyhow::anyhow!("a caller panicked"))??);
    }
    let asked = raw(("127.0.0.1", 21_000), "/count")?;
    let asked = asked.lines().last().unwrap_or_default().to_owned();
    Ok((last.since(begun).as_secs_f64() * 1_000.0, format!(" ({asked} at the origin)")))
}

fn objects(site: &Site, peer: Peer) -> anyhow::Result<(f64, String)> {
    let server = site.start(peer)?;
    ask(site, peer, "/hit/1024/warm")?;
    pause(500);
    let before = server.resident_bytes();
    let mut stream = TcpStream::connect(site.address(peer))?;
    for number in 0..OBJECTS {
        one(&mut stream, &format!("/hit/1024/object-{number}"))?;
    }
    pause(2_000);
    let grown = server.resident_bytes().saturating_sub(before) as f64;
    Ok((grown / OBJECTS as f64, String::new()))
}

fn start(site: &Site, peer: Peer) -> anyhow::Result<(f64, String)> {
    let clock = Clock::system();
    let begun = clock.now();
    let _server = site.launch(peer)?;
    until("the first answer", || ask(site, peer, "/hit/1024/start").ok())?;
    Ok((clock.now().since(begun).as_secs_f64() * 1_000.0, String::new()))
}

/// CPU per million hits while callers wait, and without them.
fn saturated(site: &Site) -> anyhow::Result<(f64, String)> {
    let server = site.start(Peer::Weir)?;
    let hits = Load { paths: Paths::One(1_024), wire: Wire::Http1 };
    let url = site.url(Peer::Weir, Wire::Http1);
    let hit = || load::cpu_per_million(site, &hits, &server, (&url, 4));
    hit()?;
    let calm = hit()?;
    // The `narrow` upstream allows one in ten minutes; everybody else stands in its queue.
    let waiting: Vec<_> = (0..=WAITING)
        .map(|number| {
            let mut stream = TcpStream::connect(site.address(Peer::Weir))?;
            stream.write_all(request(&format!("/narrow/pass/1024/{number}")).as_bytes())?;
            Ok(stream)
        })
        .collect::<std::io::Result<_>>()?;
    pause(1_000);
    let busy = hit()?;
    drop(waiting);
    Ok((busy / calm, format!(" ({calm:.2} calm, {busy:.2} with {WAITING} waiting)")))
}

fn ask(site: &Site, peer: Peer, path: &str) -> anyhow::Result<String> {
    raw(site.address(peer), path)
}

fn raw(address: (&str, u16), path: &str) -> anyhow::Result<String> {
    one(&mut TcpStream::connect(address)?, path)
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n")
}

/// One exchange on a connection that stays.
fn one(stream: &mut TcpStream, path: &str) -> anyhow::Result<String> {
    stream.write_all(request(path).as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 16_384];
    loop {
        let count = stream.read(&mut buffer)?;
        ensure!(count > 0, "the connection ended early");
        answer.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        ensure!(
            head.starts_with("http/1.1 200"),
            "the answer is {}",
            head.lines().next().unwrap_or_default()
        );
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).map(str::trim);
        let whole = match length {
            Some(length) => body.len() >= length.parse()?,
            None => body.ends_with("0\r\n\r\n"),
        };
        if whole {
            return Ok(text.into_owned());
        }
    }
}
