//! Callers at several replicas, a network to Redis with delays, and vendors, in virtual time.

mod faults;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::sync::OnceLock;
use std::time::Duration;

use super::super::replica::{Replica, Spans, UnderWay};
use super::super::wire::{Reply, Useless};
use super::super::{SCHEMA, script};
use super::caller::{Caller, Fate, Fault};
use crate::budget::desk::{Ask, BidId, Desk, Flight, Outcome};
use crate::budget::hierarchy::Books;
use crate::budget::laws::vendor::Vendor;
use crate::clock::{Moment, UnixTime};
use crate::config::OnEmpty;
use crate::quota::{LimitSet, Plan};
use crate::redis::testing::RedisServer;
use crate::redis::{Answer, Blocking, Script};

const BOUND: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_millis(100);
/// Longer than any request takes here.
const ANSWER: Duration = Duration::from_secs(2);
/// Redis's microseconds at the beginning.
const REDIS_ZERO: u64 = 1_700_000_000_000_000;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Counted(usize, usize),
    Ends(usize, usize),
    Fault(usize),
    Comes(usize),
    Run(usize, u64, u64),
    Heard(usize, u64, u64),
    TimedOut(usize, u64, u64),
}

struct Node {
    desk: Desk,
    replica: Replica,
    /// Grows with every crash.
    life: u64,
    /// This node's clock less the world's.
    ahead: Duration,
    bids: HashMap<BidId, usize>,
    /// Requests under way, by caller: ticket and how they end.
    flights: HashMap<usize, (crate::budget::desk::Grant, Flight)>,
    way: Option<(u64, UnderWay)>,
    reply: Option<(u64, Answer)>,
    text: String,
    keys: Vec<String>,
    call: u64,
    not_before: Moment,
    cut_until: Moment,
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
    delay: Duration,
    pub(super) redis: Blocking,
    pub(super) calls: u64,
    script: Script,
    copy: Script,
    slot: String,
    /// Of replicas that begin from now on.
    schema: u32,
    redis_ahead: i64,
    frozen_until: Moment,
    waiting: BTreeSet<usize>,
    served: Vec<usize>,
    last_sent: Moment,
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

/// Copies all keys of one prefix to another, in the place of what is there.
const COPY: &str = "
for _, key in ipairs(redis.call('KEYS', ARGV[1]:match('|(.*)') .. ':*')) do redis.call('DEL', key) end
local from, to = ARGV[1]:match('^(.*)|(.*)$')
for _, key in ipairs(redis.call('KEYS', from .. ':*')) do
  redis.call('COPY', key, to .. key:sub(#from + 1))
end";

impl World {
    pub(super) fn new(plan: &Plan, replicas: usize, vendors: Vec<Vec<Vendor>>, delay: Duration) -> Self {
        let slot = fresh_slot();
        let clock =
            format!("local function wall_clock() return tonumber(redis.call('GET', '{slot}-clock')) end\n");
        let mut world = Self {
            plan: plan.clone(),
            nodes: Vec::new(),
            now: Moment::ZERO,
            events: BinaryHeap::new(),
            order: 0,
            vendors,
            of_seat_0: None,
            of_division_1: None,
            delay,
            redis: server().server().blocking(),
            calls: 0,
            script: Script::new(&script(&clock)),
            copy: Script::new(COPY),
            slot,
            schema: SCHEMA,
            redis_ahead: 0,
            frozen_until: Moment::ZERO,
            waiting: BTreeSet::new(),
            served: Vec::new(),
            last_sent: Moment::ZERO,
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
        let ahead = Duration::from_secs(self.lives * 1_000);
        let now = self.now + ahead;
        let mut desk = Desk::new(self.plan.clone(), Books::new(&self.plan, now, UnixTime::from_secs(100)));
        desk.shut();
        desk.ask_first();
        let spans = Spans::of(&self.plan, Duration::ZERO, ANSWER);
        let me = format!("{:016x}", self.lives);
        let replica = Replica::new(me, "here", &self.plan, spans, OnEmpty::Trust).of_schema(self.schema);
        let keys = replica.redis_keys(&self.slot);
        Node {
            desk,
            replica,
            life: self.lives,
            ahead,
            bids: HashMap::new(),
            flights: HashMap::new(),
            way: None,
            reply: None,
            text: String::new(),
            keys,
            call: 0,
            not_before: Moment::ZERO,
            cut_until: Moment::ZERO,
        }
    }

    pub(super) fn waiting(&self) -> &BTreeSet<usize> {
        &self.waiting
    }

    pub(super) fn served(&self) -> &[usize] {
        &self.served
    }

    pub(super) fn slot_key(&self, name: &str) -> String {
        format!("{}:{name}", self.slot)
    }

    pub(super) fn last_sent(&self) -> Duration {
        self.last_sent.since(Moment::ZERO)
    }

    /// Lets everybody come, and goes on until all have been served, or a minute after.
    pub(super) fn run(&mut self, callers: &[Caller], faults: &[(Duration, Fault)]) {
        let mut at = Moment::ZERO + Duration::from_secs(4);
        for (index, caller) in callers.iter().enumerate() {
            at = at + caller.gap;
            self.after(at, Event::Comes(index));
        }
        for (index, (after, _)) in faults.iter().enumerate() {
            self.after(Moment::ZERO + Duration::from_secs(4) + *after, Event::Fault(index));
        }
        let end = at + Duration::from_secs(if faults.is_empty() { 400 } else { 40 });
        let mut coming = callers.len() + faults.len();
        while coming > 0 || !self.waiting.is_empty() || self.nodes.iter().any(|node| !node.flights.is_empty())
        {
            let event = self.events.peek().map(|Reverse((at, ..))| *at);
            let next = self.nodes.iter().map(Node::next).chain(event).min().unwrap();
            if next > end {
                return;
            }
            self.now = self.now.max(next);
            if event.is_some_and(|at| at <= self.now) {
                let Reverse((_, _, event)) = self.events.pop().unwrap();
                coming -= usize::from(matches!(event, Event::Comes(_) | Event::Fault(_)));
                self.happen(event, callers, faults);
            }
            for index in 0..self.nodes.len() {
                self.serve(index, callers);
            }
        }
    }

    fn happen(&mut self, event: Event, callers: &[Caller], faults: &[(Duration, Fault)]) {
        match event {
            Event::Comes(index) => self.come(index, &callers[index]),
            Event::Fault(index) => self.fail(faults[index].1),
            Event::Counted(index, _) => self.count(&callers[index]),
            Event::Ends(index, node) => {
                let linger = self.plan.linger;
                let node = &mut self.nodes[node];
                // Gone with its process, otherwise.
                let Some((grant, flight)) = node.flights.remove(&index) else { return };
                let now = self.now + node.ahead;
                if callers[index].fate == Fate::Lost {
                    node.desk.lose(grant, flight, now);
                    node.replica.settle(grant.ticket, now + linger);
                } else {
                    node.desk.settle(grant, flight, now);
                    node.replica.settle(grant.ticket, now);
                }
            }
            Event::Run(node, life, call) => self.execute(node, life, call),
            Event::Heard(index, life, call) => {
                let node = &mut self.nodes[index];
                if node.life != life || node.way.as_ref().is_none_or(|(number, _)| *number != call) {
                    return;
                }
                let (Some((_, way)), Some((_, answer))) = (node.way.take(), node.reply.take()) else {
                    return;
                };
                let now = self.now + node.ahead;
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
                let node = &mut self.nodes[index];
                if node.life != life || node.way.as_ref().is_none_or(|(number, _)| *number != call) {
                    return;
                }
                let now = self.now + node.ahead;
                let way = node.way.take().map(|(_, way)| way);
                node.replica.failed(&mut node.desk, way, now);
                node.not_before = self.now + RETRY;
            }
        }
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
        let micros = i64::try_from(REDIS_ZERO + self.now.as_nanos() / 1_000).unwrap() + self.redis_ahead;
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
        let node = &mut self.nodes[caller.replica];
        let now = self.now + node.ahead;
        let bid = node.desk.open(set);
        node.bids.insert(bid, index);
        let ask = Ask { seat: caller.seat, deadline: Moment::NEVER, urgency: 3 };
        // While the ledger is lost it is refused, and gone.
        if node.desk.enter(bid, ask, now).is_ok() {
            self.waiting.insert(index);
        }
    }

    fn count(&mut self, caller: &Caller) {
        let at = self.now.as_nanos();
        let all: LimitSet = (0..self.plan.limits.len()).collect();
        let some: LimitSet = all.iter().filter(|limit| caller.set >> limit & 1 == 1).collect();
        let mut counted: Vec<usize> = (if some.is_empty() { all } else { some }).iter().collect();
        counted.extend(self.of_seat_0.filter(|_| caller.seat == 0));
        counted.extend(self.of_division_1.filter(|_| self.plan.consumers[caller.seat].division == 1));
        for limit in counted {
            for vendor in &mut self.vendors[limit] {
                assert!(vendor.admits(at), "429 by {vendor:?} at {at}");
            }
        }
    }

    /// Lets one replica do what is due: send what was granted, ask for what was nominated, call.
    fn serve(&mut self, index: usize, callers: &[Caller]) {
        let now = self.now + self.nodes[index].ahead;
        self.nodes[index].desk.pump(now);
        while self.send(index, callers) {}
        let node = &mut self.nodes[index];
        for nominee in node.desk.take_nominees() {
            node.replica.ask_for_bid(nominee);
        }
        if node.desk.is_lost() {
            let gone: Vec<usize> = node.bids.values().copied().collect();
            node.bids.clear();
            self.waiting.retain(|caller| !gone.contains(caller));
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
            // Gone when the ledger was lost.
            let Some(caller) = node.bids.remove(&bid) else { continue };
            let of = &callers[caller];
            if of.fate == Fate::NeverSent || !node.replica.may_be_sent(grant.ticket, now) {
                node.desk.refund(grant, now);
                node.replica.forget(grant.ticket, now);
                self.waiting.remove(&caller);
                continue;
            }
            node.flights.insert(caller, (grant, Flight { sent: now, counted_by: None }));
            self.waiting.remove(&caller);
            self.served.push(of.seat);
            self.last_sent = self.now;
            let head = self.now + of.up + of.down;
            let counted = if of.fate == Fate::Lost { head + self.plan.linger } else { self.now + of.up };
            self.after(counted, Event::Counted(caller, index));
            self.after(head, Event::Ends(caller, index));
        }
        !decided.is_empty()
    }

    fn after(&mut self, at: Moment, event: Event) {
        self.order += 1;
        self.events.push(Reverse((at, self.order, event)));
    }
}

impl Node {
    /// When its next call may be made, on the world's clock.
    fn due(&self) -> Moment {
        let due = self.replica.next_call(self.desk.waiting());
        self.not_before.max(due - self.ahead)
    }

    fn next(&self) -> Moment {
        let wake = self.desk.next_wake().filter(|_| self.desk.waiting() > 0).map(|at| at - self.ahead);
        let call = (self.way.is_none()).then(|| self.due());
        wake.into_iter().chain(call).min().unwrap_or(Moment::NEVER)
    }
}
