//! TLS in front of an emulator, and an HTTP proxy, both in this process.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::pki::{Authority, Pair};

/// Decrypts what comes to `listen` and passes it on; asks for certificates of `clients`.
pub(crate) async fn decrypt(
    (listen, to): (&str, &str),
    pair: &Pair,
    clients: Option<&Authority>,
) -> std::io::Result<SocketAddr> {
    let (cert, key) = (std::fs::read(&pair.cert).unwrap(), std::fs::read(&pair.key).unwrap());
    let pair = weir::pem::pair(&cert, &key).unwrap();
    let builder = ServerConfig::builder_with_provider(weir::pem::provider())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            weir::pem::add_roots(&mut roots, &std::fs::read(&authority.path).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), weir::pem::provider());
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(pair)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let to = to.trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, to) = (acceptor.clone(), to.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let Ok(mut vendor) = TcpStream::connect(to).await else { return };
                let _ = copy_bidirectional(&mut stream, &mut vendor).await;
            });
        }
    });
    Ok(address)
}

/// An HTTP proxy that connects to one address, whatever it is asked for.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    to: SocketAddr,
    /// Answered instead of connecting.
    refusal: Option<u16>,
    heads: Vec<String>,
    /// The first bytes that came through each tunnel.
    first: Vec<Vec<u8>>,
}

impl Proxy {
    pub(crate) async fn to(vendor: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { to: vendor, refusal: None, heads: Vec::new(), first: Vec::new() };
        let proxy = Self { address, state: Arc::new(Mutex::new(state)) };
        let serving = proxy.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let proxy = serving.clone();
                tokio::spawn(async move { proxy.serve(stream).await });
            }
        });
        proxy
    }

    pub(crate) fn refuse(&self, status: Option<u16>) {
        self.state.lock().unwrap().refusal = status;
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.state.lock().unwrap().heads.clone()
    }

    pub(crate) fn first_bytes(&self) -> Vec<Vec<u8>> {
        self.state.lock().unwrap().first.clone()
    }

    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let (to, refusal) = {
            let mut state = self.state.lock().unwrap();
            state.heads.push(String::from_utf8(head).unwrap());
            (state.to, state.refusal)
        };
        if let Some(status) = refusal {
            let answer = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n");
            return stream.write_all(answer.as_bytes()).await.ok();
        }
        let mut vendor = TcpStream::connect(to).await.ok()?;
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.ok()?;
        let mut first = vec![0; 64];
        let read = stream.read(&mut first).await.ok()?;
        first.truncate(read);
        vendor.write_all(&first).await.ok()?;
        self.state.lock().unwrap().first.push(first);
        copy_bidirectional(&mut stream, &mut vendor).await.ok().map(drop)
    }
}
