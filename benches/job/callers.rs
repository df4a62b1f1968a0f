//! Six callers, each of whom wants more than a sixth of the allowance.

use bytes::Bytes;
use futures_util::future::join_all;
use http::header::{AUTHORIZATION, RETRY_AFTER};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use weir::clock::{Clock, Moment};

/// How a caller behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habit {
    pub(crate) name: &'static str,
    /// Requests that it has under way at a time.
    pub(crate) together: usize,
    /// What it does between an answer and the next request, in milliseconds.
    pub(crate) think_ms: u64,
}

/// From a script in a loop to a report that takes its time.
pub(crate) const SIX: [Habit; 6] = [
    Habit { name: "loop", together: 16, think_ms: 0 },
    Habit { name: "exporter", together: 8, think_ms: 20 },
    Habit { name: "dashboard", together: 6, think_ms: 100 },
    Habit { name: "plan", together: 4, think_ms: 0 },
    Habit { name: "poller", together: 3, think_ms: 200 },
    Habit { name: "report", together: 2, think_ms: 400 },
];

/// Of who is refused without being told for how long.
const PAUSE_MS: u64 = 250;

/// What one caller saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Saw {
    pub(crate) answered: usize,
    pub(crate) refused: usize,
    pub(crate) failed: usize,
    /// Milliseconds to each answer.
    pub(crate) took_ms: Vec<f64>,
}

impl Habit {
    pub(crate) fn token(&self) -> String {
        format!("job-token-of-{}-0123456789", self.name)
    }

    /// Asks until `end`; no two requests are for the same thing.
    pub(crate) async fn ask(self, url: String, end: Moment) -> Saw {
        let clock = Clock::system();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let line = |line: usize| {
            let (client, url) = (client.clone(), url.clone());
            async move {
                let mut saw = Saw::default();
                let mut number = 0_usize;
                while clock.now() < end {
                    number += 1;
                    let target = format!("{url}/{}/{line}/{number}", self.name);
                    let asked = self.once(&client, &target, &mut saw);
                    let pause_ms = tokio::select! {
                        pause_ms = asked => pause_ms,
                        () = clock.sleep_until(end) => break,
                    };
                    clock.sleep_until(clock.now() + std::time::Duration::from_millis(pause_ms)).await;
                }
                saw
            }
        };
        join_all((0..self.together).map(line)).await.into_iter().fold(Saw::default(), Saw::plus)
    }

    /// Asks once; how long it pauses then, in milliseconds.
    async fn once(self, client: &Client<HttpConnector, Empty<Bytes>>, target: &str, saw: &mut Saw) -> u64 {
        let clock = Clock::system();
        let began = clock.now();
        let request = Request::get(target)
            .header(AUTHORIZATION, format!("Bearer {}", self.token()))
            .body(Empty::new())
            .unwrap_or_default();
        let Ok(response) = client.request(request).await else {
            saw.failed += 1;
            return PAUSE_MS;
        };
        let (head, body) = response.into_parts();
        let whole = body.collect().await.is_ok();
        match head.status {
            StatusCode::OK if whole => {
                saw.answered += 1;
                saw.took_ms.push(clock.now().since(began).as_secs_f64() * 1_000.0);
                self.think_ms
            }
            StatusCode::TOO_MANY_REQUESTS => {
                saw.refused += 1;
                let told = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
                told.map_or(PAUSE_MS, |seconds: u64| seconds * 1_000)
            }
            _ => {
                saw.failed += 1;
                PAUSE_MS
            }
        }
    }
}

impl Saw {
    pub(crate) fn plus(mut self, other: Self) -> Self {
        self.answered += other.answered;
        self.refused += other.refused;
        self.failed += other.failed;
        self.took_ms.extend(other.took_ms);
        self
    }
}
