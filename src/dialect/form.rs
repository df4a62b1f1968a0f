//! `application/x-www-form-urlencoded` bodies, read and edited.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

/// All but the unreserved characters (RFC 3986, section 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Names and values, decoded, in order.
pub(super) fn pairs(form: &[u8]) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    pieces(form).map(|piece| {
        let (name, value) = split(piece);
        (decode(name), decode(value))
    })
}

/// The value of the only pair of this name; none if there are several.
pub(super) fn only<'a>(form: &'a [u8], name: &str) -> Option<Cow<'a, str>> {
    let mut values = pairs(form).filter(|(is, _)| is == name).map(|(_, value)| value);
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// The same without the pairs of this name.
pub(super) fn without(form: &[u8], name: &str) -> Vec<u8> {
    let kept: Vec<&[u8]> = pieces(form).filter(|piece| decode(split(piece).0) != name).collect();
    kept.join(&b'&')
}

/// Appends a pair to what may be a form that has begun.
pub(super) fn push(form: &mut Vec<u8>, name: &str, value: &str) {
    if !form.is_empty() {
        form.push(b'&');
    }
    escape(name, form);
    form.push(b'=');
    escape(value, form);
}

fn escape(text: &str, to: &mut Vec<u8>) {
    for part in utf8_percent_encode(text, ESCAPED) {
        to.extend_from_slice(part.as_bytes());
    }
}

fn pieces(form: &[u8]) -> impl Iterator<Item = &[u8]> {
    form.split(|b| *b == b'&').filter(|piece| !piece.is_empty())
}

fn split(piece: &[u8]) -> (&[u8], &[u8]) {
    match piece.iter().position(|b| *b == b'=') {
        Some(at) => (&piece[..at], &piece[at + 1..]),
        None => (piece, b""),
    }
}

fn decode(text: &[u8]) -> Cow<'_, str> {
    if !text.contains(&b'+') {
        return percent_decode(text).decode_utf8_lossy();
    }
    let blanks: Vec<u8> = text.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    Cow::Owned(percent_decode(&blanks).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_and_edited() {
        let form = b"a=1+2&token=x%2By%3D&&b&c=%C3%A9";
        let read: Vec<_> = pairs(form).map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(read, [pair("a", "1 2"), pair("token", "x+y="), pair("b", ""), pair("c", "é")]);
        assert_eq!(only(form, "token").as_deref(), Some("x+y="));
        assert_eq!(only(b"t=1&t=2", "t"), None);
        let mut edited = without(form, "token");
        assert_eq!(edited, b"a=1+2&b&c=%C3%A9");
        push(&mut edited, "to ken", "k+/=");
        assert_eq!(edited, b"a=1+2&b&c=%C3%A9&to%20ken=k%2B%2F%3D");
        assert_eq!(without(b"t%6Fken=1", "token"), b"");
    }
}
