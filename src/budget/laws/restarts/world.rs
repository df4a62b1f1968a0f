//! One process after another on one file, and the vendors that count what left.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use super::super::vendor::Vendor;
use super::steps::Step;
use super::{FLUSH, MS};
use crate::budget::desk::{Ask, BidId, Desk, Flight, Grant, Outcome};
use crate::budget::hierarchy::Books;
use crate::budget::ledger::lots::{Form, Horizon, Kind, Lots, Ticket};
use crate::budget::ledger::restore::{clock_bytes, clock_name, known_limits, limits_name};
use crate::budget::ledger::{Origin, Past, Record, Renewal, Stamp, form_of, restore};
use crate::clock::{BootId, Moment, Present, UnixTime};
use crate::config::OnEmpty;
use crate::id::UpstreamName;
use crate::quota::Plan;

/// From a booking until its request is given up.
const LONGEST: Duration = Duration::from_secs(3);
/// What a process's clock reads as it starts.
const PAST: u64 = 400 * 86_400 * 1_000 * MS;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Counted(usize),
    End(usize, u64),
    Step(usize),
}

struct Sent {
    lot: Ticket,
    grant: Grant,
    /// By which plan it left.
    era: usize,
    /// Which of the vendor's limits count it, and which of these have been in the plan since.
    counts: Vec<usize>,
    known: Vec<usize>,
    flight: Flight,
    counted_at: u64,
    is_lost: bool,
    in_flight: bool,
    is_counted: bool,
    gives_up: u64,
    /// How long it takes.
    takes: (u64, u64),
}

#[derive(Clone, Debug)]
struct Wish {
    counts: Vec<usize>,
    up: u64,
    down: u64,
    is_lost: bool,
}

/// True time is in nanoseconds since the world began; the machine was booted then.
pub(super) struct World<'a> {
    /// With all limits that come and go.
    whole: &'a Plan,
    /// One after the other.
    plans: Vec<Plan>,
    /// By the plan that asks for it; and those that are yet to be saved.
    renewals: BTreeMap<usize, Renewal>,
    unrenewed: Vec<(Renewal, Vec<u8>)>,
    vendors: Vec<Vec<Vendor>>,
    /// The vendor's wall at the beginning, if it sends dates.
    dates_from: Option<u64>,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    order: u64,
    desk: Desk,
    process: u64,
    born: u64,
    boot: (u8, u64),
    wall: u64,
    disk: BTreeMap<u64, Record>,
    lots: Lots,
    /// So long what comes again and again is booked ahead for.
    ahead: Duration,
    /// Since when something has to be saved.
    unsaved: Option<u64>,
    /// Where this process's records are counted from.
    base: u64,
    past: Past,
    sent: Vec<Sent>,
    wishes: BTreeMap<BidId, Wish>,
}

impl<'a> World<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        vendors: Vec<Vec<Vendor>>,
        (dates_from, ahead): (Option<u64>, Duration),
    ) -> Self {
        let wall = UnixTime::from_nanos(1_000_000 * MS);
        let mut world = Self {
            whole: plan,
            plans: vec![plan.clone()],
            renewals: BTreeMap::new(),
            unrenewed: Vec::new(),
            vendors,
            dates_from,
            now: 0,
            events: BinaryHeap::new(),
            order: 0,
            desk: Desk::new(plan.clone(), Books::new(plan, Moment::from_nanos(PAST), wall)),
            process: 0,
            born: 0,
            boot: (0, 0),
            wall: wall.as_nanos(),
            disk: BTreeMap::new(),
            lots: Lots::new(ahead),
            ahead,
            unsaved: None,
            base: 0,
            past: Past::default(),
            sent: Vec::new(),
            wishes: BTreeMap::new(),
        };
        world.past.origin = Origin::Kept;
        world.past.notes.insert(limits_name(&upstream()), known_limits(plan));
        world
    }

    fn moment(&self) -> Moment {
        Moment::from_nanos(PAST + self.now - self.born)
    }

    fn present(&self) -> Present {
        Present { now: self.moment(), since_boot: self.now - self.boot.1, boot: BootId([self.boot.0; 16]) }
    }

    pub(super) fn run(&mut self, steps: &[Step]) {
        let mut at = 0;
        for (index, step) in steps.iter().enumerate() {
            at += step.gap();
            self.after(at, Event::Step(index));
        }
        loop {
            let event = self.events.peek().map(|Reverse((at, ..))| *at);
            let wake = self.desk.next_wake().filter(|_| self.desk.waiting() > 0);
            let wake = wake.map(|wake| wake.as_nanos() - PAST + self.born);
            let Some(next) = event.into_iter().chain(wake).min() else { break };
            self.now = self.now.max(next);
            self.desk.follow_wall(self.moment(), UnixTime::from_nanos(self.wall + self.now));
            if event == Some(next) {
                let Reverse((_, _, event)) = self.events.pop().unwrap();
                match event {
                    Event::Counted(flight) => self.count(flight),
                    Event::End(flight, process) if process == self.process => self.end(flight),
                    Event::End(..) => {}
                    Event::Step(index) => self.step(&steps[index]),
                }
            }
            if self.unsaved.is_some_and(|since| since + FLUSH <= self.now) {
                self.save();
            }
            self.desk.pump(self.moment());
            self.send_granted();
        }
        assert_eq!(self.desk.waiting(), 0, "somebody waits for ever");
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Ask { seat, set, up, down, is_lost, .. } => {
                let all = 0..self.whole.limits.len();
                let some: Vec<usize> = all.clone().filter(|limit| set >> limit & 1 == 1).collect();
                let counts = if some.is_empty() { all.collect() } else { some };
                let bid = self.desk.open(counts.iter().filter_map(|limit| self.index_of(*limit)).collect());
                let ask = Ask { seat, deadline: Moment::NEVER, urgency: 3 };
                self.desk.enter(bid, ask, self.moment()).unwrap();
                self.wishes.insert(bid, Wish { counts, up, down, is_lost });
            }
            Step::Crash { dead, is_reboot, wall_off, limits, .. } => {
                self.crash(dead, (is_reboot, wall_off), limits);
            }
            Step::Reload { limits, .. } => {
                let now = self.moment();
                self.follow(limits);
                let [.., old, new] = &*self.plans else { unreachable!() };
                self.renew(Renewal::between(&upstream(), old, new));
                let (plan, wall) = (self.plan().clone(), UnixTime::from_nanos(self.wall + self.now));
                self.desk.replan(plan, now, wall);
            }
        }
    }

    /// From now on the plan has these limits, and the first.
    fn follow(&mut self, limits: u8) {
        let mut plan = self.whole.clone();
        let whole = self.whole.limits.iter().enumerate();
        plan.limits =
            whole.filter(|(l, _)| *l == 0 || limits >> l & 1 == 1).map(|(_, l)| l.clone()).collect();
        self.plans.push(plan);
        // Who is still on the way may meet requests that leave without this limit.
        let gone: Vec<usize> =
            (0..self.whole.limits.len()).filter(|limit| self.index_of(*limit).is_none()).collect();
        self.sent.iter_mut().for_each(|sent| sent.known.retain(|limit| !gone.contains(limit)));
    }

    /// What was written under earlier plans, or is yet to be, is renewed: on disk with the next
    /// that is saved, and all of it or nothing.
    fn renew(&mut self, renewal: Renewal) {
        let now = self.plans.len() - 1;
        self.lots.renew(&renewal, now as u64);
        self.renewals.insert(now, renewal.clone());
        self.unrenewed.push((renewal, known_limits(self.plan())));
        self.unsaved = self.unsaved.or(Some(self.now));
    }

    fn plan(&self) -> &Plan {
        self.plans.last().unwrap()
    }

    /// Where the present plan has this limit of the whole one.
    fn index_of(&self, limit: usize) -> Option<usize> {
        let name = &self.whole.limits[limit].name;
        self.plan().limits.iter().position(|limit| limit.name == *name)
    }

    fn send_granted(&mut self) {
        for bid in self.desk.take_decided() {
            let Outcome::Granted(grant) = self.desk.take(bid) else { continue };
            let Wish { counts, up, down, is_lost } = self.wishes[&bid].clone();
            let era = self.plans.len() - 1;
            let vendor = self.desk.books().vendor_clock().at_most(self.moment());
            let (form, horizon) = (self.form(grant, era), Horizon { longest: LONGEST, vendor });
            let taken = self.lots.take(kind(grant, era), || form, horizon, &self.present());
            if taken.is_durable {
                self.unsaved = self.unsaved.or(taken.is_ordered.then_some(self.now));
            } else {
                // All that came before is in the booking's transaction.
                self.save();
            }
            let linger = u64::try_from(self.whole.linger.as_nanos()).unwrap();
            let counted_at = self.now + if is_lost { up + down + linger } else { up };
            let flight = self.sent.len();
            let known = counts.iter().copied().filter(|limit| self.index_of(*limit).is_some()).collect();
            self.sent.push(Sent {
                lot: taken.lot,
                grant,
                era,
                counts,
                known,
                flight: Flight { sent: self.moment(), counted_by: None },
                counted_at,
                is_lost,
                in_flight: true,
                is_counted: false,
                gives_up: self.now + u64::try_from(LONGEST.as_nanos()).unwrap(),
                takes: (up, down),
            });
            self.after(counted_at, Event::Counted(flight));
            self.after(self.now + up + down, Event::End(flight, self.process));
        }
    }

    fn count(&mut self, flight: usize) {
        let sent = &mut self.sent[flight];
        // Put off by a crash, or counted before.
        if sent.counted_at > self.now || std::mem::replace(&mut sent.is_counted, true) {
            return;
        }
        for &limit in &sent.counts {
            for vendor in &mut self.vendors[limit] {
                let is_admitted = vendor.admits(self.now);
                assert!(is_admitted || !sent.known.contains(&limit), "429 by {vendor:?} at {}", self.now);
            }
        }
    }

    fn end(&mut self, flight: usize) {
        let (now, present) = (self.moment(), self.present());
        let sent = &mut self.sent[flight];
        sent.in_flight = false;
        let (lot, grant, era, is_lost) = (sent.lot, sent.grant, sent.era, sent.is_lost);
        if let Some(zero) = self.dates_from.filter(|_| !is_lost) {
            let date = UnixTime::from_secs((zero + sent.counted_at) / 1_000_000_000);
            self.desk.learn_date(date, sent.flight.sent, now, now);
            let dated = self.desk.books().vendor_clock().dated().unwrap();
            self.past.notes.insert(clock_name(&upstream()), clock_bytes(dated, &present));
        }
        let sent = &self.sent[flight];
        if is_lost {
            self.desk.lose(grant, sent.flight, now);
        } else {
            self.desk.settle(grant, sent.flight, now);
        }
        let linger = if is_lost { self.whole.linger } else { Duration::ZERO };
        let stamp = Stamp::of(now, self.desk.books().vendor_clock().at_most(now), &present);
        let form = self.form(grant, era);
        self.lots.settle((lot, kind(grant, era)), || form, (stamp, linger), now);
        self.unsaved = self.unsaved.or(Some(self.now));
    }

    /// Everybody who waits is gone with the process; what is under way may arrive later.
    fn crash(&mut self, dead: u64, (is_reboot, wall_off): (bool, i64), limits: u8) {
        (self.lots, self.unsaved) = (Lots::new(self.ahead), None);
        self.unrenewed.clear();
        self.base = self.disk.keys().last().copied().unwrap_or(0);
        let linger = u64::try_from(self.whole.linger.as_nanos()).unwrap();
        let restart = self.now + dead;
        let mut late = Vec::new();
        for (flight, sent) in self.sent.iter_mut().enumerate() {
            if std::mem::take(&mut sent.in_flight) && !sent.is_counted {
                let latest = restart.min(sent.gives_up) + linger;
                let planned = sent.counted_at;
                sent.counted_at = if sent.is_lost { latest } else { planned.min(latest) };
                // Not before now: it has not been counted yet.
                sent.counted_at = sent.counted_at.max(self.now);
                assert!(sent.takes.0 <= 1_000 * MS && sent.takes.1 <= 1_000 * MS);
                late.push((sent.counted_at, flight));
            }
        }
        for (at, flight) in late {
            self.after(at, Event::Counted(flight));
        }
        // What the vendor counts while nobody is there; who comes meanwhile waits for the restart.
        let mut come = Vec::new();
        while let Some(Reverse((at, _, event))) = self.events.peek().copied().filter(|e| e.0.0 <= restart) {
            self.events.pop();
            self.now = self.now.max(at);
            match event {
                Event::Counted(flight) => self.count(flight),
                Event::Step(index) => come.push(index),
                Event::End(..) => {}
            }
        }
        self.now = restart;
        come.into_iter().for_each(|index| self.after(restart, Event::Step(index)));
        (self.process, self.born) = (self.process + 1, restart);
        if is_reboot {
            self.boot = (self.boot.0 + 1, restart.saturating_sub(MS));
            self.wall = self.wall.saturating_add_signed(wall_off);
        }
        self.follow(limits);
        self.recall();
    }

    fn recall(&mut self) {
        let (now, wall) = (self.moment(), UnixTime::from_nanos(self.wall + self.now));
        let plan = self.plan().clone();
        self.desk = Desk::new(plan.clone(), Books::new(&plan, now, wall));
        self.desk.shut();
        let records: Vec<_> = self.disk.values().cloned().collect();
        let restored = restore(&plan, &upstream(), &records, (&self.past, OnEmpty::Trust), &self.present());
        assert_eq!(restored.spent.len(), 0, "{restored:?}");
        self.renew(Renewal::new(&upstream(), &plan, restored.news));
        self.desk.open_books(restored, now);
    }

    fn form(&self, grant: Grant, era: usize) -> Form {
        let mut record = form_of(&self.plans[era], grant, &self.present());
        for (_, renewal) in self.renewals.range(era + 1..) {
            renewal.renew(&mut record);
        }
        Form { upstream: upstream(), record, most_ahead: u32::MAX }
    }

    fn save(&mut self) {
        for (renewal, known) in self.unrenewed.drain(..) {
            for record in self.disk.values_mut() {
                renewal.renew(record);
            }
            self.past.notes.insert(limits_name(&upstream()), known);
        }
        let drained = self.lots.drain(self.moment(), false);
        for (id, _, record) in drained.charges {
            match record {
                Some(record) => drop(self.disk.insert(self.base + id, record)),
                None => drop(self.disk.remove(&(self.base + id))),
            }
        }
        self.lots.written(&drained.lots);
        self.unsaved = None;
    }

    fn after(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.events.push(Reverse((at.max(self.now), self.order, event)));
    }
}

fn upstream() -> UpstreamName {
    "vendor".parse().unwrap()
}

fn kind(Grant { seat, set, .. }: Grant, era: usize) -> Kind {
    Kind { link: era as u64, seat, set }
}
