//! Counters and gauges, [`Metrics`], in Prometheus's text format.

mod link;

use std::fmt::Write;

use crate::protocol::{CloseReason, Dialect};

pub use link::{LinkCounts, LinkState};

/// Counters since the start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Metrics {
    pub accepted: u64,
    /// Connections refused because the server was full, or for their address.
    pub refused: u64,
    /// Closing and idle HTTP connections that were cut off to free their quota or memory.
    pub evicted: u64,
    /// Lines, messages and commands received by all listeners.
    pub lines_in: u64,
    pub requests: u64,
    /// Frames queued for clients.
    pub deliveries: u64,
    pub bytes_queued: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Messages skipped for clients that read too slowly (`--slow-client skip`).
    pub missed: u64,
    /// Clients that have logged in.
    pub logins: u64,
    /// Logins with a wrong token.
    pub logins_failed: u64,
    /// Changes of the state file that could not be written.
    pub saves_failed: u64,
    /// Times that a client was slowed down.
    pub delays: u64,
    /// Times that a message was held back because of slow readers.
    pub holds: u64,
    /// Partial flushes that waited for more output.
    pub coalesced: u64,
    /// Passes that compacted queued output to free memory.
    pub compactions: u64,
    /// Clients dropped because their queued output reached the hard limit.
    pub dropped_full: u64,
    /// Clients dropped because their queued output was over the soft limit for too long.
    pub dropped_high: u64,
    /// Clients dropped because they stopped reading.
    pub dropped_stalled: u64,
    /// Clients dropped because the output of all clients was over its limit.
    pub dropped_memory: u64,
    /// Durations of ticks without the sleep.
    pub ticks: Durations,
    /// Nanoseconds spent in each phase, in the order of [`PHASES`].
    pub phase_nanos: [u64; PHASES.len()],
}

/// The phases of a tick after the sleep.
pub const PHASES: [&str; 8] = ["latch", "turns", "link", "timers", "flush", "reap", "accept", "publish"];

/// A histogram of durations.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Durations {
    /// Number of durations per bucket of [`BOUNDS_MICROS`]; the last bucket has no bound.
    counts: [u64; BOUNDS_MICROS.len() + 1],
    sum_nanos: u64,
}

/// The bounds of the histogram, in microseconds.
const BOUNDS_MICROS: [u64; 7] = [100, 300, 1_000, 3_000, 10_000, 100_000, 1_000_000];

impl Durations {
    pub fn record(&mut self, nanos: u64) {
        let bucket = BOUNDS_MICROS.iter().position(|bound| nanos <= bound * 1_000);
        self.counts[bucket.unwrap_or(BOUNDS_MICROS.len())] += 1;
        self.sum_nanos += nanos;
    }
}

impl Metrics {
    /// Counts a closed connection by its reason.
    pub fn record_closed(&mut self, reason: CloseReason) {
        match reason {
            CloseReason::BufferFull => self.dropped_full += 1,
            CloseReason::BufferHigh => self.dropped_high += 1,
            CloseReason::Stalled => self.dropped_stalled += 1,
            CloseReason::ServerMemory => self.dropped_memory += 1,
            // The refusal was counted before.
            CloseReason::ServerFull | CloseReason::TooManyFromAddress | CloseReason::TooManyArrivals => {}
            CloseReason::Quit | CloseReason::EndOfInput | CloseReason::ConnectionLost | CloseReason::Idle => {
            }
            CloseReason::NoName | CloseReason::EndlessLine | CloseReason::HttpRequest => {}
            CloseReason::OtherProtocol | CloseReason::Shutdown | CloseReason::PeerClosed => {}
            CloseReason::UntrustedProxy | CloseReason::NoProxyHeader => {}
            CloseReason::BadFrame | CloseReason::BadText | CloseReason::TooLarge => {}
            CloseReason::TooManyFrames | CloseReason::NoPong | CloseReason::ResponseSent => {}
            CloseReason::RequestTimeout | CloseReason::Evicted => {}
            CloseReason::Kicked | CloseReason::Banned | CloseReason::LoginFailed => {}
            CloseReason::NoLogin | CloseReason::SessionEnded | CloseReason::NotAllowed => {}
        }
    }

    /// Clients dropped because they read too slowly.
    pub fn dropped(&self) -> u64 {
        self.dropped_full + self.dropped_high + self.dropped_stalled + self.dropped_memory
    }
}

/// Current values.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauges {
    /// Clients, in the order of [`Dialect::IN_ROOMS`].
    pub clients: [usize; Dialect::IN_ROOMS.len()],
    /// `None` without `--redis`.
    pub link: Option<(LinkCounts, LinkState)>,
    /// Clients whose input is delayed.
    pub delayed: usize,
    /// Clients in the queue of a full server.
    pub waiting: usize,
    /// HTTP connections that are not clients.
    pub http: usize,
    pub closing: usize,
    /// Rooms with members or a history.
    pub rooms: usize,
    pub history_bytes: usize,
    /// Queued output in bytes, counted for each client.
    pub queued_bytes: u64,
    /// Memory of the queued output, which clients share.
    pub retained_bytes: usize,
}

/// The content type of the text format 0.0.4 of Prometheus.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Metrics {
    /// All metrics in Prometheus's text format. No label contains input of a client.
    pub fn text(&self, state: &Gauges) -> Vec<u8> {
        let mut page = Exposition(String::with_capacity(4096));
        self.counters(&mut page);
        state.gauges(&mut page);
        if let Some((counts, state)) = &state.link {
            link::write(counts, state, &mut page);
        }
        self.durations(&mut page);
        page.0.into_bytes()
    }

    fn counters(&self, page: &mut Exposition) {
        page.counter("connections_accepted", "Connections accepted.", self.accepted);
        page.counter(
            "connections_refused",
            "Connections refused because the server was full, or for their address.",
            self.refused,
        );
        let help = "Closing and idle HTTP connections cut off to free their quota or memory.";
        page.counter("connections_evicted", help, self.evicted);
        page.counter("messages_received", "Lines, messages and commands received.", self.lines_in);
        page.counter("http_requests", "HTTP requests.", self.requests);
        page.counter("deliveries", "Frames queued for a client.", self.deliveries);
        page.counter("delivered_bytes", "Bytes of the frames queued for clients.", self.bytes_queued);
        page.counter("read_bytes", "Bytes read from connections.", self.bytes_in);
        page.counter("written_bytes", "Bytes written to connections.", self.bytes_out);
        page.counter("logins", "Clients that have logged in.", self.logins);
        page.counter("logins_failed", "Logins with a wrong token.", self.logins_failed);
        page.counter(
            "saves_failed",
            "Changes of the state file that could not be written.",
            self.saves_failed,
        );
        page.counter("missed", "Messages skipped for clients that read too slowly.", self.missed);
        page.counter("delays", "Times that a client was slowed down.", self.delays);
        page.counter("holds", "Times that a message was held back because of slow readers.", self.holds);
        page.counter("coalesced", "Partial flushes that waited for more output.", self.coalesced);
        let help = "Passes that compacted queued output to free memory.";
        page.counter("compactions", help, self.compactions);
        page.family("dropped_total", "Clients dropped, by reason.", "counter");
        for (reason, count) in [
            (CloseReason::BufferFull, self.dropped_full),
            (CloseReason::BufferHigh, self.dropped_high),
            (CloseReason::Stalled, self.dropped_stalled),
            (CloseReason::ServerMemory, self.dropped_memory),
        ] {
            page.sample("dropped_total", &format!("{{reason=\"{}\"}}", reason.as_str()), count);
        }
    }

    fn durations(&self, page: &mut Exposition) {
        let seconds = |nanos: u64| nanos as f64 / 1e9;
        page.family("tick_seconds", "Durations of ticks without the sleep.", "histogram");
        let mut count = 0;
        for (bound, in_bucket) in BOUNDS_MICROS.iter().zip(self.ticks.counts) {
            count += in_bucket;
            let bound = *bound as f64 / 1e6;
            page.sample("tick_seconds_bucket", &format!("{{le=\"{bound}\"}}"), count);
        }
        let all: u64 = self.ticks.counts.iter().sum();
        page.sample("tick_seconds_bucket", "{le=\"+Inf\"}", all);
        page.sample("tick_seconds_sum", "", seconds(self.ticks.sum_nanos));
        page.sample("tick_seconds_count", "", all);
        page.family("phase_seconds_total", "Time spent in each phase of ticks.", "counter");
        for (phase, nanos) in PHASES.iter().zip(self.phase_nanos) {
            page.sample("phase_seconds_total", &format!("{{phase=\"{phase}\"}}"), seconds(nanos));
        }
    }
}

impl Gauges {
    fn gauges(&self, page: &mut Exposition) {
        page.family("clients", "Clients by protocol.", "gauge");
        for (dialect, count) in Dialect::IN_ROOMS.iter().zip(self.clients) {
            // The label keeps its first name, since dashboards have it.
            page.sample("clients", &format!("{{door=\"{}\"}}", dialect.as_str()), count);
        }
        page.gauge("clients_delayed", "Clients whose input is delayed.", self.delayed as u64);
        page.gauge("clients_waiting", "Clients in the queue of a full server.", self.waiting as u64);
        page.gauge("http_connections", "HTTP connections that are not clients.", self.http as u64);
        page.gauge("connections_closing", "Connections that are closing.", self.closing as u64);
        page.gauge("rooms", "Rooms with members or a history.", self.rooms as u64);
        page.gauge("history_bytes", "Memory of the history of all rooms.", self.history_bytes as u64);
        page.gauge("queued_bytes", "Queued output in bytes, counted for each client.", self.queued_bytes);
        page.gauge(
            "retained_bytes",
            "Memory of the queued output, which clients share.",
            self.retained_bytes as u64,
        );
    }
}

/// The text so far. Writing to a string can't fail.
struct Exposition(String);

impl Exposition {
    fn family(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(self.0, "# HELP chinwag_{name} {help}\n# TYPE chinwag_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "chinwag_{name}{labels} {value}");
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        let name = format!("{name}_total");
        self.family(&name, help, "counter");
        self.sample(&name, "", value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, help, "gauge");
        self.sample(name, "", value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        let mut durations = Durations::default();
        [0, 100_000, 100_001, 1_000_000_000, 1_000_000_001]
            .into_iter()
            .for_each(|nanos| durations.record(nanos));
        // `le` is "less or equal".
        assert_eq!(durations.counts, [2, 1, 0, 0, 0, 0, 1, 1]);
        assert_eq!(durations.sum_nanos, 2_000_200_002);
    }
}
