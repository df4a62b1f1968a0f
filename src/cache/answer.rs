//! A stored answer in the form each caller asked for: whole, not modified, a
//! part, or its head alone (RFC 9111, section 4.3.2; RFC 9110, sections 13 and 14).

use std::borrow::Cow;
use std::convert::Infallible;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AGE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body::{Body, Frame, SizeHint};

use super::coding::Coding;
use super::directives::split;
use super::entry::{Body as Stored, Entry};
use super::fields::number;
use super::freshness::date;
use super::reuse::Hit;
use crate::clock::UnixTime;

/// What goes to one caller.
#[derive(Debug)]
pub struct Answer {
    /// The stored status, or 304, 206, 416.
    pub status: StatusCode,
    /// The stored fields with `Age`, and what belongs to the form; for a HEAD the length too.
    pub headers: HeaderMap,
    /// The bytes; none for 304, 416 and HEAD.
    pub body: AnswerBody,
}

/// A stored body, or a range of it, on its way out. Copies nothing.
#[derive(Debug)]
pub struct AnswerBody {
    stored: Stored,
    block: usize,
    /// Bytes of the current block to leave out.
    skip: usize,
    left: u64,
}

/// In which coding a stored body is given.
#[derive(Clone, Debug)]
pub enum Shape {
    /// As it is stored; there is no other.
    Stored,
    /// As it is stored, though others take it in other codings.
    Identity,
    /// In this coding.
    Coded(Coding, Stored),
}

/// What a caller's conditions and range make of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Whole,
    NotModified,
    Part(Range<u64>),
    Unsatisfiable,
}

impl Entry {
    /// Whether it may be given in other codings than the one it is stored in.
    #[must_use]
    pub fn is_codable(&self) -> bool {
        self.status() == StatusCode::OK && self.fields.is_codable
    }

    /// [`vary_by_coding`] for the fields of this answer.
    fn vary_by_coding(&self, headers: &mut HeaderMap) {
        if !self.fields.vary_by_coding {
            headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
        }
    }
}

impl Hit {
    /// The coding in which this caller should get it, if it may be given in others.
    /// Ranges are of the identity, and so is what is asked for by one.
    #[must_use]
    pub fn coding(&self, method: &Method, caller: &HeaderMap) -> Coding {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        // A look at each name is cheaper than to hash one.
        let asks = |wanted: &HeaderName| caller.keys().any(|name| name == wanted);
        if !reads || !asks(&ACCEPT_ENCODING) || asks(&RANGE) || !self.entry.is_codable() {
            return Coding::Identity;
        }
        Coding::preferred(caller)
    }

    /// The answer for this caller, by its conditions and ranges, its body in this shape.
    #[must_use]
    pub fn answer(&self, method: &Method, caller: &HeaderMap, as_is: Shape) -> Answer {
        let entry = &self.entry;
        let mut headers = entry.headers();
        headers.insert(AGE, number(self.age.as_secs()));
        let body = match as_is {
            Shape::Stored => entry.body().clone(),
            Shape::Identity => {
                entry.vary_by_coding(&mut headers);
                entry.body().clone()
            }
            Shape::Coded(coding, body) => {
                entry.vary_by_coding(&mut headers);
                describe_coded(&mut headers, coding);
                body
            }
        };
        let length = body.len();
        let form = form(entry, &headers, (method, caller));
        let (status, range) = match form {
            Form::Whole => (entry.status(), 0..length),
            Form::NotModified => (StatusCode::NOT_MODIFIED, 0..0),
            Form::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
            Form::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, 0..0),
        };
        match status {
            StatusCode::NOT_MODIFIED => describe_not_modified(&mut headers),
            StatusCode::PARTIAL_CONTENT => {
                let text = format!("bytes {}-{}/{length}", range.start, range.end - 1);
                insert(&mut headers, text);
            }
            StatusCode::RANGE_NOT_SATISFIABLE => insert(&mut headers, format!("bytes */{length}")),
            _ => {}
        }
        let is_head = *method == Method::HEAD;
        // Of any other the body's own size says it, to whoever frames it.
        if is_head && has_length(status) {
            headers.insert(CONTENT_LENGTH, number(range.end - range.start));
        }
        let sent = if is_head { 0..0 } else { range };
        Answer { status, headers, body: AnswerBody::new(body, sent) }
    }
}

/// Whether a caller's `If-None-Match` or `If-Modified-Since` makes an answer with
/// this head a 304 (section 4.3.2): for heads that are passed on live.
#[must_use]
pub fn is_not_modified(caller: &HeaderMap, status: StatusCode, head: &HeaderMap) -> bool {
    let field = |name| head.get(name);
    let modified = || field(LAST_MODIFIED).or_else(|| field(DATE)).and_then(date);
    status == StatusCode::OK && not_modified(caller, field(ETAG), modified)
}

/// Turns the head of a 200 into that of a 304 (RFC 9110, section 15.4.5): what
/// describes the missing bytes goes, what guides caches and browsers stays.
pub fn describe_not_modified(headers: &mut HeaderMap) {
    for name in [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_RANGE] {
        headers.remove(name);
    }
    if headers.contains_key(ETAG) {
        headers.remove(LAST_MODIFIED);
    }
}

/// Says that the answer depends on what codings the caller takes (RFC 9110, section
/// 12.5.5), once.
pub fn vary_by_coding(headers: &mut HeaderMap) {
    if !headers.get_all(VARY).iter().any(names_coding) {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// Whether a line of `Vary` says so already.
pub(super) fn names_coding(vary: &HeaderValue) -> bool {
    split(vary.as_bytes()).any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
}

/// Removes what would be untrue of the same content in another coding: digests, and an
/// offer of ranges.
pub fn forget_bytes(headers: &mut HeaderMap) {
    const OF_THE_BYTES: [&str; 5] =
        ["accept-ranges", "content-md5", "digest", "content-digest", "repr-digest"];
    for name in OF_THE_BYTES {
        headers.remove(name);
    }
}

/// The head of the form in `coding`: what was about the identity's bytes goes.
fn describe_coded(headers: &mut HeaderMap, coding: Coding) {
    forget_bytes(headers);
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
    if let Some(tag) = headers.get(ETAG).map(|etag| coding.tag(etag)) {
        headers.insert(ETAG, tag);
    }
}

/// RFC 9110, section 8.8.3.2.
pub(super) fn weakly_equal(a: &[u8], b: &[u8]) -> bool {
    opaque(a) == opaque(b)
}

impl AnswerBody {
    fn new(stored: Stored, range: Range<u64>) -> Self {
        let (mut block, mut before) = (0, 0);
        for bytes in stored.blocks() {
            let end = before + bytes.len() as u64;
            if end > range.start {
                break;
            }
            (block, before) = (block + 1, end);
        }
        // Less than the length of one block, which is in memory.
        let skip = usize::try_from(range.start - before.min(range.start)).unwrap_or(usize::MAX);
        Self { stored, block, skip, left: range.end - range.start }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let Some(block) = self.stored.blocks().get(self.block) else { return Poll::Ready(None) };
        let mut bytes = block.slice(self.skip.min(block.len())..);
        bytes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= bytes.len() as u64;
        self.block += 1;
        self.skip = 0;
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// RFC 9110, section 13.2.2: conditions first, the range last; and none of them
/// unless the answer would be a 200.
fn form(entry: &Entry, answer: &HeaderMap, (method, caller): (&Method, &HeaderMap)) -> Form {
    let wants_less = |name: &HeaderName| matches!(*name, IF_NONE_MATCH | IF_MODIFIED_SINCE | RANGE);
    if entry.status() != StatusCode::OK
        || !matches!(*method, Method::GET | Method::HEAD)
        || !caller.keys().any(wants_less)
    {
        return Form::Whole;
    }
    // Section 4.3.2: without `Last-Modified`, `Date` stands in.
    let modified =
        || [LAST_MODIFIED, DATE].iter().find_map(|name| entry.field(name)).and_then(|value| date(&value));
    if not_modified(caller, answer.get(ETAG), modified) {
        return Form::NotModified;
    }
    if !caller.contains_key(RANGE) || *method != Method::GET || !range_applies(entry, caller) {
        return Form::Whole;
    }
    let mut ranges = caller.get_all(RANGE).iter();
    match (ranges.next(), ranges.next()) {
        (Some(one), None) => range(one.as_bytes(), entry.body().len()),
        _ => Form::Whole,
    }
}

fn not_modified(
    caller: &HeaderMap,
    etag: Option<&HeaderValue>,
    modified: impl FnOnce() -> Option<UnixTime>,
) -> bool {
    if caller.contains_key(IF_NONE_MATCH) {
        let mut tags = caller.get_all(IF_NONE_MATCH).iter().flat_map(|line| split(line.as_bytes()));
        return tags.any(|tag| tag == b"*" || etag.is_some_and(|etag| weakly_equal(tag, etag.as_bytes())));
    }
    let mut since = caller.get_all(IF_MODIFIED_SINCE).iter();
    match (since.next().and_then(date), since.next()) {
        (Some(since), None) => modified().is_some_and(|modified| modified <= since),
        // RFC 9110, section 13.1.3: what is not one date is disregarded.
        _ => false,
    }
}

/// RFC 9110, section 13.1.5: `If-Range` wants a strong match, or the exact date
/// if that is a strong validator.
fn range_applies(entry: &Entry, caller: &HeaderMap) -> bool {
    let Some(condition) = caller.get(IF_RANGE) else { return true };
    if let Some(etag) = entry.field(&ETAG).filter(|_| date(condition).is_none()) {
        return *condition == *etag && !etag.as_bytes().starts_with(b"W/");
    }
    let (modified, answered) = (entry.field(&LAST_MODIFIED), entry.field(&DATE));
    let at = |value: &Option<Cow<'_, HeaderValue>>| date(value.as_deref()?);
    // Section 8.8.2.2: at least a second older than the answer itself.
    modified.as_deref() == Some(condition) && at(&modified) < at(&answered)
}

/// One range of bytes (RFC 9110, section 14.1.2). Several, or another unit, or
/// what is malformed, are answered whole (section 14.2).
fn range(text: &[u8], length: u64) -> Form {
    let spec = std::str::from_utf8(text).ok().and_then(|text| text.split_once('='));
    let Some((unit, spec)) = spec else { return Form::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || spec.contains(',') {
        return Form::Whole;
    }
    let Some((first, last)) = spec.trim().split_once('-') else { return Form::Whole };
    let range = match (position(first), position(last)) {
        (Position::At(first), Position::At(last)) if first <= last => {
            first..last.saturating_add(1).min(length)
        }
        (Position::At(first), Position::Open) => first..length,
        (Position::Open, Position::At(suffix)) => length.saturating_sub(suffix)..length,
        _ => return Form::Whole,
    };
    if range.start < length { Form::Part(range) } else { Form::Unsatisfiable }
}

enum Position {
    Open,
    At(u64),
    Malformed,
}

fn position(text: &str) -> Position {
    match text {
        "" => Position::Open,
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Position::At(digits.parse().unwrap_or(u64::MAX))
        }
        _ => Position::Malformed,
    }
}

/// RFC 9110, section 8.6: not on 204 and 1xx; on a 304 it would be that of the 200.
fn has_length(status: StatusCode) -> bool {
    !status.is_informational() && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn insert(headers: &mut HeaderMap, content_range: String) {
    let value = HeaderValue::try_from(content_range).expect("digits and ASCII text are a field value");
    headers.insert(CONTENT_RANGE, value);
}

/// The tag without its weakness.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}
