//! Keeps the bytes of each HTTP/1 request head as they came.
//!
//! A [`Tap`] stands between the socket and hyper and feeds what is read to a
//! [`Splitter`], which follows the framing just far enough to know where heads
//! begin and end. hyper reads the same bytes in the same order, so the n-th
//! head of a connection belongs to its n-th request. Where the splitter loses
//! its way (a head over 64 KiB, framing it does not know, HTTP/2) it stops, and
//! requests are journalled without their bytes.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::journal::RawHead;

const HEAD_BYTES: usize = 64 * 1_024;
const HEADS: usize = 64;

/// A socket whose read bytes are also given to a [`Splitter`].
#[derive(Debug)]
pub(crate) struct Tap {
    stream: TcpStream,
    splitter: Arc<Mutex<Splitter>>,
}

/// Finds the heads in the bytes of one HTTP/1 connection.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    state: State,
    head: Vec<u8>,
    heads: VecDeque<RawHead>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    /// This many bytes of a body are still to come.
    Body(u64),
    /// In a chunk's size line; the text so far.
    Size(Vec<u8>),
    /// This many bytes of a chunk and its line end are still to come.
    Chunk(u64),
    /// After the last chunk; the length of the current line.
    Trailer(usize),
    /// No further heads can be told apart.
    Off,
}

impl Splitter {
    /// The oldest head not yet taken, if it begins as `method target` does.
    pub(crate) fn take(&mut self, method: &str, target: &str) -> Option<RawHead> {
        let head = self.heads.pop_front()?;
        let mut words = head.0.split(|byte| *byte == b' ');
        if words.next() == Some(method.as_bytes()) && words.next() == Some(target.as_bytes()) {
            return Some(head);
        }
        self.stop();
        None
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let used = match &mut self.state {
                State::Head => self.feed_head(bytes),
                State::Body(left) => {
                    let used = (bytes.len() as u64).min(*left);
                    *left -= used;
                    if *left == 0 {
                        self.state = State::Head;
                    }
                    usize::try_from(used).unwrap_or(bytes.len())
                }
                State::Chunk(left) => {
                    let used = (bytes.len() as u64).min(*left);
                    *left -= used;
                    if *left == 0 {
                        self.state = State::Size(Vec::new());
                    }
                    usize::try_from(used).unwrap_or(bytes.len())
                }
                State::Size(_) | State::Trailer(_) => {
                    self.feed_line(bytes[0]);
                    1
                }
                State::Off => return,
            };
            bytes = &bytes[used..];
        }
    }

    /// Takes bytes of a head, up to its end.
    fn feed_head(&mut self, bytes: &[u8]) -> usize {
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let Some(end) = memchr::memmem::find(&self.head[before.saturating_sub(3)..], b"\r\n\r\n") else {
            if self.head.len() > HEAD_BYTES {
                self.stop();
            }
            return bytes.len();
        };
        let end = before.saturating_sub(3) + end + 4;
        self.head.truncate(end);
        let head = std::mem::take(&mut self.head);
        let start = head.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(head.len());
        if start == head.len() {
            // Empty lines before a request are allowed (RFC 9112, 2.2).
            return end - before;
        }
        let head = Bytes::from(head).slice(start..);
        self.state = after(&head);
        if matches!(self.state, State::Off) || self.heads.len() >= HEADS {
            self.stop();
        } else {
            self.heads.push_back(RawHead(head));
        }
        end - before
    }

    /// Takes one byte of a chunk's size line or of the trailers.
    fn feed_line(&mut self, byte: u8) {
        match &mut self.state {
            State::Size(line) if byte == b'\n' => {
                let digits = line.split(|b| b";\r ".contains(b)).next().unwrap_or_default();
                let size = std::str::from_utf8(digits).ok().and_then(|hex| u64::from_str_radix(hex, 16).ok());
                self.state = match size {
                    Some(0) => State::Trailer(0),
                    Some(size) => State::Chunk(size.saturating_add(2)),
                    None => State::Off,
                };
            }
            State::Size(line) if line.len() < 64 => line.push(byte),
            State::Trailer(0) if byte == b'\n' => self.state = State::Head,
            State::Trailer(length) if byte == b'\n' => *length = 0,
            State::Trailer(_) if byte == b'\r' => {}
            State::Trailer(length) => *length += 1,
            _ => self.stop(),
        }
    }

    fn stop(&mut self) {
        *self = Self { state: State::Off, ..Self::default() };
    }
}

/// What follows a head (RFC 9112, 6.3).
fn after(head: &[u8]) -> State {
    if head.starts_with(b"PRI * HTTP/2.0") {
        return State::Off;
    }
    let mut state = State::Head;
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let chunked = value.to_ascii_lowercase().ends_with(b"chunked");
            return if chunked { State::Size(Vec::new()) } else { State::Off };
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            state = match std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()) {
                Some(0) => State::Head,
                Some(length) => State::Body(length),
                None => State::Off,
            };
        }
    }
    state
}

impl Tap {
    pub(crate) fn new(stream: TcpStream) -> (Self, Arc<Mutex<Splitter>>) {
        let splitter = Arc::new(Mutex::new(Splitter::default()));
        (Self { stream, splitter: Arc::clone(&splitter) }, splitter)
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if polled.is_ready() {
            self.splitter.lock().feed(&buffer.filled()[before..]);
        }
        polled
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n\
        POST /b HTTP/1.1\r\nContent-Length: 11\r\n\r\nGET /no\r\n\r\n\
        \r\nPOST /c HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\n\r\n\r\n\r\r\n0\r\nX: y\r\n\r\n\
        GET /d HTTP/1.1\r\n\r\n";

    fn heads(pieces: usize) -> Vec<String> {
        let mut splitter = Splitter::default();
        STREAM.chunks(pieces).for_each(|piece| splitter.feed(piece));
        splitter.heads.iter().map(|head| String::from_utf8(head.0.to_vec()).unwrap()).collect()
    }

    #[test]
    fn heads_are_found_however_the_bytes_arrive() {
        let whole = heads(STREAM.len());
        assert_eq!(whole.len(), 4, "{whole:?}");
        assert_eq!(whole[0], "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(whole[2].starts_with("POST /c"));
        assert!(whole[3].starts_with("GET /d"));
        for pieces in 1..STREAM.len() {
            assert_eq!(heads(pieces), whole, "in pieces of {pieces}");
        }
    }

    #[test]
    fn a_head_that_is_not_the_requests_stops_the_tap() {
        let mut splitter = Splitter::default();
        splitter.feed(b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n");
        assert!(splitter.take("GET", "/elsewhere").is_none());
        assert!(splitter.take("GET", "/b").is_none());
    }

    #[test]
    fn http2_has_no_heads() {
        let mut splitter = Splitter::default();
        splitter.feed(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET /a HTTP/1.1\r\n\r\n");
        assert!(splitter.heads.is_empty());
    }
}
