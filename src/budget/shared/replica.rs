//! What one replica knows of the shared ledger: the pure core behind `shared`.
//!
//! It builds the next call of the script from what has come up, and folds the answer
//! into the desk. One call is under way at a time; whatever comes up meanwhile goes
//! with the next. Every charge of every replica is mirrored here until it counts no
//! more: so the desk predicts what the script will say, and a Redis that has lost
//! something is told it again.
//!
//! No call is ever assumed to have been lost, or done: what was asked for and not
//! answered is given back under its id, which is done once whether it was booked or not.

mod call;
mod fold;
mod lessons;
mod memory;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock::{Moment, UnixTime};
use crate::config::OnEmpty;
use crate::id::LimitName;
use crate::quota::{self, LimitSet, Plan, Scope};

use super::super::desk::{BidId, Bounds, Desk, Grant, Nominee};
use super::super::ledger;
use super::super::log::Seat;
use super::super::queue::{Place, Stake, Tagged, Waiting};
use super::SCHEMA;
use super::aside::Aside;
use super::skew::{Jumped, Skew};
use super::wire::{self, Booking, Change, Id, Limit, On, Request, State, Want};

use lessons::Lessons;
pub(in crate::budget) use memory::Spans;

/// The most changes that one call tells.
const MAX_CHANGES: usize = 500;

/// One replica's part in the shared ledger of one upstream.
#[derive(Debug)]
pub(in crate::budget) struct Replica {
    me: String,
    /// The version of what it reads and writes in Redis.
    schema: u32,
    limits: Vec<quota::Limit>,
    /// Per limit: its key.
    keys: Vec<String>,
    /// By the script's names: "d:division", "c:consumer", and " v" or "" for what is above them.
    tagged: HashMap<String, Tagged>,
    /// Per seat: division and consumer.
    names: Vec<(String, String)>,
    /// By consumer, whichever division it was in when it was charged.
    seats: HashMap<String, Seat>,
    spans: Spans,
    on_empty: OnEmpty,
    /// What this replica has for itself, if anything is set aside.
    pub(in crate::budget::shared) aside: Option<Aside>,
    phase: Phase,
    epoch: String,
    calls: u64,
    acked: u64,
    seen: u64,
    skew: Option<Skew>,
    /// Redis's machine's own clock, less ours.
    wall: Option<i128>,
    charges: HashMap<Id, Charge>,
    /// Pending charges of others: whoever made them may have died.
    lapsing: BTreeSet<(Moment, Id)>,
    /// Charges whose last change Redis may not know, each with the number of that change.
    outbox: BTreeMap<Id, u64>,
    changes: u64,
    asks: VecDeque<Asked>,
    lessons: Lessons,
    members: Vec<String>,
    expects: Vec<String>,
    /// What is still to be told to a new epoch.
    untold: Vec<Id>,
    has_booked: bool,
    must_reset: bool,
    /// Nothing has answered since it was lost.
    is_away: bool,
    /// A call has neither been answered nor failed.
    is_calling: bool,
    last_call: Option<Moment>,
    last_answer: Option<Moment>,
    last_sweep: Moment,
    /// Times in a row that the script said no to what the books allow.
    unexplained: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The epoch is not known.
    Stranger,
    /// What is remembered is being told.
    Joining,
    /// Up to date; bookings may still be shut.
    Member { open: bool },
}

/// One charge, of whichever replica.
#[derive(Clone, Debug)]
struct Charge {
    seat: Seat,
    set: LimitSet,
    weight: u32,
    state: State,
    until: Moment,
    division: String,
    consumer: String,
    limits: String,
}

/// A request that is to be booked.
#[derive(Debug)]
struct Asked {
    id: Id,
    grant: Grant,
    bounds: Bounds,
    turn: Option<Stake>,
    origin: Origin,
    /// Until when it can be counted, if it is booked by the call that asks.
    until: Moment,
}

/// Who is told.
#[derive(Debug)]
enum Origin {
    Bid(BidId, Place),
    Permit(oneshot::Sender<bool>),
}

/// A call on its way.
#[derive(Debug)]
pub(in crate::budget::shared) struct UnderWay {
    sent: Moment,
    asked: Vec<Asked>,
    told: Vec<(Id, u64)>,
    taught: BTreeSet<usize>,
    refilled: usize,
    joins: bool,
}

/// What an answer, or none, means; for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::budget) enum Fact {
    /// Redis is empty, older than what was seen, or has begun anew.
    EpochLost,
    ClockJumped(Duration),
    /// Which part is set aside for this replica, of how many.
    Part(Option<u32>),
    /// Admissions begin, or go on.
    Open {
        charges: usize,
    },
    /// Another replica was refused by the vendor: this limit is closed, or spaced, here too.
    Taught {
        limit: LimitName,
        /// Closed then, and until then; if that is news.
        closing: Option<(Moment, Moment)>,
        even: bool,
    },
    /// Another replica has found that the vendor does not count within `counted_within`.
    PromiseBroken,
    /// It was reached again.
    Back,
    /// It has not been reached for too long.
    Lost,
}

impl Replica {
    /// `me` is unique to this process. `egress` names the address that it sends from.
    pub(in crate::budget) fn new(
        me: String,
        egress: &str,
        plan: &Plan,
        spans: Spans,
        on_empty: OnEmpty,
    ) -> Self {
        let key = |limit: &quota::Limit| match limit.scope {
            Scope::Account => limit.name.to_string(),
            Scope::Address => format!("{}@{egress}", limit.name),
        };
        let names = plan
            .consumers
            .iter()
            .map(|consumer| (plan.divisions[consumer.division].name.to_string(), consumer.name.to_string()));
        let names: Vec<_> = names.collect();
        Self {
            me,
            schema: SCHEMA,
            keys: plan.limits.iter().map(key).collect(),
            tagged: tagged(plan),
            seats: names.iter().map(|(_, consumer)| consumer.clone()).zip(0..).collect(),
            names,
            limits: plan.limits.clone(),
            spans,
            on_empty,
            aside: None,
            phase: Phase::Stranger,
            epoch: String::new(),
            calls: 0,
            acked: 0,
            seen: 0,
            skew: None,
            wall: None,
            charges: HashMap::new(),
            lapsing: BTreeSet::new(),
            outbox: BTreeMap::new(),
            changes: 0,
            asks: VecDeque::new(),
            lessons: Lessons::default(),
            members: Vec::new(),
            expects: Vec::new(),
            untold: Vec::new(),
            has_booked: false,
            must_reset: false,
            is_away: false,
            is_calling: false,
            last_call: None,
            last_answer: None,
            last_sweep: Moment::ZERO,
            unexplained: 0,
        }
    }

    /// The same as another version of weir would have it.
    #[cfg(test)]
    pub(in crate::budget::shared) fn of_schema(mut self, schema: u32) -> Self {
        self.schema = schema;
        self
    }

    /// The number of the part that is set aside for this replica, if it may be used.
    pub(in crate::budget::shared) fn part(&self, now: Moment) -> Option<u32> {
        self.aside.as_ref()?.usable(now)
    }

    /// The keys that the script works on.
    pub(in crate::budget) fn redis_keys(&self, slot: &str) -> Vec<String> {
        let fixed = ["state", "charges", "changes", "expiry", "used", "tags"].map(str::to_owned);
        let windows = self.keys.iter().map(|key| format!("window:{key}"));
        let versioned = fixed.into_iter().chain(windows).map(|name| format!("{slot}:{}:{name}", self.schema));
        std::iter::once(format!("{slot}:schema")).chain(versioned).collect()
    }

    /// What Redis's machine has for a wall clock, so that all replicas see one calendar.
    pub(in crate::budget) fn wall(&self, now: Moment) -> Option<UnixTime> {
        let nanos = i128::from(now.as_nanos()) + self.wall?;
        u64::try_from(nanos).ok().map(UnixTime::from_nanos)
    }

    /// A bid would leave.
    pub(in crate::budget) fn ask_for_bid(&mut self, nominee: Nominee) {
        let Nominee { bid, grant, bounds, place, stake } = nominee;
        self.asks.push_back(Asked {
            id: self.id(grant.ticket),
            grant,
            bounds,
            turn: Some(stake),
            origin: Origin::Bid(bid, place),
            until: Moment::NEVER,
        });
    }

    /// A permit was handed out and has to be booked; told whether it was.
    pub(in crate::budget) fn ask_for_permit(
        &mut self,
        grant: Grant,
        bounds: Bounds,
    ) -> oneshot::Receiver<bool> {
        let (tell, told) = oneshot::channel();
        self.asks.push_back(Asked {
            id: self.id(grant.ticket),
            grant,
            bounds,
            turn: None,
            origin: Origin::Permit(tell),
            until: Moment::NEVER,
        });
        told
    }

    /// The next call, and what to remember of it until it is answered, or not.
    pub(in crate::budget::shared) fn call(
        &mut self,
        desk: &Desk,
        now: Moment,
        bound: Duration,
    ) -> (Request, UnderWay) {
        debug_assert!(!self.is_calling, "one call is under way at a time");
        self.is_calling = true;
        self.calls += 1;
        self.last_call = Some(now);
        let mut way = UnderWay {
            sent: now,
            asked: Vec::new(),
            told: Vec::new(),
            taught: BTreeSet::new(),
            refilled: 0,
            joins: false,
        };
        let mut request = Request {
            schema: self.schema,
            me: self.me.clone(),
            n: self.calls,
            acked: self.acked,
            epoch: self.epoch.clone(),
            seen: self.seen,
            keep: micros(self.spans.keep),
            longest: micros(self.spans.longest + self.spans.linger),
            fresh: !self.has_booked,
            ..Request::default()
        };
        let Some(skew) = self.skew else { return (request, way) };
        request.by = skew.at_least(now + bound);
        request.limits = self.cuts(desk, now, &skew);
        request.claim = self.aside.as_ref().map(Aside::claim);
        request.promise = desk.plan().counted_within.map(micros);
        request.broken = request.promise.is_some() && desk.counted_within().is_none();
        if self.must_reset {
            request.reset = Some(self.epoch.clone());
        }
        match self.phase {
            Phase::Stranger => {}
            Phase::Joining => {
                self.tell_all(&mut request, &mut way, now);
                self.tell_lessons(&mut request, &mut way, desk, now);
            }
            Phase::Member { open } => {
                self.tell_lessons(&mut request, &mut way, desk, now);
                self.tell_changes(&mut request, &mut way, &skew);
                request.wants = self.wants(desk, now);
                if open {
                    self.book(&mut request, &mut way, desk);
                }
            }
        }
        (request, way)
    }

    fn charge_of(&self, grant: Grant, state: State, until: Moment) -> Charge {
        let (division, consumer) = self.names[grant.seat as usize].clone();
        let keys: Vec<&str> = grant.set.iter().map(|limit| self.keys[limit].as_str()).collect();
        Charge {
            seat: grant.seat,
            set: grant.set,
            weight: 1,
            state,
            until,
            division,
            consumer,
            limits: keys.join(","),
        }
    }

    fn id(&self, ticket: u64) -> Id {
        format!("{}-{ticket}", self.me)
    }
}

fn tagged(plan: &Plan) -> HashMap<String, Tagged> {
    let divisions = plan.divisions.iter().enumerate().flat_map(|(at, division)| {
        let name = format!("d:{}", division.name);
        [(format!("{name} v"), Tagged::Within(Some(at))), (name, Tagged::Node(at))]
    });
    let first = plan.divisions.len();
    let consumers = plan.consumers.iter().zip(first..);
    let consumers = consumers.map(|(consumer, at)| (format!("c:{}", consumer.name), Tagged::Node(at)));
    divisions.chain(consumers).chain([(String::new(), Tagged::Within(None))]).collect()
}

/// Rounded up.
fn micros(of: Duration) -> u64 {
    u64::try_from(of.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX)
}
