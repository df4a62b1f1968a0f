//! The books under another plan: charges keep their owners and their moments.

use std::collections::BTreeMap;

use crate::clock::{Moment, UnixTime};
use crate::quota::{LimitSet, Plan};

use super::super::eras::{Map, is_covered};
use super::super::log::Seat;
use super::Books;

impl Books {
    /// Everything settled, for the second of two plans. A limit that the first did
    /// not have, or that counts more than it did, is charged with every charge that
    /// is known: one that has several limits is in all of their logs with the same
    /// owner and moment, so the most there is of it in any log is how often it was made.
    pub(in crate::budget) fn replanned(
        &self,
        (old, new): (&Plan, &Plan),
        map: &Map,
        (now, wall): (Moment, UnixTime),
    ) -> Self {
        let mut clock = self.clock.clone();
        clock.follow_wall(now, wall);
        let mut books = Self::by(clock, new, now);
        books.pacing = self.pacing.replanned(&new.limits, new.pace, map);
        for limit in 0..new.limits.len() {
            if let Some(before) = map.limit_before(limit) {
                books.closed[limit] = self.closed[before];
            }
        }
        let mut all = None;
        for (limit, is) in new.limits.iter().enumerate() {
            let known = map.limit_before(limit).filter(|&before| is_covered(is, &old.limits[before]));
            let charges = match known {
                Some(before) => &count(self.windows[before].charges()),
                None => all.get_or_insert_with(|| self.all_charges()),
            };
            let nobody = books.nobody();
            let set: LimitSet = [limit].into_iter().collect();
            for (&(until, seat), &charges) in charges {
                let seat = map.seat(seat).unwrap_or(nobody);
                books.recount((seat, set), charges, until, now);
            }
        }
        books
    }

    /// Charges what is in flight; its moments for pacing are known already.
    pub(in crate::budget) fn rebook(&mut self, seat: Seat, set: LimitSet) {
        for limit in set.iter() {
            self.windows[limit].book();
            self.each_count(seat, limit, |count| *count += 1);
        }
    }

    /// Works out anew what has to be held for everybody.
    pub(in crate::budget) fn hold_all(&mut self, now: Moment) {
        self.hold_anew(now);
    }

    fn all_charges(&self) -> BTreeMap<(Moment, Seat), u32> {
        let mut all = BTreeMap::new();
        for window in &self.windows {
            for (charge, times) in count(window.charges()) {
                let known = all.entry(charge).or_insert(0);
                *known = times.max(*known);
            }
        }
        all
    }
}

fn count(charges: impl Iterator<Item = (Moment, Seat)>) -> BTreeMap<(Moment, Seat), u32> {
    let mut counts = BTreeMap::new();
    charges.for_each(|charge| *counts.entry(charge).or_insert(0) += 1);
    counts
}
