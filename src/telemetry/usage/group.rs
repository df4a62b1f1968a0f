//! Rows added up by what one wants to see.

use std::collections::BTreeMap;

use super::Key;
use crate::telemetry::tally::Cell;

/// What rows are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// The vendor.
    Upstream,
    /// The division.
    Division,
    /// The consumer.
    Consumer,
    /// The route.
    Route,
    /// The day.
    Day,
}

/// One row: its names in the order of the dimensions, and what it adds up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// A name for each dimension.
    pub names: Vec<String>,
    /// The sum.
    pub cell: Cell,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Upstream, Self::Division, Self::Consumer, Self::Route, Self::Day];

    /// The word in queries and as a column's title.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Division => "division",
            Self::Consumer => "consumer",
            Self::Route => "route",
            Self::Day => "day",
        }
    }

    /// From its word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dimension| dimension.as_str() == word)
    }

    fn name(self, key: &Key) -> String {
        match self {
            Self::Upstream => key.upstream.to_string(),
            Self::Division => key.division.to_string(),
            Self::Consumer => key.consumer.to_string(),
            Self::Route => key.route.to_string(),
            Self::Day => key.day.to_string(),
        }
    }
}

/// Adds `rows` up: days in their order, everything else the dearest first.
#[must_use]
pub fn group(rows: &[(Key, Cell)], by: &[Dimension]) -> Vec<Group> {
    let mut sums: BTreeMap<Vec<String>, Cell> = BTreeMap::new();
    for (key, cell) in rows {
        let names = by.iter().map(|dimension| dimension.name(key)).collect();
        sums.entry(names).or_default().add(cell);
    }
    let mut groups: Vec<_> = sums.into_iter().map(|(names, cell)| Group { names, cell }).collect();
    if by.first() != Some(&Dimension::Day) {
        groups.sort_by_key(|group| std::cmp::Reverse((group.cell.price, group.cell.asked())));
    }
    groups
}
