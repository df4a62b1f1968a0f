//! Where the streams of an HTTP/2 connection run.
//!
//! Most requests are answered from the cache, at once: a task of its own for each, with its
//! wakes of the connection's, would cost more than the answer. So a stream is polled once
//! where it was opened, in the connection's task, and has a task only if it has to wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};

use hyper::rt::Executor;
use tokio::task::coop;

/// Polls what it is given at once, and spawns what is not ready then.
///
/// Each costs the connection's task one of what it has with tokio for a turn (128). When
/// that is spent, streams are spawned, and other connections have their turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct AtOnce;

impl<F> Executor<F> for AtOnce
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let mut future = Box::pin(future);
        // Whoever is spawned is polled again, with the waker that counts.
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(spent) = coop::poll_proceed(&mut cx) {
            spent.made_progress();
            // A panic ends its stream, as it would end its task, and not the connection.
            match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut cx))) {
                Ok(Poll::Pending) => {}
                Ok(Poll::Ready(())) | Err(_) => return,
            }
        }
        tokio::spawn(future);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Within a task, which has a budget.
    async fn in_a_task<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
        tokio::spawn(work).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_ready_has_run_and_what_waits_goes_on_in_a_task() {
        in_a_task(async {
            let (tell, told) = tokio::sync::oneshot::channel();
            let (go, wait) = tokio::sync::oneshot::channel::<()>();
            let ran = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&ran);
            AtOnce.execute(async move {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(ran.load(Ordering::Relaxed), 1);
            AtOnce.execute(async move {
                wait.await.unwrap();
                tell.send(()).unwrap();
            });
            go.send(()).unwrap();
            told.await.unwrap();
        })
        .await;
    }

    #[tokio::test]
    async fn a_turn_has_an_end() {
        let ran = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ran);
        let at_once = in_a_task(async move {
            for _ in 0..1_000 {
                let count = Arc::clone(&count);
                AtOnce.execute(async move {
                    count.fetch_add(1, Ordering::Relaxed);
                });
            }
            count.load(Ordering::Relaxed)
        })
        .await;
        assert!((1..=128).contains(&at_once), "{at_once} in one turn");
        while ran.load(Ordering::Relaxed) < 1_000 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_panic_is_its_streams_alone() {
        in_a_task(async {
            AtOnce.execute(async { panic!("one stream's") });
        })
        .await;
    }
}
