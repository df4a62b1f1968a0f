//! The books: what is used at the account, at every division and at every consumer.
//!
//! There is one log per limit, at the account; it knows the owner of each
//! charge. Divisions and consumers are plain counts over the same windows,
//! kept in step with that log, so a charge enters and leaves all of its nodes
//! in one step (DESIGN, law 2) and an idle consumer costs a few words.

mod bounds;
mod obstacle;
mod replan;
mod restore;

use std::time::Duration;

use crate::clock::{Moment, UnixTime};
use crate::quota::{LimitSet, Plan, Quantity, Scope, Window as Stretch};

use super::log::Seat;
use super::pace::Pacing;
use super::reserve::Holds;
use super::vendor_clock::{Shift, VendorClock};
use super::window::Window;

pub(super) use obstacle::{Obstacle, Place};

/// No cap.
const UNCAPPED: u32 = u32::MAX;

/// A division or a consumer: divisions first, in the plan's order, then consumers;
/// last a consumer and a division that nobody is in, who own what was charged to
/// names that the plan no longer knows.
pub(super) type NodeIndex = usize;

/// All counters of one upstream.
#[derive(Clone, Debug)]
pub(super) struct Books {
    windows: Vec<Window>,
    stretches: Vec<Stretch>,
    scopes: Vec<Scope>,
    pacing: Pacing,
    /// By limit: nothing leaves before, since the vendor has said no.
    closed: Vec<Moment>,
    holds: Holds,
    clock: VendorClock,
    divisions: usize,
    /// The division of each seat.
    home: Vec<u32>,
    /// Per node and limit: charges, the cap, and the least use that is no longer below its share.
    used: Vec<u32>,
    caps: Vec<u32>,
    fair: Vec<u32>,
    /// Seats whose counts have fallen since [`Books::take_touched`].
    touched: Vec<Seat>,
    is_touched: Vec<bool>,
}

/// Whom the account has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Anybody.
    Open,
    /// Those for whom a slot is held.
    OwnersOnly,
    /// Nobody.
    Shut,
}

/// How a node stands against its cap and its share, for some limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// A cap is full.
    Capped,
    /// Below its share on all of them.
    Below,
    /// At or over its share on one: it borrows what others leave.
    Borrowing,
}

impl Books {
    pub(super) fn new(plan: &Plan, now: Moment, wall: UnixTime) -> Self {
        Self::by(VendorClock::new(now, wall), plan, now)
    }

    fn by(clock: VendorClock, plan: &Plan, now: Moment) -> Self {
        let (limits, divisions, seats) = (plan.limits.len(), plan.divisions.len(), plan.consumers.len());
        let nodes = divisions + seats + 2;
        let windows = plan.limits.iter().map(|limit| Window::new(limit, now, &clock));
        let mut books = Self {
            windows: match plan.counted_within {
                Some(_) => windows.map(Window::count_early).collect(),
                None => windows.collect(),
            },
            stretches: plan.limits.iter().map(|limit| limit.window.clone()).collect(),
            pacing: Pacing::new(&plan.limits, plan.pace),
            closed: vec![Moment::ZERO; limits],
            holds: Holds::new(limits, nodes, nodes),
            scopes: plan.limits.iter().map(|limit| limit.scope).collect(),
            clock,
            divisions,
            home: plan.consumers.iter().map(|c| c.division).chain([nodes - 1]).map(index).collect(),
            used: vec![0; nodes * limits],
            caps: vec![UNCAPPED; nodes * limits],
            fair: vec![0; nodes * limits],
            touched: Vec::new(),
            is_touched: vec![false; seats + 1],
        };
        for (index, division) in plan.divisions.iter().enumerate() {
            books.set_up(index, &division.caps, u64::from(division.share.0) * MILLION);
            books.holds.add(index, index, &division.reserve);
        }
        for (seat, consumer) in plan.consumers.iter().enumerate() {
            let whole = u64::from(plan.divisions[consumer.division].share.0);
            books.set_up(divisions + seat, &consumer.caps, u64::from(consumer.share.0) * whole);
            books.holds.add(consumer.division, divisions + seat, &consumer.reserve);
        }
        books.hold_anew(now);
        books
    }

    /// `share` in millionths of a millionth of the account.
    fn set_up(&mut self, node: NodeIndex, caps: &[Quantity], share: u64) {
        for limit in 0..self.windows.len() {
            let whole = u128::from(self.windows[limit].requests()) * u128::from(share);
            let fair = u32::try_from(whole.div_ceil(u128::from(MILLION * MILLION))).unwrap_or(u32::MAX);
            let cell = self.cell(node, limit);
            // Whoever uses nothing is below its share, however small that is.
            self.fair[cell] = fair.max(1);
        }
        for cap in caps {
            let cell = self.cell(node, cap.limit);
            self.caps[cell] = cap.requests.get();
        }
    }

    /// Lets go of all that no longer counts at `now`.
    pub(super) fn advance(&mut self, now: Moment) {
        let limits = self.windows.len();
        for (limit, window) in self.windows.iter_mut().enumerate() {
            window.advance(now, &self.clock, |seat, charges| {
                let seat_index = seat as usize;
                self.used[self.home[seat_index] as usize * limits + limit] -= charges;
                self.used[(self.divisions + seat_index) * limits + limit] -= charges;
                if !std::mem::replace(&mut self.is_touched[seat_index], true) {
                    self.touched.push(seat);
                }
            });
        }
        for at in 0..self.touched.len() {
            self.hold_path(self.touched[at], now);
        }
        if self.holds.next_stale() <= now {
            self.holds.stale(now).into_iter().for_each(|node| self.hold(node, now));
        }
    }

    /// The seats whose counts fell by the passing of time, each once.
    pub(super) fn take_touched(&mut self) -> Vec<Seat> {
        let touched = std::mem::take(&mut self.touched);
        for &seat in &touched {
            self.is_touched[seat as usize] = false;
        }
        touched
    }

    /// Whom the account has room for on all limits of `set`.
    pub(super) fn gate(&self, set: LimitSet, now: Moment) -> Gate {
        let mut gate = Gate::Open;
        for limit in set.iter() {
            let free = self.windows[limit].free();
            if free == 0 || now < self.not_before(limit, 0) {
                return Gate::Shut;
            }
            if free <= self.holds.total(limit) {
                gate = Gate::OwnersOnly;
            }
        }
        gate
    }

    /// Whether a request of `consumer` (or, without one, of anybody in `division`)
    /// may take a held slot wherever there are only held ones.
    pub(super) fn is_covered(&self, division: NodeIndex, consumer: Option<NodeIndex>, set: LimitSet) -> bool {
        let mut tight = set.iter().filter(|&limit| self.windows[limit].free() <= self.holds.total(limit));
        tight.all(|limit| self.holds.is_covered(division, consumer, limit))
    }

    /// When the gate for `set` may open further, for anybody or for an owner, if
    /// nothing in flight is answered.
    pub(super) fn next_opening(&self, set: LimitSet, now: Moment) -> Option<Moment> {
        let (mut opening, mut owners) = (now, None::<Moment>);
        for limit in set.iter() {
            let (window, held) = (&self.windows[limit], self.holds.total(limit));
            if window.free() == 0 {
                opening = opening.max(window.next_release(&self.clock)?);
            } else if window.free() <= held {
                // Whoever's charge lapses first may be the one whose reserve covers it then.
                let release = window.next_release(&self.clock).unwrap_or(Moment::NEVER);
                let next = release.min(self.holds.next_stale());
                owners = Some(owners.map_or(next, |owners| owners.min(next)));
            }
            opening = opening.max(self.not_before(limit, 0));
        }
        // While it is shut to all, owners may go as soon as it opens; while it is open to
        // owners, the next change may be for one of them, or for all.
        Some(owners.filter(|_| opening <= now).unwrap_or(opening))
    }

    /// Charges one request of `seat` to every limit of `set` at every node, whether it fits or not.
    pub(super) fn book(&mut self, seat: Seat, set: LimitSet, now: Moment) {
        for limit in set.iter() {
            self.windows[limit].book();
            self.pacing.book(limit, now);
            self.each_count(seat, limit, |count| *count += 1);
        }
        self.hold_path(seat, now);
    }

    /// Takes back all that was booked at `booked`: the request never left.
    pub(super) fn refund(&mut self, seat: Seat, set: LimitSet, booked: Moment, now: Moment) {
        for limit in set.iter() {
            self.windows[limit].refund();
            self.pacing.refund(limit, booked);
            self.each_count(seat, limit, |count| *count -= 1);
        }
        self.hold_path(seat, now);
    }

    /// The vendor has counted it by `until` at the latest.
    pub(super) fn settle(&mut self, seat: Seat, set: LimitSet, until: Moment) {
        for limit in set.iter() {
            self.windows[limit].settle(until, seat);
        }
    }

    /// It was counted by `until`, not by the moment `assumed` when it was settled.
    pub(super) fn resettle(&mut self, (seat, set): (Seat, LimitSet), assumed: Moment, until: Moment) {
        for limit in set.iter() {
            self.windows[limit].resettle(assumed, until, seat);
        }
    }

    /// Our own wall clock reads `wall`.
    pub(super) fn follow_wall(&mut self, now: Moment, wall: UnixTime) -> Shift {
        let shift = self.clock.follow_wall(now, wall);
        self.realign(now, shift);
        shift
    }

    /// The vendor dated a response that came to an exchange from `sent` to `head`.
    pub(super) fn learn_date(&mut self, date: UnixTime, (sent, head): (Moment, Moment), now: Moment) {
        let shift = self.clock.learn(date, sent, head);
        self.realign(now, shift);
    }

    fn realign(&mut self, now: Moment, shift: Shift) {
        if shift == Shift::Large {
            self.windows.iter_mut().for_each(|window| window.realign(now, &self.clock));
            self.hold_anew(now);
        }
    }

    fn hold_path(&mut self, seat: Seat, now: Moment) {
        for node in self.path(seat) {
            self.hold(node, now);
        }
    }

    fn hold_anew(&mut self, now: Moment) {
        self.holds.owners().collect::<Vec<_>>().into_iter().for_each(|node| self.hold(node, now));
    }

    /// Works out what has to be held for `node`, if it has a reserve.
    fn hold(&mut self, node: NodeIndex, now: Moment) {
        let Some(reserve) = self.holds.reserve_of(node) else { return };
        let mut stale_at = Moment::NEVER;
        let held = (0..self.windows.len()).map(|limit| {
            let left = reserve[limit].saturating_sub(self.used_by(node, limit));
            let Some(end) = self.windows[limit].period_end(&self.clock).filter(|_| left > 0) else {
                return left;
            };
            let left_time = end.since(now).as_nanos();
            let shorter = (0..self.windows.len())
                .filter(|&short| self.stretches[short].length() < self.stretches[limit].length());
            let reach = shorter.map(|short| {
                let length = self.stretches[short].length().as_nanos();
                let most = if reserve[short] > 0 { reserve[short] } else { self.most(node, short) };
                // What is released is released for good when another whole window no longer fits.
                let in_window = u64::try_from(left_time % length).unwrap_or(u64::MAX);
                stale_at = stale_at.min(now + Duration::from_nanos(in_window.saturating_add(1)));
                let reach = u128::from(most) * (left_time / length + 1);
                reach.saturating_sub(u128::from(self.used_by(node, short)))
            });
            let reach = reach.min().unwrap_or(u128::MAX);
            left.min(u32::try_from(reach).unwrap_or(u32::MAX))
        });
        let held: smallvec::SmallVec<[u32; 8]> = held.collect();
        self.holds.set(node, &held, stale_at);
    }

    /// The most that `node` may use of `limit` in one window.
    fn most(&self, node: NodeIndex, limit: usize) -> u32 {
        self.caps[self.cell(node, limit)].min(self.windows[limit].requests())
    }

    /// How `node` stands on the limits of `set`.
    pub(super) fn standing(&self, node: NodeIndex, set: LimitSet) -> Standing {
        self.standing_after(node, set, 0)
    }

    /// The same, had it used so many more.
    pub(super) fn standing_after(&self, node: NodeIndex, set: LimitSet, more: u32) -> Standing {
        let used = |limit: usize| self.used_by(node, limit) + more;
        if set.iter().any(|limit| used(limit) >= self.caps[self.cell(node, limit)]) {
            Standing::Capped
        } else if set.iter().all(|limit| used(limit) < self.fair[self.cell(node, limit)]) {
            Standing::Below
        } else {
            Standing::Borrowing
        }
    }

    /// When the oldest charge of `limit` lapses.
    pub(super) fn next_release(&self, limit: usize) -> Option<Moment> {
        self.windows[limit].next_release(&self.clock)
    }

    pub(super) fn window(&self, limit: usize) -> &Window {
        &self.windows[limit]
    }

    pub(super) fn vendor_clock(&self) -> &VendorClock {
        &self.clock
    }

    pub(super) fn limits(&self) -> usize {
        self.windows.len()
    }

    pub(super) fn used_by(&self, node: NodeIndex, limit: usize) -> u32 {
        self.used[self.cell(node, limit)]
    }

    /// The most that `node` may take of `limit`, if it is capped.
    pub(super) fn cap_of(&self, node: NodeIndex, limit: usize) -> Option<u32> {
        Some(self.caps[self.cell(node, limit)]).filter(|&cap| cap != UNCAPPED)
    }

    /// The nodes below the account that a request of `seat` is charged to.
    pub(super) fn path(&self, seat: Seat) -> [NodeIndex; 2] {
        [self.home[seat as usize] as usize, self.divisions + seat as usize]
    }

    /// The consumer that `node` is.
    pub(super) fn seat(&self, node: NodeIndex) -> Seat {
        Seat::try_from(node - self.divisions).expect("consumers are numbered by Seat")
    }

    pub(super) fn holds(&self) -> &Holds {
        &self.holds
    }

    pub(super) fn pacing(&self) -> &Pacing {
        &self.pacing
    }

    pub(super) fn pacing_mut(&mut self) -> &mut Pacing {
        &mut self.pacing
    }

    /// Whether `node` has used up its cap on `limit`.
    #[cfg(test)]
    pub(super) fn capped(&self, node: NodeIndex, limit: usize) -> bool {
        let cell = self.cell(node, limit);
        self.used[cell] >= self.caps[cell]
    }

    fn each_count(&mut self, seat: Seat, limit: usize, mut change: impl FnMut(&mut u32)) {
        for node in self.path(seat) {
            let cell = self.cell(node, limit);
            change(&mut self.used[cell]);
        }
    }

    fn cell(&self, node: NodeIndex, limit: usize) -> usize {
        node * self.windows.len() + limit
    }
}

fn index(node: NodeIndex) -> u32 {
    u32::try_from(node).unwrap_or(u32::MAX)
}

const MILLION: u64 = 1_000_000;
