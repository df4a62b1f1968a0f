//! Windows of the calendar (law 1): the day ends at 00:00 UTC on the vendor's clock.

use std::time::Duration;

use super::house::{House, MS, Site, TICK};
use crate::budget::laws::plan;
use crate::clock::{Moment, UnixTime};
use crate::quota::{Calendar, Plan, Window};

const DAY: u64 = 86_400;
const SECOND: Duration = Duration::from_secs(1);

fn days(requests: u32) -> Plan {
    let mut plan = plan(&[(requests, 1_000)], 4);
    plan.limits[0].window = Window::Calendar(Calendar::Every(Duration::from_secs(DAY)));
    plan
}

/// A house so long before midnight, and when that is.
async fn before_midnight(site: Site, plan: Plan, secs: u64) -> (House, Moment) {
    let midnight = UnixTime::from_secs(20_000 * DAY);
    let house = site.open_at(plan, UnixTime::from_secs(20_000 * DAY - secs)).await;
    let left = Duration::from_nanos(midnight.as_nanos() - house.clock.wall().as_nanos());
    let edge = house.now() + left;
    (house, edge)
}

pub(super) async fn a_day_ends_when_its_edge_has_surely_passed(site: Site) {
    let (house, edge) = before_midnight(site, days(2), 20).await;
    house.send(0).await.settled();
    house.send(1).await.settled();
    // Nothing is known of the vendor's clock: it may be two seconds off ours.
    let told = house.ask(2).await.unwrap_err().retry_at;
    house.is_near(told, edge + 2 * SECOND);
    house.pass_until(edge + 2 * SECOND - TICK).await;
    assert!(house.ask(2).await.is_err());
    house.pass_until(told + house.grace()).await;
    assert_eq!(house.used().await, [0]);
    house.send(2).await.settled();
    house.send(2).await.settled();
    let told = house.ask(3).await.unwrap_err().retry_at;
    house.is_near(told, edge + Duration::from_secs(DAY) + 2 * SECOND);
    // Then the vendor dates an answer: to the second, its clock is half a second ahead.
    let (sent, head) = (house.now() - 100 * MS, house.now());
    let at = sent.max(edge).since(edge) + 550 * MS;
    for budget in house.budgets() {
        budget.vendor_date(UnixTime::from_secs(20_000 * DAY) + at, sent, head);
    }
    let told = house.ask(3).await.unwrap_err().retry_at;
    let next = edge + Duration::from_secs(DAY) - 500 * MS;
    assert!(told > next + SECOND && told < next + 4 * SECOND, "{told:?} for {next:?}");
}

pub(super) async fn what_is_under_way_over_the_edge_counts_on_both_sides(site: Site) {
    let (house, edge) = before_midnight(site, days(3), 20).await;
    house.pass_until(edge - 6 * SECOND).await;
    house.send(0).await.settled();
    let over = house.send(1).await;
    house.pass_until(edge - SECOND).await;
    // Answered, and yet the vendor's clock may have been over it.
    house.send(2).await.settled();
    assert_eq!(house.used().await, [3]);
    house.pass_until(edge + 2 * SECOND + house.grace()).await;
    assert_eq!(house.used_by_consumers(0).await, [0, 1, 1, 0]);
    over.settled();
    assert_eq!(house.used_by_consumers(0).await, [0, 1, 1, 0]);
    house.send(3).await.settled();
    assert!(house.ask(3).await.is_err());
}

pub(super) async fn a_kill_forgets_no_day(site: Site) {
    let (mut house, edge) = before_midnight(site, days(3), 30).await;
    house.send(0).await.settled();
    house.pass_until(edge - SECOND).await;
    house.send(1).await.settled();
    house.kill([]).await;
    assert_eq!(
        house.used_by_consumers(0).await,
        if house.now() < edge + 2 * SECOND { [1, 1, 0, 0] } else { [0, 1, 0, 0] }
    );
    house.pass_until(edge + 2 * SECOND + house.grace()).await;
    assert_eq!(house.used_by_consumers(0).await, [0, 1, 0, 0]);
    house.kill([]).await;
    assert_eq!(house.used_by_consumers(0).await, [0, 1, 0, 0], "it counts all day");
}
