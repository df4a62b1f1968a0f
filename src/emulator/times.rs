//! RFC 3339 and ISO 8601 times, as most of these vendors write them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::clock::UnixTime;

/// `2020-09-23T07:26:26.000000Z`, or fewer digits after the second.
pub(super) fn spell(at: UnixTime, digits: usize) -> String {
    match Timestamp::from_nanosecond(i128::from(at.as_nanos())) {
        Ok(at) => format!("{at:.digits$}"),
        Err(_) => "9999-12-31T23:59:59Z".to_owned(),
    }
}

/// With an offset, or without one in UTC.
pub(super) fn parse(text: &str) -> Option<UnixTime> {
    let at = match text.parse::<Timestamp>() {
        Ok(at) => at,
        Err(_) => text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp(),
    };
    u64::try_from(at.as_nanosecond()).ok().map(UnixTime::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back_as_they_are_written() {
        let at = UnixTime::from_nanos(1_600_845_986_123_456_000);
        assert_eq!(spell(at, 6), "2020-09-23T07:26:26.123456Z");
        assert_eq!(parse("2020-09-23T07:26:26.123456Z"), Some(at));
        assert_eq!(parse("2020-09-23T09:26:26.123456+02:00"), Some(at));
        assert_eq!(parse("2020-09-23T07:26:26"), Some(UnixTime::from_secs(1_600_845_986)));
        assert_eq!(parse("yesterday"), None);
    }
}
