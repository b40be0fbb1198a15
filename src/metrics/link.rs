//! The part about the link to other processes, which only a process with `--redis` has.

use super::Exposition;

/// Counts of what the link did. They only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LinkCounts {
    /// Sessions that were in order.
    pub sessions: u64,
    /// Messages that Redis has taken.
    pub published: u64,
    /// Messages of other processes and programs that came in.
    pub received: u64,
    /// Messages given up, since too much waited for Redis.
    pub shed: u64,
    /// Messages of other processes known to be lost on the way.
    pub lost: u64,
    /// What came in and could not be understood, or was too long.
    pub ignored: u64,
    /// Errors that Redis has answered.
    pub errors: u64,
}

/// How things are with the link at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LinkState {
    /// Whether there is a session, and Redis takes what it is sent.
    pub up: bool,
    /// Other processes.
    pub peers: usize,
    /// Rooms subscribed to.
    pub subscriptions: usize,
    /// Memory of what waits for Redis, or for its answer.
    pub queue_bytes: usize,
}

pub(super) fn write(counts: &LinkCounts, state: &LinkState, page: &mut Exposition) {
    page.counter("redis_sessions", "Times that the link to Redis came up.", counts.sessions);
    page.counter("redis_published", "Messages that Redis has taken.", counts.published);
    page.counter("redis_received", "Messages of other processes and programs.", counts.received);
    page.counter("redis_shed", "Messages that Redis did not get.", counts.shed);
    page.counter("redis_lost", "Messages of other processes lost on the way.", counts.lost);
    page.counter("redis_ignored", "What other programs published and nobody understood.", counts.ignored);
    page.counter("redis_errors", "Errors that Redis has answered.", counts.errors);
    page.gauge("redis_up", "Whether there is a link to Redis.", u64::from(state.up));
    page.gauge("redis_processes", "Other processes in the chat.", state.peers as u64);
    page.gauge("redis_subscriptions", "Rooms subscribed to.", state.subscriptions as u64);
    page.gauge("redis_queue_bytes", "Memory of what waits for Redis.", state.queue_bytes as u64);
}
