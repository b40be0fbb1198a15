//! Metrics of the link to Redis, which only a process with `--redis` has.

use super::Exposition;

/// Counters of the link since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LinkCounts {
    /// Sessions that Redis has accepted.
    pub sessions: u64,
    /// Messages that Redis has appended to a room.
    pub published: u64,
    /// Changes received from other processes and programs.
    pub received: u64,
    /// Messages discarded because the queue for Redis was full.
    pub shed: u64,
    /// Received payloads that were malformed or too long.
    pub ignored: u64,
    /// Error replies of Redis.
    pub errors: u64,
}

/// The current state of the link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LinkState {
    /// Whether there is a session that Redis has accepted.
    pub up: bool,
    /// Other processes.
    pub peers: usize,
    /// Rooms subscribed to.
    pub subscriptions: usize,
    /// Memory of the commands that are unsent or unanswered.
    pub queue_bytes: usize,
}

pub(super) fn write(counts: &LinkCounts, state: &LinkState, page: &mut Exposition) {
    page.counter("redis_sessions", "Times that the link to Redis came up.", counts.sessions);
    page.counter("redis_published", "Messages that Redis has appended to a room.", counts.published);
    page.counter("redis_received", "Changes received from other processes and programs.", counts.received);
    page.counter("redis_shed", "Messages discarded because the queue for Redis was full.", counts.shed);
    page.counter("redis_ignored", "Received payloads that were malformed or too long.", counts.ignored);
    page.counter("redis_errors", "Error replies of Redis.", counts.errors);
    page.gauge("redis_up", "Whether the link to Redis is up.", u64::from(state.up));
    page.gauge("redis_processes", "Other processes in the chat.", state.peers as u64);
    page.gauge("redis_subscriptions", "Rooms subscribed to.", state.subscriptions as u64);
    page.gauge(
        "redis_queue_bytes",
        "Memory of the commands for Redis that are unsent or unanswered.",
        state.queue_bytes as u64,
    );
}
