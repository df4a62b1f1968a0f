//! What would come true: played out with all that the world knows, and asked again later.

use super::World;
use crate::budget::desk::{Ask, Desk, Flight, Outcome};
use crate::budget::refusal::Denied;
use crate::clock::Moment;
use crate::quota::LimitSet;

impl World {
    /// When such a caller would be admitted if it could wait, everything in flight
    /// were answered now, and every later request at once.
    pub(crate) fn truth(&self, mut desk: Desk, ask: Ask, set: LimitSet) -> Moment {
        let mut now = self.now;
        let mine = desk.open(set);
        desk.enter(mine, Ask { deadline: Moment::NEVER, ..ask }, now).expect("it waits for ever");
        for sent in self.sent.iter().filter(|sent| sent.in_flight) {
            desk.settle_unmeasured(sent.grant, sent.flight, now);
        }
        loop {
            for bid in desk.take_decided() {
                match desk.take(bid) {
                    Outcome::Granted(_) if bid == mine => return now,
                    Outcome::Granted(grant) => {
                        desk.settle_unmeasured(grant, Flight { sent: now, counted_by: None }, now);
                    }
                    Outcome::Waiting | Outcome::Over => {}
                }
            }
            if desk.has_news() {
                continue;
            }
            now = desk.next_wake().expect("somebody waits, and all is settled");
            desk.pump(now);
        }
    }

    /// Who asks at `at` and does not wait: admitted, or the moment it is told.
    pub(crate) fn ask_at(&self, at: Moment, seat: usize, set: LimitSet) -> Result<(), Moment> {
        let mut desk = self.desk.clone();
        desk.forget_herds();
        let bid = desk.open(set);
        match desk.enter(bid, Ask { seat, deadline: at, urgency: 3 }, at) {
            Ok(_) => Ok(()),
            Err(Denied::Refused(refusal)) => Err(refusal.retry_at),
            Err(Denied::Closed | Denied::Gone) => unreachable!("a new bid is open"),
        }
    }
}
