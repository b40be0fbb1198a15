//! The load generator: thousands of clients of one server, in one thread of a process of its own, that check what
//! they hear.
//!
//! The runner starts it with an [`Order`] as its argument and reads [`Figures`] or an error from its output.

mod books;
mod calls;
mod crowd;
mod join;
mod pace;
mod schedule;
mod settle;

use std::net::SocketAddr;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::account::{self, Processor};
use crate::figure::{Figure, Figures};
use crate::speech::{Client, Protocol, name_bytes, speech};
use crate::workload::{Kind, Workload};
use books::Books;
use crowd::Crowd;

/// What the generator is to do.
#[derive(Serialize, Deserialize)]
pub struct Order {
    pub protocol: Protocol,
    pub address: SocketAddr,
    /// Where those talk who have connections of their own for that.
    pub talk_address: SocketAddr,
    pub server: u32,
    /// Clients that may be coming in at once.
    pub backlog: usize,
    pub workload: Workload,
    /// Count the server's system calls, and nothing else.
    pub count_calls: bool,
}

impl Order {
    /// How long the texts are. A line is what a client receives, so that all who send lines move the same bytes: where
    /// the server puts a name in front, the text is that much shorter.
    fn text_bytes(&self) -> usize {
        self.workload.line_bytes - "\n".len() - name_bytes(self.protocol)
    }
}

pub type Outcome = Result<Figures, String>;

/// The talkers of the workloads that have no number of their own.
const TALKERS: usize = 64;

/// Carries out an order.
pub fn carry_out(order: &Order) -> Outcome {
    match order.workload.kind {
        Kind::Join => join::run(order),
        Kind::InFlight(_) if order.count_calls => Load::enter(order)?.count_calls(),
        Kind::InFlight(_) => Load::enter(order)?.in_flight(),
        Kind::HalfCapacity => Load::enter(order)?.half_capacity(),
        Kind::Rate(lines) => Load::enter(order)?.rate(f64::from(lines)),
        Kind::Poisson(lines) => Load::enter(order)?.poisson(f64::from(lines)),
        Kind::Stalled => Load::enter(order)?.stalled(),
    }
    .and_then(|figures| with_peak(order, figures))
}

fn with_peak(order: &Order, mut figures: Figures) -> Outcome {
    let peak = account::peak_bytes(order.server).map_err(|error| format!("the server is gone: {error}"))?;
    figures.insert(Figure::PeakMemory, peak as f64 / 1e6);
    Ok(figures)
}

/// Everybody in the room, and the books on what they say.
struct Load<'a> {
    order: &'a Order,
    crowd: Crowd,
    books: Books,
    /// The connections that talk, by the number the ledger knows them by.
    talkers: Vec<usize>,
}

/// What the server and the generator used while something was said.
struct Span {
    deliveries: f64,
    lines: f64,
    seconds: f64,
    cpu_seconds: f64,
    user_share: f64,
    packets: f64,
    /// What the generator spent on what it read and said.
    worked_seconds: f64,
}

impl Load<'_> {
    /// Connects everybody and waits until they hear each other.
    fn enter(order: &Order) -> Result<Load<'_>, String> {
        let workload = &order.workload;
        let text_bytes = order.text_bytes();
        let hearing = match workload.kind {
            Kind::Stalled => workload.clients / 2,
            _ => workload.clients,
        };
        let mut crowd = Crowd::new(
            [order.address, order.talk_address],
            order.backlog,
            speech(order.protocol, text_bytes),
        )?;
        let room = |number: usize| workload.room_members.map(|members| (number / members) as u32);
        for number in 0..hearing {
            crowd.connect(Client { number: number as u32, room: room(number), hears: true })?;
        }
        let mut talkers = pick_talkers(workload, hearing);
        let mut own: Vec<Option<u32>> = talkers.iter().map(|talker| Some(*talker as u32)).collect();
        if crowd.talkers_apart() {
            for (count, talker) in talkers.iter_mut().enumerate() {
                let number = hearing + count;
                crowd.connect(Client { number: number as u32, room: room(*talker), hears: false })?;
                (*talker, own[count]) = (number, None);
            }
        }
        crowd.wait_until_all_entered()?;
        let rooms: Vec<u32> = (0..hearing).map(|number| room(number).unwrap_or(0)).collect();
        let books = Books::new(text_bytes, &rooms, &talkers, &own, &crowd);
        let mut load = Load { order, crowd, books, talkers };
        settle::settle(&mut load.crowd, &load.talkers, &rooms, text_bytes)?;
        Ok(load)
    }

    fn in_flight(mut self) -> Outcome {
        let seconds = self.order.workload.seconds;
        self.say_in_turn(seconds / 4.0)?;
        Ok(self.span(|load| load.say_in_turn(seconds))?.figures())
    }

    fn count_calls(mut self) -> Outcome {
        self.say_in_turn(0.1)?;
        let counter = calls::Counter::attach(self.order.server)?;
        let before = self.books.deliveries;
        self.say_in_turn(0.3)?;
        let calls = counter.stop()?;
        let deliveries = self.books.deliveries - before;
        Ok(Figures::from([(Figure::CallsPerDelivery, calls as f64 / deliveries as f64)]))
    }

    fn half_capacity(mut self) -> Outcome {
        let rate = self.capacity()? / 2.0;
        self.rate(rate)
    }

    fn rate(mut self, rate: f64) -> Outcome {
        let seconds = self.order.workload.seconds;
        let span = self.at_rate(rate, seconds)?;
        let mut figures = span.figures();
        // Not a capacity here, but what was asked for.
        figures.remove(&Figure::DeliveriesPerSecond);
        figures.insert(Figure::LinesPerSecond, rate);
        self.books.latencies(&mut figures);
        Ok(figures)
    }

    fn poisson(mut self, rate: f64) -> Outcome {
        let (seconds, talkers) = (self.order.workload.seconds, self.talkers.len() as u32);
        self.say_on_schedule(schedule::poisson(rate, talkers), seconds / 4.0)?;
        self.books.measure_latency();
        let said = self.span(|load| load.say_on_schedule(schedule::poisson(rate, talkers), seconds))?;
        let mut figures = said.figures();
        self.books.latencies(&mut figures);
        Ok(figures)
    }

    fn stalled(mut self) -> Outcome {
        let seconds = self.order.workload.seconds;
        let rate = self.capacity()? / 4.0;
        self.at_rate(rate, seconds)?;
        let mut without = Figures::new();
        self.books.latencies(&mut without);

        let server = self.order.server;
        let memory = |error| format!("the server's memory can't be read: {error}");
        let before = account::resident_bytes(server).map_err(memory)?;
        account::forget_peak(server).map_err(memory)?;
        let hearing = self.order.workload.clients / 2;
        for number in 0..hearing {
            let number = (hearing + TALKERS + number) as u32;
            self.crowd.connect_stalled(Client { number, room: None, hears: true })?;
        }
        self.crowd.wait_until_all_entered()?;
        let mut figures = self.at_rate(rate, seconds)?.figures();
        figures.remove(&Figure::DeliveriesPerSecond);
        figures.insert(Figure::LinesPerSecond, rate);
        self.books.latencies(&mut figures);
        let growth = account::peak_bytes(server).map_err(memory)?.saturating_sub(before);
        figures.insert(Figure::MemoryGrowth, growth as f64 / 1e6);
        figures.insert(Figure::LatencyP99Growth, figures[&Figure::LatencyP99] / without[&Figure::LatencyP99]);
        Ok(figures)
    }

    /// Lines a second with all talkers in flight.
    fn capacity(&mut self) -> Result<f64, String> {
        let seconds = self.order.workload.seconds / 4.0;
        self.say_in_turn(seconds)?;
        let span = self.span(|load| load.say_in_turn(seconds))?;
        Ok(span.lines / span.seconds)
    }

    fn at_rate(&mut self, rate: f64, seconds: f64) -> Result<Span, String> {
        self.books.measure_latency();
        let talkers = self.talkers.len() as u32;
        self.span(|load| load.say_on_schedule(schedule::even(rate, talkers), seconds))
    }

    /// What is used while `work` is done; it ends when everything said is heard.
    fn span(&mut self, work: impl FnOnce(&mut Self) -> Result<(), String>) -> Result<Span, String> {
        let look = |pid| Processor::of(pid).map_err(|error| format!("the server is gone: {error}"));
        let (deliveries, lines) = (self.books.deliveries, self.books.lines);
        let sent = || account::packets_sent().map_err(|error| format!("packets can't be counted: {error}"));
        let packets = sent()?;
        let (server, worked, start) = (look(self.order.server)?, self.crowd.worked, Instant::now());
        work(self)?;
        let seconds = start.elapsed().as_secs_f64();
        let used = look(self.order.server)?.since(&server);
        let lines = self.books.lines - lines;
        Ok(Span {
            deliveries: (self.books.deliveries - deliveries) as f64,
            lines: lines as f64,
            seconds,
            // A line that is said is a packet of the generator's.
            packets: (sent()? - packets).saturating_sub(lines) as f64,
            cpu_seconds: used.total.as_secs_f64(),
            user_share: used.user_share,
            worked_seconds: (self.crowd.worked - worked).as_secs_f64(),
        })
    }
}

impl Span {
    fn figures(&self) -> Figures {
        Figures::from([
            (Figure::CpuPerDelivery, 1e6 * self.cpu_seconds / self.deliveries),
            (Figure::DeliveriesPerSecond, self.deliveries / self.seconds),
            (Figure::WritesPerDelivery, self.packets / self.deliveries),
            (Figure::UserShare, 100.0 * self.user_share),
            (Figure::ServerBusy, 100.0 * self.cpu_seconds / self.seconds),
            (Figure::GeneratorBusy, 100.0 * self.worked_seconds / self.seconds),
        ])
    }
}

/// Spread over the clients, or one a room; the last client always talks: when it is heard, all others are in too.
fn pick_talkers(workload: &Workload, hearing: usize) -> Vec<usize> {
    let count = match (workload.room_members, workload.kind) {
        (Some(members), _) => hearing / members,
        (None, Kind::InFlight(count)) => count,
        (None, _) => TALKERS.min(hearing),
    };
    (1..=count).map(|talker| talker * hearing / count - 1).collect()
}
