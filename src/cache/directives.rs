//! `Cache-Control`, read as strictly as RFC 9111 allows.
//!
//! Names fold, both forms of an argument are accepted, commas within quotes do
//! not split (section 5.2). What is malformed or contradicts itself counts as
//! the most restrictive thing it can mean (section 4.2.1): a lifetime becomes
//! zero, a tolerance none, a demand absolute.

use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderName, PRAGMA};
use http::{HeaderMap, HeaderValue};

/// What a caller demands or tolerates (RFC 9111, section 5.2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// No stored response without validation.
    pub no_cache: bool,
    /// Keep nothing of this exchange.
    pub no_store: bool,
    /// Nothing stored, then 504.
    pub only_if_cached: bool,
    /// The oldest acceptable age.
    pub max_age: Option<Duration>,
    /// The least remaining freshness.
    pub min_fresh: Option<Duration>,
    /// The most staleness tolerated; [`Duration::MAX`] is any.
    pub max_stale: Option<Duration>,
    /// The most staleness tolerated if the vendor fails (RFC 5861, section 4).
    pub stale_if_error: Option<Duration>,
}

/// What a vendor allows (RFC 9111, section 5.2.2; RFC 5861).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ResponseDirectives {
    pub(super) no_store: bool,
    pub(super) no_cache: Fields,
    pub(super) private: Fields,
    pub(super) public: bool,
    pub(super) must_revalidate: bool,
    pub(super) proxy_revalidate: bool,
    pub(super) must_understand: bool,
    pub(super) max_age: Delta,
    pub(super) s_maxage: Delta,
    pub(super) stale_while_revalidate: Delta,
    pub(super) stale_if_error: Delta,
}

/// To what a `no-cache` or `private` applies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Fields {
    /// The directive is absent.
    #[default]
    None,
    /// Only to these fields of the response.
    These(Vec<HeaderName>),
    /// To the whole response.
    All,
}

/// A number of seconds, if it is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Delta {
    #[default]
    Absent,
    Is(Duration),
    /// Not a number, missing, or given twice with different values.
    Malformed,
}

/// RFC 9111, section 1.2.2: what does not fit counts as this.
const LONGEST_SECONDS: u64 = 1 << 31;

/// One directive as written.
struct Directive<'a> {
    name: String,
    argument: Argument<'a>,
}

enum Argument<'a> {
    None,
    Token(&'a [u8]),
    Quoted(Vec<u8>),
    /// A blank at the `=`, or a quote that does not end.
    Malformed,
}

impl RequestDirectives {
    /// Whether a fetch begun for somebody else may answer this one too (RFC 9111,
    /// section 4: only where a stored response could be reused). A caller who may
    /// not join uses [`super::Flights::alone`].
    #[must_use]
    pub fn allow_joining(&self) -> bool {
        !self.no_cache && !self.no_store && self.max_age != Some(Duration::ZERO)
    }

    /// The directives in a caller's headers. `Pragma: no-cache` counts only where
    /// there is no `Cache-Control` (RFC 9111, section 5.4).
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut all = Self::default();
        if !headers.contains_key(CACHE_CONTROL) {
            all.no_cache = headers.get_all(PRAGMA).iter().flat_map(parse).any(|d| d.name == "no-cache");
            return all;
        }
        for directive in headers.get_all(CACHE_CONTROL).iter().flat_map(parse) {
            let seconds = || directive.argument.seconds();
            match directive.name.as_str() {
                "no-cache" => all.no_cache = true,
                "no-store" => all.no_store = true,
                "only-if-cached" => all.only_if_cached = true,
                "max-age" => least(&mut all.max_age, seconds().unwrap_or(Duration::ZERO)),
                "min-fresh" => {
                    let most = all.min_fresh.unwrap_or_default().max(seconds().unwrap_or(Duration::MAX));
                    all.min_fresh = Some(most);
                }
                "max-stale" if matches!(directive.argument, Argument::None) => {
                    least(&mut all.max_stale, Duration::MAX);
                }
                "max-stale" => least(&mut all.max_stale, seconds().unwrap_or(Duration::ZERO)),
                "stale-if-error" => least(&mut all.stale_if_error, seconds().unwrap_or(Duration::ZERO)),
                _ => {}
            }
        }
        all
    }
}

impl ResponseDirectives {
    /// The directives in these field lines.
    pub(super) fn of<'a>(lines: impl Iterator<Item = &'a HeaderValue>) -> Self {
        let mut all = Self::default();
        for directive in lines.flat_map(parse) {
            all.take(&directive);
        }
        all
    }

    fn take(&mut self, directive: &Directive<'_>) {
        let argument = &directive.argument;
        let bare = matches!(argument, Argument::None);
        match directive.name.as_str() {
            "no-store" => self.no_store = true,
            "no-cache" => self.no_cache.add(argument),
            "private" => self.private.add(argument),
            // A permission with an argument it does not have is no permission.
            "public" => self.public |= bare,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "must-understand" => self.must_understand = true,
            "max-age" => self.max_age.add(argument),
            "s-maxage" => self.s_maxage.add(argument),
            "stale-while-revalidate" => self.stale_while_revalidate.add(argument),
            "stale-if-error" => self.stale_if_error.add(argument),
            _ => {}
        }
    }

    /// The directives of a targeted field (RFC 9213); none if it is missing, empty
    /// or no structured dictionary, and so does not count.
    pub(super) fn targeted(headers: &HeaderMap, name: &str) -> Option<Self> {
        let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        let text = lines.join(&b", "[..]);
        let fields = sfv::Parser::new(&text).parse::<sfv::Dictionary>().ok()?;
        if fields.is_empty() {
            return None;
        }
        let mut all = Self::default();
        for (name, value) in &fields {
            let sfv::ListEntry::Item(item) = value else { continue };
            let item = &item.bare_item;
            // A number in quotes is no number here (section 2.1).
            let is_list = matches!(name.as_str(), "no-cache" | "private");
            let argument = match (item.as_boolean(), item.as_integer(), item.as_string()) {
                (Some(true), ..) => Argument::None,
                (Some(false), ..) => continue,
                (_, Some(number), _) => Argument::Quoted(number.to_string().into_bytes()),
                (.., Some(text)) if is_list => Argument::Quoted(text.as_str().as_bytes().to_vec()),
                _ => Argument::Malformed,
            };
            all.take(&Directive { name: name.as_str().to_owned(), argument });
        }
        Some(all)
    }
}

impl Fields {
    fn add(&mut self, argument: &Argument<'_>) {
        let listed = match argument {
            Argument::None | Argument::Malformed => None,
            Argument::Token(text) => names(text),
            Argument::Quoted(text) => names(text),
        };
        match (&mut *self, listed) {
            (Self::All, _) | (_, None) => *self = Self::All,
            (Self::None, Some(names)) => *self = Self::These(names),
            (Self::These(all), Some(names)) => all.extend(names),
        }
    }

    /// Whether the whole response is meant.
    pub(super) fn all(&self) -> bool {
        *self == Self::All
    }

    /// Whether this field is meant by name.
    pub(super) fn names(&self, name: &HeaderName) -> bool {
        matches!(self, Self::These(names) if names.contains(name))
    }
}

impl Delta {
    fn add(&mut self, argument: &Argument<'_>) {
        let value = argument.seconds().map_or(Self::Malformed, Self::Is);
        *self = if *self == Self::Absent || *self == value { value } else { Self::Malformed };
    }

    /// The lifetime it grants: none if absent, zero if malformed.
    pub(super) fn granted(self) -> Option<Duration> {
        match self {
            Self::Absent => None,
            Self::Is(duration) => Some(duration),
            Self::Malformed => Some(Duration::ZERO),
        }
    }
}

impl Argument<'_> {
    fn seconds(&self) -> Option<Duration> {
        let digits = match self {
            Self::Token(text) => *text,
            Self::Quoted(text) => text,
            Self::None | Self::Malformed => return None,
        };
        seconds(digits)
    }
}

/// Non-negative whole seconds (RFC 9111, section 1.2.2).
pub(super) fn seconds(digits: &[u8]) -> Option<Duration> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value =
        digits.iter().fold(0_u64, |sum, digit| (sum * 10 + u64::from(digit - b'0')).min(LONGEST_SECONDS));
    Some(Duration::from_secs(value))
}

fn least(of: &mut Option<Duration>, and: Duration) {
    *of = Some(of.map_or(and, |of| of.min(and)));
}

/// The field names in an argument; none if there is anything else, which then
/// counts as "all".
fn names(list: &[u8]) -> Option<Vec<HeaderName>> {
    let names: Vec<HeaderName> = list
        .split(|&b| b == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty())
        .map(|name| HeaderName::from_bytes(name).ok())
        .collect::<Option<_>>()?;
    (!names.is_empty()).then_some(names)
}

fn parse(line: &HeaderValue) -> impl Iterator<Item = Directive<'_>> {
    split(line.as_bytes()).filter_map(directive)
}

/// The members of a list, commas within quoted strings left alone.
pub(super) fn split(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = line.iter().position(|&b| {
            match b {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b',' if !quoted => return true,
                _ => {}
            }
            false
        });
        rest = end.map(|end| &line[end + 1..]);
        Some(line[..end.unwrap_or(line.len())].trim_ascii())
    })
}

fn directive(member: &[u8]) -> Option<Directive<'_>> {
    let (name, argument) = match member.iter().position(|&b| b == b'=') {
        None => (member, Argument::None),
        Some(at) => {
            let (name, value) = (&member[..at], &member[at + 1..]);
            let blank = name.last().is_some_and(u8::is_ascii_whitespace)
                || value.first().is_some_and(u8::is_ascii_whitespace);
            (name.trim_ascii(), if blank { Argument::Malformed } else { argument(value) })
        }
    };
    let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty())?;
    Some(Directive { name: name.to_ascii_lowercase(), argument })
}

fn argument(value: &[u8]) -> Argument<'_> {
    let Some(inner) = value.strip_prefix(b"\"") else { return Argument::Token(value) };
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&b) = bytes.next() {
        match b {
            b'"' if bytes.as_slice().is_empty() => return Argument::Quoted(text),
            b'"' => return Argument::Malformed,
            b'\\' => text.extend(bytes.next()),
            b => text.push(b),
        }
    }
    Argument::Malformed
}

#[cfg(test)]
mod tests;
