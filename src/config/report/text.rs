//! Tables in plain text.

use crate::quota::{Plan, Quantity};

/// `2,000`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && at % 3 == first {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `minute 2, day 200`, or a dash.
pub(super) fn quantities(quantities: &[Quantity], plan: &Plan) -> String {
    if quantities.is_empty() {
        return "-".into();
    }
    let one = |quantity: &Quantity| {
        format!("{} {}", plan.limits[quantity.limit].name, count(quantity.requests.get().into()))
    };
    quantities.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Adds the rows under their header, columns aligned, and an empty line. A
/// header that begins with `#` aligns its column to the right.
pub(super) fn table(out: &mut String, header: &[&str], rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    let title = |column: &str| column.trim_start_matches('#').to_owned();
    let titles = header.iter().map(|column| title(column)).collect::<Vec<_>>();
    let width = |column: usize| {
        let cells = rows.iter().chain(std::iter::once(&titles)).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    for row in std::iter::once(&titles).chain(&rows) {
        let mut line = String::from(" ");
        for ((cell, width), column) in row.iter().zip(&widths).zip(header) {
            line.push(' ');
            match column.starts_with('#') {
                true => line.push_str(&format!("{cell:>width$}")),
                false => line.push_str(&format!("{cell:<width$}")),
            }
            line.push(' ');
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out.push('\n');
}
