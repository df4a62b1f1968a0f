//! `GET /`: the page for people. It holds nothing secret by itself and asks for
//! all it shows (and, where one is required, for the token) through the API.
//!
//! One page of a few small files, all of them in the binary: no build step, and
//! nothing is asked of any other host, which its own policy forbids anyway.

use std::sync::Arc;

use axum::Router;
use axum::http::HeaderName;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;

use super::Admin;

/// Scripts, styles and data from this listener alone; no page may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Where each file is, what it is, and its text.
const FILES: [(&str, &str, &str); 7] = [
    ("/", "text/html; charset=utf-8", include_str!("dashboard/page.html")),
    ("/dashboard/style.css", "text/css; charset=utf-8", include_str!("dashboard/style.css")),
    ("/dashboard/icon.svg", "image/svg+xml", include_str!("dashboard/icon.svg")),
    ("/dashboard/app.js", JAVASCRIPT, include_str!("dashboard/app.js")),
    ("/dashboard/dom.js", JAVASCRIPT, include_str!("dashboard/dom.js")),
    ("/dashboard/plots.js", JAVASCRIPT, include_str!("dashboard/plots.js")),
    ("/dashboard/views.js", JAVASCRIPT, include_str!("dashboard/views.js")),
];

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The page's routes; outside the guard, since a browser has no token to show yet.
pub(super) fn router() -> Router<Arc<Admin>> {
    FILES.iter().fold(Router::new(), |router, (path, kind, text)| {
        router.route(path, get(move || async move { file(kind, text) }))
    })
}

fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    const SNIFF: HeaderName = HeaderName::from_static("x-content-type-options");
    const REFERRER: HeaderName = HeaderName::from_static("referrer-policy");
    let headers = [
        (CONTENT_TYPE, kind),
        // A weir that was upgraded shows its own page at once.
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (SNIFF, "nosniff"),
        (REFERRER, "no-referrer"),
    ];
    (headers, text)
}
