//! Which content coding a caller likes best, and bodies in it (RFC 9110, sections
//! 8.4 and 12.5.3).
//!
//! Only stored bodies are coded, once for all who take the coding. An answer on its way
//! in has the identity, whoever listens: its callers may want several codings at once,
//! and each would cost a coder per stream, before anybody knows that it is asked for
//! again. `identity;q=0` does not change that: section 12.5.3 asks for no refusal, and
//! section 12.1 lets a server disregard preferences (a 406 would cost the caller an
//! answer that has been paid for).

use std::io::Write;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::directives::split;
use super::entry::Body;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// None.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

/// Those that are made, the best liked first where a caller likes them alike: the
/// smallest, then the cheapest to undo.
const MADE: [Coding; 3] = [Coding::Brotli, Coding::Gzip, Coding::Zstd];

/// Brotli's 0 to 11: 5 is about as fast as gzip and a tenth smaller.
const BROTLI_QUALITY: u32 = 5;
/// Brotli's window, 4 MiB.
const BROTLI_WINDOW_BITS: u32 = 22;

impl Coding {
    /// What suits this caller best. Without `Accept-Encoding`, or if it names nothing
    /// that weir can make, the identity.
    #[must_use]
    pub fn preferred(caller: &HeaderMap) -> Self {
        let mut weights = Weights::default();
        for member in caller.get_all(ACCEPT_ENCODING).iter().flat_map(|line| split(line.as_bytes())) {
            weights.add(member);
        }
        let best = MADE.iter().copied().rev().max_by_key(|coding| weights.of(*coding));
        best.filter(|best| weights.of(*best) > weights.identity.unwrap_or(0)).unwrap_or(Self::Identity)
    }

    /// Its name in `Content-Encoding`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// `body` in this coding; none if it would not get smaller.
    pub(super) fn encode(self, body: &Body) -> Option<Body> {
        let plain = body.blocks();
        let coded = match self {
            Self::Identity => return None,
            Self::Gzip => {
                let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                plain.iter().try_for_each(|block| coder.write_all(block)).ok()?;
                coder.finish().ok()?
            }
            Self::Brotli => {
                let mut coder =
                    brotli::CompressorWriter::new(Vec::new(), 64 * 1024, BROTLI_QUALITY, BROTLI_WINDOW_BITS);
                plain.iter().try_for_each(|block| coder.write_all(block)).ok()?;
                coder.into_inner()
            }
            Self::Zstd => {
                let level = ruzstd::encoding::CompressionLevel::Fastest;
                ruzstd::encoding::compress_to_vec(plain.concat().as_slice(), level)
            }
        };
        ((coded.len() as u64) < body.len()).then(|| Body::of(&[Bytes::from(coded.into_boxed_slice())]))
    }

    /// The validator of the form in this coding: another one than the identity's,
    /// since the bytes are others (RFC 9110, section 8.8.3.3).
    pub(super) fn tag(self, etag: &HeaderValue) -> HeaderValue {
        let inner = etag.as_bytes().strip_suffix(b"\"").filter(|_| self != Self::Identity);
        let tag = inner.map(|inner| [inner, b"--", self.as_str().as_bytes(), b"\""].concat());
        tag.and_then(|tag| HeaderValue::from_bytes(&tag).ok()).unwrap_or_else(|| etag.clone())
    }
}

/// Whether an answer with this head may be given in other codings: text of some
/// sort, not coded yet, and `no-transform` (RFC 9111, section 5.2.2.6) is not said.
#[must_use]
pub fn is_codable<'a>(
    status: StatusCode,
    fields: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>,
) -> bool {
    if status != StatusCode::OK {
        return false;
    }
    let mut is_typed = false;
    for (name, value) in fields {
        if *name == CONTENT_ENCODING || (*name == CACHE_CONTROL && forbids_transforming(value)) {
            return false;
        }
        is_typed |= *name == CONTENT_TYPE && is_text(value);
    }
    is_typed
}

fn forbids_transforming(cache_control: &HeaderValue) -> bool {
    split(cache_control.as_bytes()).any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
}

fn is_text(content_type: &HeaderValue) -> bool {
    let typed = content_type.to_str().unwrap_or_default();
    let essence = typed.split(';').next().unwrap_or_default().trim().as_bytes();
    let kinds = ["json", "xml", "javascript", "yaml"];
    let begins =
        |with: &str| essence.get(..with.len()).is_some_and(|s| s.eq_ignore_ascii_case(with.as_bytes()));
    let ends = |with: &str| {
        let from = essence.len().checked_sub(with.len());
        from.is_some_and(|from| essence[from..].eq_ignore_ascii_case(with.as_bytes()))
    };
    begins("text/") || kinds.into_iter().any(ends)
}

/// Weights in thousandths.
#[derive(Default)]
struct Weights {
    named: Vec<(Coding, u16)>,
    identity: Option<u16>,
    others: u16,
}

impl Weights {
    fn add(&mut self, member: &[u8]) {
        let mut parts = member.split(|&b| b == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q=")));
        // What is no weight is no wish.
        let weight = weight.map_or(1_000, |weight| thousandths(weight).unwrap_or(0));
        match name.as_slice() {
            b"gzip" | b"x-gzip" => self.named.push((Coding::Gzip, weight)),
            b"br" => self.named.push((Coding::Brotli, weight)),
            b"zstd" => self.named.push((Coding::Zstd, weight)),
            b"identity" => self.identity = Some(weight),
            b"*" => self.others = weight,
            _ => {}
        }
    }

    fn of(&self, coding: Coding) -> u16 {
        self.named.iter().find(|(is, _)| *is == coding).map_or(self.others, |(_, weight)| *weight)
    }
}

/// RFC 9110, section 12.4.2: at most three digits after the point.
fn thousandths(weight: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(weight).ok()?;
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_fine = matches!(whole, "0" | "1") && part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
    let value: u16 = is_fine.then(|| format!("{whole}{part:0<3}").parse().ok())??;
    (value <= 1_000).then_some(value)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn preferred(lines: &[&str]) -> &'static str {
        let mut caller = HeaderMap::new();
        for line in lines {
            caller.append(ACCEPT_ENCODING, line.parse().unwrap());
        }
        Coding::preferred(&caller).as_str()
    }

    #[test]
    fn the_callers_weights_decide() {
        for (line, coding) in [
            ("gzip", "gzip"),
            ("X-GZip", "gzip"),
            ("gzip, deflate, br, zstd", "br"),
            ("gzip;q=1.0, br;q=0.9", "gzip"),
            ("zstd;q=0.5, br;q=0", "zstd"),
            ("*", "br"),
            ("*;q=0.3, br;q=0", "gzip"),
            ("*;q=0", "identity"),
            ("identity;q=0, gzip", "gzip"),
            ("identity, gzip;q=0.5", "identity"),
            ("gzip;q=0", "identity"),
            ("gzip;q=much", "identity"),
            ("deflate", "identity"),
            ("", "identity"),
        ] {
            assert_eq!(preferred(&[line]), coding, "{line}");
        }
        assert_eq!(preferred(&[]), "identity");
        assert_eq!(preferred(&["deflate", "zstd"]), "zstd");
    }

    #[test]
    fn every_form_says_the_same() {
        let plain: Vec<u8> = (0..5_000_u32).flat_map(|n| format!("{{\"id\":{n}}},").into_bytes()).collect();
        let body = Body::of(plain.chunks(1_000).map(Bytes::copy_from_slice).collect::<Vec<_>>());
        for coding in MADE {
            let coded = coding.encode(&body).unwrap().blocks().concat();
            assert!(coded.len() * 2 < plain.len(), "{coding:?}: {}", coded.len());
            let mut back = Vec::new();
            let read = match coding {
                Coding::Identity => Ok(0),
                Coding::Gzip => flate2::read::GzDecoder::new(&coded[..]).read_to_end(&mut back),
                Coding::Brotli => brotli::Decompressor::new(&coded[..], 4_096).read_to_end(&mut back),
                Coding::Zstd => {
                    ruzstd::decoding::StreamingDecoder::new(&coded[..]).unwrap().read_to_end(&mut back)
                }
            };
            assert_eq!(read.unwrap(), plain.len());
            assert_eq!(back, plain, "{coding:?}");
        }
        assert!(Coding::Gzip.encode(&Body::of(&[Bytes::from_static(b"short")])).is_none());
    }

    #[test]
    fn tags_differ_by_coding() {
        let tag = |coding: Coding, etag: &'static str| coding.tag(&HeaderValue::from_static(etag));
        assert_eq!(tag(Coding::Gzip, "\"a\""), "\"a--gzip\"");
        assert_eq!(tag(Coding::Brotli, "W/\"a\""), "W/\"a--br\"");
        assert_eq!(tag(Coding::Identity, "\"a\""), "\"a\"");
    }

    #[test]
    fn only_text_that_may_be_transformed_is_coded() {
        let head = |fields: &[(&'static str, &'static str)]| {
            let fields =
                fields.iter().map(|(n, v)| (http::HeaderName::from_static(n), HeaderValue::from_static(v)));
            is_codable(StatusCode::OK, &fields.collect::<HeaderMap>())
        };
        assert!(head(&[("content-type", "application/problem+json; charset=utf-8")]));
        assert!(!head(&[("content-type", "image/png")]));
        assert!(!head(&[("content-type", "text/plain"), ("content-encoding", "gzip")]));
        assert!(!head(&[("content-type", "text/plain"), ("cache-control", "max-age=1, No-Transform")]));
        assert!(!head(&[]));
    }
}
