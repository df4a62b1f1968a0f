//! A contender: a server, the configuration an expert would give it for this job,
//! and the clock it lives by.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use tempfile::TempDir;

use super::machine::{Running, until};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Nginx,
    Haproxy,
    Varnish,
    Envoy,
    Weir,
}

impl Server {
    /// Whether libfaketime can quicken it. Varnish's jemalloc clashes with it, and
    /// Envoy never comes up.
    pub(crate) fn can_be_quickened(self) -> bool {
        !matches!(self, Self::Varnish | Self::Envoy)
    }
}

/// A server as it is configured for this.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) server: Server,
    pub(crate) template: &'static str,
    /// What stands for what in the template.
    pub(crate) fill: Vec<(&'static str, String)>,
}

/// A contender that runs, and the folder it lives in.
pub(crate) struct Started {
    pub(crate) url: String,
    _running: Running,
    _folder: TempDir,
}

/// Debian's libfaketime, for programs with threads.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// The first port; each contender has ten.
const PORTS: u16 = 23_000;

impl Contender {
    /// Starts it in front of the vendor at port `vendor`; `time` is what libfaketime
    /// is told, if its clock is not the real one.
    pub(crate) fn start(&self, number: u16, vendor: u16, time: Option<&str>) -> anyhow::Result<Started> {
        // In memory: under a fast clock a slow disk is a very slow disk.
        let folder = if time.is_some() { tempfile::tempdir_in("/dev/shm") } else { tempfile::tempdir() }?;
        open_to_all(folder.path())?;
        let listen = PORTS + number * 10;
        let conf = folder.path().join("conf");
        let mut text = self.template.to_owned();
        for (name, value) in &self.fill {
            text = text.replace(&format!("{{{name}}}"), value);
        }
        let text = text
            .replace("{folder}", &folder.path().display().to_string())
            .replace("{listen}", &listen.to_string())
            .replace("{admin}", &(listen + 1).to_string())
            .replace("{vendor}", &vendor.to_string());
        std::fs::write(&conf, text)?;
        let mut command = self.command(&conf, (folder.path(), listen), time)?;
        let is_taken = std::net::TcpStream::connect(("127.0.0.1", listen)).is_ok();
        ensure!(!is_taken, "somebody listens on port {listen} already");
        let log = std::fs::File::create(folder.path().join("out"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("{} cannot be started", self.name))?;
        let running = Running(child);
        until(self.name, || std::net::TcpStream::connect(("127.0.0.1", listen)).ok()).with_context(|| {
            std::fs::read_to_string(folder.path().join("out")).unwrap_or_else(|error| error.to_string())
        })?;
        Ok(Started { url: format!("http://127.0.0.1:{listen}"), _running: running, _folder: folder })
    }

    fn command(
        &self,
        conf: &Path,
        (folder, listen): (&Path, u16),
        time: Option<&str>,
    ) -> anyhow::Result<Command> {
        let conf = conf.to_str().context("the folder's path is not UTF-8")?;
        let folder = folder.display().to_string();
        let program = match self.server {
            Server::Nginx => "nginx",
            Server::Haproxy => "haproxy",
            Server::Varnish => "varnishd",
            Server::Envoy => "target/peers/venv/bin/envoy",
            Server::Weir => env!("CARGO_BIN_EXE_weir"),
        };
        let mut command = Command::new(program);
        if let Some(time) = time {
            // The command of the same name would stand between us and the server's process.
            command.envs([("LD_PRELOAD", FAKETIME), ("FAKETIME", time), ("TZ", "UTC")]);
        }
        match self.server {
            Server::Nginx => command.args(["-c", conf, "-p", &folder, "-e", "stderr"]),
            Server::Haproxy => command.args(["-f", conf]),
            Server::Varnish => command.args([
                "-F",
                "-f",
                conf,
                "-n",
                &format!("{folder}/varnish"),
                "-s",
                "malloc,256m",
                "-p",
                "timeout_idle=3600",
                "-a",
                &format!("127.0.0.1:{listen}"),
            ]),
            Server::Envoy => {
                // It wants to see the file's name end so.
                let yaml = format!("{conf}.yaml");
                std::fs::rename(conf, &yaml)?;
                command.args(["-c", &yaml, "--concurrency", "1", "--disable-hot-restart", "-l", "error"])
            }
            Server::Weir => command.args(["run", "--config", conf, "--log-filter", "warn"]),
        };
        Ok(command)
    }
}

fn open_to_all(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
}
