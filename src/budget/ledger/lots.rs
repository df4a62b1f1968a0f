//! Requests that are booked together: pure (DESIGN, law 8).
//!
//! A *lot* is one record of several requests of one kind. It holds whoever came while
//! the file was being written; and where the same have come for a while, places booked
//! ahead, as many as a period needs, so that they wait for no disk: but never more than a
//! small part of what they count against. At a few requests a second a lot is one.
//!
//! * What is booked and not ended is pending in the file until the lot's last request
//!   will have been given up. A crash forfeits the places that nobody has taken; they are
//!   given back when two periods have gone by, or the ledger is closed.
//! * What has ended is written anew, with all that ended within a period of it: it then
//!   counts from the last of them.

mod pace;
mod renew;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use self::pace::Pace;
use super::record::{Record, Stamp, State};
use crate::budget::log::Seat;
use crate::clock::{Moment, Present, UnixTime};
use crate::id::UpstreamName;
use crate::quota::LimitSet;

/// Number of a record of this process, from 1.
pub(in crate::budget) type Ticket = u64;

/// Kinds that are known although nothing of theirs is under way, before the quiet ones are forgotten.
const MAX_QUIET: usize = 1_024;

/// What has to be the same for requests to be booked together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::budget) struct Kind {
    /// The budget and its plan, by the number of its link.
    pub(in crate::budget) link: u64,
    pub(in crate::budget) seat: Seat,
    pub(in crate::budget) set: LimitSet,
}

/// What is written of each request of a kind.
#[derive(Clone, Debug)]
pub(in crate::budget) struct Form {
    pub(in crate::budget) upstream: UpstreamName,
    pub(in crate::budget) record: Record,
    /// The most places that are booked ahead: what a crash may forfeit.
    pub(in crate::budget) most_ahead: u32,
}

/// By when a request that is booked now will have been given up.
#[derive(Clone, Copy, Debug)]
pub(in crate::budget) struct Horizon {
    pub(in crate::budget) longest: Duration,
    /// The most that the vendor's clock reads now.
    pub(in crate::budget) vendor: Option<UnixTime>,
}

/// A place in a lot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::budget) struct Taken {
    pub(in crate::budget) lot: Ticket,
    pub(in crate::budget) is_durable: bool,
    /// Something has to be written before anybody can leave by it, or soon.
    pub(in crate::budget) is_ordered: bool,
}

/// What has to be written in one transaction.
#[derive(Debug, Default)]
pub(in crate::budget) struct Drained {
    /// With `None`: nothing of it is left.
    pub(in crate::budget) charges: Vec<(Ticket, UpstreamName, Option<Record>)>,
    /// Lots that are durable once it is written.
    pub(in crate::budget) lots: Vec<Ticket>,
}

#[derive(Debug)]
pub(in crate::budget) struct Lots {
    period: Duration,
    tickets: Ticket,
    kinds: HashMap<Kind, Open>,
    lots: HashMap<Ticket, Lot>,
    /// Lots that nobody has begun to write.
    orders: usize,
    /// Lots whose record is no longer true.
    changed: Vec<Ticket>,
    /// Kinds of which some have ended.
    ended: Vec<Kind>,
    /// Lots booked ahead, by when their places are given back.
    ahead: VecDeque<(Moment, Ticket)>,
}

#[derive(Debug)]
struct Open {
    form: Arc<Form>,
    pace: Pace,
    /// Lots with places that nobody has taken, oldest first, and how many those are.
    usable: VecDeque<Ticket>,
    free: u32,
    /// The lot that was ordered last.
    last: Ticket,
    /// Lots that are not over.
    lots: usize,
    ended: SmallVec<[Ended; 1]>,
}

#[derive(Debug)]
struct Lot {
    kind: Kind,
    form: Arc<Form>,
    /// All of it will have been given up.
    by: Stamp,
    /// Booked and not ended.
    pending: u32,
    /// Of these, not taken.
    free: u32,
    stage: Stage,
    is_changed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Ordered,
    Writing,
    Durable,
}

/// What ended within one period.
#[derive(Debug)]
struct Ended {
    first: Stamp,
    last: Stamp,
    linger: Duration,
    requests: u32,
}

impl Lots {
    /// Books what `period` needs ahead.
    pub(in crate::budget) fn new(period: Duration) -> Self {
        Self {
            period,
            tickets: 0,
            kinds: HashMap::new(),
            lots: HashMap::new(),
            orders: 0,
            changed: Vec::new(),
            ended: Vec::new(),
            ahead: VecDeque::new(),
        }
    }

    /// A place for one request.
    pub(in crate::budget) fn take(
        &mut self,
        kind: Kind,
        form: impl FnOnce() -> Form,
        horizon: Horizon,
        present: &Present,
    ) -> Taken {
        let now = present.now;
        self.give_back(|until| until < now);
        let open = self.kinds.entry(kind).or_insert_with(|| Open::new(form(), now));
        open.pace.count(now, self.period);
        let need = open.pace.need().min(open.form.most_ahead);
        let last = open.usable.front().copied();
        let taken = match last.and_then(|lot| Some((lot, self.lots.get_mut(&lot)?))) {
            Some((ticket, lot)) => {
                lot.free -= 1;
                open.free -= 1;
                if lot.free == 0 {
                    open.usable.pop_front();
                }
                Taken { lot: ticket, is_durable: lot.stage == Stage::Durable, is_ordered: false }
            }
            None => return self.join_or_order(kind, need.max(1), horizon, present),
        };
        let free = open.free;
        // Early enough for the disk, and late enough for few transactions.
        let is_ordered = need > 1 && free <= need / 4;
        if is_ordered {
            self.order(kind, (need - free, 0), horizon, present);
        }
        Taken { is_ordered, ..taken }
    }

    /// It ended at `at`, and may have been counted until `linger` after that.
    pub(in crate::budget) fn settle(
        &mut self,
        (lot, kind): (Ticket, Kind),
        form: impl FnOnce() -> Form,
        (at, linger): (Stamp, Duration),
        now: Moment,
    ) {
        let period = self.period;
        let open = self.kinds.entry(kind).or_insert_with(|| Open::new(form(), now));
        if open.ended.is_empty() {
            self.ended.push(kind);
        }
        let near = |ended: &&mut Ended| ended.linger == linger && ended.first.is_within(period, &at);
        match open.ended.iter_mut().find(near) {
            Some(ended) => {
                ended.requests += 1;
                ended.last = ended.last.latest(&at);
            }
            None => open.ended.push(Ended { first: at, last: at, linger, requests: 1 }),
        }
        self.end(lot);
    }

    /// It never left.
    pub(in crate::budget) fn forget(&mut self, lot: Ticket) {
        self.end(lot);
    }

    /// Whether anything has changed since it was last written.
    pub(in crate::budget) fn is_changed(&self) -> bool {
        !self.changed.is_empty() || !self.ended.is_empty()
    }

    /// Whether somebody waits for something to be written, or soon will.
    pub(super) fn is_ordered(&self) -> bool {
        self.orders > 0
    }

    /// How many records wait to be written.
    pub(super) fn changes(&self) -> usize {
        self.changed.len() + self.ended.len()
    }

    /// From when on places are given back.
    pub(super) fn next_return(&self) -> Option<Moment> {
        self.ahead.front().map(|(until, _)| *until)
    }

    /// Takes what has to be written; what nobody has taken in time is given back, or `all` of it.
    pub(in crate::budget) fn drain(&mut self, now: Moment, all: bool) -> Drained {
        self.give_back(|until| all || until < now);
        let mut drained = Drained::default();
        for ticket in std::mem::take(&mut self.changed) {
            let Some(lot) = self.lots.get_mut(&ticket) else { continue };
            lot.is_changed = false;
            let upstream = lot.form.upstream.clone();
            if lot.stage == Stage::Ordered {
                lot.stage = Stage::Writing;
                self.orders -= 1;
                drained.lots.push(ticket);
            }
            let record = (lot.pending > 0).then(|| Record {
                requests: lot.pending,
                at: lot.by,
                ..lot.form.record.clone()
            });
            if record.is_none() {
                self.remove(ticket);
            }
            drained.charges.push((ticket, upstream, record));
        }
        for kind in std::mem::take(&mut self.ended) {
            let Some(open) = self.kinds.get_mut(&kind) else { continue };
            for Ended { last: at, linger, requests, .. } in std::mem::take(&mut open.ended) {
                self.tickets += 1;
                let form = &open.form;
                let record = Record { state: State::Settled, at, linger, requests, ..form.record.clone() };
                drained.charges.push((self.tickets, form.upstream.clone(), Some(record)));
            }
        }
        if self.kinds.len() > MAX_QUIET {
            let period = self.period;
            self.kinds.retain(|_, open| open.lots > 0 || !open.pace.is_quiet(now, period));
        }
        drained
    }

    /// They are on the disk.
    pub(in crate::budget) fn written(&mut self, lots: &[Ticket]) {
        for lot in lots {
            if let Some(lot) = self.lots.get_mut(lot) {
                lot.stage = Stage::Durable;
            }
        }
    }

    /// Whether they are on the disk is not known, so they are taken back: all that were
    /// not durable before.
    pub(super) fn failed(&mut self) -> Vec<(Ticket, UpstreamName)> {
        let failed: Vec<_> = self
            .lots
            .iter()
            .filter(|(_, lot)| lot.stage != Stage::Durable)
            .map(|(ticket, lot)| (*ticket, lot.form.upstream.clone()))
            .collect();
        failed.iter().for_each(|(ticket, _)| self.remove(*ticket));
        failed
    }

    /// Into a lot that nobody writes yet, or a new one.
    fn join_or_order(&mut self, kind: Kind, size: u32, horizon: Horizon, present: &Present) -> Taken {
        let last = self.kinds.get(&kind).map_or(0, |open| open.last);
        if let Some(lot) = self.lots.get_mut(&last).filter(|lot| lot.stage == Stage::Ordered) {
            lot.pending += 1;
            lot.by = lot.by.latest(&horizon.stamp(Duration::ZERO, present));
            return Taken { lot: last, is_durable: false, is_ordered: true };
        }
        let lot = self.order(kind, (size, 1), horizon, present);
        Taken { lot, is_durable: false, is_ordered: true }
    }

    /// A lot of `size` requests, `taken` of them already.
    fn order(
        &mut self,
        kind: Kind,
        (size, taken): (u32, u32),
        horizon: Horizon,
        present: &Present,
    ) -> Ticket {
        self.tickets += 1;
        let (ticket, free) = (self.tickets, size - taken);
        let ahead = if free > 0 { self.period * 2 } else { Duration::ZERO };
        let Some(open) = self.kinds.get_mut(&kind) else { return ticket };
        open.lots += 1;
        open.last = ticket;
        open.free += free;
        if free > 0 {
            open.usable.push_back(ticket);
            self.ahead.push_back((present.now + ahead, ticket));
        }
        let (form, by) = (Arc::clone(&open.form), horizon.stamp(ahead, present));
        let lot = Lot { kind, form, by, pending: size, free, stage: Stage::Ordered, is_changed: true };
        self.lots.insert(ticket, lot);
        self.orders += 1;
        self.changed.push(ticket);
        ticket
    }

    /// Places that nobody has taken, of lots that are `over`.
    fn give_back(&mut self, over: impl Fn(Moment) -> bool) {
        while let Some((_, ticket)) = self.ahead.pop_front_if(|(until, _)| over(*until)) {
            let Some(lot) = self.lots.get_mut(&ticket).filter(|lot| lot.free > 0) else { continue };
            let free = std::mem::take(&mut lot.free);
            lot.pending -= free;
            let kind = lot.kind;
            self.change(ticket);
            if let Some(open) = self.kinds.get_mut(&kind) {
                open.free -= free;
                open.usable.retain(|usable| *usable != ticket);
            }
        }
    }

    fn end(&mut self, lot: Ticket) {
        // One that could not be written is gone, and an observed request may have left all the same.
        if let Some(lot) = self.lots.get_mut(&lot) {
            lot.pending = lot.pending.saturating_sub(1);
        }
        self.change(lot);
    }

    fn change(&mut self, ticket: Ticket) {
        if let Some(lot) = self.lots.get_mut(&ticket)
            && !std::mem::replace(&mut lot.is_changed, true)
        {
            self.changed.push(ticket);
        }
    }

    fn remove(&mut self, ticket: Ticket) {
        let Some(lot) = self.lots.remove(&ticket) else { return };
        self.orders -= usize::from(lot.stage == Stage::Ordered);
        if let Some(open) = self.kinds.get_mut(&lot.kind) {
            open.lots -= 1;
            open.free -= lot.free;
            open.usable.retain(|usable| *usable != ticket);
        }
    }
}

impl Open {
    fn new(form: Form, now: Moment) -> Self {
        let (usable, ended) = (VecDeque::new(), SmallVec::new());
        Self { form: Arc::new(form), pace: Pace::new(now), usable, free: 0, last: 0, lots: 0, ended }
    }
}

impl Horizon {
    fn stamp(&self, ahead: Duration, present: &Present) -> Stamp {
        let after = self.longest + ahead;
        Stamp::of(present.now + after, self.vendor.map(|vendor| vendor + after), present)
    }
}

#[cfg(test)]
mod tests;
