//! Another plan's limits on what was written under earlier ones: pure (DESIGN, law 8).
//!
//! A record names the limits of its day, and is kept for as long as they look back. A limit
//! that comes later counts it from then on, and may look back further. That is written into
//! the record itself, in one transaction with the note of which limits the file has seen: so
//! the next process finds it there, whatever comes and goes until then, and a crash before
//! that transaction leaves the limit as new as it was.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::keep;
use super::record::Record;
use crate::budget::eras;
use crate::id::{LimitName, UpstreamName};
use crate::quota::{Limit, LimitSet, Plan};

/// What a plan asks of the records of earlier ones.
#[derive(Clone, Debug)]
pub(in crate::budget) struct Renewal {
    pub(super) upstream: UpstreamName,
    limits: Vec<Counts>,
}

#[derive(Clone, Debug)]
struct Counts {
    limit: LimitName,
    /// How long after it was counted a charge can count on it.
    keep: Duration,
    /// What does not name it counts on it, too.
    all: bool,
}

/// The renewals since a plan, as they come: for what is yet to be written under it.
#[derive(Clone, Debug, Default)]
pub(super) struct Later(Arc<OnceLock<(Renewal, Later)>>);

impl Renewal {
    /// For a plan whose limits `news` count everything.
    pub(in crate::budget) fn new(upstream: &UpstreamName, plan: &Plan, news: LimitSet) -> Self {
        let counts = |(index, limit): (usize, &Limit)| Counts {
            limit: limit.name.clone(),
            keep: keep(plan, [index].into_iter().collect()),
            all: news.contains(index),
        };
        Self { upstream: upstream.clone(), limits: plan.limits.iter().enumerate().map(counts).collect() }
    }

    /// For a plan that follows while the process runs: what both have, and with the same
    /// meaning, counts what it did.
    pub(in crate::budget) fn between(upstream: &UpstreamName, old: &Plan, new: &Plan) -> Self {
        let is_common = |limit: &Limit| {
            old.limits.iter().any(|known| known.name == limit.name && eras::is_covered(limit, known))
        };
        let news = new.limits.iter().enumerate().filter(|(_, limit)| !is_common(limit));
        Self::new(upstream, new, news.map(|(index, _)| index).collect())
    }

    /// Gives whether anything has changed.
    pub(in crate::budget) fn renew(&self, record: &mut Record) -> bool {
        let before = (record.limits.len(), record.keep);
        for Counts { limit, keep, all } in &self.limits {
            let is_named = record.limits.contains(limit);
            if *all && !is_named {
                record.limits.push(limit.clone());
            }
            if *all || is_named {
                record.keep = record.keep.max(*keep);
            }
        }
        before != (record.limits.len(), record.keep)
    }
}

impl Later {
    /// The next plan begins; gives what comes after that.
    pub(super) fn begin(&self, renewal: Renewal) -> Self {
        self.0.get_or_init(|| (renewal, Self::default())).1.clone()
    }

    pub(super) fn renew(&self, record: &mut Record) {
        let mut next = self.0.get();
        while let Some((renewal, later)) = next {
            renewal.renew(record);
            next = later.0.get();
        }
    }
}
