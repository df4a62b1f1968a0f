//! `Accept` and its like: what a caller takes, and one spelling for what means the same.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Which of `offers` a caller likes best (RFC 9110, section 12.5.1), the earlier
/// of equals; none if it takes none of them. One who says nothing takes the first.
pub(super) fn preferred<'a>(headers: &HeaderMap, offers: &[&'a str]) -> Option<&'a str> {
    let lines: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
    let ranges: Vec<Range<'_>> = lines.iter().flat_map(|l| l.split(',')).filter_map(Range::parse).collect();
    if ranges.is_empty() {
        return offers.first().copied();
    }
    let weigh = |offer: &str| {
        let closest = ranges.iter().filter_map(|r| Some((r.closeness(offer)?, r.weight)));
        closest.max_by_key(|(closeness, _)| *closeness).map_or(0, |(_, weight)| weight)
    };
    // `max_by_key` takes the last of equals.
    offers.iter().rev().copied().max_by_key(|offer| weigh(offer)).filter(|offer| weigh(offer) > 0)
}

/// The fields that JSON APIs negotiate by.
pub(super) fn shape(from: &HeaderMap, to: &mut HeaderMap) {
    respell(ACCEPT, Fold::Names, from, to);
    respell(CONTENT_TYPE, Fold::Names, from, to);
}

/// How weir calls itself where a caller said nothing.
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("weir/", env!("CARGO_PKG_VERSION")));

pub(super) fn supply_user_agent(headers: &mut HeaderMap) {
    headers.entry(http::header::USER_AGENT).or_insert(USER_AGENT);
}

/// Whether an answer says that it is JSON, or does not say what it is.
pub(super) fn is_json(answer: &HeaderMap) -> bool {
    is_json_or(answer, &[])
}

/// The same where a vendor also calls its JSON by one of `names`.
pub(super) fn is_json_or(answer: &HeaderMap, names: &[&str]) -> bool {
    match answer.get(CONTENT_TYPE).map(HeaderValue::to_str) {
        None => true,
        Some(Err(_)) => false,
        Some(Ok(typed)) => {
            let essence = typed.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            ["application/json", "text/json"].contains(&essence.as_str())
                || names.contains(&essence.as_str())
                || essence.ends_with("+json")
        }
    }
}

/// One media range and its weight in thousandths.
struct Range<'a> {
    name: &'a str,
    weight: u16,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().filter(|name| !name.is_empty())?;
        let weight = parts
            .find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")))
            .map_or(1000, thousandths);
        Some(Self { name, weight })
    }

    /// How exactly this range names `offer`; none if not at all.
    fn closeness(&self, offer: &str) -> Option<u8> {
        let (kind, _) = offer.split_once('/')?;
        let of_kind = |name: &str| name.strip_suffix("/*").is_some_and(|k| k.eq_ignore_ascii_case(kind));
        match self.name {
            name if name.eq_ignore_ascii_case(offer) => Some(2),
            "*/*" | "*" => Some(0),
            name => of_kind(name).then_some(1),
        }
    }
}

/// A weight (RFC 9110, section 12.4.2); what is none counts as 1.
fn thousandths(text: &str) -> u16 {
    match text.split_once('.').unwrap_or((text, "")) {
        ("0", digits) if digits.len() <= 3 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{digits:0<3}").parse().unwrap_or(1000)
        }
        _ => 1000,
    }
}

/// How far letters of a field may be folded without changing what it says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    /// All of it (`Accept-Language`).
    All,
    /// All but the values of parameters (`Accept`, `Content-Type`).
    Names,
}

/// Sets `name` in `to` to one spelling of what it says in `from`: one line, one
/// blank after a comma, no other white space, lower case as far as `fold` goes.
/// What is quoted, or no ASCII, stays as it is.
pub(super) fn respell(name: HeaderName, fold: Fold, from: &HeaderMap, to: &mut HeaderMap) {
    // A look at each name is cheaper than to hash one.
    if !from.keys().any(|is| *is == name) {
        return;
    }
    let mut values = from.get_all(&name).iter();
    if let (Some(only), None) = (values.next(), values.next())
        && is_respelt(only.as_bytes())
    {
        to.insert(name, only.clone());
        return;
    }
    let lines: Option<Vec<&str>> = from.get_all(&name).iter().map(|value| value.to_str().ok()).collect();
    let plain = lines.filter(|lines| !lines.iter().any(|line| line.contains('"')));
    let Some(lines) = plain else {
        for value in from.get_all(&name) {
            to.append(name.clone(), value.clone());
        }
        return;
    };
    let members = lines.iter().flat_map(|line| line.split(',')).map(str::trim).filter(|m| !m.is_empty());
    let spelt: Vec<String> = members.map(|member| respell_member(member, fold)).collect();
    if let Ok(value) = HeaderValue::try_from(spelt.join(", "))
        && !value.is_empty()
    {
        to.insert(name, value);
    }
}

/// Whether nothing of a line would change, as of most: one member in lower case
/// without parameters, such as `*/*`.
fn is_respelt(line: &[u8]) -> bool {
    let stays = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"*/+-.".contains(b);
    !line.is_empty() && line.iter().all(stays)
}

fn respell_member(member: &str, fold: Fold) -> String {
    let part = |part: &str| match part.split_once('=') {
        Some((name, value)) if fold == Fold::Names => {
            format!("{}={}", name.trim().to_ascii_lowercase(), value.trim())
        }
        _ => part.trim().to_ascii_lowercase(),
    };
    member.split(';').map(part).collect::<Vec<_>>().join(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (ACCEPT, HeaderValue::from_static(line))).collect()
    }

    #[test]
    fn the_best_offer_wins() {
        let best = |lines: &[&'static str]| {
            preferred(&headers(lines), &["application/json", "text/json", "text/plain"])
        };
        assert_eq!(best(&[]), Some("application/json"));
        assert_eq!(best(&[""]), Some("application/json"));
        assert_eq!(best(&["*/*"]), Some("application/json"));
        assert_eq!(best(&["text/html, application/xml;q=0.9, */*;q=0.8"]), Some("application/json"));
        assert_eq!(best(&["text/*"]), Some("text/json"));
        assert_eq!(best(&["Text/PLAIN; charset=utf-8"]), Some("text/plain"));
        assert_eq!(best(&["application/json;q=0.2", "text/plain;q=0.75"]), Some("text/plain"));
        assert_eq!(best(&["application/json;q=0, */*;q=0.1"]), Some("text/json"));
        assert_eq!(best(&["text/html"]), None);
        assert_eq!(best(&["*/*;q=0"]), None);
    }

    #[test]
    fn what_means_the_same_is_spelt_the_same() {
        let spelt = |fold, lines: &[&'static str]| {
            let mut to = HeaderMap::new();
            respell(ACCEPT, fold, &headers(lines), &mut to);
            to.get_all(ACCEPT).iter().map(|v| v.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            spelt(Fold::Names, &["Text/HTML ;Q=0.5,  a/b", "c/d;V=X"]),
            ["text/html;q=0.5, a/b, c/d;v=X"]
        );
        assert_eq!(spelt(Fold::All, &["de-CH,EN;Q=0.1"]), ["de-ch, en;q=0.1"]);
        assert_eq!(spelt(Fold::All, &["a/b; c=\"X, y\"", "D/e"]), ["a/b; c=\"X, y\"", "D/e"]);
        assert!(spelt(Fold::All, &[" , "]).is_empty() && spelt(Fold::All, &[]).is_empty());
    }
}
