//! How long things took, in fixed buckets, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets in milliseconds; one more holds what is longer.
const BOUNDS_MS: [u64; 14] =
    [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000];

/// Counts by duration.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_MS.len() + 1],
    sum_nanos: AtomicU64,
}

impl Histogram {
    /// One more that took so long.
    pub fn observe(&self, took: Duration) {
        let millis = took.as_millis();
        // In a bucket is what is not longer than its bound.
        let exact = u64::from(!took.subsec_nanos().is_multiple_of(1_000_000));
        let millis = u64::try_from(millis).unwrap_or(u64::MAX).saturating_add(exact);
        let bucket = BOUNDS_MS.partition_point(|bound| *bound < millis);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Upper bound in seconds and count of each bucket, not added up; the last has no bound.
    #[must_use]
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS_MS.iter().map(|ms| Duration::from_millis(*ms).as_secs_f64()).chain([f64::MAX]);
        bounds.zip(&self.buckets).map(|(bound, count)| (bound, count.load(Ordering::Relaxed))).collect()
    }

    /// All durations together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed))
    }

    /// The bound in seconds below which the part `of_all` (0 to 1) of them lies;
    /// none while there are none.
    #[must_use]
    pub fn quantile(&self, of_all: f64) -> Option<f64> {
        let buckets = self.buckets();
        let all: u64 = buckets.iter().map(|(_, count)| count).sum();
        #[allow(clippy::cast_precision_loss, reason = "a quantile by bucket is coarse anyway")]
        let wanted = all as f64 * of_all;
        let mut below = 0;
        buckets.into_iter().find_map(|(bound, count)| {
            below += count;
            #[allow(clippy::cast_precision_loss, reason = "as above")]
            let is_here = count > 0 && below as f64 >= wanted;
            is_here.then_some(bound)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::default();
        for nanos in [5_000_000, 5_000_001, 400_000_000_000] {
            histogram.observe(Duration::from_nanos(nanos));
        }
        let counts: Vec<u64> = histogram.buckets().iter().map(|(_, count)| *count).collect();
        assert_eq!((counts[0], counts[1], counts[14]), (1, 1, 1));
        assert_eq!(histogram.quantile(0.5), Some(0.01));
        assert_eq!(Histogram::default().quantile(0.5), None);
    }
}
