//! How a connection ends when its listener stops: what is under way is finished, and a
//! new connection has a moment for its first request.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Poll, Waker};
use std::time::Duration;

use hyper_util::server::graceful::GracefulConnection;
use tokio::sync::watch;

use super::Options;
use super::guard::Activity;

/// For the first request on a new connection, when the listener stops.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// Closed when the listener stops: ends idle connections, and handshakes.
pub(super) type Stopped = watch::Receiver<()>;

/// A connection until it ends by itself or, once the listener stops, what is under way
/// on it (on a new one, its first request) has ended. Every request polls this; so that
/// word is listened for once per task, which takes a lock, and from then on only looked at.
///
/// It is pinned by whoever calls: a future that takes it over has room for it twice.
pub(super) async fn to_its_end<C: GracefulConnection>(
    mut connection: Pin<&mut C>,
    activity: &Activity,
    (mut stopped, options): (Stopped, &Options),
) -> C::Output {
    let look = stopped.clone();
    let mut told = pin!(stopped.changed());
    let (mut listens, mut patience, mut stops) = (None::<Waker>, None, false);
    poll_fn(|cx| {
        activity.begin_turn();
        if stops {
            return connection.as_mut().poll(cx);
        }
        let knows = listens.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if !knows {
            listens = Some(cx.waker().clone());
        }
        let hears = (!knows && told.as_mut().poll(cx).is_ready()) || look.has_changed().is_err();
        if hears {
            let patience = patience.get_or_insert_with(|| Box::pin(options.first_request()));
            stops = activity.has_begun() || patience.as_mut().poll(cx).is_ready();
            if !stops {
                match connection.as_mut().poll(cx) {
                    Poll::Pending if activity.has_begun() => stops = true,
                    polled => return polled,
                }
            }
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    })
    .await
}

impl Options {
    /// The time that is left for a first request, when the listener stops.
    pub(super) async fn first_request(&self) {
        let time = FIRST_REQUEST.min(self.shutdown_grace / 5);
        self.clock.sleep_until(self.clock.now() + time).await;
    }
}
