//! Files that change under a running weir.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Scene, with_token};
use crate::support::pki::Pair;
use crate::support::{token_of, until};

async fn connect(scene: &Scene, address: SocketAddr) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&scene.authority.path).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(weir::pem::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("weir.test").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap()
}

/// Whether new connections are shown this certificate.
async fn shows(scene: &Scene, address: SocketAddr, pair: &Pair) -> bool {
    let stream = connect(scene, address).await;
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    weir::secret::TokenHash::of(&shown).to_hex() == pair.sha256
}

/// In real time, since the files are another process's to look at.
async fn comes_to_show(scene: &Scene, address: SocketAddr, pair: &Pair) {
    let clock = weir::clock::Clock::system();
    for _ in 0..100 {
        if shows(scene, address, pair).await {
            return;
        }
        clock.sleep_until(clock.now() + std::time::Duration::from_millis(100)).await;
    }
    panic!("the new certificate is not shown within ten seconds");
}

/// Asks on a connection that stands, which stays.
async fn asks(stream: &mut TlsStream<TcpStream>) {
    let request = format!(
        "GET /x HTTP/1.1\r\nHost: weir.test\r\nAuthorization: Bearer {}\r\n\r\n",
        token_of("grafana")
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
    }
    let head = String::from_utf8_lossy(&answer).into_owned();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    // The body is drained too, so that the next head begins where it should.
    let length =
        head.to_lowercase().split("content-length: ").nth(1).and_then(|l| l.split('\r').next()?.parse().ok());
    let begun = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let mut rest: usize = length.unwrap_or(0);
    rest -= answer.len() - begun;
    stream.read_exact(&mut vec![0; rest]).await.unwrap();
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let mut scene = Scene::new().await;
    let folder = scene.folder.path().to_owned();
    // As a Kubernetes mount has it: files through a link that is exchanged whole.
    let names = ["weir.test"];
    for version in ["v1", "v2"] {
        std::fs::create_dir(folder.join(version)).unwrap();
    }
    let first = scene.authority.issue(&folder.join("v1"), "tls", &names);
    let second = scene.authority.issue(&folder.join("v2"), "tls", &names);
    let (live, next) = (folder.join("live"), folder.join("next"));
    symlink("v1", &live).unwrap();
    scene.server = Pair { cert: live.join("tls.pem"), key: live.join("tls.key"), ..first.clone() };
    let weir = scene.weir("", &with_token("grafana"));
    let mut standing = connect(&scene, weir.address()).await;
    asks(&mut standing).await;
    assert!(shows(&scene, weir.address(), &first).await);

    symlink("v2", &next).unwrap();
    std::fs::rename(&next, &live).unwrap();
    comes_to_show(&scene, weir.address(), &second).await;
    asks(&mut standing).await;

    // Half a pair: the key of another certificate, as between two writes. The old pair
    // stays, and one line says so.
    let third = scene.authority.issue(&folder, "third", &names);
    let key = std::fs::read_to_string(&third.key).unwrap();
    std::fs::write(folder.join("v2/tls.key"), &key).unwrap();
    weir.logged(|line| line["unfit"].as_str().is_some_and(|unfit| unfit.contains("another certificate")))
        .await;
    assert!(shows(&scene, weir.address(), &second).await);
    asks(&mut standing).await;
    std::fs::copy(&third.cert, folder.join("v2/tls.pem")).unwrap();
    comes_to_show(&scene, weir.address(), &third).await;

    // A certificate half written, and then gone.
    let whole = std::fs::read_to_string(&second.cert).unwrap();
    std::fs::write(folder.join("v2/tls.pem"), &whole[..whole.len() / 2]).unwrap();
    weir.logged(|line| line["unfit"].as_str().is_some_and(|unfit| unfit.contains("understood"))).await;
    std::fs::remove_file(folder.join("v2/tls.pem")).unwrap();
    weir.logged(|line| line["unfit"].as_str().is_some_and(|unfit| unfit.contains("no such file"))).await;
    assert!(shows(&scene, weir.address(), &third).await);
    asks(&mut standing).await;
    until("each fault was said once", || weir.output().matches("for the worse").count() == 3).await;
    let secret = key.lines().nth(1).unwrap().to_owned();
    assert!(!weir.stop().contains(&secret), "no bytes of a key");
}
