//! `on_loss = "share:…"`: whose part is whose over days, by a clock that is turned by hand.

use std::time::Duration;

use super::super::aside::Aside;
use super::super::replica::{Fact, Replica, Spans};
use super::super::script;
use super::super::wire::Reply;
use super::world::{fresh_slot, server};
use crate::budget::desk::Desk;
use crate::budget::hierarchy::Books;
use crate::budget::laws::plan;
use crate::clock::{Moment, UnixTime};
use crate::config::OnEmpty;
use crate::redis::{Blocking, Script};

const HOUR: Duration = Duration::from_secs(3_600);

/// Replicas that speak to one Redis when they are told to.
struct Fleet {
    redis: Blocking,
    script: Script,
    slot: String,
    now: Moment,
    weirs: Vec<(Replica, Desk)>,
}

impl Fleet {
    fn new() -> Self {
        let slot = fresh_slot();
        let clock =
            format!("local function wall_clock() return tonumber(redis.call('GET', '{slot}-clock')) end\n");
        let script = Script::new(&script(&clock));
        let now = Moment::ZERO + HOUR;
        Self { redis: server().server().blocking(), script, slot, now, weirs: Vec::new() }
    }

    /// One begins in the folder `name`, where two parts are set aside; its number.
    fn begin(&mut self, name: &str) -> usize {
        let plan = plan(&[(5, 1_000)], 4);
        let mut desk = Desk::new(plan.clone(), Books::new(&plan, self.now, UnixTime::from_secs(100)));
        desk.shut();
        desk.ask_first();
        let spans = Spans::of(&plan, Duration::ZERO, Duration::from_secs(1));
        let me = format!("{:016x}", self.weirs.len() + 1);
        let mut replica = Replica::new(me, "here", &plan, spans, OnEmpty::Trust);
        replica.aside = Some(Aside::new(name.into(), 2));
        self.weirs.push((replica, desk));
        self.weirs.len() - 1
    }

    fn call(&mut self, at: usize) -> Vec<Fact> {
        let micros = 1_700_000_000_000_000 + self.now.as_nanos() / 1_000;
        self.redis.command(&["SET", &format!("{}-clock", self.slot), &micros.to_string()]);
        let (replica, desk) = &mut self.weirs[at];
        let (request, way) = replica.call(desk, self.now, Duration::from_millis(500));
        let text = serde_json::to_string(&request).unwrap();
        let answer = self.redis.run(&self.script, &replica.redis_keys(&self.slot), &text);
        replica.answered(desk, (way, Reply::of(&answer).unwrap()), self.now)
    }

    /// `times` steps go by, in each of which these call.
    fn pass(&mut self, (times, step): (u32, Duration), those: &[usize]) {
        for _ in 0..times {
            self.now = self.now + step;
            those.iter().for_each(|at| drop(self.call(*at)));
        }
    }

    fn part(&self, at: usize) -> Option<u32> {
        self.weirs[at].0.part(self.now)
    }
}

#[test]
fn a_part_goes_to_another_two_days_after_its_holder_was_heard_of_and_not_before() {
    const SOON: (u32, Duration) = (60, Duration::from_millis(100));
    let mut fleet = Fleet::new();
    let (a, b) = (fleet.begin("a"), fleet.begin("b"));
    fleet.pass(SOON, &[a, b]);
    let c = fleet.begin("c");
    fleet.pass(SOON, &[a, b, c]);
    let of_a = fleet.part(a);
    assert_eq!((of_a.is_some(), fleet.part(b).is_some(), fleet.part(c)), (true, true, None));
    assert_ne!(of_a, fleet.part(b));

    // It is heard of no more, and goes on with its part for a day, wherever it is.
    fleet.pass((23, HOUR), &[b, c]);
    assert_eq!((fleet.part(a), fleet.part(c)), (of_a, None));
    fleet.pass((2, HOUR), &[b, c]);
    assert_eq!((fleet.part(a), fleet.part(c)), (None, None), "for now it is nobody's");
    fleet.pass((22, HOUR), &[b, c]);
    assert_eq!(fleet.part(c), None, "less than two days");
    // Redis forgets; those who are left tell it whose parts they were, and the days begin anew.
    let keys = fleet.weirs[b].0.redis_keys(&fleet.slot);
    let words: Vec<&str> = std::iter::once("DEL").chain(keys.iter().map(String::as_str)).collect();
    fleet.redis.command(&words);
    fleet.pass(SOON, &[b, c]);
    fleet.pass((47, HOUR), &[b, c]);
    assert_eq!(fleet.part(c), None);
    fleet.pass((3, HOUR), &[b, c]);
    assert_eq!(fleet.part(c), of_a);

    // Who had it finds nothing left for it; whoever is restarted in its folder has the same as before.
    let (again, other) = (fleet.begin("a"), fleet.begin("b"));
    fleet.pass(SOON, &[again, other, c]);
    assert_eq!((fleet.part(again), fleet.part(other)), (None, fleet.part(b)));
}
