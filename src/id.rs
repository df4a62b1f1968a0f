//! Names of configured things, and the id of one exchange.
//!
//! A name that exists is well-formed: `[a-z0-9_-]{1,40}`. Cloning one copies a
//! pointer, so that log lines and metric labels cost no allocation.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a name may look like, in words for error messages.
pub const NAME_RULE: &str = "1 to 40 characters of a-z, 0-9, '_' and '-'";

/// The text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name is {NAME_RULE}")]
pub struct BadName;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadName;
            fn from_str(text: &str) -> Result<Self, BadName> {
                if is_name(text) { Ok(Self(text.into())) } else { Err(BadName) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }
    )*};
}

names! {
    /// Names a vendor's API reached with one account.
    UpstreamName;
    /// Names a group of consumers under one upstream.
    DivisionName;
    /// Names one internal caller.
    ConsumerName;
    /// Names a limit of an upstream (`minute`, `day`).
    LimitName;
    /// Names a vendor key: a label, never its value.
    KeyName;
}

fn is_name(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

/// Identifies one exchange in logs and in `X-Request-Id`: 32 hex digits, the
/// first half random per process, the second a counter.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(u64, u64);

/// Hands out request ids.
#[derive(Debug)]
pub struct RequestIds {
    process: u64,
    next: AtomicU64,
}

impl RequestIds {
    /// Ids that start with the random `process`.
    #[must_use]
    pub fn new(process: u64) -> Self {
        Self { process, next: AtomicU64::new(1) }
    }

    /// The next id; never the same twice in one process.
    #[must_use]
    pub fn next(&self) -> RequestId {
        RequestId(self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl RequestId {
    /// The 32 hex digits.
    #[must_use]
    pub fn to_hex(self) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let bytes = (u128::from(self.0) << 64 | u128::from(self.1)).to_be_bytes();
        let mut hex = [0; 32];
        for (pair, byte) in hex.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
            *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
        hex
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_hex()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_well_formed_or_do_not_exist() {
        assert_eq!("web-1_x".parse::<DivisionName>().unwrap().as_str(), "web-1_x");
        for bad in ["", "Web", "a b", "ä", &"x".repeat(41)] {
            assert_eq!(bad.parse::<DivisionName>(), Err(BadName), "{bad:?}");
        }
    }
}
