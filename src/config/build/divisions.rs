//! The divisions of an upstream and the keys they use.

use super::limits::Limits;
use super::portions::{self, Sibling};
use crate::config::Key;
use crate::config::mistake::{Place, Walk, did_you_mean, one_of};
use crate::config::raw;
use crate::config::read::{At, Field};
use crate::quota::{DivisionPlan, Share};

/// The name of the one division of an upstream that is configured without any.
pub(super) const EVERYBODY: &str = "all";

/// One division while its upstream is put together.
#[derive(Debug)]
pub(super) struct Division {
    /// As typed; [`EVERYBODY`] if there are none.
    pub(super) name: String,
    pub(super) place: Place,
    /// None if its name is none, which is noted.
    pub(super) plan: Option<DivisionPlan>,
    pub(super) key: Option<usize>,
    /// Typed, so that consumers have to name one.
    pub(super) named: bool,
}

pub(super) fn divisions(
    raw: &raw::Upstream,
    place: &Place,
    keys: &[Key],
    limits: &Limits,
    walk: &mut Walk<'_>,
) -> Vec<Division> {
    let typed = raw.divisions.things();
    if typed.is_empty() {
        return vec![everybody(raw, place, keys, walk)];
    }
    let siblings: Vec<_> =
        typed.iter().map(|(name, at)| Sibling { name, place: &at.place, share: &at.value.share }).collect();
    let shares = portions::shares(&siblings, "the divisions", walk);
    typed
        .iter()
        .zip(shares)
        .map(|((name, at), share)| division(name, at, share, (raw, keys, limits), walk))
        .collect()
}

fn everybody(raw: &raw::Upstream, place: &Place, keys: &[Key], walk: &mut Walk<'_>) -> Division {
    if keys.len() > 1 && raw.divisions.is_missing() {
        walk.wrong(place, "has several keys and no division to use them; write [….divisions.NAME] with key = \"NAME\", or keep one key");
    }
    let plan = EVERYBODY.parse().ok().map(|name| DivisionPlan {
        name,
        share: Share(1_000_000),
        reserve: Vec::new(),
        caps: Vec::new(),
    });
    Division {
        name: EVERYBODY.into(),
        place: place.clone(),
        plan,
        key: (!keys.is_empty()).then_some(0),
        named: false,
    }
}

type Around<'a> = (&'a raw::Upstream, &'a [Key], &'a Limits);

fn division(
    name: &str,
    at: &At<raw::Division>,
    share: Share,
    around: Around<'_>,
    walk: &mut Walk<'_>,
) -> Division {
    let (upstream, keys, limits) = around;
    let reserve = portions::reserve(&at.value.reserve, limits, walk);
    let caps = portions::caps(&at.value.caps, limits, walk);
    portions::within_caps(&reserve, &caps, &at.place, limits, walk);
    Division {
        name: name.to_owned(),
        place: at.place.clone(),
        plan: name.parse().ok().map(|name| DivisionPlan { name, share, reserve, caps }),
        key: key(at, upstream, keys, walk),
        named: true,
    }
}

/// Index of the key that a division uses.
fn key(at: &At<raw::Division>, upstream: &raw::Upstream, keys: &[Key], walk: &mut Walk<'_>) -> Option<usize> {
    let typed = upstream.keys.things();
    let names = || typed.iter().map(|(name, _)| name.as_str());
    match &at.value.key {
        Field::Wrong => None,
        Field::Missing if typed.len() > 1 => {
            walk.wrong(
                &at.place,
                format!(
                    "which key it uses is not said, and there are several; write key = {}",
                    one_of(names())
                ),
            );
            None
        }
        Field::Missing => (!keys.is_empty()).then_some(0),
        Field::Given(key) => {
            let found = keys.iter().position(|known| known.name.as_str() == key.value);
            if found.is_none() && !upstream.keys.may_mention(&key.value) {
                let fix = match did_you_mean(&key.value, names()) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None if typed.is_empty() => "add it under `keys`".into(),
                    None => format!("write {}", one_of(names())),
                };
                walk.wrong(&key.place, format!("this upstream has no key of this name; {fix}"));
            }
            found
        }
    }
}
