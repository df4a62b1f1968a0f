//! What the vendor tells of the account beyond what weir has sent itself.

use std::time::Duration;

use super::Desk;
use crate::budget::learn::{Blame, Closed, Closing, Others, Suspect};
use crate::clock::Moment;
use crate::quota::{LimitSet, Pace};

impl Desk {
    /// The vendor counts `used` on `limit`: what is missing here was used by others.
    /// They count as having used it just now, since nobody says when they did.
    /// Tells whether anything was missing.
    pub(in crate::budget) fn raise(&mut self, limit: usize, used: u32, now: Moment) -> bool {
        self.pump(now);
        let missing = self.used_by_others(limit, used, now, now);
        if missing > 0 && self.books.window(limit).free() == 0 {
            self.turn_away(now);
        }
        self.pump(now);
        missing > 0
    }

    /// Whether the vendor counts more on `limit` than is known here.
    pub(in crate::budget) fn lacks(&self, limit: usize, used: u32) -> bool {
        let window = self.books.window(limit);
        used.min(window.requests()) > window.used()
    }

    /// What others are thought to have used.
    pub(in crate::budget) fn others(&self) -> &Others {
        &self.others
    }

    /// How much of that still counts on `limit`.
    pub(in crate::budget) fn counted_of_others(&self, limit: usize, now: Moment) -> u32 {
        let (window, clock) = (self.books.window(limit), self.books.vendor_clock());
        let used = self.others.of(limit).iter().filter(|(until, _)| !window.is_over(*until, now, clock));
        used.map(|(_, requests)| requests).sum()
    }

    /// Until when `limit` is closed after a 429, if it is.
    pub(in crate::budget) fn closed_until(&self, limit: usize, now: Moment) -> Option<Moment> {
        let until = match self.books.window(limit).period_end(self.books.vendor_clock()) {
            None => self.books.closed(limit)?,
            Some(edge) => self.lessons.closed_until(limit, now)?.min(edge),
        };
        Some(until).filter(|&until| until > now)
    }

    /// Takes up what an earlier process knew of others.
    pub(super) fn recall_others(&mut self, limit: usize, (until, requests): (Moment, u32), now: Moment) {
        if self.books.add_others(limit, requests, until, now) {
            self.remember(limit, until, requests, now);
        }
    }

    /// Raises what is used of `limit` to `used`: others did it, by `until`. Gives what was missing.
    pub(super) fn used_by_others(&mut self, limit: usize, used: u32, until: Moment, now: Moment) -> u32 {
        let missing = self.books.raise(limit, used, until, now);
        if missing > 0 {
            self.remember(limit, until, missing, now);
        }
        missing
    }

    /// Replicas have agreed that others used so many requests by then; they are charged already.
    pub(in crate::budget) fn used_beside_us(
        &mut self,
        limit: usize,
        (until, requests): (Moment, u32),
        now: Moment,
    ) {
        self.remember(limit, until, requests, now);
    }

    fn remember(&mut self, limit: usize, until: Moment, requests: u32, now: Moment) {
        let (window, clock) = (self.books.window(limit), self.books.vendor_clock());
        self.others.add(limit, (until, requests), |until| window.is_over(until, now, clock));
        self.dirty = true;
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
        let withdrawn = self.counted_within.is_some();
        self.withdraw_promise();
        let (limit, lasts, spaced_out) = match blame {
            Blame::KnownAlready { limit } => (limit, Duration::ZERO, false),
            Blame::Close { limit, lasts, space_out } => {
                if space_out {
                    self.books.pacing_mut().even_out(limit);
                }
                self.close_window(limit, (now, now + lasts), now);
                (limit, lasts, space_out)
            }
        };
        Some(Closed { limit: self.plan.limits[limit].name.clone(), lasts, spaced_out, withdrawn })
    }

    /// The vendor closed `limit` at one moment, and nothing leaves on it before the other;
    /// others are thought to have used what was free. A calendar window stays closed until its edge: what is
    /// spent there comes back with it alone.
    fn close_window(&mut self, limit: usize, (at, open_at): (Moment, Moment), now: Moment) {
        let until = match self.books.window(limit).life() {
            Some(life) => {
                self.books.close(limit, open_at);
                open_at - life
            }
            None => at,
        };
        // Where the account is shared, all replicas are told so by its ledger.
        if !self.claims.are_asked {
            self.used_by_others(limit, self.books.window(limit).requests(), until, now);
        }
        self.turn_away(now);
        self.dirty = true;
        self.pump(now);
    }

    /// The closing of `limit` after a 429, while it lasts.
    pub(in crate::budget) fn closing(&self, limit: usize, now: Moment) -> Option<Closing> {
        let (at, open_at) = self.lessons.closing(limit)?;
        let until = match self.books.window(limit).period_end(self.books.vendor_clock()) {
            None => open_at,
            Some(edge) => open_at.min(edge),
        };
        let used_by = self.books.window(limit).life().map_or(at, |life| until - life);
        (until > now).then_some(Closing { at, until, used_by })
    }

    /// Whether `limit` is evenly spaced because a vendor's 429s have shown that it has to be.
    pub(in crate::budget) fn has_learnt_pace(&self, limit: usize) -> bool {
        self.plan.pace == Pace::Auto && self.books.pacing().is_even(limit)
    }

    /// What another replica was taught by the vendor: when it closed `limit`, and until when,
    /// if that is new, and whether it is evenly spaced since. Tells whether that is news here.
    pub(in crate::budget) fn heed(
        &mut self,
        limit: usize,
        closing: Option<(Moment, Moment)>,
        is_even: bool,
        now: Moment,
    ) -> bool {
        let is_spaced = is_even && self.suspect(limit).may_be_spaced;
        if is_spaced {
            self.books.pacing_mut().even_out(limit);
        }
        let closing = closing.filter(|(_, open_at)| *open_at > now);
        if let Some((at, open_at)) = closing {
            self.lessons.heed(limit, at, open_at);
            self.close_window(limit, (at, open_at), now);
        } else if is_spaced {
            self.turn_away(now);
            self.dirty = true;
            self.pump(now);
        }
        is_spaced || closing.is_some()
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
