//! TLS in front: real clients (curl, openssl, Python's requests) over the built binary's listener.

mod activated;
mod clients;
mod mutual;
mod renewal;

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;
use weir::emulator::{Emulator, Options, Vendor};

use crate::support::pki::{Authority, Pair};
use crate::support::{VENDOR_KEY, Weir, hash_line, token_of};

/// What the tests of one server need.
struct Scene {
    folder: TempDir,
    authority: Authority,
    server: Pair,
    vendor: Emulator,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path(), "ca");
        let server = authority.issue(folder.path(), "server", &["weir.test", "127.0.0.1"]);
        let options = Options { vendor: Vendor::Generic, limits: Some(Vec::new()), ..Options::default() };
        Self { authority, server, vendor: Emulator::start(options).await.unwrap(), folder }
    }

    /// weir with a TLS door; `tls` goes into its table, `more` behind all.
    fn weir(&self, tls: &str, more: &str) -> Weir {
        let Pair { cert, key, .. } = &self.server;
        let server =
            format!("[server]\ntls = {{ listen = \"127.0.0.1:0\", cert = {cert:?}, key = {key:?}{tls} }}\n",);
        Weir::start(&(server + &self.upstream("echo", "mount = \"/\"") + more))
    }

    fn upstream(&self, name: &str, place: &str) -> String {
        format!(
            "[upstreams.{name}]\ndialect = \"generic\"\nurl = \"{}\"\nkeys.main.value = \"{VENDOR_KEY}\"\n{place}\n",
            self.vendor.url()
        )
    }
}

/// A consumer of the upstream `echo`, proven by these lines.
fn consumer(name: &str, proof: &str) -> String {
    format!("[consumers.{name}]\n{proof}\naccess.echo = {{}}\n")
}

fn with_token(name: &str) -> String {
    consumer(name, &hash_line(&token_of(name)))
}

/// Runs curl; its output ends in `VERSION STATUS`.
async fn curl(args: &[&str]) -> Output {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    tokio::task::spawn_blocking(move || {
        Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*"])
            .args(["--write-out", "\n%{http_version} %{http_code}"])
            .args(args)
            .output()
            .unwrap()
    })
    .await
    .unwrap()
}

fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().last().unwrap_or_default().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
