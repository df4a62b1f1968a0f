//! One account over one store, with everything around it: processes that die without a
//! goodbye, and a clock that is turned by hand. What is asked of the store is asked for
//! real, of a file or of a redis-server, and takes no time on that clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::line::Line;
use super::weir::{Weir, breathe, leave, redis, upstream, wait, woken};
use crate::budget::ledger::Options;
use crate::budget::{Budget, Charge, Ledger, NodeState, Permit, Refusal, Shared, Store, shared};
use crate::clock::{Clock, Moment, UnixTime};
use crate::config::{OnEmpty, Upstream};
use crate::quota::{LimitSet, Plan};

/// From a booking until its request is given up, at most.
pub(super) const CONNECT: Duration = Duration::from_secs(1);
pub(super) const ANSWER: Duration = Duration::from_secs(2);

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const TICK: Duration = Duration::from_nanos(1);

/// Where the charges are kept, and how many processes share them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Site {
    Embedded,
    Redis { replicas: usize },
}

pub(super) struct House {
    pub(super) clock: Clock,
    site: Site,
    upstream: Upstream,
    weirs: Vec<Weir>,
    folder: TempDir,
    /// How many have lived here.
    lives: u64,
    /// Who asks next.
    next: AtomicUsize,
    /// Names this house in Redis.
    name: String,
    /// Requests that are being booked.
    busy: Arc<AtomicUsize>,
}

/// Who left when.
pub(super) type Sent = Arc<Mutex<Vec<(Moment, usize)>>>;

impl Site {
    /// The house with all its processes open, at this time by its wall clock.
    pub(super) async fn open_at(self, plan: Plan, wall: UnixTime) -> House {
        static HOUSES: AtomicU64 = AtomicU64::new(0);
        // Time stands still unless it is turned: the runtime would else go on by itself
        // while it waits for a file or a socket.
        drop(tokio::spawn(async {
            loop {
                breathe().await;
            }
        }));
        let mut house = House {
            clock: Clock::virtual_at(wall),
            site: self,
            upstream: upstream(plan),
            folder: tempfile::tempdir().unwrap(),
            weirs: Vec::new(),
            lives: 0,
            next: AtomicUsize::new(0),
            name: format!("house{}", HOUSES.fetch_add(1, Ordering::Relaxed)),
            busy: Arc::default(),
        };
        house.begin().await;
        house
    }

    pub(super) async fn open(self, plan: Plan) -> House {
        self.open_at(plan, UnixTime::from_secs(1_700_000_000)).await
    }
}

impl House {
    /// Starts as many processes as live here.
    async fn begin(&mut self) {
        let number = match self.site {
            Site::Embedded => 1,
            Site::Redis { replicas } => replicas,
        };
        self.tell_redis_the_time();
        for _ in 0..number {
            self.lives += 1;
            let weir = self.weir();
            weir.store.loaded().await.unwrap();
            weir.budget.recall();
            self.weirs.push(weir);
        }
        let mut patience = 200;
        while self.weirs.iter().any(|weir| !weir.is_open()) {
            patience -= 1;
            assert!(patience > 0, "{:?} does not open", self.site);
            self.pass(Duration::from_millis(25)).await;
        }
        self.hear().await;
    }

    fn weir(&self) -> Weir {
        match self.site {
            Site::Embedded => {
                let options = Options { path: self.folder.path().join("data"), on_empty: OnEmpty::Trust };
                let store = Store::Embedded(Ledger::open(options, self.clock).unwrap());
                Weir { budget: store.budget(&self.upstream, self.clock), store, line: None }
            }
            Site::Redis { .. } => {
                let line = Line::lay(self.folder.path(), &self.lives.to_string(), redis().socket());
                let options = shared::Options {
                    server: line.server(),
                    prefix: self.name.clone(),
                    process: self.lives,
                    egress: "here".into(),
                    on_empty: OnEmpty::Trust,
                    slots: None,
                };
                let clock = format!(
                    "local function wall_clock() return tonumber(redis.call('GET', '{}-clock')) end\n",
                    self.name
                );
                let store = Store::Shared(Shared::by_clock(options, &clock), None);
                Weir { budget: store.budget(&self.upstream, self.clock), store, line: Some(line) }
            }
        }
    }

    /// All processes are killed at once, and others start. What is under way is theirs: it is not
    /// heard of again.
    pub(super) async fn kill(&mut self, under_way: impl IntoIterator<Item = Charge>) {
        self.kill_for(self.upstream.plan.clone(), under_way).await;
    }

    /// The same with another plan from then on.
    pub(super) async fn kill_for(&mut self, plan: Plan, under_way: impl IntoIterator<Item = Charge>) {
        self.rest().await;
        for weir in self.weirs.drain(..) {
            // As a kill would, but for what redb holds in memory, which it never does.
            weir.store.close().await;
            drop(weir.line);
        }
        under_way.into_iter().for_each(std::mem::forget);
        self.upstream.plan = plan;
        self.begin().await;
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    pub(super) fn all(&self) -> LimitSet {
        (0..self.upstream.plan.limits.len()).collect()
    }

    /// The next process's budget: each is asked in turn.
    pub(super) fn budget(&self) -> Arc<Budget> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        Arc::clone(&self.weirs[next % self.weirs.len()].budget)
    }

    /// Each process's.
    pub(super) fn budgets(&self) -> impl Iterator<Item = &Arc<Budget>> {
        self.weirs.iter().map(|weir| &weir.budget)
    }

    /// Who asks for `set` and does not wait.
    pub(super) async fn ask_for(&self, set: LimitSet, seat: usize) -> Result<Permit, Refusal> {
        let asked = wait(self.budget(), set, seat, Duration::ZERO).await;
        self.hear().await;
        asked
    }

    /// Who asks for all limits and does not wait.
    pub(super) async fn ask(&self, seat: usize) -> Result<Permit, Refusal> {
        self.ask_for(self.all(), seat).await
    }

    /// One whose request leaves now.
    pub(super) async fn send(&self, seat: usize) -> Charge {
        self.send_for(self.all(), seat).await
    }

    pub(super) async fn send_for(&self, set: LimitSet, seat: usize) -> Charge {
        let permit = self.ask_for(set, seat).await.unwrap_or_else(|no| panic!("{no} at {:?}", self.now()));
        let charge = self.leave(permit).await;
        self.hear().await;
        charge
    }

    /// The permit's request leaves.
    pub(super) async fn leave(&self, permit: Permit) -> Charge {
        leave(permit, Arc::clone(&self.busy)).await
    }

    /// A caller that comes now and waits as long as this.
    pub(super) fn come(&self, seat: usize, patience: Duration) -> JoinHandle<Result<Permit, Refusal>> {
        tokio::spawn(wait(self.budget(), self.all(), seat, patience))
    }

    /// From now on each of `seats` has so many callers that ask again as soon as they are
    /// answered, `latency` after they left.
    pub(super) fn saturate<const N: usize>(
        &self,
        seats: [usize; N],
        callers: usize,
        latency: Duration,
    ) -> Sent {
        let sent = Sent::default();
        for seat in seats.into_iter().flat_map(|seat| std::iter::repeat_n(seat, callers)) {
            let (sent, set, busy) = (Arc::clone(&sent), self.all(), Arc::clone(&self.busy));
            let (budget, clock) = (self.budget(), self.clock);
            drop(tokio::spawn(async move {
                loop {
                    let asked = wait(Arc::clone(&budget), set, seat, Duration::from_secs(3_600)).await;
                    let charge = leave(asked.unwrap(), Arc::clone(&busy)).await;
                    sent.lock().push((charge.sent_at(), seat));
                    clock.sleep_until(clock.now() + latency).await;
                    charge.settled();
                }
            }));
        }
        sent
    }

    /// Until who waits for `at` has left: Redis is asked as soon as it may agree, and once more
    /// soon after.
    pub(super) fn left_by(&self, at: Moment) -> Moment {
        at + match self.site {
            Site::Embedded => MS,
            Site::Redis { .. } => 12 * MS,
        }
    }

    /// How exact moments are: Redis tells microseconds, and clocks part between two calls.
    pub(super) fn grace(&self) -> Duration {
        match self.site {
            Site::Embedded => Duration::ZERO,
            Site::Redis { .. } => MS,
        }
    }

    /// Whether `told` is `truth`, as exact as it can be, and not before it.
    pub(super) fn is_near(&self, told: Moment, truth: Moment) {
        assert!(told >= truth && told <= truth + self.grace(), "{told:?} rather than {truth:?}");
    }

    /// A charge for each limit, as every process sees it.
    pub(super) async fn used(&self) -> Vec<u32> {
        self.hear().await;
        let seen = self.budgets().map(|budget| {
            let snapshot = budget.snapshot();
            let used: Vec<u32> = snapshot.account.iter().map(|limit| limit.used).collect();
            for (limit, used) in used.iter().enumerate() {
                let sum = |nodes: &[NodeState]| nodes.iter().map(|node| node.limits[limit].used).sum::<u32>();
                let (divisions, consumers) = (sum(&snapshot.divisions), sum(&snapshot.consumers));
                assert!(divisions <= *used && consumers <= divisions, "law 2: {snapshot:?}");
            }
            used
        });
        let seen: Vec<_> = seen.collect();
        assert!(seen.iter().all(|used| *used == seen[0]), "replicas are one: {seen:?}");
        seen[0].clone()
    }

    /// By consumer, what is used of the limit at `limit`.
    pub(super) async fn used_by_consumers(&self, limit: usize) -> Vec<u32> {
        self.hear().await;
        let snapshot = self.weirs[0].budget.snapshot();
        snapshot.consumers.iter().map(|consumer| consumer.limits[limit].used).collect()
    }

    /// Turns the clock, stopping wherever something may be due.
    pub(super) async fn pass(&self, time: Duration) {
        self.pass_until(self.now() + time).await;
    }

    pub(super) async fn pass_until(&self, until: Moment) {
        const STEP: Duration = Duration::from_millis(25);
        self.rest().await;
        while self.now() < until {
            let now = self.now();
            let due =
                self.weirs.iter().filter_map(|weir| weir.due()).map(woken).filter(|&due| due > now).min();
            let next = until.min(now + STEP).min(due.unwrap_or(Moment::NEVER));
            self.turn(next.since(now)).await;
            self.rest().await;
        }
    }

    async fn turn(&self, time: Duration) {
        tokio::time::advance(time).await;
        self.tell_redis_the_time();
    }

    /// What one process has told, the others know: as in a quarter of a second, at most.
    pub(super) async fn hear(&self) {
        self.rest().await;
        for weir in self.weirs.iter().filter(|weir| weir.line.is_some()) {
            weir.call();
        }
        self.rest().await;
    }

    /// For so long nothing that is said to Redis arrives; then all of it.
    pub(super) async fn hold_up(&self, time: Duration) {
        const STEP: Duration = Duration::from_millis(10);
        let lines = || self.weirs.iter().filter_map(|weir| weir.line.as_ref());
        lines().for_each(|line| line.hold(true));
        let until = self.now() + time;
        while self.now() < until {
            self.turn(STEP).await;
            // Nobody comes to rest who is not answered.
            for _ in 0..200 {
                breathe().await;
            }
        }
        lines().for_each(|line| line.hold(false));
    }

    /// All that can be done at this moment is done.
    async fn rest(&self) {
        const ENOUGH: u32 = 12;
        let (mut calm, mut patience) = (0, 5_000_000);
        while calm < ENOUGH {
            breathe().await;
            let is_calm = self.busy.load(Ordering::Relaxed) == 0
                && self.weirs.iter().all(|weir| weir.is_at_rest(self.now()));
            calm = if is_calm { calm + 1 } else { 0 };
            patience -= 1;
            assert!(patience > 0, "{:?} does not come to rest", self.site);
        }
    }

    fn tell_redis_the_time(&self) {
        if self.site != Site::Embedded {
            let micros = self.clock.wall().as_nanos() / 1_000;
            let clock = format!("{}-clock", self.name);
            redis().server().blocking().command(&["SET", &clock, &micros.to_string()]);
        }
    }
}
