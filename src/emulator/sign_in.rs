//! The token endpoints: `POST /ui/api/token` of Catchpoint v1, and
//! `POST /auth/api/v1/oauth/token` of PrivX.
//!
//! A key is an id and a secret: its label and secret if it was spelt `ID:SECRET`
//! with an id that may name a division, else what stands around its first colon.
//! Without any key, every id with any secret is signed in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::answer::{Answer, Ask, Query};
use super::keyring::Keyring;
use super::options::{Credential, Key, Vendor};
use super::tokens::Kind;
use super::{catchpoint_v1, privx};

/// Whether `path` is where `vendor` signs callers in.
pub(crate) fn is_at(vendor: Vendor, path: &str) -> bool {
    match vendor {
        Vendor::CatchpointV1 => path.eq_ignore_ascii_case("/ui/api/token"),
        Vendor::Privx => path == "/auth/api/v1/oauth/token",
        Vendor::Catchpoint | Vendor::RecordedFutureSandbox | Vendor::Netskope | Vendor::Generic => false,
    }
}

/// Gives out a token, or says why not.
pub(crate) fn answer(keyring: &mut Keyring, ask: &Ask, oauth_client: Option<&Credential>) -> Answer {
    if ask.method != Method::POST {
        return refused(keyring, StatusCode::METHOD_NOT_ALLOWED, "invalid_request");
    }
    let form = Query::parse(&String::from_utf8_lossy(&ask.body));
    let is_form = media_type(&ask.headers).as_deref() == Some("application/x-www-form-urlencoded");
    let granted = match (keyring.vendor(), form.get("grant_type")) {
        _ if !is_form => Err("invalid_request"),
        (_, None) => Err("invalid_request"),
        (Vendor::CatchpointV1, Some("client_credentials")) => {
            grant(keyring, (form.get("client_id"), form.get("client_secret")), ask)
        }
        (Vendor::Privx, Some("client_credentials")) => match basic(&ask.headers) {
            Some((id, secret)) => grant(keyring, (Some(&id), Some(&secret)), ask),
            None => Err("invalid_client"),
        },
        (Vendor::Privx, Some("password" | "refresh_token")) if !is_client(&ask.headers, oauth_client) => {
            Err("invalid_client")
        }
        (Vendor::Privx, Some("password")) => {
            grant(keyring, (form.get("username"), form.get("password")), ask)
        }
        (Vendor::Privx, Some("refresh_token")) => {
            let token = form.get("refresh_token").unwrap_or_default();
            match keyring.tokens.find(Kind::Refresh, token, ask.now) {
                Some((key, true)) => Ok(key),
                _ => Err("invalid_grant"),
            }
        }
        _ => Err("unsupported_grant_type"),
    };
    match granted {
        Ok(key) => issue(keyring, key, ask),
        Err(error) => refused(keyring, StatusCode::BAD_REQUEST, error),
    }
}

/// The id and the secret of a key.
pub(crate) fn parts(key: &Key) -> (&str, &str) {
    match (&key.division, key.secret.expose().split_once(':')) {
        (None, Some((id, secret))) => (id, secret),
        _ => (&key.label, key.secret.expose()),
    }
}

/// The key of this id and secret; any, if there are no keys.
fn grant(
    keyring: &Keyring,
    (id, secret): (Option<&str>, Option<&str>),
    ask: &Ask,
) -> Result<Option<usize>, &'static str> {
    let (Some(id), Some(secret)) = (id, secret) else { return Err("invalid_request") };
    if keyring.is_open() {
        return Ok(None);
    }
    let found = keyring.find(ask.now, |key| parts(key) == (id, secret));
    found.map(Some).ok_or("invalid_grant")
}

fn issue(keyring: &mut Keyring, key: Option<usize>, ask: &Ask) -> Answer {
    let access = keyring.tokens.issue(Kind::Access, key, ask.now);
    let seconds = keyring.tokens.lifetime().as_secs();
    let mut body = json!({"access_token": access, "token_type": "Bearer", "expires_in": seconds});
    if keyring.vendor() == Vendor::Privx {
        body["refresh_token"] = Value::from(keyring.tokens.issue(Kind::Refresh, key, ask.now));
    }
    keyring.tokens.signed_in.granted += 1;
    let mut answer = Answer::json(StatusCode::OK, &body);
    answer.set(header::CACHE_CONTROL, "no-store");
    answer
}

fn refused(keyring: &mut Keyring, status: StatusCode, error: &str) -> Answer {
    keyring.tokens.signed_in.refused += 1;
    match keyring.vendor() {
        Vendor::Privx => privx::oauth_error(error),
        _ => catchpoint_v1::error(status, &format!("The token request was refused: {error}.")),
    }
}

/// `Authorization: Basic` of the OAuth client that programs share.
fn is_client(headers: &HeaderMap, expected: Option<&Credential>) -> bool {
    let expected = expected.and_then(|client| client.expose().split_once(':'));
    match (basic(headers), expected) {
        (Some(_), None) => true,
        (Some((id, secret)), Some(expected)) => (id.as_str(), secret.as_str()) == expected,
        (None, _) => false,
    }
}

/// Id and secret, which RFC 6749 (section 2.3.1) has percent-encoded; those that
/// hold no percent sign read the same without.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, encoded) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(encoded.trim()).ok())??;
    let text = String::from_utf8(decoded).ok()?;
    let (id, secret) = text.split_once(':')?;
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    Some((plain(id), plain(secret)))
}

/// The essence of `Content-Type`, in lower case.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let typed = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(typed.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}
