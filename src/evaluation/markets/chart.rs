//! Ranges of revenue by policy and kind of business, as plain SVG in colours that read on light and
//! dark.

use std::fmt::Write as _;

use super::score::Score;

const LEFT: f64 = 150.0;
const WIDTH: f64 = 420.0;
const ROW: f64 = 18.0;
const TOP: f64 = 40.0;

/// Draws a bar from the 10th to the 90th percentile with a dot at the mean, for every policy of
/// every kind, under `title`.
#[must_use]
pub fn ranges(title: &str, kinds: &[(&str, &[Score])]) -> String {
    let rows: usize = kinds.iter().map(|(_, scores)| scores.len() + 2).sum();
    let height = TOP + ROW * rows as f64 + 24.0;
    let top = kinds
        .iter()
        .flat_map(|(_, scores)| *scores)
        .map(|s| s.p90)
        .fold(100.0, f64::max);
    let most = (top / 50.0).ceil() * 50.0;
    let x = |v: f64| LEFT + WIDTH * v.clamp(0.0, most) / most;
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {height}\" width=\"{w}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\" fill=\"#777\">\n\
         <title>{title}</title>\n<text x=\"10\" y=\"20\" font-size=\"14\">{title}</text>",
        w = LEFT + WIDTH + 30.0,
    );
    let mut y = TOP;
    for (kind, scores) in kinds {
        y += ROW;
        let _ = writeln!(
            svg,
            "<text x=\"10\" y=\"{y:.0}\" font-weight=\"bold\">{kind}</text>"
        );
        let until = y + ROW * scores.len() as f64 + 6.0;
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} {from:.0}V{until:.0}\" stroke=\"#999\" stroke-dasharray=\"3 3\"/>",
            x = x(100.0),
            from = y - 6.0,
        );
        for score in *scores {
            y += ROW;
            let middle = y - 4.0;
            let colour = if score.name == super::OURS {
                "#0a7"
            } else {
                "#58c"
            };
            let _ = writeln!(
                svg,
                "<text x=\"{end:.0}\" y=\"{y:.0}\" text-anchor=\"end\">{name}</text>\
                 <path d=\"M{a:.1} {middle:.0}H{b:.1}\" stroke=\"{colour}\" stroke-width=\"5\" \
                 stroke-opacity=\"0.45\"/><circle cx=\"{m:.1}\" cy=\"{middle:.0}\" r=\"4\" fill=\"{colour}\"/>",
                end = LEFT - 8.0,
                name = score.name,
                a = x(score.p10),
                b = x(score.p90),
                m = x(score.mean),
            );
        }
        y += ROW;
    }
    let mut at = 0.0;
    while at <= most {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{y:.0}\" text-anchor=\"middle\">{at:.0}</text>",
            x(at)
        );
        at += 50.0;
    }
    svg.push_str("</svg>\n");
    svg
}
