//! Who asks, and what goes wrong meanwhile.

use std::time::Duration;

#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) gap: Duration,
    pub(super) replica: usize,
    pub(super) seat: usize,
    pub(super) up: Duration,
    pub(super) down: Duration,
    pub(super) fate: Fate,
    pub(super) set: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Answered,
    Lost,
    NeverSent,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Flush,
    Snapshot,
    Restore,
    Crash(usize),
    /// It begins anew as a version of weir with this schema.
    Version(usize, u32),
    Cut(usize, Duration),
    Freeze(Duration),
    ClockBack(Duration),
    ClockForward(Duration),
}
