//! Lingering: a connection stays after its last write until the kernel has sent the last bytes.
//!
//! Closing a socket with unread input makes the kernel send a reset (RFC 1122, 4.2.2.13), and so does input that comes
//! afterwards. A reset destroys bytes that the peer has not received, such as the reason of the end. So the input of a
//! closing peer is read. The socket is shut down when the kernel has sent all output, and closed when the peer has closed as well
//! or takes no more.

use std::time::Duration;

use super::Server;
use crate::connection::{Readiness, State};
use crate::net::{Net, Token};
use crate::protocol::CloseReason;
use crate::time::Moment;

/// The longest time for the kernel to send the last bytes, even with progress.
const UNSENT_MAX: Duration = Duration::from_secs(60);

/// Last bytes in the kernel's send buffer that it has not sent. Bytes in flight are not among them.
#[derive(Debug)]
pub struct Unsent {
    bytes: u32,
    /// The time from which progress does not extend the deadline.
    until: Moment,
}

impl<N: Net> Server<N> {
    /// Shuts down our side after the last write, once the kernel has sent everything. Then the peer has some time to close
    /// its side.
    pub(super) fn finish(&mut self, token: Token) {
        if self.has_unsent(token) {
            self.roster.wake(token);
            return self.roster.arm(token);
        }
        let Some(connection) = self.roster.live_mut(token) else {
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

    /// Whether the kernel has not sent all output. Progress since the last call restarts the deadline.
    fn has_unsent(&mut self, token: Token) -> bool {
        let Some(connection) = self.roster.live_mut(token) else {
            return false;
        };
        // A peer that sends no more can't cause a reset.
        let ended = connection.ready.contains(Readiness::EOF);
        let bytes = if ended { 0 } else { self.net.unsent_bytes(&mut connection.stream) };
        if bytes == 0 {
            self.unsent.take(token.slot);
            return false;
        }
        connection.ready.remove(Readiness::WRITABLE);
        let before = self.unsent.take(token.slot);
        let until = before.as_ref().map_or(self.now.moment + UNSENT_MAX, |before| before.until);
        if before.is_none_or(|before| bytes < before.bytes) && self.now.moment < until {
            connection.start_state(connection.state(), self.now.moment);
        }
        self.unsent.insert(token.slot, Unsent { bytes, until });
        true
    }

    /// Handles the deadline of a closing peer. It is freed, unless some of its last bytes were sent meanwhile.
    pub(super) fn end_drain(&mut self, token: Token) {
        let Some(connection) = self.roster.live(token) else {
            return;
        };
        if matches!(connection.state(), State::Draining(_)) && connection.outbox.is_empty() {
            if !self.has_unsent(token) {
                return self.finish(token);
            }
            if self.has_time_left(token) {
                return;
            }
        }
        self.record_unread(token);
        self.roster.abort(token);
    }

    /// Logs and counts a peer as slow if it is freed before its last bytes were written.
    pub(super) fn record_unread(&mut self, token: Token) {
        if let Some(connection) = self.roster.live(token)
            && let State::Draining(reason) = connection.state()
            && !reason.is_drop()
            && !connection.outbox.is_empty()
        {
            self.metrics.record_closed(CloseReason::Stalled);
            self.log_drop(token, CloseReason::Stalled);
        }
    }

    /// Whether the deadline is in the future again.
    fn has_time_left(&self, token: Token) -> bool {
        let deadline = self.roster.live(token).and_then(|connection| connection.deadline(&self.limits));
        deadline.is_some_and(|(moment, _)| moment > self.now.moment)
    }
}
