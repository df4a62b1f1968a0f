//! Our own charges until Redis knows what became of them, and what is told to a Redis
//! that has forgotten.

use super::*;

/// How long things take at the most.
#[derive(Clone, Copy, Debug)]
pub(in crate::budget) struct Spans {
    /// From a booking until its first byte, at the latest.
    pub(in crate::budget) start: Duration,
    /// From a booking until its request is given up.
    pub(in crate::budget) longest: Duration,
    pub(in crate::budget) linger: Duration,
    /// How long a charge may matter after it was counted.
    pub(in crate::budget) keep: Duration,
}

impl Spans {
    /// For requests that connect and are answered, or given up, within these times.
    pub(in crate::budget) fn of(plan: &Plan, connect: Duration, answer: Duration) -> Self {
        /// From the booking to the begin of the connecting, on a machine that is loaded.
        const SLOWNESS: Duration = Duration::from_secs(5);
        let start = connect + SLOWNESS;
        let keep = ledger::keep(plan, (0..plan.limits.len()).collect());
        Self { start, longest: start + answer, linger: plan.linger, keep }
    }
}

impl Replica {
    /// Whether what was booked under `ticket` may still be sent at `now`.
    pub(in crate::budget) fn may_be_sent(&self, ticket: u64, now: Moment) -> bool {
        let booked = self.charges.get(&self.id(ticket)).filter(|charge| charge.state == State::Pending);
        let slack = self.spans.longest + self.spans.linger - self.spans.start;
        booked.is_some_and(|charge| now + slack <= charge.until)
    }

    /// It left before it was booked, since nothing may hold it up.
    pub(in crate::budget) fn add(&mut self, grant: Grant, now: Moment) {
        let until = now + self.spans.longest + self.spans.linger;
        let charge = self.charge_of(grant, State::Pending, until);
        let id = self.id(grant.ticket);
        self.charges.insert(id.clone(), charge);
        self.changed(id);
    }

    /// It was counted by `until`.
    pub(in crate::budget) fn settle(&mut self, ticket: u64, until: Moment) {
        self.end(ticket, State::Settled, until);
    }

    /// It never left.
    pub(in crate::budget) fn forget(&mut self, ticket: u64, now: Moment) {
        self.end(ticket, State::Gone, now);
    }

    fn end(&mut self, ticket: u64, state: State, until: Moment) {
        let id = self.id(ticket);
        // What was not answered yet is given back when it is.
        let Some(charge) = self.charges.get_mut(&id) else { return };
        (charge.state, charge.until) = (state, until);
        self.changed(id);
    }

    pub(super) fn changed(&mut self, id: Id) {
        self.changes += 1;
        self.outbox.insert(id, self.changes);
    }

    /// Some of what is remembered; with the last of it, who else was there.
    pub(super) fn tell_all(&mut self, request: &mut Request, way: &mut UnderWay, now: Moment) {
        let Some(skew) = self.skew else { return };
        way.joins = true;
        way.refilled = self.untold.len().min(MAX_CHANGES);
        let from = self.untold.len() - way.refilled;
        for id in &self.untold[from..] {
            let Some(charge) = self.charges.get(id) else { continue };
            request.changes.push(Change { id: id.clone(), record: charge.record(&skew).to_text() });
        }
        request.join = Some(self.epoch.clone());
        request.more = from > 0;
        request.expects = self.expects.clone();
        request.unseen = self.unseen(now);
    }

    /// What another replica, if it does not come back, may have charged since it was last
    /// heard of: no more than the tightest limit that counts all of it allows in that time.
    fn unseen(&self, now: Moment) -> Vec<wire::Unseen> {
        let is_memory = self.has_booked || !self.charges.is_empty();
        if !is_memory && self.on_empty == OnEmpty::Trust {
            return Vec::new();
        }
        let gap = now.since(self.last_answer.unwrap_or(Moment::ZERO));
        let most = |limit: &quota::Limit| {
            let counts_all =
                |other: &&quota::Limit| other.routes == quota::Routes::All || other.routes == limit.routes;
            let within = |other: &quota::Limit| {
                let windows = gap.as_nanos() / other.window.length().as_nanos().max(1) + 2;
                let most = u128::from(other.requests.get()).saturating_mul(windows);
                u32::try_from(most).unwrap_or(u32::MAX)
            };
            let bounds = self.limits.iter().filter(counts_all).map(within);
            bounds.min().unwrap_or(u32::MAX).min(limit.requests.get())
        };
        let each = self.limits.iter().zip(&self.keys);
        each.map(|(limit, key)| {
            let weight = if is_memory { most(limit) } else { limit.requests.get() };
            wire::Unseen { key: key.clone(), weight }
        })
        .collect()
    }

    /// Forgets what matters no more.
    pub(super) fn sweep(&mut self, now: Moment) {
        const EVERY: Duration = Duration::from_secs(5);
        if now < self.last_sweep + EVERY {
            return;
        }
        self.last_sweep = now;
        let keep = self.spans.keep;
        let outbox = &self.outbox;
        self.charges.retain(|id, charge| charge.until + keep > now || outbox.contains_key(id));
    }
}

impl Charge {
    pub(super) fn record(&self, skew: &Skew) -> wire::Record {
        wire::Record {
            state: self.state,
            until: skew.at_most(self.until),
            weight: self.weight,
            division: self.division.clone(),
            consumer: self.consumer.clone(),
            limits: self.limits.clone(),
        }
    }
}
