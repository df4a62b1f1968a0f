//! What the vendor teaches one replica, all of them heed (see `budget::learn`).

use super::super::wire::{Lesson, Report, Taught};
use super::*;

/// What is still to be told, and what has been heard.
#[derive(Debug, Default)]
pub(super) struct Lessons {
    /// Limits of which something was learnt here.
    untold: BTreeSet<usize>,
    /// By limit: what the vendor counts. Of no use a moment later.
    reports: BTreeMap<usize, u32>,
    /// By limit: the last closing that is known here, on Redis's clock.
    heard: BTreeMap<usize, u64>,
}

impl Lessons {
    pub(super) fn are_untold(&self) -> bool {
        !self.untold.is_empty() || !self.reports.is_empty()
    }

    pub(super) fn tell_again(&mut self, limits: BTreeSet<usize>) {
        self.untold.extend(limits);
    }

    /// Another epoch may know nothing of it, nor of its times.
    pub(super) fn forget_heard(&mut self) {
        self.heard.clear();
    }
}

impl Replica {
    /// The vendor has refused a request, and `limit` was blamed.
    pub(in crate::budget) fn teach(&mut self, limit: usize) {
        self.lessons.untold.insert(limit);
    }

    /// The vendor counts more on `limit` than is known here.
    pub(in crate::budget) fn report(&mut self, limit: usize, used: u32) {
        self.lessons.reports.insert(limit, used);
    }

    pub(super) fn tell_lessons(
        &mut self,
        request: &mut Request,
        way: &mut UnderWay,
        desk: &Desk,
        now: Moment,
    ) {
        let Some(skew) = self.skew else { return };
        let reports = std::mem::take(&mut self.lessons.reports);
        let report = |(limit, used): (usize, u32)| Report { key: self.keys[limit].clone(), used };
        request.reports = reports.into_iter().map(report).collect();
        way.taught = match self.phase {
            Phase::Joining => (0..self.keys.len()).collect(),
            Phase::Stranger | Phase::Member { .. } => std::mem::take(&mut self.lessons.untold),
        };
        for &limit in &way.taught {
            let (closing, even) = (desk.closing(limit, now), desk.has_learnt_pace(limit));
            let [closed, opens, used_by] = match closing {
                Some(closing) => [closing.at, closing.until, closing.used_by].map(|at| skew.at_most(at)),
                None if even => [0; 3],
                None => continue,
            };
            if closed > 0 {
                self.lessons.heard.insert(limit, closed);
            }
            request.lessons.push(Lesson { key: self.keys[limit].clone(), closed, opens, used_by, even });
        }
    }

    /// What any of them has learnt.
    pub(super) fn heed(
        &mut self,
        desk: &mut Desk,
        (taught, is_broken): (Vec<Taught>, bool),
        now: Moment,
    ) -> Vec<Fact> {
        let Some(skew) = self.skew else { return Vec::new() };
        let mut facts = Vec::new();
        if is_broken && desk.counted_within().is_some() {
            desk.withdraw_promise();
            facts.push(Fact::PromiseBroken);
        }
        for Taught { key, closed, opens, even } in taught {
            let Some(limit) = self.keys.iter().position(|known| *known == key) else { continue };
            let known = self.lessons.heard.entry(limit).or_default();
            let is_new = closed > *known;
            *known = closed.max(*known);
            let closing = is_new.then(|| (skew.latest(closed), skew.latest(opens)));
            if desk.heed(limit, closing, even, now) {
                let name = self.limits[limit].name.clone();
                facts.push(Fact::Taught { limit: name, closing, even });
            }
        }
        facts
    }
}
