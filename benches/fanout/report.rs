//! The tables as Markdown, and charts.

use std::fs;
use std::io;
use std::path::Path;

use crate::chart;
use crate::contender::Contender;
use crate::figure::{Table, digits};
use crate::machine;
use crate::server;

const METHOD: &str = "Contenders run in turn within each round. Figures are medians, with the least and the most of the \
rounds in brackets. Ratios are taken within a round, in the tables of WebSocket to chinwag-raw. Every delivery was checked \
for count, order and content. Processor time is the server's, of all threads. \"Load busy\" near 100 % means that the load \
generator bounds deliveries a second there, not the server; processor time does not depend on it. Writes are the packets \
with data that the kernel sent meanwhile, less the generator's. A line is as long as a client receives it, chinwag's with \
the name in front; where a protocol has frames of its own, the text alone is that long.";

pub fn markdown(tables: &[Table], contenders: &[Contender], absent: &[String]) -> String {
    let mut text = format!("# Fan-out\n\n{METHOD}\n");
    for table in tables {
        let title = table.workload.title();
        text.push_str(&format!("\n## {title}\n\n"));
        if table.workload.has_chart {
            text.push_str(&format!("![{title}]({})\n\n", chart_name(table)));
        }
        for (number, row) in cells(table).iter().enumerate() {
            text.push_str(&format!("| {} |\n", row.join(" | ")));
            if number == 0 {
                text.push_str(&format!("|---|{}\n", "---:|".repeat(row.len() - 1)));
            }
        }
        for row in &table.rows {
            if let Some(error) = row.error() {
                text.push_str(&format!("\n{} failed: {error}\n", row.contender.name));
            }
        }
    }
    let rounds = tables.first().map_or(0, |table| table.rows[0].rounds.len());
    text.push_str(&format!("\n{rounds} rounds, {}.\n", machine::description()));
    for contender in absent {
        text.push_str(&format!("\nNot here: {contender}.\n"));
    }
    text.push_str("\n## Contenders\n\n");
    for contender in contenders {
        let version =
            server::version(contender.launch).map_or(String::new(), |version| format!(" ({version})"));
        text.push_str(&format!("- **{}**{version}: {}.\n", contender.name, contender.about));
    }
    text
}

/// Writes `report.md`, and a chart for each workload that has one, into the folder.
pub fn write(folder: &Path, markdown: &str, tables: &[Table]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for table in tables.iter().filter(|table| table.workload.has_chart) {
        fs::write(folder.join(chart_name(table)), chart::bars(table))?;
    }
    fs::write(folder.join("report.md"), markdown)
}

fn chart_name(table: &Table) -> String {
    format!("{}.svg", table.workload.name)
}

/// A header and a row for each contender. The first two figures have their range.
fn cells(table: &Table) -> Vec<Vec<String>> {
    let columns = table.columns();
    let mut header = vec!["contender".to_string()];
    header.extend(columns.iter().map(|title| title.to_string()));
    let mut rows = vec![header];
    for row in &table.rows {
        let mut cells = vec![row.contender.name.to_string()];
        cells.extend(columns.iter().enumerate().map(|(column, title)| match row.spread(title) {
            None => "–".to_string(),
            Some(spread) if column < 2 && spread.least < spread.most => {
                let [median, least, most] = [spread.median, spread.least, spread.most].map(digits);
                format!("{median} ({least}–{most})")
            }
            Some(spread) => digits(spread.median),
        }));
        rows.push(cells);
    }
    rows
}
