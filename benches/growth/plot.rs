//! A plot of cost against size, both logarithmic, as SVG.

use std::fmt::Write as _;

use super::Point;

/// One line of the plot.
pub(crate) struct Curve {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<Point>,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 230.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 50.0;
/// From 1 to a million things.
const DECADES_X: f64 = 6.0;
/// From 10 ns to 100 us.
const LEAST_NS: f64 = 10.0;
const DECADES_Y: f64 = 4.0;
/// Of Okabe and Ito: told apart by those who see colours differently too.
const COLOURS: [&str; 5] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"];

/// The whole picture.
pub(crate) fn svg(curves: &[Curve]) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
    );
    grid(&mut out);
    for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let points: Vec<_> =
            curve.points.iter().map(|(of, ns)| format!("{:.1},{:.1}", x(*of as f64), y(*ns))).collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.join(" ")
        );
        for (of, ns) in &curve.points {
            let _ = writeln!(
                out,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                x(*of as f64),
                y(*ns)
            );
        }
    }
    legend(&mut out, curves);
    out.push_str("</svg>\n");
    out
}

fn grid(out: &mut String) {
    for (decade, name) in ["1", "10", "100", "1,000", "10,000", "100,000", "1,000,000"].iter().enumerate() {
        let at = LEFT + (WIDTH - LEFT - RIGHT) * decade as f64 / DECADES_X;
        let _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 18.0
        );
    }
    for (decade, name) in ["10 ns", "100 ns", "1 us", "10 us", "100 us"].iter().enumerate() {
        let at = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * decade as f64 / DECADES_Y;
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"{:.1}\">how many; CPU for one request, both logarithmic</text>",
        HEIGHT - 12.0
    );
}

/// Names beside the lines' ends, kept apart.
fn legend(out: &mut String, curves: &[Curve]) {
    for (number, (curve, colour)) in curves.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let at = TOP + 20.0 + 22.0 * number as f64;
        let from = WIDTH - RIGHT + 15.0;
        let _ = writeln!(
            out,
            "<line x1=\"{from}\" x2=\"{:.1}\" y1=\"{at}\" y2=\"{at}\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            from + 20.0,
            from + 28.0,
            at + 4.0,
            curve.name
        );
    }
}

fn x(of: f64) -> f64 {
    LEFT + (WIDTH - LEFT - RIGHT) * of.max(1.0).log10() / DECADES_X
}

fn y(ns: f64) -> f64 {
    HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (ns.max(LEAST_NS) / LEAST_NS).log10() / DECADES_Y
}
