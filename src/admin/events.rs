//! `GET /api/v1/events`: the status once a second, as server-sent events.
//!
//! Nothing is worked out while nobody listens; whoever listens at the same time
//! shares one snapshot. Subscribers are bounded; those beyond are told so.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::api::problem;
use super::{Admin, status};
use crate::clock::Moment;

/// Listeners at one time.
const MAX_SUBSCRIBERS: usize = 64;
/// From one event to the next.
const EVERY: Duration = Duration::from_secs(1);
/// A snapshot may be shared for this long.
const MAX_AGE: Duration = Duration::from_millis(900);

/// What all streams share.
pub(super) struct Events {
    places: Arc<Semaphore>,
    last: Mutex<Option<(Moment, Arc<str>)>>,
}

impl Default for Events {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(MAX_SUBSCRIBERS)), last: Mutex::default() }
    }
}

/// One listener, between two events.
struct Subscriber {
    admin: Arc<Admin>,
    next: Moment,
    over: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

/// A stream of `status` events, each the JSON of `GET /api/v1/status`.
#[utoipa::path(get, path = "/api/v1/events", tag = "status", responses(
    (status = 200, description = "Server-sent events: `status`, once a second", content_type = "text/event-stream", body = String),
    (status = 503, description = "Too many listen already", body = super::api::Problem),
))]
pub(super) async fn show(State(admin): State<Arc<Admin>>) -> Response {
    let Ok(place) = Arc::clone(&admin.events.places).try_acquire_owned() else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "too many listen already; close another page");
    };
    let (next, over) = (admin.sources.clock.now(), admin.over.subscribe());
    let subscriber = Subscriber { admin, next, over, _place: place };
    let events = stream::unfold(subscriber, |mut subscriber| async move {
        let event = subscriber.event().await?;
        Some((Ok::<_, Infallible>(event), subscriber))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

impl Subscriber {
    /// The next event; none once weir stops.
    async fn event(&mut self) -> Option<Event> {
        let clock = self.admin.sources.clock;
        let over = async {
            let _ = self.over.wait_for(|over| *over).await;
        };
        tokio::select! {
            biased;
            () = over => return None,
            () = clock.sleep_until(self.next) => {}
        }
        self.next = clock.now() + EVERY;
        Some(Event::default().event("status").data(&*self.admin.snapshot()))
    }
}

impl Admin {
    /// The status as JSON, at most [`MAX_AGE`] old.
    fn snapshot(&self) -> Arc<str> {
        let now = self.sources.clock.now();
        let mut last = self.events.last.lock();
        if let Some((at, text)) = &*last
            && now.since(*at) < MAX_AGE
        {
            return Arc::clone(text);
        }
        // Numbers and names always have a form in JSON.
        let text: Arc<str> = serde_json::to_string(&status::of(self)).unwrap_or_default().into();
        *last = Some((now, Arc::clone(&text)));
        text
    }
}
