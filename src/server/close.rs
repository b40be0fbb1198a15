//! Endings: the doomed leave the chat, are told why, and are freed once they have heard it. The only place where a
//! connection is freed.

use super::Server;
use crate::connection::{Connection, Life};
use crate::net::{Net, Token};
use crate::protocol::{CloseReason, Event};

impl<N: Net> Server<N> {
    /// Deals with everyone who was sentenced in this tick. Whom that dooms waits for the next.
    pub(super) fn reap(&mut self) {
        for token in self.roster.take_doomed() {
            match self.roster.get(token).map(|connection| connection.life) {
                Some(Life::Doomed(reason)) => self.part(token, reason),
                Some(Life::Gone) => self.free(token),
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
        self.gate.vacate(token, std::mem::take(&mut connection.admitted));
        self.metrics.closed(reason);
        self.log_end(token, reason);
        match reason {
            // Everybody leaves, so nobody is told who does.
            CloseReason::Shutdown => self.chat.leave(id, None, self.now, &mut Vec::new()),
            _ => self.ask_chat(|chat, now, effects| chat.leave(id, reason.told_others(), now, effects)),
        }
        if reason == CloseReason::Lost {
            return self.free(token);
        }
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        connection.live(Life::Draining, self.now.moment);
        if reason.is_drop() {
            connection.outbox.give_up(&mut self.pages);
        }
        match connection.outbox.take_missed() {
            0 => {}
            missed => self.insist(token, &Event::Missed(missed)),
        }
        if reason.farewell().is_some() {
            self.insist(token, &Event::Bye(reason));
        }
        // Even with nothing to send: the flush is where an empty outbox ends the connection.
        self.roster.soil(id);
        self.roster.wake(token);
        self.roster.arm(token);
    }

    fn free(&mut self, token: Token) {
        if let Some(mut connection) = self.roster.remove(token) {
            connection.outbox.clear(&mut self.pages);
            self.gate.freed(connection.host);
        }
    }

    /// One line for each client that ends; one more, louder, if the server gave up on it.
    fn log_end(&self, token: Token, reason: CloseReason) {
        let Some(connection) = self.roster.get(token) else {
            return;
        };
        let Connection { serial, outbox, lines_in, frames_out, connected_at, .. } = connection;
        let name = self.chat.name(token.into()).map_or("-", |name| name.as_str());
        if reason.is_drop() {
            let (reason, queued) = (reason.as_str(), outbox.queued_bytes());
            log::warn!("drop id={serial} name={name:?} reason={reason} queued_bytes={queued}");
        }
        let seconds = self.now.moment.since(*connected_at).as_secs_f32();
        let (reason, clients) = (reason.as_str(), self.gate.clients());
        log::info!(
            "disconnect id={serial} name={name:?} reason={reason} seconds={seconds:.3} lines_in={lines_in} \
             frames_out={frames_out} clients={clients}"
        );
    }
}
