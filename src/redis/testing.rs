//! A real redis-server (or `WEIR_TEST_REDIS`) for unit tests: on a Unix socket, nothing on
//! disk. It ends with this process, however that ends.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::Server;
use crate::secret::Secret;

pub(crate) struct RedisServer {
    /// A shell that kills the server when its input ends, and takes the folder away: a static
    /// is never dropped.
    keeper: Child,
    folder: TempDir,
}

impl RedisServer {
    #[allow(clippy::disallowed_methods, reason = "no runtime: it waits for another process")]
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let keeper = Command::new("sh")
            .args(["-c", "${WEIR_TEST_REDIS:-redis-server} --port 0 --save '' --appendonly no --unixsocket ./socket & read end; kill -9 $!; rm -rf \"$PWD\""])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is a shell");
        let server = Self { keeper, folder };
        for _ in 0..1_000 {
            if server.server().client.get_connection().is_ok() {
                return server;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("redis-server does not answer: is it installed?");
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    pub(crate) fn server(&self) -> Server {
        let url = format!("redis+unix://{}", self.socket().display());
        Server::new(&Secret::new(url), None).expect("a path is a URL")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
