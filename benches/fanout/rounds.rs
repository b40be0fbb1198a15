//! Who runs when: A B C A B C …, so that what the machine does besides falls on all alike; and what the rounds give
//! together.

use std::collections::BTreeMap;

use crate::contender::Contender;
use crate::figure::{Figure, Figures};
use crate::load::Outcome;
use crate::statistics::Spread;
use crate::workload::Workload;

/// The contenders that the others are compared with, where they are in the table.
const BASES: [(&str, Figure); 4] = [
    ("bare", Figure::AgainstBare),
    ("chinwag", Figure::AgainstChinwag),
    ("chinwag-raw", Figure::AgainstRaw),
    ("chinwag-ws", Figure::AgainstJson),
];

/// All rounds of a contender in a workload.
pub struct Row {
    pub contender: Contender,
    pub rounds: Vec<Outcome>,
    /// System calls a delivery, counted in a run of their own.
    pub calls: Option<f64>,
}

/// All contenders in a workload.
pub struct Table {
    pub workload: Workload,
    pub rows: Vec<Row>,
}

impl Table {
    pub fn new(workload: Workload, contenders: &[Contender]) -> Table {
        let fit = contenders.iter().filter(|contender| contender.can(&workload));
        let row =
            |contender: &Contender| Row { contender: contender.clone(), rounds: Vec::new(), calls: None };
        Table { rows: fit.map(row).collect(), workload }
    }

    /// The columns that hold anything: the first, and those that somebody has figures for.
    pub fn figures(&self) -> Vec<Figure> {
        let (first, rest) = self.workload.figures().split_at(1);
        let is_held = |figure: &Figure| self.rows.iter().any(|row| row.spread(*figure).is_some());
        first.iter().chain(rest.iter().filter(|figure| is_held(figure))).copied().collect()
    }

    /// Every row has run a round more: compares it with the others' same round.
    pub fn relate_last_round(&mut self) {
        for (base, figure) in BASES {
            let base = self.rows.iter().find(|row| row.contender.name == base).and_then(Row::last_cpu);
            let Some(base) = base else {
                continue;
            };
            for row in &mut self.rows {
                let ratio = row.last_cpu().map(|cpu| cpu / base);
                if let (Some(ratio), Some(Ok(figures))) = (ratio, row.rounds.last_mut()) {
                    figures.insert(figure, ratio);
                }
            }
        }
    }
}

impl Row {
    fn last_cpu(&self) -> Option<f64> {
        self.rounds.last()?.as_ref().ok()?.get(&Figure::CpuPerDelivery).copied()
    }

    /// Why there are no figures: one bad round is enough.
    pub fn error(&self) -> Option<&str> {
        self.rounds.iter().find_map(|round| round.as_ref().err()).map(String::as_str)
    }

    pub fn spread(&self, figure: Figure) -> Option<Spread> {
        if self.error().is_some() {
            return None;
        }
        if figure == Figure::CallsPerDelivery {
            return self.calls.and_then(|calls| Spread::of(&[calls]));
        }
        let values =
            |round: &Outcome| round.as_ref().ok().and_then(|figures: &Figures| figures.get(&figure).copied());
        Spread::of(&self.rounds.iter().filter_map(values).collect::<Vec<f64>>())
    }

    pub fn spreads(&self, figures: &[Figure]) -> BTreeMap<Figure, Spread> {
        figures.iter().filter_map(|figure| Some((*figure, self.spread(*figure)?))).collect()
    }
}
