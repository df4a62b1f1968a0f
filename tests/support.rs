//! The harness: start an emulated vendor, start the built binary in front of it, ask, assert.
//!
//! Real sockets on port 0, the real binary, and an emulator whose counting
//! shares no code with the gateway's.

mod caller;
pub(crate) mod cluster;
pub(crate) mod load;
pub(crate) mod pki;
pub(crate) mod redis;
pub(crate) mod relay;
mod wire;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use weir::clock::Clock;
use weir::secret::TokenHash;

pub(crate) use caller::{Caller, Reply};
pub(crate) use wire::{Wire, once};

/// The key that only weir holds, in tests that need one.
pub(crate) const VENDOR_KEY: &str = "vendor-key-Zm9v/bar+baz=="; // with characters that encodings change

/// Whatever went wrong.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A running `weir run`, killed when it is dropped.
pub(crate) struct Weir {
    process: Child,
    address: SocketAddr,
    /// All that it has printed so far.
    output: Arc<Mutex<String>>,
    /// They read its output to the end.
    readers: Vec<std::thread::JoinHandle<()>>,
    folder: TempDir,
}

impl Weir {
    /// Starts the built binary on this config and waits until it listens. `{folder}`
    /// in the text is a fresh folder; `[server] listen` is set by the harness, unless
    /// the config has TLS.
    pub(crate) fn start(config: &str) -> Self {
        Self::start_with(config, &[])
    }

    /// The same with environment variables.
    pub(crate) fn start_with(config: &str, env: &[(&str, &str)]) -> Self {
        Self::start_logging("json", config, env)
    }

    /// The same with a log format.
    pub(crate) fn start_logging(format: &str, config: &str, env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("weir.toml");
        std::fs::write(&file, config.replace("{folder}", folder.path().to_str().unwrap())).unwrap();
        Self::launch(format, folder, env)
    }

    /// Starts it as a service manager would that holds `socket` for it, on the config
    /// and the store that are in `folder`.
    pub(crate) fn activated(socket: &std::net::TcpListener, folder: &Path) -> Self {
        Self::activated_with(&[("public", socket)], folder, &[])
    }

    /// The same with one or two sockets by these names; weir goes by their addresses where
    /// the first has none.
    pub(crate) fn activated_with(
        sockets: &[(&str, &std::net::TcpListener)],
        folder: &Path,
        env: &[(&str, &str)],
    ) -> Self {
        let mut shell = Command::new("sh");
        let names: Vec<_> = sockets.iter().map(|(name, _)| *name).collect();
        let named =
            if names[0].is_empty() { String::new() } else { format!("LISTEN_FDNAMES={}", names.join(":")) };
        // A shell hands on what stands where input and output would; both are put back.
        let second = if sockets.len() > 1 { "4<&1 >&2" } else { "" };
        let script = format!(
            "exec 3<&0 {second} </dev/null; export LISTEN_PID=$$ LISTEN_FDS={} {named}; exec \"$@\"",
            sockets.len()
        );
        shell.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_weir")]);
        shell.stdin(OwnedFd::from(sockets[0].1.try_clone().unwrap()));
        let second = sockets.get(1).map(|(_, socket)| OwnedFd::from(socket.try_clone().unwrap()));
        let own = tempfile::tempdir().unwrap();
        let config = std::fs::read_to_string(folder.join("weir.toml")).unwrap();
        std::fs::write(own.path().join("weir.toml"), config).unwrap();
        let store = folder.join("data");
        let env = [&[("WEIR__STORE__PATH", store.to_str().unwrap())], env].concat();
        Self::spawn(shell, second.map(Stdio::from), "json", own, &env)
    }

    /// Starts it on the config and the store that are in `folder`.
    fn launch(format: &str, folder: TempDir, env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.stdin(Stdio::null());
        Self::spawn(command, None, format, folder, env)
    }

    fn spawn(
        mut command: Command,
        stdout: Option<Stdio>,
        format: &str,
        folder: TempDir,
        env: &[(&str, &str)],
    ) -> Self {
        let file = folder.path().join("weir.toml");
        let has_doors = std::fs::read_to_string(&file).unwrap().contains("\ntls = ");
        let doors = (!has_doors).then_some(("WEIR__SERVER__LISTEN", "127.0.0.1:0"));
        let mut process = command
            .args(["run", "--log", format, "--config"])
            .arg(&file)
            .envs(doors)
            .env("WEIR__ADMIN__LISTEN", "127.0.0.1:0")
            .env("WEIR__STORE__PATH", folder.path().join("data"))
            .envs(env.iter().copied())
            .stdout(stdout.unwrap_or_else(Stdio::piped))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        let (listening, address) = mpsc::channel();
        let mut readers =
            vec![follow(process.stderr.take().unwrap(), Arc::clone(&output), listening.clone())];
        readers.extend(process.stdout.take().map(|pipe| follow(pipe, Arc::clone(&output), listening)));
        let Ok(address) = address.recv_timeout(Duration::from_secs(30)) else {
            let _ = process.kill();
            panic!("weir did not start:\n{}", output.lock().unwrap());
        };
        Self { process, address, output, readers, folder }
    }

    /// As a power cut would end it: its store is as the last write left it.
    pub(crate) fn kill(mut self) -> TempDir {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }

    /// As an operator would end it, keeping its store.
    pub(crate) fn stop_keeping(mut self) -> TempDir {
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        self.stop();
        folder
    }

    /// Starts what was [killed](Weir::kill) again, on the same config and store.
    pub(crate) fn again(folder: TempDir) -> Self {
        Self::launch("json", folder, &[])
    }

    /// A caller who presents `token`.
    pub(crate) fn caller(&self, token: &str) -> Caller {
        Caller::at(format!("http://{}", self.address), Some(token.to_owned()))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has in memory now.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1_024
    }

    /// Where operators reach it.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        let output = self.output();
        let line = output.lines().find(|line| line.contains("admin listening")).unwrap();
        let event: Value = serde_json::from_str(line).unwrap();
        event["address"].as_str().unwrap().parse().unwrap()
    }

    /// Its operators' listener.
    pub(crate) fn admin(&self) -> Caller {
        Caller::at(format!("http://{}", self.admin_address()), None)
    }

    /// Puts another config in the place of its own, as an editor would: all at once.
    pub(crate) fn rewrite(&self, config: &str) {
        let text = config.replace("{folder}", self.folder.path().to_str().unwrap());
        let draft = self.folder.path().join("weir.toml.new");
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, self.folder.path().join("weir.toml")).unwrap();
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.process), signal).unwrap();
    }

    /// Waits until it ends, and gives back how it did, all it printed, and its folder.
    pub(crate) fn ended(mut self) -> (std::process::ExitStatus, String, TempDir) {
        let status = self.process.wait().unwrap();
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        (status, self.output(), folder)
    }

    /// What `/api/v1/status` says of its only upstream.
    pub(crate) async fn status(&self) -> Value {
        self.admin().get("/api/v1/status").await.json()["upstreams"][0].clone()
    }

    /// All that it has printed so far.
    pub(crate) fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Waits until it has said so in the log: lines leave by a thread of their own.
    pub(crate) async fn says(&self, words: &str) {
        until(&format!("it says {words:?}"), || self.output().contains(words)).await;
    }

    /// Lines of the JSON log that satisfy `wanted`, once there is one.
    pub(crate) async fn logged(&self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut found = Vec::new();
        until("the line is logged", || {
            let lines = self.output();
            found =
                lines.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(&wanted).collect();
            !found.is_empty()
        })
        .await;
        found
    }

    /// From now on it can write to no file, as on a full disk; or can again.
    pub(crate) fn fill_disk(&self, is_full: bool) {
        use rustix::process::{Pid, Resource, Rlimit, prlimit};
        let most = Rlimit { current: is_full.then_some(0), maximum: None };
        prlimit(Some(Pid::from_child(&self.process)), Resource::Fsize, most).unwrap();
    }

    /// Where its config and store are.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Ends it as an operator would, waits, and gives back all it printed.
    pub(crate) fn stop(mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.output());
        // Its last lines may still be in the pipe.
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        self.output()
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `token = { sha256 = … }` for a config.
pub(crate) fn hash_line(token: &str) -> String {
    format!("token = {{ sha256 = \"{}\" }}", TokenHash::of(token.as_bytes()).to_hex())
}

/// A config with one Catchpoint upstream; `more` goes into its table, `consumers`
/// are (name, division, lines of its access).
pub(crate) fn catchpoint(vendor: &str, more: &str, consumers: &[(&str, &str, &str)]) -> String {
    let mut text = format!(
        "[upstreams.catchpoint]\ndialect = \"catchpoint\"\nurl = \"{vendor}\"\n\
         keys.main.value = \"{VENDOR_KEY}\"\n{more}\n"
    );
    let mut divisions: Vec<&str> = consumers.iter().map(|(_, division, _)| *division).collect();
    divisions.sort_unstable();
    divisions.dedup();
    for division in divisions {
        if !more.contains(&format!("[upstreams.catchpoint.divisions.{division}]")) {
            text.push_str(&format!("[upstreams.catchpoint.divisions.{division}]\nkey = \"main\"\n"));
        }
    }
    for (name, division, access) in consumers {
        let token = hash_line(&token_of(name));
        text.push_str(&format!(
            "[consumers.{name}]\n{token}\n[consumers.{name}.access.catchpoint]\ndivision = \"{division}\"\n{access}\n"
        ));
    }
    text
}

/// The token of a consumer in [`catchpoint`] configs.
pub(crate) fn token_of(name: &str) -> String {
    format!("weir_token/of+{name}==")
}

/// Reads one of the process's outputs to its end, and reports the address it names.
fn follow(
    pipe: impl Read + Send + 'static,
    output: Arc<Mutex<String>>,
    listening: mpsc::Sender<SocketAddr>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            // As text: `… listening address=127.0.0.1:1`.
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            let text = line.split_once(": listening address=").map(|(_, address)| address);
            if let Some(address) = event["address"].as_str().filter(|_| is_door(&event["message"])).or(text) {
                let _ = listening.send(address.parse().unwrap());
            }
            let mut output = output.lock().unwrap();
            output.push_str(&line);
            output.push('\n');
        }
    })
}

/// The body of a GET, for who cannot wait otherwise.
pub(crate) fn blocking_get(address: SocketAddr, path: &str) -> String {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// The doors of consumers; the plain one is told first.
fn is_door(message: &Value) -> bool {
    message == "listening" || message == "listening with TLS"
}

/// Real time, because what is waited for happens in another process.
pub(crate) async fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let clock = Clock::system();
    for _ in 0..1_000 {
        if happened() {
            return;
        }
        clock.sleep_until(clock.now() + Duration::from_millis(10)).await;
    }
    panic!("within ten seconds it did not happen that {what}");
}

/// The same for what has to be asked for; thirty seconds, since a browser is slow to start.
pub(crate) async fn until_async<F: Future<Output = bool>>(what: &str, mut happened: impl FnMut() -> F) {
    let clock = Clock::system();
    for _ in 0..300 {
        if happened().await {
            return;
        }
        clock.sleep_until(clock.now() + Duration::from_millis(100)).await;
    }
    panic!("within thirty seconds it did not happen that {what}");
}
