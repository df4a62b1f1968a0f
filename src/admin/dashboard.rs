//! `GET /`: the page for people. It holds nothing secret by itself and asks for
//! all it shows (and, where one is required, for the token) through the API.

use std::sync::Arc;

use axum::Router;

use super::Admin;

/// The page's routes; outside the guard, since a browser has no token to show yet.
pub(super) fn router() -> Router<Arc<Admin>> {
    Router::new()
}
