//! Reloads keep law 1: plans follow each other at any moment, with other limits,
//! other consumers and other shares, and whatever leaves while a limit is in the
//! plan fits into every window of it, all that went before counted. (The longest
//! limit stays: what is older than all limits of the plan is forgotten.)

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::vendor::Vendor;
use super::{plan, vendors};
use crate::budget::desk::{Ask, BidId, Desk, Flight, Grant, Outcome};
use crate::budget::hierarchy::Books;
use crate::clock::{Moment, UnixTime};
use crate::quota::{LimitSet, Plan};

const MS: u64 = 1_000_000;
const WALL: UnixTime = UnixTime::from_secs(1_000);
const CONSUMERS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    /// Of this consumer, counted against these limits and always against the first.
    Ask { gap: u64, consumer: usize, limits: u8, up: u64, down: u64, is_lost: bool },
    /// From now on these limits (and the first) and consumers, some in another order.
    Reload { gap: u64, limits: u8, consumers: u8, is_reversed: bool, even_share: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Counted(usize),
    End(usize),
    Step(usize),
}

struct Sent {
    grant: Grant,
    flight: Flight,
    /// Which of the vendor's limits count it, and which the plan knew when it left.
    counts: Vec<usize>,
    known: Vec<usize>,
    is_lost: bool,
}

struct World {
    whole: Plan,
    now: u64,
    desk: Desk,
    vendors: Vec<Vec<Vendor>>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    order: u64,
    sent: Vec<Sent>,
    wishes: Vec<(BidId, Vec<usize>, u64, u64, bool)>,
}

impl World {
    fn new(whole: Plan, vendors: Vec<Vec<Vendor>>) -> Self {
        let desk = Desk::new(whole.clone(), Books::new(&whole, Moment::ZERO, WALL));
        let (events, sent, wishes) = (BinaryHeap::new(), Vec::new(), Vec::new());
        Self { whole, now: 0, desk, vendors, events, order: 0, sent, wishes }
    }

    fn moment(&self) -> Moment {
        Moment::from_nanos(self.now)
    }

    fn run(&mut self, steps: &[Step]) {
        let mut at = 0;
        for (index, step) in steps.iter().enumerate() {
            let (Step::Ask { gap, .. } | Step::Reload { gap, .. }) = step;
            at += gap;
            self.after(at, Event::Step(index));
        }
        loop {
            let event = self.events.peek().map(|Reverse((at, ..))| *at);
            let wake = self.desk.next_wake().filter(|_| self.desk.waiting() > 0).map(Moment::as_nanos);
            let Some(next) = event.into_iter().chain(wake).min() else { break };
            self.now = self.now.max(next);
            if event == Some(next) {
                let Reverse((_, _, event)) = self.events.pop().unwrap();
                match event {
                    Event::Counted(sent) => self.count(sent),
                    Event::End(sent) => self.end(sent),
                    Event::Step(index) => self.step(&steps[index]),
                }
            }
            self.desk.pump(self.moment());
            self.send_granted();
        }
        assert_eq!((self.desk.waiting(), self.desk.outstanding()), (0, 0), "somebody waits for ever");
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Ask { consumer, limits, up, down, is_lost, .. } => {
                let plan = self.desk.plan();
                let name = &self.whole.consumers[consumer].name;
                let Some(seat) = plan.consumers.iter().position(|c| c.name == *name) else { return };
                let counts: Vec<usize> =
                    (0..self.whole.limits.len()).filter(|l| *l == 0 || limits >> l & 1 == 1).collect();
                let set: LimitSet = counts.iter().filter_map(|limit| self.index_of(*limit)).collect();
                let bid = self.desk.open(set);
                let ask = Ask { seat, deadline: Moment::NEVER, urgency: 3 };
                self.desk.enter(bid, ask, self.moment()).unwrap();
                self.wishes.push((bid, counts, up, down, is_lost));
            }
            Step::Reload { limits, consumers, is_reversed, even_share, .. } => {
                let mut next = self.whole.clone();
                let whole = self.whole.limits.iter().enumerate();
                next.limits =
                    whole.filter(|(l, _)| *l == 0 || limits >> l & 1 == 1).map(|(_, l)| l.clone()).collect();
                let kept = self.whole.consumers.iter().enumerate().filter(|(c, _)| consumers >> c & 1 == 1);
                next.consumers = kept.map(|(_, consumer)| consumer.clone()).collect();
                if is_reversed {
                    next.limits.reverse();
                    next.consumers.reverse();
                }
                if even_share {
                    next.consumers.iter_mut().for_each(|consumer| consumer.share.0 = 250_000);
                }
                let before = self.desk.waiting();
                self.desk.replan(next, self.moment(), WALL);
                assert!(self.desk.waiting() <= before);
                // Who is still on the way may meet requests that leave without this limit.
                let gone: Vec<usize> =
                    (0..self.whole.limits.len()).filter(|limit| self.index_of(*limit).is_none()).collect();
                self.sent.iter_mut().for_each(|sent| sent.known.retain(|limit| !gone.contains(limit)));
            }
        }
    }

    /// Where the present plan has this limit of the whole one.
    fn index_of(&self, limit: usize) -> Option<usize> {
        let name = &self.whole.limits[limit].name;
        self.desk.plan().limits.iter().position(|limit| limit.name == *name)
    }

    fn send_granted(&mut self) {
        for bid in self.desk.take_decided() {
            let Outcome::Granted(grant) = self.desk.take(bid) else { continue };
            let (_, counts, up, down, is_lost) =
                self.wishes.iter().find(|wish| wish.0 == bid).unwrap().clone();
            let known = counts.iter().copied().filter(|limit| self.index_of(*limit).is_some()).collect();
            let flight = Flight { sent: self.moment(), counted_by: None };
            let linger = u64::try_from(self.whole.linger.as_nanos()).unwrap();
            self.sent.push(Sent { grant, flight, counts, known, is_lost });
            let sent = self.sent.len() - 1;
            let counted = if is_lost { up + down + linger } else { up };
            self.after(self.now + counted, Event::Counted(sent));
            self.after(self.now + up + down, Event::End(sent));
        }
    }

    fn count(&mut self, sent: usize) {
        let sent = &self.sent[sent];
        for &limit in &sent.counts {
            for vendor in &mut self.vendors[limit] {
                let is_admitted = vendor.admits(self.now);
                assert!(is_admitted || !sent.known.contains(&limit), "429 by {vendor:?} at {}", self.now);
            }
        }
    }

    fn end(&mut self, sent: usize) {
        let (now, sent) = (self.moment(), &self.sent[sent]);
        if sent.is_lost {
            self.desk.lose(sent.grant, sent.flight, now);
        } else {
            self.desk.settle(sent.grant, sent.flight, now);
        }
    }

    fn after(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.events.push(Reverse((at.max(self.now), self.order, event)));
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ask = ((0u64..700, 0..CONSUMERS, any::<u8>()), (1u64..900, 0u64..900, prop::bool::weighted(0.2)));
    let ask = ask.prop_map(|((gap, consumer, limits), (up, down, is_lost))| Step::Ask {
        gap: gap * MS,
        consumer,
        limits,
        up: up * MS,
        down: down * MS,
        is_lost,
    });
    let reload = (0u64..700, any::<u8>(), any::<u8>(), any::<bool>(), any::<bool>());
    let reload = reload.prop_map(|(gap, limits, consumers, is_reversed, even_share)| Step::Reload {
        gap: gap * MS,
        limits,
        consumers,
        is_reversed,
        even_share,
    });
    prop::collection::vec(prop_oneof![4 => ask, 1 => reload], 1..80)
}

proptest! {
    #![proptest_config(super::seeded(400))]

    #[test]
    fn no_reload_makes_the_vendor_refuse(steps in steps(), phase: u64, requests in 1u32..6) {
        let plan = plan(&[(2 * requests, 9_000), (requests, 2_000), (requests + 2, 4_000)], CONSUMERS);
        let vendors = vendors(&plan, phase);
        World::new(plan, vendors).run(&steps);
    }
}
