//! Asking the vendor whether a stored answer still holds (RFC 9111, section 4.3).

use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::answer::weakly_equal;
use super::entry::{Entry, Fields, Mark};
use super::fields;
use super::freshness::Span;
use super::policy::{NotStored, Policy};
use super::{Asked, Exchange, Head};

/// What a 304 (or a HEAD's answer) makes of a stored answer.
#[derive(Debug)]
pub enum Refreshed {
    /// Still good: keep this one in its place.
    Updated(Entry),
    /// Good for those who asked, but no longer to be kept: drop what is stored.
    Once(Entry, NotStored),
    /// It speaks of another representation: drop what is stored, ask without
    /// conditions.
    Mismatch,
}

/// Whether the vendor's status is an error on which a stale answer may be given
/// (RFC 5861, section 4).
#[must_use]
pub fn is_error(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

impl Entry {
    /// Makes `sent` a request to validate this answer (section 4.3.1). The
    /// caller's own conditions and range give way: they are answered here, from
    /// what comes back. Says whether there is anything to validate by.
    pub fn condition(&self, sent: &mut HeaderMap) -> bool {
        for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE] {
            sent.remove(name);
        }
        // A 304 stands for a 200 only (RFC 9110, section 13.2.1).
        if !self.status().is_success() {
            return false;
        }
        let (etag, modified) = (self.field(&ETAG), self.field(&LAST_MODIFIED));
        let can_be_asked = etag.is_some() || modified.is_some();
        if let Some(etag) = etag {
            sent.insert(IF_NONE_MATCH, etag.into_owned());
        }
        if let Some(modified) = modified {
            sent.insert(IF_MODIFIED_SINCE, modified.into_owned());
        }
        can_be_asked
    }

    /// What is left of this answer after a 304 to [`Entry::condition`] (sections
    /// 4.3.3 and 4.3.4).
    #[must_use]
    pub fn refresh(
        &self,
        policy: &Policy<'_>,
        asked: &Asked<'_>,
        head: &Head,
        exchange: &Exchange,
    ) -> Refreshed {
        if !self.is_meant_by(&head.headers) {
            return Refreshed::Mismatch;
        }
        self.updated(policy, asked, head, exchange)
    }

    /// What is left of this answer after a 200 to a HEAD (section 4.3.5). Only for
    /// bodies that are kept as they came, since lengths are compared.
    #[must_use]
    pub fn refresh_by_head(
        &self,
        policy: &Policy<'_>,
        asked: &Asked<'_>,
        head: &Head,
        exchange: &Exchange,
    ) -> Refreshed {
        let same = |name: &HeaderName| match head.headers.get(name) {
            None => true,
            is => is == self.field(name).as_deref(),
        };
        let length = head.headers.get(CONTENT_LENGTH);
        let same_length = length.is_none_or(|is| is.as_bytes() == self.body().len().to_string().as_bytes());
        if head.status != self.status() || !same(&ETAG) || !same(&LAST_MODIFIED) || !same_length {
            return Refreshed::Mismatch;
        }
        self.updated(policy, asked, head, exchange)
    }

    /// Section 4.3.4, read for a fetch that named this answer and no other: a
    /// validator in the 304 must be this one's; a 304 without any means it.
    fn is_meant_by(&self, head: &HeaderMap) -> bool {
        let same_date = |theirs: &HeaderValue| self.field(&LAST_MODIFIED).as_deref() == Some(theirs);
        match (head.get(ETAG), self.field(&ETAG)) {
            (Some(theirs), Some(ours)) => weakly_equal(theirs.as_bytes(), ours.as_bytes()),
            // We asked by date alone: the tag is news, the date decides.
            (Some(_), None) | (None, None) => head.get(LAST_MODIFIED).is_none_or(same_date),
            (None, Some(_)) => head.get(LAST_MODIFIED).is_none_or(same_date),
        }
    }

    fn updated(&self, policy: &Policy<'_>, asked: &Asked<'_>, head: &Head, exchange: &Exchange) -> Refreshed {
        let merged = Head { status: self.status(), headers: self.merged(&head.headers) };
        let mut body_asked = asked.clone();
        // A HEAD refreshes what a GET stored.
        if *asked.method == http::Method::HEAD {
            body_asked.method = &http::Method::GET;
        }
        let admitted = policy.admit(&body_asked, &merged, exchange);
        match admitted.and_then(|storable| storable.entry_of(self.key(), self.body().clone())) {
            Ok(entry) => Refreshed::Updated(entry),
            Err(why) => Refreshed::Once(self.once(policy, &merged, exchange), why),
        }
    }

    /// Section 3.2: each field of the new head takes the place of the stored ones
    /// of that name, save those that describe the bytes we keep, and cookies.
    fn merged(&self, new: &HeaderMap) -> HeaderMap {
        let connection = fields::named_by_connection(new);
        let mut merged = self.headers();
        // A 304 without a date was made when it came, not when the stored answer was.
        merged.remove(DATE);
        for name in new.keys() {
            let kept = matches!(*name, CONTENT_LENGTH | CONTENT_ENCODING | CONTENT_RANGE);
            if kept || fields::is_cookie(name) || connection.contains(name) {
                continue;
            }
            if *name == ETAG && self.says_the_same_weakly(new) {
                continue;
            }
            merged.remove(name);
            for value in new.get_all(name) {
                merged.append(name, value.clone());
            }
        }
        merged
    }

    /// A weak tag stays weak, though the vendor says the same one strongly: the bytes that
    /// are kept may be the vendor's in another coding, or edited.
    fn says_the_same_weakly(&self, new: &HeaderMap) -> bool {
        let (Some(ours), Some(theirs)) = (self.field(&ETAG), new.get(ETAG)) else { return false };
        ours.as_bytes().starts_with(b"W/") && weakly_equal(ours.as_bytes(), theirs.as_bytes())
    }

    /// This answer with the merged head, to be given once.
    fn once(&self, policy: &Policy<'_>, merged: &Head, exchange: &Exchange) -> Self {
        let kept = |name: &HeaderName| fields::is_kept(name, policy.dialect);
        let fields: Vec<_> = merged.headers.iter().filter(|(name, _)| kept(name)).collect();
        let mut freshness = self.freshness.clone();
        freshness.received = exchange.received;
        freshness.initial_age = Span::of(exchange.received.at.since(exchange.sent));
        Self {
            key: self.key.clone(),
            status: self.status,
            fields: Fields::copied(&fields),
            body: self.body.clone(),
            vary: self.vary.clone(),
            freshness,
            mark: Mark::default(),
        }
    }
}
