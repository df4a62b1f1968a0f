//! The state of one flight: what was received, who has read how far.
//!
//! All of it is synchronous, under one lock per flight, and wakes nobody itself:
//! wakers are handed out and called after the lock is gone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use super::{FlightError, Pushed};
use crate::cache::Head;
use crate::cache::entry::EntryArc;
use crate::clock::Moment;

/// One fetch and those who want it.
pub(super) struct Flight<T, E> {
    shared: T,
    state: Mutex<State<E>>,
    /// Of all flights together.
    kept_bytes: Arc<AtomicU64>,
}

pub(super) struct State<E> {
    outcome: Option<Outcome>,
    /// Until when a flight that has landed may be joined.
    open_until: Option<Moment>,
    pieces: VecDeque<Piece>,
    /// How many pieces have gone from the front of `pieces`.
    gone: usize,
    /// Bytes in `pieces`.
    held_bytes: usize,
    keeping: Keeping,
    end: Option<Result<(), FlightError<E>>>,
    seats: SmallVec<[Option<Seat>; 1]>,
    listeners: usize,
    lead: Option<Waker>,
    /// What this flight has booked of all flights' kept bytes.
    booked_bytes: u64,
}

/// What the head says.
#[derive(Clone)]
pub(super) enum Outcome {
    Head {
        head: Arc<Head>,
        followers: bool,
    },
    Entry(EntryArc),
    /// A head that its only listener has taken.
    Gone,
}

enum Keeping {
    /// All of it, up to so many bytes of body.
    All { max_bytes: u64 },
    /// Until every listener has read it.
    Window,
}

struct Piece {
    bytes: Bytes,
    /// Listeners that have not read it yet; counted in a window only.
    unread: usize,
}

struct Seat {
    /// The number of the next piece to read.
    next: usize,
    waker: Option<Waker>,
    /// It held others back for too long: nothing is held for it any more.
    cut: bool,
}

/// Whether the next piece may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It may.
    Free,
    /// Somebody has read everything, and waits because another has not.
    HeldBack,
}

/// What a listener finds when it asks for more.
pub(super) enum More<E> {
    Piece(Bytes),
    End(Result<(), FlightError<E>>),
    Wait,
}

/// A piece costs this beside its bytes: its place in the queue and its allocation.
const PIECE_OVERHEAD_BYTES: u64 = 64;

impl<T, E> Flight<T, E> {
    pub(super) fn new(shared: T, kept_bytes: Arc<AtomicU64>) -> Self {
        let state = State {
            outcome: None,
            open_until: None,
            pieces: VecDeque::new(),
            gone: 0,
            held_bytes: 0,
            keeping: Keeping::All { max_bytes: u64::MAX },
            end: None,
            seats: SmallVec::new(),
            listeners: 0,
            lead: None,
            booked_bytes: 0,
        };
        Self { shared, state: Mutex::new(state), kept_bytes }
    }

    pub(super) fn shared(&self) -> &T {
        &self.shared
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock()
    }

    /// Changes the state, then wakes all listeners.
    pub(super) fn tell(&self, change: impl FnOnce(&mut State<E>)) {
        let wakers = {
            let mut state = self.state.lock();
            change(&mut state);
            state.take_wakers()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Keeps a copy of the piece, so that it pins no read buffer; not if that
    /// would be more than this flight or all flights may hold.
    pub(super) fn keep(&self, piece: &Bytes, max_kept_bytes: u64) -> bool {
        let cost = piece.len() as u64 + PIECE_OVERHEAD_BYTES;
        {
            let mut state = self.state.lock();
            let Keeping::All { max_bytes } = state.keeping else { return false };
            let body = (state.held_bytes + piece.len()) as u64;
            // Overhead counts as well: a body of millions of tiny pieces is large.
            let most = max_bytes.saturating_mul(2).saturating_add(1 << 16);
            if body > max_bytes || state.booked_bytes + cost > most {
                return false;
            }
            let before = self.kept_bytes.fetch_add(cost, Ordering::Relaxed);
            if before + cost > max_kept_bytes {
                self.kept_bytes.fetch_sub(cost, Ordering::Relaxed);
                return false;
            }
            state.booked_bytes += cost;
        }
        let copy = Bytes::copy_from_slice(piece);
        self.tell(|state| state.add(copy, 0));
        true
    }

    /// Hands the piece to those who listen now.
    pub(super) fn pass(&self, piece: Bytes) -> Pushed {
        let mut pushed = Pushed::Passed;
        self.tell(|state| match state.listeners {
            0 => pushed = Pushed::Nobody,
            listeners => state.add(piece, listeners),
        });
        pushed
    }
}

impl<T, E> Drop for Flight<T, E> {
    fn drop(&mut self) {
        self.kept_bytes.fetch_sub(self.state.get_mut().booked_bytes, Ordering::Relaxed);
    }
}

impl<E> State<E> {
    pub(super) fn listeners(&self) -> usize {
        self.listeners
    }

    pub(super) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    pub(super) fn keeps(&self) -> bool {
        matches!(self.keeping, Keeping::All { .. })
    }

    pub(super) fn keep_up_to(&mut self, bytes: u64) {
        if let Keeping::All { max_bytes } = &mut self.keeping {
            *max_bytes = bytes;
        }
    }

    /// From now on pieces are held only until every listener has read them.
    pub(super) fn pass_through(&mut self) {
        if !self.keeps() {
            return;
        }
        self.keeping = Keeping::Window;
        for (number, piece) in self.pieces.iter_mut().enumerate() {
            let unread = |seat: &&Seat| !seat.cut && seat.next <= self.gone + number;
            piece.unread = self.seats.iter().flatten().filter(unread).count();
        }
        self.drop_read();
    }

    pub(super) fn land(&mut self, outcome: Outcome, open_until: Option<Moment>) {
        self.outcome.get_or_insert(outcome);
        self.open_until = open_until;
    }

    /// Where nobody else listens or may join, the head is the listener's own, who need not copy it.
    pub(super) fn let_go_of_head(&mut self) {
        let is_alone = self.seats.iter().flatten().count() == 1;
        if is_alone && self.open_until.is_none() && self.outcome.is_some() {
            self.outcome = Some(Outcome::Gone);
        }
    }

    /// Whether who comes at `now` may share it: before the head, or while fresh.
    pub(super) fn is_open_at(&self, now: Moment) -> bool {
        self.outcome.is_none() || self.open_until.is_some_and(|until| now < until)
    }

    /// The first end counts.
    pub(super) fn end(&mut self, end: Result<(), FlightError<E>>) {
        self.end.get_or_insert(end);
    }

    pub(super) fn kept_pieces(&self) -> Option<Vec<Bytes>> {
        self.keeps().then(|| self.pieces.iter().map(|piece| piece.bytes.clone()).collect())
    }

    /// Ready when less than the window is unread, or nobody reads.
    pub(super) fn poll_room(&mut self, window: usize, cx: &Context<'_>) -> Poll<()> {
        if self.held_bytes < window || self.listeners == 0 {
            return Poll::Ready(());
        }
        self.lead = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The same, and ready as well when one listener waits for another.
    pub(super) fn poll_room_or_held_back(&mut self, window: usize, cx: &Context<'_>) -> Poll<Room> {
        if self.poll_room(window, cx).is_ready() {
            return Poll::Ready(Room::Free);
        }
        let end = self.gone + self.pieces.len();
        let waits = self.seats.iter().flatten().any(|seat| !seat.cut && seat.next == end);
        if waits { Poll::Ready(Room::HeldBack) } else { Poll::Pending }
    }

    /// Holds nothing any more for those who lag by the window.
    pub(super) fn cut_laggards(&mut self, window: usize) {
        if self.keeps() {
            return;
        }
        for seat in self.seats.iter_mut().flatten().filter(|seat| !seat.cut) {
            let read = seat.next.saturating_sub(self.gone);
            let unread: usize = self.pieces.iter().skip(read).map(|piece| piece.bytes.len()).sum();
            if unread >= window {
                seat.cut = true;
                self.listeners -= 1;
                self.pieces.iter_mut().skip(read).for_each(|piece| piece.unread -= 1);
            }
        }
        self.drop_read();
    }

    /// Ready when nobody listens.
    pub(super) fn poll_deserted(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.listeners == 0 {
            return Poll::Ready(());
        }
        self.lead = Some(cx.waker().clone());
        Poll::Pending
    }

    /// A seat from whose place the whole body can be read: given out only before
    /// the flight leaves the board, and so before any piece is dropped.
    pub(super) fn sit(&mut self) -> usize {
        debug_assert_eq!(self.gone, 0, "joined after pieces were dropped");
        self.listeners += 1;
        let seat = Some(Seat { next: 0, waker: None, cut: false });
        match self.seats.iter().position(Option::is_none) {
            Some(free) => {
                self.seats[free] = seat;
                free
            }
            None => {
                self.seats.push(seat);
                self.seats.len() - 1
            }
        }
    }

    /// Leaves the seat; says whom to wake.
    pub(super) fn rise(&mut self, seat: usize) -> Option<Waker> {
        let Seat { next, cut, .. } = self.seats.get_mut(seat)?.take()?;
        if cut {
            return None;
        }
        self.listeners -= 1;
        if !self.keeps() {
            let read = next.saturating_sub(self.gone);
            self.pieces.iter_mut().skip(read).for_each(|piece| piece.unread -= 1);
            self.drop_read();
        }
        self.lead.take()
    }

    /// Registers for whatever comes next.
    pub(super) fn wait(&mut self, seat: usize, cx: &Context<'_>) {
        if let Some(seat) = self.seats.get_mut(seat).and_then(Option::as_mut) {
            seat.waker = Some(cx.waker().clone());
        }
    }

    fn add(&mut self, bytes: Bytes, unread: usize) {
        self.held_bytes += bytes.len();
        self.pieces.push_back(Piece { bytes, unread });
    }

    fn drop_read(&mut self) {
        while self.pieces.front().is_some_and(|piece| piece.unread == 0) {
            if let Some(piece) = self.pieces.pop_front() {
                self.gone += 1;
                self.held_bytes -= piece.bytes.len();
            }
        }
    }

    fn take_wakers(&mut self) -> SmallVec<[Waker; 2]> {
        self.seats.iter_mut().flatten().filter_map(|seat| seat.waker.take()).collect()
    }
}

impl<E: Clone> State<E> {
    pub(super) fn failure(&self) -> Option<FlightError<E>> {
        self.end.as_ref()?.as_ref().err().cloned()
    }

    /// The next piece for a seat, and whom to wake because it was read.
    pub(super) fn more(&mut self, seat: usize) -> (More<E>, Option<Waker>) {
        let Some(Some(Seat { next, cut, .. })) = self.seats.get_mut(seat) else {
            return (More::End(Ok(())), None);
        };
        if *cut {
            return (More::End(Err(FlightError::TooSlow)), None);
        }
        let number = *next - self.gone;
        let Some(piece) = self.pieces.get_mut(number) else {
            let end = self.end.clone();
            return (end.map_or(More::Wait, More::End), None);
        };
        *next += 1;
        let bytes = piece.bytes.clone();
        if self.keeps() {
            return (More::Piece(bytes), None);
        }
        self.pieces[number].unread -= 1;
        self.drop_read();
        (More::Piece(bytes), self.lead.take())
    }

    /// Whether the seat has read everything and nothing more will come.
    pub(super) fn is_done(&self, seat: usize) -> bool {
        let read = |seat: &Seat| !seat.cut && seat.next == self.gone + self.pieces.len();
        let done = self.seats.get(seat).and_then(Option::as_ref).is_none_or(read);
        done && matches!(self.end, Some(Ok(())))
    }
}
