//! What a decision of the budget costs.

use std::time::Duration;

use anyhow::Context;
use weir::budget::Budget;
use weir::clock::Clock;

use super::crowd::{CALLERS, Crowd, Size, fast, limit, plan};
use super::{Point, cost};

/// Nobody waits.
pub(crate) fn consumers(sizes: &[usize]) -> anyhow::Result<Vec<Point>> {
    let point = |&consumers: &usize| {
        let (budget, set) = fast(size(consumers));
        let mut seat = 0;
        let ns = cost(|| {
            seat = (seat + 7) % consumers;
            budget.try_now(set, seat).context("a limit was reached")?.sent().settled();
            Ok(())
        })?;
        Ok((consumers, ns))
    };
    sizes.iter().map(point).collect()
}

/// Ten consumers, and every request is charged to all limits.
pub(crate) fn limits(sizes: &[usize]) -> anyhow::Result<Vec<Point>> {
    let point = |&count: &usize| {
        let windows = (1..).map(|ms| Duration::from_millis(ms % 10 + 1));
        let limits: Vec<_> = (0..count)
            .zip(windows)
            .map(|(number, window)| limit(&format!("limit-{number}"), 60_000, window))
            .collect();
        let set = (0..limits.len()).collect();
        let budget = Budget::new(plan(size(10), limits), Clock::system());
        let ns = cost(|| {
            budget.try_now(set, 3).context("a limit was reached")?.sent().settled();
            Ok(())
        })?;
        Ok((count, ns))
    };
    sizes.iter().map(point).collect()
}

/// Ten callers wait for each consumer.
pub(crate) fn waiting(sizes: &[usize]) -> anyhow::Result<Vec<Point>> {
    let point = |&waiting: &usize| {
        let mut crowd = Crowd::of(size(waiting / CALLERS));
        let ns = cost(|| {
            crowd.serve();
            Ok(())
        })?;
        Ok((waiting, ns))
    };
    sizes.iter().map(point).collect()
}

fn size(consumers: usize) -> Size {
    Size { consumers, divisions: consumers.div_ceil(20) }
}
