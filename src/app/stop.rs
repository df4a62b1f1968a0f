//! The end, in good order.
//!
//! 1. Not ready any more, and nothing new is accepted.
//! 2. What is under way or in the queue is answered, for the whole grace less a
//!    last stretch of it.
//! 3. The last call: whoever still waits is told 503, to try elsewhere.
//! 4. When the grace is over, connections are cut.
//! 5. What was sent is waited for until its charge has its end, as long as the
//!    grace lasts; then usage is written, ledger and cache let go, for a successor.
//!
//! A second signal ends all of this at once. That is safe (law 8): what left is in
//! the ledger as pending, and counts as given up at the restart.

use std::time::Duration;

use anyhow::Context;
use futures_util::future::join_all;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{App, systemd};

/// Before the end of the grace: time for the answers of the last call to go out.
const LAST_STRETCH: Duration = Duration::from_secs(1);
/// From one look at what is still outstanding to the next.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// SIGTERM and SIGINT from now on. Listened for before anything is started: who hears that
/// weir listens may stop it in the same moment.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// A write beyond a file-size limit is to fail as on a full disk, and not to end the process.
    _beyond_limit: Signal,
}

impl Signals {
    /// # Errors
    /// The signals cannot be listened for.
    pub fn listen() -> anyhow::Result<Self> {
        let beyond_limit = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?,
            interrupt: signal(SignalKind::interrupt()).context("SIGINT cannot be listened for")?,
            _beyond_limit: signal(beyond_limit).context("SIGXFSZ cannot be listened for")?,
        })
    }

    /// One of the two that say stop.
    pub async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl App {
    /// Serves until a signal says stop, then stops in good order; at once, if a
    /// second one comes.
    pub async fn serve_until(self, mut signals: Signals) {
        signals.stop().await;
        tracing::info!("stopping: a second signal ends it at once");
        tokio::select! {
            cut = self.stop() => {
                if cut > 0 {
                    tracing::warn!(cut, "connections were cut when the grace was over");
                }
            }
            () = signals.stop() => tracing::warn!("stopped at once: what was under way is cut"),
        }
    }

    /// Accepts nothing new, answers what is under way, tells the rest to go
    /// elsewhere; then lets go of the ledger, for which a successor may be waiting.
    /// Says how many connections had to be cut.
    pub async fn stop(self) -> usize {
        let ends = self.clock.now() + self.grace;
        let last_call = ends - LAST_STRETCH.min(self.grace / 5);
        self.admin.stop();
        systemd::stopping();
        self.stop.send_replace(true);
        let mut served = join_all(self.served);
        let drained = tokio::select! {
            drained = &mut served => drained,
            () = self.clock.sleep_until(last_call) => {
                self.gateway.last_call();
                served.await
            }
        };
        let cut = drained.into_iter().map(|door| match door {
            Ok(drained) => drained.cut,
            Err(error) => {
                tracing::error!(%error, "a listener failed");
                0
            }
        });
        let cut = cut.sum();
        // Callers are gone; what they have paid for may still be on its way.
        self.gateway.last_call();
        while self.gateway.outstanding() > 0 && self.clock.now() < ends {
            self.clock.sleep_until(self.clock.now() + LOOK_EVERY).await;
        }
        self.beside.iter().for_each(tokio::task::AbortHandle::abort);
        self.chronicle.tick();
        if let Some(traces) = self.traces {
            traces.end().await;
        }
        self.usage.close().await;
        self.gateway.told().await;
        tokio::join!(self.store.close(), self.cache.close());
        self.over.send_replace(true);
        if let Err(error) = self.admin_served.await {
            tracing::error!(%error, "the admin listener failed");
        }
        cut
    }
}
