//! What may be kept (RFC 9111, section 3), and for how long by whose word
//! (DESIGN: a rule, then a named vendor's dialect, then the vendor's headers).
//!
//! A rule's `ttl` answers "how long", so it outranks the vendor's `no-store`,
//! `no-cache` and lifetimes. It does not answer "for whom": `private`,
//! `Authorization` and `Vary` bind a shared cache whatever a rule says (law 10).

mod verdict;

use std::time::Duration;

use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, DATE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::directives::{Delta, ResponseDirectives};
use super::fields::{self, Seen};
use super::freshness::{self, Freshness, Seconds, Source, Span, WallSecond};
use super::vary::Vary;
use super::{Asked, Exchange, Head};

use crate::config::CacheRule;
use crate::dialect::Dialect;

pub use self::verdict::{Fate, NotStored, Storable};

/// The largest body that is kept unless a rule says otherwise, in bytes.
pub const DEFAULT_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Everything beside the answer that decides about it.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// How the vendor speaks.
    pub dialect: &'a Dialect,
    /// The first rule that matches the request.
    pub rule: Option<&'a CacheRule>,
    /// What [`Dialect::freshness`] said of the request when it was sent; zero is
    /// "do not cache".
    pub default_ttl: Option<Duration>,
    /// The rule's lifetime for a time window whose data no longer changes, if the
    /// request is about one; it takes the place of the rule's `ttl`.
    pub settled_ttl: Option<Duration>,
    /// Whose cache it is.
    pub sharing: Sharing,
}

/// Whose cache it is (DESIGN, Choices).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// One configured key's: a private cache of that key's scope.
    Private,
    /// Everybody's: no key, each caller's `Authorization` is sent on.
    Shared,
}

/// A lifetime and who set it.
struct Ranked {
    lifetime: Option<Duration>,
    source: Source,
}

impl Policy<'_> {
    /// Whether the answer to `asked` may be kept.
    ///
    /// # Errors
    /// The first reason against it.
    pub fn admit(&self, asked: &Asked<'_>, head: &Head, exchange: &Exchange) -> Result<Storable, NotStored> {
        let seen = self.seen(&head.headers);
        let directives = self.directives(seen);
        let ranked = self.rank(head.status, seen, &directives, exchange)?;
        self.method_allows(asked)?;
        status_allows(self.sharing, head.status, &directives, &ranked)?;
        no_store_allows(head.status, &directives, &ranked)?;
        self.sharing_allows(asked, seen, &directives)?;
        let vary = Vary::of(seen, asked.sent).map_err(|_| NotStored::Vary)?;
        let freshness = self.freshness(seen, &directives, &ranked, exchange);
        if !self.is_useful(head, &freshness, exchange) {
            return Err(NotStored::NoUse);
        }
        if content_length(&head.headers) > Some(self.max_bytes()) {
            return Err(NotStored::TooLarge);
        }
        let fields = self.kept_fields(&head.headers, &directives, exchange);
        Ok(Storable { status: head.status, fields, vary, freshness, max_bytes: self.max_bytes() })
    }

    /// The largest body that is kept, in bytes.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        self.rule.map_or(DEFAULT_MAX_BYTES, |rule| rule.max_bytes)
    }

    /// What becomes of a flight with this answer. Those who joined before its head
    /// share it if they are of one key's scope; elsewhere only what a shared cache
    /// could reuse (section 4). Later ones share what is fresh.
    #[must_use]
    pub fn fate(&self, admitted: &Result<Storable, NotStored>) -> Fate {
        let private = self.sharing == Sharing::Private;
        match admitted {
            Ok(storable) => {
                let reusable = storable.is_reusable_at_once();
                Fate {
                    keep_bytes: Some(storable.max_bytes),
                    followers: reusable || private,
                    open_until: reusable.then(|| storable.freshness.stale_at()),
                    lasting: !reusable && !private,
                }
            }
            Err(why) => Fate {
                keep_bytes: None,
                followers: private || *why == NotStored::TooLarge,
                open_until: None,
                lasting: why.is_lasting(),
            },
        }
    }

    /// What others than the one who asked may see of a head that is passed on live.
    pub fn strip_for_followers(&self, headers: &mut HeaderMap) {
        let personal: Vec<HeaderName> = headers
            .keys()
            .filter(|name| fields::is_cookie(name) || self.dialect.is_about_the_asker(name))
            .cloned()
            .collect();
        for name in personal {
            headers.remove(name);
        }
    }

    fn seen<'h>(&'h self, headers: &'h HeaderMap) -> Seen<'h> {
        Seen { headers, ignore: self.rule.map_or(&[], |rule| &rule.ignore) }
    }

    /// The directives that count: those targeted at shared caches on the way, if
    /// this is one (RFC 9213), else `Cache-Control`.
    fn directives(&self, seen: Seen<'_>) -> Counted {
        const TARGETED: HeaderName = HeaderName::from_static("cdn-cache-control");
        let targeted = (self.sharing == Sharing::Shared && !seen.ignore.contains(&TARGETED))
            .then(|| ResponseDirectives::targeted(seen.headers, TARGETED.as_str()))
            .flatten();
        match targeted {
            Some(directives) => Counted { directives, targeted: true },
            None => {
                let directives = ResponseDirectives::of(seen.lines(&CACHE_CONTROL));
                Counted { directives, targeted: false }
            }
        }
    }

    /// Whose word counts. Rules and dialects speak of answers; of errors only a
    /// rule's `negative`, which names them.
    fn rank(
        &self,
        status: StatusCode,
        seen: Seen<'_>,
        counted: &Counted,
        exchange: &Exchange,
    ) -> Result<Ranked, NotStored> {
        let answers = matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308);
        let negative = self.rule.and_then(|rule| rule.negative.iter().find(|(of, _)| *of == status));
        let ttl = self.settled_ttl.or(self.rule.and_then(|rule| rule.ttl)).filter(|_| answers);
        if let Some(lifetime) = negative.map(|(_, lifetime)| *lifetime).or(ttl) {
            let ranked = Ranked { lifetime: Some(lifetime), source: Source::Rule };
            return if lifetime.is_zero() { Err(NotStored::Rule) } else { Ok(ranked) };
        }
        if let Some(lifetime) = self.default_ttl.filter(|_| answers) {
            let ranked = Ranked { lifetime: Some(lifetime), source: Source::Dialect };
            return if lifetime.is_zero() { Err(NotStored::Dialect) } else { Ok(ranked) };
        }
        let expires = (!counted.targeted).then_some(seen);
        let received = exchange.received.wall;
        let lifetime = freshness::explicit_lifetime(&counted.directives, expires, self.sharing, received);
        Ok(Ranked { lifetime, source: Source::Headers })
    }

    fn method_allows(&self, asked: &Asked<'_>) -> Result<(), NotStored> {
        let by_rule = |rule: &CacheRule| asked.method != Method::HEAD && rule.methods.contains(asked.method);
        if *asked.method != Method::GET && !self.rule.is_some_and(by_rule) {
            return Err(NotStored::Method);
        }
        if asked.directives.no_store { Err(NotStored::RequestNoStore) } else { Ok(()) }
    }

    fn sharing_allows(&self, asked: &Asked<'_>, seen: Seen<'_>, counted: &Counted) -> Result<(), NotStored> {
        if self.sharing == Sharing::Private {
            return Ok(());
        }
        let said = &counted.directives;
        let for_all = said.public || said.s_maxage != Delta::Absent;
        if said.private.all() {
            Err(NotStored::Private)
        } else if asked.sent.contains_key(AUTHORIZATION) && !for_all && !said.must_revalidate {
            Err(NotStored::Authorization)
        } else if seen.headers.keys().any(fields::is_cookie) && !for_all {
            Err(NotStored::SetCookie)
        } else {
            Ok(())
        }
    }

    fn freshness(
        &self,
        seen: Seen<'_>,
        counted: &Counted,
        ranked: &Ranked,
        exchange: &Exchange,
    ) -> Freshness {
        let said = &counted.directives;
        let shared = self.sharing == Sharing::Shared;
        let initial_age = freshness::initial_age(seen, exchange);
        let lifetime = ranked.lifetime.unwrap_or_default();
        let by_headers = ranked.source == Source::Headers;
        // A rule counts from receipt: what a CDN's `Age` or a vendor's clock that
        // is minutes off says must not eat up the time an operator has set.
        let lifetime = if by_headers { lifetime } else { initial_age.saturating_add(lifetime) };
        let validate_always = by_headers && said.no_cache.all();
        // Section 5.2.2.10: `s-maxage` implies `proxy-revalidate`.
        let proxies = said.proxy_revalidate || said.s_maxage != Delta::Absent;
        let granted = |delta: Delta| Seconds::of(delta.granted().unwrap_or_default());
        Freshness {
            received: exchange.received,
            date: WallSecond::of(freshness::date_value(seen, exchange.received.wall)),
            initial_age: Span::of(initial_age),
            lifetime: Span::of(lifetime),
            source: ranked.source,
            validate_always,
            stale_forbidden: by_headers && (said.must_revalidate || (shared && proxies)),
            stale_while_revalidate: granted(said.stale_while_revalidate),
            stale_if_error: granted(said.stale_if_error),
        }
    }

    fn is_useful(&self, head: &Head, freshness: &Freshness, exchange: &Exchange) -> bool {
        let by_rule = self.rule.is_some_and(|rule| {
            [rule.stale_while_revalidate, rule.stale_if_error, rule.stale_if_limited]
                .iter()
                .any(|window| window.is_some_and(|window| !window.is_zero()))
        });
        let reusable = freshness.is_fresh(exchange.received) && !freshness.validate_always;
        let validators = [ETAG, LAST_MODIFIED].iter().any(|name| head.headers.contains_key(name));
        let may_be_stale = !freshness.stale_forbidden && !freshness.validate_always;
        let by_header = freshness.stale_while_revalidate.max(freshness.stale_if_error).get();
        reusable
            || (validators && head.status.is_success())
            || by_rule
            || (may_be_stale && !by_header.is_zero())
    }

    /// Section 3.1, and the fields that a qualified `no-cache` or `private` names.
    fn kept_fields(
        &self,
        headers: &HeaderMap,
        counted: &Counted,
        exchange: &Exchange,
    ) -> Vec<(HeaderName, HeaderValue)> {
        let said = &counted.directives;
        let connection = fields::named_by_connection(headers);
        let private = |name: &HeaderName| self.sharing == Sharing::Shared && said.private.names(name);
        let kept = |name: &HeaderName| {
            fields::is_kept(name, self.dialect)
                && !connection.contains(name)
                && !said.no_cache.names(name)
                && !private(name)
        };
        let mut all: Vec<_> = headers
            .iter()
            .filter(|(name, _)| kept(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if !headers.contains_key(DATE) {
            // RFC 9110, section 6.6.1: whoever has a clock and caches adds it.
            let date = httpdate::fmt_http_date(exchange.received.wall.to_system());
            all.extend(HeaderValue::try_from(date).map(|date| (DATE, date)));
        }
        all
    }
}

/// The directives that count, and whether they came in a targeted field, beside
/// which `Expires` does not count (RFC 9213, section 2.2).
struct Counted {
    directives: ResponseDirectives,
    targeted: bool,
}

fn status_allows(
    sharing: Sharing,
    status: StatusCode,
    counted: &Counted,
    ranked: &Ranked,
) -> Result<(), NotStored> {
    // 206: partial answers are not kept. 428, 429, 431, 511: RFC 6585.
    if status.is_informational() || matches!(status.as_u16(), 206 | 304 | 428 | 429 | 431 | 511) {
        return Err(NotStored::Status);
    }
    if ranked.source != Source::Headers {
        return Ok(());
    }
    let said = &counted.directives;
    if sharing == Sharing::Private && matches!(status.as_u16(), 401 | 403 | 407) {
        return Err(NotStored::AboutTheKey);
    }
    if said.must_understand && !is_understood(status) {
        return Err(NotStored::MustUnderstand);
    }
    // Section 3, the last condition.
    let private = sharing == Sharing::Private && said.private != Default::default();
    if said.public || private || ranked.lifetime.is_some() || is_cacheable_by_default(status) {
        Ok(())
    } else {
        Err(NotStored::Status)
    }
}

fn no_store_allows(status: StatusCode, counted: &Counted, ranked: &Ranked) -> Result<(), NotStored> {
    let said = &counted.directives;
    // Section 5.2.2.3: whoever understands `must-understand` and the status
    // disregards the `no-store` beside it.
    let understood = said.must_understand && is_understood(status);
    if said.no_store && !understood && ranked.source != Source::Rule {
        return Err(NotStored::NoStore);
    }
    Ok(())
}

/// RFC 9110, section 15.1; 206 is left out.
fn is_cacheable_by_default(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// The final statuses whose rules for caches RFC 9110 gives and this cache follows.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300..=303 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505
    )
}

/// RFC 9110, section 8.6; what is no number is left to the HTTP parser.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
