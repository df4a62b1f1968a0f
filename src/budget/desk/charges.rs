//! Charges without a queue, and what becomes of charges.

use crate::clock::{Moment, UnixTime};
use crate::quota::LimitSet;

use super::super::hierarchy::{Gate, Standing};
use super::super::log::Seat;
use super::{Desk, Grant};

/// What is known of a request that has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::budget) struct Flight {
    /// When its first byte may have left.
    pub(in crate::budget) sent: Moment,
    /// When the vendor has counted it, as far as the operator promises.
    pub(in crate::budget) counted_by: Option<Moment>,
}

impl Desk {
    /// Charges whether it fits or not, and never waits.
    pub(in crate::budget) fn charge_anyway(&mut self, seat: Seat, set: LimitSet, now: Moment) -> Grant {
        self.pump(now);
        self.admit(seat, set, now, now)
    }

    /// Charges only what nobody else wants or has reserved.
    pub(in crate::budget) fn try_now(&mut self, seat: Seat, set: LimitSet, now: Moment) -> Option<Grant> {
        self.pump(now);
        let is_wanted = self.queue.wanted().any(|(other, _)| set.iter().any(|limit| other.contains(limit)));
        let capped = self.books.path(seat).iter().any(|&n| self.books.standing(n, set) == Standing::Capped);
        let spare = !self.is_held_up(now) && !is_wanted && !capped && self.books.gate(set, now) == Gate::Open;
        spare.then(|| self.admit(seat, set, now, now))
    }

    /// The request never left.
    pub(in crate::budget) fn refund(&mut self, grant: Grant, now: Moment) {
        self.books.refund(grant.seat, grant.set, grant.at, now);
        self.moved(grant.seat);
        self.pump(now);
    }

    /// All of it has been sent: tells until when it may be counted, if the operator says so.
    pub(in crate::budget) fn all_sent(&mut self, grant: Grant, now: Moment) -> Option<Moment> {
        let until = now + self.plan.counted_within?;
        self.books.settle(grant.seat, grant.set, until);
        self.changed(now);
        Some(until)
    }

    /// Its response head has come.
    pub(in crate::budget) fn settle(&mut self, grant: Grant, flight: Flight, now: Moment) {
        self.books.pacing_mut().sample(now.since(flight.sent));
        match flight.counted_by {
            None => self.books.settle(grant.seat, grant.set, now),
            Some(later) if now < later => self.books.settle_earlier((grant.seat, grant.set), later, now),
            Some(_) => {}
        }
        self.changed(now);
    }

    /// It was given up, and may still arrive.
    pub(in crate::budget) fn lose(&mut self, grant: Grant, flight: Flight, now: Moment) {
        if flight.counted_by.is_none() {
            self.books.settle(grant.seat, grant.set, now + self.plan.linger);
        }
        self.changed(now);
    }

    /// The vendor dated the answer to an exchange from `sent` to `head`.
    pub(in crate::budget) fn learn_date(&mut self, date: UnixTime, sent: Moment, head: Moment, now: Moment) {
        self.books.learn_date(date, (sent, head), now);
        self.place_undated(now);
        self.changed(now);
    }

    /// From now on the requests on `limit` keep their distance.
    pub(in crate::budget) fn space_out(&mut self, limit: usize, now: Moment) {
        self.books.pacing_mut().even_out(limit);
        self.changed(now);
    }

    #[cfg(test)]
    pub(in crate::budget) fn teach_latency(&mut self, latency: std::time::Duration) {
        self.books.pacing_mut().sample(latency);
    }

    fn changed(&mut self, now: Moment) {
        self.dirty = true;
        self.pump(now);
    }

    pub(super) fn admit(&mut self, seat: Seat, set: LimitSet, since: Moment, now: Moment) -> Grant {
        self.books.book(seat, set, now);
        self.moved(seat);
        self.tallies[seat as usize].admitted += 1;
        Grant { seat, set, at: now, waited: now.since(since), ticket: self.fresh_id() }
    }
}
