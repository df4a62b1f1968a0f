//! Callers at several replicas, a network to Redis with delays, and vendors, in virtual time.

mod ends;
mod faults;
mod node;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::OnceLock;
use std::time::Duration;

use super::super::replica::{Replica, Spans, UnderWay};
use super::super::wire::{Reply, Useless};
use super::super::{SCHEMA, script};
use crate::budget::desk::{Ask, BidId, Desk, Flight, Grant, Outcome};
use crate::budget::hierarchy::Books;
use crate::budget::laws::History;
use crate::budget::laws::vendor::Vendor;
use crate::budget::laws::world::{Caller, Fate};
use crate::budget::queue::EntryId;
use crate::budget::refusal::{Denied, Reason};
use crate::clock::{Moment, UnixTime};
use crate::config::OnEmpty;
use crate::quota::{LimitSet, Plan};
use crate::redis::testing::RedisServer;
use crate::redis::{Answer, Blocking, Script};
pub(super) use faults::Fault;
use node::Node;

const BOUND: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_millis(100);
/// Longer than any request takes here.
const ANSWER: Duration = Duration::from_secs(4);
/// Until all replicas have joined.
const BEGINS: Duration = Duration::from_secs(4);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Counted(usize),
    AllSent(usize),
    Ends(usize),
    Fault(usize),
    Comes(usize),
    Deadline(usize),
    HangUp(usize),
    Run(usize, u64, u64),
    Heard(usize, u64, u64),
    TimedOut(usize, u64, u64),
}

/// A caller that waits.
struct Waiting {
    node: usize,
    id: EntryId,
    bid: BidId,
    for_ever: bool,
}

/// A request that has left.
struct Sent {
    node: usize,
    life: u64,
    grant: Grant,
    flight: Flight,
    fate: Fate,
    counted_at: Moment,
    /// On the world's clock: by when it was counted, once that is known.
    until: Option<Moment>,
}

pub(super) struct World {
    plan: Plan,
    nodes: Vec<Node>,
    now: Moment,
    events: BinaryHeap<Reverse<(Moment, u64, Event)>>,
    order: u64,
    vendors: Vec<Vec<Vendor>>,
    pub(super) of_seat_0: Option<usize>,
    pub(super) of_division_1: Option<usize>,
    /// Nobody waits, and vendors are not asked.
    pub(super) observes: bool,
    delay: Duration,
    pub(super) redis: Blocking,
    pub(super) calls: u64,
    script: Script,
    copy: Script,
    slot: String,
    /// Of replicas that begin from now on.
    schema: u32,
    /// Our wall, and that of Redis's machine, at the beginning.
    wall: u64,
    vendor_at_zero: Option<u64>,
    spread: Option<Duration>,
    drift_ppm: i64,
    redis_ahead: i64,
    frozen_until: Moment,
    waiting: BTreeMap<usize, Waiting>,
    sent: Vec<Sent>,
    lives: u64,
}

/// One server for all properties of this process; each world has its own slot.
pub(super) fn server() -> &'static RedisServer {
    static SERVER: OnceLock<RedisServer> = OnceLock::new();
    SERVER.get_or_init(RedisServer::start)
}

pub(super) fn fresh_slot() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static SLOTS: AtomicU64 = AtomicU64::new(0);
    format!("{{test{}}}", SLOTS.fetch_add(1, Ordering::Relaxed))
}

impl World {
    pub(super) fn new(plan: &Plan, replicas: usize, vendors: Vec<Vec<Vendor>>, delay: Duration) -> Self {
        Self::of(&History::new(plan.clone(), vendors, Vec::new()), replicas, delay)
    }

    /// Where `history` is to happen.
    pub(super) fn of(history: &History, replicas: usize, delay: Duration) -> Self {
        let slot = fresh_slot();
        let clock =
            format!("local function wall_clock() return tonumber(redis.call('GET', '{slot}-clock')) end\n");
        let mut world = Self {
            plan: history.plan.clone(),
            nodes: Vec::new(),
            now: Moment::ZERO,
            events: BinaryHeap::new(),
            order: 0,
            vendors: history.vendors.clone(),
            of_seat_0: None,
            of_division_1: None,
            observes: false,
            delay,
            redis: server().server().blocking(),
            calls: 0,
            script: Script::new(&script(&clock)),
            copy: Script::new(faults::COPY),
            slot,
            schema: SCHEMA,
            wall: history.wall,
            vendor_at_zero: history.vendor_at_zero,
            spread: history.spread,
            drift_ppm: history.drift_ppm,
            redis_ahead: 0,
            frozen_until: Moment::ZERO,
            waiting: BTreeMap::new(),
            sent: Vec::new(),
            lives: 0,
        };
        for _ in 0..replicas {
            let node = world.node();
            world.nodes.push(node);
        }
        world
    }

    fn node(&mut self) -> Node {
        self.lives += 1;
        let mut node = Node::new(&self.plan, (self.lives, self.schema), &self.slot, self.now, self.wall());
        if let Some(spread) = self.spread {
            node.desk.teach_latency(Duration::ZERO);
            node.desk.teach_latency(spread);
        }
        node
    }

    /// Those that would wait for ever and still do.
    pub(super) fn starved(&self) -> Vec<usize> {
        self.waiting.iter().filter(|(_, waiting)| waiting.for_ever).map(|(caller, _)| *caller).collect()
    }

    /// The seats of all that left, in order.
    pub(super) fn served(&self) -> Vec<usize> {
        self.sent.iter().map(|sent| sent.grant.seat as usize).collect()
    }

    pub(super) fn slot_key(&self, name: &str) -> String {
        format!("{}:{name}", self.slot)
    }

    pub(super) fn last_sent(&self) -> Duration {
        let sent = self.sent.last().expect("somebody has been served");
        (sent.flight.sent - self.nodes[sent.node].ahead).since(Moment::ZERO)
    }

    /// Lets everybody come, and goes on until all have been served, or a minute after.
    pub(super) fn run(&mut self, callers: &[Caller], faults: &[(Duration, Fault)]) {
        let mut at = Moment::ZERO + BEGINS;
        for (index, caller) in callers.iter().enumerate() {
            at = at + caller.gap;
            self.after(at, Event::Comes(index));
        }
        for (index, (after, _)) in faults.iter().enumerate() {
            self.after(Moment::ZERO + BEGINS + *after, Event::Fault(index));
        }
        let end = at + Duration::from_secs(if faults.is_empty() { 400 } else { 40 });
        let mut coming = callers.len() + faults.len();
        while coming > 0 || !self.waiting.is_empty() || self.sent.iter().any(|sent| self.is_under_way(sent)) {
            match self.step(end, callers, faults) {
                None => return,
                Some(event) => {
                    coming -= usize::from(matches!(event, Some(Event::Comes(_) | Event::Fault(_))));
                }
            }
        }
    }

    /// What happens next; none if that is beyond `end`.
    fn step(
        &mut self,
        end: Moment,
        callers: &[Caller],
        faults: &[(Duration, Fault)],
    ) -> Option<Option<Event>> {
        let event = self.events.peek().map(|Reverse((at, ..))| *at);
        let next = self.nodes.iter().map(Node::next).chain(event).min().unwrap();
        if next > end {
            return None;
        }
        self.now = self.now.max(next);
        let event = event.filter(|at| *at <= self.now).and_then(|_| self.events.pop());
        let event = event.map(|Reverse((_, _, event))| event);
        if let Some(event) = event.clone() {
            self.happen(event, callers, faults);
        }
        for index in 0..self.nodes.len() {
            self.serve(index, callers);
        }
        Some(event)
    }

    fn happen(&mut self, event: Event, callers: &[Caller], faults: &[(Duration, Fault)]) {
        match event {
            Event::Comes(index) => self.come(index, &callers[index]),
            Event::Fault(index) => self.fail(faults[index].1),
            Event::Deadline(caller) => self.time_out(caller),
            Event::HangUp(caller) => {
                let Some(waiting) = self.waiting.remove(&caller) else { return };
                let node = &mut self.nodes[waiting.node];
                node.desk.leave(waiting.id, self.now + node.ahead);
            }
            Event::Counted(sent) => self.count(sent),
            Event::AllSent(sent) => self.all_sent(sent),
            Event::Ends(sent) => self.end(sent),
            Event::Run(node, life, call) => self.execute(node, life, call),
            Event::Heard(index, life, call) => {
                let Some(node) = self.calling(index, life, call) else { return };
                let (Some((_, way)), Some((_, answer))) = (node.way.take(), node.reply.take()) else {
                    return;
                };
                let now = self.now + self.nodes[index].ahead;
                let node = &mut self.nodes[index];
                match Reply::of(&answer) {
                    Ok(reply) => drop(node.replica.answered(&mut node.desk, (way, reply), now)),
                    Err(no) => {
                        assert!(matches!(no, Useless::Superseded(_)), "{no}: {answer:?}");
                        node.replica.failed(&mut node.desk, Some(way), now);
                        node.not_before = self.now + RETRY;
                    }
                }
            }
            Event::TimedOut(index, life, call) => {
                let now = self.now;
                let Some(node) = self.calling(index, life, call) else { return };
                let way = node.way.take().map(|(_, way)| way);
                node.replica.failed(&mut node.desk, way, now + node.ahead);
                node.not_before = now + RETRY;
            }
        }
    }

    /// The node, if it still waits for the answer to this call.
    fn calling(&mut self, index: usize, life: u64, call: u64) -> Option<&mut Node> {
        let node = &mut self.nodes[index];
        let is_waiting = node.life == life && node.way.as_ref().is_some_and(|(number, _)| *number == call);
        is_waiting.then_some(node)
    }

    fn execute(&mut self, index: usize, life: u64, call: u64) {
        if self.now < self.frozen_until {
            return self.after(self.frozen_until, Event::Run(index, life, call));
        }
        let (text, keys) = {
            let node = &self.nodes[index];
            // A dead process's words may still arrive; here they do not.
            if node.life != life || node.call != call {
                return;
            }
            (node.text.clone(), node.keys.clone())
        };
        let micros = i64::try_from(self.wall().as_nanos() / 1_000).unwrap() + self.redis_ahead;
        self.redis.command(&["SET", &format!("{}-clock", self.slot), &micros.to_string()]);
        self.calls += 1;
        let answer = self.redis.run(&self.script, &keys, &text);
        let cut = self.nodes[index].cut_until > self.now;
        self.nodes[index].reply = Some((call, answer));
        if !cut {
            self.after(self.now + self.delay, Event::Heard(index, life, call));
        }
    }

    fn come(&mut self, index: usize, caller: &Caller) {
        let all: LimitSet = (0..self.plan.limits.len()).collect();
        let some: LimitSet = all.iter().filter(|limit| caller.set >> limit & 1 == 1).collect();
        let set = if some.is_empty() { all } else { some };
        let at = caller.replica % self.nodes.len();
        if self.observes {
            return self.observe(at, caller, set);
        }
        let node = &mut self.nodes[at];
        let now = self.now + node.ahead;
        let joined =
            node.last_bid.filter(|(bid, of)| caller.joins && *of == set && node.bids.contains_key(bid));
        let bid = joined.map_or_else(|| node.desk.open(set), |(bid, _)| bid);
        node.bids.entry(bid).or_insert(index);
        node.last_bid = Some((bid, set));
        let deadline = caller.patience.map_or(Moment::NEVER, |patience| now + patience);
        match node.desk.enter(bid, Ask { seat: caller.seat, deadline, urgency: caller.urgency }, now) {
            Ok(id) => {
                let for_ever = caller.patience.is_none() && caller.hang_up.is_none();
                self.waiting.insert(index, Waiting { node: at, id, bid, for_ever });
                if let Some(patience) = caller.patience {
                    self.after(self.now + patience, Event::Deadline(index));
                }
                if let Some(after) = caller.hang_up {
                    self.after(self.now + after, Event::HangUp(index));
                }
            }
            Err(Denied::Refused(refusal)) => {
                let is_honest = deadline == now || refusal.retry_at > deadline;
                let is_up = !matches!(refusal.reason, Reason::StoreLost | Reason::Loading);
                assert!(is_honest || !is_up, "{refusal:?} although there was time");
            }
            // All who wanted it have gone.
            Err(Denied::Closed) => assert!(joined.is_some()),
            Err(Denied::Gone) => unreachable!("the plan stays"),
        }
    }

    /// Lets one replica do what is due: send what was granted, ask for what was nominated, call.
    fn serve(&mut self, index: usize, callers: &[Caller]) {
        let (now, wall) = (self.now + self.nodes[index].ahead, self.wall());
        self.nodes[index].advance(now, wall);
        while self.send(index, callers) {}
        self.hear_no(index);
        let node = &mut self.nodes[index];
        for nominee in node.desk.take_nominees() {
            node.replica.ask_for_bid(nominee);
        }
        if node.way.is_some() || node.due() > self.now {
            return;
        }
        node.call += 1;
        let (request, way) = node.replica.call(&node.desk, now, BOUND);
        node.text = serde_json::to_string(&request).unwrap();
        (node.way, node.reply) = (Some((node.call, way)), None);
        let (life, call, cut) = (node.life, node.call, node.cut_until > self.now);
        self.after(self.now + BOUND, Event::TimedOut(index, life, call));
        // Half of what is cut off is cut off on the way back.
        if !cut || call % 2 == 0 {
            self.after(self.now + self.delay, Event::Run(index, life, call));
        }
    }

    fn send(&mut self, index: usize, callers: &[Caller]) -> bool {
        let now = self.now + self.nodes[index].ahead;
        let decided = self.nodes[index].desk.take_decided();
        for &bid in &decided {
            let node = &mut self.nodes[index];
            let Outcome::Granted(grant) = node.desk.take(bid) else { continue };
            self.waiting.retain(|_, waiting| waiting.node != index || waiting.bid != bid);
            let of = &callers[node.bids.remove(&bid).expect("a bid is granted once")];
            if of.fate == Fate::NeverSent || !node.replica.may_be_sent(grant.ticket, now) {
                node.desk.refund(grant, now);
                node.replica.forget(grant.ticket, now);
                continue;
            }
            self.leave(index, grant, of);
        }
        !decided.is_empty()
    }

    fn wall(&self) -> UnixTime {
        UnixTime::from_nanos(self.wall + self.now.as_nanos())
    }

    fn after(&mut self, at: Moment, event: Event) {
        self.order += 1;
        self.events.push(Reverse((at, self.order, event)));
    }
}
