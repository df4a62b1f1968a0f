//! What is said to the script and what it answers; see `script/`.

use serde::Serialize;
use smallvec::SmallVec;

use crate::redis::Answer;

/// The number of a charge over all replicas: "REPLICA-NUMBER".
pub(super) type Id = String;

/// One call of the script.
#[derive(Debug, Default, Serialize)]
pub(super) struct Request {
    pub(super) schema: u32,
    pub(super) me: String,
    /// This call's number, and that of the last one that was answered.
    pub(super) n: u64,
    pub(super) acked: u64,
    pub(super) epoch: String,
    /// What this replica knows already.
    pub(super) seen: u64,
    /// On Redis's clock, in microseconds: after this, nothing is booked.
    pub(super) by: u64,
    /// How long a charge is kept beyond the last moment at which it is counted.
    pub(super) keep: u64,
    /// How long after now a charge that nobody tells of may be counted.
    pub(super) longest: u64,
    pub(super) limits: Vec<Limit>,
    /// The epoch to be joined, what is remembered of the one before, and who else was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) join: Option<String>,
    pub(super) more: bool,
    pub(super) fresh: bool,
    pub(super) expects: Vec<String>,
    pub(super) unseen: Vec<Unseen>,
    /// The epoch whose clock cannot be believed: to be forgotten, and begun anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) claim: Option<Claim>,
    /// What the vendor has taught this replica, and what it says is used.
    pub(super) lessons: Vec<Lesson>,
    pub(super) reports: Vec<Report>,
    /// `counted_within`, and whether the vendor has broken it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) promise: Option<u64>,
    pub(super) broken: bool,
    pub(super) changes: Vec<Change>,
    pub(super) bookings: Vec<Booking>,
    pub(super) wants: Vec<Want>,
}

/// Whose folder it is that has a part set aside, how many there are, and who is known to have which.
#[derive(Debug, Serialize)]
pub(super) struct Claim {
    pub(super) name: String,
    pub(super) slots: u32,
    pub(super) holders: Vec<(u32, String)>,
}

/// A limit, and what no longer counts on it.
#[derive(Debug, Serialize)]
pub(super) struct Limit {
    pub(super) key: String,
    pub(super) requests: u32,
    /// Sliding: W + slack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) life: Option<u64>,
    /// Calendar: what was counted before this edge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cut: Option<u64>,
}

/// What a 429 has taught: see `learn`. All on Redis's clock.
#[derive(Debug, Serialize)]
pub(super) struct Lesson {
    pub(super) key: String,
    pub(super) closed: u64,
    pub(super) opens: u64,
    /// By then others are taken to have used what was left.
    pub(super) used_by: u64,
    pub(super) even: bool,
}

/// What the vendor counts.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) key: String,
    pub(super) used: u32,
}

/// Charges that a replica which does not come back may have made unseen.
#[derive(Debug, Serialize)]
pub(super) struct Unseen {
    pub(super) key: String,
    pub(super) weight: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct Change {
    pub(super) id: Id,
    pub(super) record: String,
}

/// A request that would leave now.
#[derive(Debug, Serialize)]
pub(super) struct Booking {
    pub(super) id: Id,
    pub(super) record: String,
    pub(super) division: String,
    pub(super) consumer: String,
    /// None: behind all who wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) turn: Option<Turn>,
    pub(super) limits: Vec<On>,
}

/// The most that may be used of one limit before it: see `Bound`.
#[derive(Debug, Serialize)]
pub(super) struct On {
    pub(super) key: String,
    pub(super) most: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) division: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) consumer: Option<u32>,
    pub(super) turn: bool,
    /// The distance to the one before, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gap: Option<u64>,
}

/// By limit: from so much use on somebody borrows.
type Fair = SmallVec<[u32; 4]>;

/// Who waits here for these limits.
#[derive(Debug, Default, Serialize)]
pub(super) struct Want {
    pub(super) keys: Vec<String>,
    /// What may be used of each by those for whom nothing is held.
    pub(super) most: Vec<u32>,
    /// Name, price, and by limit the use from which on it borrows.
    pub(super) divisions: Vec<(String, f64, Fair)>,
    /// The number of its division, name, how many wait, price, and as above.
    pub(super) flows: Vec<(usize, String, u32, f64, Fair)>,
}

/// What the script works a turn out from: see `Stake`.
#[derive(Debug, Serialize)]
pub(super) struct Turn {
    pub(super) price: [f64; 2],
    pub(super) fair: [Fair; 2],
}

/// How far a charge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Under way, until then at the longest.
    Pending,
    /// Counted by then.
    Settled,
    /// Never left.
    Gone,
}

/// A charge as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) state: State,
    pub(super) until: u64,
    pub(super) weight: u32,
    pub(super) division: String,
    pub(super) consumer: String,
    /// Keys of limits, with commas.
    pub(super) limits: String,
}

impl Record {
    pub(super) fn to_text(&self) -> String {
        let state = match self.state {
            State::Pending => 'p',
            State::Settled => 's',
            State::Gone => 'g',
        };
        let Self { until, weight, division, consumer, limits, .. } = self;
        format!("{state} {until} {weight} {division} {consumer} {limits}")
    }

    fn of(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut next = || words.next();
        let state = match next()? {
            "p" => State::Pending,
            "s" => State::Settled,
            "g" => State::Gone,
            _ => return None,
        };
        let (until, weight) = (next()?.parse().ok()?, next()?.parse().ok()?);
        let [division, consumer, limits] = [next()?, next()?, next()?].map(str::to_owned);
        Some(Self { state, until, weight, division, consumer, limits })
    }
}

/// What the script said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) epoch: String,
    /// Redis's clock, and that of its machine, in microseconds.
    pub(super) now: u64,
    pub(super) wall: u64,
    pub(super) outcome: Outcome,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done(Done),
    /// Another epoch, which has to be joined first; nothing was done.
    Epoch,
    /// A later call came first; nothing was done.
    Stale,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Done {
    /// The last change there is, and the last of those in `news`.
    pub(super) seq: u64,
    pub(super) top: u64,
    /// When bookings begin, if not yet.
    pub(super) opens: Option<u64>,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) news: Vec<(Id, Record)>,
    /// Replicas that were heard of lately.
    pub(super) members: Vec<String>,
    /// By name as the script has it: start tags below the share and borrowing.
    pub(super) tags: Vec<(String, [u128; 2])>,
    /// The part that is set aside for this replica, and who has which.
    pub(super) slot: Option<u32>,
    pub(super) holders: Vec<(u32, String)>,
    /// Of all replicas.
    pub(super) taught: Vec<Taught>,
    /// Whether the vendor has broken this replica's `counted_within`.
    pub(super) is_broken: bool,
}

/// What replicas have learnt of one limit; see [`Lesson`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taught {
    pub(super) key: String,
    pub(super) closed: u64,
    pub(super) opens: u64,
    pub(super) even: bool,
}

/// What became of a booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Yes,
    /// A limit, cap or reserve does not allow it.
    Full,
    /// Somebody else waits who goes before it.
    Turn,
    /// It came after its deadline.
    Late,
    /// The epoch has just begun.
    Shut,
}

/// The answer is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Useless {
    /// What the script never answers: it is not Redis.
    #[error("what cannot be understood")]
    Nonsense,
    /// Nothing was done.
    #[error("that another version of weir (schema {0}) keeps this account now: the older one books no more")]
    Superseded(u32),
}

impl Reply {
    pub(super) fn of(answer: &Answer) -> Result<Self, Useless> {
        let superseded = |parts: &[Answer]| match parts {
            [word, by] if word.text() == Some("superseded") => u32::try_from(by.int()?).ok(),
            _ => None,
        };
        if let Some(by) = answer.list().and_then(superseded) {
            return Err(Useless::Superseded(by));
        }
        parse(answer).ok_or(Useless::Nonsense)
    }
}

fn parse(answer: &Answer) -> Option<Reply> {
    let parts = answer.list()?;
    let number = |at: usize| u64::try_from(parts.get(at)?.int()?).ok();
    let outcome = match parts.first()?.text()? {
        "epoch" => Outcome::Epoch,
        "stale" => Outcome::Stale,
        "ok" => Outcome::Done(Done {
            seq: number(4)?,
            top: number(5)?,
            opens: Some(number(6)?).filter(|opens| *opens > 0),
            verdicts: parts.get(7)?.list()?.iter().map(verdict).collect::<Option<_>>()?,
            news: parts.get(8)?.list()?.chunks(2).map(news).collect::<Option<_>>()?,
            members: texts(parts.get(9)?)?,
            tags: texts(parts.get(10)?)?.chunks(3).map(tags).collect::<Option<_>>()?,
            slot: u32::try_from(number(11)?).ok().filter(|slot| *slot > 0),
            holders: texts(parts.get(12)?)?.iter().map(|text| holder(text)).collect::<Option<_>>()?,
            taught: texts(parts.get(13)?)?.iter().map(|text| taught(text)).collect::<Option<_>>()?,
            is_broken: number(14)? == 1,
        }),
        _ => return None,
    };
    Some(Reply { epoch: parts.get(1)?.text()?.to_owned(), now: number(2)?, wall: number(3)?, outcome })
}

fn news(pair: &[Answer]) -> Option<(Id, Record)> {
    let [id, record] = pair else { return None };
    Some((id.text()?.to_owned(), Record::of(record.text()?)?))
}

fn holder(text: &str) -> Option<(u32, String)> {
    let (slot, name) = text.split_once(' ')?;
    Some((slot.parse().ok()?, name.to_owned()))
}

fn taught(text: &str) -> Option<Taught> {
    let mut words = text.split(' ');
    let key = words.next()?.to_owned();
    let mut next = || words.next()?.parse::<u64>().ok();
    Some(Taught { key, closed: next()?, opens: next()?, even: next()? == 1 })
}

fn tags(words: &[String]) -> Option<(String, [u128; 2])> {
    let [name, below, borrowing] = words else { return None };
    Some((name.clone(), [below.parse().ok()?, borrowing.parse().ok()?]))
}

fn texts(list: &Answer) -> Option<Vec<String>> {
    list.list()?.iter().map(|one| one.text().map(str::to_owned)).collect()
}

fn verdict(word: &Answer) -> Option<Verdict> {
    match word.text()? {
        "yes" => Some(Verdict::Yes),
        "full" => Some(Verdict::Full),
        "turn" => Some(Verdict::Turn),
        "late" => Some(Verdict::Late),
        "shut" => Some(Verdict::Shut),
        _ => None,
    }
}
