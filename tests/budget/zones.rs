//! Limits per month and per day of another time zone, for one consumer with access to
//! several upstreams that have no divisions. The calendar is the real one.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use weir::clock::Clock;
use weir::emulator::{Emulator, Key, Options, Vendor};

use crate::support::{VENDOR_KEY, Weir, hash_line, token_of};

/// Seconds until midnight there, of the next day or of the first of next month.
fn seconds_left(monthly: bool) -> i64 {
    let now = i128::from(Clock::system().wall().as_nanos());
    let now =
        Timestamp::from_nanosecond(now).unwrap().to_zoned(TimeZone::get("America/Los_Angeles").unwrap());
    let date = match monthly {
        true => now.date().first_of_month().checked_add(1.month()).unwrap(),
        false => now.date().tomorrow().unwrap(),
    };
    let edge = date.to_zoned(now.time_zone().clone()).unwrap();
    edge.timestamp().as_second() - now.timestamp().as_second()
}

#[tokio::test]
async fn months_and_days_end_where_the_vendor_says() {
    let keys = vec![Key::client("main", VENDOR_KEY)];
    let options = Options { vendor: Vendor::Generic, limits: Some(Vec::new()), keys, ..Options::default() };
    let vendor = Emulator::start(options).await.unwrap();
    let upstream = |name: &str, limit: &str| {
        format!(
            "[upstreams.{name}]\ndialect = \"generic\"\nurl = \"{}\"\nmount = \"/{name}\"\n\
             keys.main.value = \"{VENDOR_KEY}\"\nlimits.quota = {{ requests = 2, {limit}, \
             resets = \"00:00 America/Los_Angeles\" }}\n",
            vendor.url()
        )
    };
    let weir = Weir::start(&format!(
        "{}{}[consumers.team]\n{}\naccess.monthly = {{}}\naccess.daily = {{}}\n",
        upstream("monthly", "per = \"month\""),
        upstream("daily", "per = \"1d\""),
        hash_line(&token_of("team")),
    ));
    let team = weir.caller(&token_of("team"));
    // Each upstream has an allowance of its own: the second is whole when the first is spent.
    for (name, monthly) in [("monthly", true), ("daily", false)] {
        for at in 0..2 {
            let reply = team.get(&format!("/{name}/{at}")).await;
            assert_eq!((reply.status.as_u16(), reply.price()), (200, 1), "{reply:?}");
        }
        let refused = team.get_with(&format!("/{name}/2"), &[("prefer", "wait=0")]).await;
        assert_eq!(refused.status, 429, "{refused:?}");
        assert!(refused.header("proxy-status").contains("account: quota"), "{refused:?}");
        let told: i64 = refused.header("retry-after").parse().unwrap();
        let left = seconds_left(monthly);
        // Rounded up, and later by what is not known of the vendor's clock: 2 s, and
        // the 20 ppm by which two clocks may drift apart until then.
        let allowed = 5 + left / 50_000;
        assert!((left..=left + allowed).contains(&told), "{name}: {told} s, and {left} s are left");
    }
    assert_eq!(vendor.requests().len(), 4);
}
