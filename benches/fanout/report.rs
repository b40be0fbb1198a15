//! What the rounds gave, for people and programs: the terminal's table, Markdown, JSON.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;

use crate::chart;
use crate::contender::Contender;
use crate::figure::{Figure, Figures};
use crate::machine::Machine;
use crate::rounds::{Row, Table};
use crate::server;
use crate::statistics::Spread;

pub struct Report {
    machine: Machine,
    tables: Vec<Table>,
    contenders: Vec<Contender>,
    /// Who was not here, and why.
    absent: Vec<String>,
    rounds: usize,
}

/// `results.json`.
#[derive(Serialize)]
struct Results<'a> {
    machine: &'a Machine,
    rounds: usize,
    absent: &'a [String],
    contenders: Vec<Described>,
    workloads: Vec<Measured>,
}

#[derive(Serialize)]
struct Described {
    name: &'static str,
    about: &'static str,
    version: Option<String>,
}

#[derive(Serialize)]
struct Measured {
    name: String,
    title: String,
    results: Vec<Judged>,
}

/// Either an error or figures.
#[derive(Serialize)]
struct Judged {
    contender: &'static str,
    error: Option<String>,
    figures: BTreeMap<Figure, Spread>,
    rounds: Vec<Option<Figures>>,
}

impl Report {
    pub fn new(tables: Vec<Table>, contenders: Vec<Contender>, absent: Vec<String>, rounds: usize) -> Report {
        Report { machine: Machine::here(), tables, contenders, absent, rounds }
    }

    pub fn terminal(&self) -> String {
        let mut text = String::new();
        for table in &self.tables {
            let rows = cells(table);
            let mut widths = vec![0; rows[0].len()];
            for row in &rows {
                row.iter()
                    .zip(&mut widths)
                    .for_each(|(cell, width)| *width = (*width).max(cell.chars().count()));
            }
            text.push_str(&format!("\n{}\n", table.workload.title()));
            for row in &rows {
                let padded =
                    row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
                        0 => format!("  {cell:<width$}"),
                        _ => format!("  {cell:>width$}"),
                    });
                text.push_str(&format!("{}\n", padded.collect::<String>().trim_end()));
            }
            text.push_str(&errors(table).iter().map(|error| format!("  {error}\n")).collect::<String>());
        }
        text.push_str(&format!("\n{}\n{}\n", self.method(), self.where_and_when()));
        text.push_str(&self.absent.iter().map(|absent| format!("Not here: {absent}\n")).collect::<String>());
        text
    }

    /// Writes `report.md`, `results.json` and a chart a workload.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        for table in &self.tables {
            fs::write(folder.join(chart_name(table)), chart::bars(table))?;
        }
        fs::write(folder.join("report.md"), self.markdown())?;
        let json = serde_json::to_string_pretty(&self.results()).map_err(io::Error::other)?;
        fs::write(folder.join("results.json"), json + "\n")
    }

    fn markdown(&self) -> String {
        let mut text = format!("# Fan-out\n\n{}\n\n{}\n", self.method(), self.where_and_when());
        for table in &self.tables {
            let title = table.workload.title();
            text.push_str(&format!("\n## {title}\n\n![{title}]({})\n\n", chart_name(table)));
            for (number, row) in cells(table).iter().enumerate() {
                text.push_str(&format!("| {} |\n", row.join(" | ")));
                if number == 0 {
                    text.push_str(&format!("|---|{}\n", "---:|".repeat(row.len() - 1)));
                }
            }
            let errors = errors(table);
            text.push_str(&errors.iter().map(|error| format!("\n{error}\n")).collect::<String>());
        }
        text.push_str("\n## Who, and what was set\n\n");
        for contender in &self.contenders {
            let version = server::version(contender.launch).map_or(String::new(), |is| format!(" ({is})"));
            text.push_str(&format!("- **{}**{version}: {}.\n", contender.name, contender.about));
        }
        text.push_str(
            &self.absent.iter().map(|absent| format!("- Not here: {absent}.\n")).collect::<String>(),
        );
        text
    }

    fn method(&self) -> String {
        format!(
            "{} rounds, contenders in turn within each; medians, with the least and the most of the rounds in \
             brackets. Ratios are taken within a round. Who only \
             listens acknowledges what it reads at once, whatever it said when it came in. Every delivery was checked for count, order and content. \
             Processor time is the server's, all threads. \"load busy\" near 100 % means that the load generator \
             bounds deliveries a second there, not the server; processor time does not depend on it. Writes are the packets \
             with data that the kernel sent meanwhile, less the generator's. A line is as long \
             as a client receives it, chinwag's with the name in front; where a protocol has frames of its own, the \
             text alone is that long.",
            self.rounds
        )
    }

    fn where_and_when(&self) -> String {
        let Machine { date, processor, cores, memory_gigabytes, kernel, commit, pinning, load_average } =
            &self.machine;
        format!(
            "{date}, commit {commit}: {processor}, {cores} cores, {memory_gigabytes} GB, {kernel}; {pinning}; load \
             average {load_average} at the end."
        )
    }

    fn results(&self) -> Results<'_> {
        let described = |contender: &Contender| Described {
            name: contender.name,
            about: contender.about,
            version: server::version(contender.launch),
        };
        let result = |row: &Row, figures: &[Figure]| Judged {
            contender: row.contender.name,
            error: row.error().map(str::to_string),
            figures: row.spreads(figures),
            rounds: row.rounds.iter().map(|round| round.as_ref().ok().cloned()).collect(),
        };
        let measured = |table: &Table| Measured {
            name: table.workload.name.clone(),
            title: table.workload.title(),
            results: table.rows.iter().map(|row| result(row, table.workload.figures())).collect(),
        };
        Results {
            machine: &self.machine,
            rounds: self.rounds,
            absent: &self.absent,
            contenders: self.contenders.iter().map(described).collect(),
            workloads: self.tables.iter().map(measured).collect(),
        }
    }
}

fn chart_name(table: &Table) -> String {
    format!("{}.svg", table.workload.name)
}

/// A head and a row a contender. The first two figures with their spread.
fn cells(table: &Table) -> Vec<Vec<String>> {
    let figures = table.figures();
    let mut rows = vec![vec!["contender".to_string()]];
    rows[0].extend(figures.iter().map(|figure| figure.title().to_string()));
    for row in &table.rows {
        let cell = |(column, figure): (usize, &Figure)| match row.spread(*figure) {
            None => if row.error().is_some() && column == 0 { "failed" } else { "–" }.to_string(),
            Some(spread) if column < 2 && spread.least < spread.most => {
                let show = |value| figure.show(value);
                format!("{} ({}–{})", show(spread.median), show(spread.least), show(spread.most))
            }
            Some(spread) => figure.show(spread.median),
        };
        let mut line = vec![row.contender.name.to_string()];
        line.extend(figures.iter().enumerate().map(cell));
        rows.push(line);
    }
    rows
}

fn errors(table: &Table) -> Vec<String> {
    let error = |row: &Row| Some(format!("{} failed: {}", row.contender.name, row.error()?));
    table.rows.iter().filter_map(error).collect()
}
