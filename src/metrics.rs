//! Counts of what the server did, [`Metrics`], and how Prometheus reads them.

mod link;

use std::fmt::Write;

use crate::protocol::{CloseReason, Dialect};

pub use link::{LinkCounts, LinkState};

/// Plain counters since the start. They only grow.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused for want of a place.
    pub refused: u64,
    /// Closing and idle HTTP connections closed early, because a newcomer needed their place or others their memory.
    pub evicted: u64,
    /// Lines, messages and commands that came in, by whatever listener.
    pub lines_in: u64,
    /// HTTP requests.
    pub requests: u64,
    /// Frames queued for somebody.
    pub deliveries: u64,
    /// Bytes of them.
    pub bytes_queued: u64,
    /// Bytes that were read.
    pub bytes_in: u64,
    /// Bytes that were written.
    pub bytes_out: u64,
    /// Messages left out for clients that read too slowly (`--slow-client skip`).
    pub missed: u64,
    /// Times that a client was slowed down.
    pub delays: u64,
    /// Times that a message waited for readers that lag.
    pub holds: u64,
    /// Parts of flushes that waited for what else was coming.
    pub coalesced: u64,
    /// Passes that copied the output that waits together, to free memory.
    pub compactions: u64,
    /// Clients dropped for a full write buffer.
    pub dropped_full: u64,
    /// Clients dropped for being behind too long.
    pub dropped_high: u64,
    /// Clients dropped because they stopped reading.
    pub dropped_stalled: u64,
    /// Clients dropped because the server's memory was short.
    pub dropped_memory: u64,
    /// How long ticks took, without the sleep.
    pub ticks: Durations,
    /// Nanoseconds spent in each phase of them, in the order of [`PHASES`].
    pub phase_nanos: [u64; PHASES.len()],
}

/// The phases of a tick behind the sleep.
pub const PHASES: [&str; 8] = ["latch", "turns", "link", "timers", "flush", "reap", "accept", "publish"];

/// A histogram of durations.
#[derive(Clone, Debug, Default)]
pub struct Durations {
    /// How many were within each of [`BOUNDS_MICROS`], and not within the one before; the last is all others.
    counts: [u64; BOUNDS_MICROS.len() + 1],
    sum_nanos: u64,
}

/// The bounds of the histogram, in microseconds.
const BOUNDS_MICROS: [u64; 7] = [100, 300, 1_000, 3_000, 10_000, 100_000, 1_000_000];

impl Durations {
    /// Counts one.
    pub fn note(&mut self, nanos: u64) {
        let bucket = BOUNDS_MICROS.iter().position(|bound| nanos <= bound * 1_000);
        self.counts[bucket.unwrap_or(BOUNDS_MICROS.len())] += 1;
        self.sum_nanos += nanos;
    }
}

impl Metrics {
    /// Counts a connection that ends, by its reason.
    pub fn closed(&mut self, reason: CloseReason) {
        match reason {
            CloseReason::BufferFull => self.dropped_full += 1,
            CloseReason::BufferHigh => self.dropped_high += 1,
            CloseReason::Stalled => self.dropped_stalled += 1,
            CloseReason::ServerMemory => self.dropped_memory += 1,
            CloseReason::Full | CloseReason::TooManyFromAddress | CloseReason::TooManyArrivals => {
                self.refused += 1
            }
            _ => {}
        }
    }

    /// Clients dropped, for whatever reason.
    pub fn dropped(&self) -> u64 {
        self.dropped_full + self.dropped_high + self.dropped_stalled + self.dropped_memory
    }
}

/// How things are at the moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauges {
    /// Clients, in the order of [`Dialect::IN_ROOMS`].
    pub clients: [usize; Dialect::IN_ROOMS.len()],
    /// Clients of other processes.
    pub far: usize,
    /// How often one was ignored, since there were too many.
    pub remote_ignored: u64,
    /// What the link to other processes did, and how it is, if there is to be one.
    pub link: Option<(LinkCounts, LinkState)>,
    /// Clients that are being slowed down.
    pub delayed: usize,
    /// Clients that wait for a place.
    pub waiting: usize,
    /// HTTP connections that are not clients.
    pub http: usize,
    /// Connections that are closing.
    pub closing: usize,
    /// Rooms with members or a history.
    pub rooms: usize,
    /// Memory of the history.
    pub history_bytes: usize,
    /// Bytes that wait to be written, counted for each client.
    pub queued_bytes: u64,
    /// Memory that they take, each once.
    pub retained_bytes: usize,
}

/// What the text is (Prometheus, text-based format 0.0.4).
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Metrics {
    /// Everything, for Prometheus. No label ever holds what a client has sent.
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
        page.counter("connections_refused", "Connections refused for want of a place.", self.refused);
        let help = "Closing and idle HTTP connections cut off, since their place or memory was needed.";
        page.counter("connections_evicted", help, self.evicted);
        page.counter("messages_received", "Lines, messages and commands that came in.", self.lines_in);
        page.counter("http_requests", "HTTP requests.", self.requests);
        page.counter("deliveries", "Frames queued for a client.", self.deliveries);
        page.counter("delivered_bytes", "Bytes of the frames queued for clients.", self.bytes_queued);
        page.counter("read_bytes", "Bytes read from connections.", self.bytes_in);
        page.counter("written_bytes", "Bytes written to connections.", self.bytes_out);
        page.counter("missed", "Messages left out for clients that read too slowly.", self.missed);
        page.counter("delays", "Times that a client was slowed down.", self.delays);
        page.counter("holds", "Times that a message waited for clients that read slowly.", self.holds);
        page.counter("coalesced", "Parts of flushes that waited for what else was coming.", self.coalesced);
        let help = "Passes that copied the output that waits together, to free memory.";
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
        page.family("tick_seconds", "How long ticks took, without the sleep.", "histogram");
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
        page.family("clients", "Clients, by what they speak.", "gauge");
        for (dialect, count) in Dialect::IN_ROOMS.iter().zip(self.clients) {
            page.sample("clients", &format!("{{door=\"{}\"}}", dialect.as_str()), count);
        }
        page.gauge("clients_far", "Clients of other processes.", self.far as u64);
        page.counter(
            "clients_far_ignored",
            "Clients of other processes that were too many.",
            self.remote_ignored,
        );
        page.gauge("clients_delayed", "Clients that are being slowed down.", self.delayed as u64);
        page.gauge("clients_waiting", "Clients that wait for a place.", self.waiting as u64);
        page.gauge("http_connections", "HTTP connections that are not clients.", self.http as u64);
        page.gauge("connections_closing", "Connections that are closing.", self.closing as u64);
        page.gauge("rooms", "Rooms with members or a history.", self.rooms as u64);
        page.gauge("history_bytes", "Memory of the history of all rooms.", self.history_bytes as u64);
        page.gauge("queued_bytes", "Bytes that wait to be written, for each client.", self.queued_bytes);
        page.gauge("retained_bytes", "Memory of the output that waits.", self.retained_bytes as u64);
    }
}

/// The text as it grows. Writing to a string has no way to fail.
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
            .for_each(|nanos| durations.note(nanos));
        // `le` is "less or equal".
        assert_eq!(durations.counts, [2, 1, 0, 0, 0, 0, 1, 1]);
        assert_eq!(durations.sum_nanos, 2_000_200_002);
    }
}
