//! Walks that were refused or given up half way, so that their retries go on from there.
//!
//! Pages go stale while a walk waits for its turn: a list of fifty pages takes
//! minutes at twenty a minute, and each page may be fresh for half a minute alone.
//! So a retry takes the pages that were stored since its first attempt began, for
//! as long as it keeps coming back. A walk that was finished begins anew.

use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Moment;
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
    /// The consumer's place in the plan.
    seat: usize,
    target: Target,
    since: Moment,
}

/// One attempt at a walk. Dropped before its end, because it was refused or its caller
/// has hung up, it is remembered.
#[derive(Debug)]
#[must_use = "what is dropped at once is remembered as unfinished"]
pub(super) struct Attempt<'a> {
    begun: &'a Begun,
    /// None once it has come to its end.
    walk: Option<Unfinished>,
    /// From when on a stored page counts as one of this walk, if it is a retry.
    pub(super) since: Option<Moment>,
}

impl Begun {
    /// An attempt that begins now, or goes on where an earlier one was.
    pub(super) fn attempt(&self, seat: usize, target: Target, now: Moment) -> Attempt<'_> {
        let mut walks = self.0.lock();
        walks.retain(|walk| now.since(walk.since) <= MAX_AGE);
        let since = walks.iter().find(|walk| walk.is(seat, &target)).map(|walk| walk.since);
        drop(walks);
        let walk = Unfinished { seat, target, since: since.unwrap_or(now) };
        Attempt { begun: self, walk: Some(walk), since }
    }

    fn forget(&self, of: &Unfinished) {
        self.0.lock().retain(|walk| !walk.is(of.seat, &of.target));
    }

    fn remember(&self, walk: Unfinished) {
        self.forget(&walk);
        let mut walks = self.0.lock();
        if walks.len() >= MAX_WALKS {
            walks.remove(0);
        }
        walks.push(walk);
    }
}

impl Attempt<'_> {
    /// There is nothing to go on with: the next one begins anew.
    pub(super) fn finish(mut self) {
        if let Some(walk) = self.walk.take() {
            self.begun.forget(&walk);
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(walk) = self.walk.take() {
            self.begun.remember(walk);
        }
    }
}

impl Unfinished {
    fn is(&self, seat: usize, target: &Target) -> bool {
        self.seat == seat && self.target == *target
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Moment {
        Moment::ZERO + Duration::from_secs(secs)
    }

    fn target(path: &str) -> Target {
        Target::parse(path, None).unwrap()
    }

    #[test]
    fn an_attempt_that_is_dropped_is_gone_on_with_and_one_that_ends_is_not() {
        let begun = Begun::default();
        let attempt = |path: &str, secs| begun.attempt(0, target(path), at(secs));
        assert_eq!(attempt("/a", 10).since, None);
        assert_eq!(attempt("/a", 70).since, Some(at(10)));
        assert_eq!(attempt("/b", 70).since, None, "another list");
        assert_eq!(begun.attempt(1, target("/a"), at(70)).since, None, "another's");
        attempt("/a", 130).finish();
        assert_eq!(attempt("/a", 131).since, None);
        assert_eq!(attempt("/a", 131 + 15 * 60 + 1).since, None, "too long ago");
    }

    #[test]
    fn only_so_many_are_remembered() {
        let begun = Begun::default();
        for n in 0..=MAX_WALKS {
            drop(begun.attempt(0, target(&format!("/{n}")), at(1)));
        }
        assert_eq!(begun.0.lock().len(), MAX_WALKS);
    }
}
