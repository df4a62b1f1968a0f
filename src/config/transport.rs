//! What is true of TLS and of the way to a vendor.

use std::net::SocketAddr;
use std::path::PathBuf;

use http::uri::Authority;

use crate::secret::Secret;

/// `[server] tls`. The files are of use when the config is read; they are read
/// again whenever they change.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// Its own listener.
    pub listen: SocketAddr,
    /// PEM file of the certificate and its chain.
    pub cert: PathBuf,
    /// PEM file of the certificate's key.
    pub key: PathBuf,
    /// What callers' certificates must lead to; none asks for no certificate.
    pub clients: Option<ClientCertificates>,
}

/// Which client certificates are asked for.
#[derive(Clone, Debug)]
pub struct ClientCertificates {
    /// PEM file of the roots that they must lead to.
    pub ca: PathBuf,
    /// Whether a caller without one is refused in the handshake.
    pub auth: ClientAuth,
}

/// Whether callers must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// In the handshake, or it fails.
    #[default]
    Required,
    /// They may; a wrong one fails all the same.
    Optional,
}

/// What a client certificate must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateProof {
    /// A subject alternative name of it: a DNS name in lower case, or a URI.
    San(String),
    /// SHA-256 of its DER form.
    Sha256([u8; 32]),
}

/// How connections to a vendor are made.
#[derive(Clone, Debug, Default)]
pub struct Transport {
    /// PEM files of roots, instead of the system's.
    pub ca: Vec<PathBuf>,
    /// Whether the system's roots count beside those.
    pub system_roots: bool,
    /// What is shown to a vendor who asks for a certificate.
    pub client: Option<ClientPair>,
    /// What TLS is tunnelled through.
    pub proxy: Option<Proxy>,
}

impl Transport {
    /// Every file that it names.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.ca.iter().chain(self.client.iter().flat_map(|pair| [&pair.cert, &pair.key]))
    }
}

/// A certificate towards a vendor, and its key.
#[derive(Clone, Debug)]
pub struct ClientPair {
    /// PEM file of the certificate and its chain.
    pub cert: PathBuf,
    /// PEM file of the key.
    pub key: PathBuf,
}

/// An HTTP proxy that connects by CONNECT.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// `host` or `host:port`.
    pub authority: Authority,
    /// `user:password`.
    pub credentials: Option<Secret>,
}
