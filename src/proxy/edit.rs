//! A body on its way from the vendor to callers and cache: gzip undone if weir
//! asked for it, the dialect's edits made as it streams, and at the end what it was.

use std::io::Write;

use bytes::{Bytes, BytesMut};
use flate2::write::MultiGzDecoder;
use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue};

use crate::dialect::{Editor, Edits, Observed};

/// Compressed bytes undone at a time, so that a bomb grows to 4 MiB at most (gzip
/// expands 1,032 times) before whoever reads is asked to wait.
const GUNZIP_BYTES: usize = 4 * 1024;

/// The vendor's gzip cannot be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Corrupt;

/// One body under way.
#[derive(Debug, Default)]
pub(super) struct Edit {
    gunzip: Option<MultiGzDecoder<Vec<u8>>>,
    editor: Option<Editor>,
}

impl Edit {
    /// What has to be done to a body with this head; the head is changed to fit.
    /// Only JSON is edited, in a coding that can be undone.
    pub(super) fn of(headers: &mut HeaderMap, edits: Option<Edits>) -> Self {
        let Some(edits) = edits.filter(|_| is_json(headers)) else { return Self::default() };
        let gunzip = match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            None => None,
            Some(coding) if coding.eq_ignore_ascii_case(b"identity") => None,
            Some(coding) if coding.eq_ignore_ascii_case(b"gzip") => Some(MultiGzDecoder::new(Vec::new())),
            Some(_) => return Self::default(),
        };
        headers.remove(CONTENT_ENCODING);
        headers.remove(CONTENT_LENGTH);
        // Other bytes than the vendor's: a range of it, or a strong validator, would lie.
        headers.remove(ACCEPT_RANGES);
        if let Some(weak) = headers.get(ETAG).and_then(weakened) {
            headers.insert(ETAG, weak);
        }
        Self { gunzip, editor: Some(Editor::new(edits)) }
    }

    /// Whether the body goes on as it came.
    pub(super) fn is_none(&self) -> bool {
        self.editor.is_none()
    }

    /// Cuts a chunk so that each part stays small when it is undone.
    pub(super) fn parts(&self, mut chunk: Bytes) -> impl Iterator<Item = Bytes> + use<> {
        let most = if self.gunzip.is_some() { GUNZIP_BYTES } else { usize::MAX };
        std::iter::from_fn(move || {
            let next = chunk.len().min(most);
            (next > 0).then(|| chunk.split_to(next))
        })
    }

    /// The next part of the body; what may go on of it.
    pub(super) fn push(&mut self, part: Bytes) -> Result<Bytes, Corrupt> {
        let Some(editor) = &mut self.editor else { return Ok(part) };
        let mut out = BytesMut::with_capacity(part.len());
        match &mut self.gunzip {
            None => editor.push(&part, &mut out),
            Some(gunzip) => {
                gunzip.write_all(&part).and_then(|()| gunzip.flush()).map_err(|_| Corrupt)?;
                editor.push(&std::mem::take(gunzip.get_mut()), &mut out);
            }
        }
        Ok(out.freeze())
    }

    /// The end of the body: what was held back, and what it turned out to be.
    pub(super) fn finish(self) -> Result<(Bytes, Option<Observed>), Corrupt> {
        let Some(mut editor) = self.editor else { return Ok((Bytes::new(), None)) };
        let mut out = BytesMut::new();
        if let Some(gunzip) = self.gunzip {
            editor.push(&gunzip.finish().map_err(|_| Corrupt)?, &mut out);
        }
        let observed = editor.finish(&mut out);
        Ok((out.freeze(), Some(observed)))
    }
}

/// `application/json`, `text/json`, `…+json`, and `text/plain`, in which Catchpoint
/// answers JSON to those who ask for it. What is no JSON passes the editor unchanged.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(essence.as_str(), "application/json" | "text/json" | "text/plain") || essence.ends_with("+json")
}

/// The weak form of a strong validator (RFC 9110, section 8.8.1).
fn weakened(etag: &HeaderValue) -> Option<HeaderValue> {
    let bytes = etag.as_bytes();
    if bytes.starts_with(b"W/") {
        return None;
    }
    HeaderValue::from_bytes(&[b"W/", bytes].concat()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(n, v)| (http::HeaderName::from_static(n), HeaderValue::from_static(v)))
            .collect()
    }

    fn run(mut edit: Edit, body: &[u8], cut: usize) -> Result<(Vec<u8>, Option<Observed>), Corrupt> {
        let mut out = Vec::new();
        for chunk in body.chunks(cut) {
            for part in edit.parts(Bytes::copy_from_slice(chunk)) {
                out.extend_from_slice(&edit.push(part)?);
            }
        }
        let (rest, observed) = edit.finish()?;
        out.extend_from_slice(&rest);
        Ok((out, observed))
    }

    fn leave_out() -> Option<Edits> {
        Some(Edits { leave_out: Some("usageLimits"), links: None })
    }

    #[test]
    fn gzip_is_undone_and_edited() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(br#"{"data":[1],"usageLimits":{"a":1},"completed":true}"#).unwrap();
        let body = gzip.finish().unwrap();
        for cut in [1, 7, 1_000] {
            let mut head = headers(&[
                ("content-type", "application/json; charset=utf-8"),
                ("content-encoding", "gzip"),
                ("content-length", "60"),
                ("etag", "\"a\""),
            ]);
            let edit = Edit::of(&mut head, leave_out());
            let (out, observed) = run(edit, &body, cut).unwrap();
            assert_eq!(out, br#"{"data":[1],"completed":true}"#);
            assert_eq!(observed.unwrap().completed, Some(true));
            assert_eq!(
                head,
                headers(&[("content-type", "application/json; charset=utf-8"), ("etag", "W/\"a\"")])
            );
        }
        let mut head = headers(&[("content-type", "application/json"), ("content-encoding", "gzip")]);
        let edit = Edit::of(&mut head, leave_out());
        assert_eq!(run(edit, &body[..body.len() - 9], 5), Err(Corrupt));
    }

    #[test]
    fn other_bodies_pass_as_they_came() {
        for fields in
            [[("content-type", "image/png"), ("x", "y")], [("content-type", "text/json"), ("content-encoding", "br")]]
        {
            let mut head = headers(&fields);
            let edit = Edit::of(&mut head, leave_out());
            assert!(edit.is_none());
            assert_eq!(run(edit, b"\x89PNG", 2).unwrap().0, b"\x89PNG");
            assert_eq!(head, headers(&fields));
        }
    }
}
