//! A real redis-server for unit tests: on a Unix socket, nothing on disk, killed on drop.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::Server;
use crate::secret::Secret;

pub(crate) struct RedisServer {
    process: Child,
    folder: TempDir,
}

impl RedisServer {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let process = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(folder.path().join("socket"))
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let server = Self { process, folder };
        for _ in 0..1_000 {
            if server.server().client.get_connection().is_ok() {
                return server;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("redis-server does not answer");
    }

    pub(crate) fn server(&self) -> Server {
        let url = format!("redis+unix://{}", self.folder.path().join("socket").display());
        Server::new(&Secret::new(url), None).expect("a path is a URL")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
