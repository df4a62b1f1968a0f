//! Shares, reserves and caps of siblings: divisions of an account, consumers of
//! a division.

use std::num::NonZeroU32;
use std::time::Duration;

use super::limits::{Found, Limits};
use crate::config::mistake::{Place, Walk};
use crate::config::read::{At, Field, Named};
use crate::config::scalar::Part;
use crate::config::union::ReserveValue;
use crate::quota::{Quantity, Share};

/// Percentages hold on windows of this length or longer: below it, a reserve
/// would mostly be lost to nobody.
const SHORTEST_RESERVED_WINDOW: Duration = Duration::from_secs(60);

const WHOLE: u32 = 1_000_000;

/// One of several that share something.
pub(super) struct Sibling<'a> {
    pub(super) name: &'a str,
    pub(super) place: &'a Place,
    pub(super) share: &'a Field<Part>,
}

/// The share of each sibling; what the named ones leave is split evenly among the others.
pub(super) fn shares(siblings: &[Sibling<'_>], of_what: &str, walk: &mut Walk<'_>) -> Vec<Share> {
    let typed = |sibling: &Sibling<'_>| sibling.share.value().map(|part| part.per_million());
    let named: u64 = siblings.iter().filter_map(typed).map(u64::from).sum();
    let rest = u64::from(WHOLE).checked_sub(named);
    let unnamed: Vec<_> = siblings.iter().filter(|sibling| sibling.share.is_missing()).collect();
    let each = rest.unwrap_or(0).checked_div(unnamed.len() as u64).and_then(|each| u32::try_from(each).ok());
    match (rest, each) {
        (None, _) => over_the_whole(siblings, named, of_what, walk),
        (Some(_), Some(0)) => {
            for sibling in unnamed {
                walk.wrong(
                    sibling.place,
                    format!("nothing is left for it: the other shares of {of_what} take all; name a share here and lower the others"),
                );
            }
        }
        _ => {}
    }
    siblings.iter().map(|sibling| Share(typed(sibling).or(each).unwrap_or(0).max(1))).collect()
}

fn over_the_whole(siblings: &[Sibling<'_>], sum: u64, of_what: &str, walk: &mut Walk<'_>) {
    let given = || siblings.iter().filter_map(|sibling| Some((sibling.name, sibling.share.given()?)));
    let parts: Vec<_> =
        given().map(|(name, at)| format!("{name} {}", percent(at.value.per_million().into()))).collect();
    let listed = if parts.len() <= 8 { parts.join(", ") } else { format!("{} of them", parts.len()) };
    if let Some((_, last)) = given().max_by_key(|(_, at)| at.place.spot.clone()) {
        walk.wrong(
            &last.place,
            format!(
                "the shares of {of_what} add up to {} ({listed}); lower them to 100 % together",
                percent(sum)
            ),
        );
    }
}

/// `12.5 %` of parts per million.
pub(in crate::config) fn percent(per_million: u64) -> String {
    let (whole, rest) = (per_million / 10_000, per_million % 10_000);
    let rest = format!("{rest:04}");
    match rest.trim_end_matches('0') {
        "" => format!("{whole} %"),
        rest => format!("{whole}.{} %", &rest[..rest.len().min(2)]),
    }
}

/// Caps by limit name.
pub(super) fn caps(typed: &Field<Named<u64>>, limits: &Limits, walk: &mut Walk<'_>) -> Vec<Quantity> {
    let Some(named) = typed.value() else { return Vec::new() };
    let mut caps = quantities(named, "cap", limits, walk);
    for (name, at) in &named.things {
        if let Found::At(_, limit) = limits.find(name)
            && at.value > u64::from(limit.requests.get())
        {
            walk.warn(&at.place, format!("this cap never binds: the limit itself is {}", limit.requests));
        }
    }
    caps.sort_by_key(|cap| cap.limit);
    caps
}

/// A reserve, as a part of every window of a minute or longer or by limit name.
pub(super) fn reserve(typed: &Field<ReserveValue>, limits: &Limits, walk: &mut Walk<'_>) -> Vec<Quantity> {
    let Some(at) = typed.given() else { return Vec::new() };
    let mut reserve = match &at.value {
        ReserveValue::ByLimit(named) => quantities(named, "reserve", limits, walk),
        ReserveValue::Part(part) => part_of_all(*part, at, limits, walk),
    };
    reserve.sort_by_key(|quantity| quantity.limit);
    reserve
}

fn part_of_all(part: Part, at: &At<ReserveValue>, limits: &Limits, walk: &mut Walk<'_>) -> Vec<Quantity> {
    let long =
        limits.list.iter().enumerate().filter(|(_, limit)| limit.window.length() >= SHORTEST_RESERVED_WINDOW);
    let held: Vec<_> = long
        .filter_map(|(index, limit)| {
            let requests = u32::try_from(part.of(limit.requests.get().into())).ok()?;
            Some(Quantity { limit: index, requests: NonZeroU32::new(requests)? })
        })
        .collect();
    if held.is_empty() {
        walk.warn(
            &at.place,
            "this reserve holds nothing: it is less than one request on every window of a minute or longer",
        );
    }
    held
}

fn quantities(named: &Named<u64>, what: &str, limits: &Limits, walk: &mut Walk<'_>) -> Vec<Quantity> {
    let mut found = Vec::new();
    for (name, at) in &named.things {
        let requests = u32::try_from(at.value).ok();
        match (limits.find(name), requests.map(NonZeroU32::new)) {
            (Found::Unknown, _) => {
                walk.wrong(&at.place, format!("there is no limit of this name; {}", limits.fix(name)));
            }
            (_, Some(None)) => {
                walk.wrong(
                    &at.place,
                    format!("a {what} below one request; write at least 1, or leave it out"),
                );
            }
            (Found::At(limit, _), Some(Some(requests))) => found.push(Quantity { limit, requests }),
            (Found::At(..), None) => {
                walk.wrong(
                    &at.place,
                    format!("more requests than weir can count; write at most {}", u32::MAX),
                );
            }
            (Found::Broken, _) => {}
        }
    }
    found
}

/// A reserve larger than its owner's cap could never be used.
pub(super) fn within_caps(
    reserve: &[Quantity],
    caps: &[Quantity],
    place: &Place,
    limits: &Limits,
    walk: &mut Walk<'_>,
) {
    for held in reserve {
        let cap = caps.iter().find(|cap| cap.limit == held.limit && cap.requests < held.requests);
        if let Some(cap) = cap {
            walk.wrong(
                place,
                format!(
                    "its reserve of {} on {} is more than its cap of {}; lower the reserve",
                    held.requests, limits.list[held.limit].name, cap.requests
                ),
            );
        }
    }
}
