//! From what was written to what counts now: pure.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::{Moment, Present, UnixTime};
use crate::config::OnEmpty;
use crate::id::{LimitName, UpstreamName};
use crate::quota::{Limit, LimitSet, Plan, Routes, Window};

use super::record::{Record, Stamp, State, nanos};
use super::{Origin, Past};
use crate::budget::log::Seat;
use crate::budget::vendor_clock::Dated;

/// What one budget has to take up.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::budget) struct Restored {
    pub(in crate::budget) charges: Vec<Charged>,
    /// Limits that have not been seen before: all that is remembered counts on them.
    pub(in crate::budget) news: LimitSet,
    /// Limits of which all counts as used, and by when it was; to be remembered, so that
    /// another restart does not forget it.
    pub(in crate::budget) spent: Vec<(usize, Moment)>,
    /// What others had used of a limit: by when, and how much.
    pub(in crate::budget) others: Vec<(usize, Moment, u32)>,
    /// Windows that the vendor has closed, and until when.
    pub(in crate::budget) closed: Vec<(usize, Moment)>,
    pub(in crate::budget) dated: Option<Dated>,
    /// What the operator should know.
    pub(in crate::budget) remarks: Vec<String>,
    /// What is thought of the time before.
    pub(in crate::budget) policy: &'static str,
}

/// Charges from before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::budget) struct Charged {
    /// None, if the plan does not know its consumer.
    pub(in crate::budget) seat: Option<Seat>,
    pub(in crate::budget) set: LimitSet,
    pub(in crate::budget) requests: u32,
    /// They were counted by then.
    pub(in crate::budget) until: Moment,
    /// Across a boot: what the vendor's own clock will tell of it.
    pub(in crate::budget) undated: Option<Undated>,
}

/// A charge from before a boot, until the vendor's `Date` places it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::budget) struct Undated {
    /// It ended by then, on the vendor's clock, and at the restart at the latest.
    pub(in crate::budget) vendor: UnixTime,
    pub(in crate::budget) restart: Moment,
    pub(in crate::budget) linger: Duration,
}

/// What `records` mean for `plan` now.
pub(in crate::budget) fn restore(
    plan: &Plan,
    upstream: &UpstreamName,
    records: &[Record],
    (past, on_empty): (&Past, OnEmpty),
    present: &Present,
) -> Restored {
    let mut restored = Restored {
        dated: past.notes.get(&clock_name(upstream)).and_then(|bytes| dated(bytes, present)),
        ..Restored::default()
    };
    let known = past.notes.get(&limits_name(upstream)).map(|bytes| String::from_utf8_lossy(bytes));
    let is_known = |name: &str| known.as_ref().is_some_and(|known| horizon(known, name).is_some());
    let news: LimitSet =
        plan.limits.iter().enumerate().filter(|(_, l)| !is_known(l.name.as_str())).map(|(i, _)| i).collect();
    restored.news = news;
    restored.charges = charges(plan, records, news, present, &mut restored.remarks);
    for (limit, named) in plan.limits.iter().enumerate() {
        let bytes = past.notes.get(&others_name(upstream, &named.name));
        let used = bytes.map(|bytes| others(bytes, present)).unwrap_or_default();
        restored.others.extend(used.into_iter().map(|(until, requests)| (limit, until, requests)));
        let bytes = past.notes.get(&closed_name(upstream, &named.name));
        let closed = bytes.map(|bytes| others(bytes, present)).unwrap_or_default();
        restored.closed.extend(closed.into_iter().map(|(until, _)| (limit, until)));
        if let Some((until, remark)) = lengthened(&plan.limits, limit, known.as_deref(), present) {
            restored.spent.push((limit, until));
            restored.remarks.push(remark);
        }
    }
    let is_cautious = on_empty == OnEmpty::Cautious || past.origin == Origin::Broken;
    restored.policy = match (news.is_empty(), is_cautious) {
        (true, _) => "it goes on where it stopped",
        (false, false) => "of the time before, nothing more is thought spent (store.on_empty = trust)",
        (false, true) => "of the time before, all is thought spent (cautious)",
    };
    if is_cautious && !news.is_empty() {
        restored.spent.extend(news.iter().map(|limit| (limit, present.now)));
    }
    restored
}

fn charges(
    plan: &Plan,
    records: &[Record],
    news: LimitSet,
    present: &Present,
    remarks: &mut Vec<String>,
) -> Vec<Charged> {
    let (mut strangers, mut gone, mut moved) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut charges = Vec::with_capacity(records.len());
    for record in records {
        let seat = plan.consumers.iter().position(|consumer| consumer.name == record.consumer);
        match seat {
            None => drop(strangers.insert(record.consumer.clone())),
            Some(seat) if plan.divisions[plan.consumers[seat].division].name != record.division => {
                moved.insert((record.consumer.clone(), record.division.clone()));
            }
            Some(_) => {}
        }
        let mut set = news;
        for name in &record.limits {
            match plan.limits.iter().position(|limit| limit.name == *name) {
                Some(limit) => set = set.with(limit),
                None => drop(gone.insert(name.clone())),
            }
        }
        let (until, undated) = place(record, present, plan.linger);
        let seat = seat.and_then(|seat| Seat::try_from(seat).ok());
        charges.push(Charged { seat, set, requests: record.requests, until, undated });
    }
    let list = |names: Vec<String>| names.join(", ");
    if !strangers.is_empty() {
        let names = list(strangers.iter().map(ToString::to_string).collect());
        remarks.push(format!(
            "the ledger knows charges of {names}, no longer consumers here: they count at the account alone"
        ));
    }
    if !gone.is_empty() {
        let names = list(gone.iter().map(ToString::to_string).collect());
        remarks.push(format!(
            "the ledger knows charges on {names}, no longer limits here: they count no more there"
        ));
    }
    if !moved.is_empty() {
        let names =
            list(moved.iter().map(|(consumer, division)| format!("{consumer} ({division})")).collect());
        remarks.push(format!(
            "the ledger knows charges of {names} from another division than now: they count at the present one"
        ));
    }
    if !news.is_empty() && !records.is_empty() {
        let names = list(news.iter().map(|limit| plan.limits[limit].name.to_string()).collect());
        remarks.push(format!(
            "the ledger has not seen the limits {names} before: all it remembers counts on them"
        ));
    }
    charges
}

/// Until when it can have been counted (DESIGN, law 8).
fn place(record: &Record, present: &Present, linger: Duration) -> (Moment, Option<Undated>) {
    let (restart, linger) = match record.state {
        State::Pending => (present.now, record.linger.max(linger)),
        State::Settled => (Moment::NEVER, record.linger),
    };
    if let Some(at) = record.at.moment(present) {
        return (at.min(restart) + linger, None);
    }
    let undated = |vendor| Undated { vendor, restart: present.now, linger };
    (present.now + linger, record.at.vendor.map(undated))
}

/// A limit that looks further back than the file does: what was sent before counts as
/// all of it, just beyond what is remembered.
fn lengthened(
    limits: &[Limit],
    limit: usize,
    known: Option<&str>,
    present: &Present,
) -> Option<(Moment, String)> {
    let name = &limits[limit].name;
    let horizon = horizon(known?, name.as_str())?.filter(|horizon| *horizon < reach(&limits[limit]))?;
    let remark = format!(
        "limit {name} looks further back than it did, and than the ledger does: what was sent before that \
         counts as all of it"
    );
    Some((present.now - horizon, remark))
}

/// How long after it was counted a charge can count against `limit`.
pub(super) fn reach(limit: &Limit) -> Duration {
    match &limit.window {
        Window::Sliding(length) => *length + limit.slack,
        // At an edge that is uncertain a charge counts in the next period too.
        Window::Calendar(_) => limit.window.length() * 2,
    }
}

/// Every limit of the plan, one a line, with how many milliseconds the ledger remembers
/// each request that counts on it.
pub(in crate::budget) fn known_limits(plan: &Plan) -> Vec<u8> {
    let line = |limit: &Limit| {
        // Whatever counts on this one counts on these, too, and is kept for the longest of them.
        let with_it =
            plan.limits.iter().filter(|other| other.routes == limit.routes || other.routes == Routes::All);
        let longest = with_it.map(reach).max().unwrap_or_default();
        format!("{} {}\n", limit.name, longest.as_millis())
    };
    plan.limits.iter().map(line).collect::<String>().into_bytes()
}

/// How far back the ledger remembers the requests on a limit that it has seen. (An
/// earlier version did not write it down.)
#[expect(clippy::option_option, reason = "not seen, or seen and not written down")]
fn horizon(known: &str, name: &str) -> Option<Option<Duration>> {
    let lines = known.lines().map(|line| line.split_once(' ').unwrap_or((line, "")));
    let millis = lines.filter(|(seen, _)| *seen == name).map(|(_, millis)| millis).next()?;
    Some(millis.parse().ok().map(Duration::from_millis))
}

pub(in crate::budget) fn limits_name(upstream: &UpstreamName) -> String {
    format!("limits/{upstream}")
}

pub(in crate::budget) fn spacing_name(upstream: &UpstreamName, limit: &LimitName) -> String {
    format!("spacing/{upstream}/{limit}")
}

pub(in crate::budget) fn promise_name(upstream: &UpstreamName) -> String {
    format!("promise/{upstream}")
}

pub(in crate::budget) fn closed_name(upstream: &UpstreamName, limit: &LimitName) -> String {
    format!("closed/{upstream}/{limit}")
}

pub(in crate::budget) fn others_name(upstream: &UpstreamName, limit: &LimitName) -> String {
    format!("others/{upstream}/{limit}")
}

/// What others used, to be read by [`others`]: until when it was counted, and how much.
pub(in crate::budget) fn others_bytes(used: &[(Moment, u32)], present: &Present) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(used.len() * 44);
    for &(until, requests) in used {
        bytes.extend_from_slice(&requests.to_be_bytes());
        bytes.extend_from_slice(&nanos(until.since(present.now)).to_be_bytes());
        Stamp::of(until, None, present).encode(&mut bytes);
    }
    bytes
}

fn others(mut bytes: &[u8], present: &Present) -> Vec<(Moment, u32)> {
    let mut one = || {
        let (requests, rest) = bytes.split_first_chunk()?;
        let (ahead, mut rest) = rest.split_first_chunk()?;
        let stamp = Stamp::decode(&mut rest)?;
        bytes = rest;
        // After a reboot: as if it had been learnt just now.
        let anew = present.now + Duration::from_nanos(u64::from_be_bytes(*ahead));
        Some((stamp.moment(present).unwrap_or(anew), u32::from_be_bytes(*requests)))
    };
    std::iter::from_fn(&mut one).collect()
}

pub(in crate::budget) fn clock_name(upstream: &UpstreamName) -> String {
    format!("clock/{upstream}")
}

/// The vendor's clock on the machine's: good until the next boot.
pub(in crate::budget) fn clock_bytes(dated: Dated, present: &Present) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    Stamp::of(dated.as_of, None, present).encode(&mut bytes);
    let apart = i128::from(present.now.as_nanos()) - i128::from(present.since_boot);
    bytes.extend_from_slice(&(dated.offset + apart).to_be_bytes());
    bytes.extend_from_slice(&nanos(dated.uncertainty).to_be_bytes());
    bytes
}

fn dated(mut bytes: &[u8], present: &Present) -> Option<Dated> {
    let as_of = Stamp::decode(&mut bytes)?.moment(present)?;
    let (offset, uncertainty) = bytes.split_first_chunk()?;
    let apart = i128::from(present.now.as_nanos()) - i128::from(present.since_boot);
    let uncertainty = Duration::from_nanos(u64::from_be_bytes(uncertainty.try_into().ok()?));
    Some(Dated { offset: i128::from_be_bytes(*offset) - apart, uncertainty, as_of })
}
