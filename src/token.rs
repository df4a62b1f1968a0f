//! Tokens that weir issues: for consumers whose clients exchange id and secret for
//! one that expires.
//!
//! Nothing is stored. A token names its consumer, its kind and its end, and carries
//! an HMAC-SHA-256 over those, the upstream that it is for and the hash of the
//! consumer's own weir token. So it survives a restart, holds on every replica that
//! has the key, is good nowhere else, and ends with the weir token it was issued for.
//!
//! Text: `weir1.` and URL-safe base64 without padding of kind (1 byte), end (Unix
//! seconds, 8 bytes, big endian), the consumer's name, and the 32 bytes of the HMAC.
//! Clients are known to send base64 of the whole text; that is accepted too.

mod seal;

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::clock::UnixTime;
use crate::secret::{Secret, TokenHash};

pub use seal::Sealer;

/// Issues and checks tokens with one key.
pub struct Issuer {
    mac: Hmac<Sha256>,
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Requests.
    Access,
    /// Another access token.
    Refresh,
}

/// What a token is bound to beside its own words.
#[derive(Clone, Copy, Debug)]
pub struct Bond<'a> {
    /// The upstream that it is for.
    pub upstream: &'a str,
    /// Hash of the weir token that the consumer has now; none if its address proves it.
    pub hash: Option<TokenHash>,
}

/// What a well-formed token says of itself. Not to be believed before [`Issuer::check`].
#[derive(Debug)]
pub struct Claim {
    kind: Kind,
    ends: UnixTime,
    consumer: String,
    mac: [u8; MAC_BYTES],
}

/// Why a token is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotGood {
    /// Issued by weir, and over.
    Expired,
    /// For something else, or not issued with this key for this consumer.
    Forged,
}

const PREFIX: &str = "weir1.";
const MAC_BYTES: usize = 32;
const END_BYTES: usize = 8;
/// Longer texts are no tokens of weir's: a name has at most 40 characters.
const MAX_TEXT_BYTES: usize = 512;

/// Decoders for what clients make of a token, with or without padding.
const INDIFFERENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, INDIFFERENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, INDIFFERENT);

impl Issuer {
    /// With the key of the configuration, whatever text that is.
    #[must_use]
    pub fn new(key: &Secret) -> Self {
        // Of its own, so that the same key may serve another purpose elsewhere.
        let mut digest = Sha256::new();
        digest.update(b"weir issued tokens, version 1\0");
        digest.update(key.expose().as_bytes());
        let key = Zeroizing::new(<[u8; 32]>::from(digest.finalize()));
        Self { mac: Hmac::new_from_slice(&*key).expect("an HMAC takes a key of any length") }
    }

    /// A new token for `consumer`, valid for `lifetime` from `now` on.
    #[must_use]
    pub fn issue(
        &self,
        kind: Kind,
        consumer: &str,
        bond: Bond<'_>,
        (now, lifetime): (UnixTime, Duration),
    ) -> Secret {
        let ends = now + lifetime;
        let mac = self.mac(kind, ends, consumer, bond).finalize().into_bytes();
        let mut bytes = Zeroizing::new(vec![kind.byte()]);
        bytes.extend_from_slice(&ends.as_secs().to_be_bytes());
        bytes.extend_from_slice(consumer.as_bytes());
        bytes.extend_from_slice(&mac);
        Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&*bytes)))
    }

    /// Whether a token was issued by this key, for this bond, and is not over. The
    /// time it takes tells nothing of the right HMAC.
    ///
    /// # Errors
    /// See [`NotGood`].
    pub fn check(&self, claim: &Claim, kind: Kind, bond: Bond<'_>, now: UnixTime) -> Result<(), NotGood> {
        let mac = self.mac(claim.kind, claim.ends, &claim.consumer, bond);
        if mac.verify_slice(&claim.mac).is_err() || claim.kind != kind {
            return Err(NotGood::Forged);
        }
        if now < claim.ends { Ok(()) } else { Err(NotGood::Expired) }
    }

    /// Lengths first, so that no two sets of parts have the same bytes.
    fn mac(&self, kind: Kind, ends: UnixTime, consumer: &str, bond: Bond<'_>) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(&[kind.byte()]);
        mac.update(&ends.as_secs().to_be_bytes());
        let hash = bond.hash.map(|hash| *hash.as_bytes());
        let hash: &[u8] = hash.as_ref().map_or(&[], |hash| hash.as_slice());
        for part in [consumer.as_bytes(), bond.upstream.as_bytes(), hash] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

impl Claim {
    /// What a presented credential claims, raw or in base64; none if it is no token
    /// of this form.
    #[must_use]
    pub fn read(presented: &[u8]) -> Option<Self> {
        if presented.len() > MAX_TEXT_BYTES {
            return None;
        }
        let decoded = [&STANDARD, &URL_SAFE].map(|engine| engine.decode(presented).ok().map(Zeroizing::new));
        let decoded = decoded.iter().flatten().map(|bytes| bytes.as_slice());
        std::iter::once(presented).chain(decoded).find_map(Self::parse)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX.as_bytes())?).ok()?;
        let (kind, rest) = bytes.split_first()?;
        let (ends, rest) = rest.split_first_chunk::<END_BYTES>()?;
        let (consumer, mac) = rest.split_last_chunk::<MAC_BYTES>()?;
        Some(Self {
            kind: Kind::of(*kind)?,
            ends: UnixTime::from_secs(u64::from_be_bytes(*ends)),
            consumer: String::from_utf8(consumer.to_vec()).ok()?,
            mac: *mac,
        })
    }

    /// The consumer that it names.
    #[must_use]
    pub fn consumer(&self) -> &str {
        &self.consumer
    }
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Access => b'a',
            Self::Refresh => b'r',
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Self::Access, Self::Refresh].into_iter().find(|kind| kind.byte() == byte)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Issuer(***)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_000);
    const MINUTE: Duration = Duration::from_secs(60);

    fn issuer(key: &str) -> Issuer {
        Issuer::new(&Secret::new(key.into()))
    }

    fn bond(upstream: &str, token: &str) -> Bond<'static> {
        let upstream = if upstream == "a" { "a" } else { "b" };
        Bond { upstream, hash: (!token.is_empty()).then(|| TokenHash::of(token.as_bytes())) }
    }

    fn check(key: &str, text: &[u8], bond: Bond<'_>, secs: u64) -> Option<Result<String, NotGood>> {
        let claim = Claim::read(text)?;
        let good = issuer(key).check(&claim, Kind::Access, bond, UnixTime::from_secs(secs));
        Some(good.map(|()| claim.consumer().to_owned()))
    }

    #[test]
    fn a_token_is_good_for_what_it_was_issued_for_and_so_long() {
        let text = issuer("k").issue(Kind::Access, "web", bond("a", "t"), (NOW, MINUTE));
        let text = text.expose().as_bytes();
        let name = Some(Ok("web".to_owned()));
        assert_eq!(check("k", text, bond("a", "t"), 1_000), name);
        assert_eq!(check("k", text, bond("a", "t"), 1_059), name);
        assert_eq!(check("k", text, bond("a", "t"), 1_060), Some(Err(NotGood::Expired)));
        let forged = Some(Err(NotGood::Forged));
        assert_eq!(check("k", text, bond("b", "t"), 1_000), forged, "another upstream");
        assert_eq!(check("k", text, bond("a", "other"), 1_000), forged, "another weir token");
        assert_eq!(check("k", text, bond("a", ""), 1_000), forged, "by address");
        assert_eq!(check("other", text, bond("a", "t"), 1_000), forged, "another key");
        assert_eq!(check("other", text, bond("a", "t"), 2_000), forged, "nothing is learnt of its end");
        let refresh = issuer("k").issue(Kind::Refresh, "web", bond("a", "t"), (NOW, MINUTE));
        assert_eq!(check("k", refresh.expose().as_bytes(), bond("a", "t"), 1_000), forged);
        assert_eq!(check("k", b"weir_abc", bond("a", "t"), 1_000), None);
    }

    #[test]
    fn clients_may_encode_it() {
        use base64::engine::general_purpose as engines;
        // Names of all lengths, so that padding and both alphabets are met.
        for length in 1..=40 {
            let name = "x".repeat(length);
            let text = issuer("k").issue(Kind::Access, &name, bond("a", "t"), (NOW, MINUTE));
            for encoded in [
                engines::STANDARD.encode(text.expose()),
                engines::STANDARD_NO_PAD.encode(text.expose()),
                engines::URL_SAFE.encode(text.expose()),
                engines::URL_SAFE_NO_PAD.encode(text.expose()),
            ] {
                assert_eq!(check("k", encoded.as_bytes(), bond("a", "t"), 1_000), Some(Ok(name.clone())));
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_is_changed_it_is_not_good(at in 0_usize..1_000, with in 0_u8..64) {
            let text = issuer("k").issue(Kind::Access, "web", bond("a", "t"), (NOW, MINUTE));
            let mut changed = text.expose().as_bytes().to_vec();
            let at = at % changed.len();
            let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            prop_assume!(changed[at] != alphabet[usize::from(with)]);
            changed[at] = alphabet[usize::from(with)];
            let good = check("k", &changed, bond("a", "t"), 1_000);
            prop_assert!(!matches!(good, Some(Ok(_))), "{good:?}");
        }

        #[test]
        fn nothing_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Claim::read(&bytes);
            let _ = Claim::read(&[PREFIX.as_bytes(), &bytes].concat());
        }
    }
}
