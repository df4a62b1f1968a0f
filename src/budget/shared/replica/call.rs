//! When the script is called, and what a call says: what no longer counts, what has changed, who would
//! leave, and who waits.

use super::*;

impl Replica {
    /// When the next call is due, with so many waiting here.
    pub(in crate::budget) fn next_call(&self, waiting: usize) -> Moment {
        /// A stranger is in a hurry, one who waits may hear of a refund, one who rests must be heard of.
        const JOINING: Duration = Duration::from_millis(25);
        const WAITING: Duration = Duration::from_millis(100);
        const RESTING: Duration = Duration::from_millis(250);
        let Some(last) = self.last_call else { return Moment::ZERO };
        match self.phase {
            Phase::Stranger | Phase::Joining => last,
            Phase::Member { open: false } => last + JOINING,
            Phase::Member { open: true } if self.has_work() => Moment::ZERO,
            Phase::Member { open: true } => {
                let every = if waiting > 0 { WAITING } else { RESTING };
                let lapse = self.lapsing.first().map_or(Moment::NEVER, |(at, _)| *at);
                (last + every).min(lapse.max(last + JOINING))
            }
        }
    }

    /// Whether something has come up that a call should not wait with.
    pub(in crate::budget) fn has_work(&self) -> bool {
        !self.asks.is_empty() || !self.outbox.is_empty() || self.lessons.are_untold()
    }

    /// Whether a call is under way.
    #[cfg(test)]
    pub(in crate::budget) fn is_calling(&self) -> bool {
        self.is_calling
    }

    pub(super) fn cuts(&self, desk: &Desk, now: Moment, skew: &Skew) -> Vec<Limit> {
        let books = desk.books();
        let limit = |(index, key): (usize, &String)| {
            let window = books.window(index);
            let life = window.life().map(micros);
            let cut = match life {
                Some(_) => None,
                None => Some(window.last_edge(now, books.vendor_clock()).map_or(0, |at| skew.at_least(at))),
            };
            Limit { key: key.clone(), requests: self.limits[index].requests.get(), life, cut }
        };
        self.keys.iter().enumerate().map(limit).collect()
    }

    pub(super) fn tell_changes(&mut self, request: &mut Request, way: &mut UnderWay, skew: &Skew) {
        for (id, &number) in self.outbox.iter().take(MAX_CHANGES) {
            let Some(charge) = self.charges.get(id) else { continue };
            request.changes.push(Change { id: id.clone(), record: charge.record(skew).to_text() });
            way.told.push((id.clone(), number));
        }
    }

    pub(super) fn book(&mut self, request: &mut Request, way: &mut UnderWay, desk: &Desk) {
        let Some(skew) = self.skew else { return };
        for mut asked in std::mem::take(&mut self.asks) {
            asked.until = way.sent + self.spans.longest + self.spans.linger;
            let charge = self.charge_of(asked.grant, State::Pending, asked.until);
            let pacing = desk.books().pacing();
            let on = asked.bounds.iter().map(|bound| On {
                key: self.keys[bound.limit].clone(),
                most: bound.account,
                division: bound.division,
                consumer: bound.consumer,
                turn: bound.in_turn,
                gap: pacing.is_even(bound.limit).then(|| micros(pacing.gap_of(bound.limit))),
            });
            request.bookings.push(Booking {
                id: asked.id.clone(),
                record: charge.record(&skew).to_text(),
                division: charge.division,
                consumer: charge.consumer,
                turn: asked.turn.clone().map(|Stake { price, fair, .. }| wire::Turn { price, fair }),
                limits: on.collect(),
            });
            way.asked.push(asked);
        }
    }

    pub(super) fn wants(&self, desk: &Desk, now: Moment) -> Vec<Want> {
        desk.wants(now).into_iter().map(|waiting| self.want(&waiting, desk)).collect()
    }

    fn want(&self, waiting: &Waiting, desk: &Desk) -> Want {
        let mut want = Want {
            keys: waiting.set.iter().map(|limit| self.keys[limit].clone()).collect(),
            most: waiting.set.iter().map(|limit| desk.books().unheld(limit)).collect(),
            ..Want::default()
        };
        for (stake, number) in &waiting.flows {
            let (division, consumer) = &self.names[stake.seat as usize];
            let known = want.divisions.iter().position(|(name, ..)| name == division);
            let at = known.unwrap_or_else(|| {
                want.divisions.push((division.clone(), stake.price[0], stake.fair[0].clone()));
                want.divisions.len() - 1
            });
            // Lua counts from one.
            want.flows.push((at + 1, consumer.clone(), *number, stake.price[1], stake.fair[1].clone()));
        }
        want
    }
}
