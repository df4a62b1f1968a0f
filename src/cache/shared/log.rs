//! What was purged and written anywhere: the log that replicas keep in Redis, as one
//! of them sees it. A pure core; `keeper` is the shell around it.
//!
//! * Each replica numbers its own entries and remembers the last of them, so that it can
//!   tell them again to a Redis that has lost them; who has seen them skips them.
//! * A position is a generation of the log and a number in it. Redis begins another
//!   generation when it is empty, or when a replica finds that it knows less than before;
//!   a later one is a greater number.
//! * Whoever writes waits for all who take part. In a Redis that has just begun to answer,
//!   or another generation, some may be unknown whose lease still runs: it waits it out.
//! * Whoever cannot account for every entry of every replica has a gap, and drops all.
//! * An answer that is kept in Redis carries the position up to which nothing had made it
//!   untrue; what came after that decides whether it may still be used.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use crate::cache::key::{Selector, Text};
use crate::clock::Moment;

/// For so long after a call a replica is waited for by those who write (see `shared`).
pub(super) const LEASE: Duration = Duration::from_secs(1);
/// How many entries the log in Redis holds.
pub(super) const MAX_LOGGED: usize = 4_096;
/// How many of its own a replica can tell again.
const MAX_OWN: usize = 1_024;
/// How long replicas may take to come to a new generation; and those that were there when
/// this one last heard of them.
const SETTLES: Duration = Duration::from_secs(2);
const REFILL: Duration = Duration::from_secs(10);

/// Who wrote an entry: a process.
pub(super) type Origin = u64;

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) generation: u64,
    pub(super) seq: u64,
}

/// What one call tells Redis.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) at: Position,
    pub(super) told: u64,
    /// Number and bytes.
    pub(super) entries: Vec<(u64, Vec<u8>)>,
}

/// What Redis answers.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) generation: u64,
    /// The number of the last entry, and of the first that is still there.
    pub(super) seq: u64,
    pub(super) first: u64,
    /// How many of ours it has.
    pub(super) told: u64,
    /// Those after our position, or all of another generation.
    pub(super) entries: Vec<(Origin, u64, Selector)>,
    /// How many of each replica it has seen.
    pub(super) heads: Vec<(Origin, u64)>,
    /// Who takes part now, and up to where each has come.
    pub(super) members: Vec<(Origin, Position)>,
}

/// What is to be done before [`Log::advance`].
#[derive(Debug, PartialEq)]
pub(super) struct Step {
    pub(super) outdated: Outdated,
    to: Position,
}

/// What is to be dropped here.
#[derive(Debug, PartialEq)]
pub(super) enum Outdated {
    /// What others told.
    These(Vec<Selector>),
    /// All, since something may have been missed.
    All(Gap),
}

/// Why something may have been missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// It has just begun to take part.
    Joined,
    /// Entries are missing.
    Missed,
}

/// See the module.
pub(super) struct Log {
    me: Origin,
    own: VecDeque<Own>,
    own_count: u64,
    told: u64,
    at: Position,
    seen: HashMap<Origin, u64>,
    /// Entries of this generation after `floor`, with their numbers.
    window: VecDeque<(u64, Selector)>,
    floor: u64,
    /// Up to where what is kept here is true, from before this process began.
    resumes: Option<Position>,
    has_joined: bool,
    members: Vec<Origin>,
    awaited: Option<(HashSet<Origin>, Moment)>,
    proved: Option<Moment>,
    /// Since when it hears of the same Redis; none right after it has connected.
    settled: Option<Moment>,
    confirmed: u64,
}

struct Own {
    number: u64,
    selector: Selector,
    bytes: Vec<u8>,
    /// Its place in this generation, once it has been read back.
    seq: Option<u64>,
}

impl Log {
    pub(super) fn new(me: Origin) -> Self {
        Self {
            me,
            own: VecDeque::new(),
            own_count: 0,
            told: 0,
            at: Position::default(),
            seen: HashMap::new(),
            window: VecDeque::new(),
            floor: 0,
            resumes: None,
            has_joined: false,
            members: Vec::new(),
            awaited: None,
            proved: None,
            settled: None,
            confirmed: 0,
        }
    }

    /// What is kept here is true up to `at`, as an earlier process noted: with all that came
    /// after, there is no gap.
    pub(super) fn resume(&mut self, at: Position) {
        self.resumes = Some(at);
    }

    /// Something was purged here; its number.
    pub(super) fn purge(&mut self, selector: Selector, bytes: Vec<u8>) -> u64 {
        self.own_count += 1;
        self.own.push_back(Own { number: self.own_count, selector, bytes, seq: None });
        if self.own.len() > MAX_OWN {
            self.own.pop_front();
        }
        self.own_count
    }

    /// The number of the last of our own.
    pub(super) fn last(&self) -> u64 {
        self.own_count
    }

    /// Up to which of our own every replica has heard.
    pub(super) fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Up to where it has come; none before it takes part.
    pub(super) fn position(&self) -> Option<Position> {
        self.has_joined.then_some(self.at)
    }

    /// Until when nothing can have been confirmed that is not known here.
    pub(super) fn trusted_until(&self) -> Option<Moment> {
        // A little less than what Redis counts: clocks run at different rates.
        self.proved.filter(|_| self.awaited.is_none()).map(|proved| proved + LEASE * 9 / 10)
    }

    /// The next answer comes on another connection, and so perhaps from a Redis that knows
    /// less: who takes part in it is not certain before a lease has gone by.
    pub(super) fn reconnected(&mut self) {
        self.settled = None;
    }

    pub(super) fn request(&self) -> Request {
        let untold = self.own.iter().filter(|own| own.number > self.told);
        let entries = untold.map(|own| (own.number, own.bytes.clone())).collect();
        let at = self.resumes.filter(|_| !self.has_joined).unwrap_or(self.at);
        Request { at, told: self.told, entries }
    }

    /// Takes the answer to a call that was sent at `sent`.
    pub(super) fn answered(&mut self, reply: Reply, sent: Moment) -> Step {
        let before_first = reply.first.saturating_sub(1);
        let resumed = self.resumes.take().filter(|at| {
            let is_known = before_first <= at.seq && at.seq <= reply.seq;
            !self.has_joined && reply.generation == at.generation && is_known
        });
        if let Some(at) = resumed {
            (self.at, self.floor) = (at, at.seq);
            self.take_up(&reply);
        }
        let is_same = (self.has_joined || resumed.is_some()) && reply.generation == self.at.generation;
        let mut gap = None;
        if !is_same {
            self.settled = None;
            self.begin_generation(before_first, sent);
        } else if before_first > self.at.seq {
            gap = Some(Gap::Missed);
            self.window.clear();
            self.floor = before_first;
        }
        let from = if is_same { self.at.seq.max(before_first) } else { before_first };
        let mut drop = Vec::new();
        for ((origin, number, selector), seq) in reply.entries.into_iter().zip(from + 1..) {
            let seen = self.seen.entry(origin).or_default();
            if number > *seen {
                gap = gap.or((number > *seen + 1).then_some(Gap::Missed));
                *seen = number;
                if origin != self.me {
                    drop.push(selector.clone());
                }
            }
            if origin == self.me {
                self.own.iter_mut().filter(|own| own.number == number).for_each(|own| own.seq = Some(seq));
            }
            self.window.push_back((seq, selector));
        }
        while self.window.len() > MAX_LOGGED {
            self.floor = self.window.pop_front().map_or(self.floor, |(seq, _)| seq);
        }
        for (origin, head) in &reply.heads {
            let seen = self.seen.entry(*origin).or_default();
            if *head > *seen {
                gap = gap.or(Some(Gap::Missed));
                *seen = *head;
            }
        }
        gap = self.heard_of(&reply.heads, sent).or(gap);
        if !std::mem::replace(&mut self.has_joined, true) && resumed.is_none() {
            gap = Some(Gap::Joined);
        }
        self.told = reply.told;
        self.members = reply.members.iter().map(|(origin, _)| *origin).filter(|of| *of != self.me).collect();
        let settled = *self.settled.get_or_insert(sent);
        if sent >= settled + LEASE {
            self.confirm(reply.generation, &reply.members);
        }
        self.proved = Some(sent);
        Step {
            outdated: gap.map_or(Outdated::These(drop), Outdated::All),
            to: Position { generation: reply.generation, seq: reply.seq },
        }
    }

    /// What the step names is gone.
    pub(super) fn advance(&mut self, step: &Step) {
        self.at = step.to;
    }

    /// Whether anything after `kept` makes untrue what is kept under `key`; what cannot
    /// be told is taken to.
    pub(super) fn overtook(&self, kept: Position, key: &Text) -> bool {
        kept.generation != self.at.generation || kept.seq < self.floor || kept.seq < self.last_of(key)
    }

    /// The number of the last entry that selects `key`; beyond all, if it is on its way.
    pub(super) fn last_of(&self, key: &Text) -> u64 {
        if self.own.iter().any(|own| own.seq.is_none() && own.selector.selects(key)) {
            return u64::MAX;
        }
        let last = self.window.iter().rev().find(|(_, selector)| selector.selects(key));
        last.map_or(0, |(seq, _)| *seq)
    }

    /// Of one generation the log holds all that came after a position; whatever came before
    /// it is known.
    fn take_up(&mut self, reply: &Reply) {
        for (origin, head) in &reply.heads {
            let later = reply.entries.iter().find(|(of, ..)| of == origin);
            self.seen.insert(*origin, later.map_or(*head, |(_, number, _)| number - 1));
        }
    }

    /// Numbers of the old generation mean nothing any more. What was confirmed in it is
    /// known here, if this replica still had its lease; if not, from those who told it.
    fn begin_generation(&mut self, before_first: u64, now: Moment) {
        self.window.clear();
        self.floor = before_first;
        self.own.iter_mut().for_each(|own| own.seq = None);
        let had_lease = self.proved.is_some_and(|proved| now < proved + LEASE * 9 / 10);
        if self.has_joined && !had_lease {
            let mut awaited: HashSet<Origin> = self.members.drain(..).collect();
            awaited.extend(self.awaited.take().into_iter().flat_map(|(before, _)| before));
            self.awaited = Some((awaited, now));
        }
    }

    /// Who was there before a generation was lost has told again what it knew.
    fn heard_of(&mut self, heads: &[(Origin, u64)], now: Moment) -> Option<Gap> {
        let (awaited, since) = self.awaited.as_mut()?;
        heads.iter().for_each(|(origin, _)| {
            awaited.remove(origin);
        });
        let is_over = now >= *since + REFILL;
        // Others may have come since, of whom it has not heard.
        let is_complete = awaited.is_empty() && now >= *since + SETTLES;
        if is_over || is_complete {
            self.awaited = None;
        }
        (is_over && !is_complete).then_some(Gap::Missed)
    }

    fn confirm(&mut self, generation: u64, members: &[(Origin, Position)]) {
        let others = members.iter().filter(|(origin, _)| *origin != self.me);
        let come = others.map(|(_, at)| if at.generation == generation { at.seq } else { 0 });
        let all_at = come.min().unwrap_or(u64::MAX);
        let known = self.own.iter().take_while(|own| own.seq.is_some_and(|seq| seq <= all_at)).last();
        self.confirmed = self.confirmed.max(known.map_or(0, |own| own.number));
    }
}

#[cfg(test)]
mod tests;
