//! What is written of charges, and when they were in terms that outlive the process.

use std::str::FromStr;
use std::time::Duration;

use crate::clock::{BootId, Moment, Present, UnixTime};
use crate::id::{ConsumerName, DivisionName, LimitName};

/// A moment that later processes can place: exactly within the same boot, and
/// across boots by the vendor's own clock, if the vendor had told it by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::budget) struct Stamp {
    boot: BootId,
    since_boot: u64,
    /// The most that the vendor's clock can have read.
    pub(in crate::budget) vendor: Option<UnixTime>,
}

/// Charges: whose, on which limits, and until when they can have been counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::budget) struct Record {
    pub(in crate::budget) limits: Vec<LimitName>,
    pub(in crate::budget) consumer: ConsumerName,
    pub(in crate::budget) division: DivisionName,
    pub(in crate::budget) state: State,
    /// Pending: when it will have been given up. Settled: when it was answered or given up.
    pub(in crate::budget) at: Stamp,
    /// How long after that it may still be counted.
    pub(in crate::budget) linger: Duration,
    /// How long after that it still counts against some limit.
    pub(in crate::budget) keep: Duration,
    /// How many; at least one.
    pub(in crate::budget) requests: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::budget) enum State {
    Pending,
    Settled,
}

/// In the first byte: how many requests it is of follows. (The first schema had one each.)
const MANY: u8 = 2;

/// The bytes are no record that this version could have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Garbled;

impl Stamp {
    /// `at`, of which the vendor's clock reads `vendor` at most.
    pub(in crate::budget) fn of(at: Moment, vendor: Option<UnixTime>, present: &Present) -> Self {
        let ahead = nanos(at.since(present.now));
        let behind = nanos(present.now.since(at));
        let since_boot = present.since_boot.saturating_add(ahead).saturating_sub(behind);
        Self { boot: present.boot, since_boot, vendor }
    }

    /// The same on this process's clock; `None` if the machine was booted in between.
    pub(in crate::budget) fn moment(&self, present: &Present) -> Option<Moment> {
        let ahead = Duration::from_nanos(self.since_boot.saturating_sub(present.since_boot));
        let behind = Duration::from_nanos(present.since_boot.saturating_sub(self.since_boot));
        (self.boot == present.boot).then(|| present.now + ahead - behind)
    }

    /// The later of two of one process: on the vendor's clock too, if that is known of both.
    pub(super) fn latest(&self, other: &Self) -> Self {
        let vendor = self.vendor.zip(other.vendor).map(|(one, other)| one.max(other));
        Self { boot: self.boot, since_boot: self.since_boot.max(other.since_boot), vendor }
    }

    /// Whether `later` is so close behind.
    pub(super) fn is_within(&self, of: Duration, later: &Self) -> bool {
        later.since_boot.abs_diff(self.since_boot) <= nanos(of)
    }

    pub(in crate::budget) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.boot.0);
        out.extend_from_slice(&self.since_boot.to_be_bytes());
        out.extend_from_slice(&self.vendor.map_or(0, UnixTime::as_nanos).to_be_bytes());
    }

    pub(in crate::budget) fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let boot = BootId(take(bytes)?);
        let (since_boot, vendor) = (number(bytes)?, number(bytes)?);
        Some(Self { boot, since_boot, vendor: (vendor > 0).then(|| UnixTime::from_nanos(vendor)) })
    }
}

impl Record {
    /// When the file may forget it, in nanoseconds since the boot of its stamp.
    pub(super) fn forgettable(&self) -> u64 {
        self.at.since_boot.saturating_add(nanos(self.linger)).saturating_add(nanos(self.keep))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        let many = if self.requests == 1 { 0 } else { MANY };
        out.push(u8::from(self.state == State::Pending) | many);
        if many > 0 {
            out.extend_from_slice(&self.requests.to_be_bytes());
        }
        self.at.encode(&mut out);
        out.extend_from_slice(&nanos(self.linger).to_be_bytes());
        out.extend_from_slice(&nanos(self.keep).to_be_bytes());
        text(&mut out, self.consumer.as_str());
        text(&mut out, self.division.as_str());
        for limit in &self.limits {
            text(&mut out, limit.as_str());
        }
        out
    }

    pub(super) fn decode(mut bytes: &[u8]) -> Result<Self, Garbled> {
        Self::read(&mut bytes).ok_or(Garbled)
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let [first] = take(bytes)?;
        let state = match first & !MANY {
            0 => State::Settled,
            1 => State::Pending,
            _ => return None,
        };
        let requests = if first & MANY == 0 { 1 } else { u32::from_be_bytes(take(bytes)?) };
        let at = Stamp::decode(bytes)?;
        let (linger, keep) = (Duration::from_nanos(number(bytes)?), Duration::from_nanos(number(bytes)?));
        let (consumer, division) = (name(bytes)?, name(bytes)?);
        let mut limits = Vec::new();
        while !bytes.is_empty() {
            limits.push(name(bytes)?);
        }
        Some(Self { limits, consumer, division, state, at, linger, keep, requests })
    }
}

/// A name, its length in one byte before it.
fn text(out: &mut Vec<u8>, name: &str) {
    // Names have at most 40 characters.
    out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(name.as_bytes());
}

fn name<N: FromStr>(bytes: &mut &[u8]) -> Option<N> {
    let [length] = take::<1>(bytes)?;
    let (text, rest) = bytes.split_at_checked(usize::from(length))?;
    *bytes = rest;
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes).map(u64::from_be_bytes)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}

pub(super) fn nanos(of: Duration) -> u64 {
    u64::try_from(of.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present(now: u64, since_boot: u64, boot: u8) -> Present {
        Present { now: Moment::from_nanos(now), since_boot, boot: BootId([boot; 16]) }
    }

    #[test]
    fn a_record_comes_back_and_no_part_of_one_does() {
        let record = Record {
            limits: vec!["minute".parse().unwrap(), "day".parse().unwrap()],
            consumer: "grafana".parse().unwrap(),
            division: "web".parse().unwrap(),
            state: State::Pending,
            at: Stamp::of(Moment::from_nanos(70), Some(UnixTime::from_secs(9)), &present(50, 1_000, 7)),
            linger: Duration::from_secs(30),
            keep: Duration::from_secs(60),
            requests: 1,
        };
        let bytes = record.encode();
        assert_eq!(Record::decode(&bytes), Ok(record.clone()));
        let many = Record { requests: 70_000, state: State::Settled, ..record.clone() };
        assert_eq!(Record::decode(&many.encode()), Ok(many));
        let whole_names = [bytes.len(), bytes.len() - "day".len() - 1, bytes.len() - "minuteday".len() - 2];
        for length in 0..bytes.len() {
            assert_eq!(Record::decode(&bytes[..length]).is_ok(), whole_names.contains(&length), "{length}");
        }
        // Another process of the same boot; and another boot.
        assert_eq!(record.at.moment(&present(10_000, 1_120, 7)), Some(Moment::from_nanos(9_900)));
        assert_eq!(record.at.moment(&present(10_000, 1_000, 7)), Some(Moment::from_nanos(10_020)));
        assert_eq!(record.at.moment(&present(10_000, 1_120, 8)), None);
    }
}
