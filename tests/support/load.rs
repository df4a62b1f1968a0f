//! Load: many callers at once, and how to wait for real.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use weir::clock::{Clock, Moment};
use weir::emulator::Seen;

use super::{Caller, Reply};

/// The emulator's tests are numbered from here.
const FIRST_TEST: usize = 100_001;

/// An analytic URL that nobody has asked for before, so that it is neither cached
/// nor joined. The vendor's journal tells by it who asked: see [`asked_by`].
pub(crate) fn fresh_url(who: usize) -> String {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let number = ASKED.fetch_add(1, Ordering::Relaxed);
    format!("/api/v2/tests/explorer/raw?metrics={number}&testIds={}", FIRST_TEST + who)
}

/// Whether `seen` is a [`fresh_url`] of `who`.
pub(crate) fn asked_by(seen: &Seen, who: usize) -> bool {
    seen.target.ends_with(&format!("&testIds={}", FIRST_TEST + who))
}

/// Each of `callers` keeps `outstanding` requests for fresh URLs under way until
/// `until`, then all hang up. Gives back what was answered, caller by caller.
pub(crate) async fn saturate(
    callers: &[Caller],
    outstanding: usize,
    until: Moment,
    clock: Clock,
) -> Vec<Vec<Reply>> {
    let lanes = callers.iter().enumerate();
    join_all(lanes.map(|(who, caller)| keep_asking(who, caller, outstanding, (until, clock)))).await
}

/// What one of the callers of [`saturate`] does, as number `who`.
pub(crate) async fn keep_asking(
    who: usize,
    caller: &Caller,
    outstanding: usize,
    (until, clock): (Moment, Clock),
) -> Vec<Reply> {
    let lanes = (0..outstanding).map(async |_| {
        let mut replies = Vec::new();
        loop {
            let url = fresh_url(who);
            tokio::select! {
                () = clock.sleep_until(until) => return replies,
                reply = caller.get(&url) => replies.push(reply),
            }
        }
    });
    join_all(lanes).await.concat()
}

/// Asks for all of `paths` at once.
pub(crate) async fn together(caller: &Caller, paths: impl IntoIterator<Item = String>) -> Vec<Reply> {
    join_all(paths.into_iter().map(async |path| caller.get(&path).await)).await
}

/// Asks for `path`, and hangs up as soon as `when` has come.
pub(crate) async fn hang_up(caller: &Caller, path: &str, when: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = when => {}
        reply = caller.get(path) => panic!("answered before it could hang up: {reply:?}"),
    }
}

/// For tests that measure how much of an allowance is used: two of them at once
/// would measure the machine.
pub(crate) async fn alone() -> tokio::sync::MutexGuard<'static, ()> {
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    ALONE.lock().await
}

/// Waits for real: to be used only where a real second is the point.
pub(crate) async fn pause(by: Duration) {
    let clock = Clock::system();
    clock.sleep_until(clock.now() + by).await;
}

/// Waits for real until `what` holds, because what is waited for is another process.
pub(crate) async fn eventually(what: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if what() {
            return;
        }
        pause(Duration::from_millis(10)).await;
    }
    panic!("it has not come to pass in 10 s");
}
