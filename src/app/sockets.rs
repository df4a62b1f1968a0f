//! Listening sockets, inherited from a service manager or our own.
//!
//! With socket activation (`LISTEN_FDS`) the manager holds the sockets while weir
//! is restarted, so no connection is refused. Which is which is told by their names
//! (`FileDescriptorName=`: `public`, `admin`, `tls`), else by their addresses, else
//! by their order.

use std::net::SocketAddr;

use anyhow::Context;
use listenfd::ListenFd;
use tokio::net::TcpListener;

use super::listener;

/// What was inherited and has not been taken yet.
#[derive(Default)]
pub struct Sockets {
    all: Vec<Socket>,
}

struct Socket {
    name: Option<String>,
    listener: Option<std::net::TcpListener>,
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Consumers.
    Public,
    /// Consumers, over TLS.
    Secure,
    /// Operators.
    Admin,
}

/// The names that a socket gets from a manager that was told none.
const UNNAMED: [&str; 3] = ["", "unknown", "connection"];

impl Sockets {
    /// What this process inherited; `names` is `LISTEN_FDNAMES`, if there is one. To be
    /// called once, before there are other threads.
    ///
    /// # Errors
    /// What was inherited is no listening TCP socket.
    pub fn inherited(names: &str) -> std::io::Result<Self> {
        let mut names = names.split(':').map(str::to_owned);
        let mut found = ListenFd::from_env();
        let mut all = Vec::with_capacity(found.len());
        for index in 0..found.len() {
            let name = names.next().filter(|name| {
                // systemd's default is the unit's own name.
                !UNNAMED.contains(&name.as_str()) && !name.ends_with(".socket")
            });
            all.push(Socket { name, listener: found.take_tcp_listener(index)? });
        }
        Ok(Self { all })
    }

    /// The socket for `purpose`: inherited, or bound to `wanted`.
    pub(super) fn take(
        &mut self,
        purpose: Purpose,
        wanted: SocketAddr,
    ) -> anyhow::Result<(TcpListener, SocketAddr)> {
        let listener = match self.inherited_for(purpose, wanted) {
            Some(inherited) => {
                inherited.set_nonblocking(true)?;
                listener::adopt(inherited).context("an inherited socket cannot be listened on")?
            }
            None => listener::bind(wanted).with_context(|| format!("{wanted} cannot be listened on"))?,
        };
        let address = listener.local_addr()?;
        Ok((listener, address))
    }

    fn inherited_for(&mut self, purpose: Purpose, wanted: SocketAddr) -> Option<std::net::TcpListener> {
        let is_free = |socket: &&mut Socket| socket.listener.is_some();
        let mut free: Vec<_> = self.all.iter_mut().filter(is_free).collect();
        let by_name = free.iter().position(|socket| socket.name.as_deref() == Some(purpose.name()));
        let is_at = |socket: &&mut Socket| {
            let address = socket.listener.as_ref().and_then(|listener| listener.local_addr().ok());
            socket.name.is_none() && address == Some(wanted)
        };
        let by_address = || free.iter().position(is_at);
        let by_order = || match purpose {
            Purpose::Public => free.iter().position(|socket| socket.name.is_none()),
            Purpose::Secure | Purpose::Admin => None,
        };
        let index = by_name.or_else(by_address).or_else(by_order)?;
        free.get_mut(index)?.listener.take()
    }
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Secure => "tls",
            Self::Admin => "admin",
        }
    }
}
