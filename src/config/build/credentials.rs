//! An upstream's dialect and its keys.

use crate::config::mistake::{Place, Walk};
use crate::config::raw;
use crate::config::read::{At, Field, List, Named};
use crate::config::union::KeyTables;
use crate::config::{Key, KeyValue};
use crate::dialect::oauth::{Client, Via};
use crate::dialect::{Catchpoint, Credential, Dialect, Generic, OAuth, Sandbox};

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
    if !matches!(name, "catchpoint-v1" | "privx") {
        only(&raw.token_ttl, "catchpoint-v1 or privx", walk);
    }
    match name {
        "catchpoint" => Some(Dialect::Catchpoint(catchpoint(raw, walk))),
        "catchpoint-v1" => Some(Dialect::CatchpointV1),
        "recorded-future-sandbox" => {
            let url = raw.url.value().map(|url| (url.0.authority.host(), url.0.base_path.as_str()));
            let (host, base_path) = url.unwrap_or_default();
            Some(Dialect::Sandbox(Sandbox::at(host, base_path)))
        }
        "privx" => Some(Dialect::Privx),
        "netskope" => Some(Dialect::Netskope),
        "weir" => Some(Dialect::Weir),
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
        let what = match dialect.and_then(Dialect::oauth) {
            None => "value = { env = \"NAME\" }",
            Some(_) => "client_id = \"…\" and client_secret = { env = \"NAME\" }",
        };
        walk.wrong(place, format!("has no key; write [….keys.main] with {what}"));
    }
    typed.iter().filter_map(|(name, at)| key(name, at, dialect, walk)).collect()
}

fn key(name: &str, at: &At<KeyTables>, dialect: Option<&Dialect>, walk: &mut Walk<'_>) -> Option<Key> {
    let mut values = Vec::new();
    if at.value.0.len() > MAX_VALUES {
        walk.wrong(&at.place, format!("has more than {MAX_VALUES} values; keep the ones that are valid now"));
    }
    for raw in &at.value.0 {
        values.extend(match dialect.and_then(Dialect::oauth) {
            None => plain(raw, dialect, walk),
            Some(oauth) => client(raw, oauth, walk),
        });
    }
    Some(Key { name: name.parse().ok()?, values }).filter(|key| !key.values.is_empty())
}

/// A key that is sent as it is.
fn plain(raw: &raw::Key, dialect: Option<&Dialect>, walk: &mut Walk<'_>) -> Option<KeyValue> {
    only(&raw.client_id, "catchpoint-v1 or privx", walk);
    only(&raw.client_secret, "catchpoint-v1 or privx", walk);
    only(&raw.oauth_client_id, "privx", walk);
    only(&raw.oauth_client_secret, "privx", walk);
    if matches!(dialect, Some(Dialect::Netskope)) {
        raw.value_v1.given().into_iter().for_each(|at| check(at, dialect, walk));
    } else {
        only(&raw.value_v1, "netskope", walk);
    }
    let words = "the key itself is not said; write value = { env = \"NAME\" }";
    let value = raw.value.required(&raw.place, words, walk)?;
    check(value, dialect, walk);
    Some(KeyValue {
        value: value.value.0.clone(),
        value_v1: raw.value_v1.value().map(|value| value.0.clone()),
        client: None,
        expires: raw.expires.value().map(|date| date.0),
    })
}

/// An id and a secret that are exchanged for a token.
fn client(raw: &raw::Key, oauth: OAuth, walk: &mut Walk<'_>) -> Option<KeyValue> {
    let words = "this vendor gives an id and a secret; write client_id = \"…\" and client_secret = { env = \"NAME\" }";
    if let Some(at) = raw.value.given() {
        walk.wrong(&at.place, words);
    }
    only(&raw.value_v1, "netskope", walk);
    let typed = !raw.value.is_missing() || (!raw.client_id.is_missing() && !raw.client_secret.is_missing());
    if !typed {
        walk.wrong(&raw.place, words);
    }
    let via = via(raw, oauth, walk);
    let (id, secret) = (raw.client_id.value()?.0.clone(), raw.client_secret.value()?.0.clone());
    let client = Client { id, secret: secret.clone(), via };
    if oauth.sign_in(&client).is_err() {
        walk.wrong(&raw.place, "an id has a ':' in it, which ends it where it is sent; correct it");
    }
    let expires = raw.expires.value().map(|date| date.0);
    Some(KeyValue { value: secret, value_v1: None, client: Some(client), expires })
}

fn via(raw: &raw::Key, oauth: OAuth, walk: &mut Walk<'_>) -> Option<Via> {
    if oauth != OAuth::Privx {
        only(&raw.oauth_client_id, "privx", walk);
        only(&raw.oauth_client_secret, "privx", walk);
        return None;
    }
    if raw.oauth_client_id.is_missing() != raw.oauth_client_secret.is_missing() {
        walk.wrong(&raw.place, "oauth_client_id and oauth_client_secret go together; write both, or neither");
    }
    Some(Via {
        id: raw.oauth_client_id.value()?.0.clone(),
        secret: raw.oauth_client_secret.value()?.0.clone(),
    })
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
