//! `usageLimits` of an answer: what the whole account has used, by the vendor's count.
//!
//! Read as used counts by its names alone (nobody has documented it), so it is
//! used only where the operator says so, and can only ever make weir more careful.

use serde::Deserialize;

/// What the vendor says of one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The limit's name in weir: `minute`, `hour` or `day`.
    pub limit: &'static str,
    /// Requests of the whole account in that window.
    pub used: u32,
}

#[derive(Deserialize)]
struct Member {
    runs: Runs,
}

#[derive(Deserialize)]
struct Runs {
    minute: Option<u32>,
    hour: Option<u32>,
    day: Option<u32>,
}

/// The counts in a `usageLimits` value as it came; nothing if it has another shape.
pub(in crate::dialect) fn read(member: &[u8]) -> Vec<Usage> {
    let Ok(Member { runs }) = serde_json::from_slice(member) else { return Vec::new() };
    let known = [("minute", runs.minute), ("hour", runs.hour), ("day", runs.day)];
    known.into_iter().filter_map(|(limit, used)| Some(Usage { limit, used: used? })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_by_name() {
        let member = br#"{"clientId":1,"limits":{"minute":20,"hour":500,"day":2000},
            "runs":{"minute":3,"hour":40,"day":1999},"exceededMessage":null,"divisionUsageStatistics":[]}"#;
        let read = read(member);
        assert_eq!(
            read.iter().map(|u| (u.limit, u.used)).collect::<Vec<_>>(),
            [("minute", 3), ("hour", 40), ("day", 1999)]
        );
    }

    #[test]
    fn other_shapes_say_nothing() {
        for other in ["null", "[]", "{}", r#"{"runs":{"minute":-1}}"#, r#"{"runs":3}"#, "{"] {
            assert_eq!(read(other.as_bytes()), [], "{other}");
        }
        assert_eq!(read(br#"{"runs":{"day":7}}"#), [Usage { limit: "day", used: 7 }]);
    }
}
