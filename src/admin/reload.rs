//! `POST /api/v1/reload`: asks for the configuration to be read again, and how
//! reloads went so far. Who carries them out is told through a channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::Admin;
use super::api::problem;
use crate::clock::UnixTime;

/// Somebody wants a reload, and to hear how it went.
#[derive(Debug)]
pub struct Order(pub oneshot::Sender<Verdict>);

/// How a reload went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The new configuration holds.
    Adopted(Adopted),
    /// Nothing has changed. Why: every mistake, in whole sentences.
    Refused(Vec<String>),
}

/// What came of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Adopted {
    /// What differs and holds only after a restart, in whole sentences.
    pub needs_restart: Vec<String>,
    /// What is allowed but worth saying.
    pub warnings: Vec<String>,
}

/// Why a reload was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Refused {
    error: String,
    /// Every mistake, in whole sentences.
    mistakes: Vec<String>,
}

/// Reloads since the start.
#[derive(Debug, Default)]
pub struct Reloads {
    adopted: AtomicU64,
    refused: AtomicU64,
    /// Nanoseconds since 1970 at which the last one was adopted, or 0.
    last_adopted: AtomicU64,
    last_was_refused: std::sync::atomic::AtomicBool,
}

impl Reloads {
    /// One has come to an end at `now`.
    pub fn count(&self, verdict: &Verdict, now: UnixTime) {
        let is_refused = matches!(verdict, Verdict::Refused(_));
        if is_refused { &self.refused } else { &self.adopted }.fetch_add(1, Ordering::Relaxed);
        self.last_was_refused.store(is_refused, Ordering::Relaxed);
        if !is_refused {
            self.last_adopted.store(now.as_nanos(), Ordering::Relaxed);
        }
    }

    /// Adopted and refused ones.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.adopted.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    /// When the last one was adopted.
    #[must_use]
    pub fn last_adopted(&self) -> Option<UnixTime> {
        Some(self.last_adopted.load(Ordering::Relaxed)).filter(|at| *at > 0).map(UnixTime::from_nanos)
    }

    /// Whether the file as it is now is not what holds.
    #[must_use]
    pub fn last_was_refused(&self) -> bool {
        self.last_was_refused.load(Ordering::Relaxed)
    }
}

/// Reads the configuration again. A wrong one changes nothing.
#[utoipa::path(post, path = "/api/v1/reload", tag = "control", responses(
    (status = 200, description = "It holds", body = Adopted),
    (status = 409, description = "It is wrong, and nothing has changed", body = Refused),
    (status = 503, description = "Nobody is there to reload: weir stops, or runs without a file", body = super::api::Problem),
))]
pub(super) async fn ask(State(admin): State<Arc<Admin>>) -> Response {
    let (tell, told) = oneshot::channel();
    let verdict = match admin.sources.orders.send(Order(tell)).await {
        Ok(()) => told.await.ok(),
        Err(_) => None,
    };
    match verdict {
        Some(Verdict::Adopted(adopted)) => Json(adopted).into_response(),
        Some(Verdict::Refused(mistakes)) => {
            let error = "the configuration is wrong; nothing has changed".to_owned();
            (StatusCode::CONFLICT, Json(Refused { error, mistakes })).into_response()
        }
        None => problem(StatusCode::SERVICE_UNAVAILABLE, "weir is stopping, or was started without a file"),
    }
}
