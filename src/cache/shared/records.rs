//! An answer as others find it: sealed, bound to its name, with the log's position.
//!
//! **Ages.** Machines have different clocks, so the record carries when its head came by
//! Redis's clock, beside what `record` writes. On the machine that wrote it its own clock
//! counts alone; elsewhere it is as old as the older of Redis's clock and the wall say.

use std::time::Duration;

use bytes::Bytes;
use zeroize::Zeroizing;

use super::link::micros;
use super::log::Position;
use super::{Shared, millis};
use crate::cache::Now;
use crate::cache::entry::Entry;
use crate::cache::key::{Hash, Key, Text};
use crate::cache::record::{self, Reading};
use crate::redis::Answer;

/// The largest body that replicas share, in bytes.
pub const MAX_SHARED_BYTES: u64 = 1 << 20;
/// How many answers to one key.
const MAX_VARIANTS: usize = 4;
/// How long anything is kept, however long it may be of use.
const MAX_LIFE: Duration = Duration::from_secs(7 * 86_400);

/// What is asked of the script that keeps it.
pub(super) struct Record {
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) arguments: Vec<Vec<u8>>,
}

impl Shared {
    /// The record of `entry`; none if it is of no use to anybody any more.
    pub(super) fn record(&self, entry: &Entry, at: Position) -> Option<Record> {
        let (edition, limited) = self.editions.edition_and_limited(&entry.key)?;
        let reading = self.reading();
        let time = (*self.time.lock())?;
        let life = &entry.freshness;
        let now = Now { at: reading.present.now, wall: reading.wall };
        let stale = life.stale_while_revalidate.max(life.stale_if_error).get().max(limited);
        let useful = life.lifetime.get().saturating_add(stale).saturating_sub(life.age(now)).min(MAX_LIFE);
        if useful < Duration::from_millis(1) {
            return None;
        }
        let since = now.at.since(entry.received());
        let received = time.at_least(now.at).saturating_sub(micros(since));
        let head = record::head_of(entry, edition, &reading);
        let mut text = Zeroizing::new(Vec::with_capacity(32 + head.len()));
        for number in [received, at.generation, at.seq, head.len() as u64] {
            text.extend_from_slice(&number.to_be_bytes());
        }
        text.extend_from_slice(&head);
        entry.body.blocks().iter().for_each(|block| text.extend_from_slice(block));
        let (hash, variant) = (entry.key.hash(), entry.vary.digest());
        let name = self.sealer.name(&hash);
        let field = self.field(&hash, variant);
        let sealed = self.sealer.seal(&bond(&entry.key, &name, &field), &text).ok()?;
        Some(Record {
            keys: vec![self.key("r", &name), self.singular("index"), self.singular("sizes")],
            arguments: vec![
                field,
                sealed,
                millis(useful),
                self.max_bytes.to_string().into_bytes(),
                MAX_VARIANTS.to_string().into_bytes(),
            ],
        })
    }

    /// What is kept under `key` and still true; nothing if there is no answer in time.
    pub(super) async fn look_for(&self, key: &Key) -> Vec<Entry> {
        let name = self.sealer.name(&key.hash());
        let found = self.look_up(&self.scripts.look, self.key("r", &name), &[]).await;
        found.map(|found| self.opened(key, &found)).unwrap_or_default()
    }

    /// What a record's fields and values hold.
    pub(super) fn opened(&self, key: &Key, found: &Answer) -> Vec<Entry> {
        let name = self.sealer.name(&key.hash());
        let pairs = found.list().unwrap_or_default().chunks_exact(2);
        let entries = pairs.filter_map(|pair| {
            let (field, sealed) = (pair[0].bytes()?, pair[1].bytes()?);
            self.entry(key, &self.sealer.open(&bond(key.text(), &name, field), sealed)?)
        });
        entries.collect()
    }

    fn entry(&self, key: &Key, mut text: &[u8]) -> Option<Entry> {
        let mut number = || {
            let (number, rest) = text.split_first_chunk()?;
            text = rest;
            Some(u64::from_be_bytes(*number))
        };
        let (received, generation, seq) = (number()?, number()?, number()?);
        let head_bytes = usize::try_from(number()?).ok()?;
        let (head, body) = text.split_at_checked(head_bytes)?;
        let head = record::Head::read(head).ok()?;
        let (edition, _) = self.editions.edition_and_limited(&head.key)?;
        if edition != head.edition || self.log.lock().overtook(Position { generation, seq }, key.text()) {
            return None;
        }
        let reading = self.reading();
        let time = (*self.time.lock())?;
        let age = Duration::from_micros(time.at_most(reading.present.now).saturating_sub(received));
        head.entry_from_afar(key, Bytes::copy_from_slice(body), &reading, age).ok()
    }

    fn reading(&self) -> Reading {
        Reading { present: self.clock.present(self.boot), wall: self.clock.wall() }
    }

    fn field(&self, hash: &Hash, variant: u64) -> Vec<u8> {
        let name = self.sealer.name(&[hash.as_slice(), &variant.to_be_bytes()].concat());
        name[..8].to_vec()
    }
}

/// What the seal is bound to.
fn bond(key: &Text, name: &[u8; 32], field: &[u8]) -> Vec<u8> {
    let upstream = key.upstream().as_bytes();
    [b"answer\0".as_slice(), &[super::SCHEMA], name, field, upstream].concat()
}
