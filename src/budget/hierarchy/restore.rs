//! Charges from before this process (DESIGN, law 8).

use crate::clock::Moment;
use crate::quota::LimitSet;

use super::super::log::Seat;
use super::super::vendor_clock::Dated;
use super::{Books, index};

impl Books {
    /// The owner of charges whose consumer the plan does not know.
    pub(in crate::budget) fn nobody(&self) -> Seat {
        index(self.home.len() - 1)
    }

    /// Charges of `limit` that are nobody's here.
    pub(in crate::budget) fn used_by_nobody(&self, limit: usize) -> u32 {
        self.used_by(self.divisions + self.nobody() as usize, limit)
    }

    /// Charges `seat` so many requests that another process sent, counted by `until` at the
    /// latest, where they still count at `now`. What comes next keeps its distance to them.
    pub(in crate::budget) fn restore(
        &mut self,
        (seat, set): (Seat, LimitSet),
        requests: u32,
        until: Moment,
        now: Moment,
    ) {
        set.iter().for_each(|limit| self.pacing.restore(limit, until.min(now)));
        self.recount((seat, set), requests, until, now);
    }

    /// The same for charges whose moment pacing knows already.
    pub(super) fn recount(
        &mut self,
        (seat, set): (Seat, LimitSet),
        requests: u32,
        until: Moment,
        now: Moment,
    ) {
        for limit in set.iter() {
            if !self.windows[limit].is_over(until, now, &self.clock) {
                self.windows[limit].restore(until, seat, requests);
                self.each_count(seat, limit, |count| *count += requests);
            }
        }
        self.hold_path(seat, now);
    }

    /// The charge [restored](Books::restore) with `assumed` was counted by `until` already.
    pub(in crate::budget) fn correct(
        &mut self,
        (seat, set): (Seat, LimitSet),
        assumed: Moment,
        until: Moment,
        now: Moment,
    ) {
        for limit in set.iter() {
            if self.windows[limit].take_out(assumed, seat) {
                self.each_count(seat, limit, |count| *count -= 1);
                self.recount((seat, [limit].into_iter().collect()), 1, until, now);
            }
        }
        self.hold_path(seat, now);
    }

    /// Charges nobody with what `limit` lacks to `used`: others used it, by `until`
    /// at the latest. Never lowers it. Gives what was missing.
    pub(in crate::budget) fn raise(&mut self, limit: usize, used: u32, until: Moment, now: Moment) -> u32 {
        let window = &self.windows[limit];
        let missing = used.min(window.requests()).saturating_sub(window.used());
        if self.add_others(limit, missing, until, now) { missing } else { 0 }
    }

    /// Charges nobody with `requests` of `limit`, used by `until`; false if they count no more.
    pub(in crate::budget) fn add_others(
        &mut self,
        limit: usize,
        requests: u32,
        until: Moment,
        now: Moment,
    ) -> bool {
        if self.windows[limit].is_over(until, now, &self.clock) {
            return false;
        }
        let nobody = self.nobody();
        self.windows[limit].restore(until, nobody, requests);
        self.each_count(nobody, limit, |count| *count += requests);
        true
    }

    /// Nothing leaves on `limit` before `until`.
    pub(in crate::budget) fn close(&mut self, limit: usize, until: Moment) {
        self.closed[limit] = self.closed[limit].max(until);
    }

    /// Until when `limit` is closed, or was.
    pub(in crate::budget) fn closed(&self, limit: usize) -> Option<Moment> {
        Some(self.closed[limit]).filter(|&until| until > Moment::ZERO)
    }

    /// Whatever is free of `limit`, one more does not leave before, if `ahead` others go first.
    pub(in crate::budget) fn not_before(&self, limit: usize, ahead: u64) -> Moment {
        let most = |of: u64| u32::try_from(of).unwrap_or(u32::MAX);
        let paced =
            self.pacing.next(limit).map(|next| next + self.pacing.gap_of(limit).saturating_mul(most(ahead)));
        let window = &self.windows[limit];
        // As it opens, a whole window's worth may leave at once, and no more.
        let rounds = most(ahead / u64::from(window.requests()));
        let life = window.life().unwrap_or_default();
        paced.unwrap_or(Moment::ZERO).max(self.closed[limit] + life.saturating_mul(rounds))
    }

    /// What is in flight is answered at `now`, and what is promised has been counted by then.
    pub(in crate::budget) fn answer_all(&mut self, now: Moment) {
        let seats = self.home.len();
        for limit in 0..self.windows.len() {
            self.windows[limit].count_all_by(now);
            if self.windows[limit].pending() == 0 {
                continue;
            }
            let mut settled = vec![0; seats];
            self.windows[limit].each_seat(|seat| settled[seat as usize] += 1);
            for (seat, settled) in settled.into_iter().enumerate() {
                for _ in settled..self.used_by(self.divisions + seat, limit) {
                    self.windows[limit].settle(now, index(seat));
                }
            }
        }
    }

    /// Takes up what an earlier process had learnt of the vendor's clock.
    pub(in crate::budget) fn recall_clock(&mut self, dated: Dated, now: Moment) {
        let shift = self.clock.recall(dated);
        self.realign(now, shift);
    }
}
