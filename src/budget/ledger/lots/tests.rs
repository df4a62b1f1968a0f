//! What is in the file covers what may be under way, and little more.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::budget::laws::cases;
use crate::clock::BootId;

const PERIOD: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(3);
const KIND: Kind = Kind { link: 0, seat: 0, set: LimitSet::EMPTY };

/// A file that takes no time, and who is under way.
struct World {
    lots: Lots,
    most_ahead: u32,
    file: BTreeMap<Ticket, Record>,
    now: Moment,
    under_way: Vec<Ticket>,
    ended: u32,
    waits: usize,
    /// Since when something is ordered that nobody waits for yet.
    ordered: Option<Moment>,
}

impl World {
    fn new(most_ahead: u32) -> Self {
        let (file, under_way) = (BTreeMap::new(), Vec::new());
        let now = Moment::from_nanos(1_000_000_000);
        let lots = Lots::new(PERIOD);
        Self { lots, most_ahead, file, now, under_way, ended: 0, waits: 0, ordered: None }
    }

    fn present(&self) -> Present {
        Present { now: self.now, since_boot: self.now.as_nanos(), boot: BootId([7; 16]) }
    }

    fn form(&self) -> Form {
        let record = Record {
            limits: Vec::new(),
            consumer: "grafana".parse().unwrap(),
            division: "web".parse().unwrap(),
            state: State::Pending,
            at: Stamp::of(self.now, None, &self.present()),
            linger: Duration::ZERO,
            keep: Duration::from_secs(60),
            requests: 1,
        };
        Form { upstream: "vendor".parse().unwrap(), record, most_ahead: self.most_ahead }
    }

    /// One request leaves.
    fn send(&mut self) {
        let (form, horizon) = (self.form(), Horizon { longest: LONGEST, vendor: None });
        let taken = self.lots.take(KIND, || form, horizon, &self.present());
        if !taken.is_durable {
            self.waits += 1;
            self.save(false);
        } else if taken.is_ordered {
            self.ordered = self.ordered.or(Some(self.now));
        }
        self.under_way.push(taken.lot);
    }

    fn end(&mut self, which: usize, never_left: bool) {
        if self.under_way.is_empty() {
            return;
        }
        let lot = self.under_way.swap_remove(which % self.under_way.len());
        if never_left {
            return self.lots.forget(lot);
        }
        let (form, at) = (self.form(), Stamp::of(self.now, None, &self.present()));
        self.lots.settle((lot, KIND), || form, (at, Duration::ZERO), self.now);
        self.ended += 1;
    }

    fn save(&mut self, all: bool) {
        let drained = self.lots.drain(self.now, all);
        for (ticket, _, record) in drained.charges {
            match record {
                Some(record) => drop(self.file.insert(ticket, record)),
                None => drop(self.file.remove(&ticket)),
            }
        }
        self.lots.written(&drained.lots);
        self.ordered = None;
    }

    fn of(&self, state: State) -> usize {
        let of = self.file.values().filter(|record| record.state == state);
        of.map(|record| record.requests as usize).sum()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Send(usize),
    End(usize, bool),
    Save,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0u64..30).prop_map(Step::Pass),
        6 => (1usize..8).prop_map(Step::Send),
        4 => (any::<usize>(), prop::bool::weighted(0.2)).prop_map(|(which, never)| Step::End(which, never)),
        2 => Just(Step::Save),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(cases(500))]

    /// Whatever comes: who is under way is in the file before, with time enough to be given
    /// up; what is booked ahead is no more than a period has seen, nor than may be; what has
    /// ended is there once it is written, and nothing else is once all have.
    #[test]
    fn the_file_covers_who_is_under_way_and_little_more(
        steps in steps(),
        most_ahead in prop_oneof![0u32..4, Just(u32::MAX)],
    ) {
        let mut world = World::new(most_ahead);
        let mut sent = Vec::new();
        for step in steps {
            match step {
                Step::Pass(ms) => world.now = world.now + Duration::from_millis(ms),
                Step::Send(many) => (0..many).for_each(|_| {
                    world.send();
                    sent.push(world.now);
                    let lot = &world.file[world.under_way.last().unwrap()];
                    let given_up = lot.at.moment(&world.present()).unwrap();
                    assert!(given_up >= world.now + LONGEST, "{lot:?} at {:?}", world.now);
                }),
                Step::End(which, never_left) => world.end(which, never_left),
                Step::Save => world.save(false),
            }
            let pending = world.of(State::Pending);
            prop_assert!(pending >= world.under_way.len(), "{} under way, {pending} booked", world.under_way.len());
            let most = sent.iter().map(|&from| sent.iter().filter(|&&at| at >= from && at.since(from) < PERIOD).count());
            let (free, most) = (world.lots.kinds.get(&KIND).map_or(0, |open| open.free), most.max().unwrap_or(0));
            prop_assert!(free as usize <= most, "{free} ahead, of {most} in a period");
            prop_assert!(free <= most_ahead, "{free} ahead, of {most_ahead}");
        }
        world.now = world.now + PERIOD * 2 + Duration::from_millis(1);
        world.save(false);
        prop_assert_eq!(world.of(State::Pending), world.under_way.len(), "what nobody took is given back");
        prop_assert_eq!(world.of(State::Settled), world.ended as usize);
        while !world.under_way.is_empty() {
            world.end(0, false);
        }
        world.save(false);
        prop_assert_eq!((world.of(State::Pending), world.lots.lots.len()), (0, 0));
        prop_assert_eq!(world.of(State::Settled), world.ended as usize);
    }
}

/// 20 a minute, and one burst: each is booked by itself.
#[test]
fn at_a_low_rate_a_lot_is_one() {
    let mut world = World::new(u32::MAX);
    for _ in 0..50 {
        world.send();
        assert_eq!(world.of(State::Pending), 1);
        world.now = world.now + Duration::from_secs(1);
        world.end(0, false);
        world.save(false);
        world.now = world.now + Duration::from_secs(2);
    }
    (0..20).for_each(|_| world.send());
    assert_eq!((world.of(State::Pending), world.waits), (20, 70));
}

/// At 20,000 a second hardly anybody waits for the disk, and few records are written.
#[test]
fn at_a_high_rate_lots_are_large_and_few() {
    let mut world = World::new(u32::MAX);
    for each in 0..20_000 {
        world.send();
        world.now = world.now + Duration::from_micros(50);
        if world.under_way.len() > 64 {
            world.end(each, false);
        }
        // The writer is woken, and the disk takes 5 ms.
        if world.ordered.is_some_and(|at| world.now.since(at) >= Duration::from_millis(5)) {
            world.save(false);
        }
    }
    assert!(world.waits < 2_500, "the first tenth of a second waits: {}", world.waits);
    let tickets = usize::try_from(world.lots.tickets).unwrap();
    // One pending and one settled for each wait, and per period after that.
    assert!(tickets < world.waits * 2 + 200, "{tickets} records, {} waits", world.waits);
}

/// Closing gives back what nobody has taken, for a successor.
#[test]
fn a_close_forfeits_nothing() {
    let mut world = World::new(u32::MAX);
    for _ in 0..100 {
        (0..5).for_each(|_| world.send());
        world.now = world.now + Duration::from_millis(5);
    }
    assert!(world.of(State::Pending) > world.under_way.len(), "some are booked ahead");
    world.save(true);
    assert_eq!(world.of(State::Pending), world.under_way.len());
}
