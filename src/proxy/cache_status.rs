//! `Cache-Status` (RFC 9211): what the cache did with a request.

use http::HeaderValue;
use sfv::{KeyRef, TokenRef};

use crate::cache::{Forward, Hit};

/// `Cache-Status` (RFC 9211) in parts.
#[derive(Clone, Copy, Debug)]
pub(super) enum CacheStatus {
    /// Answered from the cache.
    Hit {
        /// Seconds of freshness left; negative when stale.
        ttl: i64,
        /// Why it is stale.
        detail: Option<&'static str>,
    },
    /// Asked for at the vendor.
    Forwarded {
        /// Why.
        why: Forward,
        /// The vendor's status, if it answered.
        status: Option<u16>,
        /// Whether the answer is being kept.
        stored: bool,
        /// Whether it was another caller's fetch.
        collapsed: bool,
        /// Why it is not kept.
        detail: Option<&'static str>,
    },
    /// weir answered for itself.
    Own {
        /// Why the vendor was asked, if it was.
        why: Option<Forward>,
        /// Why it answered for itself.
        detail: &'static str,
    },
}

impl CacheStatus {
    pub(super) fn of_hit(hit: &Hit, detail: Option<&'static str>) -> Self {
        Self::Hit { ttl: hit.ttl, detail }
    }

    /// The field's value.
    pub(super) fn header(self) -> Option<HeaderValue> {
        match self {
            Self::Hit { ttl, detail: None } => return plain_hit(ttl),
            Self::Forwarded { why, status: Some(status @ 100..=999), stored, collapsed: false, detail } => {
                return plain_forward((why, status), stored, detail);
            }
            _ => {}
        }
        const DETAIL: &KeyRef = KeyRef::constant("detail");
        let mut list = sfv::ListSerializer::new();
        let item = list.bare_item(TokenRef::constant("weir"));
        match self {
            Self::Own { why, detail } => {
                let item = match why {
                    Some(why) => item.parameter(KeyRef::constant("fwd"), word(why.as_str())),
                    None => item,
                };
                let _ = item.parameter(DETAIL, word(detail));
            }
            Self::Hit { ttl, detail } => {
                let ttl = sfv::Integer::try_from(ttl).unwrap_or(sfv::Integer::MAX);
                let item =
                    item.parameter(KeyRef::constant("hit"), true).parameter(KeyRef::constant("ttl"), ttl);
                if let Some(detail) = detail {
                    let _ = item.parameter(DETAIL, word(detail));
                }
            }
            Self::Forwarded { why, status, stored, collapsed, detail } => {
                let mut item = item.parameter(KeyRef::constant("fwd"), word(why.as_str()));
                if let Some(status) = status {
                    item = item.parameter(KeyRef::constant("fwd-status"), status);
                }
                if stored {
                    item = item.parameter(KeyRef::constant("stored"), true);
                }
                if collapsed {
                    item = item.parameter(KeyRef::constant("collapsed"), true);
                }
                if let Some(detail) = detail {
                    let _ = item.parameter(DETAIL, word(detail));
                }
            }
        }
        list.finish().and_then(|text| HeaderValue::try_from(text).ok())
    }
}

/// What nearly every hit says, without the serializer.
fn plain_hit(ttl: i64) -> Option<HeaderValue> {
    const LONGEST: i64 = 999_999_999_999_999;
    const BEGIN: &[u8] = b"weir;hit;ttl=";
    if !(0..=LONGEST).contains(&ttl) {
        return HeaderValue::try_from(format!("weir;hit;ttl={}", ttl.clamp(-LONGEST, LONGEST))).ok();
    }
    // From the last digit to the first.
    let (mut text, mut at, mut left) = ([0; 32], 32, ttl);
    loop {
        at -= 1;
        text[at] = b'0' + u8::try_from(left % 10).unwrap_or_default();
        left /= 10;
        if left == 0 {
            break;
        }
    }
    let start = at - BEGIN.len();
    text[start..at].copy_from_slice(BEGIN);
    HeaderValue::from_bytes(&text[start..]).ok()
}

/// What nearly every answer of the vendor says, likewise.
fn plain_forward(
    (why, status): (Forward, u16),
    stored: bool,
    detail: Option<&'static str>,
) -> Option<HeaderValue> {
    let digit = |of: u16| char::from(b'0' + u8::try_from(of % 10).unwrap_or_default());
    let mut text = String::with_capacity(96);
    text.push_str("weir;fwd=");
    text.push_str(word(why.as_str()).as_str());
    text.push_str(";fwd-status=");
    text.extend([digit(status / 100), digit(status / 10), digit(status)]);
    if stored {
        text.push_str(";stored");
    }
    if let Some(detail) = detail {
        text.push_str(";detail=");
        text.push_str(word(detail).as_str());
    }
    HeaderValue::try_from(text).ok()
}

/// Reasons are words: lower case, digits, `-` and `_`, which make a token (RFC 8941).
fn word(text: &'static str) -> &'static TokenRef {
    TokenRef::from_str(text).unwrap_or(TokenRef::constant("other"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(status: CacheStatus) -> String {
        status.header().unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn cache_status_is_a_structured_field() {
        assert_eq!(text(CacheStatus::Hit { ttl: 30, detail: None }), "weir;hit;ttl=30");
        let longest = "weir;hit;ttl=999999999999999";
        assert_eq!(text(CacheStatus::Hit { ttl: i64::MAX, detail: None }), longest);
        for ttl in [0, 7, 10, 3_600, -3] {
            assert_eq!(text(CacheStatus::Hit { ttl, detail: None }), format!("weir;hit;ttl={ttl}"));
        }
        assert_eq!(
            text(CacheStatus::Hit { ttl: -5, detail: Some("limited") }),
            "weir;hit;ttl=-5;detail=limited"
        );
        assert_eq!(text(CacheStatus::Own { why: None, detail: "day" }), "weir;detail=day");
        let failed = CacheStatus::Own { why: Some(Forward::Stale), detail: "connection_refused" };
        assert_eq!(text(failed), "weir;fwd=stale;detail=connection_refused");
        let forwarded = CacheStatus::Forwarded {
            why: Forward::UriMiss,
            status: Some(200),
            stored: true,
            collapsed: true,
            detail: None,
        };
        assert_eq!(text(forwarded), "weir;fwd=uri-miss;fwd-status=200;stored;collapsed");
        for (status, stored, detail, expected) in [
            (200, true, None, "weir;fwd=uri-miss;fwd-status=200;stored"),
            (404, false, Some("no-store"), "weir;fwd=uri-miss;fwd-status=404;detail=no-store"),
            (999, false, Some("no word"), "weir;fwd=uri-miss;fwd-status=999;detail=other"),
        ] {
            let (why, status) = (Forward::UriMiss, Some(status));
            let forwarded = CacheStatus::Forwarded { why, status, stored, collapsed: false, detail };
            assert_eq!(text(forwarded), expected);
        }
    }
}
