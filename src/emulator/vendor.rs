//! The emulated APIs: a closed set, one variant for each vendor.

use http::{Method, StatusCode};

use crate::clock::UnixTime;

use super::answer::{Answer, Ask};
use super::catchpoint::{self, Catchpoint};
use super::gate::Usage;
use super::generic::Origin;
use super::options::{Options, Vendor};

/// One vendor's API and its data.
#[derive(Debug)]
pub(crate) enum Api {
    Catchpoint(Box<Catchpoint>),
    Generic(Origin),
}

/// An API that is about to speak, with what it may have to say beside data.
pub(crate) enum Speaker<'a> {
    Catchpoint(&'a mut Catchpoint, catchpoint::Circumstances<'a>),
    Generic(&'a mut Origin),
}

impl Api {
    pub(crate) fn new(options: &Options) -> Self {
        match options.vendor {
            Vendor::Catchpoint => Self::Catchpoint(Box::new(Catchpoint::new(options))),
            Vendor::Generic => Self::Generic(Origin::default()),
        }
    }

    pub(crate) fn is_analytic(&self, method: &Method, path: &str) -> bool {
        match self {
            Self::Catchpoint(_) => catchpoint::is_analytic(method, path),
            Self::Generic(_) => true,
        }
    }

    pub(crate) fn speaker<'a>(&'a mut self, usage: &'a [Usage], trace: u128, now: UnixTime) -> Speaker<'a> {
        match self {
            Self::Catchpoint(api) => {
                Speaker::Catchpoint(api, catchpoint::Circumstances { usage, trace, now })
            }
            Self::Generic(origin) => Speaker::Generic(origin),
        }
    }
}

impl Speaker<'_> {
    pub(crate) fn answer(&mut self, ask: &Ask, division: Option<&str>) -> Answer {
        match self {
            Self::Catchpoint(api, circumstances) => api.answer(ask, division, circumstances),
            Self::Generic(origin) => origin.answer(ask),
        }
    }

    /// The 429 of `limits`.
    pub(crate) fn refuse(&mut self, limits: &[String]) -> Answer {
        match self {
            Self::Catchpoint(_, circumstances) => catchpoint::refuse(limits, circumstances),
            Self::Generic(_) => Origin::problem(StatusCode::TOO_MANY_REQUESTS, &limits.join(", ")),
        }
    }

    /// The 401.
    pub(crate) fn deny(&mut self, why: &str) -> Answer {
        match self {
            Self::Catchpoint(_, circumstances) => catchpoint::deny(why, circumstances),
            Self::Generic(_) => Origin::problem(StatusCode::UNAUTHORIZED, why),
        }
    }

    /// A fault: 500 in the API's own shape, others as a CDN's page.
    pub(crate) fn fail(&mut self, status: u16) -> Answer {
        match (status, self) {
            (500, Self::Catchpoint(_, circumstances)) => catchpoint::fail(circumstances),
            (500, Self::Generic(_)) => Origin::problem(StatusCode::INTERNAL_SERVER_ERROR, "as asked"),
            (status, _) => Answer::from_cdn(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)),
        }
    }

    /// The 413.
    pub(crate) fn too_large(&mut self) -> Answer {
        Answer::from_cdn(StatusCode::PAYLOAD_TOO_LARGE)
    }
}
