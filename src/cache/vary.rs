//! Which of several answers under one key a request selects (RFC 9111, section
//! 4.1).
//!
//! The selecting values are kept as a hash: `Vary: Authorization` must not put a
//! credential into the cache (law 12).

use std::borrow::Cow;
use std::sync::LazyLock;

use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use super::fields::Seen;
use super::key::{self, Hash};

/// The fields an answer was selected by, and what they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vary(Option<Box<Selecting>>);

/// What only few answers have.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Selecting {
    /// Sorted, each once.
    names: Box<[HeaderName]>,
    values: Hash,
}

/// The hash of no values at all.
static OF_NOTHING: LazyLock<Hash> = LazyLock::new(|| values(&[], &HeaderMap::new()));

/// How answers that vary by nothing are named.
static NOTHING: LazyLock<u64> = LazyLock::new(|| digest(&[], &OF_NOTHING));

/// The answer depends on something that no request field tells (`Vary: *`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unmatchable;

impl Vary {
    /// What an answer with these fields to a request that sent `sent` varies by. A
    /// name that is none cannot be matched either.
    pub(super) fn of(head: Seen<'_>, sent: &HeaderMap) -> Result<Self, Unmatchable> {
        let mut names = Vec::new();
        for line in head.lines(&VARY) {
            for name in line.as_bytes().split(|&b| b == b',').map(<[u8]>::trim_ascii) {
                match name {
                    b"" => {}
                    b"*" => return Err(Unmatchable),
                    name => names.push(HeaderName::from_bytes(name).map_err(|_| Unmatchable)?),
                }
            }
        }
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        Ok(Self::restored(values(&names, sent), names))
    }

    /// Whether every request selects this answer.
    pub(super) fn is_nothing(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a request that would send `sent` selects this answer.
    pub(super) fn matches(&self, sent: &HeaderMap) -> bool {
        self.0.as_ref().is_none_or(|by| by.values == values(&by.names, sent))
    }

    /// The names, sorted, and the hash of their values.
    pub(super) fn parts(&self) -> (&[HeaderName], Hash) {
        self.0.as_ref().map_or((&[], *OF_NOTHING), |by| (&by.names, by.values))
    }

    /// From its [parts](Self::parts).
    pub(super) fn restored(values: Hash, names: Vec<HeaderName>) -> Self {
        Self((!names.is_empty()).then(|| Box::new(Selecting { names: names.into(), values })))
    }

    /// Names it among the variants under one key.
    pub(super) fn digest(&self) -> u64 {
        self.0.as_ref().map_or(*NOTHING, |by| digest(&by.names, &by.values))
    }

    /// Bytes on the heap.
    pub(super) fn weight(&self) -> usize {
        let name = |name: &HeaderName| size_of::<HeaderName>() + name.as_str().len();
        self.0.as_ref().map_or(0, |by| size_of::<Selecting>() + by.names.iter().map(name).sum::<usize>())
    }
}

fn digest(names: &[HeaderName], values: &Hash) -> u64 {
    let mut text = Vec::new();
    names.iter().for_each(|name| key::field(&mut text, name.as_str().as_bytes()));
    text.extend_from_slice(values);
    key::beginning(&Sha256::digest(&text).into())
}

fn values(names: &[HeaderName], sent: &HeaderMap) -> Hash {
    let mut text = Vec::new();
    for name in names {
        let lines: Vec<&HeaderValue> = sent.get_all(name).iter().collect();
        let value = (!lines.is_empty()).then(|| normal(name, &lines));
        key::optional(&mut text, value.as_deref());
    }
    Sha256::digest(&text).into()
}

/// Lines combined and blanks around commas dropped: all that section 4.1 allows
/// for a field whose syntax is not known. Languages and codings compare without
/// case, and their weights alone tell which is liked better, not their order (RFC
/// 9110, sections 12.5.3 and 12.5.4).
fn normal(name: &HeaderName, lines: &[&HeaderValue]) -> Vec<u8> {
    let members = lines.iter().flat_map(|line| line.as_bytes().split(|&b| b == b','));
    let mut members: Vec<_> = members.map(|member| Cow::Borrowed(member.trim_ascii())).collect();
    if *name == ACCEPT_LANGUAGE || *name == ACCEPT_ENCODING {
        members.iter_mut().for_each(|member| *member = member.to_ascii_lowercase().into());
        members.sort_unstable();
    }
    members.join(&b","[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn vary(lines: &[&str], sent: &HeaderMap) -> Result<Vary, Unmatchable> {
        let lines: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
        Vary::of(Seen { headers: &map(&lines), ignore: &[] }, sent)
    }

    #[test]
    fn selecting_fields_are_compared_normalised() {
        let sent = map(&[("accept", "a, b"), ("accept", "c")]);
        let by_accept = vary(&["Accept", "X-Other"], &sent).unwrap();
        assert!(by_accept.matches(&map(&[("accept", "a ,b,c")])));
        assert!(!by_accept.matches(&map(&[("accept", "a,b")])));
        assert!(!by_accept.matches(&map(&[("accept", "A,b,c")])));
        assert!(!by_accept.matches(&map(&[("accept", "a,b,c"), ("x-other", "")])));
        assert!(!by_accept.matches(&HeaderMap::new()));
        assert!(vary(&[], &sent).unwrap().matches(&HeaderMap::new()));
    }

    #[test]
    fn languages_compare_without_case_and_order() {
        let by_language = vary(&["Accept-Language"], &map(&[("accept-language", "en, de;q=0.5")])).unwrap();
        assert!(by_language.matches(&map(&[("accept-language", "DE;q=0.5"), ("accept-language", "en")])));
        assert!(!by_language.matches(&map(&[("accept-language", "en;q=0.5, de")])));
    }

    #[test]
    fn a_star_is_never_matched() {
        for star in ["*", "accept, *", "a b"] {
            assert_eq!(vary(&[star], &HeaderMap::new()), Err(Unmatchable), "{star}");
        }
        assert_eq!(vary(&["b", "a, B"], &HeaderMap::new()), vary(&["a,b"], &HeaderMap::new()));
    }
}
