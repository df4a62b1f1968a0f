//! System calls per request, counted by strace: they repeat beside other work, where
//! seconds do not.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::cases::Load;
use super::load;
use super::machine::{Running, pause};
use super::peer::{Peer, Site};

/// For strace to be at all threads.
const ATTACH_MS: u64 = 500;
/// Calls that are fewer than this per request are not named.
const WORTH_NAMING: f64 = 0.01;

/// Calls per request, and which.
pub(crate) fn counted(site: &Site, peer: Peer, load: &Load) -> anyhow::Result<(f64, String)> {
    let server = site.start(peer)?;
    let url = site.url(peer, load.wire);
    load::requests(site, load, (&url, 1)).with_context(|| format!("warming {peer:?}"))?;
    let table = site.folder().join("strace");
    let strace = attach(&server, &table)?;
    pause(ATTACH_MS);
    let requests = load::requests(site, load, (&url, 1))?;
    // It writes its table when it is told to end, which is what this value's own end does.
    drop(strace);
    let text = std::fs::read_to_string(&table).context("strace wrote no table")?;
    let mut calls: Vec<_> =
        text.lines().filter_map(row).map(|(name, calls)| (name, calls / requests)).collect();
    ensure!(!calls.is_empty(), "strace counted nothing: {text}");
    calls.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let all = calls.iter().map(|(_, each)| each).sum();
    let named = calls.iter().filter(|(_, each)| *each >= WORTH_NAMING);
    let named: Vec<_> = named.map(|(name, each)| format!("{name} {each:.2}")).collect();
    Ok((all, format!(" ({})", named.join(", "))))
}

fn attach(server: &Running, table: &Path) -> anyhow::Result<Running> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-U", "name,calls", "-o"]).arg(table);
    for pid in server.family() {
        strace.args(["-p", &pid.to_string()]);
    }
    let child = strace.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
    Ok(Running(child.context("strace cannot be started; run benches/peers/run, which installs it")?))
}

/// A call's name and how often it was made.
fn row(line: &str) -> Option<(&str, f64)> {
    let (name, calls) = line.trim().split_once(char::is_whitespace)?;
    (name != "total").then_some((name, calls.trim().parse().ok()?))
}
