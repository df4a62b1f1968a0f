//! An upstream's dialect and its keys.

use crate::config::mistake::{Place, Walk};
use crate::config::raw;
use crate::config::read::{At, Field, List, Named};
use crate::config::union::KeyTables;
use crate::config::{Key, KeyValue};
use crate::dialect::{Catchpoint, Credential, Dialect, Generic};

/// More than two values of a key are never valid at once (one may be on its way out).
const MAX_VALUES: usize = 2;

/// The dialect with what config says about it.
pub(super) fn dialect(raw: &raw::Upstream, place: &Place, walk: &mut Walk<'_>) -> Option<Dialect> {
    let words = "how the vendor speaks is not said; write dialect = \"catchpoint\", or \"generic\" for any other JSON API";
    let name = raw.dialect.required(place, words, walk)?.value.0;
    if name != "catchpoint" {
        only(&raw.versions, "catchpoint", walk);
        only(&raw.learn_usage_limits, "catchpoint", walk);
    }
    if name != "generic" {
        only(&raw.credential, "generic", walk);
    }
    match name {
        "catchpoint" => Some(Dialect::Catchpoint(catchpoint(raw, walk))),
        "generic" => {
            let keyed = !raw.keys.is_missing();
            if let (Some(at), false) = (raw.credential.given(), keyed) {
                walk.wrong(
                    &at.place,
                    "says where a key goes, and there is none; add it under `keys`, or leave this out",
                );
            }
            let credential = raw.credential.value().map(|value| value.0.clone());
            Some(Dialect::Generic(Generic { credential: credential.or(keyed.then_some(Credential::Bearer)) }))
        }
        _ => None,
    }
}

fn only<T>(field: &Field<T>, dialect: &str, walk: &mut Walk<'_>) {
    if let Some(at) = field.given() {
        walk.wrong(&at.place, format!("means something for the dialect {dialect} only; remove it"));
    }
}

fn catchpoint(raw: &raw::Upstream, walk: &mut Walk<'_>) -> Catchpoint {
    let Some(versions) = raw.versions.value() else { return Catchpoint::default() };
    let mut list = |field: &Field<List<String>>| -> Vec<String> {
        field.entries().iter().filter_map(|at| version(at, walk)).collect()
    };
    Catchpoint { warn: list(&versions.warn), refuse: list(&versions.refuse) }
}

/// `v2`, `v3.3`.
fn version(at: &At<String>, walk: &mut Walk<'_>) -> Option<String> {
    let folded = at.value.to_ascii_lowercase();
    let digits = folded.strip_prefix('v').unwrap_or_default();
    if digits
        .split('.')
        .all(|part| !part.is_empty() && part.len() < 6 && part.bytes().all(|b| b.is_ascii_digit()))
    {
        return Some(folded);
    }
    walk.wrong(&at.place, "not a version as it stands in the path; write one such as \"v2\" or \"v3.3\"");
    None
}

/// The keys of an upstream, by name.
pub(super) fn keys(
    raw: &raw::Upstream,
    place: &Place,
    dialect: Option<&Dialect>,
    walk: &mut Walk<'_>,
) -> Vec<Key> {
    let typed = raw.keys.things();
    let keyless = matches!(dialect, None | Some(Dialect::Generic(_)));
    let nothing = raw.keys.is_missing() || raw.keys.value().is_some_and(Named::is_empty);
    if nothing && !keyless {
        walk.wrong(place, "has no key; write [….keys.main] with value = { env = \"NAME\" }");
    }
    typed.iter().filter_map(|(name, at)| key(name, at, dialect, walk)).collect()
}

fn key(name: &str, at: &At<KeyTables>, dialect: Option<&Dialect>, walk: &mut Walk<'_>) -> Option<Key> {
    let mut values = Vec::new();
    if at.value.0.len() > MAX_VALUES {
        walk.wrong(&at.place, format!("has more than {MAX_VALUES} values; keep the ones that are valid now"));
    }
    for raw in &at.value.0 {
        let words = "the key itself is not said; write value = { env = \"NAME\" }";
        if let Some(value) = raw.value.required(&raw.place, words, walk) {
            check(value, dialect, walk);
            values.push(KeyValue {
                value: value.value.0.clone(),
                expires: raw.expires.value().map(|date| date.0),
            });
        }
    }
    Some(Key { name: name.parse().ok()?, values }).filter(|key| !key.values.is_empty())
}

/// A key must survive the place it is sent in.
fn check(at: &At<crate::config::secrets::SecretValue>, dialect: Option<&Dialect>, walk: &mut Walk<'_>) {
    let key = at.value.0.expose();
    let is_basic = matches!(dialect, Some(Dialect::Generic(Generic { credential: Some(Credential::Basic) })));
    if is_basic && !key.contains(':') {
        walk.wrong(
            &at.place,
            "with credential = \"basic\" the key is user and password; write it as user:password",
        );
        return;
    }
    let fits = dialect.is_none_or(|dialect| dialect.accepts_key(&at.value.0));
    if !fits || key.trim() != key {
        walk.wrong(
            &at.place,
            "the key has blanks around it or characters that no header can carry; keep the key alone",
        );
    }
}
