//! Walks that were refused half way, so that their retries go on from there.
//!
//! Pages go stale while a walk waits for its turn: a list of fifty pages takes
//! minutes at twenty a minute, and each page may be fresh for half a minute alone.
//! So a retry takes the pages that were stored since its first attempt began, for
//! as long as it keeps coming back. A walk that was finished begins anew.

use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Moment;
use crate::consumer::ConsumerIx;
use crate::target::Target;

/// Walks remembered; of more the oldest are forgotten, and pay again.
const MAX_WALKS: usize = 256;
/// How old a page of a walk may become.
const MAX_AGE: Duration = Duration::from_secs(15 * 60);

/// Those of one upstream.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Begun(Mutex<Vec<Unfinished>>);

#[derive(Debug)]
struct Unfinished {
    consumer: ConsumerIx,
    target: Target,
    since: Moment,
}

impl Begun {
    /// When the walk began that this one goes on with.
    pub(super) fn since(&self, consumer: ConsumerIx, target: &Target, now: Moment) -> Option<Moment> {
        let mut walks = self.0.lock();
        walks.retain(|walk| now.since(walk.since) <= MAX_AGE);
        walks.iter().find(|walk| walk.is(consumer, target)).map(|walk| walk.since)
    }

    /// The walk that began at `since` was refused.
    pub(super) fn remember(&self, consumer: ConsumerIx, target: Target, since: Moment) {
        let mut walks = self.0.lock();
        walks.retain(|walk| !walk.is(consumer, &target));
        if walks.len() >= MAX_WALKS {
            walks.remove(0);
        }
        walks.push(Unfinished { consumer, target, since });
    }

    /// The walk has come to its end.
    pub(super) fn forget(&self, consumer: ConsumerIx, target: &Target) {
        self.0.lock().retain(|walk| !walk.is(consumer, target));
    }
}

impl Unfinished {
    fn is(&self, consumer: ConsumerIx, target: &Target) -> bool {
        self.consumer == consumer && self.target == *target
    }
}
