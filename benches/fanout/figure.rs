//! The figures of a run, and of several rounds together.

use crate::contender::Contender;
use crate::statistics::Spread;
use crate::workload::Workload;

/// A column's title and the value, in the order of the columns: the most telling first.
pub type Figures = Vec<(&'static str, f64)>;

/// Figures, or the reason why there are none.
pub type Outcome = Result<Figures, String>;

/// Processor time of all the server's threads for a delivered line. The tables compare contenders by it.
pub const CPU_PER_DELIVERY: &str = "CPU µs/delivery";

/// All contenders in a workload; chinwag is the first, if it is there.
pub struct Table {
    pub workload: Workload,
    pub rows: Vec<Row>,
}

/// All rounds of a contender in a workload.
pub struct Row {
    pub contender: Contender,
    pub rounds: Vec<Outcome>,
}

impl Table {
    pub fn new(workload: Workload, contenders: &[Contender]) -> Table {
        let fitting = contenders.iter().filter(|one| one.protocol.is_websocket() == workload.is_websocket);
        let rows = fitting.map(|one| Row { contender: one.clone(), rounds: Vec::new() }).collect();
        Table { workload, rows }
    }

    /// The titles of the columns, which are the same for all rows that have figures.
    pub fn columns(&self) -> Vec<&'static str> {
        let figures = self.rows.iter().flat_map(|row| &row.rounds).find_map(|round| round.as_ref().ok());
        figures.map_or(Vec::new(), |figures| figures.iter().map(|(title, _)| *title).collect())
    }

    /// Adds to the round that every row has run last its ratio to two contenders' same round.
    pub fn compare_last_round(&mut self) {
        let bare = self.rows.iter().find(|row| row.contender.name == "bare").and_then(Row::last_cpu);
        let chinwag = self.rows.iter().find(|row| row.contender.name.starts_with("chinwag"));
        let chinwag = chinwag.and_then(Row::last_cpu);
        for row in &mut self.rows {
            let cpu = row.last_cpu();
            for (title, base) in [("× chinwag", chinwag), ("× bare", bare)] {
                if let (Some(cpu), Some(base), Some(Ok(figures))) = (cpu, base, row.rounds.last_mut()) {
                    figures.insert(1, (title, cpu / base));
                }
            }
        }
    }
}

impl Row {
    fn last_cpu(&self) -> Option<f64> {
        value(self.rounds.last()?.as_ref().ok()?, CPU_PER_DELIVERY)
    }

    /// One failed round is enough: a row has either this or figures.
    pub fn error(&self) -> Option<&str> {
        self.rounds.iter().find_map(|round| round.as_ref().err()).map(String::as_str)
    }

    pub fn spread(&self, title: &str) -> Option<Spread> {
        if self.error().is_some() {
            return None;
        }
        let figures = self.rounds.iter().filter_map(|round| round.as_ref().ok());
        Spread::of(figures.filter_map(|figures| value(figures, title)).collect())
    }
}

fn value(figures: &Figures, title: &str) -> Option<f64> {
    figures.iter().find(|(of, _)| *of == title).map(|(_, value)| *value)
}

/// Three digits, or the whole number, in thousands if there are many.
pub fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 50_000.0 => format!("{:.0}k", value / 1000.0),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
