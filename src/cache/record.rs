//! A stored answer as bytes, for a second level; and back.
//!
//! A record is a head and a body. The head begins with the version of this layout
//! and ends with checksums of the body and of itself, so that a torn or altered
//! record is no record. Numbers are big-endian, texts carry their length.
//!
//! **Ages.** When the head came is written on a clock that outlives the process
//! (`CLOCK_BOOTTIME` and its boot) and on the wall. Within the boot the former
//! counts alone. Across boots the wall does, but an answer is at least as old as the
//! machine is up; one that is from the future by the wall has no age, and is none.
//!
//! **Editions.** A lifetime was set by the rules of its day. The record carries a
//! digest of what decided (see [`super::edition`]); under others it is none.
//!
//! What is not in it: the query (it may hold a caller's own credential; whoever looks
//! brings it along, and the hash covers it), and no field that the first level
//! does not keep either.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::Now;
use super::entry::{Body, Entry, Fields, Mark};
use super::freshness::{Freshness, Seconds, Source, Span, WallSecond};
use super::key::{self, Hash, Key, Scope, Text};
use super::second::Name;
use super::vary::Vary;
use crate::clock::{BootId, Moment, Present, UnixTime};

/// The layout. Whatever changes in it, or in what an entry is, makes another.
const VERSION: u8 = 1;

/// Of a head before its key: edition, boot, eight numbers, flags.
const LIFE_BYTES: usize = 8 + 16 + 7 * 8 + 1;
/// Of a head beside its texts, their lengths included.
const FIXED_BYTES: usize = 1 + LIFE_BYTES + 32 + 4 * 8 + (8 + 32) + 2 + 8 + 8 + 2 * 4;

/// All clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// This process's, and the machine's since its boot.
    pub(super) present: Present,
    /// The wall's.
    pub(super) wall: UnixTime,
}

/// The bytes are no record, or one that means nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Garbled;

/// Of a head that was read, what a second level lists.
pub(super) struct Listed {
    pub(super) name: Name,
    /// Enough to purge by.
    pub(super) key: Text,
}

/// A head that was read.
pub(super) struct Head {
    /// Without the query, which `hash` covers.
    pub(super) key: Text,
    hash: Hash,
    vary: Vary,
    /// What decided when it was kept.
    pub(super) edition: u64,
    pub(super) body_bytes: usize,
    life: Freshness,
    stamp: Stamp,
    status: StatusCode,
    fields: Fields,
    body_sum: u32,
}

#[derive(Clone, Copy, Debug)]
struct Stamp {
    boot: BootId,
    since_boot: u64,
    wall: UnixTime,
}

/// The head of `entry`'s record.
pub(super) fn head_of(entry: &Entry, edition: u64, at: &Reading) -> Vec<u8> {
    let life = &entry.freshness;
    let mut out = Vec::with_capacity(512);
    out.push(VERSION);
    number(&mut out, edition);
    out.extend_from_slice(&at.present.boot.0);
    number(&mut out, at.present.since_boot.saturating_sub(nanos(at.present.now.since(life.received.at))));
    number(&mut out, life.received.wall.as_nanos());
    number(&mut out, life.date.get().as_nanos());
    for time in [life.initial_age.get(), life.lifetime.get()] {
        number(&mut out, nanos(time));
    }
    for time in [life.stale_while_revalidate, life.stale_if_error] {
        number(&mut out, nanos(time.get()));
    }
    let source = match life.source {
        Source::Rule => 0,
        Source::Dialect => 1,
        Source::Headers => 2,
    };
    out.push(source | u8::from(life.validate_always) << 2 | u8::from(life.stale_forbidden) << 3);
    debug_assert_eq!(out.len(), 1 + LIFE_BYTES);
    let key = &entry.key;
    out.extend_from_slice(&key.hash());
    let scope = key.scope();
    text(&mut out, scope.upstream.as_str().as_bytes());
    text(&mut out, scope.key.as_ref().map_or("", |key| key.as_str()).as_bytes());
    text(&mut out, key.method().as_str().as_bytes());
    text(&mut out, key.path().as_bytes());
    let (names, values) = entry.vary.parts();
    number(&mut out, names.len() as u64);
    names.iter().for_each(|name| text(&mut out, name.as_str().as_bytes()));
    out.extend_from_slice(&values);
    out.extend_from_slice(&entry.status.as_u16().to_be_bytes());
    number(&mut out, entry.fields.iter().count() as u64);
    for (name, value) in entry.fields.iter() {
        text(&mut out, name.as_str().as_bytes());
        text(&mut out, value.as_bytes());
    }
    number(&mut out, entry.body.len());
    out.extend_from_slice(&sum(entry.body.blocks().iter().map(|block| &block[..])).to_be_bytes());
    let whole = sum([&out[..]]);
    out.extend_from_slice(&whole.to_be_bytes());
    out
}

/// What [`head_of`] gives is no longer than this.
pub(super) fn head_bytes(entry: &Entry) -> usize {
    let (names, _) = entry.vary.parts();
    let names = names.iter().map(|name| 8 + name.as_str().len());
    let fields = entry.fields.iter().map(|(name, value)| 16 + name.as_str().len() + value.len());
    FIXED_BYTES + entry.key.weight() + names.chain(fields).sum::<usize>()
}

impl Listed {
    /// Reads what is to be listed.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Garbled> {
        let mut rest = whole(bytes)?;
        let read = |from: &mut &[u8]| {
            take::<LIFE_BYTES>(from)?;
            let (hash, key) = read_key(from)?;
            Some(Self { name: (key::beginning(&hash), read_vary(from)?.digest()), key })
        };
        read(&mut rest).ok_or(Garbled)
    }
}

impl Head {
    /// Reads a head.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Garbled> {
        let mut rest = whole(bytes)?;
        Self::parse(&mut rest).filter(|_| rest.is_empty()).ok_or(Garbled)
    }

    /// What follows the version.
    fn parse(from: &mut &[u8]) -> Option<Self> {
        let edition = read_number(from)?;
        let boot = BootId(take(from)?);
        let stamp = Stamp { boot, since_boot: read_number(from)?, wall: read_wall(from)? };
        let date = WallSecond::of(read_wall(from)?);
        let mut time = || read_number(from).map(Duration::from_nanos);
        let (initial_age, lifetime) = (Span::of(time()?), Span::of(time()?));
        let (stale_while_revalidate, stale_if_error) = (Seconds::of(time()?), Seconds::of(time()?));
        let [flags] = take(from)?;
        let source = match flags & 3 {
            0 => Source::Rule,
            1 => Source::Dialect,
            2 => Source::Headers,
            _ => return None,
        };
        let life = Freshness {
            received: Now { at: Moment::ZERO, wall: stamp.wall },
            date,
            initial_age,
            lifetime,
            source,
            validate_always: flags & 4 != 0,
            stale_forbidden: flags & 8 != 0,
            stale_while_revalidate,
            stale_if_error,
        };
        let (hash, key) = read_key(from)?;
        let vary = read_vary(from)?;
        let status = StatusCode::from_u16(u16::from_be_bytes(take(from)?)).ok()?;
        let fields = read_fields(from)?;
        let body_bytes = usize::try_from(read_number(from)?).ok()?;
        let body_sum = u32::from_be_bytes(take(from)?);
        Some(Self { key, hash, vary, edition, body_bytes, life, stamp, status, fields, body_sum })
    }

    /// The entry under `key`, which is what was looked for, with its age as of now.
    pub(super) fn entry(self, key: &Key, body: Bytes, now: &Reading) -> Result<Entry, Garbled> {
        let at = self.stamp.placed(now).ok_or(Garbled)?;
        self.entry_at(key, body, at)
    }

    /// The same where another machine may have written it: then it is as old as the older
    /// of the wall and `age` say.
    pub(super) fn entry_from_afar(
        self,
        key: &Key,
        body: Bytes,
        now: &Reading,
        age: Duration,
    ) -> Result<Entry, Garbled> {
        let at = match self.stamp.boot == now.present.boot {
            true => self.stamp.placed(now),
            false => {
                let age = nanos(age.max(now.wall.since(self.stamp.wall)));
                now.present.now.as_nanos().checked_sub(age).map(Moment::from_nanos)
            }
        };
        self.entry_at(key, body, at.ok_or(Garbled)?)
    }

    fn entry_at(self, key: &Key, body: Bytes, at: Moment) -> Result<Entry, Garbled> {
        let is_asked_for = self.hash == key.hash() && key.text().is_listed_as(&self.key);
        if !is_asked_for || body.len() != self.body_bytes || sum([&body[..]]) != self.body_sum {
            return Err(Garbled);
        }
        let freshness = Freshness { received: Now { at, wall: self.stamp.wall }, ..self.life };
        Ok(Entry {
            key: key.text().clone(),
            status: self.status,
            fields: self.fields,
            body: Body::of([body]),
            vary: self.vary,
            freshness,
            mark: Mark::default(),
        })
    }
}

impl Stamp {
    /// On this process's clock; none if the answer's age cannot be told.
    fn placed(&self, now: &Reading) -> Option<Moment> {
        let present = &now.present;
        let age = if self.boot == present.boot {
            present.since_boot.checked_sub(self.since_boot)?
        } else {
            let by_wall = now.wall.as_nanos().checked_sub(self.wall.as_nanos())?;
            by_wall.max(present.since_boot)
        };
        present.now.as_nanos().checked_sub(age).map(Moment::from_nanos)
    }
}

/// What a head that is whole holds after its version.
fn whole(bytes: &[u8]) -> Result<&[u8], Garbled> {
    let (head, whole) = bytes.split_last_chunk::<4>().ok_or(Garbled)?;
    match head.split_first() {
        Some((&VERSION, rest)) if sum([head]) == u32::from_be_bytes(*whole) => Ok(rest),
        _ => Err(Garbled),
    }
}

fn read_key(from: &mut &[u8]) -> Option<(Hash, Text)> {
    let hash: Hash = take(from)?;
    let upstream = std::str::from_utf8(read_text(from)?).ok()?.parse().ok()?;
    let key = match std::str::from_utf8(read_text(from)?).ok()? {
        "" => None,
        name => Some(name.parse().ok()?),
    };
    let method = Method::from_bytes(read_text(from)?).ok()?;
    let path = std::str::from_utf8(read_text(from)?).ok()?;
    Some((hash, Text::listed(&Scope { upstream, key }, &method, path)))
}

fn read_vary(from: &mut &[u8]) -> Option<Vary> {
    let names = read_number(from)?;
    let names = (0..names).map(|_| HeaderName::from_bytes(read_text(from)?).ok());
    let names = names.collect::<Option<Vec<_>>>()?;
    Some(Vary::restored(take(from)?, names))
}

fn read_fields(from: &mut &[u8]) -> Option<Fields> {
    let count = read_number(from)?;
    let field = |_| {
        let name = HeaderName::from_bytes(read_text(from)?).ok()?;
        Some((name, HeaderValue::from_bytes(read_text(from)?).ok()?))
    };
    let fields = (0..count).map(field).collect::<Option<Vec<_>>>()?;
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name, value)).collect();
    Some(Fields::copied(&fields))
}

fn sum<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    pieces.into_iter().for_each(|piece| sum.update(piece));
    sum.finalize()
}

fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_be_bytes());
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    number(out, text.len() as u64);
    out.extend_from_slice(text);
}

fn read_number(from: &mut &[u8]) -> Option<u64> {
    take(from).map(u64::from_be_bytes)
}

fn read_wall(from: &mut &[u8]) -> Option<UnixTime> {
    read_number(from).map(UnixTime::from_nanos)
}

fn read_text<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(read_number(from)?).ok()?;
    let (text, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(text)
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*taken)
}

fn nanos(of: Duration) -> u64 {
    u64::try_from(of.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
