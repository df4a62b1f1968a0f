//! The one place where time is read.
//!
//! Everything that decides takes `now` as an argument; everything that waits
//! does so through [`Clock`]. Under `tokio::time::pause` a [`Clock::virtual_at`]
//! follows tokio's hand-turned clock, so tests never sleep for real.
//!
//! Two kinds of time, never mixed:
//! * [`Moment`]: monotone nanoseconds of this process. Intervals, lapses and
//!   deadlines are measured in it. [`Clock::present`] relates it to a clock that
//!   outlives the process, for what is written to disk.
//! * [`UnixTime`]: the wall's nanoseconds since 1970-01-01T00:00:00Z. It may
//!   step; only calendar edges, dates in headers and logs use it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use rustix::time::ClockId;
use tokio::time::{Instant, Sleep};

/// Nanoseconds on the monotone clock of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

/// Nanoseconds since 1970-01-01T00:00:00Z, as this machine's wall clock has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u64);

/// One boot of one machine: within it, moments of different processes compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootId(pub [u8; 16]);

/// Now, on this process's clock and on the one that outlives it.
#[derive(Clone, Copy, Debug)]
pub struct Present {
    /// On this process's clock.
    pub now: Moment,
    /// Nanoseconds since the machine was booted, sleep included (`CLOCK_BOOTTIME`).
    pub since_boot: u64,
    /// Which boot that was.
    pub boot: BootId,
}

/// Reads both clocks and sleeps on the monotone one. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    /// What the clock reads at its origin, in nanoseconds.
    base: u64,
    wall: Wall,
}

/// A clock of the machine starts here, so that what was done before this process
/// has a moment too: longer than any window lasts.
const PAST: Duration = Duration::from_secs(400 * 86_400);

#[derive(Clone, Copy, Debug)]
enum Wall {
    /// Ask the machine each time: it may step, and we want to see that. `monotone` is
    /// what its monotone clock read at the origin, in nanoseconds.
    Machine { monotone: u64 },
    /// This time at the origin, going on with tokio's clock.
    Virtual(UnixTime),
}

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub fn system() -> Self {
        let origin = instant_now();
        // After it, so that `lately` is never later than now.
        let monotone = read(ClockId::Monotonic);
        Self { origin, base: nanos(PAST), wall: Wall::Machine { monotone } }
    }

    /// A clock whose wall reads `start` now and moves with tokio's clock only.
    #[must_use]
    pub fn virtual_at(start: UnixTime) -> Self {
        Self { origin: instant_now(), base: 0, wall: Wall::Virtual(start) }
    }

    /// Monotone time.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment(self.base.saturating_add(nanos(self.age())))
    }

    /// Now or up to a few milliseconds before, as the kernel noted it at its last tick:
    /// for what is looked at many times per request and matters by the second.
    #[must_use]
    pub fn lately(&self) -> Moment {
        match self.wall {
            Wall::Machine { monotone } => {
                let age = read(ClockId::MonotonicCoarse).saturating_sub(monotone);
                Moment(self.base.saturating_add(age))
            }
            Wall::Virtual(_) => self.now(),
        }
    }

    /// Now, also on the machine's clock that goes on while processes come and go.
    #[must_use]
    pub fn present(&self, boot: BootId) -> Present {
        let since_boot = match self.wall {
            Wall::Machine { .. } => read(ClockId::Boottime),
            Wall::Virtual(_) => nanos(self.age()),
        };
        Present { now: self.now(), since_boot, boot }
    }

    /// The wall's time.
    #[must_use]
    pub fn wall(&self) -> UnixTime {
        match self.wall {
            Wall::Machine { .. } => UnixTime::machine_now(),
            Wall::Virtual(start) => start + self.age(),
        }
    }

    /// Waits until `at`; returns at once if it has passed.
    pub async fn sleep_until(&self, at: Moment) {
        tokio::time::sleep_until(self.instant(at)).await;
    }

    /// `at` on tokio's own scale, for its timers.
    #[must_use]
    pub fn instant(&self, at: Moment) -> Instant {
        self.origin + Duration::from_nanos(at.0.saturating_sub(self.base))
    }

    /// Since this clock was made.
    fn age(&self) -> Duration {
        instant_now().saturating_duration_since(self.origin)
    }
}

impl BootId {
    /// This machine's present boot; `None` where the kernel does not say, and then
    /// nothing that an earlier process wrote can be compared with now.
    #[must_use]
    pub fn of_this_machine() -> Option<Self> {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
        u128::from_str_radix(&digits, 16).ok().map(|id| Self(id.to_be_bytes()))
    }

    /// The same, or where the kernel does not say one that no other process has.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn of_this_machine_or_new() -> std::io::Result<Self> {
        if let Some(boot) = Self::of_this_machine() {
            return Ok(boot);
        }
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(std::io::Error::other)?;
        Ok(Self(id))
    }
}

/// Notices that something which should go on has stood still for too long: a
/// body, a write. It costs one timer while it waits, and none while things move.
#[derive(Debug)]
pub struct Silence {
    clock: Clock,
    limit: Duration,
    /// Kept when things move on again: a timer is reset more cheaply than made.
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Silence {
    /// Silence may last for `limit` at a time.
    #[must_use]
    pub fn new(clock: Clock, limit: Duration) -> Self {
        Self { clock, limit, timer: None, waiting: false }
    }

    /// Something moved: the next silence begins with the next poll.
    pub fn broken(&mut self) {
        self.waiting = false;
    }

    /// Ready once it has been silent for the whole limit; the first poll after
    /// something moved is where the silence begins.
    pub fn poll_too_long(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.waiting {
            let at = self.clock.instant(self.clock.now() + self.limit);
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(at),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(at))),
            }
            self.waiting = true;
        }
        if let Some(timer) = &mut self.timer {
            ready!(timer.as_mut().poll(cx));
        }
        self.waiting = false;
        Poll::Ready(())
    }
}

impl Moment {
    /// The beginning of all moments.
    pub const ZERO: Self = Self(0);
    /// Later than anything a clock will say.
    pub const NEVER: Self = Self(u64::MAX);

    /// `nanos` after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl UnixTime {
    /// `nanos` after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// `secs` after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The same instant for libraries that speak `SystemTime` (HTTP dates).
    #[must_use]
    pub fn to_system(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.0)
    }

    /// From a library's `SystemTime`; before 1970 counts as 1970.
    #[must_use]
    pub fn from_system(at: SystemTime) -> Self {
        Self(nanos(at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()))
    }

    #[allow(clippy::disallowed_methods, reason = "the one place where the wall is read")]
    fn machine_now() -> Self {
        Self::from_system(SystemTime::now())
    }
}

impl fmt::Display for UnixTime {
    /// RFC 3339 in UTC with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = jiff::Timestamp::from_nanosecond(i128::from(self.0)).map_err(|_| fmt::Error)?;
        write!(f, "{at:.3}")
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos(by)))
    }
}

impl std::ops::Sub<Duration> for Moment {
    type Output = Self;
    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(by)))
    }
}

impl std::ops::Add<Duration> for UnixTime {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos(by)))
    }
}

impl std::ops::Sub<Duration> for UnixTime {
    type Output = Self;
    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(by)))
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place where the monotone clock is read")]
fn instant_now() -> Instant {
    Instant::now()
}

fn read(clock: ClockId) -> u64 {
    let at = rustix::time::clock_gettime(clock);
    let (secs, nanos) = (u64::try_from(at.tv_sec).unwrap_or(0), u64::try_from(at.tv_nsec).unwrap_or(0));
    secs.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Durations beyond 584 years are clipped to it.
fn nanos(of: Duration) -> u64 {
    u64::try_from(of.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn virtual_wall_follows_tokio() {
        let clock = Clock::virtual_at(UnixTime::from_secs(86_400));
        clock.sleep_until(clock.now() + Duration::from_secs(5)).await;
        assert_eq!(clock.wall().as_secs(), 86_405);
        assert_eq!(clock.now().since(Moment::ZERO), Duration::from_secs(5));
        assert_eq!(clock.wall().to_string(), "1970-01-02T00:00:05.000Z");
    }

    #[test]
    fn lately_is_not_long_ago() {
        let clock = Clock::system();
        for _ in 0..1_000 {
            let (before, lately, after) = (clock.now(), clock.lately(), clock.now());
            assert!(lately <= after, "{lately:?} {after:?}");
            // Milliseconds; a machine that stands still for a while does not tick meanwhile.
            assert!(before.since(lately) < Duration::from_secs(1), "{lately:?} {before:?}");
        }
    }
}
