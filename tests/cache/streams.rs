//! Bodies that are too large to be kept stream through, whoever reads how fast.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir::emulator::{Latency, Options};

use super::House;
use crate::support::load::pause;
use crate::support::token_of;

const LARGE: usize = 60_000_000;

impl House {
    /// Asks for the large body; reads nothing yet.
    async fn begin(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.weir.address()).await.unwrap();
        let token = token_of("all");
        let request = format!(
            "GET /bytes/{LARGE} HTTP/1.1\r\nHost: weir\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }
}

/// Reads to the end, so many bytes every so often; how many came.
async fn read(stream: &mut TcpStream, at_once: usize, every: Duration) -> usize {
    let (mut buffer, mut total) = (vec![0; at_once], 0);
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return total,
            Ok(read) => total += read,
        }
        if !every.is_zero() {
            pause(every).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_slows_only_itself_and_memory_stays_bounded() {
    let latency = Latency { least: Duration::from_millis(150), most: Duration::from_millis(150) };
    // Only its size keeps it from being kept, so that it is for both.
    let rule = "[[upstreams.echo.cache]]\nmatch = \"GET /**\"\nttl = \"1h\"\n";
    let house = House::of(Options { latency, ..Options::default() }, rule).await;
    let before = house.weir.resident_bytes();
    // Both are there before the head: one fetch for two.
    let (mut fast, mut slow) = (house.begin().await, house.begin().await);
    let all = read(&mut fast, 1 << 16, Duration::ZERO).await;
    assert!(all > LARGE, "the fast one got all of it: {all}");
    let grown = house.weir.resident_bytes().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} for a body of {LARGE}");
    // The slow one was cut off: it is told by the connection's end.
    let some = read(&mut slow, 1 << 16, Duration::ZERO).await;
    assert!(some < LARGE, "{some}");
    assert_eq!(house.asked(), 1);
    // Alone, a slow reader gets all of it, at its own pace and in as little memory.
    let mut alone = house.begin().await;
    pause(Duration::from_millis(700)).await;
    let grown = house.weir.resident_bytes().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} for a reader who does not read");
    assert!(read(&mut alone, 1 << 20, Duration::from_millis(2)).await > LARGE);
    assert_eq!(house.asked(), 2, "and it was not kept");
}
