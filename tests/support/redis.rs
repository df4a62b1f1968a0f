//! A real redis-server that tests may stop, freeze, kill and bring back, and a wire to
//! it that can be cut. `WEIR_TEST_REDIS=/path/to/valkey-server` has tests run another.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use weir::clock::Clock;

use super::pki::Pair;

/// A redis-server on a port of its own; killed when it is dropped.
pub(crate) struct Redis {
    process: Child,
    port: u16,
    folder: TempDir,
    more: Vec<String>,
}

impl Redis {
    pub(crate) fn start() -> Self {
        Self::start_with(Vec::new())
    }

    /// It speaks TLS alone, and knows the users of this file.
    pub(crate) fn behind_tls(pair: &Pair, ca: &Path, users: &Path) -> Self {
        let users = ["--aclfile".to_owned(), users.display().to_string()];
        Self::start_with([tls(pair, ca).as_slice(), &users].concat())
    }

    pub(crate) fn start_with(more: Vec<String>) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        Self { process: launch(port, &folder, &more), port, folder, more }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// As a stalled machine would leave it: connections stand, nothing is answered.
    pub(crate) fn freeze(&self) {
        kill_process(Pid::from_child(&self.process), Signal::STOP).unwrap();
    }

    pub(crate) fn thaw(&self) {
        kill_process(Pid::from_child(&self.process), Signal::CONT).unwrap();
    }

    /// Writes all that it knows to its disk: what an older snapshot is later.
    pub(crate) fn save(&self) {
        assert_eq!(self.command(&["SAVE"]), "OK");
    }

    /// Ends it at once; what was not saved is lost.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again with what was saved last.
    pub(crate) fn again(&mut self) {
        self.process = launch(self.port, &self.folder, &self.more);
    }

    /// Starts it again with nothing.
    pub(crate) fn again_empty(&mut self) {
        let _ = std::fs::remove_file(self.folder.path().join("dump.rdb"));
        self.again();
    }

    /// What redis-cli prints.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        let mut client = Command::new("redis-cli");
        if let Some(at) = self.more.iter().position(|word| word == "--tls-ca-cert-file") {
            client.args(["--tls", "--cacert", &self.more[at + 1]]);
        }
        let output = client.args(["-p", &self.port.to_string()]).args(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// What has a server speak TLS alone, to other servers too, who are known by `ca`.
pub(crate) fn tls(pair: &Pair, ca: &Path) -> Vec<String> {
    let text = |path: &Path| path.display().to_string();
    let words = [
        ["--tls-cert-file", &text(&pair.cert)],
        ["--tls-key-file", &text(&pair.key)],
        ["--tls-ca-cert-file", &text(ca)],
        ["--tls-auth-clients", "no"],
        ["--tls-cluster", "yes"],
        ["--tls-replication", "yes"],
    ];
    words.as_flattened().iter().map(|word| (*word).to_owned()).collect()
}

/// Free now, and below those that the system gives to who asks for any.
pub(crate) fn free_port() -> u16 {
    loop {
        let port = rand::random_range(10_000..32_000);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[allow(
    clippy::disallowed_methods,
    clippy::zombie_processes,
    reason = "it waits for another process, which its owner ends; which server it is, is for whoever runs it"
)]
fn launch(port: u16, folder: &TempDir, more: &[String]) -> Child {
    let is_plain = !more.iter().any(|word| word.starts_with("--tls"));
    let (plain, encrypted) = if is_plain { (port, 0) } else { (0, port) };
    let program = std::env::var("WEIR_TEST_REDIS").unwrap_or_else(|_| "redis-server".into());
    let process = Command::new(program)
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &plain.to_string()])
        .args(["--tls-port", &encrypted.to_string()])
        .args(more)
        .arg("--dir")
        .arg(folder.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed");
    for _ in 0..1_000 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return process;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("redis-server does not listen on {port}");
}

/// A way to a server that can be cut so that bytes vanish, as behind a dead switch.
pub(crate) struct Wire {
    address: SocketAddr,
    is_cut: Arc<AtomicBool>,
}

impl Wire {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let is_cut = Arc::new(AtomicBool::new(false));
        let cut = Arc::clone(&is_cut);
        tokio::spawn(async move {
            loop {
                let Ok((near, _)) = listener.accept().await else { return };
                let cut = Arc::clone(&cut);
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(server).await else { return };
                    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                    tokio::join!(pump(near_in, far_out, &cut), pump(far_in, near_out, &cut));
                });
            }
        });
        Self { address, is_cut }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
    }

    pub(crate) fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

/// What comes while the wire is cut never arrives, and nor does what comes after it on
/// the same connection: nobody resends for TCP here.
async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    is_cut: &AtomicBool,
) {
    let (mut buffer, mut is_dead) = (vec![0; 65_536], false);
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        is_dead |= is_cut.load(Ordering::SeqCst);
        if !is_dead && to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    // The other end learns nothing of a close while it is cut.
    let clock = Clock::system();
    while is_cut.load(Ordering::SeqCst) {
        clock.sleep_until(clock.now() + Duration::from_millis(20)).await;
    }
}
