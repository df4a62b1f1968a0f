//! Callers, a network with delays, and vendors around one desk, in virtual time.

mod outsiders;
mod truth;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::time::Duration;

pub(crate) use outsiders::Refused;

use super::History;
use super::vendor::Vendor;
use crate::budget::desk::{Ask, BidId, Desk, Flight, Grant, Outcome};
use crate::budget::hierarchy::Books;
use crate::budget::queue::EntryId;
use crate::budget::refusal::Denied;
use crate::clock::{Moment, UnixTime};
use crate::quota::{LimitSet, Pace, Plan};

/// What one caller does, and what becomes of its request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Since the caller before.
    pub(crate) gap: Duration,
    /// Where it asks, if there are several; as often over as it takes.
    pub(crate) replica: usize,
    pub(crate) seat: usize,
    /// How long it waits at most; none: for ever.
    pub(crate) patience: Option<Duration>,
    pub(crate) hang_up: Option<Duration>,
    /// From the send until the vendor counts, and from there to the head.
    pub(crate) up: Duration,
    pub(crate) down: Duration,
    pub(crate) fate: Fate,
    /// Which limits count it, bit by bit; all of them where that would be none.
    pub(crate) set: u8,
    /// Enters the bid of the caller before, if it counts against the same limits.
    pub(crate) joins: bool,
    pub(crate) urgency: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// Given up after the time that `up` and `down` say, counted as late as allowed.
    Lost,
    /// The permit is dropped.
    NeverSent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Counted(usize),
    AllSent(usize),
    Head(usize),
    GiveUp(usize),
    Deadline(EntryId),
    HangUp(EntryId),
    Comes(usize),
    /// Somebody else uses the account.
    Outsider,
}

struct Sent {
    grant: Grant,
    flight: Flight,
    counted_at: Moment,
    in_flight: bool,
    is_refused: bool,
}

struct Waiting {
    seat: usize,
    set: LimitSet,
    bid: BidId,
    for_ever: bool,
    deadline: Moment,
}

pub(crate) struct World {
    pub(crate) desk: Desk,
    plan: Plan,
    now: Moment,
    events: BinaryHeap<Reverse<(Moment, u64, Event)>>,
    order: u64,
    vendors: Vec<Vec<Vendor>>,
    sent: Vec<Sent>,
    waiting: BTreeMap<EntryId, Waiting>,
    bids: HashMap<BidId, usize>,
    granted: HashSet<BidId>,
    wall: u64,
    vendor_at_zero: Option<u64>,
    drift_ppm: i64,
    refuses: Option<Refused>,
}

impl World {
    pub(crate) fn new(plan: &Plan, vendors: Vec<Vec<Vendor>>) -> Self {
        let books = Books::new(plan, Moment::ZERO, UnixTime::from_secs(100));
        Self {
            desk: Desk::new(plan.clone(), books),
            plan: plan.clone(),
            now: Moment::ZERO,
            events: BinaryHeap::new(),
            order: 0,
            vendors,
            sent: Vec::new(),
            waiting: BTreeMap::new(),
            bids: HashMap::new(),
            granted: HashSet::new(),
            wall: 100_000_000_000,
            vendor_at_zero: None,
            drift_ppm: 0,
            refuses: None,
        }
    }

    /// Where `history` is to happen.
    pub(crate) fn of(history: &History) -> Self {
        let mut world = Self::new(&history.plan, history.vendors.clone());
        world.set_wall(history.wall, history.vendor_at_zero);
        if let Some(spread) = history.spread {
            world.teach_spread(spread);
        }
        world.drift(history.drift_ppm);
        world
    }

    /// Our wall's nanoseconds at the start, and the vendor's if it sends dates.
    fn set_wall(&mut self, wall: u64, vendor_at_zero: Option<u64>) {
        let books = Books::new(&self.plan, Moment::ZERO, UnixTime::from_nanos(wall));
        self.desk = Desk::new(self.plan.clone(), books);
        (self.wall, self.vendor_at_zero) = (wall, vendor_at_zero);
    }

    fn teach_spread(&mut self, spread: Duration) {
        self.desk.teach_latency(Duration::ZERO);
        self.desk.teach_latency(spread);
    }

    /// Lets everybody come, and goes on until nothing more happens.
    pub(crate) fn run(&mut self, callers: &[Caller]) {
        let mut at = self.now;
        for (index, caller) in callers.iter().enumerate() {
            at = at + caller.gap;
            self.after(at, Event::Comes(index));
        }
        let mut last_bid = None;
        loop {
            let event = self.events.peek().map(|Reverse((at, ..))| *at);
            let wake = self.desk.next_wake().filter(|_| self.desk.waiting() > 0);
            let Some(next) = event.into_iter().chain(wake).min() else { break };
            assert!(next >= self.now, "time goes on");
            assert!(wake.is_none_or(|wake| wake > self.now), "a wake-up without end");
            self.now = next;
            let wall = UnixTime::from_nanos(self.wall + self.now.as_nanos());
            self.desk.follow_wall(self.now, wall);
            if event == Some(next) {
                let Reverse((_, _, event)) = self.events.pop().unwrap();
                self.happen(event, callers, &mut last_bid);
            }
            self.desk.pump(self.now);
            // What never leaves is refunded, and lets the next one go at the same moment.
            while self.send_granted(callers) {}
            self.check();
        }
    }

    /// Those that would wait for ever and still do.
    pub(crate) fn starved(&self) -> Vec<EntryId> {
        self.waiting.iter().filter(|(_, waiting)| waiting.for_ever).map(|(id, _)| *id).collect()
    }

    fn happen(&mut self, event: Event, callers: &[Caller], last_bid: &mut Option<(BidId, LimitSet)>) {
        let now = self.now;
        match event {
            Event::Comes(index) => self.come(index, &callers[index], last_bid),
            Event::Counted(flight) => {
                self.sent[flight].is_refused = self.arrives(self.sent[flight].grant.set);
            }
            Event::Outsider => drop(self.arrives((0..self.plan.limits.len()).collect())),
            Event::AllSent(flight) => {
                let sent = &mut self.sent[flight];
                sent.flight.counted_by = self.desk.all_sent(sent.grant, now);
            }
            Event::Head(flight) => {
                let sent = &mut self.sent[flight];
                sent.in_flight = false;
                self.desk.settle(sent.grant, sent.flight, now);
                if let Some(zero) = self.vendor_at_zero {
                    let date = UnixTime::from_secs((zero + sent.counted_at.as_nanos()) / 1_000_000_000);
                    self.desk.learn_date(date, sent.flight.sent, now, now);
                }
                if sent.is_refused {
                    self.learn(flight);
                }
            }
            Event::GiveUp(flight) => {
                let sent = &mut self.sent[flight];
                sent.in_flight = false;
                self.desk.lose(sent.grant, sent.flight, now);
            }
            Event::Deadline(id) => {
                if let Some(refusal) = self.desk.time_out(id, now) {
                    assert!(refusal.retry_at > now, "{refusal:?} at {now:?}");
                    self.waiting.remove(&id);
                }
            }
            Event::HangUp(id) => {
                self.desk.leave(id, now);
                self.waiting.remove(&id);
            }
        }
    }

    fn come(&mut self, index: usize, caller: &Caller, last_bid: &mut Option<(BidId, LimitSet)>) {
        let all: LimitSet = (0..self.plan.limits.len()).collect();
        let some: LimitSet = all.iter().filter(|limit| caller.set >> limit & 1 == 1).collect();
        let set = if some.is_empty() { all } else { some };
        let bid = match *last_bid {
            Some((bid, of)) if caller.joins && of == set => bid,
            _ => {
                let bid = self.desk.open(set);
                self.bids.insert(bid, index);
                bid
            }
        };
        *last_bid = Some((bid, set));
        let deadline = caller.patience.map_or(Moment::NEVER, |patience| self.now + patience);
        let ask = Ask { seat: caller.seat, deadline, urgency: caller.urgency };
        let before = caller.patience.map(|_| self.desk.clone());
        let is_sole = self.bids.get(&bid) == Some(&index);
        let at_once = is_sole.then(|| self.at_once(caller.seat, set)).flatten();
        self.desk.forget_herds();
        let entered = self.desk.enter(bid, ask, self.now);
        if let Some((grant, starts)) = at_once {
            let same = self.desk.granted(bid).map(|granted| Grant { ticket: grant.ticket, ..granted });
            assert_eq!((same, self.desk.starts()), (Some(grant), starts), "who need not queue gains nothing");
        }
        match entered {
            // Paid for already.
            Ok(id) if self.granted.contains(&bid) => self.desk.leave(id, self.now),
            Ok(id) => {
                let for_ever = caller.patience.is_none() && caller.hang_up.is_none();
                self.waiting.insert(id, Waiting { seat: caller.seat, set, bid, for_ever, deadline });
                if caller.patience.is_some() {
                    self.after(deadline, Event::Deadline(id));
                }
                if let Some(after) = caller.hang_up {
                    self.after(self.now + after, Event::HangUp(id));
                }
            }
            Err(Denied::Refused(refusal)) => {
                assert!(
                    deadline == self.now || refusal.retry_at > deadline,
                    "{refusal:?} although there was time"
                );
                let truth = self.truth(before.expect("only a deadline is refused"), ask, set);
                assert!(refusal.retry_at <= truth, "law 7: {refusal:?}, but a yes at {truth:?}");
                // Whose fetch it is decides, if it is joined; a promise may be kept early; and
                // distances grow with what the last answers take.
                let is_sole = self.bids[&bid] == index;
                if is_sole && self.plan.counted_within.is_none() && self.plan.pace == Pace::Exact {
                    assert_eq!(refusal.retry_at, truth, "law 7: {refusal:?}");
                }
            }
            Err(Denied::Closed) => assert!(caller.joins),
            Err(Denied::Gone) => unreachable!("the plan stays"),
        }
    }

    /// What the same caller would have come to without a bid, and how all stand after that.
    fn at_once(&self, seat: usize, set: LimitSet) -> Option<(Grant, Vec<[u128; 2]>)> {
        let mut desk = self.desk.clone();
        let grant = desk.admit_at_once(u32::try_from(seat).unwrap(), set, self.now)?;
        Some((grant, desk.starts()))
    }

    fn send_granted(&mut self, callers: &[Caller]) -> bool {
        let decided = self.desk.take_decided();
        for &bid in &decided {
            let Outcome::Granted(grant) = self.desk.take(bid) else { continue };
            assert_eq!(self.desk.take(bid), Outcome::Over, "a permit is handed out once");
            assert!(self.granted.insert(bid), "law 3: one bid, one grant");
            self.waiting.retain(|_, waiting| waiting.bid != bid);
            let caller = &callers[self.bids[&bid]];
            if caller.fate == Fate::NeverSent {
                self.desk.refund(grant, self.now);
                continue;
            }
            let flight = self.sent.len();
            let head = self.now + caller.up + caller.down;
            let counted_at = match caller.fate {
                Fate::Lost if self.plan.counted_within.is_none() => head + self.plan.linger,
                _ => self.now + caller.up,
            };
            self.sent.push(Sent {
                grant,
                flight: Flight { sent: self.now, counted_by: None },
                counted_at,
                in_flight: true,
                is_refused: false,
            });
            for limit in grant.set.iter() {
                let closed = self.desk.closed_until(limit, self.now);
                assert_eq!(closed, None, "nothing leaves while a window is closed");
            }
            if self.plan.counted_within.is_some() {
                self.after(self.now, Event::AllSent(flight));
            }
            self.after(counted_at, Event::Counted(flight));
            let end = if caller.fate == Fate::Lost { Event::GiveUp(flight) } else { Event::Head(flight) };
            self.after(head, end);
        }
        !decided.is_empty()
    }

    pub(crate) fn now(&self) -> Moment {
        self.now
    }

    /// What holds between any two events.
    fn check(&self) {
        let books = self.desk.books();
        let divisions = self.plan.divisions.len();
        for limit in 0..self.plan.limits.len() {
            let used = books.window(limit).used();
            assert!(used <= self.plan.limits[limit].requests.get(), "law 1: {used} of {limit}");
            let used = used - books.used_by_nobody(limit);
            let sum = |nodes: std::ops::Range<usize>| nodes.map(|n| books.used_by(n, limit)).sum::<u32>();
            let seats = divisions..divisions + self.plan.consumers.len();
            assert_eq!((used, used), (sum(0..divisions), sum(seats)), "law 2: one charge, every node");
            for node in 0..divisions + self.plan.consumers.len() {
                assert!(books.cap_of(node, limit).is_none_or(|cap| books.used_by(node, limit) <= cap));
            }
        }
        for (id, waiting) in &self.waiting {
            assert!(self.has_obstacle(waiting), "law 5: {id} waits for nothing");
        }
        assert_eq!(self.desk.waiting(), self.waiting.len());
    }

    /// Why this caller has to wait, found without the queue.
    fn has_obstacle(&self, waiting: &Waiting) -> bool {
        let books = self.desk.books();
        let path = books.path(u32::try_from(waiting.seat).unwrap());
        let is_full = |limit: usize| {
            let window = books.window(limit);
            let is_below = |node: usize| {
                books
                    .holds()
                    .reserve_of(node)
                    .is_some_and(|reserve| books.used_by(node, limit) < reserve[limit])
            };
            // A division's reserve may be spoken for by its consumers' reserves.
            let inner =
                books.holds().estates().any(|(division, owners)| division == path[0] && !owners.is_empty());
            let has_reserve = is_below(path[1]) || (is_below(path[0]) && !inner);
            assert!(!has_reserve || window.free() > 0, "law 4: no slot for an owner below its reserve");
            let room = window.free().saturating_sub(if has_reserve { 0 } else { books.holds().total(limit) });
            let paced = self.now < books.not_before(limit, 0);
            room == 0 || paced || path.iter().any(|&node| books.capped(node, limit))
        };
        waiting.set.iter().any(is_full)
    }

    fn after(&mut self, at: Moment, event: Event) {
        self.order += 1;
        self.events.push(Reverse((at, self.order, event)));
    }
}
