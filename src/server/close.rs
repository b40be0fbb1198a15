//! Closing: closing connections leave the chat and are sent the reason, and flushed ones are freed. Connections are freed only
//! here, by [`Server::reap`] and [`Server::evict`], so a token that one phase has looked up stays valid until then.

use super::Server;
use crate::connection::{Connection, Readiness, State};
use crate::net::{Net, Token};
use crate::protocol::{CloseReason, Dialect, Event};
use crate::quota::Quota;

impl<N: Net> Server<N> {
    /// Handles the connections that this tick has closed, and frees those that are done. If this closes further ones, they wait
    /// for the next tick.
    pub(super) fn reap(&mut self) {
        for token in self.roster.take_reapable() {
            match self.roster.get(token).map(|connection| connection.state()) {
                Some(State::Closing(reason)) => self.leave(token, reason),
                Some(State::Closed) => self.free(token),
                Some(state) => debug_assert!(false, "{token:?} is {state:?}, which is not reapable"),
                // It was evicted since.
                None => {}
            }
        }
    }

    /// Removes a connection from the chat and its quota, and starts to send it its last output.
    fn leave(&mut self, token: Token, reason: CloseReason) {
        self.remove_questions(token);
        let Some(connection) = self.roster.live_mut(token) else {
            return;
        };
        let id = token.into();
        self.inboxes.take(token.slot);
        // A refused connection counts as a closing one already.
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
        let Some(connection) = self.roster.live_mut(token) else {
            return;
        };
        connection.start_state(State::Draining(reason), self.now.moment);
        if reason.is_drop() {
            connection.outbox.drop_unsent(self.fanout.arena_mut());
        }
        if !connection.ready.contains(Readiness::CLOSE_SENT) {
            self.send_missed(token);
            self.send_last_event(token, &Event::Bye(reason));
        }
        // Even an empty outbox is flushed, since the flush shuts the connection down.
        self.roster.mark_dirty(id);
        self.roster.wake(token);
        self.roster.arm(token);
    }

    /// Frees a closing or idle HTTP connection at once, since its slot or memory is needed.
    pub(super) fn evict(&mut self, token: Token) {
        let Some(connection) = self.roster.live(token) else {
            return;
        };
        let state = connection.state();
        self.metrics.evicted += 1;
        match state {
            // A peer that has sent a part of a request is sent a response, and is not freed at once.
            State::Http { .. } if self.inboxes.has(token.slot) && self.admission.may_close_slowly() => {
                self.send_timeout_response(token);
                self.leave(token, CloseReason::Evicted);
            }
            State::Http { .. } => {
                self.log_end(token, CloseReason::Evicted);
                self.free(token);
            }
            State::Draining(_) | State::Lingering | State::Closed => {
                self.record_unread(token);
                self.free(token);
            }
            State::ProxyHeader
            | State::Queued
            | State::Naming(_)
            | State::Active
            | State::PeerClosed
            | State::Closing(_) => {
                debug_assert!(false, "{state:?} is neither idle nor closing");
            }
        }
    }

    fn free(&mut self, token: Token) {
        if let Some(mut connection) = self.roster.remove(token, self.now.moment) {
            connection.outbox.clear(self.fanout.arena_mut());
            // An evicted connection has not left before, and the next one in the slot must not begin with its input.
            self.inboxes.take(token.slot);
            self.load.remove(token.slot);
            self.unsent.take(token.slot);
            self.echoes.take(token.slot);
            self.remove_questions(token);
            self.admission.freed(token, connection);
        }
    }

    /// Logs the end of a connection, with a warning if the server has dropped it.
    fn log_end(&self, token: Token, reason: CloseReason) {
        let Some(connection) = self.roster.live(token) else {
            return;
        };
        if reason.is_drop() {
            self.log_drop(token, reason);
        }
        if connection.dialect == Dialect::Http {
            // Requests are more frequent than clients of the chat.
            return log::debug!(
                "request done id={} peer={} reason={}",
                token.serial,
                connection.host(),
                reason.as_str()
            );
        }
        let is_gone = matches!(reason, CloseReason::EndOfInput | CloseReason::ConnectionLost);
        if is_gone && self.is_unknown(token) {
            // It is a health check, a port scan, or a user who has changed their mind.
            return log::debug!("disconnect without a line id={} peer={}", token.serial, connection.host());
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
        let queued_bytes = self.roster.live(token).map_or(0, |connection| connection.outbox.queued_bytes());
        let (name, reason, clients) = (self.log_name(token), reason.as_str(), self.admission.clients());
        let id = token.serial;
        log::warn!(
            "drop id={id} name={name:?} reason={reason} queued_bytes={queued_bytes} clients={clients}"
        );
    }

    /// Whether a line client has no name, since it has sent no line.
    fn is_unknown(&self, token: Token) -> bool {
        let is_silent = |c: &Connection<N::Stream>| c.dialect == Dialect::Line && c.lines_in == 0;
        self.roster.live(token).is_some_and(is_silent) && self.fanout.chat().is_unnamed(token.into())
    }

    /// The name for the log, or `-` if the client has sent no line or has left the chat.
    fn log_name(&self, token: Token) -> &str {
        let name = self.fanout.chat().name(token.into()).filter(|_| !self.is_unknown(token));
        name.map_or("-", |name| name.as_str())
    }
}
