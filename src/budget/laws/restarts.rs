//! Law 8: law 1 holds although the process is killed at any moment, the machine
//! is booted, and its wall clock is set to anything in between.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use proptest::prelude::*;

use super::vendor::Vendor;
use super::{EVERYDAY, calendar, cases, limits, plan, vendors};
use crate::budget::desk::{Ask, Desk, Flight, Grant, Outcome};
use crate::budget::hierarchy::Books;
use crate::budget::ledger::lots::{Form, Horizon, Kind, Lots, Ticket};
use crate::budget::ledger::restore::{clock_bytes, clock_name, known_limits, limits_name};
use crate::budget::ledger::{Origin, Past, Record, Stamp, form_of, restore};
use crate::clock::{BootId, Moment, Present, UnixTime};
use crate::config::OnEmpty;
use crate::quota::{LimitSet, Plan};

const MS: u64 = 1_000_000;
/// From a booking until its request is given up.
const LONGEST: Duration = Duration::from_secs(3);
/// Settlements younger than this may be lost in a crash.
const FLUSH: u64 = 50 * MS;
/// What a process's clock reads as it starts.
const PAST: u64 = 400 * 86_400 * 1_000 * MS;

#[derive(Clone, Debug)]
enum Step {
    Ask { gap: u64, seat: usize, set: u8, up: u64, down: u64, is_lost: bool },
    Crash { gap: u64, dead: u64, is_reboot: bool, wall_off: i64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Counted(usize),
    End(usize, u64),
    Step(usize),
}

struct Sent {
    lot: Ticket,
    grant: Grant,
    flight: Flight,
    counted_at: u64,
    is_lost: bool,
    in_flight: bool,
    is_counted: bool,
    gives_up: u64,
    /// The wish it was made from: how long it takes.
    plan: (u64, u64),
}

/// True time is in nanoseconds since the world began; the machine was booted then.
struct World<'a> {
    plan: &'a Plan,
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
    wishes: BTreeMap<u64, (u64, u64, bool)>,
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan, vendors: Vec<Vec<Vendor>>, (dates_from, ahead): (Option<u64>, Duration)) -> Self {
        let wall = UnixTime::from_nanos(1_000_000 * MS);
        let mut world = Self {
            plan,
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
        world.past.notes.insert(limits_name(&"vendor".parse().unwrap()), known_limits(plan));
        world
    }

    fn moment(&self) -> Moment {
        Moment::from_nanos(PAST + self.now - self.born)
    }

    fn present(&self) -> Present {
        Present { now: self.moment(), since_boot: self.now - self.boot.1, boot: BootId([self.boot.0; 16]) }
    }

    fn run(&mut self, steps: &[Step]) {
        let mut at = 0;
        for (index, step) in steps.iter().enumerate() {
            let (Step::Ask { gap, .. } | Step::Crash { gap, .. }) = step;
            at += gap;
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
                let all: LimitSet = (0..self.plan.limits.len()).collect();
                let some: LimitSet = all.iter().filter(|limit| set >> limit & 1 == 1).collect();
                let bid = self.desk.open(if some.is_empty() { all } else { some });
                let ask = Ask { seat, deadline: Moment::NEVER, urgency: 3 };
                self.desk.enter(bid, ask, self.moment()).unwrap();
                self.wishes.insert(bid, (up, down, is_lost));
            }
            Step::Crash { dead, is_reboot, wall_off, .. } => self.crash(dead, is_reboot, wall_off),
        }
    }

    fn send_granted(&mut self) {
        for bid in self.desk.take_decided() {
            let Outcome::Granted(grant) = self.desk.take(bid) else { continue };
            let (up, down, is_lost) = self.wishes[&bid];
            let vendor = self.desk.books().vendor_clock().at_most(self.moment());
            let (form, horizon) = (self.form(grant), Horizon { longest: LONGEST, vendor });
            let taken = self.lots.take(kind(grant), || form, horizon, &self.present());
            if taken.is_durable {
                self.unsaved = self.unsaved.or(taken.is_ordered.then_some(self.now));
            } else {
                // All that came before is in the booking's transaction.
                self.save();
            }
            let linger = u64::try_from(self.plan.linger.as_nanos()).unwrap();
            let counted_at = self.now + if is_lost { up + down + linger } else { up };
            let flight = self.sent.len();
            self.sent.push(Sent {
                lot: taken.lot,
                grant,
                flight: Flight { sent: self.moment(), counted_by: None },
                counted_at,
                is_lost,
                in_flight: true,
                is_counted: false,
                gives_up: self.now + u64::try_from(LONGEST.as_nanos()).unwrap(),
                plan: (up, down),
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
        for limit in sent.grant.set.iter() {
            for vendor in &mut self.vendors[limit] {
                assert!(vendor.admits(self.now), "429 by {vendor:?} at {}", self.now);
            }
        }
    }

    fn end(&mut self, flight: usize) {
        let (now, present) = (self.moment(), self.present());
        let sent = &mut self.sent[flight];
        sent.in_flight = false;
        let (lot, grant, is_lost) = (sent.lot, sent.grant, sent.is_lost);
        if let Some(zero) = self.dates_from.filter(|_| !is_lost) {
            let date = UnixTime::from_secs((zero + sent.counted_at) / 1_000_000_000);
            self.desk.learn_date(date, sent.flight.sent, now, now);
            let dated = self.desk.books().vendor_clock().dated().unwrap();
            self.past.notes.insert(clock_name(&"vendor".parse().unwrap()), clock_bytes(dated, &present));
        }
        let sent = &self.sent[flight];
        if is_lost {
            self.desk.lose(grant, sent.flight, now);
        } else {
            self.desk.settle(grant, sent.flight, now);
        }
        let linger = if is_lost { self.plan.linger } else { Duration::ZERO };
        let stamp = Stamp::of(now, self.desk.books().vendor_clock().at_most(now), &present);
        let form = self.form(grant);
        self.lots.settle((lot, kind(grant)), || form, (stamp, linger), now);
        self.unsaved = self.unsaved.or(Some(self.now));
    }

    /// Everybody who waits is gone with the process; what is under way may arrive later.
    fn crash(&mut self, dead: u64, is_reboot: bool, wall_off: i64) {
        (self.lots, self.unsaved) = (Lots::new(self.ahead), None);
        self.base = self.disk.keys().last().copied().unwrap_or(0);
        let linger = u64::try_from(self.plan.linger.as_nanos()).unwrap();
        let restart = self.now + dead;
        let mut late = Vec::new();
        for (flight, sent) in self.sent.iter_mut().enumerate() {
            if std::mem::take(&mut sent.in_flight) && !sent.is_counted {
                let latest = restart.min(sent.gives_up) + linger;
                let planned = sent.counted_at;
                sent.counted_at = if sent.is_lost { latest } else { planned.min(latest) };
                // Not before now: it has not been counted yet.
                sent.counted_at = sent.counted_at.max(self.now);
                assert!(sent.plan.0 <= 1_000 * MS && sent.plan.1 <= 1_000 * MS);
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
        let now = self.moment();
        let wall = UnixTime::from_nanos(self.wall + self.now);
        self.desk = Desk::new(self.plan.clone(), Books::new(self.plan, now, wall));
        self.desk.shut();
        let records: Vec<_> = self.disk.values().cloned().collect();
        let upstream = "vendor".parse().unwrap();
        let restored = restore(self.plan, &upstream, &records, (&self.past, OnEmpty::Trust), &self.present());
        assert_eq!((restored.remarks.len(), restored.spent.len()), (0, 0), "{restored:?}");
        self.desk.open_books(restored, now);
    }

    fn form(&self, grant: Grant) -> Form {
        Form { upstream: "vendor".parse().unwrap(), record: form_of(self.plan, grant, &self.present()) }
    }

    fn save(&mut self) {
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

fn kind(Grant { seat, set, .. }: Grant) -> Kind {
    Kind { link: 0, seat, set }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ask = ((0u64..900, 0usize..4, any::<u8>()), (1u64..1_000, 0u64..1_000, prop::bool::weighted(0.2)));
    let ask = ask.prop_map(|((gap, seat, set), (up, down, is_lost))| Step::Ask {
        gap: gap * MS,
        seat,
        set,
        up: up * MS,
        down: down * MS,
        is_lost,
    });
    let crash = (0u64..900, 1u64..6_000, any::<bool>(), -900_000i64..900_000);
    let crash = crash.prop_map(|(gap, dead, is_reboot, wall_off)| Step::Crash {
        gap: gap * MS,
        dead: dead * MS,
        is_reboot,
        wall_off: wall_off * MS as i64,
    });
    prop::collection::vec(prop_oneof![8 => ask, 1 => crash], 1..60)
}

/// As it is, or so long that a few requests a second make lots.
fn ahead() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(Duration::from_nanos(FLUSH)), (500u64..4_000).prop_map(Duration::from_millis)]
}

proptest! {
    #![proptest_config(cases(EVERYDAY))]

    /// Killed at any moment, rebooted, the wall set back and forward, with and without dates,
    /// with places booked ahead and without.
    #[test]
    fn no_restart_makes_the_vendor_refuse(
        limits in limits(), steps in steps(), phase: u64, dated: bool, ahead in ahead(),
    ) {
        let plan = plan(&limits, 4);
        let vendors = vendors(&plan, phase);
        World::new(&plan, vendors, (dated.then_some(5_000_000 * MS), ahead)).run(&steps);
    }

    /// The same at calendar edges, while the wall is as right as law 1 asks.
    #[test]
    fn no_restart_makes_a_calendar_refuse(
        requests in 1u32..6, period in 7_000u64..20_000, skew in -1_900i64..1_900, steps in steps(), dated: bool,
        ahead in ahead(),
    ) {
        let mut plan = plan(&[(requests, period), (7, 1_000)], 4);
        calendar(&mut plan, 0, period);
        let vendor_at_zero = (1_000_000 * MS).saturating_add_signed(skew * MS as i64);
        let edges = Vendor::fixed(requests, period * MS, vendor_at_zero % (period * MS));
        let steps: Vec<_> = steps.into_iter().map(|step| match step {
            Step::Crash { gap, dead, is_reboot, .. } => Step::Crash { gap, dead, is_reboot, wall_off: 0 },
            ask => ask,
        }).collect();
        let vendors = vec![vec![edges], vec![Vendor::sliding(7, 1_000 * MS)]];
        World::new(&plan, vendors, (dated.then_some(vendor_at_zero), ahead)).run(&steps);
    }
}
