//! How options are spelt on the command line and in statistics.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::options::{Count, Key, Latency, Limit, Routes, Scope, Skew, Windows};

/// `500us`, `250ms`, `30s`, `2m`, `1h`, `1d`; no sign, no fraction.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write for example 500ms, 30s, 2m, 1h or 1d");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let nanos = UNITS.iter().find(|(_, unit)| *unit == &text[digits..]).map(|(nanos, _)| *nanos);
    number.checked_mul(nanos.ok_or_else(wrong)?).map(Duration::from_nanos).ok_or_else(wrong)
}

/// The inverse of [`duration`], in the largest unit that is exact.
pub(crate) fn spell(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let exact = UNITS.iter().find(|(unit, _)| nanos > 0 && nanos.is_multiple_of(u128::from(*unit)));
    exact.map_or_else(|| "0s".to_owned(), |(unit, name)| format!("{}{name}", nanos / u128::from(*unit)))
}

const UNITS: [(u64, &str); 7] = [
    (86_400_000_000_000, "d"),
    (3_600_000_000_000, "h"),
    (60_000_000_000, "m"),
    (1_000_000_000, "s"),
    (1_000_000, "ms"),
    (1_000, "us"),
    (1, "ns"),
];

impl FromStr for Limit {
    type Err = String;

    /// `N/DURATION` and then, each after a colon: `account` (default), `address`
    /// or `key`; `analytic` (default) or `all` (default with `address`);
    /// `calendar`, `sliding`, `fixed`, `counter` or `bucket=B`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split(':');
        let wrong =
            || format!("{text:?} is no limit; write for example 20/1m, 7/1s:address or 2000/1d:calendar");
        let (requests, per) = words.next().and_then(|word| word.split_once('/')).ok_or_else(wrong)?;
        let per = duration(per)?;
        if per.is_zero() {
            return Err(wrong());
        }
        let mut limit = Self::analytic(requests.parse().map_err(|_| wrong())?, per);
        let mut routes = None;
        for word in words {
            match word {
                "account" => limit.scope = Scope::Account,
                "address" => limit.scope = Scope::Address,
                "key" => limit.scope = Scope::Key,
                "analytic" => routes = Some(Routes::Analytic),
                "all" => routes = Some(Routes::All),
                "calendar" => limit.count = Count::Calendar,
                windows => {
                    let windows = windows.replace('=', ":").parse().map_err(|_| wrong())?;
                    limit.count = Count::Windows(windows);
                }
            }
        }
        let of_scope = if limit.scope == Scope::Address { Routes::All } else { Routes::Analytic };
        limit.routes = routes.unwrap_or(of_scope);
        Ok(limit)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.requests, spell(self.per))?;
        f.write_str(match self.scope {
            Scope::Account => "",
            Scope::Address => ":address",
            Scope::Key => ":key",
        })?;
        f.write_str(match self.routes {
            Routes::All => ":all",
            Routes::Analytic => ":analytic",
        })?;
        match self.count {
            Count::Default => Ok(()),
            Count::Calendar => f.write_str(":calendar"),
            Count::Windows(Windows::Bucket(Some(depth))) => write!(f, ":bucket={depth}"),
            Count::Windows(windows) => write!(f, ":{windows}"),
        }
    }
}

impl FromStr for Windows {
    type Err = String;

    /// `sliding`, `fixed`, `counter`, `bucket` or `bucket:B`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no kind of window; write sliding, fixed, counter or bucket:B");
        match text {
            "sliding" => Ok(Self::Sliding),
            "fixed" => Ok(Self::Fixed),
            "counter" => Ok(Self::Counter),
            "bucket" => Ok(Self::Bucket(None)),
            _ => {
                let depth = text.strip_prefix("bucket:").ok_or_else(wrong)?;
                depth.parse().map(|depth| Self::Bucket(Some(depth))).map_err(|_| wrong())
            }
        }
    }
}

impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sliding => f.write_str("sliding"),
            Self::Fixed => f.write_str("fixed"),
            Self::Counter => f.write_str("counter"),
            Self::Bucket(None) => f.write_str("bucket"),
            Self::Bucket(Some(depth)) => write!(f, "bucket:{depth}"),
        }
    }
}

impl FromStr for Latency {
    type Err = String;

    /// `A..B`, or `A` for a constant delay.
    fn from_str(text: &str) -> Result<Self, String> {
        let (least, most) = text.split_once("..").unwrap_or((text, text));
        let (least, most) = (duration(least)?, duration(most)?);
        if least > most {
            return Err(format!("{text:?} runs backwards; write the shorter delay first"));
        }
        Ok(Self { least, most })
    }
}

impl FromStr for Skew {
    type Err = String;

    /// A duration; with a leading `-` the vendor's clock is behind.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix('-') {
            Some(by) => duration(by).map(Self::Behind),
            None => duration(text.strip_prefix('+').unwrap_or(text)).map(Self::Ahead),
        }
    }
}

impl FromStr for Key {
    type Err = String;

    /// `KEY` at client level, `DIVISION:KEY` of one division.
    fn from_str(text: &str) -> Result<Self, String> {
        let named = |name: &str| {
            !name.is_empty()
                && name.len() <= 40
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
        };
        match text.split_once(':') {
            _ if text.is_empty() => Err("a key may not be empty".to_owned()),
            Some((_, "")) => Err("a key may not be empty".to_owned()),
            Some((division, key)) if named(division) => Ok(Self::division(division, key)),
            _ => Ok(Self::client("client", text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_read_back_as_they_are_written() {
        for text in [
            "20/1m:analytic",
            "7/1s:address:all",
            "2000/1d:analytic:calendar",
            "3/1500ms:key:analytic:bucket=2",
            "9/1h:all:counter",
        ] {
            assert_eq!(text.parse::<Limit>().unwrap().to_string(), text);
        }
        assert_eq!("20/2s".parse(), Ok(Limit::analytic(20, Duration::from_secs(2))));
        assert_eq!("7/1s:address".parse(), Ok(Limit::address(7, Duration::from_secs(1))));
    }

    #[test]
    fn wrong_texts_are_refused() {
        for text in ["", "20", "20/", "20/1", "20/0s", "x/1s", "20/1s:often", "20/1s:bucket:2", "-1/1s"] {
            assert!(text.parse::<Limit>().is_err(), "{text}");
        }
        assert!("9s..5s".parse::<Latency>().is_err());
        assert!("99999999999999999999s".parse::<Latency>().is_err());
        assert!("bucket:".parse::<Windows>().is_err());
        assert!("web:".parse::<Key>().is_err());
    }

    #[test]
    fn keys_name_their_division() {
        let key: Key = "web:s3cret:x".parse().unwrap();
        assert_eq!((key.division.as_deref(), key.secret.expose()), (Some("web"), "s3cret:x"));
        let key: Key = "A:B".parse().unwrap();
        assert_eq!((key.division, key.secret.expose()), (None, "A:B"));
    }

    #[test]
    fn skew_has_a_sign() {
        assert_eq!("-1500ms".parse(), Ok(Skew::Behind(Duration::from_millis(1_500))));
        assert_eq!("2s".parse(), Ok(Skew::Ahead(Duration::from_secs(2))));
    }
}
