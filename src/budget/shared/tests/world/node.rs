//! One replica in virtual time: its desk, its part in the ledger, and its call under way.

use super::*;

pub(super) struct Node {
    pub(super) desk: Desk,
    pub(super) replica: Replica,
    /// Grows with every crash.
    pub(super) life: u64,
    /// This node's clock less the world's.
    pub(super) ahead: Duration,
    /// Who pays for the delivery, so to say: the caller that opened the bid.
    pub(super) bids: HashMap<BidId, usize>,
    pub(super) last_bid: Option<(BidId, LimitSet)>,
    pub(super) way: Option<(u64, UnderWay)>,
    pub(super) reply: Option<(u64, Answer)>,
    pub(super) text: String,
    pub(super) keys: Vec<String>,
    pub(super) call: u64,
    pub(super) not_before: Moment,
    pub(super) cut_until: Moment,
}

impl Node {
    pub(super) fn new(
        plan: &Plan,
        (life, schema): (u64, u32),
        slot: &str,
        now: Moment,
        wall: UnixTime,
    ) -> Self {
        let ahead = Duration::from_secs(life * 1_000);
        let now = now + ahead;
        let mut desk = Desk::new(plan.clone(), Books::new(plan, now, wall));
        desk.shut();
        desk.ask_first();
        let spans = Spans::of(plan, Duration::ZERO, ANSWER);
        let me = format!("{life:016x}");
        let replica = Replica::new(me, "here", plan, spans, OnEmpty::Trust).of_schema(schema);
        let keys = replica.redis_keys(slot);
        Self {
            desk,
            replica,
            life,
            ahead,
            bids: HashMap::new(),
            last_bid: None,
            way: None,
            reply: None,
            text: String::new(),
            keys,
            call: 0,
            not_before: Moment::ZERO,
            cut_until: Moment::ZERO,
        }
    }

    /// When its next call may be made, on the world's clock.
    pub(super) fn due(&self) -> Moment {
        let due = self.replica.next_call(self.desk.waiting());
        self.not_before.max(due - self.ahead)
    }

    pub(super) fn next(&self) -> Moment {
        let wake = self.desk.next_wake().filter(|_| self.desk.waiting() > 0).map(|at| at - self.ahead);
        let call = (self.way.is_none()).then(|| self.due());
        wake.into_iter().chain(call).min().unwrap_or(Moment::NEVER)
    }

    /// As the shell does it before each look at the books.
    pub(super) fn advance(&mut self, now: Moment, own_wall: UnixTime) {
        self.desk.follow_wall(now, self.replica.wall(now).unwrap_or(own_wall));
        self.desk.pump(now);
    }
}
