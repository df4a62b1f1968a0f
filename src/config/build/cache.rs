//! An upstream's cache rules.

use http::{HeaderName, Method, StatusCode, header};

use super::bounds;
use crate::config::CacheRule;
use crate::config::Snap;
use crate::config::mistake::Walk;
use crate::config::raw;
use crate::config::read::{At, Field, List};

const DEFAULT_MAX_BYTES: u64 = 16 * 1_024 * 1_024;
const DEFAULT_SETTLES: std::time::Duration = std::time::Duration::from_secs(15 * 60);
const LARGEST_MAX_BYTES: u64 = 1_024 * 1_024 * 1_024;

/// Each is the caller's own or belongs to one connection: in a cache key it
/// would leak, or never be sent.
const NEVER_KEYED: &[HeaderName] = &[
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::UPGRADE,
];

pub(super) fn rules(raw: &raw::Upstream, walk: &mut Walk<'_>) -> Vec<CacheRule> {
    let typed = raw.cache.entries();
    let mut rules: Vec<(&At<raw::CacheRule>, CacheRule)> = Vec::new();
    for at in typed {
        let Some(rule) = rule(&at.value, walk) else { continue };
        let hiding = rules.iter().find(|(_, earlier)| {
            earlier.pattern.hides(&rule.pattern) && rule.methods.iter().all(|m| earlier.methods.contains(m))
        });
        if let Some((earlier, _)) = hiding {
            walk.wrong(
                &at.place,
                format!(
                    "never matches: {} above takes all of its requests; move it up, or remove it",
                    earlier.place.path
                ),
            );
        }
        rules.push((at, rule));
    }
    rules.into_iter().map(|(_, rule)| rule).collect()
}

fn rule(raw: &raw::CacheRule, walk: &mut Walk<'_>) -> Option<CacheRule> {
    let words = "which requests it is for is not said; write match = \"GET /api/v2/nodes/**\"";
    let pattern = raw.r#match.required(&raw.place, words, walk).map(|at| at.value.0.clone());
    let max_bytes = bounds::number(&raw.max_bytes, 1, LARGEST_MAX_BYTES, walk).unwrap_or(DEFAULT_MAX_BYTES);
    let negative = negative(raw, walk);
    let key = raw.key.value();
    let seconds = |field: &Field<crate::config::scalar::Lasting>| field.value().map(|lasting| lasting.0);
    let key_headers = key.map(|key| keyed(&key.headers, walk)).unwrap_or_default();
    let methods = methods(raw, walk);
    Some(CacheRule {
        pattern: pattern?,
        ttl: seconds(&raw.ttl),
        stale_while_revalidate: seconds(&raw.stale_while_revalidate),
        stale_if_error: seconds(&raw.stale_if_error),
        stale_if_limited: seconds(&raw.stale_if_limited),
        negative,
        ignore: values(&raw.ignore, |name| name.0.clone()),
        ignore_query: key.map(|key| values(&key.ignore_query, Clone::clone)).unwrap_or_default(),
        key_headers,
        methods,
        snap: raw.snap.value().and_then(|snap| self::snap(snap, walk)),
        max_bytes,
        all_pages: raw.pages.value().is_some(),
        invalidates: values(&raw.invalidates, |paths| paths.0.clone()),
    })
}

fn values<T, U>(field: &Field<List<T>>, of: impl Fn(&T) -> U) -> Vec<U> {
    field.entries().iter().map(|at| of(&at.value)).collect()
}

fn negative(raw: &raw::CacheRule, walk: &mut Walk<'_>) -> Vec<(StatusCode, std::time::Duration)> {
    let typed = raw.negative.things();
    let mut kept = Vec::new();
    for (status, at) in typed {
        let status = status.parse::<StatusCode>().ok().filter(|s| s.is_client_error() || s.is_server_error());
        match status {
            None => walk.wrong(
                &at.place,
                "not the status of an error; write one from 400 to 599, such as 404 = \"30s\"",
            ),
            Some(StatusCode::TOO_MANY_REQUESTS) => {
                walk.wrong(&at.place, "a 429 speaks of its own moment only and is never kept; remove it");
            }
            Some(status) => kept.push((status, at.value.0)),
        }
    }
    kept
}

fn keyed(field: &Field<List<crate::config::scalar::HeaderText>>, walk: &mut Walk<'_>) -> Vec<HeaderName> {
    let typed = field.entries();
    for at in typed.iter().filter(|at| NEVER_KEYED.contains(&at.value.0)) {
        walk.wrong(
            &at.place,
            "this header belongs to the caller or to the connection and is never sent on; remove it",
        );
    }
    typed.iter().map(|at| at.value.0.clone()).collect()
}

fn methods(raw: &raw::CacheRule, walk: &mut Walk<'_>) -> Vec<Method> {
    let Some(at) = raw.methods.given() else { return vec![Method::GET] };
    if at.value.is_empty {
        walk.wrong(
            &at.place,
            "an empty list keeps nothing; leave it out for GET, or write ttl = \"0s\" to keep nothing",
        );
    }
    values(&raw.methods, |method| method.0.clone())
}

fn snap(raw: &raw::Snap, walk: &mut Walk<'_>) -> Option<Snap> {
    let words =
        "needs start, end and step; write { start = \"startTime\", end = \"endTime\", step = \"1m\" }";
    let missing = raw.start.is_missing() || raw.end.is_missing() || raw.step.is_missing();
    if missing {
        walk.wrong(&raw.place, words);
    }
    let step = raw.step.given()?;
    if step.value.0.is_zero() {
        walk.wrong(&step.place, "nothing can be rounded to a step of 0; write at least \"1s\"");
    }
    Some(Snap {
        start: raw.start.value()?.clone(),
        end: raw.end.value()?.clone(),
        step: step.value.0,
        settles: raw.settles.value().map_or(DEFAULT_SETTLES, |lasting| lasting.0),
        settled_ttl: raw.settled_ttl.value().map(|lasting| lasting.0),
    })
}
