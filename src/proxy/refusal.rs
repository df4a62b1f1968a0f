//! Every answer that weir makes in the vendor's stead, and its status.
//!
//! The only file that chooses a status. A [`No`] names who is at fault (caller,
//! budget, vendor, weir); its body has the shape of the vendor's own errors, so
//! that an unmodified client understands it.

use std::time::Duration;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use sfv::{KeyRef, StringRef, TokenRef};

use super::body::Body;
use super::fault::Fault;
use super::pages::NotWhole;
use crate::budget;
use crate::consumer::SignIn;
use crate::dialect::oauth::GrantError;
use crate::dialect::{Dialect, OAuth};
use crate::id::RequestId;
use crate::target::BadTarget;
use crate::telemetry::Outcome;

/// Why weir answers for itself.
#[derive(Debug)]
pub(super) enum No {
    /// The path or query is ambiguous.
    Target(BadTarget),
    /// The request is malformed in another way; says how.
    Malformed(&'static str),
    /// The dialect can tell that the vendor would refuse it; says why.
    Invalid(String),
    /// A body larger than is passed on.
    TooLarge,
    /// Unknown caller.
    SignIn(SignIn),
    /// A token is asked for in a way that gives none.
    Grant(GrantError),
    /// Known, but not allowed there; says what is missing.
    Forbidden(String),
    /// No upstream at this path or host.
    NotRouted,
    /// TRACE, or a method override.
    Method,
    /// CONNECT or Upgrade.
    NotImplemented,
    /// The caller's own inbound rate.
    Inbound {
        /// Until the next one is taken.
        retry_after: Duration,
    },
    /// The budget's honest no.
    Budget(budget::Refusal),
    /// `only-if-cached`, and it is not (RFC 9111, section 5.2.1.7).
    OnlyIfCached,
    /// A list whose pages cannot become one.
    Pages(NotWhole),
    /// Nothing can be booked, so nothing may leave.
    Ledger,
    /// The vendor failed.
    Vendor(Fault),
    /// The fetch ended without an answer, and not by the vendor's fault.
    Abandoned,
    /// Weir is stopping.
    Stopping,
}

impl No {
    /// Its consumer has, or by a reload had, access to other upstreams only.
    pub(super) fn no_access() -> Self {
        Self::Forbidden("weir: this consumer has no access to this upstream.".into())
    }

    /// The status; one total mapping.
    fn status(&self) -> StatusCode {
        match self {
            Self::Target(_) | Self::Malformed(_) | Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::SignIn(SignIn::TooManyFailures { .. }) => StatusCode::TOO_MANY_REQUESTS,
            Self::SignIn(_) => StatusCode::UNAUTHORIZED,
            Self::Grant(_) => StatusCode::BAD_REQUEST,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotRouted => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::Budget(refusal) if is_our_own(refusal.reason) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Inbound { .. } | Self::Budget(..) => StatusCode::TOO_MANY_REQUESTS,
            Self::OnlyIfCached => StatusCode::GATEWAY_TIMEOUT,
            Self::Pages(why) if why.is_callers() => StatusCode::BAD_REQUEST,
            Self::Pages(NotWhole::Full) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Pages(_) => StatusCode::BAD_GATEWAY,
            Self::Vendor(Fault::Limited) => StatusCode::TOO_MANY_REQUESTS,
            Self::Vendor(error) if error.is_callers() => StatusCode::BAD_REQUEST,
            Self::Vendor(error) if error.is_timeout() => StatusCode::GATEWAY_TIMEOUT,
            Self::Vendor(_) => StatusCode::BAD_GATEWAY,
            Self::Ledger | Self::Abandoned | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The reason in one word or two, for the log.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Target(_) => "bad-target",
            Self::Malformed(_) => "malformed",
            Self::Invalid(_) => "invalid",
            Self::TooLarge => "too-large",
            Self::SignIn(why) => why.as_str(),
            Self::Grant(why) => why.as_str(),
            Self::Forbidden(_) => "not-allowed",
            Self::NotRouted => "no-upstream",
            Self::Method => "method",
            Self::NotImplemented => "not-implemented",
            Self::Inbound { .. } => "inbound-rate",
            Self::Budget(refusal) => refusal.reason.as_str(),
            Self::OnlyIfCached => "only-if-cached",
            Self::Pages(why) => why.as_str(),
            Self::Vendor(error) => error.as_str(),
            Self::Ledger => "ledger-down",
            Self::Abandoned => "abandoned",
            Self::Stopping => "stopping",
        }
    }

    /// How the exchange ended.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Inbound { .. } | Self::Budget(..) | Self::OnlyIfCached => Outcome::Refused,
            Self::Pages(why) if why.is_callers() => Outcome::Rejected,
            Self::Pages(_) | Self::Ledger | Self::Vendor(_) | Self::Abandoned | Self::Stopping => {
                Outcome::Failed
            }
            Self::Target(_)
            | Self::Malformed(_)
            | Self::Invalid(_)
            | Self::TooLarge
            | Self::SignIn(_)
            | Self::Grant(_)
            | Self::Forbidden(_)
            | Self::NotRouted
            | Self::Method
            | Self::NotImplemented => Outcome::Rejected,
        }
    }

    /// The error type of RFC 9209, section 2.3.
    fn proxy_error(&self) -> &'static str {
        match self {
            Self::Target(_) | Self::Malformed(_) | Self::Invalid(_) | Self::TooLarge => "http_request_error",
            Self::SignIn(_) | Self::Grant(_) | Self::Forbidden(_) | Self::Method | Self::NotImplemented => {
                "http_request_denied"
            }
            Self::Budget(refusal) if refusal.reason == budget::Reason::StoreLost => "proxy_internal_error",
            Self::Inbound { .. } | Self::Budget(..) | Self::OnlyIfCached => "http_request_denied",
            Self::NotRouted => "destination_not_found",
            Self::Pages(why) if why.is_callers() => "http_request_error",
            Self::Pages(NotWhole::Full) => "proxy_internal_response",
            Self::Pages(_) => "http_protocol_error",
            Self::Vendor(error) => error.as_str(),
            Self::Ledger => "proxy_internal_error",
            Self::Abandoned | Self::Stopping => "proxy_internal_response",
        }
    }

    /// What exactly stopped it, for `Proxy-Status`.
    pub(super) fn details(&self) -> String {
        match self {
            Self::Inbound { .. } => "inbound rate".to_owned(),
            Self::Budget(refusal) if refusal.reason == budget::Reason::Loading => {
                "the ledger is not loaded yet".to_owned()
            }
            Self::Budget(refusal) if refusal.reason == budget::Reason::StoreLost => {
                "the shared ledger cannot be reached".to_owned()
            }
            Self::Budget(refusal) => refusal.to_string(),
            Self::Ledger => "the ledger cannot be written".to_owned(),
            // Told apart in the log alone, as in the message.
            Self::SignIn(
                SignIn::Missing | SignIn::Unknown | SignIn::WrongAddress(_) | SignIn::WrongCertificate(_),
            ) => "credentials".to_owned(),
            other => other.reason().to_owned(),
        }
    }

    /// One sentence for whoever reads the body.
    fn message(&self) -> String {
        match self {
            Self::Target(why) => format!("weir: {why}."),
            Self::Malformed(why) => format!("weir: {why}."),
            Self::TooLarge => "weir: the request body is larger than is passed on.".into(),
            Self::Invalid(why) | Self::Forbidden(why) => why.clone(),
            Self::SignIn(SignIn::TooManyFailures { .. }) => {
                "weir: too many failed sign-ins from this address.".into()
            }
            Self::SignIn(SignIn::Expired) => "weir: Expired token; sign in again.".into(),
            // One sentence for all: who holds a stolen token should not learn that it is one.
            Self::SignIn(_) => "Invalid credentials".into(),
            Self::Grant(why) => format!("weir: no token is issued for this request ({}).", why.as_str()),
            Self::NotRouted => "weir: no upstream is reached at this path or host.".into(),
            Self::Method => "weir: this method, or a method override, is not passed on.".into(),
            Self::NotImplemented => "weir: CONNECT and protocol upgrades are not passed on.".into(),
            Self::Inbound { .. } => "weir: this consumer asks faster than its inbound rate allows.".into(),
            Self::Budget(refusal) if refusal.reason == budget::Reason::Loading => {
                "weir: what was spent before this instance is not known yet; try again.".into()
            }
            Self::Budget(refusal) if refusal.reason == budget::Reason::StoreLost => {
                "weir: the ledger that this company's gateways share cannot be reached, so nothing may leave; \
                 try again."
                    .into()
            }
            Self::Budget(refusal) => {
                format!(
                    "weir: the allowance shared by this company does not admit this request now ({refusal})."
                )
            }
            Self::OnlyIfCached => "weir: only-if-cached was asked, and no such answer is kept.".into(),
            Self::Pages(why) => format!("weir: {why}."),
            Self::Vendor(error) => format!("weir: the vendor did not answer ({}).", error.as_str()),
            Self::Ledger => "weir: the ledger cannot be written, so nothing may leave; try again.".into(),
            Self::Abandoned => "weir: the request was given up; try again.".into(),
            Self::Stopping => "weir: this instance is stopping; try again.".into(),
        }
    }

    /// The same where clients exchange tokens: they renew at this word alone, and the
    /// key or the weir token that theirs was signed for may have been changed.
    fn message_of(&self, oauth: Option<OAuth>) -> String {
        match self {
            Self::SignIn(SignIn::Unknown) if oauth.is_some() => {
                "weir: Invalid credentials or Expired token; sign in again.".into()
            }
            other => other.message(),
        }
    }

    /// The code of RFC 6749 for whoever asks for a token.
    fn grant_error(&self) -> GrantError {
        match self {
            Self::Grant(error) => *error,
            Self::SignIn(_) => GrantError::Client,
            Self::Forbidden(_) => GrantError::Unauthorized,
            Self::Inbound { .. } | Self::Stopping | Self::Abandoned => GrantError::Unavailable,
            _ => GrantError::Request,
        }
    }

    /// Seconds for `Retry-After`: rounded up, at least 1.
    pub(super) fn retry_after(&self) -> Option<u64> {
        let wait = match self {
            Self::Inbound { retry_after } | Self::SignIn(SignIn::TooManyFailures { retry_after }) => {
                *retry_after
            }
            // Redis may be back at any moment.
            Self::Budget(refusal) if refusal.reason == budget::Reason::StoreLost => Duration::from_secs(1),
            Self::Budget(refusal) => refusal.retry_after,
            Self::Ledger
            | Self::Abandoned
            | Self::Stopping
            | Self::Vendor(Fault::Limited)
            | Self::Pages(NotWhole::Full) => Duration::from_secs(1),
            _ => return None,
        };
        Some((wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1))
    }

    /// The answer, in the shape that `dialect` gives its errors.
    pub(super) fn answer(
        &self,
        (dialect, oauth): (Option<&Dialect>, Option<OAuth>),
        id: RequestId,
    ) -> Response<Body> {
        let status = self.status();
        let body = match oauth {
            Some(oauth) => oauth.error_body(self.grant_error(), &self.message()),
            None => {
                let message = self.message_of(dialect.and_then(Dialect::oauth));
                Dialect::error_of(dialect, status, &message, &id.to_string())
            }
        };
        let mut response = Response::new(Body::from(body.bytes));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, body.content_type);
        headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(HeaderName::from_static("proxy-status"), self.proxy_status());
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"weir\""));
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(
                http::header::ALLOW,
                HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
            );
        }
        response
    }

    /// `weir; error=…; details="…"` (RFC 9209, section 2).
    fn proxy_status(&self) -> HeaderValue {
        let details = self.details();
        let mut list = sfv::ListSerializer::new();
        let item =
            list.bare_item(token("weir")).parameter(KeyRef::constant("error"), token(self.proxy_error()));
        if let Ok(details) = StringRef::from_str(&details) {
            let _ = item.parameter(KeyRef::constant("details"), details);
        }
        list.finish()
            .and_then(|text| HeaderValue::try_from(text).ok())
            .unwrap_or_else(|| HeaderValue::from_static("weir"))
    }
}

impl From<NotWhole> for No {
    fn from(why: NotWhole) -> Self {
        Self::Pages(why)
    }
}

/// Whether weir itself, and not an allowance, is what stops a request.
fn is_our_own(reason: budget::Reason) -> bool {
    matches!(reason, budget::Reason::AllQueuesFull | budget::Reason::Loading | budget::Reason::StoreLost)
}

fn token(text: &'static str) -> &'static TokenRef {
    TokenRef::from_str(text).unwrap_or(TokenRef::constant("proxy_internal_error"))
}
