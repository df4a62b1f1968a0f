//! Numbers and durations between two bounds.

use std::time::Duration;

use crate::config::mistake::Walk;
use crate::config::read::Field;
use crate::config::scalar::{Lasting, spell};
use crate::config::size::{self, SizeText};

/// The smallest and the largest duration a key takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Between(pub(super) Duration, pub(super) Duration);

impl Between {
    /// For time-outs: something, and not for ever.
    pub(super) const TIMEOUT: Self = Self(Duration::from_millis(1), Duration::from_secs(3_600));
    /// For tokens: not so short that a client does nothing but renew, at most a day.
    pub(super) const TOKEN: Self = Self(Duration::from_secs(1), Duration::from_secs(86_400));
    /// For silences of a stream.
    pub(super) const SILENCE: Self = Self(Duration::from_secs(1), Duration::from_secs(7 * 86_400));
    /// For waits: none to a day.
    pub(super) const WAIT: Self = Self(Duration::ZERO, Duration::from_secs(86_400));
}

/// The duration of a key, if it lies within its bounds.
pub(super) fn duration(field: &Field<Lasting>, bounds: Between, walk: &mut Walk<'_>) -> Option<Duration> {
    let at = field.given()?;
    let Between(least, most) = bounds;
    if at.value.0 < least {
        walk.wrong(&at.place, format!("too short; write at least \"{}\"", spell(least)));
    } else if at.value.0 > most {
        walk.wrong(&at.place, format!("too long; write at most \"{}\"", spell(most)));
    }
    Some(at.value.0.clamp(least, most))
}

/// The number of a key, if it lies within its bounds.
pub(super) fn number(field: &Field<u64>, least: u64, most: u64, walk: &mut Walk<'_>) -> Option<u64> {
    let at = field.given()?;
    if !(least..=most).contains(&at.value) {
        walk.wrong(&at.place, format!("out of bounds; write a number between {least} and {most}"));
    }
    Some(at.value.clamp(least, most))
}

/// The size of a key, if it lies within its bounds.
pub(super) fn bytes(field: &Field<SizeText>, least: u64, most: u64, walk: &mut Walk<'_>) -> Option<u64> {
    let at = field.given()?;
    let bytes = at.value.0;
    if bytes < least {
        walk.wrong(&at.place, format!("too small; write at least \"{}\"", size::spell(least)));
    } else if bytes > most {
        walk.wrong(&at.place, format!("too large; write at most \"{}\"", size::spell(most)));
    }
    Some(bytes.clamp(least, most))
}
