//! Values that must not be seen: vendor keys and what proves a consumer.
//!
//! A [`Secret`] prints `***`, cannot be displayed or serialized, and is zeroed
//! when dropped. The only way to read one is [`Secret::expose`], which is easy
//! to search for. A [`TokenHash`] is what weir stores of a consumer's token.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A text that never reaches a log, a metric, an error or a key of the cache.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes charge of `value`.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself, for the one place that sends or hashes it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether both are the same, in constant time.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// SHA-256 of a consumer token's bytes.
///
/// Tokens are high-entropy, so a fast hash is the right one: nobody can try
/// 2^256 of them, and every request pays for it.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token as presented.
    #[must_use]
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// From 64 hex digits of either case.
    #[must_use]
    pub fn from_hex(hex: &str) -> Option<Self> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// 64 lower-case hex digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        data_encoding::HEXLOWER.encode(&self.0)
    }

    /// The raw hash, for a table keyed by it. Looking a hash up tells an
    /// attacker nothing of use: to aim at a prefix they would have to invert SHA-256.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for TokenHash {
    /// In constant time: every word is looked at, and only what they come to is compared.
    fn eq(&self, other: &Self) -> bool {
        let words = self.0.as_chunks::<8>().0.iter().zip(other.0.as_chunks::<8>().0);
        let word = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
        words.fold(0, |differ, (a, b)| differ | (word(a) ^ word(b))).ct_eq(&0).into()
    }
}

impl Eq for TokenHash {}

impl fmt::Debug for TokenHash {
    /// Enough to tell two apart, too little to be of use elsewhere.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{:02x}{:02x}…", self.0[0], self.0[1])
    }
}

/// A consumer token that weir made: `weir_` and 58 characters of lower-case
/// base32 (RFC 4648, no padding) over 32 random bytes and their CRC-32 (4 bytes,
/// big endian), so that a scanner can tell a token from a text that looks like one.
///
/// weir itself takes any string as a token; form and checksum are for scanners.
pub struct Token(Secret);

const TOKEN_PREFIX: &str = "weir_";
const RANDOM_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;

impl Token {
    /// A new one of 256 random bits.
    ///
    /// # Errors
    /// If the operating system has no randomness to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = Zeroizing::new([0; RANDOM_BYTES + CHECKSUM_BYTES]);
        let (random, checksum) = bytes.split_at_mut(RANDOM_BYTES);
        getrandom::fill(random)?;
        checksum.copy_from_slice(&crc32fast::hash(random).to_be_bytes());
        let mut text = String::with_capacity(TOKEN_PREFIX.len() + 58);
        text.push_str(TOKEN_PREFIX);
        base32().encode_append(&*bytes, &mut text);
        Ok(Self(Secret::new(text)))
    }

    /// The token itself, to be shown once and stored nowhere.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// What config stores of it.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.0.expose().as_bytes())
    }

    /// Whether `text` has the form and the checksum of a token made here.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        let bytes = text.strip_prefix(TOKEN_PREFIX).and_then(|rest| base32().decode(rest.as_bytes()).ok());
        let bytes = Zeroizing::new(bytes.unwrap_or_default());
        match bytes.split_at_checked(RANDOM_BYTES) {
            Some((random, checksum)) => checksum == crc32fast::hash(random).to_be_bytes(),
            None => false,
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Lower-case base32: no capitals, so that a token survives whatever folds case.
fn base32() -> data_encoding::Encoding {
    let mut spec = data_encoding::Specification::new();
    spec.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    spec.encoding().expect("32 distinct ASCII symbols are an encoding")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_random_recognisable_and_unseen() {
        let (one, other) = (Token::generate().unwrap(), Token::generate().unwrap());
        assert_ne!(one.expose(), other.expose());
        assert_eq!(one.expose().len(), "weir_".len() + 58);
        assert!(one.expose()[5..].bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
        assert!(Token::is_one(one.expose()));
        assert_eq!(one.hash(), TokenHash::of(one.expose().as_bytes()));
        assert_eq!(format!("{one:?}"), "***");
    }

    #[test]
    fn one_wrong_character_is_found_by_the_checksum() {
        let token = Token::generate().unwrap();
        for at in 5..token.expose().len() {
            let mut broken = token.expose().as_bytes().to_vec();
            broken[at] = if broken[at] == b'a' { b'q' } else { b'a' };
            assert!(!Token::is_one(std::str::from_utf8(&broken).unwrap()), "{at}");
        }
        for not_one in ["", "weir_", "weir_abc", &token.expose()[5..], &token.expose()[..60]] {
            assert!(!Token::is_one(not_one), "{not_one}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        assert_eq!(format!("{:?}", Secret::new("k-123".into())), "***");
    }

    #[test]
    fn hashes_round_trip_through_hex() {
        let hash = TokenHash::of(b"abc");
        assert_eq!(hash.to_hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(TokenHash::from_hex(&hash.to_hex().to_uppercase()), Some(hash));
        assert_eq!(TokenHash::from_hex("abcd"), None);
    }
}
