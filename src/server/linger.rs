//! Lingering: a connection whose last bytes were written stays until the peer has taken them.
//!
//! Closing a socket with unread input makes the kernel send a reset (RFC 1122, 4.2.2.13), and so does input that comes
//! after it was closed. A reset destroys whatever the peer had no room for yet, the reason of the end included. So a peer
//! that goes on typing is read, and closed only when nothing is left to destroy, or when it takes nothing any more.

use std::time::Duration;

use super::Server;
use crate::connection::{Readiness, State};
use crate::net::{Net, Token};
use crate::protocol::CloseReason;
use crate::time::Moment;

/// The longest that a peer may go on taking its last bytes, however slowly.
const UNTAKEN_MAX: Duration = Duration::from_secs(60);

/// Bytes that the kernel has taken of us, and the peer not of the kernel.
#[derive(Debug)]
pub struct Untaken {
    bytes: u32,
    /// When it is enough, even if the peer still takes some.
    until: Moment,
}

impl<N: Net> Server<N> {
    /// Everything was written. Nothing more follows once the peer has taken it, and then it has some time to close its
    /// side.
    pub(super) fn finish(&mut self, token: Token) {
        if self.has_untaken(token) {
            self.roster.wake(token);
            return self.roster.arm(token);
        }
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        let finished = self.net.shutdown_write(&mut connection.stream);
        connection.start_state(State::Lingering, self.now.moment);
        if finished.is_err() || connection.ready.contains(Readiness::EOF) {
            return self.roster.abort(token);
        }
        self.roster.wake(token);
        self.roster.arm(token);
    }

    /// Whether the peer has still to take something. Its patience begins anew whenever it has taken some since the last
    /// look.
    fn has_untaken(&mut self, token: Token) -> bool {
        let Some(connection) = self.roster.get_mut(token) else {
            return false;
        };
        // A peer that sends no more can't cause a reset.
        let ended = connection.ready.contains(Readiness::EOF);
        let bytes = if ended { 0 } else { self.net.unsent_bytes(&mut connection.stream) };
        if bytes == 0 {
            self.untaken.take(token.slot);
            return false;
        }
        connection.ready.remove(Readiness::WRITABLE);
        let before = self.untaken.take(token.slot);
        let until = before.as_ref().map_or(self.now.moment + UNTAKEN_MAX, |before| before.until);
        if before.is_none_or(|before| bytes < before.bytes) && self.now.moment < until {
            connection.start_state(connection.state(), self.now.moment);
        }
        self.untaken.insert(token.slot, Untaken { bytes, until });
        true
    }

    /// A deadline of a peer that was told good-bye has come. If it takes its last bytes, it has some more time.
    pub(super) fn give_up(&mut self, token: Token) {
        let Some(connection) = self.roster.get(token) else {
            return;
        };
        if matches!(connection.state(), State::Draining(_)) && connection.outbox.is_empty() {
            if !self.has_untaken(token) {
                return self.finish(token);
            }
            if self.has_time(token) {
                return;
            }
        }
        self.record_unread(token);
        self.roster.abort(token);
    }

    /// If a peer that is closed now has not read what it was still to have, that is logged and counted: it was not slow
    /// before, but it is now.
    pub(super) fn record_unread(&mut self, token: Token) {
        if let Some(connection) = self.roster.get(token)
            && let State::Draining(reason) = connection.state()
            && !reason.is_drop()
            && !connection.outbox.is_empty()
        {
            self.metrics.record_closed(CloseReason::Stalled);
            self.log_drop(token, CloseReason::Stalled);
        }
    }

    /// Whether the deadline has moved on.
    fn has_time(&self, token: Token) -> bool {
        let deadline = self.roster.get(token).and_then(|connection| connection.deadline(&self.limits));
        deadline.is_some_and(|(moment, _)| moment > self.now.moment)
    }
}
