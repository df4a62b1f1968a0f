//! What the documents say is refused, found before it costs anything. Where they
//! leave a doubt, the vendor decides.

use super::routes::Get;
use super::times::{self, Time};
use crate::clock::UnixTime;
use crate::target::Target;

/// Whether the query is one that the documents allow for this GET; otherwise why not.
pub(super) fn query(get: &Get, target: &Target) -> Result<(), String> {
    times(target, get)?;
    range(target, get)?;
    pages(target, get)
}

/// The documented start and end, if both are given, once each and plainly.
pub(super) fn window(target: &Target, [start, end]: [&str; 2]) -> Option<(UnixTime, UnixTime)> {
    let only = |name: &str| {
        let mut values = target.values(name);
        match (values.next().as_deref().and_then(times::parse), values.next()) {
            (Some(Time::At(at)), None) => Some(at),
            _ => None,
        }
    };
    Some((only(start)?, only(end)?))
}

fn times(target: &Target, get: &Get) -> Result<(), String> {
    for name in get.times.iter().flatten() {
        for value in target.values(name) {
            // Empty counts as not given.
            if !value.is_empty() && times::parse(&value).is_none() {
                return Err(format!("{name} must be a time in UTC such as 2026-01-31T09:30:00"));
            }
        }
    }
    Ok(())
}

fn range(target: &Target, get: &Get) -> Result<(), String> {
    let (Some(most), Some([from, to])) = (get.longest, get.times) else { return Ok(()) };
    let Some((start, end)) = window(target, [from, to]) else { return Ok(()) };
    if end.since(start) <= most {
        return Ok(());
    }
    let hours = most.as_secs() / 3_600;
    let most = if hours == 1 { "1 hour".into() } else { format!("{} days", hours / 24) };
    Err(format!("{from} and {to} may be at most {most} apart here"))
}

fn pages(target: &Target, get: &Get) -> Result<(), String> {
    let Some(most) = get.page_size else { return Ok(()) };
    for value in target.values("pageSize").filter(|value| !value.is_empty()) {
        match number(&value) {
            None => return Err("pageSize must be a whole number".into()),
            Some(size) if size > i64::from(most) => {
                return Err(format!("pageSize may be at most {most} here"));
            }
            Some(_) => {}
        }
    }
    for value in target.values("pageNumber").filter(|value| !value.is_empty()) {
        if number(&value).is_none_or(|page| page < 1) {
            return Err("pageNumber must be a whole number of at least 1".into());
        }
    }
    Ok(())
}

/// A whole number as .NET reads one: white space (also as `+`) around it, a sign.
/// What is too large to be one is larger than any bound.
fn number(text: &str) -> Option<i64> {
    let text = text.trim_matches(['+', ' ']);
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(i64::MAX))
}
