//! The vendor's limits, and the one decision about a request: counted by all of
//! them, or refused by those that are full.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use super::chance::mix;
use super::options::{Count, Limit, Options, Refusals, Routes, Scope, Windows};
use super::window::{Counter, Edges};

/// Addresses (or keys) with a counter of their own for one limit. Beyond them
/// newcomers share one: stricter, never laxer.
const OWNERS: usize = 65_536;

/// All limits of the account.
#[derive(Debug)]
pub(crate) struct Gate {
    gauges: Vec<Gauge>,
    refusals: Refusals,
    refused: u64,
    counted: u64,
}

/// One limit and who used how much of it.
#[derive(Debug)]
struct Gauge {
    limit: Limit,
    windows: Windows,
    edges: Edges,
    counters: HashMap<Owner, Counter>,
    refused: u64,
    counted: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Account,
    Address(IpAddr),
    Key(usize),
}

/// What a decision needs to know about a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) address: IpAddr,
    /// The number of its key; `None` if it is not authorized.
    pub(crate) key: Option<usize>,
    pub(crate) analytic: bool,
}

/// The decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Counted,
    /// By these limits, as [`Tally::limit`] names them.
    Refused(Vec<String>),
}

/// One limit's statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// As on the command line: `20/1m:analytic`.
    pub limit: String,
    /// Requests it counted.
    pub counted: u64,
    /// Requests it refused; one request may be refused by several limits.
    pub refused: u64,
}

/// What a limit has used, for `usageLimits` and `ratelimit-*`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) per_nanos: u64,
    pub(crate) limit: u64,
    pub(crate) used: u64,
}

impl Gate {
    pub(crate) fn new(options: &Options) -> Self {
        let limits = options.limits.clone().unwrap_or_else(|| options.vendor.limits());
        let gauges = limits.into_iter().zip(0..).map(|(limit, n)| Gauge::new(limit, options, n)).collect();
        Self { gauges, refusals: options.refusals, refused: 0, counted: 0 }
    }

    /// Decides about one request at `now` (nanoseconds on the vendor's clock,
    /// never going back) and counts it accordingly.
    pub(crate) fn decide(&mut self, now: u64, call: Call) -> Verdict {
        let mut full = Vec::new();
        for gauge in self.gauges.iter_mut().filter(|gauge| gauge.applies(call)) {
            if !gauge.counter(now, call).admits(now) {
                gauge.refused += 1;
                full.push(gauge.limit.to_string());
            }
        }
        if full.is_empty() || self.refusals == Refusals::Counted {
            for gauge in self.gauges.iter_mut().filter(|gauge| gauge.applies(call)) {
                gauge.counter(now, call).count(now);
                gauge.counted += 1;
            }
        }
        if full.is_empty() {
            self.counted += 1;
            Verdict::Counted
        } else {
            self.refused += 1;
            Verdict::Refused(full)
        }
    }

    /// Requests refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// Requests let through so far.
    pub(crate) fn counted(&self) -> u64 {
        self.counted
    }

    pub(crate) fn tallies(&self) -> Vec<Tally> {
        let tally = |gauge: &Gauge| Tally {
            limit: gauge.limit.to_string(),
            counted: gauge.counted,
            refused: gauge.refused,
        };
        self.gauges.iter().map(tally).collect()
    }

    /// The account-wide limits and those of `key`, the shortest first.
    pub(crate) fn usage(&mut self, now: u64, key: Option<usize>) -> Vec<Usage> {
        let owned = self.gauges.iter_mut().filter_map(|gauge| match (gauge.limit.scope, key) {
            (Scope::Account, _) => Some((gauge, Owner::Account)),
            (Scope::Key, Some(key)) => Some((gauge, Owner::Key(key))),
            (Scope::Key, None) | (Scope::Address, _) => None,
        });
        let mut usage: Vec<_> = owned
            .map(|(gauge, owner)| Usage {
                per_nanos: gauge.edges.width,
                limit: gauge.limit.requests,
                used: gauge.counters.get_mut(&owner).map_or(0, |counter| counter.used(now)),
            })
            .collect();
        usage.sort_by_key(|usage| usage.per_nanos);
        usage
    }
}

impl Gauge {
    fn new(limit: Limit, options: &Options, index: u64) -> Self {
        let width = nanos(limit.per).max(1);
        let (windows, phase) = match limit.count {
            Count::Default => (options.windows, nanos(options.phase)),
            Count::Windows(windows) => (windows, nanos(options.phase)),
            Count::Calendar => (Windows::Fixed, 0),
        };
        let edges = Edges { width, phase, late: nanos(options.late_resets), seed: mix(options.seed, index) };
        Self { limit, windows, edges, counters: HashMap::new(), refused: 0, counted: 0 }
    }

    fn applies(&self, call: Call) -> bool {
        let routes = match self.limit.routes {
            Routes::All => true,
            Routes::Analytic => call.analytic && call.key.is_some(),
        };
        routes && (self.limit.scope != Scope::Key || call.key.is_some())
    }

    fn counter(&mut self, now: u64, call: Call) -> &mut Counter {
        let mut owner = match (self.limit.scope, call.key) {
            (Scope::Address, _) => Owner::Address(call.address),
            (Scope::Key, Some(key)) => Owner::Key(key),
            (Scope::Account, _) | (Scope::Key, None) => Owner::Account,
        };
        if self.counters.len() >= OWNERS && !self.counters.contains_key(&owner) {
            self.counters.retain(|_, counter| counter.used(now) > 0);
            if self.counters.len() >= OWNERS {
                owner = Owner::Address(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            }
        }
        let (requests, windows, edges) = (self.limit.requests, self.windows, self.edges);
        self.counters.entry(owner).or_insert_with(|| Counter::new(requests, windows, edges))
    }
}

/// Durations beyond 584 years are clipped to it.
fn nanos(of: std::time::Duration) -> u64 {
    u64::try_from(of.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn call(analytic: bool) -> Call {
        Call { address: IpAddr::V4(Ipv4Addr::LOCALHOST), key: Some(0), analytic }
    }

    fn gate(refusals: Refusals) -> Gate {
        let limits = vec![
            Limit::analytic(2, Duration::from_secs(10)),
            Limit::address(3, Duration::from_secs(1)),
            Limit::analytic(5, Duration::from_secs(86_400)).calendar(),
        ];
        Gate::new(&Options { limits: Some(limits), refusals, ..Options::default() })
    }

    #[test]
    fn a_refused_request_is_counted_by_none() {
        let mut gate = gate(Refusals::Free);
        let now = 100 * SECOND;
        assert_eq!(gate.decide(now, call(true)), Verdict::Counted);
        assert_eq!(gate.decide(now, call(true)), Verdict::Counted);
        assert_eq!(gate.decide(now, call(true)), Verdict::Refused(vec!["2/10s:analytic".into()]));
        // The refused one took nothing of the address's three.
        assert_eq!(gate.decide(now, call(false)), Verdict::Counted);
        assert_eq!(gate.decide(now, call(false)), Verdict::Refused(vec!["3/1s:address:all".into()]));
        assert_eq!((gate.refused(), gate.counted()), (2, 3));
        assert_eq!(gate.tallies()[2].counted, 2);
    }

    #[test]
    fn refusals_may_prolong_the_refusal() {
        let mut gate = gate(Refusals::Counted);
        for second in 0..15 {
            gate.decide((100 + second) * SECOND, call(true));
        }
        assert_eq!(gate.counted(), 2);
    }

    #[test]
    fn the_day_resets_at_midnight() {
        let mut gate = gate(Refusals::Free);
        let midnight = 86_400 * SECOND * 20_000;
        for n in 0..5 {
            assert_eq!(gate.decide(midnight - (60 - n * 10) * SECOND, call(true)), Verdict::Counted);
        }
        let refused = Verdict::Refused(vec!["5/1d:analytic:calendar".into()]);
        assert_eq!(gate.decide(midnight - 1, call(true)), refused);
        assert_eq!(gate.decide(midnight, call(true)), Verdict::Counted);
    }

    #[test]
    fn addresses_have_their_own() {
        let mut gate = gate(Refusals::Free);
        let elsewhere = Call { address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), ..call(false) };
        for _ in 0..3 {
            assert_eq!(gate.decide(SECOND, call(false)), Verdict::Counted);
            assert_eq!(gate.decide(SECOND, elsewhere), Verdict::Counted);
        }
        assert!(matches!(gate.decide(SECOND, elsewhere), Verdict::Refused(_)));
    }

    #[test]
    fn the_unauthorized_cost_only_their_address() {
        let mut gate = gate(Refusals::Free);
        let stranger = Call { key: None, ..call(true) };
        for second in 0..20 {
            assert_eq!(gate.decide(second * SECOND, stranger), Verdict::Counted);
        }
        assert_eq!(gate.tallies()[0].counted, 0);
    }
}
