//! `Weir-Pages: all`, or a rule: a list that the vendor gives out in pages, as one.
//!
//! The walk asks for one page after another, each as any other request of this
//! caller would be: from the cache, joined, or admitted, charged and kept. It
//! answers when it has read the last page, and never with less: at the caller's
//! deadline it is refused as one page would be, and [`Begun`] remembers since when
//! its pages count, so that the retry does not pay for them again; likewise if the
//! vendor fails, or the caller hangs up.
//!
//! What is a page, and where the next one is, the dialect says. Pages and bytes are
//! bounded, those of one walk and of all together.

mod begun;
mod fault;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AGE, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderName, Method, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::body::Body;
use super::call::{Call, Caller};
use super::exchange::{Answer, Exchange};
use super::refusal::No;
use super::table::Table;
use super::wish::Wish;
use super::{Gateway, Lane};
use crate::cache::{Forward, Hit, Lookup};
use crate::clock::Moment;
use crate::dialect::{Links, Next, NotAPage, Pages, Walk};
use crate::target::Target;
use crate::telemetry::Outcome;

pub(super) use begun::Begun;
pub(super) use fault::NotWhole;

/// The most that one walk reads.
const MAX_BYTES: usize = 16 * 1_024 * 1_024;
/// The most that all walks of one upstream hold at a time, in KiB.
const MAX_HELD_KIB: usize = 256 * 1_024;

const WEIR_PAGES: HeaderName = HeaderName::from_static("weir-pages");

/// What is about one representation that the caller knows, or about a part of it.
const OF_ONE_ANSWER: [HeaderName; 5] = [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE, ACCEPT_ENCODING];

/// The walks of one lane.
#[derive(Debug)]
pub(super) struct Walks {
    begun: Begun,
    room_kib: Semaphore,
}

impl Default for Walks {
    fn default() -> Self {
        Self { begun: Begun::default(), room_kib: Semaphore::new(MAX_HELD_KIB) }
    }
}

/// Whether all pages are asked for, by the caller or by a rule; an error if the caller
/// asks for anything else.
pub(super) fn is_asked(call: &Call) -> Result<bool, No> {
    let config = &call.lane.config;
    let by_rule = || {
        let path = call.target.path();
        if call.method != Method::GET || call.has_body || !config.cache.iter().any(|rule| rule.all_pages) {
            return false;
        }
        let rule = config.cache.iter().find(|rule| rule.pattern.matches(&call.method, path));
        rule.is_some_and(|rule| rule.all_pages) && config.dialect.pages(path).is_some()
    };
    Ok((!call.is_plain && asked_in(&call.headers)?) || by_rule())
}

fn asked_in(headers: &HeaderMap) -> Result<bool, No> {
    let mut asked = headers.get_all(WEIR_PAGES).iter();
    match (asked.next(), asked.next()) {
        (None, _) => Ok(false),
        (Some(value), None) if value.as_bytes().eq_ignore_ascii_case(b"all") => Ok(true),
        _ => Err(No::Malformed("Weir-Pages takes no other word than all")),
    }
}

/// One walk of one caller.
struct Tour<'a> {
    gateway: &'a Gateway,
    table: &'a Table,
    caller: &'a Caller<'a>,
    lane: Arc<Lane>,
    headers: HeaderMap,
    /// From when on a stored page counts as one of this walk, if it is a retry.
    since: Option<Moment>,
    /// Pages asked for so far.
    page: u32,
    bytes: usize,
    age_secs: u64,
}

impl Gateway {
    /// Answers a call for all pages of a list.
    pub(super) async fn walk(
        &self,
        table: &Table,
        exchange: &mut Exchange,
        call: Call,
        caller: &Caller<'_>,
    ) -> Result<Answer, No> {
        let pages = call.lane.config.dialect.pages(call.target.path());
        let Some(pages) = pages.filter(|_| call.method == Method::GET && !call.has_body) else {
            return Err(NotWhole::NoList.into());
        };
        let lane = Arc::clone(&call.lane);
        let mut headers = call.headers;
        for name in OF_ONE_ANSWER.iter().chain(&[WEIR_PAGES]) {
            headers.remove(name);
        }
        let attempt = lane.walks.begun.attempt(caller.access.seat, call.target.clone(), self.clock.now());
        let since = attempt.since;
        let here = Arc::clone(&lane);
        let mut tour =
            Tour { gateway: self, table, caller, lane: here, headers, since, page: 0, bytes: 0, age_secs: 0 };
        let answered = tour.walk(exchange, call.target, pages).await;
        // Otherwise what was paid for is worth keeping for whoever comes back in time.
        if answered.as_ref().err().is_none_or(is_for_good) {
            attempt.finish();
        }
        answered
    }
}

impl Tour<'_> {
    async fn walk(&mut self, exchange: &mut Exchange, first: Target, pages: Pages) -> Result<Answer, No> {
        let skipped = match pages {
            Pages::Counted => number(&first, "offset"),
            Pages::Until { skip, .. } => number(&first, skip),
            Pages::Envelope | Pages::Whole | Pages::Offset => 0,
        };
        let lane = Arc::clone(&self.lane);
        let (mut walk, mut target, mut template) = (Walk::new(pages, skipped), first, None);
        let mut held: Vec<SemaphorePermit<'_>> = Vec::new();
        loop {
            self.page += 1;
            if self.page > lane.config.max_pages {
                return Err(NotWhole::TooMany { most: lane.config.max_pages }.into());
            }
            let answer = self.ask(exchange, target.clone()).await?;
            if self.page == 1 && answer.response.status() != StatusCode::OK {
                return Ok(answer);
            }
            let (answer, body) = self.read(answer).await?;
            let kib = u32::try_from(body.len() / 1_024 + 1).unwrap_or(u32::MAX);
            held.push(lane.walks.room_kib.try_acquire_many(kib).map_err(|_| NotWhole::Full)?);
            let next = match walk.take(&body) {
                // The vendor's own word about what was asked for.
                Err(NotAPage::Unfinished) if self.page == 1 => return Ok(with_body(answer, body)),
                taken => taken.map_err(|why| NotWhole::Page { page: self.page, why })?,
            };
            let template = template.get_or_insert(answer);
            if next == Next::End {
                let whole = walk.whole().ok_or(NotWhole::NoList)?;
                return Ok(self.finish(exchange, template, whole));
            }
            target = turn(&target, next, &lane.links).ok_or(NotWhole::Elsewhere { page: self.page })?;
        }
    }

    /// One page, as any request of this caller.
    async fn ask(&self, exchange: &mut Exchange, target: Target) -> Result<Answer, No> {
        let headers = self.headers.clone();
        let lane = Arc::clone(&self.lane);
        let call = Call::new(lane, (Method::GET, target), headers, false);
        let now = self.gateway.clock.wall();
        self.table.check(&call, self.caller)?;
        let wish = Arc::new(Wish::of(call, None, self.caller, now));
        exchange.limits = wish.limits;
        (exchange.tries, exchange.refused_by_vendor) = (0, 0);
        if let Some(hit) = self.since.and_then(|since| paid_before(&wish, since)) {
            return Ok(wish.stored(&hit, Some("walk")).await);
        }
        let waited = exchange.waited;
        let answer = self.gateway.shared(exchange, &wish, self.caller, None).await;
        exchange.waited += waited;
        answer
    }

    /// The body of a page that is one.
    async fn read(&mut self, mut answer: Answer) -> Result<(Answer, Bytes), NotWhole> {
        let page = self.page;
        let status = answer.response.status();
        if status != StatusCode::OK {
            return Err(NotWhole::Answered { page, status });
        }
        if answer.response.headers().contains_key(CONTENT_ENCODING) {
            return Err(NotWhole::Page { page, why: NotAPage::Json });
        }
        let body = std::mem::replace(answer.response.body_mut(), Body::empty());
        let body = match Limited::new(body, MAX_BYTES - self.bytes).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(NotWhole::TooLarge),
            Err(_) => return Err(NotWhole::BrokeOff { page }),
        };
        self.bytes += body.len();
        let age = answer.response.headers().get(AGE).and_then(|age| age.to_str().ok()?.parse().ok());
        self.age_secs = self.age_secs.max(age.unwrap_or_default());
        Ok((answer, body))
    }

    /// The head of the first page around the whole list.
    fn finish(&self, exchange: &Exchange, first: &mut Answer, whole: Bytes) -> Answer {
        let mut response = Response::new(Body::from(whole));
        let headers = response.headers_mut();
        std::mem::swap(headers, first.response.headers_mut());
        for name in [CONTENT_LENGTH, ETAG, LAST_MODIFIED, AGE] {
            headers.remove(name);
        }
        if self.age_secs > 0 {
            headers.insert(AGE, self.age_secs.into());
        }
        headers.insert(WEIR_PAGES, self.page.into());
        let outcome = if exchange.price > 0 { Outcome::Paid } else { first.outcome };
        Answer { reason: "walk", cache: first.cache, ..Answer::of(response, outcome) }
    }
}

/// Whether the same walk, gone on with, would end in the same way.
fn is_for_good(no: &No) -> bool {
    match no {
        No::Pages(why) => {
            !matches!(why, NotWhole::Full | NotWhole::Answered { .. } | NotWhole::BrokeOff { .. })
        }
        No::Budget(..) | No::Vendor(_) | No::Ledger | No::Abandoned | No::Stopping => false,
        _ => true,
    }
}

/// A stored page that an earlier attempt at this walk has read, stale or not.
fn paid_before(wish: &Wish, since: Moment) -> Option<Hit> {
    let now = wish.lane.now();
    match wish.lookup(now) {
        Lookup::Stale(stale) if stale.why == Forward::Stale && stale.entry.received() >= since => {
            Some(Hit::at(stale.entry, now))
        }
        _ => None,
    }
}

fn with_body(answer: Answer, body: Bytes) -> Answer {
    let response = answer.response.map(|_| Body::from(body));
    Answer { response, ..answer }
}

/// The target of the next page: at the same path, or nothing.
fn turn(from: &Target, next: Next, links: &Links) -> Option<Target> {
    let to = match next {
        Next::End => None,
        Next::Set(name, value) => {
            let query = from.without(&[name]).query_with(name, &value);
            Target::parse(from.path(), Some(&query)).ok()
        }
        Next::Link(link) => {
            let public = links.public_url.as_deref().map(|url| url.trim_end_matches('/'));
            let rooted = public.and_then(|url| link.strip_prefix(url)).unwrap_or(&link);
            let rooted = rooted.split('#').next().unwrap_or_default();
            let (path, query) = match rooted.split_once('?') {
                Some((path, query)) => (path, Some(query)),
                None => (rooted, None),
            };
            if path.is_empty() {
                Target::parse(from.path(), query).ok()
            } else {
                Target::parse(path, query).ok()?.strip_mount(&links.mount)
            }
        }
    }?;
    to.path().eq_ignore_ascii_case(from.path()).then_some(to)
}

fn number(target: &Target, name: &str) -> u64 {
    target.values(name).next().and_then(|value| value.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_at_the_same_path() {
        let links = |public: Option<&str>| Links {
            scheme: "https".into(),
            authority: "io.example.com".into(),
            base_path: String::new(),
            mount: "/cp".into(),
            public_url: public.map(Into::into),
        };
        let from = Target::parse("/api/v2/tests", Some("pageSize=5")).unwrap();
        let at = |link: &str, public| {
            turn(&from, Next::Link(link.into()), &links(public)).map(|target| target.to_string())
        };
        let second = Some("/api/v2/tests?pageNumber=2&pageSize=5".to_owned());
        assert_eq!(at("/cp/api/v2/tests?pageSize=5&pageNumber=2", None), second);
        assert_eq!(at("https://w/cp/api/v2/tests?pageSize=5&pageNumber=2#x", Some("https://w/")), second);
        assert_eq!(at("?pageSize=5&pageNumber=2", None), second);
        for elsewhere in
            ["/cp/api/v2/nodes", "/api/v2/tests", "https://evil/cp/api/v2/tests", "tests?a", "/cp/api//v2"]
        {
            assert_eq!(at(elsewhere, Some("https://w")), None, "{elsewhere}");
        }
        let set = turn(&from, Next::Set("offset", "2020-09-23T07:26:26.000000Z".into()), &links(None));
        assert_eq!(set.unwrap().to_string(), "/api/v2/tests?offset=2020-09-23T07:26:26.000000Z&pageSize=5");
        let again = Target::parse("/x", Some("skip=4&limit=2")).unwrap();
        let set = turn(&again, Next::Set("skip", "6".into()), &links(None)).unwrap();
        assert_eq!(set.to_string(), "/x?limit=2&skip=6");
    }

    #[test]
    fn only_all_is_asked_for() {
        let with =
            |value: &'static str| HeaderMap::from_iter([(WEIR_PAGES, http::HeaderValue::from_static(value))]);
        assert!(!asked_in(&HeaderMap::new()).unwrap());
        assert!(asked_in(&with("All")).unwrap());
        assert!(asked_in(&with("3")).is_err());
    }
}
