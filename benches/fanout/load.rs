//! The load: thousands of clients of one server, which check every line that they receive.

use std::iter::Peekable;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fastrand::Rng;
use hdrhistogram::Histogram;

use crate::crowd::{Crowd, PATIENCE};
use crate::figure::{CPU_PER_DELIVERY, Figures, Outcome};
use crate::join;
use crate::ledger::Ledger;
use crate::machine;
use crate::server::Server;
use crate::speech::{Client, Protocol, Speech};
use crate::workload::{Kind, LINE_BYTES, SECONDS, Workload};

/// The talkers of the workloads that have no number of their own.
const TALKERS: usize = 64;

/// The longest that a workload takes; a server that needs more time has failed.
const RUN_MOST: Duration = Duration::from_secs(60);

/// A server may have accepted a connection and not have put it into the room yet, where clients have no handshake. A
/// client that needs more time than this misses a line, and the run fails.
const SETTLE: Duration = Duration::from_secs(1);

/// The same random times in every run.
const SEED: u64 = 0x0063_6869_6e77_6167;

pub fn run(protocol: Protocol, workload: &Workload, server: &Server) -> Outcome {
    let speech = Speech { protocol, text_bytes: protocol.text_bytes(LINE_BYTES) };
    let crowd = Crowd::new(server.address, speech)?;
    let mut figures = match workload.kind {
        Kind::Join => join::run(crowd, workload.clients, server.pid())?,
        Kind::InFlight(talkers) => {
            Load::enter(crowd, speech, workload.clients, talkers)?.in_flight(server)?
        }
        Kind::Poisson(rate) => {
            Load::enter(crowd, speech, workload.clients, TALKERS)?.poisson(rate, server)?
        }
    };
    figures.push(("peak MB", machine::peak_bytes(server.pid()).map_err(ended)? as f64 / 1e6));
    Ok(figures)
}

pub fn ended(error: std::io::Error) -> String {
    format!("the server's figures can't be read: {error}")
}

/// All clients in the room, and the records of a run.
struct Load {
    speech: Speech,
    crowd: Crowd,
    records: Records,
    /// The connection of each talker.
    talkers: Vec<usize>,
}

struct Records {
    ledger: Ledger,
    start: Instant,
    lines: u64,
    deliveries: u64,
    /// Talkers whose lines have all reached everybody.
    finished: Vec<u32>,
    /// In ns.
    latencies: Histogram<u64>,
}

impl Load {
    /// Connects all clients and waits until they are in the room.
    fn enter(mut crowd: Crowd, speech: Speech, clients: usize, talkers: usize) -> Result<Load, String> {
        for number in 0..clients {
            crowd.connect(Client { number: number as u32, listens: true })?;
        }
        // Spread over the clients.
        let mut talkers: Vec<usize> = (1..=talkers).map(|count| count * clients / talkers - 1).collect();
        let mut own: Vec<Option<u32>> = talkers.iter().map(|talker| Some(*talker as u32)).collect();
        if speech.protocol == Protocol::Redis {
            for (talker, own) in talkers.iter_mut().zip(&mut own) {
                let number = (clients + *talker) as u32;
                (*talker, *own) = (crowd.connect(Client { number, listens: false })?, None);
            }
        }
        crowd.wait_until_all_entered()?;
        sleep(SETTLE);
        crowd.acknowledge_at_once()?;
        let records = Records {
            ledger: Ledger::new(speech.text_bytes, clients, &own),
            start: Instant::now(),
            lines: 0,
            deliveries: 0,
            finished: Vec::new(),
            // A minute, to 3 digits.
            latencies: Histogram::new_with_bounds(1000, 60_000_000_000, 3).expect("bounds in order"),
        };
        Ok(Load { speech, crowd, records, talkers })
    }

    fn in_flight(mut self, server: &Server) -> Outcome {
        self.send_for(SECONDS / 4.0, None)?;
        self.measure(None, server)
    }

    fn poisson(mut self, rate: f64, server: &Server) -> Outcome {
        self.send_for(SECONDS / 4.0, Some(rate))?;
        self.records.latencies.reset();
        let mut figures = self.measure(Some(rate), server)?;
        let latencies = &self.records.latencies;
        let micros = |nanos: u64| nanos as f64 / 1000.0;
        figures.extend([
            ("p50 µs", micros(latencies.value_at_quantile(0.5))),
            ("p99 µs", micros(latencies.value_at_quantile(0.99))),
            ("p99.9 µs", micros(latencies.value_at_quantile(0.999))),
            ("max µs", micros(latencies.max())),
        ]);
        Ok(figures)
    }

    /// The use of the server and the generator until everything that was sent has arrived.
    fn measure(&mut self, rate: Option<f64>, server: &Server) -> Outcome {
        let (deliveries, lines, worked) = (self.records.deliveries, self.records.lines, self.crowd.worked);
        let packets = machine::packets_sent().map_err(ended)?;
        let (used, start) = (machine::processor_time(server.pid()).map_err(ended)?, Instant::now());
        self.send_for(SECONDS, rate)?;
        let seconds = start.elapsed().as_secs_f64();
        let used = machine::processor_time(server.pid()).map_err(ended)?.saturating_sub(used).as_secs_f64();
        // Each line that was sent is a packet of the generator's.
        let lines = self.records.lines - lines;
        let writes = (machine::packets_sent().map_err(ended)? - packets).saturating_sub(lines);
        let deliveries = (self.records.deliveries - deliveries) as f64;
        let worked = (self.crowd.worked - worked).as_secs_f64();
        Ok(Figures::from([
            (CPU_PER_DELIVERY, 1e6 * used / deliveries),
            ("deliveries/s", deliveries / seconds),
            ("writes/delivery", writes as f64 / deliveries),
            ("server busy %", 100.0 * used / seconds),
            ("load busy %", 100.0 * worked / seconds),
        ]))
    }

    /// Sends lines for so long, at random times or one in flight for each talker, and waits until all have arrived.
    fn send_for(&mut self, seconds: f64, rate: Option<f64>) -> Result<(), String> {
        let start = Instant::now();
        let due = poisson(rate.unwrap_or(0.0), self.talkers.len() as u32);
        let due = due.take_while(|(at, _)| rate.is_some() && *at < seconds);
        let mut due: Peekable<_> =
            due.map(|(at, talker)| (start + Duration::from_secs_f64(at), talker)).peekable();
        self.records.finished = (0..self.talkers.len() as u32).collect();
        let (mut deliveries, mut progress) = (0, start);
        loop {
            let now = Instant::now();
            while let Some((at, talker)) = due.next_if(|(at, _)| *at <= now) {
                self.send(talker, at)?;
            }
            for talker in std::mem::take(&mut self.records.finished) {
                if rate.is_none() && now < start + Duration::from_secs_f64(seconds) {
                    self.send(talker, now)?;
                }
            }
            if due.peek().is_none() && self.records.ledger.open() == 0 {
                return Ok(());
            }
            let records = &mut self.records;
            self.crowd.turn(&mut |listener, text| records.receive(listener, text))?;
            if self.records.deliveries != deliveries || self.records.ledger.open() == 0 {
                (deliveries, progress) = (self.records.deliveries, now);
            }
            if progress.elapsed() > PATIENCE || start.elapsed() > RUN_MOST {
                return Err(format!("{} lines are lost or late", self.records.ledger.open()));
            }
        }
    }

    fn send(&mut self, talker: u32, at: Instant) -> Result<(), String> {
        let records = &mut self.records;
        records.lines += 1;
        let stamp = records.ledger.send(talker, at.duration_since(records.start).as_nanos() as u64);
        self.crowd.send(self.talkers[talker as usize], &stamp.text(self.speech.text_bytes))
    }
}

impl Records {
    fn receive(&mut self, listener: usize, text: &[u8]) -> Result<(), String> {
        let delivery = self.ledger.receive(listener as u32, text).map_err(|fault| format!("{fault:?}"))?;
        self.deliveries += 1;
        let now = self.start.elapsed().as_nanos() as u64;
        self.latencies.saturating_record(now.saturating_sub(delivery.sent_at));
        self.finished.extend(delivery.finished);
        Ok(())
    }
}

/// Seconds from the start and the number of a talker, without an end: a Poisson process of so many lines a second.
fn poisson(rate: f64, talkers: u32) -> impl Iterator<Item = (f64, u32)> {
    let mut rng = Rng::with_seed(SEED);
    let mut at = 0.0;
    std::iter::repeat_with(move || {
        // Never the logarithm of nothing: the random part is below 1.
        at -= (1.0 - rng.f64()).ln() / rate;
        (at, rng.u32(0..talkers))
    })
}
