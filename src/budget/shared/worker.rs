//! The task that speaks to Redis for one budget: one call at a time, each bounded.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::replica::UnderWay;
use super::wire::{Reply, Request};
use super::{Budget, CALL_WITHIN, Fact, Fleet, Standing};
use crate::clock::{Clock, Moment};
use crate::quota::LimitSet;
use crate::redis::{Connection, Gone};

/// Between attempts to reach a Redis that is gone.
const RETRY: Duration = Duration::from_millis(100);
const RETRY_WHILE_LOST: Duration = Duration::from_millis(250);

/// Until the budget is dropped.
pub(super) async fn keep(budget: Weak<Budget>, clock: Clock) {
    let mut link = None;
    while let Some(strong) = budget.upgrade() {
        let due = strong.next_call();
        // The budget is not kept alive by waiting for it.
        let Some(fleet) = &strong.core.fleet else { return };
        tokio::select! {
            () = clock.sleep_until(due) => {}
            () = fleet.work.notified() => {}
        }
        if let Err(gone) = once(&strong, &mut link).await {
            link = None;
            let retry = if strong.standing() == Some(Standing::Lost) { RETRY_WHILE_LOST } else { RETRY };
            tracing::debug!(upstream = %fleet.upstream, %gone, "redis did not answer");
            drop(strong);
            clock.sleep_until(clock.now() + retry).await;
        }
    }
}

/// One call, over a connection that stands or is made.
async fn once(budget: &Arc<Budget>, link: &mut Option<Connection>) -> Result<(), Gone> {
    let Some(fleet) = &budget.core.fleet else { return Ok(()) };
    let mut connection = match link.take() {
        Some(connection) => connection,
        None => match fleet.shared.server.connect(&fleet.shared.slot(&fleet.upstream), CALL_WITHIN).await {
            Ok(connection) => connection,
            Err(gone) => return Err(budget.unanswered(fleet, None, gone)),
        },
    };
    let (request, way, keys) = budget.next_request(fleet);
    let text = serde_json::to_string(&request).map_err(|error| Gone::Refused(error.to_string()));
    let answer = match text {
        Ok(text) => connection.run(&fleet.shared.script, &keys, &text, CALL_WITHIN).await,
        Err(error) => Err(error),
    };
    let reply = answer.and_then(|answer| Reply::of(&answer).map_err(|no| Gone::Refused(no.to_string())));
    match reply {
        Ok(reply) => {
            *link = Some(connection);
            budget.heard(fleet, way, reply);
            Ok(())
        }
        Err(gone) => Err(budget.unanswered(fleet, Some(way), gone)),
    }
}

impl Budget {
    fn next_call(&self) -> Moment {
        let state = self.core.state.lock();
        let waiting = state.desk.waiting();
        state.replica.as_ref().map_or(Moment::NEVER, |replica| replica.next_call(waiting))
    }

    fn next_request(&self, fleet: &Fleet) -> (Request, UnderWay, Vec<String>) {
        self.change_all(|desk, replica, now| {
            let replica = replica.expect("a budget with a fleet has a replica");
            let (request, way) = replica.call(desk, now, CALL_WITHIN);
            (request, way, replica.redis_keys(&fleet.shared.slot(&fleet.upstream)))
        })
    }

    fn heard(&self, fleet: &Fleet, way: UnderWay, reply: Reply) {
        let facts = self.change_all(|desk, replica, now| {
            let replica = replica.expect("a budget with a fleet has a replica");
            replica.answered(desk, (way, reply), now)
        });
        facts.into_iter().for_each(|fact| fleet.note(&fact, None));
        self.note_aside(fleet);
    }

    fn unanswered(&self, fleet: &Fleet, way: Option<UnderWay>, gone: Gone) -> Gone {
        let fact = self.change_all(|desk, replica, now| {
            let replica = replica.expect("a budget with a fleet has a replica");
            replica.failed(desk, way, now)
        });
        if let Some(fact) = fact {
            fleet.note(&fact, Some(&gone));
            if self.fallback(LimitSet::default()).is_some() {
                tracing::warn!(upstream = %fleet.upstream, "this replica goes on with what was set aside for it");
            }
        }
        gone
    }
}

impl Fleet {
    fn note(&self, fact: &Fact, gone: Option<&Gone>) {
        let upstream = &self.upstream;
        match fact {
            Fact::Open { charges } => {
                tracing::info!(%upstream, charges, "the shared ledger is open");
                self.standing.send_replace(Standing::Open);
                if let Some(fallback) = &self.aside {
                    // They ask anew, of what all share.
                    fallback.budget.change(|desk, now| desk.turn_all_away(now));
                }
            }
            Fact::Part(Some(number)) => {
                tracing::info!(%upstream, number, "this part is set aside for this replica, should redis be lost");
            }
            Fact::Part(None) => {
                tracing::warn!(%upstream, "nothing is set aside for this replica: there are more than `replicas`; should redis be lost, it closes");
            }
            Fact::EpochLost => {
                tracing::warn!(%upstream, "redis has lost what it knew; it is told again by all replicas before anything leaves");
                self.standing.send_if_modified(|at| {
                    let was_open = *at == Standing::Open;
                    if was_open {
                        *at = Standing::Joining;
                    }
                    was_open
                });
            }
            Fact::ClockJumped(by) => {
                tracing::error!(%upstream, by_s = by.as_secs_f64(), "redis's clock jumped forward; its ledger is begun anew");
            }
            Fact::Taught { limit, closing, even } => {
                let closed_s = closing.map(|(at, until)| until.since(at).as_secs_f64());
                tracing::warn!(%upstream, %limit, closed_s, spaced_out = even, "the vendor answered another weir 429: this window is closed here too");
                if let Some(fallback) = &self.aside {
                    fallback.budget.heed(limit, *closing, *even);
                }
            }
            Fact::PromiseBroken => {
                tracing::warn!(%upstream, "the vendor has broken counted_within at another weir, so it does not hold here either; unset it, or set a longer one");
                if let Some(fallback) = &self.aside {
                    fallback.budget.heed_broken_promise();
                }
            }
            Fact::Back => tracing::info!(%upstream, "redis answers again"),
            Fact::Lost => {
                let why = gone.map(ToString::to_string).unwrap_or_default();
                tracing::error!(%upstream, why, "redis cannot be reached: nothing that all replicas share leaves until it can be; cached answers flow on");
                self.standing.send_replace(Standing::Lost);
            }
        }
    }
}
