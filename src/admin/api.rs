//! `/api/v1`: one line per path, and the form of its errors.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Admin, events, openapi, purge, reload, status, usage};

/// Everything below `/api/v1`, behind the guard. What changes something is a POST.
pub(super) fn router() -> Router<Arc<Admin>> {
    Router::new()
        .route("/status", get(status::show))
        .route("/events", get(events::show))
        .route("/usage", get(usage::show))
        .route("/history", get(usage::history))
        .route("/cache/purge", post(purge::purge))
        .route("/reload", post(reload::ask))
        .route("/openapi.json", get(openapi::show))
}

/// Why a request was not carried out.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// One sentence that says what to do.
    pub(super) error: String,
}

/// An error of the API.
pub(super) fn problem(status: StatusCode, error: impl Into<String>) -> Response {
    (status, Json(Problem { error: error.into() })).into_response()
}
