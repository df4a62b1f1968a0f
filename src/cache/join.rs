//! One fetch for any number of callers who want the same at the same time
//! ("collapsed forwarding").
//!
//! The first caller becomes the leader and spawns the fetch as a task of its own,
//! which owns the [`Lead`]; every caller, the leader too, only holds a
//! [`Listener`]. So nobody who leaves kills what others wait for, and a fetch
//! that was paid for goes on when all have left. What a join can race with, and
//! who wins, is told above [`Flights`]' methods.
//!
//! Memory: while an answer may be kept, its whole body is, once, whatever the
//! number and pace of listeners: slow readers slow only themselves. Past its
//! `max_bytes` (or all flights' [`FlightLimits::max_kept_bytes`]), or when it is
//! uncacheable, only a window is, and a lone listener sets the pace. Of several, who
//! has read everything waits for those who lag by the window, for
//! [`FlightLimits::patience`] in all; then they are cut off ([`FlightError::TooSlow`]).
//! Locks are taken board before flight, and none is held over an await.

mod alone;
mod flight;
mod listener;
mod pace;

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use self::alone::Alone;
use self::flight::{Flight, Outcome};
use super::Head;
use super::entry::{Body, EntryArc};
use super::key::{FlightKey, Hashed, Selector};
use super::policy::Fate;
use crate::clock::{Clock, Moment};

pub use self::listener::{FlightError, Landing, Listener};

/// All fetches under way. `T` is what the callers of one flight share (their
/// bids for it), `E` why a fetch failed.
pub struct Flights<T, E> {
    board: Arc<Board<T, E>>,
}

/// How much the flights may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlightLimits {
    /// Flights that can be joined at one time; those beyond fly alone.
    pub max_flights: usize,
    /// Bytes of bodies on their way to the cache, over all flights.
    pub max_kept_bytes: u64,
    /// Bytes per flight that cannot be kept.
    pub window_bytes: usize,
    /// How long an uncacheable key is remembered.
    pub remember_alone: Duration,
    /// How long the readers of one flight wait for slower ones, all in all.
    pub patience: Duration,
}

/// What joining made of a caller. `H` is what the second look finds.
pub enum Joined<T, E, H> {
    /// The answer has landed meanwhile.
    Found(H),
    /// Nobody fetches this: spawn the fetch with the lead, and listen.
    Leader(Lead<T, E>, Listener<T, E>),
    /// Somebody does: listen.
    Follower(Listener<T, E>),
}

/// The fetching side of a flight; dropping it unfinished tells the listeners that
/// the fetch died.
#[must_use = "dropping the lead ends the flight"]
pub struct Lead<T, E> {
    board: Arc<Board<T, E>>,
    flight: Arc<Flight<T, E>>,
    key: FlightKey,
    on_board: bool,
    patience_left: Duration,
}

/// What became of a piece of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is kept, for the cache and every listener.
    Kept,
    /// It was handed to the listeners; the body will not be kept.
    Passed,
    /// It will not be kept and nobody listens: stop reading.
    Nobody,
}

/// The flights that can be joined.
struct Board<T, E> {
    open: Mutex<Open<T, E>>,
    alone: Alone,
    kept_bytes: Arc<AtomicU64>,
    limits: FlightLimits,
    /// Without one, the slowest listener always sets the pace.
    clock: Option<Clock>,
}

type Open<T, E> = HashMap<FlightKey, Arc<Flight<T, E>>, Hashed>;

impl Default for FlightLimits {
    fn default() -> Self {
        Self {
            max_flights: 65_536,
            max_kept_bytes: 256 * 1024 * 1024,
            window_bytes: 256 * 1024,
            remember_alone: Duration::from_secs(120),
            patience: Duration::from_secs(1),
        }
    }
}

// Races, and who wins:
//
// * **Landing and joining.** 1. A looks up: miss. 2. B's fetch is stored, then
//   its flight taken off the board. 3. A joins, finds no flight, would fetch
//   again. So `join` looks once more under the board's lock; since B stored
//   before it took that lock, A finds the entry ([`Joined::Found`]).
// * **The last leaves, one joins.** 1. [`Lead::deserted`] sees no listener. 2. C
//   joins. 3. The fetch gives up with C on board. So step 1 is repeated under the
//   board's lock, and there the flight also leaves the board: C either was seen
//   or starts anew.
// * **An uncacheable head and joining.** The flight leaves the board first, then
//   its head is published: whoever joined did so before the head and is served,
//   nobody joins after. Where that will not change, the key is remembered for a
//   while and the next callers each fly alone, so that they do not queue up
//   behind each other for nothing.
// * **A long body and its freshness.** An answer may become stale while it
//   streams. A caller who comes then begins a flight of his own, which takes the
//   place of the old one on the board.
// * **A task aborted anywhere.** Dropping the [`Lead`] takes the flight off the
//   board (by identity: a successor in its place stays) and tells the
//   listeners, whose bodies then end in an error, not in silence.

impl<T, E: Clone> Flights<T, E> {
    /// None under way; the slowest listener sets the pace.
    #[must_use]
    pub fn new(limits: FlightLimits) -> Self {
        Self::begun(limits, None)
    }

    /// None under way; patience with slow listeners is measured by `clock`.
    #[must_use]
    pub fn timed(limits: FlightLimits, clock: Clock) -> Self {
        Self::begun(limits, Some(clock))
    }

    fn begun(limits: FlightLimits, clock: Option<Clock>) -> Self {
        let (open, alone, kept_bytes) = (Mutex::default(), Alone::default(), Arc::default());
        Self { board: Arc::new(Board { open, alone, kept_bytes, limits, clock }) }
    }

    /// Joins the flight for `key`, or begins it. `again` is the second look into
    /// the cache, `make` the start of what the callers share; both are called
    /// under a lock, at most once, and must not come back here.
    pub fn join<H>(
        &self,
        key: &FlightKey,
        now: Moment,
        again: impl FnOnce() -> Option<H>,
        make: impl FnOnce() -> T,
    ) -> Joined<T, E, H> {
        let alone = self.board.alone.is_known(key.quick(), now);
        let mut open = self.board.open.lock();
        let joinable = |flight: &&Arc<Flight<T, E>>| !alone && flight.state().is_open_at(now);
        if let Some(flight) = open.get(key).filter(joinable) {
            return Joined::Follower(Listener::aboard(flight.clone(), false));
        }
        if let Some(found) = again() {
            return Joined::Found(found);
        }
        let on_board = !alone && open.len() < self.board.limits.max_flights;
        let (lead, listener) = self.begin(key, make(), on_board);
        if on_board {
            open.insert(key.clone(), lead.flight.clone());
        }
        Joined::Leader(lead, listener)
    }

    /// A flight that nobody joins, for a caller who may not share.
    pub fn alone(&self, key: &FlightKey, shared: T) -> (Lead<T, E>, Listener<T, E>) {
        self.begin(key, shared, false)
    }

    /// Lets nobody join the flights that the selector means any more: what they
    /// will bring may be older than a write. Says how many.
    pub fn shut(&self, selector: &Selector) -> usize {
        let mut open = self.board.open.lock();
        let before = open.len();
        open.retain(|flight, _| !selector.selects(flight.key().text()));
        before - open.len()
    }

    /// How many flights can be joined.
    #[must_use]
    pub fn len(&self) -> usize {
        self.board.open.lock().len()
    }

    /// Whether none can.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of bodies that flights hold on their way to the cache.
    #[must_use]
    pub fn kept_bytes(&self) -> u64 {
        self.board.kept_bytes.load(Ordering::Relaxed)
    }

    fn begin(&self, key: &FlightKey, shared: T, on_board: bool) -> (Lead<T, E>, Listener<T, E>) {
        let flight = Arc::new(Flight::new(shared, self.board.kept_bytes.clone()));
        let listener = Listener::aboard(flight.clone(), true);
        let patience_left = self.board.limits.patience;
        (Lead { board: self.board.clone(), flight, key: key.clone(), on_board, patience_left }, listener)
    }
}

impl<T, E> Clone for Flights<T, E> {
    fn clone(&self) -> Self {
        Self { board: self.board.clone() }
    }
}

impl<T, E> fmt::Debug for Flights<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flights({} open)", self.board.open.lock().len())
    }
}

impl<T, E: Clone> Lead<T, E> {
    /// What the callers of this flight share.
    #[must_use]
    pub fn shared(&self) -> &T {
        self.flight.shared()
    }

    /// Whether others can join it.
    #[must_use]
    pub fn is_on_board(&self) -> bool {
        self.on_board
    }

    /// How many listen.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.flight.state().listeners()
    }

    /// Resolves when nobody listens any more; from then on nobody joins either.
    /// For a fetch that has not been paid for. Safe to drop and call again.
    pub async fn deserted(&mut self) {
        loop {
            poll_fn(|cx| self.flight.state().poll_deserted(cx)).await;
            if self.leave_if_deserted() {
                return;
            }
        }
    }

    /// Publishes the response head.
    pub fn head(&mut self, head: Head, fate: Fate, now: Moment) {
        if fate.lasting {
            self.board.alone.insert(self.key.quick(), now + self.board.limits.remember_alone);
        } else if fate.open_until.is_some() {
            self.board.alone.remove(self.key.quick());
        }
        if fate.open_until.is_none() {
            self.leave_board();
        }
        let outcome = Outcome::Head { head: Arc::new(head), followers: fate.followers };
        self.flight.tell(|state| {
            match fate.keep_bytes {
                Some(max_bytes) => state.keep_up_to(max_bytes),
                None => state.pass_through(),
            }
            state.land(outcome, fate.open_until);
        });
    }

    /// Hands on a piece of the body. Waits only if the body cannot be kept and the
    /// slowest listener lags by the window. Dropped while waiting, the piece is
    /// lost: drop the lead then, too.
    pub async fn push(&mut self, piece: Bytes) -> Pushed {
        if self.flight.state().keeps() {
            if self.flight.keep(&piece, self.board.limits.max_kept_bytes) {
                return Pushed::Kept;
            }
            // Off the board first: whoever joins must get the body from its start.
            self.leave_board();
            self.flight.tell(flight::State::pass_through);
        }
        self.room().await;
        self.flight.pass(piece)
    }

    /// The whole body, if it was kept: what was handed on, and `tail`, which will be. To be
    /// stored before that, and before [`Lead::finish`], so that no caller finds neither
    /// flight nor entry.
    #[must_use]
    pub fn body(&self, tail: &[Bytes]) -> Option<Body> {
        let mut pieces = self.flight.state().kept_pieces()?;
        // Copied, as what was handed on is: a piece is a part of the buffer that it was read into.
        pieces
            .extend(tail.iter().filter(|piece| !piece.is_empty()).map(|piece| Bytes::copy_from_slice(piece)));
        Some(Body::of(pieces))
    }

    /// The body is complete.
    pub fn finish(mut self) {
        self.end(|state| state.end(Ok(())));
    }

    /// The answer is this stored entry (a 304 has renewed it): each listener
    /// answers its own caller from it.
    pub fn land(mut self, entry: EntryArc) {
        self.end(|state| {
            state.land(Outcome::Entry(entry), None);
            state.end(Ok(()))
        });
    }

    /// The fetch failed, before its head or within its body.
    pub fn fail(mut self, error: E) {
        self.end(|state| state.end(Err(FlightError::Failed(error))));
    }
}

impl<T, E> Lead<T, E> {
    fn end(&mut self, end: impl FnOnce(&mut flight::State<E>)) {
        self.leave_board();
        self.flight.tell(end);
    }

    fn leave_board(&mut self) {
        if std::mem::take(&mut self.on_board) {
            let mut open = self.board.open.lock();
            self.remove_from(&mut open);
        }
    }

    fn leave_if_deserted(&mut self) -> bool {
        let mut open = self.board.open.lock();
        let deserted = self.flight.state().listeners() == 0;
        if deserted && std::mem::take(&mut self.on_board) {
            self.remove_from(&mut open);
        }
        deserted
    }

    /// By identity: a successor may have taken the place, see "Races".
    #[expect(
        clippy::mutable_key_type,
        reason = "the hash that a key works out late is no part of what it is"
    )]
    fn remove_from(&self, open: &mut Open<T, E>) {
        if open.get(&self.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            open.remove(&self.key);
        }
    }
}

impl<T, E> Drop for Lead<T, E> {
    fn drop(&mut self) {
        // After `finish` and its like this changes nothing.
        self.end(|state| state.end(Err(FlightError::Abandoned)));
    }
}

impl<T, E> fmt::Debug for Lead<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lead(on_board: {})", self.on_board)
    }
}

impl<T, E, H: fmt::Debug> fmt::Debug for Joined<T, E, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found(found) => write!(f, "Found({found:?})"),
            Self::Leader(..) => f.write_str("Leader"),
            Self::Follower(_) => f.write_str("Follower"),
        }
    }
}

#[cfg(test)]
mod tests;
