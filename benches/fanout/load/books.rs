//! What is kept of a run: the ledger, the names behind it, the clock, the latencies.

use std::time::Instant;

use hdrhistogram::Histogram;

use super::crowd::Crowd;
use crate::figure::{Figure, Figures};
use crate::ledger::Ledger;
use crate::payload::Stamp;

pub struct Books {
    pub ledger: Ledger,
    /// The client numbers of the talkers: the names their lines must bear.
    names: Vec<u32>,
    pub start: Instant,
    pub lines: u64,
    pub deliveries: u64,
    /// Talkers that everybody has heard to the end, since somebody last took them.
    pub finished: Vec<u32>,
    /// In ns; nothing while it isn't measured.
    histogram: Option<Histogram<u64>>,
}

impl Books {
    /// `rooms` of the listeners; `talkers` are connections, `own` what they themselves hear on.
    pub fn new(
        text_bytes: usize,
        rooms: &[u32],
        talkers: &[usize],
        own: &[Option<u32>],
        crowd: &Crowd,
    ) -> Books {
        let room = |talker: &usize| crowd.who(*talker).room.unwrap_or(0);
        let pairs: Vec<_> = talkers.iter().map(room).zip(own.iter().copied()).collect();
        Books {
            ledger: Ledger::new(text_bytes, rooms, &pairs),
            names: talkers.iter().map(|talker| crowd.who(*talker).number).collect(),
            start: Instant::now(),
            lines: 0,
            deliveries: 0,
            finished: Vec::new(),
            histogram: None,
        }
    }

    /// The talker's next line, meant for this time.
    pub fn say(&mut self, talker: u32, at: Instant) -> Stamp {
        self.lines += 1;
        let at = at.saturating_duration_since(self.start).as_nanos() as u64;
        self.ledger.say(talker, at)
    }

    pub fn hear(&mut self, listener: usize, from: Option<u32>, text: &[u8]) -> Result<(), String> {
        let heard = self.ledger.hear(listener as u32, text).map_err(|fault| fault.to_string())?;
        let Some(heard) = heard else {
            return Ok(());
        };
        self.deliveries += 1;
        if let Some(histogram) = &mut self.histogram {
            let now = self.start.elapsed().as_nanos() as u64;
            histogram.saturating_record(now.saturating_sub(heard.said_at));
        }
        self.finished.extend(heard.finished);
        match from {
            Some(from) if !self.is_name_of(from, text) => {
                Err(format!("a line came in the name of u{from:05}"))
            }
            _ => Ok(()),
        }
    }

    /// The ledger has found the text whole: its sender is a talker.
    fn is_name_of(&self, from: u32, text: &[u8]) -> bool {
        let stamp = Stamp::read(text, text.len());
        stamp.is_some_and(|stamp| self.names[stamp.sender as usize] == from)
    }

    /// Measures from now on, anew.
    pub fn measure_latency(&mut self) {
        // A minute, to 3 digits: about 0.2 MB.
        let histogram = Histogram::new_with_bounds(1000, 60_000_000_000, 3);
        self.histogram = Some(histogram.expect("the bounds are in order"));
    }

    /// What was measured since; nothing is measured any more.
    pub fn latencies(&mut self, figures: &mut Figures) {
        let Some(histogram) = self.histogram.take() else {
            return;
        };
        let mut insert = |figure, nanos: u64| figures.insert(figure, nanos as f64 / 1000.0);
        insert(Figure::LatencyP50, histogram.value_at_quantile(0.5));
        insert(Figure::LatencyP99, histogram.value_at_quantile(0.99));
        insert(Figure::LatencyP999, histogram.value_at_quantile(0.999));
        insert(Figure::LatencyMax, histogram.max());
    }
}
