//! What the emulator saw: every request, when it was counted, how it ended.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Version, header};
use parking_lot::Mutex;

use crate::clock::{Moment, UnixTime};

use super::fault::Fault;

/// One request as the vendor saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The number of this request, from 0 in the order of arrival.
    pub sequence: u64,
    /// When its head had been read, on the emulator's [`crate::clock::Clock`].
    pub arrived: Moment,
    /// When the limits decided about it, if they did; on the same clock.
    pub counted: Option<Moment>,
    /// The same moment on the vendor's own clock, by which it counts.
    pub counted_wall: Option<UnixTime>,
    /// When the head of its answer was handed to the connection.
    pub answered: Option<Moment>,
    /// Its method.
    pub method: Method,
    /// Path and query as received.
    pub target: String,
    /// `Host`, or what HTTP/2 has instead.
    pub authority: String,
    /// HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// All of its headers, in their order (repeated names next to each other).
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The bytes of its head up to the empty line; HTTP/1 only.
    pub raw_head: Option<RawHead>,
    /// Its body, once it has been read; at most 16 MiB.
    pub body: Option<Bytes>,
    /// Where it came from.
    pub address: SocketAddr,
    /// The label of its key; expired ones too, unknown and revoked ones not.
    pub key: Option<String>,
    /// Whether its route is analytic.
    pub analytic: bool,
    /// The limits that refused it, as [`super::Tally::limit`] names them.
    pub refused_by: Vec<String>,
    /// What was made to go wrong with it.
    pub fault: Option<Fault>,
    /// The status it was answered with, if it was.
    pub status: Option<StatusCode>,
}

/// The head of a request as it came. Holds the credential; does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct RawHead(pub Bytes);

impl fmt::Debug for RawHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawHead({} bytes)", self.0.len())
    }
}

impl Seen {
    /// The first value of a header, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.as_str().eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| value.to_str().ok())
    }

    /// One text for everything that was sent: two requests are the same to the
    /// vendor exactly if these are. Over HTTP/1 the head's very bytes, over
    /// HTTP/2 its fields; then the body.
    #[must_use]
    pub fn wire(&self) -> Vec<u8> {
        let mut wire = match &self.raw_head {
            Some(RawHead(head)) => head.to_vec(),
            None => {
                let first = format!("{} {} {:?}\r\n", self.method, self.target, self.version);
                let mut wire = first.into_bytes();
                wire.extend_from_slice(format!(":authority: {}\r\n", self.authority).as_bytes());
                for (name, value) in &self.headers {
                    wire.extend_from_slice(name.as_str().as_bytes());
                    wire.extend_from_slice(b": ");
                    wire.extend_from_slice(value.as_bytes());
                    wire.extend_from_slice(b"\r\n");
                }
                wire.extend_from_slice(b"\r\n");
                wire
            }
        };
        wire.extend_from_slice(self.body.as_deref().unwrap_or_default());
        wire
    }

    /// As it arrived: nothing decided, nothing answered.
    pub(crate) fn arriving<B>(
        request: &Request<B>,
        address: SocketAddr,
        raw_head: Option<RawHead>,
        arrived: Moment,
    ) -> Self {
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let authority = request.uri().authority().map(http::uri::Authority::as_str).or(host);
        let headers = request.headers().iter().map(|(name, value)| {
            let mut value = value.clone();
            value.set_sensitive(name == header::AUTHORIZATION || name == "netskope-api-token");
            (name.clone(), value)
        });
        Self {
            sequence: 0,
            arrived,
            counted: None,
            counted_wall: None,
            answered: None,
            method: request.method().clone(),
            target: request.uri().path_and_query().map_or("*", |target| target.as_str()).to_owned(),
            authority: authority.unwrap_or_default().to_owned(),
            version: request.version(),
            headers: headers.collect(),
            raw_head,
            body: None,
            address,
            key: None,
            analytic: false,
            refused_by: Vec::new(),
            fault: None,
            status: None,
        }
    }
}

/// The newest requests, bounded.
#[derive(Debug)]
pub(crate) struct Journal {
    capacity: usize,
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    /// The sequence number of the first one kept.
    first: u64,
    kept: VecDeque<Seen>,
}

impl Journal {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), pages: Mutex::default() }
    }

    /// Adds `seen`, and says which number it got.
    pub(crate) fn open(&self, mut seen: Seen) -> u64 {
        let mut pages = self.pages.lock();
        if pages.kept.len() >= self.capacity {
            pages.kept.pop_front();
            pages.first += 1;
        }
        let sequence = pages.first + pages.kept.len() as u64;
        seen.sequence = sequence;
        pages.kept.push_back(seen);
        sequence
    }

    /// Changes one entry, if it is still kept.
    pub(crate) fn note(&self, sequence: u64, change: impl FnOnce(&mut Seen)) {
        let mut pages = self.pages.lock();
        let index = sequence.checked_sub(pages.first).and_then(|index| usize::try_from(index).ok());
        if let Some(seen) = index.and_then(|index| pages.kept.get_mut(index)) {
            change(seen);
        }
    }

    /// Those kept, the oldest first.
    pub(crate) fn all(&self) -> Vec<Seen> {
        self.pages.lock().kept.iter().cloned().collect()
    }

    /// Requests ever seen.
    pub(crate) fn total(&self) -> u64 {
        let pages = self.pages.lock();
        pages.first + pages.kept.len() as u64
    }

    /// Forgets all; numbers go on.
    pub(crate) fn clear(&self) {
        let mut pages = self.pages.lock();
        pages.first += pages.kept.len() as u64;
        pages.kept.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_and_numbers_go_on() {
        let journal = Journal::new(2);
        let request = Request::builder().uri("/a?b=c").header("authorization", "Bearer x").body(()).unwrap();
        let seen = Seen::arriving(&request, SocketAddr::from(([127, 0, 0, 1], 1)), None, Moment::ZERO);
        assert!(!format!("{seen:?}").contains("Bearer x"));
        for _ in 0..3 {
            journal.open(seen.clone());
        }
        journal.note(0, |_| panic!("forgotten"));
        journal.note(2, |seen| seen.status = Some(StatusCode::OK));
        let all = journal.all();
        assert_eq!(all.iter().map(|seen| seen.sequence).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(all[1].status, Some(StatusCode::OK));
        assert_eq!(journal.total(), 3);
    }
}
