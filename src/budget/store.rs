//! Where charges outlive the process: a file of its own, or a Redis shared with others.
//!
//! A closed set, and an enum: the two have no one operation in common, because they meet the
//! desk at different moments. In front of a file the desk alone decides, and what it has
//! granted is booked before it leaves (`Link::book`). Among replicas the desk can only guess:
//! who would leave is asked for first, and the script grants it (`Replica::ask_for_bid`).
//! What they have in common is what callers see; `conformance` and the histories in `laws`
//! hold both of them to that.

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
    /// `store.redis`; and the file of what is set aside for this replica, if anything is.
    Shared(Arc<Shared>, Option<Arc<Ledger>>),
}

impl Store {
    /// The store that is configured; `process` is random.
    ///
    /// # Errors
    /// No thread can be had, or the folder cannot be written.
    pub fn open(config: &config::Store, clock: Clock, process: u64) -> io::Result<Self> {
        let on_empty = config.on_empty;
        let embedded = || Ledger::open(ledger::Options { path: config.path.clone(), on_empty }, clock);
        match &config.redis {
            None => embedded().map(Self::Embedded),
            Some(redis) => {
                let egress = own_name(&config.path, process)?;
                let (server, prefix) = (redis.server.clone(), redis.prefix.clone());
                let is_closed = redis.on_loss == config::OnLoss::Closed;
                let slots = (!is_closed).then_some(redis.replicas);
                let options = shared::Options { server, prefix, process, egress, on_empty, slots };
                let file = if is_closed { None } else { Some(embedded()?) };
                Ok(Self::Shared(Shared::new(options), file))
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
            Self::Shared(shared, file) => Budget::shared(upstream, clock, shared, file.as_ref()),
        }
    }

    /// Whether bookings are taken, as far as the store itself knows; of one that is shared
    /// each budget knows: [`Budget::standing`].
    #[must_use]
    pub fn is_up(&self) -> bool {
        match self {
            Self::Embedded(ledger) => ledger.is_up(),
            Self::Shared(..) => true,
        }
    }

    /// Whether the past can be taken up already.
    ///
    /// # Errors
    /// It cannot be used by this weir at all.
    pub async fn begun(&self) -> Result<Begun, OpenError> {
        match self {
            Self::Embedded(ledger) => ledger.begun().await,
            Self::Shared(..) => Ok(Begun::Waits),
        }
    }

    /// Resolves when it can be.
    ///
    /// # Errors
    /// As for [`Store::begun`].
    pub async fn loaded(&self) -> Result<(), OpenError> {
        match self {
            Self::Embedded(ledger) => ledger.loaded().await,
            Self::Shared(_, Some(file)) => file.loaded().await,
            Self::Shared(_, None) => Ok(()),
        }
    }

    /// Writes what is left, for a successor.
    pub async fn close(&self) {
        match self {
            Self::Embedded(ledger) => ledger.close().await,
            // Each budget tells what is shared: `Budget::told`.
            Self::Shared(_, Some(file)) => file.close().await,
            Self::Shared(_, None) => {}
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
