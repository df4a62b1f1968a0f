//! What one vendor did with what was sent to it, without a lock.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

use super::histogram::Histogram;

/// What one vendor did with what was sent to it.
#[derive(Debug, Default)]
pub struct VendorCounts {
    sent: AtomicU64,
    /// Answers by status: 100 to 599.
    answers: StatusCounts,
    latency: Histogram,
    /// Background refreshes that brought nothing, and whether the last one did not.
    lost_refreshes: AtomicU64,
    refreshes_fail: AtomicBool,
}

#[derive(Debug)]
struct StatusCounts([AtomicU64; 500]);

impl Default for StatusCounts {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl VendorCounts {
    /// A request is leaving.
    pub fn count_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// It never left after all.
    pub fn take_back_sent(&self) {
        self.sent.fetch_sub(1, Ordering::Relaxed);
    }

    /// The vendor answered, `latency` after the send.
    pub fn count_answer(&self, status: StatusCode, latency: Duration) {
        self.latency.observe(latency);
        if let Some(count) = self.answers.0.get(usize::from(status.as_u16()).wrapping_sub(100)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A background refresh has ended; whether it is the first of its kind in a row.
    pub fn count_refresh(&self, has_failed: bool) -> bool {
        self.lost_refreshes.fetch_add(u64::from(has_failed), Ordering::Relaxed);
        self.refreshes_fail.swap(has_failed, Ordering::Relaxed) != has_failed
    }

    /// Background refreshes that brought nothing: stale answers stand.
    #[must_use]
    pub fn lost_refreshes(&self) -> u64 {
        self.lost_refreshes.load(Ordering::Relaxed)
    }

    /// From the send to the response head.
    #[must_use]
    pub fn latency(&self) -> &Histogram {
        &self.latency
    }

    /// Requests that left, or may have.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// 429s: zero, if the laws hold.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.answers.0[429 - 100].load(Ordering::Relaxed)
    }

    /// Every status that was answered, with how often.
    pub fn answers(&self) -> impl Iterator<Item = (u16, u64)> {
        let counts = (100..600).zip(&self.answers.0);
        counts.map(|(status, count)| (status, count.load(Ordering::Relaxed))).filter(|(_, count)| *count > 0)
    }
}
