//! Streams of requests: wrk for HTTP/1.1 and TLS, h2load for HTTP/2.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, ensure};

use super::cases::{Load, Paths, Wire};
use super::machine::{Cpu, Running, until};
use super::peer::{Peer, Site, TOKEN};

/// Connections that the load generator holds.
const CONNECTIONS: usize = 64;

/// No access log says less of a request.
const LEAST_LINE_BYTES: f64 = 60.0;

/// One peer's turn in one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) peer: Peer,
    pub(crate) per_million: Cpu,
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// What a load generator counted.
struct Counted {
    requests: f64,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// All peers' turns, interleaved, each after a warm-up of its own.
pub(crate) fn turns(
    site: &Site,
    peers: &[Peer],
    load: &Load,
    (rounds, seconds): (usize, u64),
) -> anyhow::Result<Vec<Turn>> {
    let able: Vec<Peer> = peers.iter().copied().filter(|peer| peer.speaks(load.wire)).collect();
    let mut running = Vec::new();
    for peer in able {
        let server = site.start(peer)?;
        let url = site.url(peer, load.wire);
        drive(site, load, &url, 1).with_context(|| format!("warming {peer:?}"))?;
        running.push((peer, server, url));
    }
    let mut turns = Vec::new();
    for round in 0..rounds {
        for (peer, server, url) in &running {
            let turn = turn(site, load, (*peer, server), (url, seconds))?;
            eprintln!(
                "  round {round} {peer:?}: {:.2} CPU-s per million, {:.0} a second, p99 {:.2} ms",
                turn.per_million.total(),
                turn.per_second,
                turn.p99_ms
            );
            turns.push(turn);
        }
    }
    Ok(turns)
}

fn turn(
    site: &Site,
    load: &Load,
    (peer, server): (Peer, &Running),
    (url, seconds): (&str, u64),
) -> anyhow::Result<Turn> {
    let before = (server.cpu(), site.logged_bytes(peer));
    let counted = drive(site, load, url, seconds)?;
    let used = server.cpu().since(before.0);
    if let Some(before) = before.1 {
        let least = before as f64 + counted.requests * LEAST_LINE_BYTES;
        let written = || site.logged_bytes(peer).filter(|written| *written as f64 >= least);
        until(&format!("{peer:?}'s access log"), written)?;
    }
    let per = |cpu: f64| cpu * 1e6 / counted.requests;
    Ok(Turn {
        peer,
        per_million: Cpu { user: per(used.user), system: per(used.system) },
        per_second: counted.per_second,
        p50_ms: counted.p50_ms,
        p99_ms: counted.p99_ms,
    })
}

fn drive(site: &Site, load: &Load, url: &str, seconds: u64) -> anyhow::Result<Counted> {
    match load.wire {
        Wire::Http1 | Wire::Tls => wrk(site, load.paths, url, seconds),
        Wire::Http2 => h2load(site, load.paths, url, seconds),
    }
}

/// wrk's script: which paths, always with the token.
fn script(folder: &Path, paths: Paths) -> anyhow::Result<String> {
    let request = match paths {
        Paths::One(bytes) => format!(
            "local r\ninit = function() r = wrk.format('GET', '/hit/{bytes}/one') end\nrequest = function() return r end\n"
        ),
        Paths::Many(keys) => format!(
            "local all, at = {{}}, 0\n\
             init = function() for i = 1, {keys} do all[i] = wrk.format('GET', '/hit/1024/' .. i) end end\n\
             request = function() at = at % {keys} + 1; return all[at] end\n"
        ),
        Paths::Fresh => "local at = 0\n\
             local begin = os.time() .. '-'\n\
             request = function() at = at + 1; return wrk.format('GET', '/pass/1024/' .. begin .. at) end\n"
            .to_owned(),
    };
    let mut text = format!("wrk.headers['Authorization'] = 'Bearer {TOKEN}'\n");
    text.write_str(&request)?;
    let file = folder.join("wrk.lua");
    std::fs::write(&file, text)?;
    Ok(file.display().to_string())
}

fn wrk(site: &Site, paths: Paths, url: &str, seconds: u64) -> anyhow::Result<Counted> {
    let script = script(site.folder(), paths)?;
    let threads = site.setup().workers().to_string();
    let connections = CONNECTIONS.to_string();
    let duration = format!("{seconds}s");
    let output = site
        .setup()
        .client("wrk")
        .args(["-t", &threads, "-c", &connections, "-d", &duration, "--latency", "-s", &script, url])
        .output()
        .context("wrk cannot be started")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk failed: {text}{}", String::from_utf8_lossy(&output.stderr));
    ensure!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "not all were answered: {text}");
    let line =
        |starts: &str| text.lines().map(str::trim).find_map(|line| line.strip_prefix(starts)).map(str::trim);
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in")).map(|(n, _)| n);
    Ok(Counted {
        requests: requests.context("wrk counted nothing")?.parse()?,
        per_second: line("Requests/sec:").context("wrk gave no rate")?.parse()?,
        p50_ms: milliseconds(line("50%").context("wrk gave no median")?)?,
        p99_ms: milliseconds(line("99%").context("wrk gave no p99")?)?,
    })
}

fn milliseconds(text: &str) -> anyhow::Result<f64> {
    for (unit, factor) in [("us", 0.001), ("ms", 1.0), ("s", 1_000.0)] {
        if let Some(number) = text.strip_suffix(unit).and_then(|number| number.parse::<f64>().ok()) {
            return Ok(number * factor);
        }
    }
    anyhow::bail!("'{text}' is no time")
}

fn h2load(site: &Site, paths: Paths, url: &str, seconds: u64) -> anyhow::Result<Counted> {
    let Paths::One(bytes) = paths else { anyhow::bail!("h2load asks for one path") };
    let log = site.folder().join("h2load.log");
    // It appends.
    let _ = std::fs::remove_file(&log);
    let output = site
        .setup()
        .client("h2load")
        .args(["-c", "8", "-m", "8", "-D", &seconds.to_string(), "-H"])
        .arg(format!("authorization: Bearer {TOKEN}"))
        .arg(format!("--log-file={}", log.display()))
        .arg(format!("{url}/hit/{bytes}/one"))
        .output()
        .context("h2load cannot be started")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "h2load failed: {text}{}", String::from_utf8_lossy(&output.stderr));
    // Start, status and duration of each request, in microseconds.
    let logged = std::fs::read_to_string(&log).context("h2load wrote no log")?;
    let mut took = Vec::new();
    for line in logged.lines() {
        let mut fields = line.split_whitespace();
        let (status, micros) = (fields.nth(1), fields.next());
        ensure!(status == Some("200"), "not all were answered: {line}");
        took.push(micros.context("h2load logged no time")?.parse::<f64>()?);
    }
    ensure!(!took.is_empty(), "h2load counted nothing: {text}");
    took.sort_unstable_by(f64::total_cmp);
    let at =
        |part: usize| took.get((took.len() * part / 100).min(took.len() - 1)).map_or(0.0, |us| us / 1_000.0);
    Ok(Counted {
        requests: took.len() as f64,
        per_second: took.len() as f64 / seconds as f64,
        p50_ms: at(50),
        p99_ms: at(99),
    })
}

/// CPU seconds of the server per million requests.
pub(crate) fn cpu_per_million(
    site: &Site,
    load: &Load,
    server: &Running,
    (url, seconds): (&str, u64),
) -> anyhow::Result<f64> {
    Ok(turn(site, load, (Peer::Weir, server), (url, seconds))?.per_million.total())
}
