//! Header lines that many answers have, each kept once for the whole process: what a
//! vendor says in every answer costs an answer two bytes.
//!
//! A name, and a line that is met for the second time, gets a number for good, as long as
//! there are any. So nothing is counted or freed, a hit reads a line without a lock, and
//! what a vendor makes up anew for each answer takes no number.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, OnceLock};

use bytes::Bytes;
use http::header::{DATE, ETAG, EXPIRES, LAST_MODIFIED};
use http::{HeaderName, HeaderValue};

/// A line's number; below [`MAX_LINES`].
pub(super) type Number = u16;

/// A name and a value; for a name alone an empty one.
pub(super) type Line = (HeaderName, HeaderValue);

/// The lines that are known.
pub(super) struct Known {
    lines: [OnceLock<Line>; MAX_LINES],
    /// Part of the hash of the line that was met there last.
    met: [AtomicU32; MAX_LINES],
}

/// Of this process.
pub(super) static KNOWN: Known = Known::new();

/// How many there may be: each takes half a kilobyte at most.
pub(super) const MAX_LINES: usize = 1_024;
/// Longer lines are not known.
const MAX_LINE_BYTES: usize = 256;
/// Known when it is met first: values that nearly every answer has, and names.
const COMMON: [&[u8]; 4] = [b"1.1 weir", b"application/json", b"application/json; charset=utf-8", b""];
const NO_VALUE: HeaderValue = HeaderValue::from_static("");
/// Places in which one line may be.
const TRIES: usize = 8;

/// No vendor can choose lines that want the same place.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl Known {
    pub(super) const fn new() -> Self {
        Self { lines: [const { OnceLock::new() }; MAX_LINES], met: [const { AtomicU32::new(0) }; MAX_LINES] }
    }

    /// The number of this name and value.
    pub(super) fn number(&self, name: &HeaderName, value: &HeaderValue) -> Option<Number> {
        let is_own = value.is_sensitive() || matches!(*name, DATE | ETAG | EXPIRES | LAST_MODIFIED);
        if is_own { None } else { self.find(name, value) }
    }

    /// This name, if it is known.
    pub(super) fn name(&self, name: &HeaderName) -> Option<&HeaderName> {
        self.find(name, &NO_VALUE).map(|number| &self.line(number).0)
    }

    /// # Panics
    /// Nothing was given this number.
    pub(super) fn line(&self, number: Number) -> &Line {
        self.lines[usize::from(number)].get().expect("the number was given for a line")
    }

    fn find(&self, name: &HeaderName, value: &HeaderValue) -> Option<Number> {
        if name.as_str().len() + value.len() > MAX_LINE_BYTES {
            return None;
        }
        let [first, mark] = halves(HASHER.hash_one((name.as_str(), value.as_bytes())));
        let at_once = COMMON.contains(&value.as_bytes());
        let is_it = |line: &Line| line.0 == *name && line.1 == value;
        for place in (0..TRIES).map(|next| (first as usize + next) % MAX_LINES) {
            let number = Number::try_from(place).ok();
            match self.lines[place].get() {
                Some(line) if is_it(line) => return number,
                Some(_) => {}
                None if !at_once && self.met[place].swap(mark, Ordering::Relaxed) != mark => return None,
                // Of two who are here at one time the other may have brought another line.
                None => return number.filter(|_| is_it(self.lines[place].get_or_init(|| kept(name, value)))),
            }
        }
        None
    }
}

/// For good: so that who copies it need not count, together with all other threads.
fn kept(name: &HeaderName, value: &HeaderValue) -> Line {
    let value = HeaderValue::from_maybe_shared(Bytes::from_static(value.as_bytes().to_vec().leak()));
    let name = HeaderName::from_static(name.as_str().to_owned().leak());
    (name, value.expect("the bytes were a value before"))
}

fn halves(hash: u64) -> [u32; 2] {
    let low = |of: u64| u32::try_from(of & u64::from(u32::MAX)).unwrap_or_default();
    // Zero is none yet.
    [low(hash), low(hash >> 32) | 1]
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn what_is_met_twice_is_known() {
        let known = Box::new(Known::new());
        let (name, a) = (HeaderName::from_static("x-met-twice"), HeaderValue::from_bytes(b"a\xff").unwrap());
        assert_eq!(known.number(&name, &a), None);
        let number = known.number(&name, &a).unwrap();
        assert_eq!(known.number(&name, &a), Some(number));
        assert_eq!(known.line(number), &(name.clone(), a));
        assert_eq!(known.number(&name, &HeaderValue::from_static("b")), None);
        assert_eq!(known.name(&name), Some(&name));
    }

    #[test]
    fn what_is_secret_long_or_new_in_each_answer_is_not() {
        let known = Box::new(Known::new());
        let mut secret = HeaderValue::from_static("s");
        secret.set_sensitive(true);
        let long = HeaderValue::from_bytes(&[b'x'; 300]).unwrap();
        let x = HeaderName::from_static("x-never");
        for (name, value) in [(&x, &secret), (&x, &long), (&DATE, &HeaderValue::from_static("now"))] {
            assert!((0..3).all(|_| known.number(name, value).is_none()), "{name}");
        }
    }

    /// However many lines there are, each number means the line that it was given for.
    #[test]
    fn numbers_mean_what_they_were_given_for() {
        let known = Box::new(Known::new());
        let mut numbers = HashMap::new();
        for count in 0..5_000 {
            let name = HeaderName::try_from(format!("x-many-{count}")).unwrap();
            let value = HeaderValue::from(count);
            for _ in 0..3 {
                if let Some(number) = known.number(&name, &value) {
                    assert_eq!(known.line(number), &(name.clone(), value.clone()));
                    assert_eq!(*numbers.entry(count).or_insert(number), number);
                }
            }
        }
        assert!(numbers.len() > MAX_LINES * 9 / 10 && numbers.len() <= MAX_LINES, "{}", numbers.len());
    }
}
