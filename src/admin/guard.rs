//! Who may look: a token where one is configured, and nobody by way of a browser
//! that another site drives.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Admin;
use crate::secret::{Secret, TokenHash};

/// What a request must bring.
pub(super) struct Guard {
    token: Option<TokenHash>,
    /// Names of ours, in lower case.
    hosts: Vec<String>,
}

impl Guard {
    pub(super) fn new(token: Option<&Secret>, hosts: &[String]) -> Self {
        let token = token.map(|token| TokenHash::of(token.expose().as_bytes()));
        Self { token, hosts: hosts.to_vec() }
    }

    /// Why a request with these headers is turned away, if it is.
    fn refuses(&self, headers: &HeaderMap, is_change: bool) -> Option<(StatusCode, &'static str)> {
        if !self.is_our_host(headers) {
            let words = "ask by address, as localhost, or by a name in admin.hosts\n";
            return Some((StatusCode::MISDIRECTED_REQUEST, words));
        }
        if is_cross_site(headers) {
            return Some((StatusCode::FORBIDDEN, "not from another site\n"));
        }
        // A form or a script of another site can send anything but this without asking first.
        if is_change && !is_json(headers) {
            let words = "send what changes something as application/json\n";
            return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, words));
        }
        let presented = headers.get(header::AUTHORIZATION).and_then(|value| {
            let value = value.as_bytes();
            let (scheme, token) = value.split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then(|| TokenHash::of(token.trim_ascii()))
        });
        match (&self.token, presented) {
            (None, _) => None,
            (Some(token), Some(presented)) if *token == presented => None,
            (Some(_), _) => Some((StatusCode::UNAUTHORIZED, "the admin token is required\n")),
        }
    }

    /// A name that an attacker's DNS can point here is no host of ours, unless it was
    /// configured: whole, since `weir.evil.example` can be pointed here too.
    fn is_our_host(&self, headers: &HeaderMap) -> bool {
        let Some(host) = headers.get(header::HOST) else { return true };
        let Ok(authority) = Authority::try_from(host.as_bytes()) else { return false };
        let name = authority.host().trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        let is_ours = |ours: &String| name.eq_ignore_ascii_case(ours);
        name.eq_ignore_ascii_case("localhost")
            || name.parse::<IpAddr>().is_ok()
            || self.hosts.iter().any(is_ours)
    }
}

/// Turns away whoever may not look.
pub(super) async fn check(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let is_change = !request.method().is_safe();
    match admin.guard.load().refuses(request.headers(), is_change) {
        None => next.run(request).await,
        Some((StatusCode::UNAUTHORIZED, words)) => {
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"weir admin\"")];
            (StatusCode::UNAUTHORIZED, challenge, words).into_response()
        }
        Some((status, words)) => (status, words).into_response(),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// `Sec-Fetch-Site` where the browser sends it, else `Origin` against `Host`.
fn is_cross_site(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return !matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    origin.to_str().ok().and_then(|origin| origin.split_once("://")).is_none_or(|(_, of)| of != host)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn refuses(guard: &Guard, fields: &[(&'static str, &'static str)]) -> Option<u16> {
        let headers =
            fields.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect();
        guard.refuses(&headers, false).map(|(status, _)| status.as_u16())
    }

    #[test]
    fn loopback_is_no_authentication() {
        let open = Guard::new(None, &[]);
        assert_eq!(refuses(&open, &[("host", "127.0.0.1:9090")]), None);
        assert_eq!(refuses(&open, &[("host", "[::1]:9090")]), None);
        assert_eq!(refuses(&open, &[("host", "localhost:9090")]), None);
        assert_eq!(refuses(&open, &[("host", "rebound.example:9090")]), Some(421));
        let from = |origin| [("host", "localhost:9090"), ("origin", origin)];
        assert_eq!(refuses(&open, &from("http://localhost:9090")), None);
        assert_eq!(refuses(&open, &from("http://evil.example")), Some(403));
        assert_eq!(refuses(&open, &[("host", "localhost"), ("sec-fetch-site", "cross-site")]), Some(403));
    }

    #[test]
    fn configured_names_are_ours_and_no_others() {
        let named = Guard::new(None, &["weir".into(), "weir.monitoring.svc".into()]);
        for host in ["weir:9090", "WEIR", "weir.monitoring.svc:9090", "weir.monitoring.svc.", "10.0.0.1"] {
            assert_eq!(refuses(&named, &[("host", host)]), None, "{host}");
        }
        for host in ["weir.evil.example", "evil-weir", "monitoring.svc", "a@weir.evil.example", ""] {
            assert_eq!(refuses(&named, &[("host", host)]), Some(421), "{host}");
        }
        let from_there = [("host", "weir:9090"), ("origin", "http://evil.example")];
        assert_eq!(refuses(&named, &from_there), Some(403));
    }

    #[test]
    fn what_changes_something_is_json() {
        let json = HeaderMap::from_iter([(
            header::CONTENT_TYPE,
            "application/json; charset=utf-8".parse().unwrap(),
        )]);
        let form = HeaderMap::from_iter([(header::CONTENT_TYPE, "text/plain".parse().unwrap())]);
        let open = Guard::new(None, &[]);
        assert_eq!(open.refuses(&json, true), None);
        for headers in [form, HeaderMap::new()] {
            assert_eq!(open.refuses(&headers, true).unwrap().0, 415);
        }
    }

    #[test]
    fn a_token_is_asked_for() {
        let guard = Guard::new(Some(&Secret::new("s3cret".into())), &[]);
        assert_eq!(refuses(&guard, &[]), Some(401));
        assert_eq!(refuses(&guard, &[("authorization", "Bearer wrong")]), Some(401));
        assert_eq!(refuses(&guard, &[("authorization", "bearer s3cret")]), None);
    }
}
