//! What admission says: kept once the body is complete, or why not.

use http::{HeaderName, HeaderValue, StatusCode};

use crate::cache::entry::{Body, Entry, Fields, Mark};
use crate::cache::freshness::Freshness;
use crate::cache::key::{Key, Text};
use crate::cache::vary::Vary;
use crate::clock::Moment;

/// Why an answer is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStored {
    /// Neither GET nor a method that the rule allows.
    Method,
    /// The caller said `no-store` (section 5.2.1.5).
    RequestNoStore,
    /// Its status is never kept: interim, 206, 304, 429 and its kin (RFC 6585).
    Status,
    /// An error of the key's (401, 403, 407), which its renewal mends.
    AboutTheKey,
    /// The status is not understood, and must be (section 5.2.2.3).
    MustUnderstand,
    /// The rule's `ttl`, or its time for this error, is zero.
    Rule,
    /// The dialect knows that it must not be.
    Dialect,
    /// The vendor said `no-store` (section 5.2.2.5).
    NoStore,
    /// `private` in a shared cache (section 5.2.2.7).
    Private,
    /// `Authorization` in a shared cache (section 3.5).
    Authorization,
    /// It sets a cookie, and nothing says that it is for everybody.
    SetCookie,
    /// `Vary: *` (section 4.1).
    Vary,
    /// Stale at once, cannot be validated, and may not be served stale.
    NoUse,
    /// Larger than `max_bytes`.
    TooLarge,
}

/// An answer that may be kept as soon as its body is complete.
#[derive(Clone, Debug)]
pub struct Storable {
    pub(super) status: StatusCode,
    pub(super) fields: Vec<(HeaderName, HeaderValue)>,
    pub(super) vary: Vary,
    pub(super) freshness: Freshness,
    pub(super) max_bytes: u64,
}

/// What becomes of a flight when its head is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// The body is kept up to this many bytes; none only passes it on.
    pub keep_bytes: Option<u64>,
    /// Whether those who joined before the head get the answer too; otherwise they
    /// are told to go alone.
    pub followers: bool,
    /// Until when others may still join; none lets nobody.
    pub open_until: Option<Moment>,
    /// Whether the next answers will fare no better, so that it is of no use to
    /// wait for each other.
    pub lasting: bool,
}

impl Storable {
    /// The entry, once the body is complete.
    ///
    /// # Errors
    /// [`NotStored::TooLarge`] if the body is, whatever its `Content-Length` said.
    pub fn entry(&self, key: &Key, body: Body) -> Result<Entry, NotStored> {
        self.entry_of(key.text(), body)
    }

    pub(in crate::cache) fn entry_of(&self, key: &Text, body: Body) -> Result<Entry, NotStored> {
        if body.len() > self.max_bytes {
            return Err(NotStored::TooLarge);
        }
        let fields: Vec<_> = self.fields.iter().map(|(name, value)| (name, value)).collect();
        Ok(Entry {
            key: key.clone(),
            status: self.status,
            fields: Fields::copied(&fields),
            body,
            vary: self.vary.clone(),
            freshness: self.freshness.clone(),
            mark: Mark::default(),
        })
    }

    /// Its age and lifetime.
    #[must_use]
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// Whether it could be reused in the moment of its receipt.
    #[must_use]
    pub fn is_reusable_at_once(&self) -> bool {
        self.freshness.is_fresh(self.freshness.received) && !self.freshness.validate_always
    }
}

impl NotStored {
    /// Whether the next answer is likely to meet the same reason: a passing error is
    /// no ground to let a crowd of callers through one by one.
    #[must_use]
    pub fn is_lasting(self) -> bool {
        !matches!(self, Self::Status | Self::AboutTheKey | Self::RequestNoStore)
    }

    /// One word for log, metric and header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::RequestNoStore => "request-no-store",
            Self::Status => "status",
            Self::AboutTheKey => "about-the-key",
            Self::MustUnderstand => "must-understand",
            Self::Rule => "rule",
            Self::Dialect => "dialect",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::SetCookie => "set-cookie",
            Self::Vary => "vary",
            Self::NoUse => "no-use",
            Self::TooLarge => "too-large",
        }
    }
}
