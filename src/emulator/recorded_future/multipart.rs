//! Just enough of `multipart/form-data` (RFC 7578) to take an upload apart.

use bytes::Bytes;
use http::{HeaderMap, header};

/// One part, its content as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) filename: Option<String>,
    pub(super) content: Bytes,
}

/// The parts of `body`; none if it is not what its head says.
pub(super) fn parts(headers: &HeaderMap, body: &Bytes) -> Option<Vec<Part>> {
    let typed = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let (essence, parameters) = typed.split_once(';')?;
    if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let delimiter = format!("--{}", parameter(parameters, "boundary")?);
    let find = |from: usize, what: &[u8]| memchr::memmem::find(&body[from..], what).map(|at| from + at);
    let mut parts = Vec::new();
    let mut at = find(0, delimiter.as_bytes())? + delimiter.len();
    let closing = format!("\r\n{delimiter}");
    while !body[at..].starts_with(b"--") {
        at = body[at..].starts_with(b"\r\n").then_some(at + 2)?;
        let head_end = find(at, b"\r\n\r\n")?;
        let end = find(head_end + 2, closing.as_bytes())?;
        let head = std::str::from_utf8(&body[at..head_end]).ok()?;
        let disposition = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"));
        let (_, parameters) = disposition?.1.split_once(';')?;
        parts.push(Part {
            name: parameter(parameters, "name")?,
            filename: parameter(parameters, "filename"),
            content: body.slice((head_end + 4).min(end)..end),
        });
        at = end + closing.len();
    }
    Some(parts)
}

fn parameter(parameters: &str, name: &str) -> Option<String> {
    let found = parameters.split(';').filter_map(|one| one.split_once('='));
    let (_, value) = found.into_iter().find(|(known, _)| known.trim().eq_ignore_ascii_case(name))?;
    Some(value.trim().trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, http::HeaderValue::from_static(value))])
    }

    #[test]
    fn every_byte_of_a_part_is_its_own() {
        let mut body =
            b"preamble\r\n--x y\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\
                         Content-Type: application/octet-stream\r\n\r\n"
                .to_vec();
        let content = b"\r\n--x\r\n\0\xff--x y\n\r\n";
        body.extend_from_slice(content);
        body.extend_from_slice(
            b"\r\n--x y\r\nContent-Disposition: form-data; name=_json\r\n\r\n{}\r\n--x y--\r\n",
        );
        let parts = parts(&typed("multipart/form-data; boundary=\"x y\""), &body.into()).unwrap();
        assert_eq!(parts.len(), 2);
        assert_eq!((parts[0].name.as_str(), parts[0].filename.as_deref()), ("file", Some("a.bin")));
        assert_eq!(parts[0].content[..], content[..]);
        assert_eq!((parts[1].name.as_str(), &parts[1].content[..]), ("_json", &b"{}"[..]));
    }

    #[test]
    fn what_is_cut_short_is_nothing() {
        let whole = "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b--";
        for end in 0..whole.len() - 2 {
            let body = Bytes::copy_from_slice(&whole.as_bytes()[..end]);
            assert_eq!(parts(&typed("multipart/form-data; boundary=b"), &body), None, "{end}");
        }
        assert!(
            parts(&typed("multipart/form-data; boundary=b"), &Bytes::from_static(whole.as_bytes())).is_some()
        );
        assert_eq!(parts(&typed("text/plain; boundary=b"), &Bytes::from_static(whole.as_bytes())), None);
    }
}
