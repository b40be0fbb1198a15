//! Counts of what the server did: [`Metrics`].

use crate::protocol::CloseReason;

/// Plain counters since the start. They only grow.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused for want of a place.
    pub refused: u64,
    /// Lines that came in.
    pub lines_in: u64,
    /// Frames queued for somebody.
    pub deliveries: u64,
    /// Messages left out for clients that read too slowly (`--slow-client skip`).
    pub missed: u64,
    /// Times that a client was slowed down.
    pub delays: u64,
    /// Clients dropped for a full write buffer.
    pub dropped_full: u64,
    /// Clients dropped for being behind too long.
    pub dropped_high: u64,
    /// Clients dropped because they stopped reading.
    pub dropped_stalled: u64,
    /// Clients dropped because the server's memory was short.
    pub dropped_memory: u64,
}

impl Metrics {
    /// Counts a connection that ends, by its reason.
    pub fn closed(&mut self, reason: CloseReason) {
        match reason {
            CloseReason::BufferFull => self.dropped_full += 1,
            CloseReason::BufferHigh => self.dropped_high += 1,
            CloseReason::Stalled => self.dropped_stalled += 1,
            CloseReason::ServerMemory => self.dropped_memory += 1,
            CloseReason::Full | CloseReason::TooManyFromAddress => self.refused += 1,
            _ => {}
        }
    }

    /// Clients dropped, for whatever reason.
    pub fn dropped(&self) -> u64 {
        self.dropped_full + self.dropped_high + self.dropped_stalled + self.dropped_memory
    }
}
