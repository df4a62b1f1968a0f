//! How many requests of a kind come in a period.

use std::time::Duration;

use crate::clock::Moment;

/// How many have come in this period and in the two before.
#[derive(Debug)]
pub(super) struct Pace {
    since: Moment,
    now: u32,
    before: [u32; 2],
}

impl Pace {
    pub(super) fn new(now: Moment) -> Self {
        Self { since: now, now: 0, before: [0; 2] }
    }

    pub(super) fn count(&mut self, at: Moment, period: Duration) {
        let gone = at.since(self.since);
        if gone >= period {
            self.before = match gone {
                gone if gone < period * 2 => [self.now, self.before[0]],
                gone if gone < period * 3 => [0, self.now],
                _ => [0; 2],
            };
            self.now = 0;
            self.since = if gone < period * 2 { self.since + period } else { at };
        }
        self.now += 1;
    }

    /// How many a period needs, if it is as the last two: one burst books nothing ahead.
    pub(super) fn need(&self) -> u32 {
        self.before[0].min(self.before[1])
    }

    pub(super) fn is_quiet(&self, now: Moment, period: Duration) -> bool {
        now.since(self.since) >= period * 3
    }
}
