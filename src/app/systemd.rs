//! A word to the service manager, where there is one; nothing otherwise.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::clock::Clock;

/// Requests are taken.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is being read again; [`ready`] ends it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the service manager was not told of the reload"),
    }
}

/// Nothing new is taken.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Shows that the runtime still runs, twice in the time that the manager allows;
/// returns at once where it does not ask for it.
pub(super) async fn watchdog(clock: Clock) {
    let Some(within) = sd_notify::watchdog_enabled() else { return };
    let every = (within / 2).max(Duration::from_millis(10));
    loop {
        tell(&[NotifyState::Watchdog]);
        clock.sleep_until(clock.now() + every).await;
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
