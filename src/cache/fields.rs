//! Which header fields of a vendor's answer are kept, and how.

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};

use crate::dialect::Dialect;

/// The fields of an answer as a rule lets the cache see them.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) headers: &'a HeaderMap,
    /// Fields that a rule disregards.
    pub(super) ignore: &'a [HeaderName],
}

impl<'a> Seen<'a> {
    /// All lines of a field.
    pub(super) fn lines(self, name: &HeaderName) -> impl Iterator<Item = &'a HeaderValue> {
        let headers = if self.ignore.contains(name) { None } else { Some(self.headers) };
        headers.into_iter().flat_map({
            let name = name.clone();
            move |headers| headers.get_all(&name)
        })
    }

    /// The first line of a field.
    pub(super) fn first(self, name: &HeaderName) -> Option<&'a HeaderValue> {
        self.lines(name).next()
    }
}

/// Whether a field may be kept and replayed at all. RFC 9111, section 3.1: not
/// what is about one connection; beyond it not what is about the one who asked
/// (`Set-Cookie`, allowances), and not what is made anew for each answer (`Age`,
/// `Content-Length`).
pub(super) fn is_kept(name: &HeaderName, dialect: &Dialect) -> bool {
    !is_hop_by_hop(name)
        && !is_cookie(name)
        && *name != header::AGE
        && *name != header::CONTENT_LENGTH
        && !dialect.is_about_the_asker(name)
}

/// A number as a field's value: `HeaderValue::from` allocates twice.
pub(super) fn number(mut of: u64) -> HeaderValue {
    // From the last digit to the first.
    let (mut text, mut at) = ([0; 20], 20);
    loop {
        at -= 1;
        text[at] = b'0' + u8::try_from(of % 10).unwrap_or_default();
        of /= 10;
        if of == 0 {
            break;
        }
    }
    HeaderValue::from_bytes(&text[at..]).expect("digits are a field value")
}

/// `Set-Cookie` and its dead relative.
pub(super) fn is_cookie(name: &HeaderName) -> bool {
    *name == header::SET_COOKIE || name.as_str() == "set-cookie2"
}

/// The fields that `Connection` names (RFC 9110, section 7.6.1).
pub(super) fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(header::CONNECTION).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|&b| b == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect()
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    const OTHERS: &[&str] = &["keep-alive", "proxy-connection", "proxy-authentication-info"];
    matches!(
        *name,
        header::CONNECTION
            | header::PROXY_AUTHENTICATE
            | header::PROXY_AUTHORIZATION
            | header::TE
            | header::TRAILER
            | header::TRANSFER_ENCODING
            | header::UPGRADE
    ) || OTHERS.contains(&name.as_str())
}
