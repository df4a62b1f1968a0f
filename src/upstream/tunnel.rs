//! Through an HTTP proxy: CONNECT (RFC 9110, section 9.3.6), and what its *no* means.
//!
//! The proxy is told host and port of the vendor and looks the name up itself; TLS
//! runs through it, so it sees neither key nor request. Whatever it refuses never left.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::uri::Authority;
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::config::{Origin, Proxy};

use super::connect::MAX_HEAD_BYTES;
use super::error::{Failure, Reason, SetupError};

/// A stream whose other end is the vendor.
pub(super) type Tunnelled = TokioIo<hyper::upgrade::Upgraded>;

const HTTPS_PORT: u16 = 443;
const PROXY_PORT: u16 = 80;

/// A proxy, and whom it is asked to connect to.
#[derive(Debug)]
pub(super) struct Tunnel {
    /// Where TCP goes.
    pub(super) proxy: Uri,
    /// `host:port` of the vendor.
    vendor: Authority,
    credentials: Option<HeaderValue>,
}

impl Tunnel {
    pub(super) fn new(proxy: &Proxy, origin: &Origin) -> Result<Self, SetupError> {
        let bad = |authority: &Authority| SetupError::Authority(authority.to_string());
        let vendor = with_port(&origin.authority, HTTPS_PORT).ok_or_else(|| bad(&origin.authority))?;
        let uri = with_port(&proxy.authority, PROXY_PORT)
            .and_then(|to| Uri::builder().scheme("http").authority(to).path_and_query("/").build().ok())
            .ok_or_else(|| bad(&proxy.authority))?;
        let credentials = proxy.credentials.as_ref().map(|both| {
            let encoded = Zeroizing::new(STANDARD.encode(both.expose()));
            let mut value = HeaderValue::try_from(&*Zeroizing::new(format!("Basic {}", *encoded)))
                .expect("base64 is made of characters that a header can hold");
            value.set_sensitive(true);
            value
        });
        Ok(Self { proxy: uri, vendor, credentials })
    }

    /// Asks the proxy at the other end of `tcp` to connect to the vendor.
    pub(super) async fn through(&self, tcp: TcpStream) -> Result<Tunnelled, Failure> {
        let failed = |error: hyper::Error| Failure::of_exchange(&error).at_the_proxy();
        let (mut sender, connection) = http1::Builder::new()
            .max_header_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(tcp))
            .await
            .map_err(failed)?;
        // It ends with the tunnel, or when the sender is dropped before there is one.
        tokio::spawn(connection.with_upgrades());
        let mut request = Request::connect(self.vendor.as_str())
            .header(HOST, self.vendor.as_str())
            .body(Empty::<Bytes>::new())
            .map_err(|_| {
                Failure::new(Reason::ProxyConfigurationError, "no request to the proxy can be made")
            })?;
        if let Some(credentials) = &self.credentials {
            request.headers_mut().insert(PROXY_AUTHORIZATION, credentials.clone());
        }
        let answer = sender.send_request(request).await.map_err(failed)?;
        match refusal(answer.status()) {
            Some(refused) => Err(refused),
            None => hyper::upgrade::on(answer).await.map(TokioIo::new).map_err(failed),
        }
    }
}

/// Why there is no tunnel; none if there is one.
fn refusal(status: StatusCode) -> Option<Failure> {
    let (reason, why) = match status {
        status if status.is_success() => return None,
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            (Reason::ProxyConfigurationError, "it does not accept the user and password that weir has for it")
        }
        StatusCode::GATEWAY_TIMEOUT => (Reason::ConnectionTimeout, "it did not reach the vendor in time"),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => {
            (Reason::DestinationUnavailable, "it did not reach the vendor")
        }
        _ => (Reason::DestinationIpProhibited, "it does not connect to this vendor"),
    };
    Some(Failure::new(reason, &format!("the proxy answered {}: {why}", status.as_u16())))
}

fn with_port(authority: &Authority, default: u16) -> Option<Authority> {
    let port = authority.port_u16().unwrap_or(default);
    format!("{}:{port}", authority.host()).parse().ok()
}
