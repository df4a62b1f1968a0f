//! What becomes of requests that have left, and of callers that wait no longer.

use super::*;

impl World {
    pub(super) fn leave(&mut self, index: usize, grant: Grant, of: &Caller) {
        let node = &self.nodes[index];
        let head = self.now + of.up + of.down;
        let is_late = of.fate == Fate::Lost && self.plan.counted_within.is_none();
        let counted_at = if is_late { head + self.plan.linger } else { self.now + of.up };
        let flight = Flight { sent: self.now + node.ahead, counted_by: None };
        let (life, fate) = (node.life, of.fate);
        self.sent.push(Sent { node: index, life, grant, flight, fate, counted_at, until: None });
        let sent = self.sent.len() - 1;
        if self.plan.counted_within.is_some() {
            self.after(self.now, Event::AllSent(sent));
        }
        self.after(counted_at, Event::Counted(sent));
        self.after(head, Event::Ends(sent));
    }

    /// It leaves over all limits, if it has to, and never waits.
    pub(super) fn observe(&mut self, index: usize, caller: &Caller, set: LimitSet) {
        let node = &mut self.nodes[index];
        let now = self.now + node.ahead;
        let (grant, _) = node.desk.charge_anyway(u32::try_from(caller.seat).unwrap(), set, now);
        node.replica.add(grant, now);
        if caller.fate == Fate::NeverSent {
            node.desk.refund(grant, now);
            node.replica.forget(grant.ticket, now);
        } else {
            self.leave(index, grant, caller);
        }
    }

    pub(super) fn is_under_way(&self, sent: &Sent) -> bool {
        sent.until.is_none() && self.nodes[sent.node].life == sent.life
    }

    pub(super) fn count(&mut self, sent: usize) {
        if self.observes {
            return;
        }
        let now = i128::from(self.now.as_nanos());
        let at = u64::try_from(now + now * i128::from(self.drift_ppm) / 1_000_000).unwrap();
        let Grant { seat, set, .. } = self.sent[sent].grant;
        let mut counted: Vec<usize> = set.iter().collect();
        counted.extend(self.of_seat_0.filter(|_| seat == 0));
        counted.extend(self.of_division_1.filter(|_| self.plan.consumers[seat as usize].division == 1));
        for limit in counted {
            for vendor in &mut self.vendors[limit] {
                assert!(vendor.admits(at), "429 by {vendor:?} at {at}");
            }
        }
    }

    pub(super) fn all_sent(&mut self, sent: usize) {
        let sent = &mut self.sent[sent];
        let node = &mut self.nodes[sent.node];
        let now = self.now + node.ahead;
        if node.life == sent.life {
            sent.flight.counted_by = node.desk.all_sent(sent.grant, now);
            sent.flight.counted_by.inspect(|until| node.replica.settle(sent.grant.ticket, *until));
        }
    }

    /// Its head has come, or it is given up: as `Charge` ends it.
    pub(super) fn end(&mut self, sent: usize) {
        let sent = &mut self.sent[sent];
        let node = &mut self.nodes[sent.node];
        // Gone with its process, otherwise.
        if node.life != sent.life {
            return;
        }
        let now = self.now + node.ahead;
        let until = match sent.fate {
            Fate::Lost => node.desk.lose(sent.grant, sent.flight, now),
            Fate::Answered | Fate::NeverSent => node.desk.settle(sent.grant, sent.flight, now),
        };
        if until >= now {
            node.replica.settle(sent.grant.ticket, until);
        }
        sent.until = Some(until - node.ahead);
        if let Some(zero) = self.vendor_at_zero.filter(|_| sent.fate == Fate::Answered) {
            let date = UnixTime::from_secs((zero + sent.counted_at.as_nanos()) / 1_000_000_000);
            node.desk.learn_date(date, sent.flight.sent, now, now);
        }
    }

    pub(super) fn time_out(&mut self, caller: usize) {
        let Some(waiting) = self.waiting.get(&caller) else { return };
        let node = &mut self.nodes[waiting.node];
        let now = self.now + node.ahead;
        if let Some(refusal) = node.desk.time_out(waiting.id, now) {
            assert!(refusal.retry_at > now || refusal.reason == Reason::StoreLost, "{refusal:?} at {now:?}");
            self.waiting.remove(&caller);
        }
    }

    /// Those who are refused before their deadline, or after it, when Redis had to be asked.
    pub(super) fn hear_no(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        if node.desk.take_has_turned_away() {
            self.waiting
                .retain(|_, waiting| waiting.node != index || node.desk.turned_away(waiting.id).is_none());
        }
    }

    /// All that was sent and still counts is known to Redis and to every replica, and nothing else.
    pub(in super::super) fn agree(&mut self, callers: &[Caller]) {
        // What clocks may be apart, as far as two replicas' calls tell.
        let near = self.delay * 4 + Duration::from_millis(5);
        let end = self.now + Duration::from_millis(800);
        while self.step(end, callers, &[]).is_some() {}
        for limit in 0..self.plan.limits.len() {
            let Some(life) = self.nodes[0].desk.books().window(limit).life() else { continue };
            let lapses = self.sent.iter().filter(|sent| sent.grant.set.contains(limit));
            let lapses: Vec<_> = lapses.map(|sent| sent.until.expect("all have ended") + life).collect();
            let counts = |now: Moment| lapses.iter().filter(|lapse| **lapse > now).count();
            let (most, least) = (counts(self.now - near), counts(self.now + near));
            let seen = self.nodes.iter().map(|node| node.desk.books().window(limit).used() as usize);
            let seen: Vec<usize> = seen.collect();
            assert!(seen.iter().all(|used| (least..=most).contains(used)), "{seen:?}, and {least} or {most}");
            let key = self.plan.limits[limit].name.to_string();
            let used = self.redis.command(&["HGET", &self.slot_key(&format!("{SCHEMA}:used")), &key]);
            let used: usize = used.text().map_or(0, |text| text.parse().unwrap());
            assert!(
                (least..=counts(self.now - Duration::from_millis(800))).contains(&used),
                "{used}: {least}"
            );
        }
    }
}
