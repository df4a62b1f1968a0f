//! The demo's six callers: each behaves like one that every company has.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::clock::Clock;

/// Who asks, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// A script in a loop, another URL each time, as fast as it gets answers.
    Greedy,
    /// A dashboard: twelve panels, reloaded together every two seconds.
    Dashboard,
    /// An exporter: four queries a second with a short patience.
    Exporter,
    /// A plan of fourteen resources, all at once, every six seconds.
    Burst,
    /// Waits for one instant test to end.
    Poller,
    /// Asks for something dear and hangs up after 150 ms.
    HangsUp,
}

/// One caller of the demo.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    habit: Habit,
    token: String,
    base: String,
    client: Client<HttpConnector, Empty<Bytes>>,
    clock: Clock,
}

impl Caller {
    /// A caller of the weir at `base` who presents `token`.
    pub(super) fn new(habit: Habit, token: String, base: String, clock: Clock) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { habit, token, base, client, clock }
    }

    /// Goes on until the task is aborted.
    pub(super) async fn run(self) {
        let mut round: u64 = 0;
        loop {
            round += 1;
            match self.habit {
                Habit::Greedy => {
                    let path = format!(
                        "/api/v2/tests/explorer/raw?testIds={}&metrics={round}",
                        100_001 + round % 40
                    );
                    self.ask(&path, 5).await;
                    self.pause(20).await;
                }
                Habit::Dashboard => {
                    let panels = (0..12)
                        .map(|n| format!("/api/v2/tests/explorer/aggregated?testIds={}", 100_001 + n % 8));
                    self.together(panels.collect(), 4).await;
                    self.pause(2_000).await;
                }
                Habit::Exporter => {
                    let asked = [
                        "tests/alerts",
                        "nodes/all",
                        "tests/errors/raw",
                        "tests/explorer/raw?testIds=100007",
                    ];
                    self.together(asked.iter().map(|path| format!("/api/v2/{path}")).collect(), 2).await;
                    self.pause(1_000).await;
                }
                Habit::Burst => {
                    let plan = (0..14).map(|n| format!("/api/v2/tests/{}", 100_001 + (round * 14 + n) % 200));
                    self.together(plan.collect(), 10).await;
                    self.pause(6_000).await;
                }
                Habit::Poller => {
                    self.ask("/api/v2/instanttests/100001", 3).await;
                    self.pause(400).await;
                }
                Habit::HangsUp => {
                    let path = format!("/api/v2/tests/records/waterfall/{}", 100_001 + round % 200);
                    // Dropping the future closes the connection, as a user's ^C would.
                    let _ = tokio::time::timeout(Duration::from_millis(150), self.ask(&path, 30)).await;
                    self.pause(350).await;
                }
            }
        }
    }

    async fn together(&self, paths: Vec<String>, patience_secs: u32) {
        futures_util::future::join_all(paths.iter().map(|path| self.ask(path, patience_secs))).await;
    }

    /// Asks once; after a 429 it does as it is told before it goes on.
    async fn ask(&self, path: &str, patience_secs: u32) {
        let request = Request::get(format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {}", self.token))
            .header("prefer", format!("wait={patience_secs}"))
            .body(Empty::new());
        let Ok(request) = request else { return };
        let Ok(response) = self.client.request(request).await else { return };
        let told = response.headers().get("retry-after").and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        let refused = response.status() == StatusCode::TOO_MANY_REQUESTS;
        // The demo counts at the gateway and the vendor; a caller only reads to the end.
        let _ = response.into_body().collect().await;
        if let (true, Some(seconds)) = (refused, told) {
            self.pause(seconds * 1_000).await;
        }
    }

    async fn pause(&self, milliseconds: u64) {
        self.clock.sleep_until(self.clock.now() + Duration::from_millis(milliseconds)).await;
    }
}
