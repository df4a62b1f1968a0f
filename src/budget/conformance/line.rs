//! One process's way to Redis, which can be cut as a dead process's is, or hold up what is said.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::redis::Server;
use crate::secret::Secret;

pub(super) struct Line {
    socket: PathBuf,
    is_held: Arc<watch::Sender<bool>>,
    exchange: JoinHandle<()>,
}

impl Line {
    /// From a socket in `folder` to the one at `redis`.
    pub(super) fn lay(folder: &Path, name: &str, redis: PathBuf) -> Self {
        let socket = folder.join(name);
        let listener = UnixListener::bind(&socket).unwrap();
        let is_held = Arc::new(watch::Sender::new(false));
        let exchange = tokio::spawn(accept(listener, redis, Arc::clone(&is_held)));
        Self { socket, is_held, exchange }
    }

    pub(super) fn server(&self) -> Server {
        Server::new(&Secret::new(format!("redis+unix://{}", self.socket.display())), None).unwrap()
    }

    /// What is said from now on arrives only when this is undone; answers come.
    pub(super) fn hold(&self, is_held: bool) {
        self.is_held.send_replace(is_held);
    }
}

impl Drop for Line {
    /// Cut for good: all that stands breaks, and nothing connects any more.
    fn drop(&mut self) {
        self.exchange.abort();
        // Its folder may be gone already.
        let _ = std::fs::remove_file(&self.socket);
    }
}

async fn accept(listener: UnixListener, redis: PathBuf, is_held: Arc<watch::Sender<bool>>) {
    let mut calls = tokio::task::JoinSet::new();
    loop {
        let (here, _) = listener.accept().await.unwrap();
        let there = UnixStream::connect(&redis).await.unwrap();
        let ((from_here, to_here), (from_there, to_there)) = (here.into_split(), there.into_split());
        calls.spawn(carry(from_here, to_there, is_held.subscribe()));
        calls.spawn(carry(from_there, to_here, watch::Sender::new(false).subscribe()));
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut held: watch::Receiver<bool>,
) {
    let mut bytes = vec![0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        // Without its sender nobody holds it.
        let _ = held.wait_for(|is_held| !is_held).await;
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}
