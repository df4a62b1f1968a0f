//! `POST /api/v1/cache/purge`: drops what is kept, in all levels, also what is on its way.
//!
//! The body says what: `{"upstream": "catchpoint"}` for all of a vendor's, with one of
//! `"path"` (any query), `"prefix"` (of the path) or `"division"` (all that was fetched
//! with its key, so also what divisions with the same key see). The answer,
//! `{"purged": 3}`, comes when nothing of it can come back, not even after a crash, and no
//! replica that shares this weir's Redis serves it any more.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Admin, Watched};
use crate::cache::{Scope, Selector};
use crate::target::Target;

/// What is to be dropped: all of an upstream's, or of it one path, prefix or division.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    upstream: String,
    path: Option<String>,
    prefix: Option<String>,
    division: Option<String>,
}

/// What was dropped.
#[derive(Debug, Serialize, ToSchema)]
struct Purged {
    /// Answers.
    purged: u64,
}

/// Why nothing was purged: the caller's mistake.
type Mistake = (StatusCode, String);

#[utoipa::path(post, path = "/api/v1/cache/purge", tag = "control", request_body(content = Wanted), responses(
    (status = 200, description = "It is gone for good", body = Purged),
    (status = 400, description = "It cannot be understood", body = super::api::Problem),
    (status = 404, description = "There is no such upstream or division", body = super::api::Problem),
    (status = 503, description = "It is gone here, and may be met again after a crash, or on another replica", body = super::api::Problem),
))]
pub(super) async fn purge(State(admin): State<Arc<Admin>>, body: Bytes) -> Response {
    let selector = match selector(&admin.upstreams(), &body) {
        Ok(selector) => selector,
        Err((status, error)) => return answer(status, &json!({ "error": error })),
    };
    let cache = &admin.sources.cache;
    let purged = cache.purge(&selector);
    let confirmed = cache.confirmed().await;
    tracing::info!(?selector, purged, "cache purged");
    match confirmed {
        Ok(()) => axum::Json(Purged { purged }).into_response(),
        Err(error) => {
            let error = format!("it is gone from memory, but {error}");
            answer(StatusCode::SERVICE_UNAVAILABLE, &json!({ "purged": purged, "error": error }))
        }
    }
}

fn selector(upstreams: &[Watched], body: &[u8]) -> Result<Selector, Mistake> {
    let bad = |words: String| (StatusCode::BAD_REQUEST, words);
    let wanted: Wanted = serde_json::from_slice(body).map_err(|error| {
        bad(format!("{error}; write {{\"upstream\": …}} with path, prefix or division, or none"))
    })?;
    let names = upstreams.iter().map(|watched| watched.config.name.as_str());
    let upstream = upstreams.iter().find(|watched| watched.config.name.as_str() == wanted.upstream);
    let Some(Watched { config, .. }) = upstream else {
        return Err(unknown("upstream", names));
    };
    let name = config.name.clone();
    match (wanted.path, wanted.prefix, wanted.division) {
        (None, None, None) => Ok(Selector::Upstream(name)),
        (Some(path), None, None) => Ok(Selector::Path(name, canonical("path", &path).map_err(bad)?)),
        (None, Some(prefix), None) => Ok(Selector::Prefix(name, canonical("prefix", &prefix).map_err(bad)?)),
        (None, None, Some(division)) => {
            let divisions = &config.plan.divisions;
            let index = divisions.iter().position(|of| of.name.as_str() == division);
            let Some(index) = index else {
                return Err(unknown("division", divisions.iter().map(|of| of.name.as_str())));
            };
            let key = config.division_keys.get(index).copied().flatten();
            Ok(Selector::Scope(Scope { upstream: name, key: key.map(|key| config.keys[key].name.clone()) }))
        }
        _ => Err(bad("name one of path, prefix and division".into())),
    }
}

/// As it is keyed.
fn canonical(what: &str, path: &str) -> Result<String, String> {
    if path.contains('?') {
        return Err(format!("a {what} goes for any query; leave out '?' and what follows"));
    }
    let target = Target::parse(path, None).map_err(|error| format!("{what}: {error}"))?;
    Ok(target.path().to_owned())
}

fn unknown<'a>(what: &str, known: impl Iterator<Item = &'a str>) -> Mistake {
    let known = known.collect::<Vec<_>>().join(", ");
    (StatusCode::NOT_FOUND, format!("there is no such {what}; there are: {known}"))
}

fn answer(status: StatusCode, body: &serde_json::Value) -> Response {
    (status, axum::Json(body)).into_response()
}
