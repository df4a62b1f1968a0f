//! What others may keep but not read: sealed and named with keys derived from
//! `token_key`.
//!
//! Sealed text is 16 random bytes, 12 more, and ChaCha20-Poly1305 of the text. The first
//! are hashed with the derived key to the key of this one text, the second are its
//! nonce: so no number of texts makes two of them meet. Whoever opens it names what it
//! is bound to; under another name it does not open.
//!
//! A name is an HMAC-SHA-256: whoever sees it learns nothing of what it names.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Seals, opens and names for one purpose.
#[derive(Clone)]
pub struct Sealer {
    seals: Hmac<Sha256>,
    names: Hmac<Sha256>,
}

const SALT_BYTES: usize = 16;
/// What sealing adds.
const EXTRA_BYTES: usize = SALT_BYTES + NONCE_LEN + 16;

impl Sealer {
    /// With the key of the configuration, whatever text that is. `purpose` keeps keys
    /// for different purposes apart.
    #[must_use]
    pub fn new(key: &Secret, purpose: &str) -> Self {
        let derived = |what: &str| {
            let mut mac = keyed(key.expose().as_bytes());
            mac.update(b"weir seals, version 1\0");
            mac.update(what.as_bytes());
            mac.update(purpose.as_bytes());
            let derived = Zeroizing::new(<[u8; 32]>::from(mac.finalize().into_bytes()));
            keyed(&*derived)
        };
        Self { seals: derived("seal\0"), names: derived("name\0") }
    }

    /// What `of` is called where others can see it.
    #[must_use]
    pub fn name(&self, of: &[u8]) -> [u8; 32] {
        let mut mac = self.names.clone();
        mac.update(of);
        mac.finalize().into_bytes().into()
    }

    /// `text`, sealed and bound to `bond`.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn seal(&self, bond: &[u8], text: &[u8]) -> Result<Vec<u8>, getrandom::Error> {
        let mut sealed = Vec::with_capacity(text.len() + EXTRA_BYTES);
        sealed.resize(SALT_BYTES + NONCE_LEN, 0);
        getrandom::fill(&mut sealed)?;
        let (key, nonce) = self.key_of(&sealed).expect("a whole beginning was just made");
        let from = sealed.len();
        sealed.extend_from_slice(text);
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(bond), &mut sealed[from..])
            .expect("a text is far below 256 GiB");
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// The text; none if it was sealed with another key, for another bond, or changed.
    #[must_use]
    pub fn open(&self, bond: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (key, nonce) = self.key_of(sealed)?;
        let mut text = Zeroizing::new(sealed[SALT_BYTES + NONCE_LEN..].to_vec());
        let length = key.open_in_place(nonce, Aad::from(bond), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }

    fn key_of(&self, sealed: &[u8]) -> Option<(LessSafeKey, Nonce)> {
        let (salt, rest) = sealed.split_first_chunk::<SALT_BYTES>()?;
        let nonce = Nonce::assume_unique_for_key(*rest.first_chunk::<NONCE_LEN>()?);
        let mut mac = self.seals.clone();
        mac.update(salt);
        let key = Zeroizing::new(<[u8; 32]>::from(mac.finalize().into_bytes()));
        Some((LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &*key).ok()?), nonce))
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("an HMAC takes a key of any length")
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(***)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealer(key: &str, purpose: &str) -> Sealer {
        Sealer::new(&Secret::new(key.into()), purpose)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_opens_as_it_was_sealed_and_for_nothing_else(
            text in proptest::collection::vec(any::<u8>(), 0..300),
            (at, bit) in (0_usize..400, 0_u32..8),
        ) {
            let (ours, bond) = (sealer("k", "p"), b"bond".as_slice());
            let sealed = ours.seal(bond, &text).unwrap();
            prop_assert_eq!(sealed.len(), text.len() + EXTRA_BYTES);
            let opened = ours.open(bond, &sealed).unwrap();
            prop_assert_eq!(opened.as_slice(), text.as_slice());
            prop_assert!(ours.open(b"bone", &sealed).is_none());
            prop_assert!(sealer("K", "p").open(bond, &sealed).is_none());
            prop_assert!(sealer("k", "P").open(bond, &sealed).is_none());
            let mut changed = sealed.clone();
            let at = at % changed.len();
            changed[at] ^= 1_u8 << bit;
            prop_assert!(ours.open(bond, &changed).is_none());
            prop_assert!(ours.open(bond, &sealed[..at]).is_none());
            prop_assert_ne!(ours.seal(bond, &text).unwrap(), sealed);
        }
    }

    #[test]
    fn names_tell_purposes_and_keys_apart() {
        let name = sealer("k", "p").name(b"x");
        assert_eq!(name, sealer("k", "p").name(b"x"));
        for other in [sealer("k", "q").name(b"x"), sealer("l", "p").name(b"x"), sealer("k", "p").name(b"y")] {
            assert_ne!(name, other);
        }
    }
}
