//! How fast a body that is not kept may come.

use std::future::poll_fn;

use super::Lead;
use super::flight::Room;

impl<T, E: Clone> Lead<T, E> {
    /// Waits until the next piece may come: see [`super`] on slow listeners.
    pub(super) async fn room(&mut self) {
        let window = self.board.limits.window_bytes;
        let Some(clock) = self.board.clock else {
            return poll_fn(|cx| self.flight.state().poll_room(window, cx)).await;
        };
        let held_back = poll_fn(|cx| self.flight.state().poll_room_or_held_back(window, cx));
        if held_back.await == Room::Free {
            return;
        }
        let began = clock.now();
        tokio::select! {
            biased;
            () = poll_fn(|cx| self.flight.state().poll_room(window, cx)) => {}
            () = clock.sleep_until(began + self.patience_left) => {
                self.flight.tell(|state| state.cut_laggards(window));
            }
        }
        self.patience_left = self.patience_left.saturating_sub(clock.now().since(began));
    }
}
