//! A Redis or Valkey server, or a cluster of them: one connection, one script at a time,
//! every wait bounded.
//!
//! It knows nothing of what the scripts do. A [`Connection`] on which a wait was
//! too long is to be dropped: what was asked on it may still be done later, so
//! scripts have to bear that. Over `rediss://` rustls checks the certificate against
//! the system's roots, or those of a PEM file.
//!
//! Errors never repeat the URL: it holds the password.

#[cfg(test)]
mod blocking;
mod call;
mod node;
#[cfg(test)]
pub(crate) mod testing;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Client, ErrorKind, IntoConnectionInfo, RedisError, ServerErrorKind, TlsCertificates, Value};
use parking_lot::Mutex;

use crate::secret::Secret;
use node::Nodes;

pub use call::News;

#[cfg(test)]
pub(crate) use blocking::Blocking;

/// Where the server is and how one signs in there; connects to nothing by itself.
#[derive(Clone)]
pub struct Server {
    client: Client,
    nodes: Arc<Mutex<Nodes>>,
}

/// A connection that stands, or stood.
pub struct Connection {
    link: MultiplexedConnection,
}

/// A Lua script; the server is sent its text only if it does not know it yet.
pub struct Script(::redis::Script);

/// What a script answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    Nil,
    /// A number; fractions are cut off by the server.
    Int(i64),
    /// Text, or other bytes.
    Bytes(Vec<u8>),
    /// Several answers.
    List(Vec<Answer>),
}

/// The URL in the configuration is none that a server can be reached by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadServer {
    /// Not a URL of Redis.
    #[error("it is not a URL such as redis://host:6379 or rediss://user:password@host:6380/0")]
    Url,
    /// The roots cannot be read.
    #[error("the file of its roots cannot be used: {0}")]
    Roots(String),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    /// Within the time there was none; it may still be done.
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The connection cannot be made, or broke.
    #[error("not connected: {0}")]
    Broken(String),
    /// Name, password or rights (ACL) are wrong.
    #[error("signing in failed: {0}")]
    SignIn(String),
    /// It was not done: another node of the cluster has its keys. Connect anew.
    #[error("its keys are at another node of the cluster")]
    Moved,
    /// The server answered with an error: it is loading, a replica, or cannot run this.
    #[error("it answered {0}")]
    Refused(String),
}

impl Server {
    /// `url` is `redis://` or `rediss://`, with user and password if they are needed;
    /// `ca` is a PEM file of roots instead of the system's.
    ///
    /// # Errors
    /// The URL or the file cannot be used.
    pub fn new(url: &Secret, ca: Option<&Path>) -> Result<Self, BadServer> {
        let info = url.expose().into_connection_info().map_err(|_| BadServer::Url)?;
        // The client's name needs a right of its own (CLIENT SETINFO), and tells nobody anything.
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        let info = info.set_redis_settings(settings);
        let client = match ca {
            None => Client::open(info).map_err(|_| BadServer::Url)?,
            Some(path) => {
                let pem = std::fs::read(path).map_err(|error| BadServer::Roots(error.to_string()))?;
                let roots = TlsCertificates { client_tls: None, root_cert: Some(pem) };
                let built = Client::build_with_tls(info, roots);
                built.map_err(|error| match error.kind() {
                    ErrorKind::InvalidClientConfig => BadServer::Url,
                    _ => BadServer::Roots("it holds no roots in PEM".into()),
                })?
            }
        };
        Ok(Self { client, nodes: Arc::default() })
    }

    /// Whether what is said to it is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        matches!(self.client.get_connection_info().addr(), ::redis::ConnectionAddr::TcpTls { .. })
    }

    /// Whether it is on this machine: nobody listens in between.
    #[must_use]
    pub fn is_near(&self) -> bool {
        match self.client.get_connection_info().addr() {
            ::redis::ConnectionAddr::Tcp(host, _) => {
                host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
            ::redis::ConnectionAddr::Unix(_) => true,
            _ => false,
        }
    }
}

impl Connection {
    /// Runs `script`, which the server does as one step, on `keys` with one argument.
    ///
    /// # Errors
    /// There is no answer `within` that time. It may be run all the same, later.
    pub async fn run(
        &mut self,
        script: &Script,
        keys: &[String],
        argument: &str,
        within: Duration,
    ) -> Result<Answer, Gone> {
        let mut call = script.0.key(keys);
        call.arg(argument);
        match tokio::time::timeout(within, call.invoke_async::<Value>(&mut self.link)).await {
            Ok(Ok(value)) => Ok(answer(value)),
            Ok(Err(error)) => Err(gone(&error, within)),
            Err(_) => Err(Gone::TimedOut(within)),
        }
    }
}

impl Script {
    /// A script of this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(::redis::Script::new(text))
    }
}

impl Answer {
    /// The number, also one in digits.
    #[must_use]
    pub fn int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Bytes(_) => self.text()?.parse().ok(),
            Self::Nil | Self::List(_) => None,
        }
    }

    /// The bytes, if it is some.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// The parts, if it has any.
    #[must_use]
    pub fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }
}

fn answer(value: Value) -> Answer {
    match value {
        Value::Int(number) => Answer::Int(number),
        Value::BulkString(bytes) => Answer::Bytes(bytes),
        Value::SimpleString(text) => Answer::Bytes(text.into_bytes()),
        Value::Okay => Answer::Bytes(b"OK".to_vec()),
        Value::Array(values) => Answer::List(values.into_iter().map(answer).collect()),
        _ => Answer::Nil,
    }
}

fn gone(error: &RedisError, within: Duration) -> Gone {
    if error.is_timeout() {
        return Gone::TimedOut(within);
    }
    let detail = error.detail().map(str::to_owned);
    match error.kind() {
        ErrorKind::AuthenticationFailed => Gone::SignIn(detail.unwrap_or_else(|| "refused".into())),
        ErrorKind::Io => Gone::Broken(error.to_string()),
        ErrorKind::Server(ServerErrorKind::Moved) => Gone::Moved,
        _ if error.is_connection_dropped() || error.is_io_error() => Gone::Broken(error.category().into()),
        _ => match error.code() {
            Some("NOPERM" | "NOAUTH" | "WRONGPASS") => {
                Gone::SignIn(detail.unwrap_or_else(|| "refused".into()))
            }
            // How it puts it for a call of many words.
            Some("ERR") if detail.as_ref().is_some_and(|detail| detail.contains("unauthenticated")) => {
                Gone::SignIn("it wants a user and a password".into())
            }
            Some(code) => Gone::Refused(format!("{code} {}", detail.unwrap_or_default())),
            None => Gone::Refused(detail.unwrap_or_else(|| error.category().into())),
        },
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("encrypted", &self.is_encrypted()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Script").field(&self.0.get_hash()).finish()
    }
}
