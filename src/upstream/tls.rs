//! TLS towards the vendor: rustls with ring, 1.2 and 1.3, HTTP/2 by ALPN, and a
//! certificate of our own where the vendor asks for one.
//!
//! Roots, certificate and key are read at the start (and at a reload of the config).

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::Transport;
use crate::pem::{self, BadPem};

use super::error::{Failure, SetupError};

/// What a handshake with one host needs.
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    /// `host` as in a URI (IPv6 in brackets).
    pub(super) fn new(host: &str, transport: &Transport) -> Result<Self, SetupError> {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| SetupError::Authority(host.into()))?;
        let builder = ClientConfig::builder_with_provider(pem::provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots(transport)?);
        let mut config = match &transport.client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let read = |path: &Path| pem::read(path).map_err(unfit(path));
                let (cert, key) = (read(&client.cert)?, read(&client.key)?);
                let pair = pem::pair(&cert, &key).map_err(|bad| {
                    unfit(if bad.is_about_the_key() { &client.key } else { &client.cert })(bad)
                })?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair)))
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { connector: Arc::new(config).into(), name })
    }

    pub(super) async fn handshake<IO>(&self, stream: IO) -> Result<TlsStream<IO>, Failure>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = self.connector.connect(self.name.clone(), stream);
        handshake.await.map_err(|error| Failure::of_tls(&error))
    }

    pub(super) fn agreed_on_h2<IO>(stream: &TlsStream<IO>) -> bool {
        stream.get_ref().1.alpn_protocol() == Some(b"h2")
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Those of the `ca` files, or the system's, or both.
fn roots(transport: &Transport) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    for path in &transport.ca {
        pem::read(path).and_then(|file| pem::add_roots(&mut roots, &file)).map_err(unfit(path))?;
    }
    if transport.ca.is_empty() || transport.system_roots {
        system_roots(&mut roots)?;
    }
    Ok(roots)
}

/// One bad certificate in the system's store does not make the others useless.
fn system_roots(roots: &mut RootCertStore) -> Result<(), SetupError> {
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(());
    }
    let why = found.errors.first().map_or_else(|| "none found".into(), ToString::to_string);
    Err(SetupError::SystemRoots(why))
}

fn unfit(path: &Path) -> impl Fn(BadPem) -> SetupError {
    let path = path.to_owned();
    move |why| SetupError::Pem { path: path.clone(), why }
}
