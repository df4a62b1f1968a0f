//! The books: what is used at the account, at every division and at every consumer.
//!
//! There is one log per limit, at the account; it knows the owner of each
//! charge. Divisions and consumers are plain counts over the same windows,
//! kept in step with that log, so a charge enters and leaves all of its nodes
//! in one step (DESIGN, law 2) and an idle consumer costs a few words.

use std::time::Duration;

use crate::clock::{Moment, UnixTime};
use crate::quota::{LimitSet, Plan, Quantity, Scope};

use super::log::Seat;
use super::refusal::Node;
use super::vendor_clock::{Shift, VendorClock};
use super::window::Window;

/// No cap.
const UNCAPPED: u32 = u32::MAX;

/// A division or a consumer: divisions first, in the plan's order, then consumers.
pub(super) type NodeIndex = usize;

/// All counters of one upstream.
#[derive(Clone, Debug)]
pub(super) struct Books {
    windows: Vec<Window>,
    scopes: Vec<Scope>,
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

/// What stands in a request's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Obstacle {
    pub(super) place: Place,
    pub(super) limit: usize,
}

/// At which level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Account,
    Node(NodeIndex),
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
        let clock = VendorClock::new(now, wall);
        let (limits, divisions, seats) = (plan.limits.len(), plan.divisions.len(), plan.consumers.len());
        let cells = (divisions + seats) * limits;
        let mut books = Self {
            windows: plan.limits.iter().map(|limit| Window::new(limit, now, &clock)).collect(),
            scopes: plan.limits.iter().map(|limit| limit.scope).collect(),
            clock,
            divisions,
            home: plan.consumers.iter().map(|c| u32::try_from(c.division).unwrap_or(u32::MAX)).collect(),
            used: vec![0; cells],
            caps: vec![UNCAPPED; cells],
            fair: vec![0; cells],
            touched: Vec::new(),
            is_touched: vec![false; seats],
        };
        for (index, division) in plan.divisions.iter().enumerate() {
            books.set_up(index, &division.caps, u64::from(division.share.0) * MILLION);
        }
        for (seat, consumer) in plan.consumers.iter().enumerate() {
            let whole = u64::from(plan.divisions[consumer.division].share.0);
            books.set_up(divisions + seat, &consumer.caps, u64::from(consumer.share.0) * whole);
        }
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
    }

    /// The seats whose counts fell by the passing of time, each once.
    pub(super) fn take_touched(&mut self) -> Vec<Seat> {
        let touched = std::mem::take(&mut self.touched);
        for &seat in &touched {
            self.is_touched[seat as usize] = false;
        }
        touched
    }

    /// The first thing that keeps a request of `seat` on `set` from leaving now, account first.
    pub(super) fn obstacle(&self, seat: Seat, set: LimitSet) -> Option<Obstacle> {
        let account = self.account_full(set).map(|limit| Obstacle { place: Place::Account, limit });
        account.or_else(|| {
            self.path(seat).into_iter().find_map(|node| {
                let limit = set.iter().find(|&limit| self.capped(node, limit))?;
                Some(Obstacle { place: Place::Node(node), limit })
            })
        })
    }

    /// A limit of `set` of which the account has none left.
    pub(super) fn account_full(&self, set: LimitSet) -> Option<usize> {
        set.iter().find(|&limit| self.windows[limit].free() == 0)
    }

    /// Charges one request of `seat` to every limit of `set` at every node, whether it fits or not.
    pub(super) fn book(&mut self, seat: Seat, set: LimitSet) {
        for limit in set.iter() {
            self.windows[limit].book();
            self.each_count(seat, limit, |count| *count += 1);
        }
    }

    /// Takes all of it back: the request never left.
    pub(super) fn refund(&mut self, seat: Seat, set: LimitSet) {
        for limit in set.iter() {
            self.windows[limit].refund();
            self.each_count(seat, limit, |count| *count -= 1);
        }
    }

    /// The vendor has counted it by `until` at the latest.
    pub(super) fn settle(&mut self, seat: Seat, set: LimitSet, until: Moment) {
        for limit in set.iter() {
            self.windows[limit].settle(until, seat);
        }
    }

    /// It was counted by `until` already, not only by `later` as assumed when it was settled.
    pub(super) fn settle_earlier(&mut self, seat: Seat, set: LimitSet, later: Moment, until: Moment) {
        for limit in set.iter() {
            self.windows[limit].settle_earlier(later, until, seat);
        }
    }

    /// Our own wall clock reads `wall`.
    pub(super) fn follow_wall(&mut self, now: Moment, wall: UnixTime) {
        let shift = self.clock.follow_wall(now, wall);
        self.realign(now, shift);
    }

    /// The vendor dated a response that came to an exchange from `sent` to `head`.
    pub(super) fn learn_date(&mut self, date: UnixTime, sent: Moment, head: Moment, now: Moment) {
        let shift = self.clock.learn(date, sent, head);
        self.realign(now, shift);
    }

    fn realign(&mut self, now: Moment, shift: Shift) {
        if shift == Shift::Large {
            self.windows.iter_mut().for_each(|window| window.realign(now, &self.clock));
        }
    }

    /// How `node` stands on the limits of `set`.
    pub(super) fn standing(&self, node: NodeIndex, set: LimitSet) -> Standing {
        if set.iter().any(|limit| self.capped(node, limit)) {
            Standing::Capped
        } else if set.iter().all(|limit| self.used_by(node, limit) < self.fair[self.cell(node, limit)]) {
            Standing::Below
        } else {
            Standing::Borrowing
        }
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

    pub(super) fn division_of(&self, seat: Seat) -> NodeIndex {
        self.home[seat as usize] as usize
    }

    /// Whose limit `obstacle` is, in the operator's words.
    pub(super) fn name(&self, obstacle: Obstacle, plan: &Plan) -> Node {
        match obstacle.place {
            Place::Account if self.scopes[obstacle.limit] == Scope::Address => Node::Address,
            Place::Account => Node::Account,
            Place::Node(node) if node < self.divisions => Node::Division(plan.divisions[node].name.clone()),
            Place::Node(node) => Node::Consumer(plan.consumers[node - self.divisions].name.clone()),
        }
    }

    fn capped(&self, node: NodeIndex, limit: usize) -> bool {
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

const MILLION: u64 = 1_000_000;

/// How long an answer may still be counted once it was given up.
pub(super) fn counted_until(give_up: Moment, linger: Duration) -> Moment {
    give_up + linger
}
