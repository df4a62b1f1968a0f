//! A body on its way from the vendor to callers and cache: gzip undone if weir
//! asked for it, the dialect's edits made as it streams, and at the end what it was.

use std::io::Write;

use bytes::{Bytes, BytesMut};
use flate2::write::MultiGzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, ETAG};
use http::{HeaderMap, HeaderValue};

use crate::cache::answer;
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
    begun: bool,
}

impl Edit {
    /// What has to be done to a body with this head; the head is changed to fit.
    /// `asked_gzip`: the coding is weir's wish, so weir undoes it for all callers, as any
    /// user agent does; also where `no-transform` is said, which forbids to code it anew.
    pub(super) fn of(headers: &mut HeaderMap, asked_gzip: bool, edits: Option<Edits>) -> Self {
        let coding = headers.get(CONTENT_ENCODING).map(|coding| coding.as_bytes().to_ascii_lowercase());
        let gunzip = match coding.as_deref() {
            None | Some(b"identity") => None,
            Some(b"gzip" | b"x-gzip") if asked_gzip => Some(MultiGzDecoder::new(Vec::new())),
            // Nothing that weir can read: it goes on as it came, and is not judged.
            Some(_) => return Self::default(),
        };
        let editor = edits.map(Editor::new);
        if gunzip.is_some() || editor.is_some() {
            headers.remove(CONTENT_ENCODING);
            headers.remove(CONTENT_LENGTH);
            // Other bytes than the vendor's: a range of it, a digest, or a strong validator
            // would lie.
            answer::forget_bytes(headers);
            if let Some(weak) = headers.get(ETAG).and_then(weakened) {
                headers.insert(ETAG, weak);
            }
        }
        Self { gunzip, editor, begun: false }
    }

    /// Whether the body will be judged at its end.
    pub(super) fn is_judged(&self) -> bool {
        self.editor.is_some()
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
        self.begun = true;
        let plain = match &mut self.gunzip {
            None => part,
            Some(gunzip) => {
                gunzip.write_all(&part).and_then(|()| gunzip.flush()).map_err(|_| Corrupt)?;
                std::mem::take(gunzip.get_mut()).into()
            }
        };
        let Some(editor) = &mut self.editor else { return Ok(plain) };
        let mut out = BytesMut::with_capacity(plain.len());
        editor.push(&plain, &mut out);
        Ok(out.freeze())
    }

    /// The end of the body: what was held back, and what it turned out to be.
    pub(super) fn finish(self) -> Result<(Bytes, Option<Observed>), Corrupt> {
        let mut rest = match self.gunzip {
            // The answer to a HEAD has a coding and no bytes.
            Some(gunzip) if self.begun => gunzip.finish().map_err(|_| Corrupt)?.into(),
            _ => Bytes::new(),
        };
        let Some(mut editor) = self.editor else { return Ok((rest, None)) };
        let mut out = BytesMut::new();
        editor.push(&std::mem::take(&mut rest), &mut out);
        let observed = editor.finish(&mut out);
        Ok((out.freeze(), Some(observed)))
    }
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
        fields.iter().map(|(n, v)| (http::HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
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
            let edit = Edit::of(&mut head, true, leave_out());
            let (out, observed) = run(edit, &body, cut).unwrap();
            assert_eq!(out, br#"{"data":[1],"completed":true}"#);
            assert_eq!(observed.unwrap().completed, Some(true));
            assert_eq!(
                head,
                headers(&[("content-type", "application/json; charset=utf-8"), ("etag", "W/\"a\"")])
            );
        }
        let mut head = headers(&[("content-type", "application/json"), ("content-encoding", "gzip")]);
        let edit = Edit::of(&mut head, true, leave_out());
        assert_eq!(run(edit, &body[..body.len() - 9], 5), Err(Corrupt));
    }

    #[test]
    fn other_codings_pass_as_they_came() {
        let fields = [("content-type", "text/json"), ("content-encoding", "br"), ("content-length", "4")];
        let mut head = headers(&fields);
        let edit = Edit::of(&mut head, true, leave_out());
        assert_eq!(run(edit, b"\x89PNG", 2).unwrap(), (b"\x89PNG".to_vec(), None));
        assert_eq!(head, headers(&fields));
        let mut head = headers(&[("content-encoding", "gzip")]);
        assert_eq!(run(Edit::of(&mut head, true, None), b"", 1), Ok((Vec::new(), None)), "a HEAD's answer");
    }
}
