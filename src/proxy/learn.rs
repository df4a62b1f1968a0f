//! What an answer tells about the vendor's own count of the account.
//!
//! A 429 closes the shortest window that could explain it; `RateLimit-*` fields
//! and (where the operator trusts it) Catchpoint's `usageLimits` raise what counts
//! as used to the vendor's figure, never lower it. Only live answers are read.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, StatusCode};

use super::Lane;
use crate::clock::{Moment, UnixTime};
use crate::quota::LimitSet;

/// The longest `Retry-After` that is believed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(86_400);

const RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");

/// What `ratelimit-*` or `x-ratelimit-*` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reported {
    /// Requests that the window allows.
    limit: u32,
    /// Requests of them that are left.
    remaining: u32,
}

impl Lane {
    /// Learns from the head of a live answer to what these limits count, sent at `sent`.
    pub(super) fn learn(&self, counted: LimitSet, sent: Moment, (status, headers): (StatusCode, &HeaderMap)) {
        // A weir's no is not the vendor's, and its windows are the caller's own.
        if self.relays() {
            return;
        }
        if let Some(reported) = Reported::of(headers) {
            // Which of the limits is meant is told by its size; otherwise nothing is learnt.
            let limits = &self.config.plan.limits;
            let meant = counted.iter().find(|&index| limits[index].requests.get() == reported.limit);
            if let Some(limit) = meant {
                self.budget.raise(limit, reported.limit.saturating_sub(reported.remaining));
            }
        }
        if status != StatusCode::TOO_MANY_REQUESTS {
            return;
        }
        let retry_after = retry_after(headers, self.clock.wall());
        match self.budget.refused_by_vendor(counted, sent, retry_after) {
            Some(closed) => {
                if closed.withdrawn {
                    tracing::error!(
                        upstream = %self.config.name,
                        "counted_within is broken: the vendor answered 429 while charges ended that long after their \
                         last byte; from now on they last until the response head. Unset it, or set a longer one"
                    );
                }
                tracing::error!(
                upstream = %self.config.name,
                limit = %closed.limit,
                closed_s = closed.lasts.as_secs_f64(),
                spaced_out = closed.spaced_out,
                "the vendor answered 429: someone else uses this account, its limits are lower than configured, \
                 or it only estimates; this window is closed for a while"
                );
            }
            None => {
                tracing::error!(upstream = %self.config.name, "the vendor answered 429 to what no limit counts")
            }
        }
    }

    /// Learns from `usageLimits`, where the operator trusts it.
    pub(super) fn learn_usage(&self, removed: &[u8]) {
        if !self.config.learn_usage_limits {
            return;
        }
        for usage in self.config.dialect.usage(removed) {
            let limits = &self.config.plan.limits;
            if let Some(limit) = limits.iter().position(|limit| limit.name.as_str() == usage.limit) {
                self.budget.raise(limit, usage.used);
            }
        }
    }
}

impl Reported {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let number = |names: [&HeaderName; 2]| {
            let value = names.into_iter().find_map(|name| headers.get(name));
            value?.to_str().ok()?.trim().parse().ok()
        };
        let limit = number([&RATELIMIT_LIMIT, &X_RATELIMIT_LIMIT])?;
        Some(Self { limit, remaining: number([&RATELIMIT_REMAINING, &X_RATELIMIT_REMAINING])? })
    }
}

/// `Retry-After` in either form (RFC 9110, section 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: UnixTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => UnixTime::from_system(httpdate::parse_http_date(value).ok()?).since(now),
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn both_families_of_fields_are_read() {
        let reported = Some(Reported { limit: 24, remaining: 3 });
        assert_eq!(
            Reported::of(&headers(&[("ratelimit-limit", "24"), ("ratelimit-remaining", "3")])),
            reported
        );
        assert_eq!(
            Reported::of(&headers(&[("x-ratelimit-limit", "24"), ("x-ratelimit-remaining", "3")])),
            reported
        );
        assert_eq!(
            Reported::of(&headers(&[("ratelimit-limit", "24, 24;w=5"), ("ratelimit-remaining", "3")])),
            None
        );
        assert_eq!(Reported::of(&headers(&[("ratelimit-limit", "24")])), None);
    }

    #[test]
    fn retry_after_in_either_form() {
        let now = UnixTime::from_secs(784_111_777);
        let wait = |value| retry_after(&headers(&[("retry-after", value)]), now);
        assert_eq!(wait("30"), Some(Duration::from_secs(30)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(wait("99999999"), Some(MAX_RETRY_AFTER));
        assert_eq!(wait("soon"), None);
    }
}
