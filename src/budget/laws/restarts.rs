//! Law 8: law 1 holds although the process is killed at any moment, the machine
//! is booted, its wall clock is set to anything in between, and limits come and go.

mod steps;
mod world;

use proptest::prelude::*;

use super::vendor::Vendor;
use super::{EVERYDAY, calendar, cases, limits, plan, vendors};
use steps::{Step, ahead, coming_and_going, steps};
use world::World;

const MS: u64 = 1_000_000;
/// Settlements younger than this may be lost in a crash.
const FLUSH: u64 = 50 * MS;

proptest! {
    #![proptest_config(cases(EVERYDAY))]

    /// Killed at any moment, rebooted, the wall set back and forward, with and without dates,
    /// with places booked ahead and without.
    #[test]
    fn no_restart_makes_the_vendor_refuse(
        limits in limits(), steps in steps(), phase: u64, dated: bool, ahead in ahead(),
    ) {
        let plan = plan(&limits, 4);
        let vendors = vendors(&plan, phase);
        World::new(&plan, vendors, (dated.then_some(5_000_000 * MS), ahead)).run(&steps);
    }

    /// The same while limits come and go, over restarts and reloads.
    #[test]
    fn no_restart_forgets_what_a_limit_that_comes_has_to_count(
        steps in coming_and_going(), phase: u64, requests in 1u32..6, ahead in ahead(),
    ) {
        let plan = plan(&[(2 * requests, 40_000), (requests, 12_000), (requests + 2, 25_000)], 4);
        let vendors = vendors(&plan, phase);
        World::new(&plan, vendors, (None, ahead)).run(&steps);
    }

    /// The same at calendar edges, while the wall is as right as law 1 asks.
    #[test]
    fn no_restart_makes_a_calendar_refuse(
        requests in 1u32..6, period in 7_000u64..20_000, skew in -1_900i64..1_900, steps in steps(), dated: bool,
        ahead in ahead(),
    ) {
        let mut plan = plan(&[(requests, period), (7, 1_000)], 4);
        calendar(&mut plan, 0, period);
        let vendor_at_zero = (1_000_000 * MS).saturating_add_signed(skew * MS as i64);
        let edges = Vendor::fixed(requests, period * MS, vendor_at_zero % (period * MS));
        let steps: Vec<_> = steps.into_iter().map(|step| match step {
            Step::Crash { gap, dead, is_reboot, limits, .. } => {
                Step::Crash { gap, dead, is_reboot, wall_off: 0, limits }
            }
            other => other,
        }).collect();
        let vendors = vec![vec![edges], vec![Vendor::sliding(7, 1_000 * MS)]];
        World::new(&plan, vendors, (dated.then_some(vendor_at_zero), ahead)).run(&steps);
    }
}
