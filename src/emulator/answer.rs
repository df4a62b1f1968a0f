//! What a vendor's API is asked, and what it answers, apart from the wire.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::clock::{Clock, UnixTime};

const FLUSH: Duration = Duration::from_millis(20);

/// The body of every answer; an error in it cuts the connection.
pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// One request, read whole.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The vendor's time.
    pub(crate) now: UnixTime,
    /// Scheme and authority of this emulator.
    pub(crate) origin: String,
    /// How often this has been asked before, from 0.
    pub(crate) sequence: u64,
}

/// Names and values in their order, decoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(pub(crate) Vec<(String, String)>);

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) content: Content,
}

/// The body of an answer before it goes out.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Whole(Bytes),
    /// Its lines one after another, with a pause before each.
    Drip {
        line: Bytes,
        lines: u32,
        every: Duration,
    },
    /// The same with lines that differ.
    Lines {
        lines: VecDeque<Bytes>,
        every: Duration,
    },
    /// The half of it, then the connection ends.
    CutShort(Bytes),
}

impl Query {
    pub(crate) fn parse(raw: &str) -> Self {
        let decode =
            |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        };
        Self(raw.split('&').filter(|part| !part.is_empty()).map(pair).collect())
    }

    /// The first value of `name`, unless it is empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, value)| known == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// The comma-separated values of `name`.
    pub(crate) fn list(&self, name: &str) -> Option<Vec<&str>> {
        self.get(name).map(|value| value.split(',').map(str::trim).collect())
    }
}

impl Answer {
    pub(crate) fn json(status: StatusCode, value: &Value) -> Self {
        let mut answer = Self::whole(status, Bytes::from(value.to_string()));
        answer.set(header::CONTENT_TYPE, "application/json; charset=utf-8");
        answer
    }

    pub(crate) fn whole(status: StatusCode, body: Bytes) -> Self {
        Self { status, headers: HeaderMap::new(), content: Content::Whole(body) }
    }

    /// What a CDN in front of the vendor says, which is no JSON.
    pub(crate) fn from_cdn(status: StatusCode) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        let code = if status == StatusCode::FORBIDDEN { " error_code 1010" } else { "" };
        let page = format!(
            "<!DOCTYPE html>\n<html><head><title>{0} {title}</title></head>\n\
             <body><h1>{0} {title}</h1><p>The request was stopped at the edge.{code}</p></body></html>\n",
            status.as_u16()
        );
        let mut answer = Self::whole(status, Bytes::from(page));
        answer.set(header::CONTENT_TYPE, "text/html; charset=UTF-8");
        answer.set(header::SERVER, "emulated-cdn");
        answer
    }

    pub(crate) fn set(&mut self, name: HeaderName, value: &'static str) {
        self.headers.insert(name, HeaderValue::from_static(value));
    }

    /// Its length in bytes, if all of it is there.
    pub(crate) fn length(&self) -> Option<usize> {
        match &self.content {
            Content::Whole(body) | Content::CutShort(body) => Some(body.len()),
            Content::Drip { .. } | Content::Lines { .. } => None,
        }
    }
}

impl Content {
    pub(crate) fn into_body(self, clock: Clock) -> Body {
        match self {
            Self::Whole(body) => Full::new(body).map_err(|never| match never {}).boxed(),
            Self::CutShort(body) => {
                let half = stream::iter([Ok(Frame::data(body.slice(..body.len() / 2)))]);
                // hyper throws away what it has not written yet when a body
                // fails, so the failure waits until it had time to write.
                let cut = stream::once(async move {
                    clock.sleep_until(clock.now() + FLUSH).await;
                    Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut short, as asked"))
                });
                BodyExt::boxed(StreamBody::new(half.chain(Box::pin(cut))))
            }
            Self::Drip { line, lines, every } => {
                let drops = stream::unfold(0, move |sent| {
                    let line = line.clone();
                    async move {
                        if sent == lines {
                            return None;
                        }
                        clock.sleep_until(clock.now() + every).await;
                        Some((Ok(Frame::data(line)), sent + 1))
                    }
                });
                BodyExt::boxed(StreamBody::new(Box::pin(drops)))
            }
            Self::Lines { lines, every } => {
                let drops = stream::unfold(lines, move |mut left| async move {
                    let line = left.pop_front()?;
                    clock.sleep_until(clock.now() + every).await;
                    Some((Ok(Frame::data(line)), left))
                });
                BodyExt::boxed(StreamBody::new(Box::pin(drops)))
            }
        }
    }
}
