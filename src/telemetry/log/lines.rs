//! Log lines on their way out: gathered here, written by a thread of their own.
//!
//! * Whoever logs never waits for whoever reads: a line is copied into a buffer, and
//!   one that finds no room there is counted as lost, and told of in the next line.
//! * Lines leave whole and in the order in which they were logged. What a write has
//!   left over is written later, so that none is torn.
//! * A line that may wait is out within [`GATHER`], or as soon as there are
//!   [`BATCH_BYTES`]; any other at once, and what came before it with it.
//! * A crash can lose what was not out yet; an end in good order calls
//!   [`Lines::flush`], and loses only what nobody takes in time.

use std::io::{self, Write};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::ACCESS;

/// What may wait, in bytes; as much again may be under way.
const MAX_WAITING_BYTES: usize = 4 << 20;
/// So many are worth a write before their time.
const BATCH_BYTES: usize = 64 << 10;
/// The longest that a line waits for others.
const GATHER: Duration = Duration::from_millis(100);
/// From a write that failed to the next try.
const RETRY: Duration = Duration::from_millis(100);

/// The way out for lines. Its clones are the same way.
#[derive(Clone, Debug)]
pub(super) struct Lines(Arc<Shared>);

/// How long a line may wait for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Haste {
    /// Up to [`GATHER`].
    Gather,
    AtOnce,
}

/// One event's line.
pub(super) struct Line<'a> {
    lines: &'a Lines,
    haste: Haste,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// For the thread that writes: there is work, or there is haste.
    work: Condvar,
    /// For who waits until all is out.
    written: Condvar,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    is_hasty: bool,
    /// Lines that found no room and were not told of yet.
    untold: u64,
    /// Bytes that were taken, and that are out.
    taken: u64,
    out: u64,
}

impl Lines {
    /// Starts the thread that writes to `out`. `tell` says how many lines were lost; it
    /// may log.
    ///
    /// # Errors
    /// No thread can be had.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        tell: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let lines = Self(Arc::default());
        let shared = Arc::clone(&lines.0);
        std::thread::Builder::new().name("log".into()).spawn(move || shared.run(out, tell))?;
        Ok(lines)
    }

    /// Takes a whole line, or loses it.
    pub(super) fn push(&self, line: &[u8], haste: Haste) {
        let mut state = self.0.state.lock();
        let before = state.waiting.len();
        if before + line.len() > MAX_WAITING_BYTES {
            state.untold += 1;
            self.0.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.waiting.extend_from_slice(line);
        state.taken = state.taken.saturating_add(count(line.len()));
        let hurries = haste == Haste::AtOnce && !mem::replace(&mut state.is_hasty, true);
        let is_batch = (before..before + line.len()).contains(&(BATCH_BYTES - 1));
        drop(state);
        // Seldom: to wake a thread costs more than all the rest of a line.
        if before == 0 || hurries || is_batch {
            self.0.work.notify_one();
        }
    }

    /// Waits until all that was taken so far is out, but not longer than `most`.
    pub(super) fn flush(&self, most: Duration) {
        let mut state = self.0.state.lock();
        let all = state.taken;
        state.is_hasty = true;
        self.0.work.notify_one();
        let _ = self.0.written.wait_while_for(&mut state, |state| state.out < all, most);
    }

    /// Lines lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// For ever.
    fn run(&self, mut out: impl Write, tell: impl Fn(u64)) {
        let mut batch = Vec::new();
        loop {
            let untold = self.gathered(&mut batch);
            if untold > 0 {
                tell(untold);
            }
            self.write(&batch, &mut out);
            batch.clear();
            if batch.capacity() > 4 * BATCH_BYTES {
                // The reader is back: what a stall has filled is given back.
                batch = Vec::new();
            }
        }
    }

    /// Waits for lines and takes them all; says how many were lost since the last time.
    fn gathered(&self, batch: &mut Vec<u8>) -> u64 {
        let mut state = self.state.lock();
        self.work.wait_while(&mut state, |state| state.waiting.is_empty());
        let may_wait = |state: &mut State| !state.is_hasty && state.waiting.len() < BATCH_BYTES;
        let _ = self.work.wait_while_for(&mut state, may_wait, GATHER);
        mem::swap(&mut state.waiting, batch);
        state.is_hasty = false;
        mem::take(&mut state.untold)
    }

    /// Tries until all of it is written: a disk may have space again, a pipe a reader.
    fn write(&self, mut rest: &[u8], out: &mut impl Write) {
        while !rest.is_empty() {
            let written = match out.write(rest) {
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => 0,
            };
            rest = &rest[written..];
            let mut state = self.state.lock();
            state.out = state.out.saturating_add(count(written));
            self.written.notify_all();
            if written == 0 {
                let _ = self.work.wait_for(&mut state, RETRY);
            }
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: self, haste: Haste::AtOnce }
    }

    /// There are as many access lines as requests, and debugging is louder still.
    fn make_writer_for(&'a self, about: &Metadata<'_>) -> Line<'a> {
        let gathers = about.target() == ACCESS || *about.level() > Level::INFO;
        Line { lines: self, haste: if gathers { Haste::Gather } else { Haste::AtOnce } }
    }
}

impl Write for Line<'_> {
    /// tracing-subscriber hands over a line at a time, and all of it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.push(line, self.haste);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
