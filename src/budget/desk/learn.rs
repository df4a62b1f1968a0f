//! What the vendor tells of the account beyond what weir has sent itself.

use std::time::Duration;

use super::Desk;
use crate::budget::learn::{Blame, Closed, Suspect};
use crate::clock::Moment;
use crate::quota::{LimitSet, Pace};

impl Desk {
    /// The vendor counts `used` on `limit`: what is missing here was used by others.
    /// They count as having used it just now, since nobody says when they did.
    pub(in crate::budget) fn raise(&mut self, limit: usize, used: u32, now: Moment) {
        self.pump(now);
        self.books.raise(limit, used, now, now);
        self.dirty = true;
        self.pump(now);
    }

    /// The vendor has refused a request that was sent at `sent` and counts against `set`.
    pub(in crate::budget) fn refused_by_vendor(
        &mut self,
        set: LimitSet,
        sent: Moment,
        retry_after: Option<Duration>,
        now: Moment,
    ) -> Option<Closed> {
        self.pump(now);
        let mut suspects: Vec<Suspect> = set.iter().map(|limit| self.suspect(limit)).collect();
        suspects.sort_by_key(|suspect| suspect.length);
        let blame = self.lessons.blame(&suspects, sent, retry_after, now)?;
        let (limit, lasts, spaced_out) = match blame {
            Blame::KnownAlready { limit } => (limit, Duration::ZERO, false),
            Blame::Close { limit, lasts, space_out } => {
                if space_out {
                    self.books.pacing_mut().even_out(limit);
                }
                self.close_window(limit, lasts, now);
                (limit, lasts, space_out)
            }
        };
        Some(Closed { limit: self.plan.limits[limit].name.clone(), lasts, spaced_out })
    }

    /// Nothing of `limit` is free before `lasts` is over. A calendar window stays
    /// closed until its edge: what is spent there comes back with it alone.
    fn close_window(&mut self, limit: usize, lasts: Duration, now: Moment) {
        let until = match self.books.window(limit).life() {
            Some(life) => (now + lasts) - life,
            None => now,
        };
        self.books.spend(limit, until, now);
        self.dirty = true;
        self.pump(now);
    }

    fn suspect(&self, limit: usize) -> Suspect {
        let window = self.books.window(limit);
        let nobodys = self.books.used_by_nobody(limit);
        Suspect {
            limit,
            length: self.plan.limits[limit].window.length(),
            is_well_used: (window.used() - nobodys.min(window.used())) * 2 >= window.requests(),
            may_be_spaced: self.plan.pace == Pace::Auto
                && window.life().is_some()
                && window.requests() > 1
                && !self.books.pacing().is_even(limit),
        }
    }
}
