//! All the doors that consumers have: plain, TLS, or both, with one service behind them.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{Drained, Options, Service, Tls, serve};
use crate::app::sockets::{Purpose, Sockets};
use crate::clock::Clock;
use crate::config;

/// Bound, and not served yet: callers wait in the backlog.
#[must_use]
pub struct Doors {
    plain: Option<(TcpListener, SocketAddr)>,
    secure: Option<(TcpListener, SocketAddr, Arc<Tls>)>,
}

impl Doors {
    /// Binds what `[server]` names, or takes what was inherited for it.
    ///
    /// # Errors
    /// An address is taken, the certificate is of no use (any more), or there is no door at all.
    pub(in crate::app) fn open(
        server: &config::Server,
        clock: Clock,
        sockets: &mut Sockets,
    ) -> anyhow::Result<Self> {
        let secure = match &server.tls {
            None => None,
            Some(tls) => {
                let (listener, address) = sockets.take(Purpose::Secure, tls.listen)?;
                Some((listener, address, Tls::open(tls, clock)?))
            }
        };
        let plain = server.listen.map(|wanted| sockets.take(Purpose::Public, wanted)).transpose()?;
        anyhow::ensure!(plain.is_some() || secure.is_some(), "[server] names no address to listen on");
        Ok(Self { plain, secure })
    }

    /// Where consumers reach it: the port that was really bound, the plain one first.
    ///
    /// # Panics
    /// Never: there is at least one door.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let plain = self.plain.as_ref().map(|(_, address)| *address);
        let secure = self.secure.as_ref().map(|(_, address, _)| *address);
        plain.or(secure).expect("there is at least one door")
    }

    /// Says in the log where callers can knock.
    pub fn announce(&self) {
        if let Some((_, address)) = &self.plain {
            tracing::info!(%address, "listening");
        }
        if let Some((_, address, _)) = &self.secure {
            tracing::info!(%address, "listening with TLS");
        }
    }

    /// Serves each until the future that `shutdown` makes for it resolves; see [`serve`].
    pub fn serve<E: Future<Output = ()> + Send + 'static>(
        self,
        service: impl Service,
        options: Options,
        shutdown: impl Fn() -> E,
    ) -> Vec<JoinHandle<Drained>> {
        let plain = self.plain.map(|(listener, _)| (listener, None));
        let secure = self.secure.map(|(listener, _, tls)| (listener, Some(tls)));
        plain
            .into_iter()
            .chain(secure)
            .map(|door| serve(door, service.clone(), options, shutdown()))
            .collect()
    }
}
