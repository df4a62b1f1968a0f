//! Requests byte by byte, for what no client library would send, and answers
//! byte by byte, for what it would not show.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Reply;

/// Real time: what is waited for is another process.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection to a weir.
pub(crate) struct Wire {
    stream: TcpStream,
    /// Read, and not yet part of an answer.
    read: Vec<u8>,
}

/// Sends one request on a connection of its own; gives the answer.
pub(crate) async fn once(address: SocketAddr, request: impl AsRef<[u8]>) -> Reply {
    let mut wire = Wire::connect(address).await;
    wire.send(request).await;
    wire.answer().await
}

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), read: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // Whoever has its answer already may have closed its side.
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// The next answer to anything but HEAD.
    pub(crate) async fn answer(&mut self) -> Reply {
        timeout(PATIENCE, self.take()).await.expect("no answer in time").expect("no whole answer")
    }

    /// Whether the next answer ends before it is whole.
    pub(crate) async fn breaks(&mut self) -> bool {
        timeout(PATIENCE, self.take()).await.expect("no end in time").is_none()
    }

    /// Whether the other end closes without another word.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.read.is_empty() && timeout(PATIENCE, self.more()).await.is_ok_and(|more| more.is_none())
    }

    /// None if the connection ended before the answer did.
    async fn take(&mut self) -> Option<Reply> {
        let end = loop {
            match self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(end) => break end,
                None => self.more().await?,
            }
        };
        let head = String::from_utf8(self.read.drain(..end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status: u16 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: HeaderMap = lines.map(field).collect();
        let length = headers.get("content-length").map(|length| length.to_str().unwrap().parse().unwrap());
        let body = match length {
            _ if matches!(status, 100..200 | 204 | 304) => Vec::new(),
            Some(length) => self.exactly(length).await?,
            None if headers.contains_key("transfer-encoding") => self.chunks().await?,
            None => self.to_the_end().await,
        };
        Some(Reply { status: status.try_into().unwrap(), headers, body: Bytes::from(body) })
    }

    async fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.read.len() < length {
            self.more().await?;
        }
        Some(self.read.drain(..length).collect())
    }

    async fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = loop {
                match self.read.windows(2).position(|two| two == b"\r\n") {
                    Some(end) => break self.exactly(end + 2).await?,
                    None => self.more().await?,
                }
            };
            let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
            body.extend(self.exactly(size).await?);
            self.exactly(2).await?;
            if size == 0 {
                return Some(body);
            }
        }
    }

    async fn to_the_end(&mut self) -> Vec<u8> {
        while self.more().await.is_some() {}
        std::mem::take(&mut self.read)
    }

    /// Reads on; none at the end.
    async fn more(&mut self) -> Option<()> {
        let read = self.stream.read_buf(&mut self.read).await.unwrap_or(0);
        (read > 0).then_some(())
    }
}

fn field(line: &str) -> (HeaderName, HeaderValue) {
    let (name, value) = line.split_once(':').unwrap();
    (name.parse().unwrap(), value.trim().parse().unwrap())
}
