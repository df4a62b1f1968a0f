//! Counts of exchanges by consumer, outcome and route.
//!
//! Two of each: totals since the start, without a lock, for metrics and status;
//! and what has come since the last [`Tally::drain`], for usage. The latter is one
//! short list per consumer behind a lock that is the consumer's own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::Outcome;
use super::histogram::Histogram;
use super::refusals::Refusals;
use super::route::{RouteIx, Routes};
use crate::id::{ConsumerName, DivisionName};

/// Counts for every consumer of one upstream, by its seat in one plan. What a
/// [successor](Tally::succeed) for another plan counts, is counted on the same accounts.
#[derive(Debug)]
pub struct Tally {
    seats: Vec<Arc<Account>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    accounts: Mutex<HashMap<(ConsumerName, DivisionName), Arc<Account>>>,
    routes: Routes,
    waits: Histogram,
    refusals: Refusals,
}

/// One consumer's counts.
#[derive(Debug)]
pub struct Account {
    consumer: ConsumerName,
    division: DivisionName,
    outcomes: [AtomicU64; Outcome::ALL.len()],
    price: AtomicU64,
    waits: AtomicU64,
    waited_nanos: AtomicU64,
    recent: Mutex<Vec<(RouteIx, Cell)>>,
}

/// What was counted on one route in some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// By outcome, in the order of [`Outcome::ALL`]. Negative, where what was
    /// counted before is taken back.
    pub outcomes: [i64; Outcome::ALL.len()],
    /// Requests of the account's allowance.
    pub price: i64,
    /// Exchanges that stood in the queue.
    pub waits: i64,
    /// Milliseconds spent there, over all of them.
    pub waited_ms: i64,
}

/// One consumer's use of one route since the last time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Who.
    pub consumer: ConsumerName,
    /// For which division.
    pub division: DivisionName,
    /// What.
    pub route: Arc<str>,
    /// How much.
    pub cell: Cell,
}

/// What one consumer has seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    outcomes: [u64; Outcome::ALL.len()],
    /// Requests of the account's allowance.
    pub price: u64,
    /// Exchanges that stood in the queue.
    pub waits: u64,
    /// Time spent there, over all of them.
    pub waited: Duration,
}

impl Tally {
    /// Counts for consumers with their divisions, in the order of their seats.
    #[must_use]
    pub fn new(seats: impl IntoIterator<Item = (ConsumerName, DivisionName)>) -> Self {
        Self::on(Arc::default(), seats)
    }

    /// The same for another plan; who is in both goes on counting.
    #[must_use]
    pub fn succeed(&self, seats: impl IntoIterator<Item = (ConsumerName, DivisionName)>) -> Self {
        Self::on(Arc::clone(&self.shared), seats)
    }

    fn on(shared: Arc<Shared>, seats: impl IntoIterator<Item = (ConsumerName, DivisionName)>) -> Self {
        let mut accounts = shared.accounts.lock();
        let seats = seats.into_iter().map(|(consumer, division)| {
            let account = accounts.entry((consumer.clone(), division.clone()));
            Arc::clone(account.or_insert_with(|| Arc::new(Account::new(consumer, division))))
        });
        let seats = seats.collect();
        drop(accounts);
        Self { seats, shared }
    }

    /// The account of a consumer that is in this plan or was in an earlier one.
    #[must_use]
    pub fn account_of(&self, consumer: &ConsumerName, division: &DivisionName) -> Option<Arc<Account>> {
        let accounts = self.shared.accounts.lock();
        accounts.get(&(consumer.clone(), division.clone())).map(Arc::clone)
    }

    /// The last refusals.
    #[must_use]
    pub fn refusals(&self) -> &Refusals {
        &self.shared.refusals
    }

    /// What a path's route is called.
    #[must_use]
    pub fn route_name(&self, path: &str) -> Arc<str> {
        self.shared.routes.name(self.shared.routes.of(path, false))
    }

    /// The number of a path's route.
    #[must_use]
    pub fn route(&self, path: &str, is_worth_a_name: bool) -> RouteIx {
        self.shared.routes.of(path, is_worth_a_name)
    }

    /// Counts one exchange of the consumer at `seat`.
    pub fn count(&self, seat: usize, route: RouteIx, outcome: Outcome, waited: Duration) {
        let Some(account) = self.seats.get(seat) else { return };
        account.count(route, outcome, waited);
        if !waited.is_zero() || outcome == Outcome::Paid {
            self.shared.waits.observe(waited);
        }
    }

    /// Time in the queue of those who stood in it or paid.
    #[must_use]
    pub fn waits(&self) -> &Histogram {
        &self.shared.waits
    }

    /// The counts of the consumer at `seat`; all zero if there is none.
    #[must_use]
    pub fn of(&self, seat: usize) -> Counts {
        self.seats.get(seat).map(|account| account.counts()).unwrap_or_default()
    }

    /// Over all consumers there are or were since the start.
    #[must_use]
    pub fn total(&self) -> Counts {
        let accounts = self.shared.accounts.lock();
        accounts.values().fold(Counts::default(), |sum, account| sum.plus(account.counts()))
    }

    /// What has been counted since the last time, over all plans.
    #[must_use]
    pub fn drain(&self) -> Vec<Drained> {
        let accounts: Vec<_> = self.shared.accounts.lock().values().map(Arc::clone).collect();
        let mut drained = Vec::new();
        for account in accounts {
            for (route, cell) in std::mem::take(&mut *account.recent.lock()) {
                drained.push(Drained {
                    consumer: account.consumer.clone(),
                    division: account.division.clone(),
                    route: self.shared.routes.name(route),
                    cell,
                });
            }
        }
        drained
    }
}

impl Account {
    fn new(consumer: ConsumerName, division: DivisionName) -> Self {
        Self {
            consumer,
            division,
            outcomes: std::array::from_fn(|_| AtomicU64::new(0)),
            price: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            waited_nanos: AtomicU64::new(0),
            recent: Mutex::default(),
        }
    }

    fn count(&self, route: RouteIx, outcome: Outcome, waited: Duration) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
        if !waited.is_zero() {
            self.waits.fetch_add(1, Ordering::Relaxed);
            let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
            self.waited_nanos.fetch_add(nanos, Ordering::Relaxed);
        }
        self.note(route, |cell| {
            cell.outcomes[outcome as usize] += 1;
            cell.waits += i64::from(!waited.is_zero());
            cell.waited_ms += i64::try_from(waited.as_millis()).unwrap_or(i64::MAX);
        });
    }

    /// It pays for one request that is leaving, also if it hangs up before the answer comes.
    pub fn pay(&self, route: RouteIx) {
        self.price.fetch_add(1, Ordering::Relaxed);
        self.note(route, |cell| cell.price += 1);
    }

    /// That request never left.
    pub fn refund(&self, route: RouteIx) {
        self.price.fetch_sub(1, Ordering::Relaxed);
        self.note(route, |cell| cell.price -= 1);
    }

    /// A background refresh is leaving that one of its hits set off.
    pub fn refresh(&self, route: RouteIx) {
        self.outcomes[Outcome::Refresh as usize].fetch_add(1, Ordering::Relaxed);
        self.note(route, |cell| cell.outcomes[Outcome::Refresh as usize] += 1);
    }

    /// That refresh never left.
    pub fn take_back_refresh(&self, route: RouteIx) {
        self.outcomes[Outcome::Refresh as usize].fetch_sub(1, Ordering::Relaxed);
        self.note(route, |cell| cell.outcomes[Outcome::Refresh as usize] -= 1);
    }

    fn counts(&self) -> Counts {
        Counts {
            outcomes: std::array::from_fn(|i| self.outcomes[i].load(Ordering::Relaxed)),
            price: self.price.load(Ordering::Relaxed),
            waits: self.waits.load(Ordering::Relaxed),
            waited: Duration::from_nanos(self.waited_nanos.load(Ordering::Relaxed)),
        }
    }

    /// A consumer asks few routes at a time, the same ones again and again: a list
    /// is found through faster than a map, and the routes are bounded.
    fn note(&self, route: RouteIx, change: impl FnOnce(&mut Cell)) {
        let mut recent = self.recent.lock();
        let at = recent.iter().position(|(known, _)| *known == route).unwrap_or_else(|| {
            recent.push((route, Cell::default()));
            recent.len() - 1
        });
        change(&mut recent[at].1);
    }
}

impl Cell {
    /// Adds what `other` counted.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.outcomes.iter_mut().zip(other.outcomes) {
            *mine = mine.saturating_add(theirs);
        }
        self.price = self.price.saturating_add(other.price);
        self.waits = self.waits.saturating_add(other.waits);
        self.waited_ms = self.waited_ms.saturating_add(other.waited_ms);
    }

    /// Exchanges that ended so.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> u64 {
        u64::try_from(self.outcomes[outcome as usize]).unwrap_or(0)
    }

    /// Exchanges in all; nobody asked for a refresh.
    #[must_use]
    pub fn asked(&self) -> u64 {
        Outcome::ALL.iter().filter(|o| **o != Outcome::Refresh).map(|outcome| self.of(*outcome)).sum()
    }
}

impl Counts {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            outcomes: std::array::from_fn(|i| self.outcomes[i] + other.outcomes[i]),
            price: self.price + other.price,
            waits: self.waits + other.waits,
            waited: self.waited + other.waited,
        }
    }

    /// Exchanges that ended so.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Exchanges in all; nobody asked for a refresh.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.outcomes.iter().sum::<u64>() - self.of(Outcome::Refresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: &[(&str, &str)]) -> Vec<(ConsumerName, DivisionName)> {
        of.iter().map(|(consumer, division)| (consumer.parse().unwrap(), division.parse().unwrap())).collect()
    }

    #[test]
    fn counts_add_up() {
        let tally = Tally::new(names(&[("a", "x"), ("b", "x")]));
        let route = tally.route("/api/v2/tests/17", true);
        tally.count(1, route, Outcome::Paid, Duration::from_millis(5));
        tally.count(1, route, Outcome::Fresh, Duration::ZERO);
        tally.count(7, route, Outcome::Fresh, Duration::ZERO);
        let account = tally.account_of(&"b".parse().unwrap(), &"x".parse().unwrap()).unwrap();
        (0..2).for_each(|_| account.pay(route));
        account.refund(route);
        let counts = tally.of(1);
        assert_eq!((counts.asked(), counts.of(Outcome::Paid), counts.price, counts.waits), (2, 1, 1, 1));
        assert_eq!(tally.of(0), Counts::default());
        let drained = tally.drain();
        assert_eq!(drained.len(), 1);
        assert_eq!((drained[0].consumer.as_str(), &*drained[0].route), ("b", "/api/v2/tests/*"));
        assert_eq!((drained[0].cell.asked(), drained[0].cell.price), (2, 1));
        assert_eq!(tally.drain(), []);
        for (index, outcome) in Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, index);
        }
    }

    #[test]
    fn another_plan_goes_on_counting() {
        let tally = Tally::new(names(&[("a", "x"), ("b", "x")]));
        tally.count(1, RouteIx::OTHER, Outcome::Fresh, Duration::ZERO);
        let next = tally.succeed(names(&[("b", "x"), ("c", "y")]));
        // Begun under the old plan.
        tally.count(1, RouteIx::OTHER, Outcome::Fresh, Duration::ZERO);
        tally.count(0, RouteIx::OTHER, Outcome::Fresh, Duration::ZERO);
        assert_eq!((next.of(0).asked(), next.of(1).asked(), next.total().asked()), (2, 0, 3));
        assert_eq!(next.drain().len(), 2);
    }
}
