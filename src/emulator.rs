//! A vendor to test against: an HTTP server that speaks a vendor's API over
//! made-up data and enforces the vendor's limits strictly.
//!
//! It is the judge of weir, so it shares no code with what it judges: limits
//! are counted ([`emulator/window.rs`](self)) by its own clock, skewed and
//! drifting if asked, from what the vendors document. Others may use it as a
//! test double for their own tests: [`Emulator::start`], or `weir emulate`.
//!
//! Where a vendor documents nothing, an option decides: the kind of window,
//! its phase, whether refusals count, when between arrival and answer a
//! request is counted. Everything random comes from one seed.
//!
//! It is no gateway and no load test: it keeps its journal in memory, speaks
//! no TLS, and stops when its handle is dropped.

mod answer;
pub mod args;
mod catchpoint;
mod catchpoint_v1;
mod chance;
mod exchange;
mod fault;
mod gate;
mod generic;
mod journal;
mod keyring;
mod netskope;
mod options;
mod peek;
mod privx;
mod queue;
mod recorded_future;
mod serve;
mod sign_in;
mod spell;
mod times;
mod tokens;
mod vendor;
mod vendor_clock;
mod window;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock::UnixTime;

pub use self::args::{Args, run};
pub use self::fault::{Fault, Faults};
pub use self::gate::Tally;
pub use self::generic::Canned;
pub use self::journal::{RawHead, Seen};
pub use self::options::{
    Coding, Count, CountAt, Credential, Key, Latency, Limit, Links, NotFound, Options, Refusals, Routes,
    Scope, Serves, Skew, Vendor, Windows,
};
pub use self::tokens::SignIns;

use self::chance::Chance;
use self::exchange::{Emulated, State};
use self::gate::Gate;
use self::journal::Journal;
use self::keyring::Keyring;
use self::queue::Queue;
use self::vendor::Api;
use self::vendor_clock::VendorClock;

/// A running emulator. Dropping it closes its listener and every connection.
#[derive(Debug)]
#[must_use = "an emulator stops when it is dropped"]
pub struct Emulator {
    emulated: Arc<Emulated>,
    stop: watch::Sender<bool>,
    listening: JoinHandle<()>,
}

impl Emulator {
    /// Binds and serves on the current tokio runtime.
    ///
    /// # Errors
    /// If `options.listen` cannot be bound.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let state = State {
            chance: Chance::new(options.seed),
            faults: options.faults,
            gate: Gate::new(&options),
            keyring: Keyring::new(&options),
            queue: Queue::new(options.serves.or_else(|| options.vendor.serves())),
            api: Api::new(&options),
        };
        let emulated = Arc::new(Emulated {
            address,
            time: VendorClock::new(options.clock, options.skew, options.drift_ppm),
            journal: Journal::new(options.journal_requests),
            state: Mutex::new(state),
            options,
        });
        let (stop, stopping) = watch::channel(false);
        let listening = tokio::spawn(serve::listen(Arc::clone(&emulated), listener, stopping));
        Ok(Self { emulated, stop, listening })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.emulated.address
    }

    /// `http://ADDRESS`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.emulated.address)
    }

    /// Requests that its limits refused: its own 429s. The CDN's (a fault) are
    /// not among them.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.emulated.state.lock().gate.refused()
    }

    /// Requests that its limits let through.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.emulated.state.lock().gate.counted()
    }

    /// What each limit counted and refused, in the order of the options.
    #[must_use]
    pub fn tallies(&self) -> Vec<Tally> {
        self.emulated.state.lock().gate.tallies()
    }

    /// The journal: the newest requests, the oldest of them first.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.emulated.journal.all()
    }

    /// Requests seen since the start, those no longer in the journal too.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.emulated.journal.total()
    }

    /// Empties the journal; no limit forgets anything.
    pub fn forget_requests(&self) {
        self.emulated.journal.clear();
    }

    /// The time as the vendor's own clock has it.
    #[must_use]
    pub fn wall(&self) -> UnixTime {
        self.emulated.time.wall(self.emulated.time.now())
    }

    /// From now on the keys of this label (or secret) are unknown. Whether
    /// there was one.
    pub fn revoke(&self, label_or_secret: &str) -> bool {
        self.emulated.state.lock().keyring.revoke(label_or_secret)
    }

    /// From now on every token that was given out is unknown; how many there were.
    pub fn revoke_tokens(&self) -> usize {
        self.emulated.state.lock().keyring.tokens.revoke_all()
    }

    /// How often it was asked to sign somebody in.
    #[must_use]
    pub fn sign_ins(&self) -> SignIns {
        self.emulated.state.lock().keyring.tokens.signed_in
    }

    /// Requests that it did not serve at once, since they came faster than it serves.
    #[must_use]
    pub fn queued(&self) -> u64 {
        self.emulated.state.lock().queue.queued()
    }

    /// From now on this key is valid too. Without any key in the options this
    /// ends the time in which every token would do.
    pub fn issue(&self, key: Key) {
        self.emulated.state.lock().keyring.issue(key);
    }

    /// What goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.emulated.state.lock().faults = faults;
    }

    /// What the generic origin answers at `path` (without query) from now on.
    ///
    /// # Errors
    /// If this is not the generic origin, or it knows 10,000 answers already.
    pub fn script(&self, path: &str, canned: Canned) -> Result<(), String> {
        match &mut self.emulated.state.lock().api {
            Api::Generic(origin) => origin.script(path.to_owned(), canned),
            _ => Err("only the generic origin can be told what to answer".to_owned()),
        }
    }

    /// Stops accepting, cuts all connections, and waits until the port is free.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if let Err(error) = (&mut self.listening).await {
            tracing::debug!(%error, "the emulator's listener had ended already");
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}
