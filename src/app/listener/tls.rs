//! TLS at the consumers' door: 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN, client
//! certificates where config asks for them, and files that may change at any time.
//!
//! The files are looked at once a second, by content, so that it does not matter
//! how they are exchanged: written in place, renamed, or a symlink set anew (as
//! Kubernetes mounts do). New connections use what was read last and fits together;
//! standing ones go on, and no session is resumed across an exchange, so a client
//! whose authority is gone does not come back on an old ticket. Files that do not
//! fit (half written, of two pairs, unreadable) change nothing; if they are the
//! same a second later, that is said, once.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::RwLock;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::config::{ClientAuth, ServerTls};
use crate::consumer::Certificate;
use crate::pem::{self, BadPem};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the handshakes of one listener need, as it is now.
pub struct Tls {
    files: ServerTls,
    current: RwLock<Arc<ServerConfig>>,
}

/// Files that are of no use together; says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("server.tls.{file}: the file that it names {why}")]
pub struct Unfit {
    file: &'static str,
    why: BadPem,
}

/// What the files hold.
struct Contents {
    cert: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
    client_ca: Option<Zeroizing<Vec<u8>>>,
}

/// One look at the files: what tells it from others, and what they hold.
type Look = ([u8; 32], Result<Contents, Unfit>);

/// What the looks so far have come to.
struct Watch {
    /// In use.
    served: [u8; 32],
    /// Did not fit when it was seen first; may be half written.
    doubted: Option<[u8; 32]>,
    /// Did not fit, and was said to.
    told: Option<[u8; 32]>,
}

impl Tls {
    /// Reads the files, and again whenever they change, for as long as the result is held.
    ///
    /// # Errors
    /// [`Unfit`] as they are now.
    pub fn open(files: &ServerTls, clock: Clock) -> Result<Arc<Self>, Unfit> {
        let (served, contents) = look(files);
        let current = RwLock::new(Arc::new(contents?.config(files)?));
        let tls = Arc::new(Self { files: files.clone(), current });
        tokio::spawn(watch(Arc::downgrade(&tls), clock, served));
        Ok(tls)
    }

    /// Handshakes; the caller bounds the time. Gives the certificate that the other end showed.
    pub(super) async fn accept<IO>(&self, stream: IO) -> std::io::Result<(TlsStream<IO>, Option<Certificate>)>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let config = Arc::clone(&self.current.read());
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let certificate = shown.map(Certificate::of);
        Ok((stream, certificate))
    }

    /// Takes what the files hold now, if it is news and fits.
    fn take(&self, (seen, contents): Look, watch: &mut Watch) {
        if seen == watch.served {
            (watch.doubted, watch.told) = (None, None);
            return;
        }
        if watch.told == Some(seen) {
            return;
        }
        match contents.and_then(|contents| contents.config(&self.files)) {
            Ok(config) => {
                *self.current.write() = Arc::new(config);
                *watch = Watch::of(seen);
                tracing::info!("the certificate has changed: new connections get the new one");
            }
            Err(unfit) if watch.doubted == Some(seen) => {
                watch.told = Some(seen);
                tracing::error!(%unfit, "the certificate has changed for the worse: the old one stays in use");
            }
            Err(_) => watch.doubted = Some(seen),
        }
    }
}

impl Watch {
    fn of(served: [u8; 32]) -> Self {
        Self { served, doubted: None, told: None }
    }
}

async fn watch(tls: Weak<Tls>, clock: Clock, served: [u8; 32]) {
    let mut watch = Watch::of(served);
    loop {
        clock.sleep_until(clock.now() + LOOK_EVERY).await;
        let Some(files) = tls.upgrade().map(|tls| tls.files.clone()) else { return };
        // A file system may hang: then a thread waits for it, and not a worker.
        let seen = tokio::task::spawn_blocking(move || look(&files)).await;
        let (Some(tls), Ok(seen)) = (tls.upgrade(), seen) else { return };
        tls.take(seen, &mut watch);
    }
}

fn look(files: &ServerTls) -> Look {
    let read = |file, path| pem::read(path).map_err(|why| Unfit { file, why });
    let read = || -> Result<Contents, Unfit> {
        let client_ca = files.clients.as_ref().map(|clients| read("client_ca", &clients.ca)).transpose()?;
        Ok(Contents { cert: read("cert", &files.cert)?, key: read("key", &files.key)?, client_ca })
    };
    let contents = read();
    let mut hash = Sha256::new();
    match &contents {
        Err(unfit) => hash.update(unfit.to_string()),
        Ok(Contents { cert, key, client_ca }) => {
            for part in [Some(cert), Some(key), client_ca.as_ref()].into_iter().flatten() {
                hash.update(Sha256::digest(part.as_slice()));
            }
        }
    }
    (hash.finalize().into(), contents)
}

impl Contents {
    fn config(&self, files: &ServerTls) -> Result<ServerConfig, Unfit> {
        let about = |why: BadPem| Unfit { file: if why.is_about_the_key() { "key" } else { "cert" }, why };
        let pair = pem::pair(&self.cert, &self.key).map_err(about)?;
        let builder = ServerConfig::builder_with_provider(pem::provider())
            .with_safe_default_protocol_versions()
            .map_err(|_| about(BadPem::BadKey))?;
        let builder = match (&files.clients, &self.client_ca) {
            (Some(clients), Some(file)) => {
                let bad = |why| Unfit { file: "client_ca", why };
                let mut roots = RootCertStore::empty();
                pem::add_roots(&mut roots, file).map_err(bad)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), pem::provider());
                let verifier = match clients.auth {
                    ClientAuth::Required => verifier,
                    ClientAuth::Optional => verifier.allow_unauthenticated(),
                };
                let verifier = verifier.build().map_err(|_| bad(BadPem::NoCertificate))?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}
