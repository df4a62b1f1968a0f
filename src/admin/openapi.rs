//! `GET /api/v1/openapi.json`: the API as its own types describe it.

use axum::Json;
use utoipa::OpenApi;

/// Everything that programs may ask. `tests/ops` compares it with what is answered.
#[derive(OpenApi)]
#[openapi(
    info(title = "weir", description = "The operators' API of a weir gateway."),
    paths(
        super::status::show,
        super::events::show,
        super::usage::show,
        super::usage::history,
        super::purge::purge,
        super::reload::ask,
        show,
    )
)]
struct Api;

/// This description.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "about", responses(
    (status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object),
))]
pub(super) async fn show() -> Json<utoipa::openapi::OpenApi> {
    Json(Api::openapi())
}
