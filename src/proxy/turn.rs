//! One fetch for all replicas (see `cache::shared`): whether somebody else's will do.
//!
//! Before its callers stand in the queue, a fetch looks whether another replica makes it
//! already, and waits for that one, for as long as its own would take. Before it leaves,
//! admitted, it claims the fetch; who comes second gives the permit back unsent and waits:
//! 1. A and B look: nobody fetches. Both let their callers into the queue.
//! 2. A is admitted, claims, sends.
//! 3. B is admitted. Its claim is refused; its permit is refunded: law 3.
//! 4. A's answer is in Redis, and then A says so. B finds it: nobody at B pays.
//!
//! Without an answer from Redis each replica fetches for itself.

use std::time::Duration;

use tokio::sync::watch;

use super::Lane;
use super::fetch::{FetchLead, Told};
use super::wish::Wish;
use crate::budget::Permit;
use crate::cache::{Claim, EntryArc, Lookup, Outcome, Turn};

/// For so long nothing may be heard of Redis before a wait is given up.
const SILENCE: Duration = Duration::from_secs(2);

/// Whether callers may stand in the queue already.
#[derive(Debug)]
pub(super) struct Gate(Option<watch::Sender<bool>>);

/// Who fetches.
pub(super) enum Fetches {
    /// This one, with a claim if there is one.
    We(Option<Claim>),
    /// This one, though others may: their answer is for nobody else.
    Alone,
    /// Another has.
    They(EntryArc),
    /// Another does.
    Others,
    /// Nobody wants it any more.
    Nobody,
}

impl Gate {
    /// Open where nothing is shared.
    pub(super) fn of(lane: &Lane) -> Self {
        Self(lane.cache.shared().map(|_| watch::Sender::new(false)))
    }

    /// From now on callers stand in the queue.
    pub(super) fn open(&self) {
        if let Some(gate) = &self.0 {
            gate.send_replace(true);
        }
    }

    /// Resolves once it is open; borrows nothing.
    pub(super) fn opened(&self) -> impl Future<Output = ()> + Send + use<> {
        let gate = self.0.as_ref().map(watch::Sender::subscribe);
        async move {
            let Some(mut open) = gate else { return };
            // Dropped with the fetch, which then has landed or failed.
            if open.wait_for(|open| *open).await.is_err() {
                std::future::pending().await
            }
        }
    }
}

impl Wish {
    /// Whether replicas fetch it together.
    pub(super) fn is_joint(&self, lead: &FetchLead) -> bool {
        lead.is_on_board() && self.lane.cache.shared().is_some()
    }

    /// Waits while another replica fetches the same.
    pub(super) async fn others(&self, lead: &mut FetchLead, in_background: bool) -> Fetches {
        let lane = &self.lane;
        let flight = self.flight();
        let patience = lane.clock.now() + lane.config.connect_timeout + lane.config.timeout;
        let mut heard = None;
        loop {
            // Before it is asked for: a word in between must not be missed.
            let Some(mut wait) = lane.cache.wait(&flight) else { return Fetches::We(None) };
            let turn = lane.cache.turn(&flight, false).await;
            let now = lane.clock.now();
            match turn {
                Turn::Free(_) => return self.found().map_or(Fetches::We(None), Fetches::They),
                Turn::Theirs => heard = Some(now),
                Turn::Unknown if heard.is_some_and(|heard| now < heard + SILENCE) => {}
                Turn::Unknown => return Fetches::We(None),
            }
            if in_background {
                // It renews what it finds there, when it is asked for next.
                return Fetches::Nobody;
            }
            if now >= patience {
                return Fetches::Alone;
            }
            tokio::select! {
                biased;
                outcome = wait.outcome(lane.clock) => match outcome {
                    Outcome::Alone => return Fetches::Alone,
                    Outcome::Ended | Outcome::Silence => {}
                },
                () = lead.deserted() => return Fetches::Nobody,
            }
        }
    }

    /// Claims it, now that it may leave. Where another replica has, the permit goes back
    /// unsent, and nothing is left to be done.
    pub(super) async fn claim(
        &self,
        permit: Permit,
        mut lead: FetchLead,
        in_background: bool,
    ) -> Option<(Permit, Option<Claim>, FetchLead)> {
        let theirs = match self.claimed().await {
            Fetches::We(claim) => return Some((permit, claim, lead)),
            theirs => theirs,
        };
        drop(permit);
        let theirs = match theirs {
            Fetches::Others => self.others(&mut lead, in_background).await,
            theirs => theirs,
        };
        // If nothing came of it, dropping the lead has its callers look again.
        if let Fetches::They(entry) = theirs {
            self.land_elsewhere(entry, lead);
        }
        None
    }

    async fn claimed(&self) -> Fetches {
        match self.lane.cache.turn(&self.flight(), true).await {
            Turn::Free(claim) => match self.found() {
                Some(entry) => Fetches::They(entry),
                None => Fetches::We(claim),
            },
            Turn::Theirs => Fetches::Others,
            Turn::Unknown => Fetches::We(None),
        }
    }

    /// What has been brought up meanwhile.
    fn found(&self) -> Option<EntryArc> {
        match self.lookup(self.lane.now()) {
            Lookup::Fresh(hit) => Some(hit.entry),
            Lookup::Stale(_) | Lookup::Miss(_) | Lookup::OnlyIfCached => None,
        }
    }

    /// Gives another replica's answer to all who listen; it costs them nothing.
    pub(super) fn land_elsewhere(&self, entry: EntryArc, lead: FetchLead) {
        let lane = &self.lane;
        let shared = lead.shared();
        let told = Told {
            granted: lane.clock.now(),
            upstream_time: Duration::ZERO,
            status: entry.status(),
            not_stored: None,
            price: None,
            route: None,
        };
        let _ = shared.told.set(told);
        let _ = shared.is_elsewhere.set(());
        if let Some(level) = lane.cache.shared() {
            level.count_joined();
        }
        lead.land(entry);
    }
}
