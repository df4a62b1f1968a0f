//! The canonical spelling of a query, and how to look into one.

use std::borrow::Cow;

use super::{BadTarget, Piece, is_unreserved, push_escape, stands_in_segment};

/// Sorted by name, in canonical spelling; none if nothing is left.
pub(super) fn canonical(raw: &str) -> Result<Option<String>, BadTarget> {
    if raw.is_empty() {
        return Ok(None);
    }
    if is_plainly_canonical(raw) {
        return Ok(Some(raw.to_owned()));
    }
    let mut written: Vec<String> = pieces(raw).map(respell).collect::<Result<_, _>>()?;
    written.sort_by_cached_key(|piece| sort_key(piece));
    Ok((!written.is_empty()).then(|| written.join("&")))
}

/// Whether a query has neither escapes nor a `+`, no empty parameter, and its names
/// in order: nothing is left to do then.
fn is_plainly_canonical(raw: &str) -> bool {
    let is_plain = |b: &u8| stands_in_query(*b) && *b != b'+';
    let mut last = "";
    raw.as_bytes().iter().all(is_plain)
        && raw.split('&').all(|piece| {
            let name = name(piece);
            let fits = !piece.is_empty() && last <= name;
            last = name;
            fits
        })
}

/// The parameters of a query, each as `name`, `name=` or `name=value`; none is empty.
pub(super) fn pieces(query: &str) -> impl Iterator<Item = &str> {
    query.split('&').filter(|piece| !piece.is_empty())
}

/// The name of a parameter as it is spelt.
pub(super) fn name(piece: &str) -> &str {
    piece.split_once('=').map_or(piece, |(name, _)| name)
}

/// Undoes the escapes. Broken UTF-8 becomes U+FFFD, so this is for comparing with
/// what we know, never for sending.
pub(super) fn decode(text: &str) -> Cow<'_, str> {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy()
}

/// Appends `text` with everything escaped that is not unreserved.
pub(super) fn escape(text: &str, to: &mut String) {
    for byte in text.bytes() {
        if is_unreserved(byte) { to.push(char::from(byte)) } else { push_escape(byte, to) }
    }
}

fn respell(raw: &str) -> Result<String, BadTarget> {
    let mut written = String::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((piece, after)) = Piece::first(rest)? {
        rest = after;
        match piece {
            Piece::Raw(b) if b.is_ascii_control() => return Err(BadTarget::Control),
            Piece::Raw(b) if stands_in_query(b) => written.push(char::from(b)),
            Piece::Raw(b) if b.is_ascii_graphic() && b != b'#' => push_escape(b, &mut written),
            Piece::Raw(_) => return Err(BadTarget::Character),
            Piece::Escaped(b) if is_unreserved(b) || matches!(b, b':' | b',' | b'/' | b'@') => {
                written.push(char::from(b));
            }
            Piece::Escaped(b) => push_escape(b, &mut written),
        }
    }
    Ok(written)
}

/// Equal for all names that some server might take for the same one, so that
/// their order is kept: decoded, and with `+` and a blank alike.
fn sort_key(piece: &str) -> Vec<u8> {
    let decoded = percent_encoding::percent_decode_str(name(piece));
    decoded.map(|b| if b == b'+' { b' ' } else { b }).collect()
}

/// RFC 3986, section 3.4.
fn stands_in_query(byte: u8) -> bool {
    stands_in_segment(byte) || matches!(byte, b'/' | b'?')
}
