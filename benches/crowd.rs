//! Budgets for benches: as large, as full and as crowded as asked.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use weir::budget::{Ask, Bid, Budget, Entry, Permit};
use weir::clock::{Clock, Moment};
use weir::quota::{
    ConsumerPlan, DivisionPlan, Limit, LimitSet, Pace, Plan, QueueBounds, Routes, Scope, Share, Window,
};

/// Callers in the queue for each consumer.
pub(crate) const CALLERS: usize = 10;
pub(crate) const WHOLE: u32 = 1_000_000;

#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) consumers: usize,
    pub(crate) divisions: usize,
}

pub(crate) fn limit(name: &str, requests: u32, window: Duration) -> Limit {
    Limit {
        name: name.parse().expect("a word in lower case is a name"),
        requests: NonZeroU32::new(requests).expect("no limit here is zero"),
        slack: Duration::from_millis(2),
        window: Window::Sliding(window),
        scope: Scope::Account,
        routes: Routes::All,
    }
}

pub(crate) fn plan(Size { consumers, divisions }: Size, limits: Vec<Limit>) -> Plan {
    let share = |among: usize| Share(WHOLE / u32::try_from(among).unwrap_or(WHOLE).max(1));
    let division = |index| DivisionPlan {
        name: format!("division-{index}").parse().expect("letters and digits are a name"),
        share: share(divisions),
        reserve: Vec::new(),
        caps: Vec::new(),
    };
    let consumer = |index| ConsumerPlan {
        name: format!("consumer-{index}").parse().expect("letters and digits are a name"),
        division: index % divisions,
        share: share(consumers / divisions),
        reserve: Vec::new(),
        caps: Vec::new(),
    };
    Plan {
        limits,
        divisions: (0..divisions).map(division).collect(),
        consumers: (0..consumers).map(consumer).collect(),
        pace: Pace::Exact,
        counted_within: None,
        linger: Duration::ZERO,
        queue: QueueBounds { per_consumer: CALLERS + 1, total: consumers * (CALLERS + 1) },
    }
}

/// Windows so short that charges lapse as fast as new ones come, however fast that is.
pub(crate) fn fast(size: Size) -> (Arc<Budget>, LimitSet) {
    let limits = vec![
        limit("short", 60_000, Duration::from_millis(1)),
        limit("long", 60_000, Duration::from_millis(10)),
    ];
    let set = (0..limits.len()).collect();
    (Budget::new(plan(size, limits), Clock::system()), set)
}

/// Two limits of so many requests that nothing lapses from while it runs, and two that never bind.
pub(crate) fn full(size: Size, requests: u32) -> (Arc<Budget>, LimitSet) {
    const HOUR: Duration = Duration::from_secs(3_600);
    let limits = vec![
        limit("tight", requests, HOUR),
        limit("tighter", requests, HOUR * 2),
        limit("wide", 100_000_000, HOUR * 3),
        limit("wider", 100_000_000, HOUR * 24),
    ];
    let set = (0..limits.len()).collect();
    (Budget::new(plan(size, limits), Clock::system()), set)
}

pub(crate) fn ask(seat: usize, deadline: Moment) -> Ask {
    Ask { seat, deadline, urgency: 3 }
}

/// A caller in the queue: a fetch of its own, as nobody else wants its URL.
pub(crate) fn stand(budget: &Budget, set: LimitSet, seat: usize) -> (Bid, Entry) {
    let bid = budget.bid(set);
    let entry = bid.enter(ask(seat, Moment::NEVER)).expect("the queue has room, and there is no deadline");
    (bid, entry)
}

/// Everybody wants the only slot, ten times each, and somebody has it.
pub(crate) struct Crowd {
    pub(crate) budget: Arc<Budget>,
    pub(crate) set: LimitSet,
    permit: Option<Permit>,
    pub(crate) waiting: VecDeque<(usize, (Bid, Entry))>,
}

impl Crowd {
    pub(crate) fn of(size: Size) -> Self {
        let (budget, set) = full(size, 1);
        let permit = budget.try_now(set, 0);
        let seats = (0..CALLERS).flat_map(|_| 0..size.consumers);
        let waiting = seats.map(|seat| (seat, stand(&budget, set, seat))).collect();
        Self { budget, set, permit, waiting }
    }

    /// The slot is refunded and goes to whoever is next, who then asks again.
    pub(crate) fn serve(&mut self) {
        drop(self.permit.take());
        // With equal shares that is the one who has waited longest.
        let at = self.waiting.iter().position(|(_, (bid, _))| {
            self.permit = bid.granted().now_or_never().flatten();
            self.permit.is_some()
        });
        let (seat, place) = at.and_then(|at| self.waiting.remove(at)).expect("somebody is next");
        drop(place);
        self.waiting.push_back((seat, stand(&self.budget, self.set, seat)));
    }
}
