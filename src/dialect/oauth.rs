//! Vendors that exchange an id and a secret for a token that expires, seen from both
//! sides: how a consumer asks weir for one, and how weir asks the vendor.
//!
//! Pure. Who a consumer is, and what is issued, is not decided here.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{ErrorBody, catchpoint_v1, form, generic, privx};
use crate::pattern::fold;
use crate::secret::Secret;

/// Whose way of asking for tokens is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OAuth {
    /// A form of `client_credentials`.
    CatchpointV1,
    /// `password`, with a client of its own in Basic, or `client_credentials`.
    Privx,
}

/// What the vendor gave the account to sign in with.
#[derive(Clone, Debug)]
pub struct Client {
    /// The client's id.
    pub id: Secret,
    /// Its secret.
    pub secret: Secret,
    /// PrivX: the OAuth client in whose name an API client signs in by `password`.
    pub via: Option<Via>,
}

/// An OAuth client that goes in `Authorization: Basic`.
#[derive(Clone, Debug)]
pub struct Via {
    /// Its id.
    pub id: Secret,
    /// Its secret.
    pub secret: Secret,
}

/// What a consumer asks a token for.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Pairs of consumer and weir token, any of which may prove it.
    Credentials(Vec<(String, Secret)>),
    /// A refresh token that weir issued.
    Refresh(Secret),
}

/// Why no token is issued (RFC 6749, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantError {
    /// Something is missing, or there twice.
    Request,
    /// Another grant than those that weir knows.
    Unsupported,
    /// Nobody is known by these credentials.
    Client,
    /// The refresh token is not, or no longer, good.
    Grant,
    /// Known, but without access to this upstream.
    Unauthorized,
    /// Not now.
    Unavailable,
}

/// How weir asks the vendor.
#[derive(Debug)]
pub struct SignIn {
    /// Below the configured base path.
    pub path: &'static str,
    /// All that has to be sent beside the framing.
    pub headers: HeaderMap,
    /// The form; it holds the secret.
    pub form: Secret,
}

/// A token of the vendor's.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The token.
    pub access: Secret,
    /// How long it is valid from the moment it was asked for.
    pub lifetime: Duration,
}

/// How long a token is taken to be valid where the vendor does not say.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(300);
/// The longest lifetime that is believed.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 86_400);

impl OAuth {
    /// Where tokens are asked for.
    #[must_use]
    pub fn token_path(self) -> &'static str {
        match self {
            Self::CatchpointV1 => catchpoint_v1::TOKEN_PATH,
            Self::Privx => privx::TOKEN_PATH,
        }
    }

    /// Whether a request to `path` asks for a token.
    #[must_use]
    pub fn is_token_path(self, path: &str) -> bool {
        fold(path).trim_end_matches('/') == self.token_path()
    }

    /// How long tokens that weir issues are valid, unless config says otherwise.
    #[must_use]
    pub fn issued_lifetime(self) -> Duration {
        match self {
            Self::CatchpointV1 => Duration::from_secs(1_800),
            Self::Privx => Duration::from_secs(300),
        }
    }

    /// Whether a refresh token is issued with each token.
    #[must_use]
    pub fn refreshes(self) -> bool {
        self == Self::Privx
    }

    /// What a consumer's form asks.
    ///
    /// # Errors
    /// See [`GrantError`]; nothing of the form is repeated.
    pub fn asked(self, headers: &HeaderMap, body: &[u8]) -> Result<Asked, GrantError> {
        let field = |name| form::only(body, name).filter(|value| !value.is_empty());
        let pair = |id, secret| Some((field(id)?.into_owned(), Secret::new(field(secret)?.into_owned())));
        let (in_form, in_basic) = (pair("client_id", "client_secret"), basic(headers));
        let found: Vec<_> = match (self, field("grant_type").ok_or(GrantError::Request)?.as_ref()) {
            (_, "client_credentials") => in_basic.into_iter().chain(in_form).collect(),
            (Self::Privx, "password") => pair("username", "password").into_iter().chain(in_basic).collect(),
            (Self::Privx, "refresh_token") => {
                let token = field("refresh_token").ok_or(GrantError::Request)?;
                return Ok(Asked::Refresh(Secret::new(token.into_owned())));
            }
            _ => return Err(GrantError::Unsupported),
        };
        if found.is_empty() { Err(GrantError::Request) } else { Ok(Asked::Credentials(found)) }
    }

    /// The answer that hands a token to a consumer.
    #[must_use]
    pub fn answer(self, access: &Secret, lifetime: Duration, refresh: Option<&Secret>) -> Bytes {
        #[derive(Serialize)]
        struct Answer<'a> {
            access_token: &'a str,
            token_type: &'static str,
            expires_in: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            refresh_token: Option<&'a str>,
        }
        let answer = Answer {
            access_token: access.expose(),
            token_type: "Bearer",
            expires_in: lifetime.as_secs(),
            refresh_token: refresh.map(Secret::expose),
        };
        serde_json::to_vec(&answer).expect("texts and a number have a JSON form").into()
    }

    /// An error at the token endpoint, in the vendor's shape.
    #[must_use]
    pub fn error_body(self, error: GrantError, message: &str) -> ErrorBody {
        match self {
            Self::CatchpointV1 => catchpoint_v1::error_body(message),
            Self::Privx => {
                let message = serde_json::Value::from(message);
                let body = format!(r#"{{"error":"{}","error_description":{message}}}"#, error.as_str());
                ErrorBody { content_type: JSON, bytes: body.into() }
            }
        }
    }

    /// How the vendor is asked for a token.
    ///
    /// # Errors
    /// The ids and secrets cannot be put where they belong.
    pub fn sign_in(self, client: &Client) -> Result<SignIn, super::UnusableKey> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, JSON);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        super::supply_user_agent(&mut headers);
        let (id, secret) = (client.id.expose(), client.secret.expose());
        let mut form = Zeroizing::new(Vec::new());
        match (self, &client.via) {
            (Self::CatchpointV1, _) => {
                form::push(&mut form, "grant_type", "client_credentials");
                form::push(&mut form, "client_id", id);
                form::push(&mut form, "client_secret", secret);
            }
            (Self::Privx, Some(via)) => {
                put_basic(&mut headers, via.id.expose(), via.secret.expose())?;
                form::push(&mut form, "grant_type", "password");
                form::push(&mut form, "username", id);
                form::push(&mut form, "password", secret);
            }
            (Self::Privx, None) => {
                put_basic(&mut headers, id, secret)?;
                form::push(&mut form, "grant_type", "client_credentials");
            }
        }
        let form = String::from_utf8_lossy(&form).into_owned();
        Ok(SignIn { path: self.token_path(), headers, form: Secret::new(form) })
    }

    /// The token in the vendor's answer; none if there is none that can be sent.
    #[must_use]
    pub fn granted(self, body: &[u8]) -> Option<Granted> {
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
            #[serde(default)]
            expires_in: serde_json::Value,
        }
        let answer: Answer = serde_json::from_slice(body).ok()?;
        let access = Secret::new(answer.access_token);
        let seconds = match &answer.expires_in {
            serde_json::Value::String(text) => text.trim().parse().ok(),
            value => value.as_f64(),
        };
        let lifetime = seconds.filter(|s| *s > 0.0).map_or(DEFAULT_LIFETIME, |seconds| {
            Duration::try_from_secs_f64(seconds).unwrap_or(MAX_LIFETIME).min(MAX_LIFETIME)
        });
        generic::bears(&access).then_some(Granted { access, lifetime })
    }

    /// Whether the body of an error says that the token has expired, whatever its status.
    #[must_use]
    pub fn says_expired(self, body: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Error {
            #[serde(rename = "Message", alias = "message")]
            message: String,
        }
        let error: Option<Error> = serde_json::from_slice(body).ok();
        error.is_some_and(|error| error.message.to_ascii_lowercase().contains("expired token"))
    }
}

impl GrantError {
    /// The code of RFC 6749.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "invalid_request",
            Self::Unsupported => "unsupported_grant_type",
            Self::Client => "invalid_client",
            Self::Grant => "invalid_grant",
            Self::Unauthorized => "unauthorized_client",
            Self::Unavailable => "temporarily_unavailable",
        }
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// User and password of the only `Authorization: Basic`.
fn basic(headers: &HeaderMap) -> Option<(String, Secret)> {
    let decoded = Zeroizing::new(STANDARD.decode(generic::credentials(headers, b"basic")?).ok()?);
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    let given = !user.is_empty() && !password.is_empty();
    given.then(|| (user.to_owned(), Secret::new(password.to_owned())))
}

/// RFC 7617: the user ends at the first colon.
fn put_basic(headers: &mut HeaderMap, user: &str, password: &str) -> Result<(), super::UnusableKey> {
    if user.contains(':') {
        return Err(super::UnusableKey);
    }
    let encoded = Zeroizing::new(STANDARD.encode(Zeroizing::new(format!("{user}:{password}")).as_bytes()));
    generic::in_header(headers, AUTHORIZATION, &Zeroizing::new(format!("Basic {}", *encoded))).map(drop)
}

#[cfg(test)]
mod tests;
