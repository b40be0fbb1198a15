//! The situations that servers are put in.

/// The behaviour of the clients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// This number of clients talk. Each sends its next line when everybody has received its last one. So every server is
    /// offered the same, and its queues are bounded by the lines that it has not delivered yet.
    InFlight(usize),
    /// Lines a second at random times, the same times for every server. In flight, all talkers wait for the same write, so
    /// they send in step. A server that writes once a tick then batches half of them. People are not in step. The clock of a
    /// line starts when it was due, whether or not the server was late: no coordinated omission.
    Poisson(f64),
    /// Everybody connects, as fast as they can, and then nothing happens.
    Join,
}

#[derive(Clone, Debug)]
pub struct Workload {
    /// For `--only`, and the name of its chart.
    pub name: &'static str,
    pub kind: Kind,
    pub clients: usize,
    pub is_websocket: bool,
    pub has_chart: bool,
}

/// A line with its end.
pub const LINE_BYTES: usize = 64;

/// The seconds that are measured, after a quarter of them to warm up.
pub const SECONDS: f64 = 2.0;

/// With 1,000 clients a server that makes a system call of 5 µs a delivery reaches half of this.
const POISSON_RATE: f64 = 400.0;

impl Workload {
    pub fn title(&self) -> String {
        let protocol = if self.is_websocket { "WebSocket: " } else { "" };
        let clients = match self.clients {
            0..1000 => self.clients.to_string(),
            count => format!("{},{:03}", count / 1000, count % 1000),
        };
        match self.kind {
            Kind::InFlight(count) => {
                format!("{protocol}{clients} clients, {LINE_BYTES}-byte lines, {count} in flight")
            }
            Kind::Poisson(rate) => {
                format!(
                    "{protocol}{clients} clients, {LINE_BYTES}-byte lines, {rate} lines a second at random times"
                )
            }
            Kind::Join => format!("{protocol}{clients} clients join, then idle"),
        }
    }
}

pub fn all() -> Vec<Workload> {
    let lines = |name, kind, clients| Workload { name, kind, clients, is_websocket: false, has_chart: false };
    let with_chart = |workload| Workload { has_chart: true, ..workload };
    let websocket = |name, kind| Workload { is_websocket: true, ..lines(name, kind, 1000) };
    vec![
        with_chart(lines("1-in-flight", Kind::InFlight(1), 1000)),
        lines("16-in-flight", Kind::InFlight(16), 1000),
        with_chart(lines("64-in-flight", Kind::InFlight(64), 1000)),
        lines("poisson-400", Kind::Poisson(POISSON_RATE), 1000),
        lines("join", Kind::Join, 9000),
        with_chart(lines("9000-clients", Kind::InFlight(64), 9000)),
        websocket("websocket-1-in-flight", Kind::InFlight(1)),
        websocket("websocket-64-in-flight", Kind::InFlight(64)),
    ]
}
