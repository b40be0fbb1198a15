//! What the rounds gave, for people and programs: the terminal's table, Markdown, JSON.
//!
//! A folder keeps all that was ever measured into it: a run replaces the workloads that it measured, and lets the others be.
//! So all of it can be measured piece by piece, and each workload says when and where it was.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::chart;
use crate::contender::{self, Contender};
use crate::figure::{Figure, Figures};
use crate::machine::Machine;
use crate::merge::over;
use crate::rounds::{Row, Table};
use crate::server;
use crate::statistics::Spread;
use crate::workload;

const METHOD: &str = "Contenders in turn within each round; medians, with the least and the most of the rounds in brackets. \
Ratios are taken within a round. Who only listens acknowledges what it reads at once, whatever it said when it came in. \
Every delivery was checked for count, order and content. Processor time is the server's, all threads. \"load busy\" near \
100 % means that the load generator bounds deliveries a second there, not the server; processor time does not depend on \
it. Writes are the packets with data that the kernel sent meanwhile, less the generator's. A line is as long as a client \
receives it, chinwag's with the name in front; where a protocol has frames of its own, the text alone is that long.";

/// `results.json`.
#[derive(Serialize, Deserialize)]
pub struct Report {
    contenders: Vec<Described>,
    workloads: Vec<Section>,
}

#[derive(Serialize, Deserialize)]
struct Described {
    name: String,
    about: String,
    version: Option<String>,
}

/// A workload, and what it gave when it was last measured.
#[derive(Serialize, Deserialize)]
pub struct Section {
    pub name: String,
    pub title: String,
    machine: Machine,
    rounds: usize,
    /// Who was not there, and why.
    absent: Vec<String>,
    /// The figures that are shown, the most telling first.
    pub columns: Vec<Figure>,
    pub results: Vec<Judged>,
}

/// Either an error or figures.
#[derive(Serialize, Deserialize)]
pub struct Judged {
    pub contender: String,
    error: Option<String>,
    pub figures: BTreeMap<Figure, Spread>,
    rounds: Vec<Option<Figures>>,
}

impl Report {
    pub fn new(tables: &[Table], contenders: &[Contender], absent: &[String], rounds: usize) -> Report {
        let machine = Machine::here();
        let described = |contender: &Contender| Described {
            name: contender.name.to_string(),
            about: contender.about.to_string(),
            version: server::version(contender.launch),
        };
        let section = |table: &Table| Section {
            name: table.workload.name.clone(),
            title: table.workload.title(),
            machine: machine.clone(),
            rounds,
            absent: absent.to_vec(),
            columns: table.figures(),
            results: table.rows.iter().map(|row| judged(row, table.workload.figures())).collect(),
        };
        Report {
            contenders: contenders.iter().map(described).collect(),
            workloads: tables.iter().map(section).collect(),
        }
    }

    pub fn terminal(&self) -> String {
        let mut text = String::new();
        for section in &self.workloads {
            let rows = section.cells();
            let mut widths = vec![0; rows[0].len()];
            for row in &rows {
                row.iter()
                    .zip(&mut widths)
                    .for_each(|(cell, width)| *width = (*width).max(cell.chars().count()));
            }
            text.push_str(&format!("\n{}\n", section.title));
            for row in &rows {
                let padded =
                    row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
                        0 => format!("  {cell:<width$}"),
                        _ => format!("  {cell:>width$}"),
                    });
                text.push_str(&format!("{}\n", padded.collect::<String>().trim_end()));
            }
            text.push_str(&section.errors().map(|error| format!("  {error}\n")).collect::<String>());
        }
        text.push_str(&format!("\n{METHOD}\n"));
        // All were measured at once.
        if let Some(section) = self.workloads.last() {
            text.push_str(&section.circumstances());
        }
        text
    }

    /// Adds itself to what the folder has: `report.md`, `results.json` and a chart a workload.
    pub fn write(self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let path = folder.join("results.json");
        // Before anything is overwritten: it may not be readable.
        let older = match fs::read(&path) {
            Ok(json) => Some(serde_json::from_slice(&json).map_err(io::Error::other)?),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        for section in &self.workloads {
            fs::write(folder.join(section.chart_name()), chart::bars(section))?;
        }
        let all = match older {
            Some(older) => self.over(older),
            None => self,
        };
        fs::write(folder.join("report.md"), all.markdown())?;
        let json = serde_json::to_string_pretty(&all).map_err(io::Error::other)?;
        fs::write(path, json + "\n")
    }

    /// Takes the place of what `older` has of the same, in the order in which they are run.
    fn over(self, older: Report) -> Report {
        let (workloads, contenders) = (workload::full(), contender::all());
        let workloads: Vec<&str> = workloads.iter().map(|workload| workload.name.as_str()).collect();
        let contenders: Vec<&str> = contenders.iter().map(|contender| contender.name).collect();
        Report {
            contenders: over(self.contenders, older.contenders, |one| &one.name, &contenders),
            workloads: over(self.workloads, older.workloads, |one| &one.name, &workloads),
        }
    }

    fn markdown(&self) -> String {
        let mut text = format!("# Fan-out\n\n{METHOD}\n");
        for section in &self.workloads {
            let title = &section.title;
            text.push_str(&format!("\n## {title}\n\n![{title}]({})\n\n", section.chart_name()));
            for (number, row) in section.cells().iter().enumerate() {
                text.push_str(&format!("| {} |\n", row.join(" | ")));
                if number == 0 {
                    text.push_str(&format!("|---|{}\n", "---:|".repeat(row.len() - 1)));
                }
            }
            text.push_str(&section.errors().map(|error| format!("\n{error}\n")).collect::<String>());
            text.push_str(&format!("\n{}", section.circumstances()));
        }
        text.push_str("\n## Who, and what was set\n\n");
        for Described { name, about, version } in &self.contenders {
            let version = version.as_ref().map_or(String::new(), |version| format!(" ({version})"));
            text.push_str(&format!("- **{name}**{version}: {about}.\n"));
        }
        text
    }
}

fn judged(row: &Row, figures: &[Figure]) -> Judged {
    Judged {
        contender: row.contender.name.to_string(),
        error: row.error().map(str::to_string),
        figures: row.spreads(figures),
        rounds: row.rounds.iter().map(|round| round.as_ref().ok().cloned()).collect(),
    }
}

impl Section {
    fn chart_name(&self) -> String {
        format!("{}.svg", self.name)
    }

    /// Where and when, and who was not there.
    fn circumstances(&self) -> String {
        let absent: String = self.absent.iter().map(|absent| format!("Not here: {absent}.\n")).collect();
        format!("{} rounds, {}.\n{absent}", self.rounds, self.machine)
    }

    /// A head and a row a contender. The first two figures with their spread.
    fn cells(&self) -> Vec<Vec<String>> {
        let mut rows = vec![vec!["contender".to_string()]];
        rows[0].extend(self.columns.iter().map(|figure| figure.title().to_string()));
        for judged in &self.results {
            let cell = |(column, figure): (usize, &Figure)| match judged.figures.get(figure) {
                None => if judged.error.is_some() && column == 0 { "failed" } else { "–" }.to_string(),
                Some(spread) if column < 2 && spread.least < spread.most => {
                    let show = |value| figure.show(value);
                    format!("{} ({}–{})", show(spread.median), show(spread.least), show(spread.most))
                }
                Some(spread) => figure.show(spread.median),
            };
            let mut line = vec![judged.contender.clone()];
            line.extend(self.columns.iter().enumerate().map(cell));
            rows.push(line);
        }
        rows
    }

    fn errors(&self) -> impl Iterator<Item = String> {
        let error =
            |judged: &Judged| Some(format!("{} failed: {}", judged.contender, judged.error.as_ref()?));
        self.results.iter().filter_map(error)
    }
}
