//! What may happen to a process and its machine.

use std::time::Duration;

use proptest::prelude::*;

use super::{FLUSH, MS};

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Of this consumer, counted against these limits of the vendor's, or all.
    Ask {
        gap: u64,
        seat: usize,
        set: u8,
        up: u64,
        down: u64,
        is_lost: bool,
    },
    /// Killed, and started with these limits (and the first); or given them while it runs.
    Crash {
        gap: u64,
        dead: u64,
        is_reboot: bool,
        wall_off: i64,
        limits: u8,
    },
    Reload {
        gap: u64,
        limits: u8,
    },
}

impl Step {
    pub(super) fn gap(&self) -> u64 {
        let (Self::Ask { gap, .. } | Self::Crash { gap, .. } | Self::Reload { gap, .. }) = self;
        *gap
    }
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(prop_oneof![8 => ask(0), 1 => crash(6_000, Just(u8::MAX))], 1..60)
}

/// The same while limits come and go. Each request counts on the first, which stays: what no
/// limit counts is not remembered.
pub(super) fn coming_and_going() -> impl Strategy<Value = Vec<Step>> {
    let reload = (0u64..900, any::<u8>()).prop_map(|(gap, limits)| Step::Reload { gap: gap * MS, limits });
    prop::collection::vec(prop_oneof![12 => ask(1), 3 => crash(1_000, any::<u8>()), 1 => reload], 1..80)
}

fn ask(always: u8) -> impl Strategy<Value = Step> {
    let ask = ((0u64..900, 0usize..4, any::<u8>()), (1u64..1_000, 0u64..1_000, prop::bool::weighted(0.2)));
    ask.prop_map(move |((gap, seat, set), (up, down, is_lost))| Step::Ask {
        gap: gap * MS,
        seat,
        set: set | always,
        up: up * MS,
        down: down * MS,
        is_lost,
    })
}

fn crash(most_dead: u64, limits: impl Strategy<Value = u8>) -> impl Strategy<Value = Step> {
    let crash = (0u64..900, 1..most_dead, any::<bool>(), -900_000i64..900_000, limits);
    crash.prop_map(|(gap, dead, is_reboot, wall_off, limits)| Step::Crash {
        gap: gap * MS,
        dead: dead * MS,
        is_reboot,
        wall_off: wall_off * MS as i64,
        limits,
    })
}

/// As it is, or so long that a few requests a second make lots.
pub(super) fn ahead() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(Duration::from_nanos(FLUSH)), (500u64..4_000).prop_map(Duration::from_millis)]
}
