//! One table with medians and ratios.

use std::collections::BTreeMap;
use std::fmt;

use super::load::Turn;
use super::odd::Figure;
use super::peer::Peer;

/// All that was measured.
pub(crate) struct Table {
    title: String,
    cases: Vec<&'static str>,
    turns: BTreeMap<(&'static str, Peer), Vec<Turn>>,
    figures: BTreeMap<(&'static str, Peer), Vec<Figure>>,
}

impl Table {
    pub(crate) fn new(title: &str) -> Self {
        Self { title: title.to_owned(), cases: Vec::new(), turns: BTreeMap::new(), figures: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, case: &'static str, turn: Turn) {
        self.list(case);
        self.turns.entry((case, turn.peer)).or_default().push(turn);
    }

    pub(crate) fn note(&mut self, case: &'static str, figure: Figure) {
        self.list(case);
        self.figures.entry((case, figure.peer)).or_default().push(figure);
    }

    fn list(&mut self, case: &'static str) {
        if !self.cases.contains(&case) {
            self.cases.push(case);
        }
    }

    fn cpu(&self, case: &'static str, peer: Peer) -> Option<f64> {
        Some(median(self.turns.get(&(case, peer))?.iter().map(|turn| turn.per_million.total())))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}; medians\n", self.title)?;
        writeln!(
            f,
            "| case | peer | CPU-s per million (user + system) | to nginx | to hyper | requests/s | p50 ms | p99 ms |"
        )?;
        writeln!(f, "| --- | --- | --- | --- | --- | --- | --- | --- |")?;
        for ((case, peer), turns) in
            self.cases.iter().flat_map(|case| self.turns.range((*case, Peer::Hyper)..=(*case, Peer::Weir)))
        {
            let of = |value: fn(&Turn) -> f64| median(turns.iter().map(value));
            let cpu = of(|turn| turn.per_million.total());
            let to =
                |other| self.cpu(case, other).map_or("-".to_owned(), |base| format!("{:.2}", cpu / base));
            writeln!(
                f,
                "| {case} | {peer:?} | {cpu:.2} ({:.2} + {:.2}) | {} | {} | {:.0} | {:.2} | {:.2} |",
                of(|turn| turn.per_million.user),
                of(|turn| turn.per_million.system),
                to(Peer::Nginx),
                to(Peer::Hyper),
                of(|turn| turn.per_second),
                of(|turn| turn.p50_ms),
                of(|turn| turn.p99_ms),
            )?;
        }
        if self.figures.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n| case | peer | figure | of all rounds |\n| --- | --- | --- | --- |")?;
        for ((case, peer), figures) in
            self.cases.iter().flat_map(|case| self.figures.range((*case, Peer::Hyper)..=(*case, Peer::Weir)))
        {
            let all: Vec<String> =
                figures.iter().map(|figure| format!("{:.2}{}", figure.value, figure.note)).collect();
            let middle = median(figures.iter().map(|figure| figure.value));
            writeln!(f, "| {case} | {peer:?} | {middle:.2} | {} |", all.join(", "))?;
        }
        Ok(())
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.collect();
    all.sort_unstable_by(f64::total_cmp);
    // Of an even number the middle of the middle two.
    let at = |at: usize| all.get(at).copied().unwrap_or(f64::NAN);
    (at(all.len().saturating_sub(1) / 2) + at(all.len() / 2)) / 2.0
}
