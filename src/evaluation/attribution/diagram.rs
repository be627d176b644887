//! A reliability diagram: how often answers were right, over how sure they said to be. Plain SVG, in
//! colours that read on light and dark.

use std::fmt::Write as _;

use super::score::Bin;

/// The side of the square, and the room to its left and below, in pixels.
const SIDE: f64 = 320.0;
const LEFT: f64 = 52.0;
const TOP: f64 = 34.0;

/// One line of the diagram.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// What it is of.
    pub name: &'a str,
    /// Its colour, as SVG has it.
    pub colour: &'a str,
    /// Its bins; those without answers are left out.
    pub bins: &'a [Bin],
}

/// Draws the lines under a title. A dot's area tells how many answers it stands for.
#[must_use]
pub fn reliability(title: &str, lines: &[Line<'_>]) -> String {
    let x = |p: f64| LEFT + p * SIDE;
    let y = |p: f64| TOP + (1.0 - p) * SIDE;
    let mut svg = String::new();
    let (width, height) = (
        LEFT + SIDE + 24.0,
        TOP + SIDE + 52.0 + 18.0 * lines.len() as f64,
    );
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\" \
         fill=\"#777\">\n\
         <title>{title}</title>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{title}</text>\n\
         <rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{SIDE}\" height=\"{SIDE}\" fill=\"none\" stroke=\"#999\"/>",
        title = escaped(title),
    );
    for tenth in (0..=10).step_by(2) {
        let p = f64::from(tenth) / 10.0;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{p:.1}</text>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{p:.1}</text>",
            x(p),
            y(0.0) + 16.0,
            LEFT - 6.0,
            y(p) + 4.0,
        );
    }
    let _ = writeln!(
        svg,
        "<path d=\"M{:.1} {:.1}L{:.1} {:.1}\" stroke=\"#999\" stroke-dasharray=\"4 4\"/>\n\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">how sure it said to be</text>\n\
         <text x=\"14\" y=\"{:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {:.1})\">how often it was right</text>",
        x(0.0),
        y(0.0),
        x(1.0),
        y(1.0),
        x(0.5),
        y(0.0) + 34.0,
        y(0.5),
        y(0.5),
    );
    for (n, line) in lines.iter().enumerate() {
        let dots: Vec<&Bin> = line.bins.iter().filter(|bin| bin.answers > 0).collect();
        let path: Vec<String> = dots
            .iter()
            .map(|bin| format!("{:.1} {:.1}", x(bin.said), y(bin.right)))
            .collect();
        let _ = writeln!(
            svg,
            "<path d=\"M{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\"/>",
            path.join("L"),
            line.colour,
        );
        for bin in dots {
            let radius = (1.5 + libm::sqrt(bin.answers as f64) / 5.0).min(9.0);
            let _ = writeln!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius:.1}\" fill=\"{}\" fill-opacity=\"0.75\"><title>{} answers</title></circle>",
                x(bin.said),
                y(bin.right),
                line.colour,
                bin.answers,
            );
        }
        let down = y(0.0) + 52.0 + 18.0 * n as f64;
        let _ = writeln!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"5\" fill=\"{}\"/><text x=\"{:.1}\" y=\"{down:.1}\">{}</text>",
            LEFT + 6.0,
            down - 4.0,
            line.colour,
            LEFT + 18.0,
            escaped(line.name),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bin_with_answers_has_its_dot() {
        let bin = |answers, said, right| Bin {
            answers,
            said,
            right,
        };
        let line = Line {
            name: "a < b & c",
            colour: "#06c",
            bins: &[bin(4, 0.25, 0.5), bin(0, 0.0, 0.0), bin(100, 1.0, 1.0)],
        };
        let svg = reliability("two & more", &[line]);
        assert_eq!(svg.matches("answers</title>").count(), 2);
        // A quarter to the right and half the way up.
        assert!(svg.contains("cx=\"132.0\" cy=\"194.0\""), "{svg}");
        assert!(svg.contains("a &lt; b &amp; c") && svg.ends_with("</svg>\n"));
    }
}
