//! One limit of the account: how much of it is used, and when it comes back.
//!
//! The vendor counts a request at some unknown moment between the first byte
//! sent and the head received (DESIGN, law 1). So a charge is *pending* from
//! before the send until its head, and is then logged with `until`, the last
//! moment at which it can have been counted. From there:
//! * sliding: it lapses at `until` + W + slack, and with it out of every window
//!   of length W that ends later, wherever the vendor's windows begin;
//! * calendar: it falls out at the first edge that lies wholly after `until`.
//!   Around an edge whose moment is uncertain the old period's charges still
//!   count and new ones already do, so both periods stay within the limit.

use std::time::Duration;

use crate::clock::{Moment, UnixTime};
use crate::quota::{self, Calendar, Limit};

use super::log::{Log, Seat};
use super::vendor_clock::VendorClock;

/// Edges that a forecast looks ahead; beyond that it stays a lower bound.
const EDGES_AHEAD: usize = 16;

/// The state of one limit.
#[derive(Clone, Debug)]
pub(super) struct Window {
    requests: u32,
    rule: Rule,
    pending: u32,
    log: Log,
    /// A logged moment may yet turn out earlier (`counted_within`).
    counts_early: bool,
}

#[derive(Clone, Debug)]
enum Rule {
    Sliding {
        /// W + slack.
        life: Duration,
    },
    Calendar {
        calendar: Calendar,
        /// The first edge that may not have passed yet.
        edge: UnixTime,
    },
}

impl Window {
    pub(super) fn new(limit: &Limit, now: Moment, clock: &VendorClock) -> Self {
        let requests = limit.requests.get();
        let nanos = u64::try_from(limit.window.length().as_nanos()).unwrap_or(u64::MAX);
        let rule = match &limit.window {
            quota::Window::Sliding(length) => Rule::Sliding { life: *length + limit.slack },
            quota::Window::Calendar(calendar) => {
                Rule::Calendar { calendar: calendar.clone(), edge: calendar.next_edge(clock.at_least(now)) }
            }
        };
        Self { requests, rule, pending: 0, log: Log::new(requests, nanos), counts_early: false }
    }

    /// Logged moments are promises, which a head may still undercut.
    pub(super) fn count_early(mut self) -> Self {
        self.counts_early = true;
        self
    }

    pub(super) fn requests(&self) -> u32 {
        self.requests
    }

    /// Charges that count now, pending ones included.
    pub(super) fn used(&self) -> u32 {
        self.pending + self.log.charges()
    }

    pub(super) fn free(&self) -> u32 {
        self.requests.saturating_sub(self.used())
    }

    /// Lets go of what no longer counts at `now`; tells whose it was.
    pub(super) fn advance(&mut self, now: Moment, clock: &VendorClock, mut gone: impl FnMut(Seat, u32)) {
        match &mut self.rule {
            Rule::Sliding { life } => {
                while let Some((seat, charges)) = self.log.pop_if(|until| until + *life <= now) {
                    gone(seat, charges);
                }
            }
            Rule::Calendar { calendar, edge } => loop {
                let (first, last) = clock.around(*edge);
                if now < last {
                    return;
                }
                while let Some((seat, charges)) = self.log.pop_if(|until| until < first) {
                    gone(seat, charges);
                }
                // After a long idle time there is no need to visit every edge.
                let from = if self.log.charges() == 0 { clock.at_least(now).max(*edge) } else { *edge };
                *edge = calendar.next_edge(from);
            },
        }
    }

    /// Looks up the next edge anew, after the vendor's clock was found elsewhere than thought.
    pub(super) fn realign(&mut self, now: Moment, clock: &VendorClock) {
        if let Rule::Calendar { calendar, edge } = &mut self.rule {
            *edge = calendar.next_edge(clock.at_least(now)).min(*edge);
        }
    }

    /// One request may leave from now on.
    pub(super) fn book(&mut self) {
        self.pending += 1;
    }

    /// It never left.
    pub(super) fn refund(&mut self) {
        self.pending -= 1;
    }

    /// It left, and was counted by `until` at the latest.
    pub(super) fn settle(&mut self, until: Moment, seat: Seat) {
        self.pending -= 1;
        self.log.insert(until, seat);
    }

    /// It was counted by `until`, and not by the moment that was `assumed`. What has lapsed has lapsed.
    pub(super) fn resettle(&mut self, assumed: Moment, until: Moment, seat: Seat) {
        if self.log.remove(assumed, seat) {
            self.log.insert(until, seat);
        }
    }

    /// Whether a charge that was counted by `until` at the latest counts no more at `now`.
    pub(super) fn is_over(&self, until: Moment, now: Moment, clock: &VendorClock) -> bool {
        match &self.rule {
            Rule::Sliding { life } => until + *life <= now,
            Rule::Calendar { calendar, .. } => {
                let mut edge = calendar.next_edge(clock.at_least(until));
                if clock.around(edge).0 <= until {
                    edge = calendar.next_edge(edge);
                }
                clock.around(edge).1 <= now
            }
        }
    }

    /// Charges that this process did not book.
    pub(super) fn restore(&mut self, until: Moment, seat: Seat, charges: u32) {
        self.log.insert_many(until, seat, charges);
    }

    /// Takes out a logged charge; false if it has lapsed.
    pub(super) fn take_out(&mut self, until: Moment, seat: Seat) -> bool {
        self.log.remove(until, seat)
    }

    /// Every settled charge with its owner, oldest first.
    pub(super) fn charges(&self) -> impl Iterator<Item = (Moment, Seat)> {
        self.log.iter()
    }

    /// When something comes back even if nothing in flight is answered.
    pub(super) fn next_release(&self, clock: &VendorClock) -> Option<Moment> {
        match &self.rule {
            Rule::Sliding { life } => self.log.nth(0).map(|until| until + *life),
            Rule::Calendar { edge, .. } => Some(clock.around(*edge).1),
        }
    }

    /// The first moment at which the edge before the present period may have been; none
    /// for sliding windows.
    pub(super) fn last_edge(&self, now: Moment, clock: &VendorClock) -> Option<Moment> {
        let Rule::Calendar { calendar, .. } = &self.rule else { return None };
        // A period is at most a tenth longer than its length: months are counted as 30 days.
        let mut edge = calendar.next_edge(clock.at_least(now) - calendar_reach(calendar));
        let mut last = None;
        while clock.around(edge).1 <= now {
            last = Some(clock.around(edge).0);
            edge = calendar.next_edge(edge);
        }
        last
    }

    /// When all of it has come back, if nothing new is charged and what is in flight is answered now.
    pub(super) fn all_back(&self, now: Moment, clock: &VendorClock) -> Moment {
        match &self.rule {
            _ if self.used() == 0 => now,
            Rule::Sliding { life } => {
                let settled = self.log.newest().map_or(now, |until| until + *life);
                if self.pending > 0 { settled.max(now + *life) } else { settled }
            }
            Rule::Calendar { edge, .. } => clock.around(*edge).1,
        }
    }

    /// The last moment at which the current period may end; none for sliding windows.
    pub(super) fn period_end(&self, clock: &VendorClock) -> Option<Moment> {
        match &self.rule {
            Rule::Sliding { .. } => None,
            Rule::Calendar { edge, .. } => Some(clock.around(*edge).1),
        }
    }

    /// The earliest moment for one more request if `ahead` others go first, all as
    /// early as they can, and everything in flight is answered now.
    pub(super) fn slot(&self, ahead: u64, now: Moment, clock: &VendorClock) -> Moment {
        let claims = Claims {
            most: self.requests,
            pending: self.pending,
            settled: self.log.charges(),
            nth: |earlier| self.log.nth(earlier).map(|until| self.earliest(until, now)),
        };
        self.slot_among(&claims, ahead, now, clock)
    }

    /// The same for a node that may take `cap` of this limit and uses `used`, all
    /// of them charges of seats that are `mine`.
    pub(super) fn slot_below(
        &self,
        (cap, used): (u32, u32),
        mine: impl Fn(Seat) -> bool,
        ahead: u64,
        (now, clock): (Moment, &VendorClock),
    ) -> Moment {
        let untils: Vec<_> =
            self.log.iter().filter(|(_, seat)| mine(*seat)).map(|(until, _)| until).collect();
        let settled = u32::try_from(untils.len()).unwrap_or(u32::MAX);
        let claims = Claims {
            most: cap,
            pending: used.saturating_sub(settled),
            settled,
            nth: |earlier: usize| untils.get(earlier).map(|&until| self.earliest(until, now)),
        };
        self.slot_among(&claims, ahead, now, clock)
    }

    /// W + slack; none for calendar windows.
    pub(super) fn life(&self) -> Option<Duration> {
        match &self.rule {
            Rule::Sliding { life } => Some(*life),
            Rule::Calendar { .. } => None,
        }
    }

    /// Charges in flight of which nobody has promised when they are counted.
    pub(super) fn pending(&self) -> u32 {
        self.pending
    }

    /// Tells the owner of each settled charge.
    pub(super) fn each_seat(&self, mut tell: impl FnMut(Seat)) {
        self.log.iter().for_each(|(_, seat)| tell(seat));
    }

    /// What is only promised to be counted later has been counted by `now`.
    pub(super) fn count_all_by(&mut self, now: Moment) {
        if self.counts_early {
            let later: Vec<_> = self.log.iter().filter(|(until, _)| *until > now).collect();
            later.into_iter().for_each(|(until, seat)| self.resettle(until, now, seat));
        }
    }

    /// Settled charges in the order in which they lapse at the earliest, with the moment.
    pub(super) fn lapses(&self, now: Moment) -> impl Iterator<Item = (Moment, Seat)> {
        let life = self.life().unwrap_or(Duration::MAX);
        self.log.iter().map(move |(until, seat)| (self.earliest(until, now) + life, seat))
    }

    fn earliest(&self, until: Moment, now: Moment) -> Moment {
        if self.counts_early { until.min(now) } else { until }
    }

    fn slot_among<F: Fn(usize) -> Option<Moment>>(
        &self,
        claims: &Claims<F>,
        ahead: u64,
        now: Moment,
        clock: &VendorClock,
    ) -> Moment {
        let free = u64::from(claims.most.saturating_sub(claims.used()));
        if ahead < free {
            return now;
        }
        match &self.rule {
            Rule::Sliding { life } => claims.sliding_slot(ahead, now, *life),
            Rule::Calendar { calendar, edge } => {
                let (mut edge, mut ahead) = (*edge, ahead - free);
                let (first, last) = clock.around(edge);
                match ahead.checked_sub(u64::from(claims.fresh_after(first, now))) {
                    Some(left) => ahead = left,
                    None => return last,
                }
                for _ in 0..EDGES_AHEAD {
                    edge = calendar.next_edge(edge);
                    match ahead.checked_sub(u64::from(claims.most)) {
                        Some(left) => ahead = left,
                        None => break,
                    }
                }
                clock.around(edge).1
            }
        }
    }
}

fn calendar_reach(calendar: &Calendar) -> Duration {
    quota::Window::Calendar(calendar.clone()).length() * 2
}

/// The charges of one node on one limit.
struct Claims<F> {
    most: u32,
    pending: u32,
    settled: u32,
    /// The settled ones' last moments, in order.
    nth: F,
}

impl<F: Fn(usize) -> Option<Moment>> Claims<F> {
    fn used(&self) -> u32 {
        self.pending + self.settled
    }

    fn sliding_slot(&self, ahead: u64, now: Moment, life: Duration) -> Moment {
        let (all, used) = (u64::from(self.most), u64::from(self.used()));
        let (rounds, turn) = (ahead / all, ahead % all);
        let free = all.saturating_sub(used);
        let slot = |turn: u64| {
            if turn < free {
                return now;
            }
            // Charged beyond the limit (observe, learning): the excess has to lapse first.
            let earlier = turn - free + used.saturating_sub(all);
            self.nth_until(usize::try_from(earlier).unwrap_or(usize::MAX), now) + life
        };
        // A lost request may be counted long after now; whoever goes first may be over before it.
        let first = slot(turn).min(slot(0) + life);
        first + life.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX))
    }

    /// The `earlier + 1`-th of the moments by which charges are counted, those in flight now.
    fn nth_until(&self, earlier: usize, now: Moment) -> Moment {
        let pending = self.pending as usize;
        match (self.nth)(earlier) {
            Some(until) if until <= now => until,
            _ => match earlier.checked_sub(pending).and_then(&self.nth) {
                Some(until) => until.max(now),
                None => now,
            },
        }
    }

    /// How many slots the edge that begins at `first` opens.
    fn fresh_after(&self, first: Moment, now: Moment) -> u32 {
        let in_flight = if now < first { 0 } else { self.pending };
        let settled = self.settled as usize;
        let (mut low, mut high) = (0, settled);
        while low < high {
            let middle = low + (high - low) / 2;
            if (self.nth)(middle).is_some_and(|until| until < first) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        let carried = u32::try_from(settled - low).unwrap_or(u32::MAX);
        self.most.saturating_sub(in_flight.saturating_add(carried))
    }
}
