//! Certificates of an authority of our own, as PEM files in a folder.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};

/// An authority; its own certificate is `FOLDER/NAME.pem`.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) path: PathBuf,
}

/// A certificate and its key in files, and the fingerprint.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// SHA-256 of the DER form in hex.
    pub(crate) sha256: String,
}

impl Authority {
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap();
        let path = folder.join(format!("{name}.pem"));
        std::fs::write(&path, certificate.pem()).unwrap();
        Self { issuer: Issuer::new(params, key), path }
    }

    /// A certificate for these names (DNS, address or URI) in `folder`, as `FILE.pem` and `FILE.key`.
    pub(crate) fn issue(&self, folder: &Path, file: &str, names: &[&str]) -> Pair {
        let key = KeyPair::generate().unwrap();
        let (uris, plain): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| name.contains("://"));
        let plain: Vec<String> = plain.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(plain).unwrap();
        params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let pair = Pair {
            cert: folder.join(format!("{file}.pem")),
            key: folder.join(format!("{file}.key")),
            sha256: weir::secret::TokenHash::of(certificate.der()).to_hex(),
        };
        std::fs::write(&pair.cert, certificate.pem()).unwrap();
        std::fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }
}
