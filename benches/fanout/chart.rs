//! Bar charts of a workload's first figure, with the best contender on top.

use crate::figure::{Table, digits};

const WIDTH: f64 = 720.0;
const NAME_WIDTH: f64 = 140.0;
const VALUE_WIDTH: f64 = 90.0;
const ROW_HEIGHT: f64 = 26.0;
const HEAD_HEIGHT: f64 = 52.0;

/// Greys that can be read on white and on black, and sharper ones where the reader's theme is known.
const STYLE: &str = "
  text { font: 13px system-ui, sans-serif; fill: #59636e }
  .title { font-weight: 600 }
  .bar { fill: #8c959f }
  .own { fill: #2f81f7 }
  .spread { stroke: #59636e; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #c9d1d9 }
    .bar { fill: #6e7681 }
    .spread { stroke: #c9d1d9 }
  }
";

/// The chart as SVG. Bars are medians, whiskers the range. Contenders that failed are left out.
pub fn bars(table: &Table) -> String {
    let figure = table.columns().first().copied().unwrap_or_default();
    let mut rows: Vec<_> =
        table.rows.iter().filter_map(|row| Some((row.contender.name, row.spread(figure)?))).collect();
    rows.sort_by(|(_, one), (_, other)| one.median.total_cmp(&other.median));
    let most = rows.iter().map(|(_, spread)| spread.most).fold(f64::MIN_POSITIVE, f64::max);
    let scale = |value: f64| (WIDTH - NAME_WIDTH - VALUE_WIDTH) * value / most;
    let height = HEAD_HEIGHT + ROW_HEIGHT * rows.len() as f64 + 8.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\">\n<style>{STYLE}</style>\n\
         <text class=\"title\" x=\"0\" y=\"16\">{}</text>\n<text x=\"0\" y=\"36\">{}, less is better</text>\n",
        escape(&table.workload.title()),
        escape(figure),
    );
    for (number, (name, spread)) in rows.iter().enumerate() {
        let top = HEAD_HEIGHT + ROW_HEIGHT * number as f64;
        let (middle, text) = (top + ROW_HEIGHT / 2.0 - 3.0, top + ROW_HEIGHT / 2.0 + 2.0);
        let class = if name.starts_with("chinwag") { "own" } else { "bar" };
        let [least, median, most] = [spread.least, spread.median, spread.most].map(scale);
        svg.push_str(&format!(
            "<text x=\"{:.1}\" y=\"{text:.1}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{class}\" x=\"{NAME_WIDTH}\" y=\"{top:.1}\" width=\"{median:.1}\" height=\"{:.1}\" rx=\"2\"/>\
             <path class=\"spread\" d=\"M{:.1} {middle:.1}H{:.1}\"/>\
             <text x=\"{:.1}\" y=\"{text:.1}\">{}</text>\n",
            NAME_WIDTH - 8.0,
            escape(name),
            ROW_HEIGHT - 6.0,
            NAME_WIDTH + least,
            NAME_WIDTH + most,
            NAME_WIDTH + most.max(median) + 8.0,
            digits(spread.median),
        ));
    }
    svg + "</svg>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
