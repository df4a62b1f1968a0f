//! PrivX.
//!
//! Searches are POSTs that change nothing. Secrets are never kept, whatever a rule
//! says; trails are streamed. The path is `/SERVICE/api/v1/…`.

use http::{HeaderValue, Method, StatusCode};
use serde::Serialize;

use super::{ErrorBody, Manner};
use crate::pattern::{fold, segments};

/// Where a client and PrivX exchange credentials for a token.
pub(super) const TOKEN_PATH: &str = "/auth/api/v1/oauth/token";

const JSON: HeaderValue = HeaderValue::from_static("application/json");

pub(super) fn reads(method: &Method, path: &str) -> bool {
    match *method {
        Method::GET | Method::HEAD => true,
        Method::POST => segments(&fold(path)).last() == Some("search"),
        _ => false,
    }
}

pub(super) fn manner(path: &str) -> Manner {
    let path = fold(path);
    let holds_secrets = |segment: &str| {
        ["vault", "secret", "password", "credential"].iter().any(|word| segment.contains(word))
    };
    if segments(&path).any(|segment| segment.contains("trail")) {
        Manner::Stream
    } else if segments(&path).any(holds_secrets) {
        Manner::Alone
    } else {
        Manner::Shared
    }
}

pub(super) fn error_body(status: StatusCode, message: &str) -> ErrorBody {
    #[derive(Serialize)]
    struct Error<'a> {
        error_code: String,
        property: &'static str,
        details: [(); 0],
        message: &'a str,
    }
    let reason = status.canonical_reason().unwrap_or("Error");
    let error_code = reason.to_ascii_uppercase().replace([' ', '-'], "_");
    let error = Error { error_code, property: "", details: [], message };
    let bytes = serde_json::to_vec(&error).expect("texts have a JSON form");
    ErrorBody { content_type: JSON, bytes: bytes.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_read() {
        for (method, path, wanted) in [
            (Method::GET, "/role-store/api/v1/roles", true),
            (Method::POST, "/host-store/api/v1/hosts/search", true),
            (Method::POST, "/host-store/api/v1/hosts/Search/", true),
            (Method::POST, "/host-store/api/v1/hosts", false),
            (Method::POST, "/host-store/api/v1/search/hosts", false),
            (Method::PUT, "/host-store/api/v1/hosts/search", false),
            (Method::DELETE, "/host-store/api/v1/hosts/1", false),
        ] {
            assert_eq!(reads(&method, path), wanted, "{method} {path}");
        }
    }

    #[test]
    fn secrets_are_for_one_alone() {
        for (path, wanted) in [
            ("/host-store/api/v1/hosts/1", Manner::Shared),
            ("/role-store/api/v1/roles", Manner::Shared),
            ("/vault/api/v1/secrets/x", Manner::Alone),
            ("/secrets-manager/api/v1/targetdomains", Manner::Alone),
            ("/host-store/api/v1/hosts/1/passwords", Manner::Alone),
            ("/api/v1/host-secrets-and-passwords", Manner::Alone),
            ("/connection-manager/api/v1/connections/1/channel/2/trail", Manner::Stream),
            ("/trail-index/api/v1/index", Manner::Stream),
        ] {
            assert_eq!(manner(path), wanted, "{path}");
        }
    }

    #[test]
    fn errors_have_the_documented_members() {
        let body = error_body(StatusCode::BAD_REQUEST, "no \"x\"");
        assert_eq!(
            body.bytes,
            r#"{"error_code":"BAD_REQUEST","property":"","details":[],"message":"no \"x\""}"#
        );
        let body = error_body(StatusCode::TOO_MANY_REQUESTS, "wait");
        assert!(body.bytes.starts_with(br#"{"error_code":"TOO_MANY_REQUESTS","#), "{:?}", body.bytes);
    }
}
