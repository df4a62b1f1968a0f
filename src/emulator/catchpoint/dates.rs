//! Times as the vendor writes them: `YYYY-MM-DDTHH:MM:SS` in UTC, and the
//! ranges its operations take.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::clock::UnixTime;

use super::super::answer::Ask;
use super::Problem;

const NAMES: [(&str, &str); 3] =
    [("startTimeUtc", "endTimeUtc"), ("startTime", "endTime"), ("startDate", "endDate")];

/// From (inclusive) to (exclusive).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: UnixTime,
    pub(super) end: UnixTime,
}

/// The range a request asks for, or the last `default` of the vendor's time.
pub(super) fn range(ask: &Ask, default: Duration) -> Result<Range, Problem> {
    let asked = asked(ask)?;
    let end = asked.1.unwrap_or(ask.now);
    let start = asked.0.unwrap_or(end - default);
    if start > end {
        return Err(Problem::bad("The start time must not be later than the end time."));
    }
    Ok(Range { start, end })
}

/// Refuses malformed times and ranges that are longer than documented, also
/// where there is no data to select by them.
pub(super) fn check_ranges(ask: &Ask) -> Result<(), Problem> {
    let words: Vec<_> = ask.path.to_ascii_lowercase().split('/').map(str::to_owned).collect();
    let words: Vec<_> = words.iter().skip(3).map(String::as_str).collect();
    let most = match words[..] {
        ["nodes", "testrun", ..] => Duration::from_secs(3_600),
        ["nodes", ..] | ["instances", "hardware", ..] => Duration::from_secs(7 * 86_400),
        _ => Duration::MAX,
    };
    let (start, end) = asked(ask)?;
    match start {
        Some(start) if end.unwrap_or(ask.now).since(start) > most => {
            let hours = most.as_secs() / 3_600;
            Err(Problem::bad(format!("The time range must not be longer than {hours} hours.")))
        }
        _ => Ok(()),
    }
}

/// `YYYY-MM-DDTHH:MM:SS`.
pub(super) fn spell(at: UnixTime) -> String {
    let secs = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_second(secs) {
        Ok(at) => at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S").to_string(),
        Err(_) => "9999-12-31T23:59:59".to_owned(),
    }
}

fn asked(ask: &Ask) -> Result<(Option<UnixTime>, Option<UnixTime>), Problem> {
    let mut found = (None, None);
    for (start, end) in NAMES {
        for (name, side) in [(start, &mut found.0), (end, &mut found.1)] {
            if let Some(text) = ask.query.get(name) {
                *side = Some(parse(text).ok_or_else(|| {
                    Problem::bad(format!(
                        "'{text}' is not valid for {name}. Use the format YYYY-MM-DDTHH:MM:SS."
                    ))
                })?);
            }
        }
    }
    Ok(found)
}

fn parse(text: &str) -> Option<UnixTime> {
    let digits = "dddd-dd-ddTdd:dd:dd";
    let fits = |(byte, form): (u8, u8)| if form == b'd' { byte.is_ascii_digit() } else { byte == form };
    if text.len() != digits.len() || !text.bytes().zip(digits.bytes()).all(fits) {
        return None;
    }
    let at: DateTime = text.parse().ok()?;
    let at = at.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
    u64::try_from(at).ok().map(UnixTime::from_secs)
}
