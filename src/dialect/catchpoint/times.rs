//! Points in time as the parameters carry them: `YYYY-MM-DDTHH:MM:SS` in UTC.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::clock::UnixTime;

/// What a parameter's value says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time {
    /// This moment.
    At(UnixTime),
    /// A time, but not in the documented spelling (a date alone, an offset): what
    /// the vendor makes of it is not ours to guess.
    Unsure,
}

/// None if it is no time in any spelling that begins like the documented one.
pub(super) fn parse(text: &str) -> Option<Time> {
    let (date, rest) = text.split_at_checked(10)?;
    let [year, month, day] = numbers(date, '-', &[4, 2, 2])?;
    if rest.is_empty() {
        DateTime::new(signed(year)?, small(month)?, small(day)?, 0, 0, 0, 0).ok()?;
        return Some(Time::Unsure);
    }
    // A `+` may be a blank, depending on who reads the query.
    let clock = rest.strip_prefix(['T', 't', ' ', '+'])?;
    let end = clock.find(['Z', 'z', '+', '-', ' ']).unwrap_or(clock.len());
    let (clock, zone) = clock.split_at(end);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = match clock.len() {
        5 => numbers(&format!("{clock}:00"), ':', &[2, 2, 2])?,
        _ => numbers(clock, ':', &[2, 2, 2])?,
    };
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let at = DateTime::new(
        signed(year)?,
        small(month)?,
        small(day)?,
        small(hour)?,
        small(minute)?,
        small(second)?,
        0,
    )
    .ok()?;
    match zone {
        "" | "Z" | "z" => moment(at),
        offset if is_offset(offset) => Some(Time::Unsure),
        _ => None,
    }
}

fn moment(at: DateTime) -> Option<Time> {
    let stamp = at.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
    Some(Time::At(UnixTime::from_secs(u64::try_from(stamp).unwrap_or(0))))
}

/// The numbers of `text`, each of exactly so many digits.
fn numbers<const N: usize>(text: &str, between: char, digits: &[usize; N]) -> Option<[u16; N]> {
    let mut parts = text.split(between);
    let mut found = [0; N];
    for (number, &length) in found.iter_mut().zip(digits) {
        let part = parts.next().filter(|p| p.len() == length && p.bytes().all(|b| b.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

fn signed(number: u16) -> Option<i16> {
    number.try_into().ok()
}

fn small(number: u16) -> Option<i8> {
    number.try_into().ok()
}

/// `+HH:MM`, `-HHMM`, `+HH`; the sign may have become a blank.
fn is_offset(text: &str) -> bool {
    let digits = text.trim_start_matches(' ').trim_start_matches(['+', '-', ' ']).replacen(':', "", 1);
    matches!(digits.len(), 2 | 4) && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_spellings_are_moments() {
        let at = Some(Time::At(UnixTime::from_secs(1_769_852_730)));
        for text in [
            "2026-01-31T09:45:30",
            "2026-01-31t09:45:30Z",
            "2026-01-31 09:45:30",
            "2026-01-31+09:45:30",
            "2026-01-31T09:45:30.123",
        ] {
            assert_eq!(parse(text), at, "{text}");
        }
        assert_eq!(parse("2026-01-31T09:45"), Some(Time::At(UnixTime::from_secs(1_769_852_700))));
        assert_eq!(parse("2024-02-29T00:00:00"), Some(Time::At(UnixTime::from_secs(1_709_164_800))));
    }

    #[test]
    fn other_spellings_are_left_to_the_vendor() {
        for text in [
            "2026-01-31",
            "2026-01-31T09:45:30+02:00",
            "2026-01-31T09:45:30-0200",
            "2026-01-31T09:45:30 02:00",
            "2026-01-31T09:45:30.1+02",
        ] {
            assert_eq!(parse(text), Some(Time::Unsure), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "yesterday",
            "now-1h",
            "1769852730",
            "01/31/2026",
            "31.01.2026 09:45",
            "2026-1-31T09:45:30",
            "2026-13-01T00:00:00",
            "2026-02-29T00:00:00",
            "2026-01-31T24:00:00",
            "2026-01-31T09:60:00",
            "2026-01-31T09",
            "2026-01-31T",
            "2026-01-31Tx",
            "2026-01-31T09:45:30.",
            "2026-01-31T09:45:30 CET",
            "2026-01-31X09:45:30",
            "2026-01-31T9:45:30",
            "äöüäöüäöü",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
