//! The emulated APIs: a closed set, one variant for each vendor.

use http::{Method, StatusCode};

use crate::clock::UnixTime;

use super::answer::{Answer, Ask};
use super::catchpoint::{self, Catchpoint};
use super::catchpoint_v1::{self, CatchpointV1};
use super::gate::Usage;
use super::generic::Origin;
use super::netskope::{self, Netskope};
use super::options::{Options, Vendor};
use super::privx::{self, Privx};
use super::recorded_future::{self, RecordedFuture};

/// One vendor's API and its data.
#[derive(Debug)]
pub(crate) enum Api {
    Catchpoint(Box<Catchpoint>),
    CatchpointV1(Box<CatchpointV1>),
    RecordedFuture(Box<RecordedFuture>),
    Privx(Box<Privx>),
    Netskope(Box<Netskope>),
    Generic(Origin),
}

/// What an answer may tell beside its data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances<'a> {
    pub(crate) usage: &'a [Usage],
    pub(crate) trace: u128,
    pub(crate) now: UnixTime,
}

/// Why a caller is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    Unknown,
    Expired,
}

/// An API that is about to speak.
pub(crate) struct Speaker<'a> {
    pub(crate) api: &'a mut Api,
    pub(crate) with: Circumstances<'a>,
}

impl Api {
    pub(crate) fn new(options: &Options) -> Self {
        match options.vendor {
            Vendor::Catchpoint => Self::Catchpoint(Box::new(Catchpoint::new(options))),
            Vendor::CatchpointV1 => Self::CatchpointV1(Box::new(CatchpointV1::new(options))),
            Vendor::RecordedFutureSandbox => Self::RecordedFuture(Box::new(RecordedFuture::new(options))),
            Vendor::Privx => Self::Privx(Box::new(Privx::new(options))),
            Vendor::Netskope => Self::Netskope(Box::new(Netskope::new(options))),
            Vendor::Generic => Self::Generic(Origin::default()),
        }
    }

    /// Whether limits of the class `analytic` count this request.
    pub(crate) fn is_analytic(&self, method: &Method, path: &str) -> bool {
        match self {
            Self::Catchpoint(_) => catchpoint::is_analytic(method, path),
            Self::CatchpointV1(_) => catchpoint_v1::is_analytic(path),
            Self::RecordedFuture(_) | Self::Privx(_) | Self::Netskope(_) | Self::Generic(_) => true,
        }
    }
}

impl Speaker<'_> {
    /// Answers a request of somebody who is let in; `label` and `division` are
    /// those of the key.
    pub(crate) fn answer(&mut self, ask: &Ask, label: &str, division: Option<&str>) -> Answer {
        match self.api {
            Api::Catchpoint(api) => api.answer(ask, division, &self.with),
            Api::CatchpointV1(api) => api.answer(ask),
            Api::RecordedFuture(api) => api.answer(ask, label),
            Api::Privx(api) => api.answer(ask),
            Api::Netskope(api) => api.answer(ask, label, &self.with),
            Api::Generic(origin) => origin.answer(ask),
        }
    }

    /// The 429 of `limits`.
    pub(crate) fn refuse(&mut self, limits: &[String]) -> Answer {
        const STATUS: StatusCode = StatusCode::TOO_MANY_REQUESTS;
        let which = limits.join(", ");
        match self.api {
            Api::Catchpoint(_) => catchpoint::refuse(limits, &self.with),
            Api::CatchpointV1(_) => {
                catchpoint_v1::error(STATUS, &format!("The API limit has been exceeded: {which}."))
            }
            // Among the codes of its documents there is none for it.
            Api::RecordedFuture(_) => Answer::from_cdn(STATUS),
            Api::Privx(_) => privx::error(STATUS, "TOO_MANY_REQUESTS", "", &which),
            Api::Netskope(_) => netskope::refuse(&which, &self.with),
            Api::Generic(_) => Origin::problem(STATUS, &which),
        }
    }

    /// The 401, or what the vendor says instead.
    pub(crate) fn deny(&mut self, why: Denial, path: &str) -> Answer {
        const STATUS: StatusCode = StatusCode::UNAUTHORIZED;
        let words = match why {
            Denial::Unknown => "Invalid credentials",
            Denial::Expired => "Expired Token",
        };
        match self.api {
            Api::Catchpoint(_) => catchpoint::deny(words, &self.with),
            Api::CatchpointV1(_) => catchpoint_v1::deny(why),
            Api::RecordedFuture(_) => recorded_future::error(STATUS, "UNAUTHORIZED", words),
            Api::Privx(_) => privx::error(STATUS, "UNAUTHORIZED", "", words),
            Api::Netskope(_) => netskope::deny(path),
            Api::Generic(_) => Origin::problem(STATUS, words),
        }
    }

    /// A fault: 500 in the API's own shape, others as a CDN's page.
    pub(crate) fn fail(&mut self, status: u16) -> Answer {
        const STATUS: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;
        match (status, &mut *self.api) {
            (500, Api::Catchpoint(_)) => catchpoint::fail(&self.with),
            (500, Api::CatchpointV1(_)) => catchpoint_v1::error(STATUS, "An error has occurred."),
            (500, Api::RecordedFuture(_)) => recorded_future::error(STATUS, "INTERNAL", "internal error"),
            (500, Api::Privx(_)) => privx::error(STATUS, "INTERNAL_ERROR", "", "an internal error occurred"),
            (500, Api::Netskope(_)) => netskope::error(STATUS, "Internal Error", "as asked"),
            (503, Api::Netskope(_)) => {
                netskope::error(StatusCode::SERVICE_UNAVAILABLE, "Maintenance", "down for maintenance")
            }
            (500, Api::Generic(_)) => Origin::problem(STATUS, "as asked"),
            (status, _) => Answer::from_cdn(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)),
        }
    }

    /// The 413.
    pub(crate) fn too_large(&mut self) -> Answer {
        Answer::from_cdn(StatusCode::PAYLOAD_TOO_LARGE)
    }
}
