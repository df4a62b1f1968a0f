//! One fetch for all replicas: a claim with a lease, and those who wait for its end.
//!
//! Who is admitted, and about to leave, claims the fetch. It is renewed while the fetch
//! lives, and released with a word to those who wait: its answer has landed (they find
//! it in Redis), or it is for nobody else, so that they go alone. A replica that
//! dies says nothing: its claim ends with the lease, which who waits sees by asking now
//! and then. A claim is no lock: whoever cannot reach Redis goes without, and a fetch
//! that a purge has overtaken is claimed anew by the next. Both cost a request at most.
//!
//! Nobody pays while waiting: who was admitted meanwhile gives the permit back unsent.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;

use super::log::Position;
use super::outbox::Order;
use super::{Shared, millis};
use crate::cache::entry::Entry;
use crate::cache::key::Key;
use crate::redis::Answer;

/// How long a claim stands that nobody renews.
const CLAIM: Duration = Duration::from_secs(2);
/// How often claims are renewed.
pub(super) const RENEW_EVERY: Duration = Duration::from_millis(400);
/// How often who waits asks, should the word be lost.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// Beyond this many names, those that nobody waits for any more are swept out.
const MANY_WAITING: usize = 1_024;

/// How a fetch ended elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Look for its answer.
    Ended,
    /// Its answer is for nobody else: go alone.
    Alone,
    /// Nothing was heard for a while: ask again.
    Silence,
}

/// Who fetches.
#[derive(Debug)]
pub enum Turn {
    /// Nobody can tell: go without a claim.
    Unknown,
    /// Another replica does.
    Theirs,
    /// Nobody does; the claim is there if it was wanted.
    Free(Option<Claim>),
}

/// The right to fetch for all. Dropping it tells those who wait to look.
#[must_use = "dropping the claim ends it"]
pub struct Claim {
    shared: Arc<Shared>,
    name: [u8; 32],
    owner: String,
    is_told: bool,
}

/// An ear on a fetch elsewhere.
#[derive(Debug)]
pub struct Wait {
    told: oneshot::Receiver<Outcome>,
}

impl Shared {
    /// What is told about the fetch of this name from now on.
    pub(in crate::cache) fn wait(&self, name: [u8; 32]) -> Wait {
        let (tell, told) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if waiting.len() > MANY_WAITING {
            waiting.retain(|_, tells| {
                tells.retain(|tell| !tell.is_closed());
                !tells.is_empty()
            });
        }
        let tells = waiting.entry(name).or_default();
        tells.retain(|tell| !tell.is_closed());
        tells.push(tell);
        Wait { told }
    }

    /// Whose turn it is to fetch what is kept under `key`; what is kept meanwhile.
    pub(in crate::cache) async fn turn(
        self: &Arc<Self>,
        name: [u8; 32],
        key: &Key,
        is_wanted: bool,
    ) -> (Turn, Vec<Entry>) {
        let record = self.key("r", &self.sealer.name(&key.hash()));
        let (at, not_before) = {
            let log = self.log.lock();
            (log.position(), log.last_of(key.text()))
        };
        let Some(at) = at else { return (Turn::Unknown, Vec::new()) };
        let (turn, found) = self.turn_at(name, record, (at, not_before), is_wanted).await;
        (turn, found.map(|found| self.opened(key, &found)).unwrap_or_default())
    }

    /// The same for whatever has a name; what is kept in `record` comes as it is.
    pub(super) async fn turn_at(
        self: &Arc<Self>,
        name: [u8; 32],
        record: Vec<u8>,
        (at, not_before): (Position, u64),
        is_wanted: bool,
    ) -> (Turn, Option<Answer>) {
        let owner = format!("{:016x}.{}", self.me, self.next_claim.fetch_add(1, Ordering::Relaxed));
        let arguments = vec![
            if is_wanted { b"1".to_vec() } else { b"0".to_vec() },
            owner.clone().into_bytes(),
            millis(CLAIM),
            format!("{:016x}", at.generation).into_bytes(),
            at.seq.to_string().into_bytes(),
            not_before.to_string().into_bytes(),
        ];
        let claim = self.key("f", &name);
        if is_wanted {
            // Before it is asked for: it may be given although no answer comes.
            self.held.lock().insert(owner.clone(), claim.clone());
        }
        let answer = self.ask_turn(&[claim, record], &arguments).await;
        // Whatever comes of it, dropping the claim gives it back.
        let claim = is_wanted.then(|| Claim { shared: Arc::clone(self), name, owner, is_told: false });
        let Some(Answer::List(mut parts)) = answer else { return (Turn::Unknown, None) };
        if parts.first().and_then(Answer::int) == Some(0) {
            return (Turn::Free(claim), parts.pop());
        }
        claim.into_iter().for_each(Claim::never_had);
        (Turn::Theirs, None)
    }

    /// A word from another replica, or this one.
    pub(super) fn heard(&self, word: &[u8]) {
        let Some((name, rest)) = word.split_first_chunk::<32>() else { return };
        let outcome = if rest == b"a" { Outcome::Alone } else { Outcome::Ended };
        let tells = self.waiting.lock().remove(name).unwrap_or_default();
        tells.into_iter().for_each(|tell| {
            // Who waited may have gone.
            let _ = tell.send(outcome);
        });
    }

    /// A fetch of another replica's stood in for one of this one's.
    pub fn count_joined(&self) {
        self.counts.joined.fetch_add(1, Ordering::Relaxed);
    }

    /// Keys of all claims held here, and their owners.
    pub(super) fn held_claims(&self) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let held = self.held.lock();
        let owners = held.keys().map(|owner| owner.clone().into_bytes());
        let arguments = std::iter::once(millis(CLAIM)).chain(owners).collect();
        (held.values().cloned().collect(), arguments)
    }
}

impl Wait {
    /// Waits for the word, for a while at most. Safe to drop and call again.
    pub async fn outcome(&mut self, clock: crate::clock::Clock) -> Outcome {
        let until = clock.instant(clock.now() + ASK_EVERY);
        match tokio::time::timeout_at(until, &mut self.told).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => Outcome::Silence,
        }
    }
}

impl Claim {
    /// Tells those who wait that they go alone.
    pub fn alone(&mut self) {
        self.tell(b"a");
    }

    fn never_had(mut self) {
        self.is_told = true;
        self.shared.held.lock().remove(&self.owner);
    }

    fn tell(&mut self, how: &[u8]) {
        if std::mem::replace(&mut self.is_told, true) {
            return;
        }
        self.shared.held.lock().remove(&self.owner);
        let word = [b"d".as_slice(), &self.name, how].concat();
        let channel = self.shared.singular("news");
        let arguments = vec![self.owner.clone().into_bytes(), channel, word];
        self.shared.order(Order::Release { key: self.shared.key("f", &self.name), arguments });
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.tell(b"e");
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Claim({})", self.owner)
    }
}
