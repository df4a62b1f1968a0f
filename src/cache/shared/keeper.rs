//! The task that keeps this replica current: one call at a time on a connection of its
//! own, ten a second and at once when there is news.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::link::RedisTime;
use super::log::{Gap, LEASE, MAX_LOGGED, Outdated, Position, Reply, Request};
use super::{BEAT, Shared, Standing, selector};
use crate::cache::key::Selector;
use crate::cache::store::Cache;
use crate::clock::Moment;
use crate::redis::{Answer, Connection, Gone, News};

use super::claims::RENEW_EVERY;

/// How long one call may take: less than the lease, so that whoever loses it knows why.
const CALL_WITHIN: Duration = Duration::from_millis(300);
/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_millis(500);
/// Between attempts to reach a Redis that is gone.
const RETRY: Duration = Duration::from_millis(250);
/// How long the log outlives the last replica.
const LOG_LIFE: Duration = Duration::from_secs(86_400);
/// How often the connection for news is asked whether it stands.
const PROVE_NEWS_EVERY: Duration = Duration::from_secs(5);

/// Connections of this task's own.
#[derive(Default)]
struct Links {
    control: Option<Connection>,
    news: Option<News>,
    renewed: Moment,
    proved: Moment,
}

/// Until the cache is gone.
pub(super) async fn keep(shared: Arc<Shared>, cache: Weak<Cache>) {
    let mut links = Links::default();
    let clock = shared.clock;
    if let Some(cache) = cache.upgrade() {
        shared.resume(&cache).await;
    }
    while let Some(cache) = cache.upgrade() {
        let pause = match shared.beat(&mut links, &cache).await {
            Ok(true) => Duration::ZERO,
            Ok(false) => BEAT,
            Err(gone) => {
                links = Links::default();
                shared.lost(&gone);
                RETRY
            }
        };
        shared.beats.send_modify(|beats| *beats += 1);
        drop(cache);
        shared.pause(&mut links, clock.now() + pause).await;
    }
}

impl Shared {
    /// One call and what follows from it; whether the next should come at once.
    async fn beat(&self, links: &mut Links, cache: &Arc<Cache>) -> Result<bool, Gone> {
        let channel = String::from_utf8_lossy(&self.singular("news")).into_owned();
        if links.control.is_none() {
            links.control = Some(self.server.connect(&self.base, CONNECT_WITHIN).await?);
            self.log.lock().reconnected();
        }
        if links.news.is_none() {
            links.news = Some(self.server.listen(&channel, CONNECT_WITHIN).await?);
            links.proved = self.clock.now();
        }
        let (Some(control), Some(news)) = (&mut links.control, &mut links.news) else { return Ok(true) };
        let request = self.log.lock().request();
        let keys = ["log", "meta", "heads", "members"].map(|name| self.singular(name));
        let arguments = self.arguments(&request, channel);
        let sent = self.clock.now();
        let answer = control.call(&self.scripts.tell, &keys, &arguments, CALL_WITHIN).await?;
        let (micros, reply) =
            self.reply(&answer).ok_or_else(|| Gone::Refused("what is not understood".into()))?;
        *self.time.lock() = Some(RedisTime { micros, sent, received: self.clock.now() });
        self.link.answers(sent);
        let has_moved = self.follow(reply, sent, cache);
        if sent.since(links.renewed) >= RENEW_EVERY {
            let (keys, arguments) = self.held_claims();
            if !keys.is_empty() {
                control.call(&self.scripts.renew, &keys, &arguments, CALL_WITHIN).await?;
            }
            links.renewed = sent;
        }
        if sent.since(links.proved) >= PROVE_NEWS_EVERY {
            news.prove(CALL_WITHIN).await?;
            links.proved = sent;
        }
        if self.link.is_wanted(self.clock.now()) {
            self.link.up(self.server.connect(&self.base, CONNECT_WITHIN).await?);
        }
        if *self.standing.borrow() != Standing::Open {
            self.standing.send_replace(Standing::Open);
            tracing::info!("the shared cache is open: purges and writes of other replicas are heard");
        }
        Ok(has_moved)
    }

    /// Drops what the reply names, and only then says so: in the next call. Whether
    /// there is something to say.
    fn follow(&self, reply: Reply, sent: Moment, cache: &Cache) -> bool {
        let was = self.log.lock().position();
        let step = self.log.lock().answered(reply, sent);
        match &step.outdated {
            Outdated::These(selectors) => {
                if was.is_none() {
                    let purges = selectors.len();
                    tracing::info!(
                        purges,
                        "what was kept before this start is kept, less what was purged meanwhile"
                    );
                }
                for selector in selectors {
                    cache.purge_told(selector);
                }
                self.counts.told.fetch_add(selectors.len() as u64, Ordering::Relaxed);
            }
            Outdated::All(why) => {
                let dropped = cache.purge_told(&Selector::All);
                match why {
                    Gap::Joined => {
                        tracing::info!(dropped, "what was kept before this replica took part is dropped")
                    }
                    Gap::Missed => tracing::warn!(
                        dropped,
                        "purges of other replicas were missed: all that is kept here is dropped"
                    ),
                }
            }
        }
        let (until, confirmed, at) = {
            let mut log = self.log.lock();
            log.advance(&step);
            (log.trusted_until().unwrap_or(Moment::NEVER), log.confirmed(), log.position())
        };
        self.trusted_until.store(until.as_nanos(), Ordering::Release);
        self.confirmed.send_if_modified(|is| std::mem::replace(is, confirmed) != confirmed);
        let has_moved = was != at;
        if let Some(at) = at.filter(|_| has_moved) {
            cache.mark(&written(at));
        }
        has_moved
    }

    /// What a restart has left counts on, if it is known up to where it is true.
    async fn resume(&self, cache: &Cache) {
        if let Some(at) = cache.marked().await.and_then(|mark| read(&mark)) {
            self.log.lock().resume(at);
        }
    }

    fn lost(&self, gone: &Gone) {
        // Hits flow on, and say nothing more of what others have written.
        self.trusted_until.store(Moment::NEVER.as_nanos(), Ordering::Release);
        self.link.down();
        if self.standing.send_replace(Standing::Lost) != Standing::Lost {
            tracing::warn!(%gone, "redis does not answer: nothing is shared, and purges of other replicas are not heard");
        }
    }

    /// Until `due`, or there is something to say or to hear.
    async fn pause(&self, links: &mut Links, due: Moment) {
        loop {
            let news = async {
                match &mut links.news {
                    Some(news) => news.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.work.notified() => return,
                word = news => match word.as_deref() {
                    Some([b'd', word @ ..]) => self.heard(word),
                    // Somebody has read on: of interest to who waits for that.
                    Some(b"a") => if self.log.lock().last() > *self.confirmed.borrow() { return },
                    Some(_) => return,
                    None => {
                        links.news = None;
                        return;
                    }
                },
                () = self.clock.sleep_until(due) => return,
            }
        }
    }

    fn arguments(&self, request: &Request, channel: String) -> Vec<Vec<u8>> {
        let fixed = [
            format!("{:016x}", self.me),
            format!("{:016x}", request.at.generation),
            request.at.seq.to_string(),
            request.told.to_string(),
            LEASE.as_millis().to_string(),
            MAX_LOGGED.to_string(),
            LOG_LIFE.as_millis().to_string(),
            channel,
        ];
        let entries = request.entries.iter().map(|(number, bytes)| {
            let mut entry = format!("{number:016x}").into_bytes();
            entry.extend_from_slice(bytes);
            entry
        });
        fixed.into_iter().map(String::into_bytes).chain(entries).collect()
    }

    fn reply(&self, answer: &Answer) -> Option<(u64, Reply)> {
        let [time, generation, seq, first, told, entries, heads, members] = answer.list()? else {
            return None;
        };
        let pairs = |list: &Answer, read: &dyn Fn(&[u8]) -> Option<Position>| {
            let pairs = list.list()?.chunks_exact(2);
            pairs
                .map(|pair| Some((hex(pair[0].bytes()?)?, read(pair[1].bytes()?)?)))
                .collect::<Option<Vec<_>>>()
        };
        let head = |bytes: &[u8]| Some(Position { generation: 0, seq: digits(bytes)? });
        let place = |bytes: &[u8]| {
            let at = bytes.iter().position(|byte| *byte == b' ')?;
            Some(Position { generation: hex(&bytes[..at])?, seq: digits(&bytes[at + 1..])? })
        };
        let heads = pairs(heads, &head)?.into_iter().map(|(origin, at)| (origin, at.seq)).collect();
        let reply = Reply {
            generation: hex(generation.bytes()?)?,
            seq: u64::try_from(seq.int()?).ok()?,
            first: u64::try_from(first.int()?).ok()?,
            told: u64::try_from(told.int()?).ok()?,
            entries: entries
                .list()?
                .iter()
                .map(|entry| self.logged(entry.bytes()?))
                .collect::<Option<_>>()?,
            heads,
            members: pairs(members, &place)?,
        };
        Some((u64::try_from(time.int()?).ok()?, reply))
    }

    /// Whose entry it is, its number there, and what it says.
    fn logged(&self, entry: &[u8]) -> Option<(u64, u64, Selector)> {
        let (origin, rest) = entry.split_at_checked(16)?;
        let (number, sealed) = rest.split_at_checked(16)?;
        // Sealed with another key it is none of ours, but it may mean what we keep.
        let selector = self.sealer.open(b"purge", sealed).map_or(Selector::All, |text| selector::read(&text));
        Some((hex(origin)?, hex(number)?, selector))
    }
}

/// A position as it is noted beside what is kept.
fn written(at: Position) -> [u8; 16] {
    (u128::from(at.generation) << 64 | u128::from(at.seq)).to_be_bytes()
}

fn read(mark: &[u8]) -> Option<Position> {
    let both = u128::from_be_bytes(mark.try_into().ok()?);
    let half = |of: u128| u64::try_from(of & u128::from(u64::MAX)).ok();
    Some(Position { generation: half(both >> 64)?, seq: half(both)? })
}

fn hex(bytes: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(bytes).ok()?, 16).ok()
}

fn digits(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}
