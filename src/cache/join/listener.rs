//! The receiving side of a flight: a head, then a body.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::flight::{Flight, More, Outcome};
use crate::cache::Head;
use crate::cache::entry::EntryArc;

/// One caller's ear on a flight. After [`Listener::landing`] it is the body, from
/// its start. Dropping it leaves the flight.
#[must_use = "dropping the listener leaves the flight"]
pub struct Listener<T, E> {
    flight: Arc<Flight<T, E>>,
    seat: usize,
    leads: bool,
    failed: bool,
}

/// What a fetch brought.
#[derive(Clone, Debug)]
pub enum Landing {
    /// A head; the listener is its body.
    Head(Arc<Head>),
    /// A stored answer, renewed: answer from it.
    Entry(EntryArc),
}

/// Why a flight brought nothing, or not all of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlightError<E> {
    /// The fetch failed, for every listener alike.
    #[error("{0}")]
    Failed(E),
    /// The fetch was dropped: it panicked, or weir stops.
    #[error("the fetch ended before the answer did")]
    Abandoned,
    /// The body was not kept, and this caller read it so slowly that others waited.
    #[error("it was read too slowly for those who read it too")]
    TooSlow,
    /// The answer is for the one who asked only: ask yourself.
    #[error("the answer is only for the caller whose request was sent")]
    GoAlone,
}

impl<T, E> Listener<T, E> {
    pub(super) fn aboard(flight: Arc<Flight<T, E>>, leads: bool) -> Self {
        let seat = flight.state().sit();
        Self { flight, seat, leads, failed: false }
    }

    /// What the callers of this flight share.
    #[must_use]
    pub fn shared(&self) -> &T {
        self.flight.shared()
    }

    /// Whether this caller's request is the one that was sent.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.leads
    }
}

impl<T, E: Clone> Listener<T, E> {
    /// Waits for the head. Safe to drop and call again.
    ///
    /// # Errors
    /// Why there is none, or none for this caller.
    pub async fn landing(&mut self) -> Result<Landing, FlightError<E>> {
        poll_fn(|cx| self.poll_landing(cx)).await
    }

    fn poll_landing(&mut self, cx: &Context<'_>) -> Poll<Result<Landing, FlightError<E>>> {
        let mut state = self.flight.state();
        let landed = match state.outcome() {
            Some(Outcome::Head { followers: false, .. }) if !self.leads => Err(FlightError::GoAlone),
            Some(Outcome::Head { head, .. }) => {
                let head = head.clone();
                state.let_go_of_head();
                Ok(Landing::Head(head))
            }
            Some(Outcome::Gone) => Err(FlightError::Abandoned),
            Some(Outcome::Entry(entry)) => Ok(Landing::Entry(entry.clone())),
            None => match state.failure() {
                Some(failure) => Err(failure),
                None => {
                    state.wait(self.seat, cx);
                    return Poll::Pending;
                }
            },
        };
        Poll::Ready(landed)
    }
}

impl<T, E> Body for Listener<T, E>
where
    E: Clone,
{
    type Data = Bytes;
    type Error = FlightError<E>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, FlightError<E>>>> {
        if self.failed {
            return Poll::Ready(None);
        }
        let (more, woken) = {
            let mut state = self.flight.state();
            let (more, woken) = state.more(self.seat);
            if matches!(more, More::Wait) {
                state.wait(self.seat, cx);
            }
            (more, woken)
        };
        woken.into_iter().for_each(std::task::Waker::wake);
        match more {
            More::Piece(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            More::End(Ok(())) => Poll::Ready(None),
            More::End(Err(error)) => {
                self.failed = true;
                Poll::Ready(Some(Err(error)))
            }
            More::Wait => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failed || self.flight.state().is_done(self.seat)
    }
}

impl<T, E> Drop for Listener<T, E> {
    fn drop(&mut self) {
        let woken = self.flight.state().rise(self.seat);
        woken.into_iter().for_each(std::task::Waker::wake);
    }
}

impl<T, E> fmt::Debug for Listener<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener(seat {}, leads: {})", self.seat, self.leads)
    }
}
