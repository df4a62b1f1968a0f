//! TLS with an authority of our own.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use super::*;

/// A folder with a new authority's PEM file, its path, and an issuer to sign with.
pub(super) fn authority() -> (tempfile::TempDir, PathBuf, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    std::fs::write(&path, certificate.pem()).unwrap();
    (dir, path, Issuer::new(params, key))
}

/// A TLS server for `name` that echoes and offers `protocols`.
async fn secure_echo(issuer: &Issuer<'static, KeyPair>, name: &str, protocols: &[&[u8]]) -> SocketAddr {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    scripted(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve_echo(stream).await;
            }
        }
    })
    .await
}

/// With these roots, and none of the system's.
pub(super) fn trusting(ca: &Path) -> Transport {
    Transport { ca: vec![ca.to_owned()], ..Transport::default() }
}

fn https(address: SocketAddr, host: &str, ca: &Path) -> Upstream {
    let origin = origin(Scheme::Https, &format!("{host}:{}", address.port()), false);
    Upstream::at(&origin, &trusting(ca), TIMES, Clock::system()).unwrap()
}

#[tokio::test]
async fn alpn_decides_the_protocol() {
    let (_dir, ca, issuer) = authority();
    for (offer, spoken) in [(&b"h2"[..], "HTTP/2.0"), (b"http/1.1", "HTTP/1.1")] {
        let address = secure_echo(&issuer, "localhost", &[offer]).await;
        let upstream = https(address, "localhost", &ca);
        for _ in 0..3 {
            let said = text(upstream.send(get("/x"), || ()).await.unwrap()).await.unwrap();
            assert!(said.starts_with(spoken), "{said}");
        }
    }
}

#[tokio::test]
async fn an_address_may_stand_for_the_name() {
    let (_dir, ca, issuer) = authority();
    let address = secure_echo(&issuer, "127.0.0.1", &[]).await;
    let said = text(https(address, "127.0.0.1", &ca).send(get("/"), || ()).await.unwrap()).await.unwrap();
    assert!(said.starts_with("HTTP/1.1"), "{said}");
}

#[tokio::test]
async fn a_foreign_authority_or_name_is_refused_before_anything_leaves() {
    let (_dir, _, theirs) = authority();
    let (_other_dir, ours, issuer) = authority();
    let foreign = secure_echo(&theirs, "localhost", &[b"h2"]).await;
    let misnamed = secure_echo(&issuer, "example.com", &[b"h2"]).await;
    for address in [foreign, misnamed] {
        let sent = AtomicBool::new(false);
        let upstream = https(address, "localhost", &ours);
        let error = upstream.send(get("/"), || sent.store(true, Ordering::Relaxed)).await.unwrap_err();
        assert!(
            matches!(&error, SendError::NeverLeft(f) if f.reason == Reason::TlsCertificateError),
            "{error}"
        );
        assert!(!sent.load(Ordering::Relaxed));
    }
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_no_certificate_error() {
    let address = scripted(|mut stream| async move {
        drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
        drop(stream.read_to_end(&mut Vec::new()).await);
    })
    .await;
    let (_dir, ca, _) = authority();
    let error = https(address, "localhost", &ca).send(get("/"), || ()).await.unwrap_err();
    assert!(matches!(&error, SendError::NeverLeft(f) if f.reason == Reason::TlsProtocolError), "{error}");
}

#[test]
fn a_file_of_roots_must_hold_some() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none.pem");
    let origin = origin(Scheme::Https, "localhost", false);
    for content in [None, Some("no certificate")] {
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let error = Upstream::at(&origin, &trusting(&path), TIMES, Clock::system()).unwrap_err();
        assert!(error.to_string().contains("none.pem"), "{error}");
    }
}
