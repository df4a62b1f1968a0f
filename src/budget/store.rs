//! Where charges outlive the process: a file of its own, or a Redis shared with others.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::ledger::{self, Begun, OpenError};
use super::{Budget, Ledger, Shared, shared};
use crate::clock::Clock;
use crate::config;

/// What keeps the charges of all upstreams of the process.
#[derive(Clone, Debug)]
pub enum Store {
    /// A file under `store.path`.
    Embedded(Arc<Ledger>),
    /// `store.redis`.
    Shared(Arc<Shared>),
}

impl Store {
    /// The store that is configured; `process` is random.
    ///
    /// # Errors
    /// No thread can be had, or the folder cannot be written.
    pub fn open(config: &config::Store, clock: Clock, process: u64) -> io::Result<Self> {
        let on_empty = config.on_empty;
        match &config.redis {
            None => {
                let options = ledger::Options { path: config.path.clone(), on_empty };
                Ledger::open(options, clock).map(Self::Embedded)
            }
            Some(redis) => {
                let egress = own_name(&config.path, process)?;
                let (server, prefix) = (redis.server.clone(), redis.prefix.clone());
                let options = shared::Options { server, prefix, process, egress, on_empty };
                Ok(Self::Shared(Shared::new(options)))
            }
        }
    }

    /// The budget of `upstream`. It admits nobody before [`Budget::recall`].
    #[must_use]
    pub fn budget(&self, upstream: &config::Upstream, clock: Clock) -> Arc<Budget> {
        let (plan, name) = (upstream.plan.clone(), &upstream.name);
        let (connect, answer) = (upstream.connect_timeout, upstream.timeout);
        match self {
            Self::Embedded(ledger) => {
                Budget::durable(plan, clock, ledger.link(name.clone(), connect + answer))
            }
            Self::Shared(shared) => {
                Budget::shared(plan, clock, shared, (name, upstream.egress.as_deref()), (connect, answer))
            }
        }
    }

    /// Whether bookings are taken, as far as the store itself knows; of one that is shared
    /// each budget knows: [`Budget::standing`].
    #[must_use]
    pub fn is_up(&self) -> bool {
        match self {
            Self::Embedded(ledger) => ledger.is_up(),
            Self::Shared(_) => true,
        }
    }

    /// Whether the past can be taken up already.
    ///
    /// # Errors
    /// It cannot be used by this weir at all.
    pub async fn begun(&self) -> Result<Begun, OpenError> {
        match self {
            Self::Embedded(ledger) => ledger.begun().await,
            Self::Shared(_) => Ok(Begun::Waits),
        }
    }

    /// Resolves when it can be.
    ///
    /// # Errors
    /// As for [`Store::begun`].
    pub async fn loaded(&self) -> Result<(), OpenError> {
        match self {
            Self::Embedded(ledger) => ledger.loaded().await,
            Self::Shared(_) => Ok(()),
        }
    }

    /// Writes what is left, for a successor.
    pub async fn close(&self) {
        match self {
            Self::Embedded(ledger) => ledger.close().await,
            // Each budget tells its own: `Budget::told`.
            Self::Shared(_) => {}
        }
    }
}

/// The name that this replica's address goes by where no `egress` is configured: kept
/// in the folder, because the address stays the same when the process does not.
fn own_name(folder: &Path, process: u64) -> io::Result<String> {
    let file = folder.join("replica");
    match std::fs::read_to_string(&file) {
        Ok(name) if is_name(name.trim()) => return Ok(name.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let name = format!("{process:016x}");
    std::fs::create_dir_all(folder)?;
    std::fs::write(&file, &name)?;
    Ok(name)
}

fn is_name(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
