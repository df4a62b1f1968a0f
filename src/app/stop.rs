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

impl App {
    /// Serves until SIGTERM or SIGINT, then stops in good order; at once, if a
    /// second one comes.
    ///
    /// # Errors
    /// The signals cannot be listened for.
    pub async fn serve_until_signal(self) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be listened for")?;
        // A write beyond a file-size limit is to fail as on a full disk, and not to end the process.
        let beyond_limit = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
        let _caught = signal(beyond_limit).context("SIGXFSZ cannot be listened for")?;
        either(&mut terminate, &mut interrupt).await;
        tracing::info!("stopping: a second signal ends it at once");
        tokio::select! {
            cut = self.stop() => {
                if cut > 0 {
                    tracing::warn!(cut, "connections were cut when the grace was over");
                }
            }
            () = either(&mut terminate, &mut interrupt) => tracing::warn!("stopped at once: what was under way is cut"),
        }
        Ok(())
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

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
