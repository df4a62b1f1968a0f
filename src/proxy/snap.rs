//! Time windows in a query, rounded so that askers a moment apart share an answer.
//!
//! Both ends are rounded *down* to a multiple of the step since 1970: a window whose
//! length is a multiple of the step keeps it (vendors bound it), and what is newer
//! than the last full step is left to the next. A window that would be empty then is
//! left alone, as is one of whose ends either is missing, given twice, or in no
//! spelling known here: `YYYY-MM-DDTHH:MM:SS` with or without fraction and `Z`, or
//! seconds or milliseconds since 1970. What is rounded is keyed and sent alike.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::clock::UnixTime;
use crate::config::Snap;
use crate::target::Target;

/// The query with its window rounded, and where the window ends.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Snapped {
    pub(super) target: Target,
    end_ms: i128,
}

impl Snapped {
    /// None if there is no window that could be rounded.
    pub(super) fn of(target: &Target, snap: &Snap) -> Option<Self> {
        let step_ms = i128::try_from(snap.step.as_millis()).ok()?.max(1);
        let (start, end) = (Time::in_query(target, &snap.start)?, Time::in_query(target, &snap.end)?);
        let (from, to) = (start.rounded_down(step_ms), end.rounded_down(step_ms));
        if from.ms >= to.ms {
            return None;
        }
        let target = target.replacing(&snap.start, &from.spelt()?).replacing(&snap.end, &to.spelt()?);
        Some(Self { target, end_ms: to.ms })
    }

    /// Whether the window ended so long ago that its data no longer changes.
    pub(super) fn has_settled(&self, snap: &Snap, now: UnixTime) -> bool {
        let settles_ms = i128::try_from(snap.settles.as_millis()).unwrap_or(i128::MAX);
        let now_ms = i128::from(now.as_secs()) * 1_000;
        self.end_ms.saturating_add(settles_ms) <= now_ms
    }
}

/// A moment and how it was spelt.
struct Time {
    ms: i128,
    spelling: Spelling,
}

enum Spelling {
    Seconds,
    Milliseconds,
    /// Between date and time; digits of the fraction; `Z` or nothing.
    Civil {
        between: char,
        fraction: usize,
        zone: String,
    },
}

impl Time {
    fn in_query(target: &Target, name: &str) -> Option<Self> {
        let mut values = target.values(name);
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        Self::parse(&value)
    }

    fn parse(text: &str) -> Option<Self> {
        if text.bytes().all(|b| b.is_ascii_digit()) {
            let number: i128 = text.parse().ok()?;
            return match text.len() {
                9..=11 => Some(Self { ms: number * 1_000, spelling: Spelling::Seconds }),
                12..=14 => Some(Self { ms: number, spelling: Spelling::Milliseconds }),
                _ => None,
            };
        }
        let (date, rest) = text.split_at_checked(10)?;
        let between = rest.chars().next().filter(|c| matches!(c, 'T' | 't'))?;
        let (clock, zone) = match rest[1..].strip_suffix(['Z', 'z']) {
            Some(clock) => (clock, &rest[rest.len() - 1..]),
            None => (&rest[1..], ""),
        };
        let (clock, fraction) = match clock.split_once('.') {
            Some((clock, fraction)) if !fraction.is_empty() => (clock, fraction),
            Some(_) => return None,
            None => (clock, ""),
        };
        let is_plain =
            clock.len() == 8 && fraction.len() <= 9 && fraction.bytes().all(|b| b.is_ascii_digit());
        let at: DateTime = is_plain.then(|| format!("{date}T{clock}").parse().ok())??;
        let second = at.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
        let spelling = Spelling::Civil { between, fraction: fraction.len(), zone: zone.to_owned() };
        // Rounding down drops what is below a second, unless the step is shorter.
        let millis: i128 = format!("{fraction:0<3}")[..3].parse().ok()?;
        Some(Self { ms: i128::from(second) * 1_000 + millis, spelling })
    }

    fn rounded_down(self, step_ms: i128) -> Self {
        Self { ms: self.ms.div_euclid(step_ms) * step_ms, ..self }
    }

    fn spelt(&self) -> Option<String> {
        let second = i64::try_from(self.ms.div_euclid(1_000)).ok()?;
        Some(match &self.spelling {
            Spelling::Seconds => second.to_string(),
            Spelling::Milliseconds => self.ms.to_string(),
            Spelling::Civil { between, fraction, zone } => {
                let at = jiff::Timestamp::from_second(second).ok()?.to_zoned(TimeZone::UTC);
                let digits = format!("{:03}000000", self.ms.rem_euclid(1_000));
                let dot = if *fraction > 0 { "." } else { "" };
                let (date, clock) = (at.strftime("%Y-%m-%d"), at.strftime("%H:%M:%S"));
                format!("{date}{between}{clock}{dot}{}{zone}", &digits[..*fraction])
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn snap(step_secs: u64) -> Snap {
        Snap {
            start: "from".into(),
            end: "to".into(),
            step: Duration::from_secs(step_secs),
            settles: Duration::from_secs(900),
            settled_ttl: None,
        }
    }

    fn snapped(query: &str, step_secs: u64) -> Option<String> {
        let target = Target::parse("/x", Some(query)).unwrap();
        Snapped::of(&target, &snap(step_secs)).map(|snapped| snapped.target.query().unwrap().to_owned())
    }

    #[test]
    fn both_ends_go_down_to_the_step_in_their_own_spelling() {
        for (query, step, is) in [
            (
                "a=1&from=2026-01-31T09:45:30&to=2026-01-31T10:45:30",
                60,
                "a=1&from=2026-01-31T09:45:00&to=2026-01-31T10:45:00",
            ),
            (
                "from=2026-01-31T09:45:30.123Z&to=2026-01-31t10%3A45%3A59z",
                300,
                "from=2026-01-31T09:45:00.000Z&to=2026-01-31t10:45:00z",
            ),
            ("from=1769852730&to=1769856330000", 60, "from=1769852700&to=1769856300000"),
        ] {
            assert_eq!(snapped(query, step).as_deref(), Some(is), "{query}");
        }
    }

    #[test]
    fn what_cannot_be_rounded_is_left_alone() {
        for query in [
            "from=2026-01-31T09:45:30",
            "from=2026-01-31T09:45:01&to=2026-01-31T09:45:59",
            "from=2026-01-31&to=2026-02-01",
            "from=2026-01-31T09:45:30%2B01:00&to=2026-01-31T10:45:30%2B01:00",
            "from=now&to=later",
            "from=1769852730&from=1769852731&to=1769856330",
            "from=2026-13-31T09:45:30&to=2026-01-31T10:45:30",
        ] {
            assert_eq!(snapped(query, 60), None, "{query}");
        }
    }

    #[test]
    fn a_window_settles_some_time_after_its_end() {
        let target = Target::parse("/x", Some("from=1769852700&to=1769856300")).unwrap();
        let (snap, at) = (snap(60), UnixTime::from_secs);
        let window = Snapped::of(&target, &snap).unwrap();
        assert!(!window.has_settled(&snap, at(1_769_856_300 + 899)));
        assert!(window.has_settled(&snap, at(1_769_856_300 + 900)));
    }
}
