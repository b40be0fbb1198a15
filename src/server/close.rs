//! Endings: the doomed leave the chat, are told why, and are freed once they have heard it. The only place where a
//! connection is freed.

use super::Server;
use crate::connection::{Connection, Readiness, State};
use crate::net::{Net, Token};
use crate::protocol::{CloseReason, Dialect, Event};
use crate::quota::Quota;

impl<N: Net> Server<N> {
    /// Deals with everyone who was sentenced in this tick. Whom that dooms waits for the next.
    pub(super) fn reap(&mut self) {
        for token in self.roster.take_reapable() {
            match self.roster.get(token).map(|connection| connection.state()) {
                Some(State::Closing(reason)) => self.part(token, reason),
                Some(State::Closed) => self.free(token),
                _ => {}
            }
        }
    }

    /// Ends a client's part in the chat, and sends it on its way.
    fn part(&mut self, token: Token, reason: CloseReason) {
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        let id = token.into();
        self.inboxes.take(token.slot);
        // The place of a refused connection is one already.
        if connection.claim.quota() != Quota::Refused {
            self.admission.change(token, connection, Quota::Closing);
        }
        self.roster.record_closing(token, self.now.moment);
        self.roster.record_unblocked(token, self.now.moment);
        self.metrics.record_closed(reason);
        self.log_end(token, reason);
        self.leave_chat(id, reason);
        if reason == CloseReason::ConnectionLost {
            return self.free(token);
        }
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        connection.start_state(State::Draining(reason), self.now.moment);
        if reason.is_drop() {
            connection.outbox.give_up(self.fanout.arena_mut());
        }
        if !connection.ready.contains(Readiness::CLOSE_SENT) {
            self.send_missed(token);
            self.send_last_event(token, &Event::Bye(reason));
        }
        // Even with nothing to send: the flush is where an empty outbox ends the connection.
        self.roster.mark_dirty(id);
        self.roster.wake(token);
        self.roster.arm(token);
    }

    /// Closes a connection whose slot or memory is needed, at once: one that is closing already, or is an idle HTTP
    /// connection.
    pub(super) fn evict(&mut self, token: Token) {
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        let state = connection.state();
        self.metrics.evicted += 1;
        match state {
            // A peer in the middle of a request gets an answer, and closes as others do.
            State::Http { .. } if self.inboxes.has(token.slot) && self.admission.may_close_slowly() => {
                self.send_timeout_response(token);
                self.part(token, CloseReason::Evicted);
            }
            State::Http { .. } => {
                self.log_end(token, CloseReason::Evicted);
                self.free(token);
            }
            State::Draining(_) | State::Lingering | State::Closed => {
                self.record_unread(token);
                self.free(token);
            }
            State::Queued | State::Naming(_) | State::Active | State::PeerClosed | State::Closing(_) => {
                debug_assert!(false, "{state:?} is neither idle nor closing");
            }
        }
    }

    fn free(&mut self, token: Token) {
        if let Some(mut connection) = self.roster.remove(token, self.now.moment) {
            connection.outbox.clear(self.fanout.arena_mut());
            self.load.forget(token.slot);
            self.untaken.take(token.slot);
            self.admission.freed(token, connection);
        }
    }

    /// One line for each client that ends; one more, louder, if the server gave up on it.
    fn log_end(&self, token: Token, reason: CloseReason) {
        let Some(connection) = self.roster.get(token) else {
            return;
        };
        if reason.is_drop() {
            self.log_drop(token, reason);
        }
        if connection.dialect == Dialect::Http {
            // A client of the chat is news, a request is not.
            return log::debug!(
                "request done id={} peer={} reason={}",
                token.serial,
                connection.host(),
                reason.as_str()
            );
        }
        if matches!(reason, CloseReason::EndOfInput | CloseReason::ConnectionLost) && self.is_unknown(token) {
            // A balancer's check, a scan of ports, or somebody who thought better of it.
            return log::debug!("nothing said id={} peer={}", token.serial, connection.host());
        }
        let Connection { serial, lines_in, outbox, connected_at, .. } = connection;
        let host = connection.host();
        let seconds = self.now.moment.since((*connected_at).into()).as_secs_f32();
        let (name, reason, clients) = (self.log_name(token), reason.as_str(), self.admission.clients());
        let frames_out = outbox.frames();
        log::info!(
            "disconnect id={serial} peer={host} name={name:?} reason={reason} seconds={seconds:.3} \
             lines_in={lines_in} frames_out={frames_out} clients={clients}"
        );
    }

    pub(super) fn log_drop(&self, token: Token, reason: CloseReason) {
        let queued_bytes = self.roster.get(token).map_or(0, |connection| connection.outbox.queued_bytes());
        let (name, reason, clients) = (self.log_name(token), reason.as_str(), self.admission.clients());
        let id = token.serial;
        log::warn!(
            "drop id={id} name={name:?} reason={reason} queued_bytes={queued_bytes} clients={clients}"
        );
    }

    /// Whether a line client has said nothing, and so has no name yet.
    fn is_unknown(&self, token: Token) -> bool {
        let is_mute = |c: &Connection<N::Stream>| c.dialect == Dialect::Line && c.lines_in == 0;
        self.roster.get(token).is_some_and(is_mute) && self.fanout.chat().is_unnamed(token.into())
    }

    /// The name for the log; `-` before the client has said anything and once it has left the chat. The id tells which it
    /// was.
    fn log_name(&self, token: Token) -> &str {
        let name = self.fanout.chat().name(token.into()).filter(|_| !self.is_unknown(token));
        name.map_or("-", |name| name.as_str())
    }
}
