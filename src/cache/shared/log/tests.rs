use std::collections::BTreeMap;

use http::{HeaderMap, Method};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::cache::key::{Key, Scope};
use crate::target::Target;

const REPLICAS: usize = 3;
const KEYS: usize = 2;

fn key(at: usize) -> Text {
    let scope = Scope { upstream: "u".parse().unwrap(), key: None };
    let target = Target::parse(&format!("/{at}"), None).unwrap();
    Key::new(&scope, &Method::GET, &target, &HeaderMap::new(), None).text().clone()
}

fn selector(at: usize) -> Selector {
    Selector::Path("u".parse().unwrap(), format!("/{at}"))
}

/// What `tell.lua` does, with a log so short that it is cut off.
#[derive(Clone, Default)]
struct Server {
    generation: Option<u64>,
    cut: u64,
    entries: Vec<(Origin, u64, usize)>,
    heads: BTreeMap<Origin, u64>,
    members: BTreeMap<Origin, (Moment, Position)>,
    /// Kept answers: version and position.
    records: BTreeMap<usize, (u64, Position)>,
}

impl Server {
    fn tell(&mut self, me: Origin, request: Request, (now, candidate): (Moment, u64)) -> Reply {
        let head = self.cut + self.entries.len() as u64;
        let mine = self.heads.get(&me).copied().unwrap_or(0);
        if self.generation.is_none() {
            *self = Self { generation: Some(candidate), records: self.records.clone(), ..Self::default() };
        } else if self.generation < Some(request.at.generation)
            || self.generation == Some(request.at.generation)
                && (head < request.at.seq || mine < request.told)
        {
            self.generation = Some(candidate);
        }
        let mut mine = self.heads.get(&me).copied().unwrap_or(0);
        for (number, bytes) in request.entries {
            if number > mine {
                self.entries.push((me, number, usize::from(bytes[0])));
                mine = number;
            }
        }
        while self.entries.len() > 6 {
            self.entries.remove(0);
            self.cut += 1;
        }
        self.heads.insert(me, mine);
        self.members.retain(|_, (until, _)| now <= *until);
        self.members.insert(me, (now + LEASE, request.at));
        let (generation, first) = (self.generation.unwrap(), self.cut + 1);
        let from = match generation == request.at.generation && request.at.seq >= first {
            true => usize::try_from(request.at.seq - self.cut).unwrap(),
            false => 0,
        };
        let entries = self.entries[from..].iter().map(|(of, number, at)| (*of, *number, selector(*at)));
        Reply {
            generation,
            seq: self.cut + self.entries.len() as u64,
            first,
            told: mine,
            entries: entries.collect(),
            heads: self.heads.iter().map(|(of, head)| (*of, *head)).collect(),
            members: self.members.iter().map(|(of, (_, at))| (*of, *at)).collect(),
        }
    }
}

struct Replica {
    log: Log,
    is_cut_off: bool,
    /// It has spoken to this Redis since that came.
    is_connected: bool,
    /// Version of what it would serve.
    cache: BTreeMap<usize, u64>,
    /// Its writes that are not answered yet: number, key, version.
    writes: Vec<(u64, usize, u64)>,
}

#[derive(Debug)]
struct Told {
    by: Origin,
    key: usize,
    version: u64,
    /// Redis has lost its memory since.
    is_lost: bool,
}

struct World {
    now: Moment,
    generations: u64,
    server: Server,
    snapshot: Option<Server>,
    truth: [u64; KEYS],
    /// Writes whose writers have been answered.
    answered: Vec<Told>,
    replicas: Vec<Replica>,
}

#[derive(Clone, Debug)]
enum Event {
    Fetch(usize, usize),
    Write(usize, usize),
    Beat(usize),
    Keep(usize, usize),
    BringUp(usize, usize),
    Cut(usize, bool),
    Pass(u64),
    Flush,
    Snapshot,
    Restore,
    Restart(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let (replica, at) = (0..REPLICAS, 0..KEYS);
    prop_oneof![
        4 => (replica.clone(), at.clone()).prop_map(|(r, k)| Event::Fetch(r, k)),
        3 => (replica.clone(), at.clone()).prop_map(|(r, k)| Event::Write(r, k)),
        8 => replica.clone().prop_map(Event::Beat),
        2 => (replica.clone(), at.clone()).prop_map(|(r, k)| Event::Keep(r, k)),
        3 => (replica.clone(), at).prop_map(|(r, k)| Event::BringUp(r, k)),
        1 => (replica.clone(), any::<bool>()).prop_map(|(r, cut)| Event::Cut(r, cut)),
        3 => (1_u64..1_500).prop_map(Event::Pass),
        1 => Just(Event::Flush),
        1 => Just(Event::Snapshot),
        1 => replica.prop_map(Event::Restart),
        1 => Just(Event::Restore),
    ]
}

impl World {
    fn new() -> Self {
        let replica = |at: usize| Replica {
            log: Log::new(at as u64),
            is_cut_off: false,
            is_connected: false,
            cache: BTreeMap::new(),
            writes: Vec::new(),
        };
        Self {
            now: Moment::from_nanos(1_000_000_000_000),
            generations: 0,
            server: Server::default(),
            snapshot: None,
            truth: [1; KEYS],
            answered: Vec::new(),
            replicas: (0..REPLICAS).map(replica).collect(),
        }
    }

    fn happen(&mut self, event: &Event, fresh: u64) {
        match *event {
            Event::Fetch(r, k) => drop(self.replicas[r].cache.insert(k, self.truth[k])),
            Event::Write(r, k) => {
                self.truth[k] += 1;
                let replica = &mut self.replicas[r];
                replica.cache.remove(&k);
                let number = replica.log.purge(selector(k), vec![u8::try_from(k).unwrap()]);
                replica.writes.push((number, k, self.truth[k]));
            }
            Event::Beat(r) => self.beat(r),
            Event::Keep(r, k) => {
                let replica = &self.replicas[r];
                if let (Some(version), Some(at), true) =
                    (replica.cache.get(&k), replica.log.position(), replica.is_connected)
                {
                    self.server.records.insert(k, (*version, at));
                }
            }
            Event::BringUp(r, k) => {
                let replica = &mut self.replicas[r];
                if let (Some((version, at)), None) = (self.server.records.get(&k), replica.cache.get(&k))
                    && replica.is_connected
                    && !replica.log.overtook(*at, &key(k))
                {
                    replica.cache.insert(k, *version);
                }
            }
            Event::Cut(r, is_cut_off) => {
                let replica = &mut self.replicas[r];
                replica.is_cut_off = is_cut_off;
                replica.is_connected &= !is_cut_off;
                self.forget_lost();
            }
            Event::Pass(millis) => self.pass(millis),
            Event::Flush => {
                self.server = Server::default();
                self.lose();
            }
            Event::Snapshot => self.snapshot = Some(self.server.clone()),
            // As a restart or a failover does it: connections break.
            Event::Restore => {
                self.server = self.snapshot.clone().unwrap_or_default();
                for replica in &mut self.replicas {
                    replica.is_connected = false;
                    replica.log.reconnected();
                }
                self.lose();
                // A process that begins in this very moment may not be told of it.
                self.pass(500);
            }
            Event::Restart(r) => {
                let was = &mut self.replicas[r];
                (was.log, was.writes) = (Log::new(fresh), Vec::new());
                was.is_connected = false;
                self.forget_lost();
            }
        }
    }

    fn beat(&mut self, r: usize) {
        if self.replicas[r].is_cut_off {
            return;
        }
        self.generations += 1;
        let replica = &mut self.replicas[r];
        let me = replica.log.me;
        let reply = self.server.tell(me, replica.log.request(), (self.now, self.generations));
        let step = replica.log.answered(reply, self.now);
        match &step.outdated {
            Outdated::These(selectors) => {
                replica.cache.retain(|k, _| !selectors.iter().any(|selector| selector.selects(&key(*k))));
            }
            Outdated::All(_) => replica.cache.clear(),
        }
        replica.log.advance(&step);
        replica.is_connected = true;
        let confirmed = replica.log.confirmed();
        for (_, k, version) in replica.writes.extract_if(.., |(number, ..)| *number <= confirmed) {
            self.answered.push(Told { by: me, key: k, version, is_lost: false });
        }
    }

    /// Whoever is not cut off says so four times a second at least.
    fn pass(&mut self, mut millis: u64) {
        while millis > 0 {
            let step = millis.min(250);
            self.now = self.now + Duration::from_millis(step);
            millis -= step;
            (0..REPLICAS).filter(|_| step == 250).for_each(|r| self.beat(r));
            self.check();
        }
    }

    /// What Redis has lost, only those who told it know.
    fn lose(&mut self) {
        self.answered.iter_mut().for_each(|told| told.is_lost = true);
        self.forget_lost();
    }

    /// Of those who are dead or cut off nobody hears it again.
    fn forget_lost(&mut self) {
        let there = self.replicas.iter().filter(|replica| !replica.is_cut_off);
        let there: Vec<Origin> = there.map(|replica| replica.log.me).collect();
        self.answered.retain(|told| !told.is_lost || there.contains(&told.by));
    }

    fn told(&self, k: usize) -> u64 {
        let versions = self.answered.iter().filter(|told| told.key == k).map(|told| told.version);
        versions.max().unwrap_or(0)
    }

    /// Who is sure to know what was confirmed serves nothing older.
    fn check(&self) {
        for (r, replica) in self.replicas.iter().enumerate() {
            if replica.log.trusted_until().is_none_or(|until| self.now >= until) {
                continue;
            }
            for (k, version) in &replica.cache {
                assert!(
                    *version >= self.told(*k),
                    "replica {r} serves {version} of {k}: {:?}",
                    self.answered
                );
            }
        }
    }
}

proptest! {
    // The same histories each time; others were tried by the ten thousand.
    #![proptest_config(ProptestConfig { cases: 4_000, rng_seed: RngSeed::Fixed(6), ..ProptestConfig::default() })]

    /// Whoever was answered finds nothing older on any replica that trusts itself.
    #[test]
    fn nobody_who_was_answered_reads_what_was_before(
        events in proptest::collection::vec(event(), 1..80)
    ) {
        let mut world = World::new();
        for (at, event) in events.iter().enumerate() {
            world.happen(event, 100 + at as u64);
            world.check();
        }
    }
}

#[test]
fn a_flush_while_everybody_is_there_drops_nothing() {
    let mut world = World::new();
    for r in 0..REPLICAS {
        world.beat(r);
    }
    world.happen(&Event::Write(0, 0), 0);
    for r in [0, 1, 2, 0, 1, 2, 1, 2, 0] {
        world.happen(&Event::Pass(300), 0);
        world.beat(r);
    }
    assert_eq!(world.told(0), 2);
    world.happen(&Event::Fetch(1, 0), 0);
    world.happen(&Event::Flush, 0);
    world.happen(&Event::Pass(100), 0);
    for r in [0, 1, 2, 1] {
        world.beat(r);
    }
    assert_eq!(world.replicas[1].cache.get(&0), Some(&2), "it was told again, and known already");
}

/// What an earlier process kept is good up to a position, if nothing since is missing.
#[test]
fn a_restart_goes_on_where_the_log_still_knows_all_that_came_after() {
    let ((a, b, c), mut server) = ((1, 2, 3), Server::default());
    let (mut at, mut other) = (Moment::ZERO, Log::new(a));
    let mut tell = |server: &mut Server, log: &mut Log, me| {
        at = at + Duration::from_secs(2);
        let reply = server.tell(me, log.request(), (at, at.as_nanos()));
        let step = log.answered(reply, at);
        log.advance(&step);
        step.outdated
    };
    let purge = |log: &mut Log, of: usize| {
        log.purge(selector(of), vec![u8::try_from(of).unwrap()]);
    };
    let mut before = Log::new(b);
    tell(&mut server, &mut other, a);
    assert_eq!(tell(&mut server, &mut before, b), Outdated::All(Gap::Joined));
    purge(&mut other, 0);
    tell(&mut server, &mut other, a);
    assert_eq!(tell(&mut server, &mut before, b), Outdated::These(vec![selector(0)]));
    let mark = before.position().unwrap();
    purge(&mut other, 1);
    tell(&mut server, &mut other, a);

    let mut again = Log::new(c);
    again.resume(mark);
    assert_eq!(again.position(), None, "it has not heard of what came after");
    assert_eq!(tell(&mut server, &mut again, c), Outdated::These(vec![selector(1)]), "and nothing else");
    assert!(again.overtook(mark, &key(1)) && !again.overtook(mark, &key(0)));
    purge(&mut other, 0);
    tell(&mut server, &mut other, a);
    assert_eq!(tell(&mut server, &mut again, c), Outdated::These(vec![selector(0)]));

    // Too many since; another generation; a position that is yet to come.
    let resumed = |server: &mut Server,
                   mark: Position,
                   me,
                   tell: &mut dyn FnMut(&mut Server, &mut Log, Origin) -> Outdated| {
        let mut late = Log::new(me);
        late.resume(mark);
        tell(server, &mut late, me)
    };
    let all = Outdated::All(Gap::Joined);
    let later = Position { seq: mark.seq + 9, ..mark };
    assert_eq!(resumed(&mut server.clone(), later, 4, &mut tell), all);
    for _ in 0..9 {
        purge(&mut other, 0);
    }
    tell(&mut server, &mut other, a);
    assert_eq!(resumed(&mut server, mark, 5, &mut tell), all);
    assert_eq!(resumed(&mut Server::default(), mark, 6, &mut tell), all);
}
