//! Faults at random, one after another, while every weir is asked without end:
//! the vendor refuses nothing, what is kept is answered all the while, and it all mends by
//! itself. The seed is printed; `WEIR_LONG=SECONDS` goes on for so long, `WEIR_SEED` repeats.

use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::loss::{KEPT, Load, mends, warm};
use super::*;
use crate::support::load::{alone, pause};
use crate::support::redis::Wire;
use tokio::task::JoinHandle;
use weir::clock::Clock;

/// A hit may not wait for Redis: it is frozen for two seconds and more. What it takes beside
/// other tests on a machine of two cores stays well below.
const HIT_WITHIN: Duration = Duration::from_millis(1_500);

/// Kept for longer than a long run lasts.
const RULE: &str = "[[upstreams.catchpoint.cache]]\nmatch = \"GET /api/v2/nodes/**\"\nttl = \"1d\"\n";

#[derive(Clone, Copy, Debug)]
enum Fault {
    KillWeir(usize),
    FreezeRedis,
    EmptyRedis,
    OlderRedis,
    CutOff,
}

/// In a short run each once, in random order; in a long one, any.
fn faults(random: &mut StdRng, long: bool) -> Vec<Fault> {
    let mut all = vec![
        Fault::KillWeir(random.random_range(0..2)),
        Fault::FreezeRedis,
        Fault::EmptyRedis,
        Fault::OlderRedis,
        Fault::CutOff,
    ];
    for at in (1..all.len()).rev() {
        all.swap(at, random.random_range(0..=at));
    }
    if long {
        all.truncate(random.random_range(1..=2));
    }
    all
}

/// Asks for what is kept, a hundred times a second, and tells the longest answer.
async fn keep_reading(weir: Caller, worst: Arc<Mutex<Duration>>) {
    let clock = Clock::system();
    loop {
        let asked = clock.now();
        let Some(reply) = weir.try_get(KEPT).await else { return };
        assert_eq!((reply.status.as_u16(), reply.price()), (200, 0), "{reply:?}");
        let took = clock.now().since(asked);
        {
            let mut worst = worst.lock().unwrap();
            *worst = took.max(*worst);
        }
        pause(Duration::from_millis(10)).await;
    }
}

struct World {
    redis: Redis,
    wire: Wire,
    fleet: Vec<Weir>,
    load: Vec<Load>,
    readers: Vec<JoinHandle<()>>,
    worst: Arc<Mutex<Duration>>,
    freeze: Duration,
}

impl World {
    fn read(&self, at: usize) -> JoinHandle<()> {
        tokio::spawn(keep_reading(self.fleet[at].caller(&token_of("c0")), Arc::clone(&self.worst)))
    }

    async fn strike(&mut self, fault: Fault, random: &mut StdRng) {
        let moment = Duration::from_millis(random.random_range(0..1_500));
        match fault {
            Fault::KillWeir(at) => {
                self.readers[at].abort();
                let folder = self.fleet.remove(at).kill();
                pause(moment).await;
                self.fleet.insert(at, Weir::again(folder));
                // Its disk still has what was kept, unless it died before it was written.
                warm(&self.fleet[at..=at]).await;
                self.load[at] = Load::on(&self.fleet[at], at * 4);
                self.readers[at] = self.read(at);
            }
            Fault::FreezeRedis => {
                self.redis.freeze();
                pause(self.freeze).await;
                self.redis.thaw();
            }
            Fault::EmptyRedis => {
                self.redis.kill();
                pause(moment).await;
                self.redis.again_empty();
            }
            Fault::OlderRedis => {
                self.redis.save();
                pause(moment).await;
                self.redis.kill();
                self.redis.again();
            }
            Fault::CutOff => {
                self.wire.cut();
                pause(moment * 2).await;
                self.wire.mend();
            }
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "how long, and which history, is for whoever runs it")]
#[tokio::test(flavor = "multi_thread")]
async fn no_fault_at_any_moment_makes_the_vendor_refuse() {
    let lasting = std::env::var("WEIR_LONG").ok().map(|text| Duration::from_secs(text.parse().unwrap()));
    let seed = std::env::var("WEIR_SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    println!("WEIR_SEED={seed}");
    let _alone = alone().await;
    let (clock, random) = (Clock::system(), &mut StdRng::seed_from_u64(seed));
    let (redis, vendor) = (Redis::start(), vendor().await);
    let wire = Wire::to(redis.address()).await;
    let direct = config(&vendor, &redis.url(), RULE, 12);
    let mut fleet = vec![Weir::start(&direct), Weir::start(&direct)];
    fleet.push(Weir::start(&config(&vendor, &wire.url(), RULE, 12)));
    warm(&fleet).await;
    let load = fleet.iter().enumerate().map(|(at, weir)| Load::on(weir, at * 4)).collect();
    let freeze = Duration::from_secs(if lasting.is_some() { 5 } else { 2 });
    let mut world = World { redis, wire, fleet, load, readers: Vec::new(), worst: Arc::default(), freeze };
    world.readers = (0..3).map(|at| world.read(at)).collect();
    let until = clock.now() + lasting.unwrap_or_default();
    let mut struck = 0;
    loop {
        for fault in faults(random, lasting.is_some()) {
            world.strike(fault, random).await;
            struck += 1;
            assert_eq!(vendor.refused(), 0, "seed {seed}, {fault:?}: {}", outputs(&world.fleet));
            pause(Duration::from_millis(random.random_range(0..1_000))).await;
        }
        mends(&world.fleet).await;
        if clock.now() >= until {
            break;
        }
    }
    for reader in &world.readers {
        assert!(!reader.is_finished(), "seed {seed}: what is kept was not answered");
    }
    let worst = *world.worst.lock().unwrap();
    println!(
        "{struck} faults, {} requests at the vendor, the slowest hit {worst:?}",
        vendor.requests().len()
    );
    assert!(worst < HIT_WITHIN, "{worst:?}");
    assert_eq!(vendor.refused(), 0, "seed {seed}: {}", outputs(&world.fleet));
}
