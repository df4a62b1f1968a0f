//! Why a fetch brought no answer, or broke off; what follows from it is asked here.

use super::tokens::SignInFault;
use crate::budget::LedgerDown;
use crate::upstream::{BodyError, Failure, Reason};

/// Why a fetch brought no answer, or broke off.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Fault {
    /// Nothing left; the charge was refunded.
    #[error("{0}")]
    Unsent(Failure),
    /// It left, or may have, and no head came back.
    #[error("{0}")]
    Unanswered(Failure),
    /// The body broke off.
    #[error("{0}")]
    Body(BodyError),
    /// The body cannot be read.
    #[error("its coding is corrupt")]
    Corrupt,
    /// The vendor has been failing; it is not asked for some seconds.
    #[error("the vendor has been failing and is let be for some seconds")]
    Open,
    /// To be tried again, by whoever still wants it: paid for, and answered by
    /// nothing that is worth passing on.
    #[error("to be tried again")]
    Again,
    /// The vendor answered 429; back to the queue.
    #[error("the vendor answered 429")]
    Limited,
    /// Its grant grew old while the vendor refused others; back to the queue.
    #[error("its grant grew old")]
    Outdated,
    /// The vendor's token was refused between the search for it and the send; to be
    /// looked for again. Nothing left.
    #[error("the vendor's token is gone")]
    TokenGone,
    /// There is no token of the vendor's to be had now.
    #[error("the vendor gives no token ({})", .0.as_str())]
    SignIn(SignInFault),
    /// No usable key.
    #[error("the vendor's key cannot be sent")]
    Key,
    /// It could not be booked, so it was not sent.
    #[error("{0}")]
    Ledger(LedgerDown),
}

impl Fault {
    /// One word for log, metric and `Proxy-Status` (RFC 9209, section 2.3).
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Unsent(failure) | Self::Unanswered(failure) => failure.reason.as_str(),
            Self::Body(error) => error.reason().as_str(),
            Self::Corrupt => "http_response_content_coding",
            Self::Open => "destination_unavailable",
            Self::Again | Self::Outdated | Self::TokenGone => "retry",
            Self::SignIn(fault) => fault.as_str(),
            Self::Limited => "http_request_denied",
            Self::Key => "proxy_configuration_error",
            Self::Ledger(_) => "proxy_internal_error",
        }
    }

    /// Whether it is the caller's own body that broke off, or grew too large.
    pub(super) fn is_callers(&self) -> bool {
        matches!(self, Self::Unsent(f) | Self::Unanswered(f) if f.reason == Reason::HttpRequestError)
    }

    /// Whether the account was charged all the same.
    pub(super) fn was_charged(&self) -> bool {
        match self {
            Self::Unanswered(_) | Self::Body(_) | Self::Corrupt | Self::Again | Self::Limited => true,
            Self::Unsent(_)
            | Self::Open
            | Self::Outdated
            | Self::TokenGone
            | Self::SignIn(_)
            | Self::Key
            | Self::Ledger(_) => false,
        }
    }

    /// Whether the vendor was too slow: 504 and not 502.
    pub(super) fn is_timeout(&self) -> bool {
        match self {
            Self::Unsent(failure) | Self::Unanswered(failure) => failure.reason.is_timeout(),
            Self::Body(error) => error.reason().is_timeout(),
            Self::Corrupt
            | Self::Open
            | Self::Again
            | Self::Limited
            | Self::Outdated
            | Self::TokenGone
            | Self::SignIn(_)
            | Self::Key
            | Self::Ledger(_) => false,
        }
    }
}
