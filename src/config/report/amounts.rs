//! What a consumer's part of the limits comes to in a minute and in a day.

use std::time::Duration;

use super::text::count;
use crate::quota::{Plan, Quantity};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// An amount of requests in thousandths, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Amount(u128);

impl std::fmt::Display for Amount {
    /// Whole from 10 on; one place below.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, tenths) = (self.0 / 1_000, self.0 % 1_000 / 100);
        let whole = u64::try_from(whole).unwrap_or(u64::MAX);
        match (whole, tenths) {
            (0, 0) if self.0 > 0 => f.write_str("<0.1"),
            (0..10, 1..) => write!(f, "{whole}.{tenths}"),
            _ => f.write_str(&count(whole)),
        }
    }
}

/// What one consumer gets; none where there is no limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amounts {
    sure: [Option<Amount>; 2],
    most: [Option<Amount>; 2],
}

impl Amounts {
    /// Sure a minute, sure a day, most a minute, most a day.
    pub(super) fn columns(self) -> impl Iterator<Item = String> {
        let text = |amount: Option<Amount>| amount.map_or_else(|| "any".into(), |amount| amount.to_string());
        self.sure.into_iter().chain(self.most).map(text)
    }
}

/// A plan with its shares added up.
pub(super) struct Contention<'a> {
    plan: &'a Plan,
    of_divisions: u128,
    /// Per division, of its consumers.
    of_consumers: Vec<u128>,
}

impl<'a> Contention<'a> {
    pub(super) fn of(plan: &'a Plan) -> Self {
        let mut of_consumers = vec![0; plan.divisions.len()];
        for consumer in &plan.consumers {
            of_consumers[consumer.division] += u128::from(consumer.share.0);
        }
        let of_divisions = plan.divisions.iter().map(|division| u128::from(division.share.0)).sum();
        Self { plan, of_divisions, of_consumers }
    }

    /// What the consumer at `seat` of the plan gets.
    pub(super) fn amounts(&self, seat: usize) -> Amounts {
        let spans = [MINUTE, DAY];
        Amounts {
            sure: spans.map(|span| tightest(self.plan, span, |limit| Some(self.sure(seat, limit)))),
            most: spans.map(|span| tightest(self.plan, span, |limit| Some(self.most(seat, limit) * 1_000))),
        }
    }

    /// Thousandths of the limit that a consumer gets when everybody wants all.
    fn sure(&self, seat: usize, limit: usize) -> u128 {
        let consumer = &self.plan.consumers[seat];
        let division = &self.plan.divisions[consumer.division];
        let whole = u128::from(self.plan.limits[limit].requests.get()) * 1_000;
        let of_division = (whole * u128::from(division.share.0) / self.of_divisions.max(1))
            .max(held(&division.reserve, limit).unwrap_or(0) * 1_000)
            .min(held(&division.caps, limit).unwrap_or(u128::MAX / 1_000) * 1_000);
        let of_consumers = self.of_consumers[consumer.division];
        (of_division * u128::from(consumer.share.0) / of_consumers.max(1))
            .max(held(&consumer.reserve, limit).unwrap_or(0) * 1_000)
            .min(self.most(seat, limit) * 1_000)
    }

    /// Requests per window that nothing but caps and the limit itself bound.
    fn most(&self, seat: usize, limit: usize) -> u128 {
        let consumer = &self.plan.consumers[seat];
        let whole = u128::from(self.plan.limits[limit].requests.get());
        let caps = [&consumer.caps, &self.plan.divisions[consumer.division].caps];
        caps.into_iter().filter_map(|caps| held(caps, limit)).fold(whole, u128::min)
    }
}

/// What a reserve holds in a day, if nobody takes it; none if it is none.
pub(super) fn parked_a_day(plan: &Plan, reserve: &[Quantity]) -> Option<Amount> {
    tightest(plan, DAY, |limit| held(reserve, limit).map(|requests| requests * 1_000))
}

/// The smallest amount that the limits let through in `span`, `of` saying
/// thousandths of requests per window.
fn tightest(plan: &Plan, span: Duration, of: impl Fn(usize) -> Option<u128>) -> Option<Amount> {
    let amounts = plan.limits.iter().enumerate().filter_map(|(index, limit)| {
        let window = limit.window.length().max(Duration::from_nanos(1)).as_nanos();
        let per_window = of(index)?;
        Some(Amount(per_window * span.as_nanos().max(window) / window))
    });
    amounts.min()
}

fn held(quantities: &[Quantity], limit: usize) -> Option<u128> {
    quantities.iter().find(|quantity| quantity.limit == limit).map(|quantity| quantity.requests.get().into())
}
