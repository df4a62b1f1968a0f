//! Certificates and private keys out of PEM files, for both sides of TLS.
//!
//! Config asks it whether files are of use, the listener and the upstreams make
//! their TLS of what it reads, so both say the same of one file. A [`BadPem`]
//! never holds a byte of a file, nor its path.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

/// A chain of certificates and its key are some KiB; a bundle of all public roots is 220.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What is wrong with a file, in words that follow "the file that it names" and say what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPem {
    /// The system does not give it.
    #[error("cannot be read ({0}); correct the path or its rights")]
    Unreadable(&'static str),
    /// It holds no certificate at all.
    #[error("holds no certificate; name a PEM file with BEGIN CERTIFICATE in it")]
    NoCertificate,
    /// What it calls a certificate is none.
    #[error("holds a certificate that cannot be understood; export it as PEM once more")]
    BadCertificate,
    /// It holds no private key.
    #[error("holds no private key; name a PEM file with BEGIN PRIVATE KEY in it")]
    NoKey,
    /// It asks for a password, and nobody is there to type it.
    #[error(
        "holds an encrypted private key; write it without a password (`openssl pkey`), readable by weir alone"
    )]
    EncryptedKey,
    /// A kind of key that TLS here does not sign with.
    #[error(
        "holds a private key that cannot be used; make an ECDSA (P-256, P-384), Ed25519 or RSA (2048 bits or more) key"
    )]
    BadKey,
    /// The two files are no pair.
    #[error("holds the key of another certificate; name the two files of one pair")]
    Mismatch,
}

impl BadPem {
    /// Whether the key's file is at fault rather than the certificate's.
    #[must_use]
    pub fn is_about_the_key(self) -> bool {
        match self {
            Self::NoKey | Self::EncryptedKey | Self::BadKey | Self::Mismatch => true,
            Self::Unreadable(_) | Self::NoCertificate | Self::BadCertificate => false,
        }
    }
}

/// The one implementation of cryptography that weir uses.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A file's contents, zeroed when dropped.
///
/// # Errors
/// [`BadPem::Unreadable`].
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, BadPem> {
    let reason = |error: io::Error| {
        BadPem::Unreadable(match error.kind() {
            io::ErrorKind::NotFound => "there is no such file",
            io::ErrorKind::PermissionDenied => "permission denied",
            io::ErrorKind::IsADirectory => "it is a folder",
            _ => "an error of the system",
        })
    };
    if fs::metadata(path).map_err(reason)?.len() > MAX_FILE_BYTES {
        return Err(BadPem::Unreadable("it is larger than 1 MiB"));
    }
    fs::read(path).map(Zeroizing::new).map_err(reason)
}

/// A certificate with its chain, the leaf first, and the key that belongs to it.
///
/// # Errors
/// [`BadPem`]; [`BadPem::is_about_the_key`] tells which of the two is at fault.
pub fn pair(certificates: &[u8], key: &[u8]) -> Result<CertifiedKey, BadPem> {
    let chain = certificates_of(certificates)?;
    let key = match PrivateKeyDer::from_pem_slice(key) {
        Ok(key) => key,
        Err(_) if memchr::memmem::find(key, b"ENCRYPTED").is_some() => return Err(BadPem::EncryptedKey),
        Err(_) => return Err(BadPem::NoKey),
    };
    let key = provider().key_provider.load_private_key(key).map_err(|_| BadPem::BadKey)?;
    let pair = CertifiedKey::new(chain, key);
    match pair.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(pair),
        Err(rustls::Error::InconsistentKeys(_)) => Err(BadPem::Mismatch),
        Err(_) => Err(BadPem::BadCertificate),
    }
}

/// Certificates to trust as roots, put into `roots`.
///
/// # Errors
/// There are none, or one of them is no root.
pub fn add_roots(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), BadPem> {
    for certificate in certificates_of(pem)? {
        roots.add(certificate).map_err(|_| BadPem::BadCertificate)?;
    }
    Ok(())
}

fn certificates_of(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, BadPem> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(BadPem::NoCertificate),
        Ok(found) => Ok(found),
        Err(_) => Err(BadPem::BadCertificate),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn made() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["x.test".to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn only_a_pair_is_one() {
        let ((cert, key), (_, other)) = (made(), made());
        let of = |cert: &str, key: &str| pair(cert.as_bytes(), key.as_bytes()).map(|pair| pair.cert.len());
        assert_eq!(of(&cert, &key), Ok(1));
        assert_eq!(of(&format!("{cert}{cert}"), &key), Ok(2));
        assert_eq!(of(&cert, &other), Err(BadPem::Mismatch));
        assert_eq!(of(&key, &key), Err(BadPem::NoCertificate));
        assert_eq!(of(&cert, &cert), Err(BadPem::NoKey));
        assert_eq!(of(&cert[..cert.len() / 2], &key), Err(BadPem::BadCertificate), "half written");
        assert_eq!(of(&cert, &key[..key.len() / 2]), Err(BadPem::NoKey), "half written");
        let locked = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
        assert_eq!(of(&cert, &locked), Err(BadPem::EncryptedKey));
        assert!(BadPem::Mismatch.is_about_the_key() && !BadPem::NoCertificate.is_about_the_key());
    }
}
