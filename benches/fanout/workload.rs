//! The situations servers are put in, each in a short and a full size.

use serde::{Deserialize, Serialize};

use crate::family::Family;
use crate::figure::Figure;

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// So many clients talk; each says its next line when its last one has reached everybody. No server gains by
    /// letting one talker wait, none is offered more than another, and none can be flooded: what it queues is bounded
    /// by what it has not delivered. With many rooms: one talker a room.
    InFlight(usize),
    /// Half of the rate the same server reached with 64 in flight, in the same run. The clock of a line starts when
    /// it should have been said, whether or not the generator or the server was late: no coordinated omission.
    HalfCapacity,
    /// So many lines a second, for everybody the same. Latencies compare here, as they don't at rates of their own.
    Rate(u32),
    /// So many lines a second at random times, for everybody the same times. In flight, talkers move in lockstep: all
    /// wait for the same write, so all speak at once, and a server that writes once a tick gets half of the talkers
    /// into each write. People don't; here as much comes into a tick as happens to. Talkers that paused to think, each
    /// after its line was heard, would not be in step either, but would offer a slow server less than a fast one; this
    /// offers all the same, so what a delivery costs compares directly. Above its capacity a server gets late, which
    /// the latencies tell: a line's clock starts when it should have been said.
    Poisson(u32),
    /// Everybody connects, as fast as they can, and then nothing happens.
    Join,
    /// As `HalfCapacity`, twice: without and with as many clients again that never read. At half the rate, because
    /// twice the clients are served the second time.
    Stalled,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Workload {
    /// For `--only`, and the name of its chart.
    pub name: String,
    pub family: Family,
    pub kind: Kind,
    pub clients: usize,
    /// A line with its end.
    pub line_bytes: usize,
    /// Members of a room; nothing is one room for all.
    pub room_members: Option<usize>,
    /// How long is measured, after a quarter of it to warm up.
    pub seconds: f64,
}

impl Workload {
    fn new(name: &str, kind: Kind, clients: usize, seconds: f64) -> Workload {
        let family = Family::Lines;
        Workload {
            name: name.to_string(),
            family,
            kind,
            clients,
            line_bytes: 64,
            room_members: None,
            seconds,
        }
    }

    /// The same for another family, whose name goes in front.
    fn of(self, family: Family) -> Workload {
        Workload { name: format!("{}-{}", family.name(), self.name), family, ..self }
    }

    /// Whether its name or its family's is among these.
    pub fn is_among(&self, names: &[String]) -> bool {
        names.iter().any(|name| *name == self.name || name == self.family.name())
    }

    pub fn title(&self) -> String {
        let family = self.family.title();
        let what = match self.kind {
            Kind::InFlight(_) if self.room_members.is_some() => "one in flight a room".to_string(),
            Kind::InFlight(count) => format!("{count} in flight"),
            Kind::HalfCapacity => "fixed rate, half of its own capacity".to_string(),
            Kind::Rate(lines) => format!("{lines} lines a second"),
            Kind::Poisson(lines) => format!("{lines} lines a second at random times"),
            Kind::Join => {
                return format!("{family}{} clients join, then idle", thousands(self.clients));
            }
            Kind::Stalled => "half of them stalled, fixed rate".to_string(),
        };
        let rooms = self.room_members.map_or(String::new(), |members| format!(" in rooms of {members}"));
        format!("{family}{} clients{rooms}, {}-byte lines, {what}", thousands(self.clients), self.line_bytes)
    }

    /// The columns of its table, the most telling first.
    pub fn figures(&self) -> &'static [Figure] {
        match self.kind {
            Kind::InFlight(_) => &[
                Figure::CpuPerDelivery,
                Figure::AgainstBare,
                Figure::AgainstChinwag,
                Figure::AgainstRaw,
                Figure::AgainstJson,
                Figure::DeliveriesPerSecond,
                Figure::UserShare,
                Figure::CallsPerDelivery,
                Figure::WritesPerDelivery,
                Figure::PeakMemory,
                Figure::ServerBusy,
                Figure::GeneratorBusy,
            ],
            Kind::Poisson(_) => &[
                Figure::CpuPerDelivery,
                Figure::AgainstBare,
                Figure::AgainstChinwag,
                Figure::AgainstRaw,
                Figure::AgainstJson,
                Figure::WritesPerDelivery,
                Figure::DeliveriesPerSecond,
                Figure::LatencyP50,
                Figure::LatencyP99,
                Figure::LatencyP999,
                Figure::LatencyMax,
                Figure::ServerBusy,
                Figure::GeneratorBusy,
            ],
            Kind::HalfCapacity | Kind::Rate(_) => &[
                Figure::LatencyP99,
                Figure::LatencyP50,
                Figure::LatencyP999,
                Figure::LatencyMax,
                Figure::LinesPerSecond,
                Figure::CpuPerDelivery,
                Figure::AgainstBare,
                Figure::AgainstChinwag,
                Figure::AgainstRaw,
                Figure::AgainstJson,
                Figure::ServerBusy,
            ],
            Kind::Join => &[Figure::IdleBytes, Figure::CpuPerJoin, Figure::JoinSeconds, Figure::PeakMemory],
            Kind::Stalled => &[
                Figure::MemoryGrowth,
                Figure::LatencyP99Growth,
                Figure::LatencyP50,
                Figure::LatencyP99,
                Figure::LatencyMax,
                Figure::LinesPerSecond,
                Figure::CpuPerDelivery,
            ],
        }
    }

    /// Whether system calls are counted, in a run of their own.
    pub fn counts_calls(&self) -> bool {
        matches!(self.kind, Kind::InFlight(_))
    }
}

/// Half of what a server reaches that makes a system call of 5 µs a delivery, with 1,000 clients.
const SAME_RATE: u32 = 100;

/// Five times what such a server reaches, and under half of what those do that put several lines into a write: only they
/// are measured there, the others would be late by half a minute and more.
pub const BATCHED_RATE: u32 = 1000;

/// With 1,000 clients such a server is busy for 5 ms a line: at three quarters of what it can do, where a line often
/// comes while the one before it goes out, and at twice of it, where only who puts several into a write keeps up.
const POISSON_RATES: [u32; 2] = [150, 400];

/// Under five minutes in all: the line protocol only.
pub fn short() -> Vec<Workload> {
    vec![
        Workload::new("1-in-flight", Kind::InFlight(1), 1000, 0.8),
        Workload::new("64-in-flight", Kind::InFlight(64), 1000, 0.8),
        Workload::new("rate", Kind::HalfCapacity, 1000, 1.2),
        Workload::new("same-rate", Kind::Rate(SAME_RATE), 1000, 1.2),
        Workload::new("poisson-400", Kind::Poisson(POISSON_RATES[1]), 1000, 1.2),
        Workload::new("join", Kind::Join, 9000, 0.0),
    ]
}

pub fn full() -> Vec<Workload> {
    let one_kibibyte = |name, in_flight| Workload {
        line_bytes: 1024,
        ..Workload::new(name, Kind::InFlight(in_flight), 1000, 2.0)
    };
    vec![
        Workload::new("1-in-flight", Kind::InFlight(1), 1000, 2.0),
        Workload::new("16-in-flight", Kind::InFlight(16), 1000, 2.0),
        Workload::new("64-in-flight", Kind::InFlight(64), 1000, 2.0),
        Workload::new("rate", Kind::HalfCapacity, 1000, 4.0),
        Workload::new("same-rate", Kind::Rate(SAME_RATE), 1000, 4.0),
        Workload::new("rate-1000", Kind::Rate(BATCHED_RATE), 1000, 4.0),
        Workload::new("poisson-150", Kind::Poisson(POISSON_RATES[0]), 1000, 4.0),
        Workload::new("poisson-400", Kind::Poisson(POISSON_RATES[1]), 1000, 4.0),
        Workload::new("join", Kind::Join, 9000, 0.0),
        Workload::new("join-1000", Kind::Join, 1000, 0.0),
        Workload { line_bytes: 1024, ..Workload::new("stalled", Kind::Stalled, 1000, 4.0) },
        Workload::new("100-clients", Kind::InFlight(64), 100, 2.0),
        Workload::new("9000-clients-1", Kind::InFlight(1), 9000, 2.0),
        Workload::new("9000-clients", Kind::InFlight(64), 9000, 2.0),
        one_kibibyte("1k-lines-1", 1),
        one_kibibyte("1k-lines", 64),
        Workload { room_members: Some(10), ..Workload::new("rooms", Kind::InFlight(1), 1000, 2.0) },
        Workload::new("1-in-flight", Kind::InFlight(1), 1000, 2.0).of(Family::WebSocket),
        Workload::new("64-in-flight", Kind::InFlight(64), 1000, 2.0).of(Family::WebSocket),
        Workload::new("poisson-150", Kind::Poisson(POISSON_RATES[0]), 1000, 4.0).of(Family::WebSocket),
        Workload::new("poisson-400", Kind::Poisson(POISSON_RATES[1]), 1000, 4.0).of(Family::WebSocket),
        Workload::new("join", Kind::Join, 9000, 0.0).of(Family::WebSocket),
        Workload::new("1-in-flight", Kind::InFlight(1), 1000, 2.0).of(Family::Doors),
        Workload::new("64-in-flight", Kind::InFlight(64), 1000, 2.0).of(Family::Doors),
        Workload::new("1-in-flight", Kind::InFlight(1), 1000, 2.0).of(Family::Link),
        Workload::new("64-in-flight", Kind::InFlight(64), 1000, 2.0).of(Family::Link),
        Workload::new("same-rate", Kind::Rate(SAME_RATE), 1000, 4.0).of(Family::Link),
    ]
}

/// `9,000`.
fn thousands(count: usize) -> String {
    match count {
        0..1000 => count.to_string(),
        _ => format!("{},{:03}", count / 1000, count % 1000),
    }
}
