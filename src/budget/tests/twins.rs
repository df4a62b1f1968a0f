//! `Retry-After` against the truth (law 7): for every refusal of a saturated run there is a
//! twin that asks at that moment and waits; when it leaves is when a yes came. In virtual
//! time, so that no slow machine comes between a no and its twin. Nobody hangs up, or runs
//! out of time: where slots come in bursts, one who does is worth a whole window to who
//! stands behind, and no refusal counts on that.

use proptest::prelude::*;
use tokio::task::JoinHandle;

use super::*;
use crate::budget::laws::{cases, quantity};

/// How patient those are who ask again and again.
const PATIENCE: [Duration; 3] = [Duration::ZERO, Duration::ZERO, FOR_EVER];
const FOR_EVER: Duration = Duration::from_secs(60);

/// A refusal, and when the twin that waited in its stead left.
struct Pair {
    asked: Moment,
    told: Duration,
    twin: JoinHandle<Moment>,
}

/// One who asks until `until`, with a twin for every no. Answers take `latency`, and who is
/// refused comes back after a `rest`.
async fn ask_with_twins(
    budget: Arc<Budget>,
    (seat, lane): (usize, usize),
    until: Moment,
    (latency, rest): (Duration, Duration),
) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for round in lane.. {
        if budget.now() >= until {
            break;
        }
        let Some(refusal) = refused(&budget, seat, PATIENCE[round % PATIENCE.len()], latency).await else {
            continue;
        };
        let (asked, told) = (budget.now(), refusal.retry_after);
        let bid = budget.bid(all(&budget));
        let entry = bid.enter(ask(&budget, seat, FOR_EVER)).expect("it can wait");
        let waits = Arc::clone(&budget);
        let twin = tokio::spawn(async move {
            let permit = bid.granted().await.expect("it is patient");
            drop(entry);
            let left = waits.now();
            answered(&waits, permit, latency).await;
            left
        });
        pairs.push(Pair { asked, told, twin });
        pass(&budget, rest).await;
    }
    pairs
}

/// One who waits so long; nothing, once it is answered.
async fn refused(
    budget: &Arc<Budget>,
    seat: usize,
    patience: Duration,
    latency: Duration,
) -> Option<Refusal> {
    // Whoever is refused is told its own slot, and not a herd's.
    budget.change(|desk, _| desk.forget_herds());
    let bid = budget.bid(all(budget));
    let entered = bid.enter(ask(budget, seat, patience));
    match entered {
        Ok(_waits) => {
            let permit = bid.granted().await.expect("it is patient");
            answered(budget, permit, latency).await;
            None
        }
        Err(Denied::Refused(refusal)) => Some(refusal),
        Err(no) => unreachable!("{no:?}"),
    }
}

async fn answered(budget: &Budget, permit: Permit, latency: Duration) {
    let charge = permit.sent();
    pass(budget, latency).await;
    charge.settled();
}

/// Twelve callers of two consumers, one of which has a reserve, all at once and then without end.
async fn saturate(latencies: &[u64], rest: Duration) -> Result<(), TestCaseError> {
    let mut plan = plan(&[(20, 2_000)], 2);
    (plan.divisions[0].share.0, plan.divisions[1].share.0) = (600_000, 300_000);
    plan.divisions[1].reserve = vec![quantity(0, 1)];
    let budget = Budget::new(plan, Clock::virtual_at(UnixTime::from_secs(1_000)));
    let until = budget.now() + 5_000 * MS;
    let lanes = latencies.iter().enumerate().map(|(lane, micros)| {
        let takes = (Duration::from_micros(*micros), rest);
        tokio::spawn(ask_with_twins(Arc::clone(&budget), (lane % 2, lane), until, takes))
    });
    let mut pairs = Vec::new();
    for lane in lanes.collect::<Vec<_>>() {
        pairs.extend(lane.await.unwrap());
    }
    prop_assert!(pairs.len() >= 20, "there was nothing to check");
    for Pair { asked, told, twin } in pairs {
        let waited = twin.await.unwrap().since(asked);
        prop_assert!(told <= waited, "at {:?} told {:?}, a yes after {:?}", asked, told, waited);
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(50))]

    #[test]
    fn no_refusal_of_a_saturated_run_is_later_than_a_yes(
        latencies in prop::collection::vec(1_000u64..5_000, 12), rest in 50u64..300,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(saturate(&latencies, Duration::from_millis(rest)))?;
    }
}
