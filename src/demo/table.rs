//! What the demo shows: a live table, or a line a second, and the summary.

use std::fmt::Write;
use std::time::Duration;

use super::{CONSUMERS, MINUTE, View};
use crate::admin::Watched;
use crate::clock::Moment;
use crate::emulator::Emulator;

use crate::telemetry::{Counts, Outcome};

/// Draws frames over each other, or lines under each other.
#[derive(Debug)]
pub(super) struct Table {
    view: View,
    began: Moment,
    /// Lines of the last frame, to be drawn over.
    drawn: usize,
}

impl Table {
    pub(super) fn new(view: View, began: Moment) -> Self {
        Self { view, began, drawn: 0 }
    }

    /// What is to be printed now.
    pub(super) fn frame(&mut self, lane: &Watched, vendor: &Emulator, now: Moment) -> String {
        let elapsed = now.since(self.began).as_secs_f64();
        if self.view == View::Lines {
            return line(lane, vendor, elapsed);
        }
        let mut text = String::new();
        if self.drawn > 0 {
            // Up to where the last frame began; each line is cleared before it is written.
            let _ = write!(text, "\x1b[{}A", self.drawn);
        }
        let body = format!("{:5.1} s  {}\n\n{}", elapsed, limits(lane), consumers(lane));
        self.drawn = body.lines().count();
        for line in body.lines() {
            let _ = writeln!(text, "\x1b[2K{line}");
        }
        text.pop();
        text
    }

    /// The last word.
    pub(super) fn summary(&self, lane: &Watched, vendor: &Emulator, now: Moment) -> String {
        let all = total(lane);
        let elapsed = now.since(self.began);
        let minutes = elapsed.as_secs_f64() / MINUTE.as_secs_f64();
        let analytic =
            vendor.tallies().iter().find(|tally| tally.limit.starts_with("20/")).map_or(0, |t| t.counted);
        let share = if minutes >= 1.0 { 100.0 * analytic as f64 / (20.0 * minutes) } else { 0.0 };
        let mut text = String::from("\n");
        if self.view == View::Lines {
            text.push_str(&consumers(lane));
            text.push('\n');
        }
        let _ = writeln!(text, "vendor 429s          {}", vendor.refused());
        let _ = writeln!(text, "requests asked       {}", all.asked());
        let _ = writeln!(text, "  from the cache     {}", all.of(Outcome::Fresh) + all.of(Outcome::Stale));
        let _ = writeln!(text, "  joined             {}", all.of(Outcome::Joined));
        let _ = writeln!(text, "  paid               {}", all.of(Outcome::Paid));
        let _ = writeln!(text, "  hung up            {}", all.of(Outcome::Left));
        let _ = writeln!(text, "  refused by weir    {}", all.of(Outcome::Refused));
        let _ =
            writeln!(text, "  waited             {} (mean {} ms)", all.waits, mean_wait(&all).as_millis());
        let _ = writeln!(text, "sent to the vendor   {}", lane.vendor.sent());
        let _ = write!(text, "of the minute's 20   {share:.0} % used over {:.0} s", elapsed.as_secs_f64());
        text
    }
}

fn line(lane: &Watched, vendor: &Emulator, elapsed: f64) -> String {
    let all = total(lane);
    format!(
        "{elapsed:5.1} s  {}  asked {} cached {} joined {} paid {} refused {}  vendor 429s {}",
        limits(lane),
        all.asked(),
        all.of(Outcome::Fresh) + all.of(Outcome::Stale),
        all.of(Outcome::Joined),
        all.of(Outcome::Paid),
        all.of(Outcome::Refused),
        vendor.refused()
    )
}

fn limits(lane: &Watched) -> String {
    let snapshot = lane.budget.snapshot();
    let mut parts: Vec<String> = snapshot
        .account
        .iter()
        .map(|limit| format!("{} {}/{}", limit.limit, limit.used, limit.allowed))
        .collect();
    parts.push(format!("waiting {}", snapshot.waiting));
    parts.join("  ")
}

fn consumers(lane: &Watched) -> String {
    let mut text = format!(
        "{:<16}{:<10}{:>7}{:>8}{:>8}{:>7}{:>7}{:>9}{:>9}{:>10}\n",
        "consumer",
        "division",
        "asked",
        "cached",
        "joined",
        "paid",
        "of all",
        "refused",
        "hung up",
        "wait ms"
    );
    let paid = total(lane).price.max(1);
    for (seat, consumer) in lane.config.plan.consumers.iter().enumerate() {
        let counts = lane.tally.of(seat);
        let name = consumer.name.as_str();
        let division = CONSUMERS.iter().find(|(of, ..)| *of == name).map_or("", |(.., division)| division);
        let _ = writeln!(
            text,
            "{name:<16}{division:<10}{:>7}{:>8}{:>8}{:>7}{:>5} %{:>9}{:>9}{:>10}",
            counts.asked(),
            counts.of(Outcome::Fresh) + counts.of(Outcome::Stale),
            counts.of(Outcome::Joined),
            counts.price,
            100 * counts.price / paid,
            counts.of(Outcome::Refused),
            counts.of(Outcome::Left),
            mean_wait(&counts).as_millis()
        );
    }
    text
}

fn total(lane: &Watched) -> Counts {
    (0..lane.config.plan.consumers.len())
        .map(|seat| lane.tally.of(seat))
        .fold(Counts::default(), Counts::plus)
}

fn mean_wait(counts: &Counts) -> Duration {
    counts.waited.checked_div(u32::try_from(counts.waits).unwrap_or(u32::MAX)).unwrap_or_default()
}
