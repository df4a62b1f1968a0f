//! What can go wrong on the way to the vendor, in the words of RFC 9209, section 2.3.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::pem::BadPem;

use super::BoxError;

/// The exchange failed.
///
/// This is about bytes: [`SendError::NeverLeft`] means that none of the request's
/// can have reached anybody, so its charge may be given back.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Certainly nothing left: no name, no connection, no TLS, or each connection
    /// that stood died before it took the request.
    #[error("nothing was sent: {0}")]
    NeverLeft(Failure),
    /// The vendor may have seen and counted it.
    #[error("{0}")]
    MayHaveLeft(Failure),
}

/// A reason, and what the libraries said, for the log. Never holds a header, a
/// query or a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason.
    pub reason: Reason,
    detail: String,
}

/// Why an exchange failed: one word for log, metric and `Proxy-Status`
/// (RFC 9209, section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The name has no address, or no server told it.
    DnsError,
    /// No route to the address.
    DestinationIpUnroutable,
    /// The proxy on the way does not reach the vendor.
    DestinationUnavailable,
    /// The proxy on the way does not connect to this vendor.
    DestinationIpProhibited,
    /// The proxy on the way does not accept weir's credentials for it.
    ProxyConfigurationError,
    /// Nobody listens there.
    ConnectionRefused,
    /// No connection within `connect_timeout`, TLS included.
    ConnectionTimeout,
    /// As many exchanges under way as there may be.
    ConnectionLimitReached,
    /// The connection ended before the head of the response.
    ConnectionTerminated,
    /// Silence for longer than `idle_timeout` within the body.
    ConnectionReadTimeout,
    /// TLS, other than the next two.
    TlsProtocolError,
    /// The vendor's certificate is not one that we trust for this name.
    TlsCertificateError,
    /// The vendor refused the handshake.
    TlsAlertReceived,
    /// No response head within `timeout`.
    HttpResponseTimeout,
    /// The body ended before it was whole.
    HttpResponseIncomplete,
    /// The head of the response is larger than we take.
    HttpResponseHeaderSectionSize,
    /// What came is not HTTP.
    HttpProtocolError,
    /// The request itself: its body broke off on the caller's side.
    HttpRequestError,
}

/// An upstream cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Unusable as host.
    #[error("'{0}' is not a host that can be asked; write 'host' or 'host:port'")]
    Authority(String),
    /// A file of certificates or of a key is of no use.
    #[error("{} {why}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: BadPem,
    },
    /// The system has no roots.
    #[error("this system has no root certificates ({0}); install ca-certificates, or set `ca` to a PEM file")]
    SystemRoots(String),
    /// rustls refused its own defaults.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl SendError {
    pub(super) fn never(reason: Reason, detail: &str) -> Self {
        Self::NeverLeft(Failure::new(reason, detail))
    }

    pub(super) fn maybe(reason: Reason, detail: &str) -> Self {
        Self::MayHaveLeft(Failure::new(reason, detail))
    }

    /// What happened, whether it left or not.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        match self {
            Self::NeverLeft(failure) | Self::MayHaveLeft(failure) => failure,
        }
    }

    /// Why, whether it left or not.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::NeverLeft(failure) | Self::MayHaveLeft(failure) => failure.reason,
        }
    }
}

impl Reason {
    /// The error type's name in RFC 9209, section 2.3.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DnsError => "dns_error",
            Self::DestinationIpUnroutable => "destination_ip_unroutable",
            Self::DestinationUnavailable => "destination_unavailable",
            Self::DestinationIpProhibited => "destination_ip_prohibited",
            Self::ProxyConfigurationError => "proxy_configuration_error",
            Self::ConnectionRefused => "connection_refused",
            Self::ConnectionTimeout => "connection_timeout",
            Self::ConnectionLimitReached => "connection_limit_reached",
            Self::ConnectionTerminated => "connection_terminated",
            Self::ConnectionReadTimeout => "connection_read_timeout",
            Self::TlsProtocolError => "tls_protocol_error",
            Self::TlsCertificateError => "tls_certificate_error",
            Self::TlsAlertReceived => "tls_alert_received",
            Self::HttpResponseTimeout => "http_response_timeout",
            Self::HttpResponseIncomplete => "http_response_incomplete",
            Self::HttpResponseHeaderSectionSize => "http_response_header_section_size",
            Self::HttpProtocolError => "http_protocol_error",
            Self::HttpRequestError => "http_request_error",
        }
    }

    /// Whether the vendor was too slow, as against wrong or unreachable: 504 and not 502.
    #[must_use]
    pub fn is_timeout(self) -> bool {
        matches!(self, Self::ConnectionTimeout | Self::ConnectionReadTimeout | Self::HttpResponseTimeout)
    }
}

impl Failure {
    pub(super) fn new(reason: Reason, detail: &str) -> Self {
        Self { reason, detail: detail.into() }
    }

    /// The same, on the way to the proxy and not to the vendor.
    pub(super) fn at_the_proxy(mut self) -> Self {
        self.detail.insert_str(0, "at the proxy: ");
        self
    }

    /// Of looking up the name or opening the TCP connection.
    pub(super) fn of_tcp(error: &(dyn StdError + 'static)) -> Self {
        let reason = if find::<DnsFailed>(error).is_some() {
            Reason::DnsError
        } else {
            match find::<io::Error>(error).map(io::Error::kind) {
                Some(io::ErrorKind::ConnectionRefused) => Reason::ConnectionRefused,
                Some(io::ErrorKind::TimedOut) => Reason::ConnectionTimeout,
                Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
                    Reason::DestinationIpUnroutable
                }
                _ => Reason::ConnectionTerminated,
            }
        };
        Self { reason, detail: chain(error) }
    }

    /// Of the TLS handshake.
    pub(super) fn of_tls(error: &io::Error) -> Self {
        let reason = match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
                Reason::TlsCertificateError
            }
            Some(rustls::Error::AlertReceived(_)) => Reason::TlsAlertReceived,
            Some(_) => Reason::TlsProtocolError,
            None => Reason::ConnectionTerminated,
        };
        Self { reason, detail: chain(error) }
    }

    /// Of an exchange on a connection that stood, up to the response's head.
    pub(super) fn of_exchange(error: &hyper::Error) -> Self {
        let reason = if find::<CallerBody>(error).is_some() {
            Reason::HttpRequestError
        } else if error.is_parse_too_large() {
            Reason::HttpResponseHeaderSectionSize
        } else if error.is_parse() {
            Reason::HttpProtocolError
        } else if error.is_timeout() {
            Reason::ConnectionReadTimeout
        } else {
            Reason::ConnectionTerminated
        };
        Self { reason, detail: chain(error) }
    }

    /// Of a body whose head had come.
    pub(super) fn of_body(error: &hyper::Error) -> Self {
        let reason = if error.is_timeout() {
            Reason::ConnectionReadTimeout
        } else if error.is_parse() {
            Reason::HttpProtocolError
        } else {
            Reason::HttpResponseIncomplete
        };
        Self { reason, detail: chain(error) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason.as_str(), self.detail)
    }
}

/// The name could not be looked up.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct DnsFailed(pub(super) io::Error);

/// The body that a caller sends has failed.
#[derive(Debug, thiserror::Error)]
#[error("the body of the request broke off: {0}")]
struct CallerBody(BoxError);

pub(super) fn caller_body<E: Into<BoxError>>(error: E) -> BoxError {
    Box::new(CallerBody(error.into()))
}

/// The first error of type `E` in the chain of causes.
fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The whole chain of causes in one line; without what repeats its predecessor.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        next = error.source();
    }
    text
}
