//! The `Date` of a stored answer, in four bytes: each answer has its own, so that no two
//! share a line, and nearly all are spelt in the one form that senders must use.

use std::cell::RefCell;
use std::num::NonZero;

use http::HeaderValue;

use crate::cache::freshness;
use crate::clock::UnixTime;

/// A second, spelt as RFC 9110, section 5.6.7, has senders spell it (IMF-fixdate); until 2106.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ImfDate(NonZero<u32>);

/// How many dates a thread remembers the spelling of.
const REMEMBERED: usize = 64;

thread_local! {
    /// By the last bits of their second: most hits of a thread are on a few answers.
    static SPELT: RefCell<[Option<(ImfDate, HeaderValue)>; REMEMBERED]> =
        const { RefCell::new([const { None }; REMEMBERED]) };
}

impl ImfDate {
    /// `None` if the value is spelt otherwise than [`ImfDate::value`] would spell it.
    pub(super) fn of(value: &HeaderValue) -> Option<Self> {
        let second = u32::try_from(freshness::date(value)?.as_secs()).ok()?;
        let date = Self(NonZero::new(second)?);
        (!value.is_sensitive() && date.spelt() == value).then_some(date)
    }

    pub(super) fn value(self) -> HeaderValue {
        SPELT.with_borrow_mut(|spelt| {
            let place = &mut spelt[self.0.get() as usize % REMEMBERED];
            match place {
                Some((date, value)) if *date == self => value.clone(),
                _ => place.insert((self, self.spelt())).1.clone(),
            }
        })
    }

    fn spelt(self) -> HeaderValue {
        let at = UnixTime::from_secs(self.0.get().into());
        HeaderValue::try_from(httpdate::fmt_http_date(at.to_system())).expect("a date is visible ASCII")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_spelt_otherwise_is_none() {
        let is_one = |text: &'static str| ImfDate::of(&HeaderValue::from_static(text)).is_some();
        assert!(is_one("Sun, 06 Nov 1994 08:49:37 GMT"));
        for other in [
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            "Thu, 01 Jan 1970 00:00:00 GMT",
            "Thu, 01 Jan 2150 00:00:00 GMT",
            "now",
        ] {
            assert!(!is_one(other), "{other}");
        }
        let mut secret = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
        secret.set_sensitive(true);
        assert_eq!(ImfDate::of(&secret), None);
    }

    proptest! {
        /// However many are asked for, each is given as it came.
        #[test]
        fn dates_come_back(seconds in proptest::collection::vec(1u32..300, 1..100), far in 1u32..) {
            for second in seconds.into_iter().chain([far]) {
                let date = ImfDate(NonZero::new(second).unwrap());
                prop_assert_eq!(date.value(), date.spelt());
                prop_assert_eq!(ImfDate::of(&date.value()), Some(date));
            }
        }
    }
}
