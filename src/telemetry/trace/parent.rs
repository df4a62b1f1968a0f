//! W3C Trace Context's `traceparent`: in which trace a caller is, and whether it is recorded.

use std::fmt;

use http::HeaderMap;

/// Identifies a trace: 32 hex digits, never all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub(super) u128);

/// What a caller says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its trace.
    pub trace: TraceId,
    /// Its span in it.
    pub span: u64,
    /// Whether it is recorded there.
    pub is_sampled: bool,
}

impl TraceId {
    /// A new one.
    pub(super) fn random() -> Self {
        Self(rand::random::<u128>().max(1))
    }

    /// As in the protocol.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Parent {
    /// Of a request's headers; none if there is no `traceparent`, or not one that is well
    /// formed (section 3.2.2: then it is as if there were none).
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let first = headers.get("traceparent")?;
        if headers.get_all("traceparent").iter().nth(1).is_some() {
            return None;
        }
        let text = first.to_str().ok()?;
        let (known, rest) = text.split_at_checked(LENGTH)?;
        let mut fields = known.split('-');
        let version = hex(fields.next()?, 2)?;
        let (trace, span) = (hex(fields.next()?, 32)?, hex(fields.next()?, 16)?);
        let flags = hex(fields.next()?, 2)?;
        // A later version may say more behind a dash; 255 is none.
        let fits = match version {
            0 => rest.is_empty(),
            255 => false,
            _ => rest.is_empty() || rest.starts_with('-'),
        };
        let span = u64::try_from(span).ok().filter(|span| *span != 0)?;
        let parent = Self { trace: TraceId(trace), span, is_sampled: flags & 1 == 1 };
        (fits && fields.next().is_none() && trace != 0).then_some(parent)
    }
}

/// `00-<32>-<16>-<2>`.
const LENGTH: usize = 55;

fn hex(text: &str, length: usize) -> Option<u128> {
    let is_hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (text.len() == length && is_hex).then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const NAME: HeaderName = HeaderName::from_static("traceparent");

    #[test]
    fn only_well_formed_parents_count() {
        let of =
            |value: &str| Parent::of(&HeaderMap::from_iter([(NAME, HeaderValue::from_str(value).unwrap())]));
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parent = of(good).unwrap();
        assert_eq!(parent.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((parent.span, parent.is_sampled), (0x00f0_67aa_0ba9_02b7, true));
        assert!(!of(&good.replace("-01", "-02")).unwrap().is_sampled, "another bit");
        assert!(of(&(good.replacen("00-", "01-", 1) + "-more")).is_some());
        for bad in [
            "nonsense",
            &good.to_uppercase(),
            &good.replacen("00-", "ff-", 1),
            &(good.to_owned() + "-more"),
            &(good.to_owned() + "0"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-+1",
            "00-4bf92f3577b34da6a3ce929d0e0e473-000f067aa0ba902b7-01",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
        let mut twice = HeaderMap::new();
        for _ in 0..2 {
            twice.append(NAME, HeaderValue::from_static(good));
        }
        assert_eq!(Parent::of(&twice), None);
    }
}
