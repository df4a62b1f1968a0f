//! What follows from an answer, or from none.

use super::super::wire::{Done, Outcome, Record, Reply, Verdict};
use super::*;

/// Without an answer for so long, the ledger counts as lost.
pub(in crate::budget::shared) const LOST_AFTER: Duration = Duration::from_secs(1);
/// After a no that another replica's turn explains, or nothing.
const PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Replica {
    /// The script has answered.
    pub(in crate::budget::shared) fn answered(
        &mut self,
        desk: &mut Desk,
        (way, reply): (UnderWay, Reply),
        now: Moment,
    ) -> Vec<Fact> {
        self.is_calling = false;
        let mut facts = Vec::new();
        if std::mem::take(&mut self.is_away) {
            facts.push(Fact::Back);
        }
        self.last_answer = Some(now);
        let is_new = reply.epoch != self.epoch;
        let learnt = match &mut self.skew {
            Some(skew) if !is_new => skew.learn(way.sent, reply.now, now),
            skew => {
                *skew = Some(Skew::new(way.sent, reply.now, now));
                Ok(())
            }
        };
        self.wall = Some(i128::from(reply.wall) * 1_000 - i128::from(now.as_nanos()));
        if is_new {
            self.give_back(desk, way, now);
            facts.extend(self.meet(desk, reply.epoch));
            return facts;
        }
        if let Err(Jumped(by)) = learnt {
            // Charges may have lapsed there before their time.
            self.must_reset = true;
            facts.push(Fact::ClockJumped(by));
            self.give_back(desk, way, now);
            return facts;
        }
        match reply.outcome {
            Outcome::Epoch | Outcome::Stale => self.give_back(desk, way, now),
            Outcome::Done(done) => facts.extend(self.done(desk, (way, done), now)),
        }
        self.pass(desk, now);
        self.sweep(now);
        facts
    }

    /// There is no answer: whether it was done is not known.
    pub(in crate::budget::shared) fn failed(
        &mut self,
        desk: &mut Desk,
        way: Option<UnderWay>,
        now: Moment,
    ) -> Option<Fact> {
        self.is_calling = false;
        if let Some(way) = way {
            self.give_back(desk, way, now);
        }
        let since = *self.last_answer.get_or_insert(now);
        let is_over = now.since(since) >= LOST_AFTER;
        if !is_over || desk.is_lost() {
            return None;
        }
        desk.lose_ledger(now);
        self.is_away = true;
        Some(Fact::Lost)
    }

    /// Another epoch: all that is remembered has to be told before anything is booked.
    fn meet(&mut self, desk: &mut Desk, epoch: String) -> Option<Fact> {
        let was_member = !self.epoch.is_empty();
        self.epoch = epoch;
        self.phase = Phase::Joining;
        self.must_reset = false;
        // It knows none of our calls.
        (self.seen, self.acked) = (0, 0);
        self.lessons.forget_heard();
        self.untold = self.charges.keys().cloned().collect();
        if was_member {
            if self.expects.is_empty() {
                self.expects = self.members.clone();
            }
            desk.shut();
        }
        was_member.then_some(Fact::EpochLost)
    }

    fn done(&mut self, desk: &mut Desk, (way, done): (UnderWay, Done), now: Moment) -> Vec<Fact> {
        self.acked = self.calls;
        for (id, number) in &way.told {
            if self.outbox.get(id) == Some(number) {
                self.outbox.remove(id);
                if self.charges.get(id).is_some_and(|charge| charge.state == State::Gone) {
                    self.charges.remove(id);
                }
            }
        }
        let has_news = !done.news.is_empty();
        for (id, record) in done.news {
            self.hear(desk, id, record, now);
        }
        let taught = self.heed(desk, (done.taught, done.is_broken), now);
        self.seen = self.seen.max(done.top);
        self.members = done.members;
        if way.joins {
            self.untold.truncate(self.untold.len() - way.refilled);
            if self.untold.is_empty() {
                self.phase = Phase::Member { open: false };
                self.expects.clear();
            }
        }
        self.judge(desk, way.asked, (&done.verdicts, done.opens, has_news), now);
        let of = |(name, tags): &(String, [u128; 2])| Some((*self.tagged.get(name)?, *tags));
        let tags: Vec<_> = done.tags.iter().filter_map(of).collect();
        desk.learn_tags(&tags);
        let aside = self.aside.as_mut().filter(|_| done.opens.is_none());
        let is_news = aside.is_some_and(|aside| aside.hear(done.slot, done.holders, now));
        let opened = self.open_if_ready(desk, done.opens.is_none() && self.seen >= done.seq, now);
        let is_first = opened.is_some() && self.aside.is_some();
        let part = (is_news || is_first).then_some(Fact::Part(done.slot));
        taught.into_iter().chain(opened).chain(part).collect()
    }

    fn open_if_ready(&mut self, desk: &mut Desk, is_ready: bool, now: Moment) -> Option<Fact> {
        let Phase::Member { open } = &mut self.phase else { return None };
        let was_lost = desk.is_lost();
        if !is_ready || (*open && !was_lost) {
            return None;
        }
        *open = true;
        desk.open_shared(now);
        Some(Fact::Open { charges: self.charges.len() })
    }

    fn judge(
        &mut self,
        desk: &mut Desk,
        asked: Vec<Asked>,
        (verdicts, opens, has_news): (&[Verdict], Option<u64>, bool),
        now: Moment,
    ) {
        if verdicts.contains(&Verdict::Yes) || has_news {
            self.unexplained = 0;
        } else if !verdicts.is_empty() {
            self.unexplained += 1;
        }
        let slow = PAUSE.saturating_mul(1 << self.unexplained.min(10)).min(LONGEST_PAUSE);
        let mut verdicts = verdicts.iter();
        for ask in asked {
            let pause = match verdicts.next() {
                Some(Verdict::Yes) => {
                    self.booked(desk, ask, now);
                    continue;
                }
                Some(Verdict::Shut) => {
                    let opens = opens.zip(self.skew).map(|(at, skew)| skew.latest(at));
                    opens.unwrap_or(now + slow)
                }
                Some(Verdict::Full) => now + slow,
                Some(Verdict::Turn | Verdict::Late) | None => now + PAUSE,
            };
            refuse(desk, ask, pause, now);
        }
    }

    fn booked(&mut self, desk: &mut Desk, ask: Asked, now: Moment) {
        self.has_booked = true;
        let charge = self.charge_of(ask.grant, State::Pending, ask.until);
        self.charges.insert(ask.id, charge);
        let is_wanted = match ask.origin {
            Origin::Bid(bid, _) => desk.confirm(bid, ask.grant.ticket, now),
            Origin::Permit(tell) => tell.send(true).is_ok(),
        };
        if !is_wanted {
            self.forget(ask.grant.ticket, now);
        }
    }

    /// What was asked for may have been booked: it is given back there, and its callers
    /// stand where they stood.
    fn give_back(&mut self, desk: &mut Desk, way: UnderWay, now: Moment) {
        self.lessons.tell_again(way.taught);
        for ask in way.asked {
            let gone = self.charge_of(ask.grant, State::Gone, ask.until);
            self.charges.insert(ask.id.clone(), gone);
            self.changed(ask.id.clone());
            refuse(desk, ask, now + PAUSE, now);
        }
    }

    /// What another replica has changed.
    fn hear(&mut self, desk: &mut Desk, id: Id, record: Record, now: Moment) {
        let Some(skew) = self.skew else { return };
        let until = skew.latest(record.until);
        let known = self.charges.get(&id).map(|charge| (charge.state, charge.until));
        let seat = self.seats.get(&record.consumer).copied().unwrap_or(desk.books().nobody());
        let is_in = |key: &String| record.limits.split(',').any(|of| of == key);
        let set: LimitSet = (0..self.keys.len()).filter(|&limit| is_in(&self.keys[limit])).collect();
        match (known, record.state) {
            (None, State::Pending) => {
                desk.booked_elsewhere(seat, set, now);
                self.lapsing.insert((until, id.clone()));
            }
            (None, State::Settled) => {
                (0..record.weight).for_each(|_| desk.counted_elsewhere((seat, set), until, now));
                if id.starts_with("others.") {
                    set.iter().for_each(|limit| desk.used_beside_us(limit, (until, record.weight), now));
                }
            }
            (Some((State::Pending, was)), State::Settled) => {
                self.lapsing.remove(&(was, id.clone()));
                desk.settled_elsewhere(seat, set, until);
            }
            (Some((State::Pending, was)), State::Gone) => {
                self.lapsing.remove(&(was, id.clone()));
                desk.refunded_elsewhere(seat, set, now);
            }
            (Some((State::Settled, was)), State::Settled) if until < was => {
                desk.corrected_elsewhere((seat, set), was, until, now);
            }
            _ => return,
        }
        if record.state == State::Gone {
            self.charges.remove(&id);
            return;
        }
        let Record { state, weight, division, consumer, limits, .. } = record;
        self.charges.insert(id, Charge { seat, set, weight, state, until, division, consumer, limits });
    }

    /// Pending charges of others that nobody has told more of are counted by now.
    fn pass(&mut self, desk: &mut Desk, now: Moment) {
        while let Some((until, id)) = self.lapsing.first().filter(|(at, _)| *at <= now).cloned() {
            self.lapsing.pop_first();
            if let Some(charge) = self.charges.get_mut(&id) {
                charge.state = State::Settled;
                desk.settled_elsewhere(charge.seat, charge.set, until);
            }
        }
    }
}

fn refuse(desk: &mut Desk, ask: Asked, pause: Moment, now: Moment) {
    match ask.origin {
        Origin::Bid(bid, place) => desk.put_back((bid, ask.grant.ticket), place, pause, now),
        // Its permit is dropped, and refunds itself.
        Origin::Permit(tell) => drop(tell.send(false)),
    }
}
