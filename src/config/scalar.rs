//! The small things a value can be: durations, rates, parts of a whole,
//! addresses, patterns. Each says what to write instead when it is none.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderName, Method};
use ipnet::IpNet;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::mistake::Walk;
use super::read::{Read, text};
use super::tree::{Node, Value};
use crate::clock::UnixTime;
use crate::pattern::{BadPattern, Pattern};

/// Declares types that are read from text by a function `&str -> Result<inner, words>`.
macro_rules! texts {
    ($($(#[doc = $doc:literal])+ $name:ident($inner:ty) = $parse:path, like $example:literal, $pattern:literal;)*) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub(super) struct $name(pub(super) $inner);

        impl Read for $name {
            fn read(node: Node, walk: &mut Walk<'_>) -> Option<Self> {
                let place = node.place.clone();
                let typed = text(node, concat!('"', $example, '"'), walk)?;
                $parse(&typed).map(Self).map_err(|words: String| walk.wrong(&place, words)).ok()
            }
        }

        schema_of!($name, { "type": "string", "pattern": $pattern, "examples": [$example] });
    )*};
}

/// Declares the JSON Schema of a type, used in place.
macro_rules! schema_of {
    ($name:ident, $schema:tt) => {
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

pub(super) use schema_of;

texts! {
    /// A length of time.
    Lasting(Duration) = lasting, like "30s", "^[0-9]+(ms|s|m|h|d)$";
    /// A length of time, or a month of the calendar.
    PerText(Per) = per, like "1m", "^([0-9]+(ms|s|m|h|d)|month)$";
    /// Requests per length of time.
    RateText(TypedRate) = rate, like "20/1m", "^[0-9]+/([0-9]+(ms|s|m|h|d)|month)$";
    /// Address and port that weir listens on.
    ListenText(SocketAddr) = listen, like "127.0.0.1:8080", "^.+:[0-9]{1,5}$";
    /// A network or one address.
    NetText(IpNet) = net, like "10.1.0.0/16", "^[0-9a-fA-F.:]+(/[0-9]{1,3})?$";
    /// Methods and a path.
    PatternText(Pattern) = pattern, like "GET /api/v2/nodes/**", "^[A-Z*|-]+ +/";
    /// Paths of requests, whatever their methods.
    PathText(Pattern) = path, like "/api/v2/nodes/**", "^/";
    /// The name of a header.
    HeaderText(HeaderName) = header, like "accept-language", "^[!-~]+$";
    /// A method whose answers can be kept.
    MethodText(Method) = method, like "GET", "^(GET|HEAD|POST)$";
    /// A day (its beginning in UTC) or a moment.
    DateText(UnixTime) = date, like "2028-01-31", "^[0-9]{4}-[0-9]{2}-[0-9]{2}";
    /// Time of day and time zone of a window's edge.
    ResetsText(Resets) = resets, like "00:00 America/Los_Angeles", "^[0-9]{2}:[0-9]{2} .+$";
    /// A subject alternative name: a DNS name or a URI.
    SanText(String) = san, like "grafana.internal", "^[!-~]+$";
    /// SHA-256 of a certificate in hexadecimal, with or without colons.
    FingerprintText([u8; 32]) = fingerprint, like "AA:BB:…, 32 bytes", "^([0-9a-fA-F]{2}:?){32}$";
    /// SHA-256 in hexadecimal.
    HexText(crate::secret::TokenHash) = hex, like "64 hex digits", "^[0-9a-fA-F]{64}$";
}

/// What a limit's requests are counted per.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Per {
    /// A fixed length.
    Length(Duration),
    /// A month of the calendar.
    Month,
}

/// `20/1m` as typed; zero is not ruled out yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TypedRate {
    pub(super) requests: u64,
    pub(super) per: Per,
}

/// `00:00 America/Los_Angeles`.
#[derive(Clone, Debug)]
pub(super) struct Resets {
    pub(super) at: jiff::civil::Time,
    pub(super) zone: jiff::tz::TimeZone,
}

/// A part of a whole: more than nothing, at most all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    over: u64,
    under: u64,
}

impl Part {
    /// In parts per million, rounded down.
    pub(super) fn per_million(self) -> u32 {
        u32::try_from(self.of(1_000_000)).unwrap_or(1_000_000)
    }

    /// This part of `whole`, rounded down.
    pub(super) fn of(self, whole: u64) -> u64 {
        let part = u128::from(whole) * u128::from(self.over) / u128::from(self.under);
        u64::try_from(part).unwrap_or(whole)
    }
}

impl Read for Part {
    fn read(node: Node, walk: &mut Walk<'_>) -> Option<Self> {
        let place = node.place.clone();
        let part = match (&node.value, &node.typed) {
            (Value::Text(text), _) => part(text),
            (Value::Float(_), Some(typed)) => part(typed),
            (Value::Float(fraction), None) => part(&fraction.to_string()),
            (other, _) => Err(format!("must be a part of the whole, not {}; {PART_HELP}", other.kind())),
        };
        part.map_err(|words| walk.wrong(&place, words)).ok()
    }
}

schema_of!(Part, {
    "anyOf": [
        { "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?%$|^[0-9]+/[0-9]+$", "examples": ["40%", "1/10"] },
        { "type": "number", "exclusiveMinimum": 0, "maximum": 1 },
    ],
});

impl Read for String {
    fn read(node: Node, walk: &mut Walk<'_>) -> Option<Self> {
        text(node, "it in quotes", walk)
    }
}

impl Read for bool {
    fn read(node: Node, walk: &mut Walk<'_>) -> Option<Self> {
        match node.value {
            Value::Bool(truth) => Some(truth),
            other => {
                walk.wrong(&node.place, format!("must be true or false, not {}", other.kind()));
                None
            }
        }
    }
}

impl Read for u64 {
    fn read(node: Node, walk: &mut Walk<'_>) -> Option<Self> {
        let words = match &node.value {
            Value::Int(int) => match Self::try_from(*int) {
                Ok(int) => return Some(int),
                Err(_) => "must be a whole number that is not negative".into(),
            },
            Value::Float(_) => "must be a whole number; leave out what follows the point".into(),
            Value::Text(_) => "must be a number, not text; write it in digits, without quotes".into(),
            other => format!("must be a number, not {}; write it in digits", other.kind()),
        };
        walk.wrong(&node.place, words);
        None
    }
}

const PART_HELP: &str = "write \"40%\", \"2/5\" or 0.4";

fn part(text: &str) -> Result<Part, String> {
    let text = text.trim();
    let part = if let Some(percent) = text.strip_suffix('%') {
        decimal(percent.trim_end(), 6).map(|over| Part { over, under: 100_000_000 })
    } else if let Some((over, under)) = text.split_once('/') {
        over.trim().parse().ok().zip(under.trim().parse().ok()).map(|(over, under)| Part { over, under })
    } else {
        decimal(text, 8).filter(|_| text.contains('.')).map(|over| Part { over, under: 100_000_000 })
    };
    match part {
        None => Err(format!("not a part of the whole; {PART_HELP}")),
        Some(Part { under: 0, .. }) => Err(format!("nothing can be divided by 0; {PART_HELP}")),
        Some(Part { over: 0, .. }) => {
            Err("must be more than nothing; write at least \"0.1%\", or leave it out".into())
        }
        Some(part) if part.over > part.under => Err("more than the whole; write at most \"100%\"".into()),
        Some(part) => Ok(part),
    }
}

/// Digits with at most `places` after the point, as a whole number of the last place.
pub(super) fn decimal(text: &str, places: usize) -> Option<u64> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || rest.len() > places || !digits(whole) || !digits(rest) {
        return None;
    }
    format!("{whole}{rest:0<places$}").parse().ok()
}

/// Longer than any window, wait or lifetime that makes sense here.
const LONGEST: Duration = Duration::from_secs(3_660 * 86_400);

/// The units of INTERFACE in milliseconds, each with how people spell it otherwise.
const UNITS: &[(&str, u64, &[&str])] = &[
    ("ms", 1, &["msec", "msecs", "millis", "millisecond", "milliseconds"]),
    ("s", 1_000, &["sec", "secs", "second", "seconds"]),
    ("m", 60_000, &["min", "mins", "minute", "minutes"]),
    ("h", 3_600_000, &["hr", "hrs", "hour", "hours"]),
    ("d", 86_400_000, &["day", "days"]),
];

/// A duration as INTERFACE spells it, in the largest unit that fits it whole.
pub(super) fn spell(length: Duration) -> String {
    let millis = length.as_millis();
    let fits = UNITS.iter().rev().find(|(_, unit, _)| millis > 0 && millis.is_multiple_of(u128::from(*unit)));
    fits.map_or_else(
        || format!("{}s", length.as_secs_f64()),
        |(name, unit, _)| format!("{}{name}", millis / u128::from(*unit)),
    )
}

fn lasting(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    let Some(count) = count.parse::<u64>().ok().filter(|_| digits <= 12) else {
        return Err(lasting_help("not a duration"));
    };
    if let Some((_, millis, _)) = UNITS.iter().find(|(name, ..)| *name == unit) {
        let length = count.checked_mul(*millis).map(Duration::from_millis);
        return length
            .filter(|length| *length <= LONGEST)
            .ok_or_else(|| "longer than ten years; write at most \"3660d\"".into());
    }
    Err(match unit_meant(unit) {
        Some(unit) => format!("wrong unit; write \"{count}{unit}\""),
        None if unit.is_empty() => format!("a duration needs a unit; write \"{count}s\" for seconds"),
        None => lasting_help("not a duration"),
    })
}

fn lasting_help(what: &str) -> String {
    format!("{what}; write a whole number and one of ms, s, m, h and d, such as \"30s\"")
}

/// The unit of INTERFACE that `spelled` stands for.
fn unit_meant(spelled: &str) -> Option<&'static str> {
    let spelled = spelled.trim().to_ascii_lowercase();
    UNITS
        .iter()
        .find(|(unit, _, others)| *unit == spelled || others.contains(&spelled.as_str()))
        .map(|(unit, ..)| *unit)
}

fn per(text: &str) -> Result<Per, String> {
    if text == "month" {
        return Ok(Per::Month);
    }
    match (unit_meant(text), lasting(text)) {
        (Some(unit), _) => Err(format!("wrong unit; write \"1{unit}\"")),
        (None, Ok(Duration::ZERO)) => Err("must last; write at least \"1ms\"".into()),
        (None, Ok(length)) => Ok(Per::Length(length)),
        (None, Err(_)) if text.contains("month") => {
            Err("a month of the calendar is written \"month\"".into())
        }
        (None, Err(words)) => Err(words),
    }
}

fn rate(text: &str) -> Result<TypedRate, String> {
    let help = || "not a rate; write requests per duration, such as \"20/1m\"".to_owned();
    let (requests, span) = text.split_once('/').ok_or_else(help)?;
    let (requests, span) = (requests.trim(), span.trim());
    let digits = (1..=12).contains(&requests.len()) && requests.bytes().all(|b| b.is_ascii_digit());
    let requests: u64 = requests.parse().ok().filter(|_| digits).ok_or_else(help)?;
    match per(span) {
        Ok(per) => Ok(TypedRate { requests, per }),
        Err(words) => Err(match unit_meant(span.trim_start_matches(|c: char| c.is_ascii_digit())) {
            // `10/min`, `10/1 min`
            Some(unit) => {
                let count = span
                    .split(|c: char| !c.is_ascii_digit())
                    .next()
                    .filter(|count| (1..=9).contains(&count.len()));
                format!("not a rate; write \"{requests}/{}{unit}\"", count.unwrap_or("1"))
            }
            None => words,
        }),
    }
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    let help = "not an address with a port; write \"127.0.0.1:8080\", or \"0.0.0.0:8080\" for all networks";
    match text.split_once(':') {
        Some(("localhost", port)) if port.parse::<u16>().is_ok() => {
            Err(format!("a name is no address to listen on; write \"127.0.0.1:{port}\""))
        }
        Some(("", port)) if port.parse::<u16>().is_ok() => Err(format!(
            "which networks is not said; write \"127.0.0.1:{port}\", or \"0.0.0.0:{port}\" for all"
        )),
        _ => text.parse().map_err(|_| help.into()),
    }
}

fn net(text: &str) -> Result<IpNet, String> {
    let single = text.parse::<std::net::IpAddr>().map(|ip| IpNet::from(ip.to_canonical()));
    single
        .or_else(|_| text.parse())
        .map(|net: IpNet| net.trunc())
        .map_err(|_| "not an address or network; write \"10.1.2.3\" or \"10.1.0.0/16\"".into())
}

fn path(text: &str) -> Result<Pattern, String> {
    format!("* {text}").parse().map_err(|error: BadPattern| error.to_string())
}

fn pattern(text: &str) -> Result<Pattern, String> {
    // The other errors' words are constant; this one's would repeat what was typed.
    let words = "what stands before the path is not an HTTP method; write 'GET', 'GET|POST' or '*'";
    text.parse().map_err(|error| match error {
        BadPattern::Method(_) => words.into(),
        other => other.to_string(),
    })
}

fn header(text: &str) -> Result<HeaderName, String> {
    text.parse().map_err(|_| "not the name of a header; write one such as \"accept-language\"".into())
}

fn method(text: &str) -> Result<Method, String> {
    match text {
        "GET" => Ok(Method::GET),
        "HEAD" => Ok(Method::HEAD),
        "POST" => Ok(Method::POST),
        _ => Err("answers to this method cannot be kept; write \"GET\", \"HEAD\" or \"POST\"".into()),
    }
}

fn date(text: &str) -> Result<UnixTime, String> {
    let moment = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let day: jiff::civil::Date = text.parse().ok().filter(|_| text.len() == "2028-01-31".len())?;
        day.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|day| day.timestamp())
    });
    moment.and_then(|moment| u64::try_from(moment.as_nanosecond()).ok()).map(UnixTime::from_nanos).ok_or_else(
        || "not a date; write \"2028-01-31\", or a moment such as \"2028-01-31T12:00:00Z\"".into(),
    )
}

fn resets(text: &str) -> Result<Resets, String> {
    let help = || "not a time and a zone; write \"00:00 UTC\" or \"00:00 America/Los_Angeles\"".to_owned();
    let (at, zone) = text.trim().split_once(' ').ok_or_else(help)?;
    let at = jiff::civil::Time::strptime("%H:%M", at).map_err(|_| help())?;
    let zone = match zone.trim() {
        "UTC" | "Z" | "Etc/UTC" => jiff::tz::TimeZone::UTC,
        name => jiff::tz::TimeZone::get(name).map_err(|_| {
            "this time zone is not known; write one such as \"UTC\", \"Europe/Berlin\" or \"America/Los_Angeles\"".to_owned()
        })?,
    };
    Ok(Resets { at, zone })
}

fn hex(text: &str) -> Result<crate::secret::TokenHash, String> {
    crate::secret::TokenHash::from_hex(text)
        .ok_or_else(|| "not a SHA-256 in 64 hex digits; `weir token NAME` prints one".into())
}

fn san(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._*".contains(&b);
    if text.contains("://") && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    let is_name = !text.is_empty() && text.len() <= 253 && text.bytes().all(plain);
    if is_name && text.parse::<std::net::IpAddr>().is_err() {
        return Ok(text.to_ascii_lowercase());
    }
    Err("not a DNS name or URI, which are the names that are looked at; write one such as \"grafana.internal\" or \"spiffe://corp/grafana\", or sha256 = \"…\"".into())
}

fn fingerprint(text: &str) -> Result<[u8; 32], String> {
    let help = "not the SHA-256 of a certificate; write what `openssl x509 -noout -fingerprint -sha256 -in FILE` prints after the '='";
    let hex = text.replace(':', "");
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| help.into())
}
