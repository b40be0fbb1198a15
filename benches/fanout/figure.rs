//! What is measured, in which unit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One number that a run gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Processor time of all the server's threads for a delivered line, in µs.
    CpuPerDelivery,
    /// The same against the bare loop in the same round.
    AgainstBare,
    /// The same against chinwag in the same round.
    AgainstChinwag,
    /// The same against chinwag's raw door.
    AgainstRaw,
    /// The same against chinwag's JSON door.
    AgainstJson,
    DeliveriesPerSecond,
    /// The part of the server's processor time spent outside the kernel, in %.
    UserShare,
    /// How much of one core the server used while measured, in %.
    ServerBusy,
    /// The same of the load generator: near 100 it is the generator that bounds deliveries a second.
    GeneratorBusy,
    CallsPerDelivery,
    /// Packets the server sent for a delivered line, which is its writes, whatever calls it made them with.
    WritesPerDelivery,
    /// The rate lines were said at, lines a second.
    LinesPerSecond,
    /// From the intended time of saying to the delivery, µs.
    LatencyP50,
    LatencyP99,
    LatencyP999,
    LatencyMax,
    /// p99 with stalled clients against p99 without, in the same run.
    LatencyP99Growth,
    /// Resident memory of the server at its highest, MB.
    PeakMemory,
    /// How far resident memory rose above what it was before the stalled clients came, MB.
    MemoryGrowth,
    /// Resident memory for an idle client, bytes.
    IdleBytes,
    /// Processor time of the server for a client that joins, µs.
    CpuPerJoin,
    /// Until the server had taken in everybody and come to rest, s.
    JoinSeconds,
}

/// The figures of one run.
pub type Figures = BTreeMap<Figure, f64>;

impl Figure {
    pub fn title(self) -> &'static str {
        match self {
            Figure::CpuPerDelivery => "CPU µs/delivery",
            Figure::AgainstBare => "× bare",
            Figure::AgainstChinwag => "× chinwag",
            Figure::AgainstRaw => "× chinwag-raw",
            Figure::AgainstJson => "× chinwag-ws",
            Figure::DeliveriesPerSecond => "deliveries/s",
            Figure::UserShare => "user %",
            Figure::ServerBusy => "server busy %",
            Figure::GeneratorBusy => "load busy %",
            Figure::CallsPerDelivery => "calls/delivery",
            Figure::WritesPerDelivery => "writes/delivery",
            Figure::LinesPerSecond => "lines/s",
            Figure::LatencyP50 => "p50 µs",
            Figure::LatencyP99 => "p99 µs",
            Figure::LatencyP999 => "p99.9 µs",
            Figure::LatencyMax => "max µs",
            Figure::LatencyP99Growth => "p99 × unstalled",
            Figure::PeakMemory => "peak MB",
            Figure::MemoryGrowth => "growth MB",
            Figure::IdleBytes => "bytes/idle client",
            Figure::CpuPerJoin => "CPU µs/join",
            Figure::JoinSeconds => "join s",
        }
    }

    /// With as many digits as mean something.
    pub fn show(self, value: f64) -> String {
        match self {
            Figure::DeliveriesPerSecond if value >= 10_000.0 => format!("{:.0}k", value / 1000.0),
            _ => digits(value),
        }
    }
}

/// Three digits, or the whole number.
fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
