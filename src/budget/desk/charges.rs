//! Charges without a queue, and what becomes of charges.

use std::time::Duration;

use crate::clock::{Moment, UnixTime};
use crate::quota::LimitSet;

use super::super::hierarchy::{Gate, Standing as NodeStanding};
use super::super::log::Seat;
use super::super::refusal::Refusal;
use super::{Desk, Grant, Owed};

/// A grant that is older is looked at once more before the first byte leaves.
pub(in crate::budget) const GRANT_KEEPS: Duration = Duration::from_secs(1);

/// Whether a grant that has grown old may still be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::budget) enum Standing {
    Good,
    /// From this moment on: others have left meanwhile, and the vendor wants a distance.
    From(Moment),
    /// The vendor has refused others meanwhile, and would refuse this one.
    Closed,
}

/// What is known of a request that has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::budget) struct Flight {
    /// When its first byte may have left.
    pub(in crate::budget) sent: Moment,
    /// When the vendor has counted it, as far as the operator promises.
    pub(in crate::budget) counted_by: Option<Moment>,
}

impl Desk {
    /// Charges whether it fits or not, and never waits. Tells what would have been in its way.
    pub(in crate::budget) fn charge_anyway(
        &mut self,
        seat: Seat,
        set: LimitSet,
        now: Moment,
    ) -> (Grant, Option<Refusal>) {
        self.pump(now);
        let held_up = self.held_up(seat, set, now);
        self.tallies[seat as usize].held_up += u64::from(held_up.is_some());
        (self.admit(seat, set, now, now), held_up)
    }

    /// Charges only what nobody else wants or has reserved.
    pub(in crate::budget) fn try_now(&mut self, seat: Seat, set: LimitSet, now: Moment) -> Option<Grant> {
        self.pump(now);
        self.is_spare(seat, set, now).then(|| self.admit(seat, set, now, now))
    }

    /// What a bid of `seat` alone would come to at once, where nobody has to be asked, nobody
    /// waits and nothing of it is reserved: the same, without a place in the queue.
    pub(in crate::budget) fn admit_at_once(
        &mut self,
        seat: Seat,
        set: LimitSet,
        now: Moment,
    ) -> Option<Grant> {
        self.pump(now);
        // Who waits for other limits would have to be ranked beside it.
        if self.claims.are_asked || self.waiting() > 0 || !self.is_spare(seat, set, now) {
            return None;
        }
        self.queue.served_elsewhere(seat, set, &self.books);
        Some(self.admit(seat, set, now, now))
    }

    fn is_spare(&mut self, seat: Seat, set: LimitSet, now: Moment) -> bool {
        let is_wanted = self.queue.wanted().any(|(other, _)| set.iter().any(|limit| other.contains(limit)));
        let capped =
            self.books.path(seat).iter().any(|&n| self.books.standing(n, set) == NodeStanding::Capped);
        !self.is_held_up(now) && !is_wanted && !capped && self.books.gate(set, now) == Gate::Open
    }

    /// The request never left.
    pub(in crate::budget) fn refund(&mut self, grant: Grant, now: Moment) {
        let Some(Owed { seat, set, .. }) = self.outstanding.remove(&grant.ticket) else { return };
        self.books.refund(seat, set, grant.at, now);
        self.moved(seat);
        self.pump(now);
    }

    /// All of it has been sent: tells until when it may be counted, if the operator says so.
    pub(in crate::budget) fn all_sent(&mut self, grant: Grant, now: Moment) -> Option<Moment> {
        let until = now + self.counted_within?;
        let owed = self.outstanding.get_mut(&grant.ticket)?;
        owed.is_pending = false;
        self.books.settle(owed.seat, owed.set, until);
        self.changed(now);
        Some(until)
    }

    /// Its response head has come. Gives the last moment at which it was counted.
    pub(in crate::budget) fn settle(&mut self, grant: Grant, flight: Flight, now: Moment) -> Moment {
        self.books.pacing_mut().sample(now.since(flight.sent));
        self.end(grant, flight, now, now)
    }

    /// It was given up, and may still arrive. Gives the last moment at which it may.
    pub(in crate::budget) fn lose(&mut self, grant: Grant, flight: Flight, now: Moment) -> Moment {
        let by = self.end(grant, flight, now + self.plan.linger, now);
        if flight.counted_by.is_some() {
            self.lost_until = self.lost_until.max(by);
        }
        by
    }

    /// Counted by `until`, unless it was promised to be counted earlier.
    fn end(&mut self, grant: Grant, flight: Flight, until: Moment, now: Moment) -> Moment {
        let Some(Owed { seat, set, .. }) = self.outstanding.remove(&grant.ticket) else { return until };
        let by = match flight.counted_by {
            None => {
                self.books.settle(seat, set, until);
                until
            }
            Some(promised) if promised <= until && self.counted_within.is_some() => promised,
            // The head came first, or the promise was broken meanwhile.
            Some(promised) => {
                self.books.resettle((seat, set), promised, until);
                until
            }
        };
        self.changed(now);
        by
    }

    /// How long after the last byte the vendor has counted, as far as the operator's word holds.
    pub(in crate::budget) fn counted_within(&self) -> Option<Duration> {
        self.counted_within
    }

    /// From now on a charge lasts until its head, whatever the operator promised.
    pub(in crate::budget) fn withdraw_promise(&mut self) {
        self.counted_within = None;
    }

    /// A grant that did not leave within a second is looked at again (law 1).
    pub(in crate::budget) fn look_again(&mut self, grant: Grant, now: Moment) -> Standing {
        if now.since(grant.at) <= GRANT_KEEPS {
            return Standing::Good;
        }
        let Some(Owed { set, .. }) = self.outstanding.get(&grant.ticket).copied() else {
            return Standing::Good;
        };
        if set.iter().any(|limit| self.lessons.is_closed_since(limit, grant.at, now)) {
            return Standing::Closed;
        }
        let from = set.iter().filter_map(|limit| self.books.pacing_mut().put_off(limit, grant.at, now));
        match from.max() {
            Some(at) if at > now => Standing::From(at),
            _ => Standing::Good,
        }
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

    /// As [`Desk::settle`], by an answer of which nothing is learnt.
    #[cfg(test)]
    pub(in crate::budget) fn settle_unmeasured(&mut self, grant: Grant, flight: Flight, now: Moment) {
        self.end(grant, flight, now, now);
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
        let ticket = self.fresh_id();
        self.outstanding.insert(ticket, Owed { seat, set, is_pending: true });
        Grant { seat, set, at: now, waited: now.since(since), ticket }
    }
}
