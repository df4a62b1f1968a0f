//! What is looked at in a caller's certificate once the handshake has verified it.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

use crate::config::CertificateProof;

/// The names a client certificate holds, and its fingerprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 of its DER form, as `openssl x509 -fingerprint -sha256` prints it.
    pub(super) sha256: [u8; 32],
    /// Subject alternative names in the certificate's order: DNS names in lower
    /// case, then URIs. A subject's common name is none of them (RFC 6125).
    pub(super) names: Vec<String>,
}

/// The other end of a connection: all that it has proven by being there.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// Where it connects from.
    pub address: IpAddr,
    /// Its certificate, if the connection is TLS and it showed one.
    pub certificate: Option<&'a Certificate>,
}

impl Certificate {
    /// Reads one that has been verified; the chain behind it says nothing about who it is.
    #[must_use]
    pub fn of(der: &CertificateDer<'_>) -> Self {
        let sha256 = Sha256::digest(der).into();
        // One that cannot be read has no names, and may still be known by its fingerprint.
        let names = webpki::EndEntityCert::try_from(der).map_or_else(
            |_| Vec::new(),
            |read| {
                let dns = read.valid_dns_names().map(str::to_ascii_lowercase);
                dns.chain(read.valid_uri_names().map(str::to_owned)).collect()
            },
        );
        Self { sha256, names }
    }

    /// Whether it is the one that a consumer names. A wildcard in it stands for itself alone.
    pub(super) fn proves(&self, wanted: &CertificateProof) -> bool {
        match wanted {
            CertificateProof::San(name) => self.names.contains(name),
            CertificateProof::Sha256(fingerprint) => self.sha256 == *fingerprint,
        }
    }
}

impl From<IpAddr> for Peer<'_> {
    fn from(address: IpAddr) -> Self {
        Self { address, certificate: None }
    }
}
