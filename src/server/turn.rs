//! Turns: each connection with input reads, decodes, and hands what it says to the chat.
//!
//! A turn has a budget of bytes and one of lines, so that a client that never stops sending delays the others by no
//! more than its share. Whoever is not done goes to the back of the queue.

use super::Server;
use crate::codec::Step;
use crate::connection::Life;
use crate::net::{Net, Token};
use crate::protocol::{CloseReason, Event, Problem, Request};

/// Bytes a connection may read in one turn.
const TURN_BYTES: usize = 32 * 1024;

/// Lines a connection may have dealt with in one turn.
const TURN_LINES: usize = 64;

/// Output of one tick, in bytes, at which the turns that are left wait for the next: it bounds the page, and keeps it
/// in the cache.
const TICK_BYTES: usize = 1024 * 1024;

/// What there is to do next in a turn.
enum Next {
    /// Deal with this.
    Line(Result<Request, Problem>),
    /// Look again; what was there said nothing.
    Nothing,
    /// Read more.
    Read,
    /// End the turn.
    Stop,
}

impl<N: Net> Server<N> {
    /// Gives everyone in the queue a turn.
    pub(super) fn turns(&mut self) {
        let tokens = self.roster.take_runnable();
        for token in tokens {
            if let Some(connection) = self.roster.get_mut(token) {
                connection.queued.runnable = false;
            }
            if self.pages.open_bytes() < TICK_BYTES {
                self.turn(token);
            }
            self.roster.wake(token);
            self.roster.arm(token);
        }
    }

    fn turn(&mut self, token: Token) {
        match self.roster.get(token).map(|connection| connection.life) {
            Some(Life::Naming | Life::Chatting) => self.listen(token),
            Some(Life::Waiting) => self.keep_input(token),
            Some(Life::Draining(_) | Life::Lingering) => self.discard_input(token),
            Some(Life::Doomed(_) | Life::Gone) | None => {}
        }
    }

    /// A client's turn: lines as long as there are some and it may send, reads as long as there is budget.
    fn listen(&mut self, token: Token) {
        let (mut bytes, mut lines) = (TURN_BYTES, TURN_LINES);
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        self.scratch.load(&mut connection.inbox);
        loop {
            match self.next_line(token, lines) {
                Next::Line(request) => {
                    lines -= 1;
                    self.hear(token, request);
                }
                Next::Nothing => lines -= 1,
                Next::Read if bytes > 0 => match self.read(token, bytes) {
                    0 => break,
                    count => bytes = bytes.saturating_sub(count),
                },
                Next::Read | Next::Stop => break,
            }
        }
        if let Some(connection) = self.roster.get_mut(token) {
            self.scratch.store(&mut connection.inbox);
        }
    }

    /// Takes the next line off the scratch buffer, if the client may be heard.
    fn next_line(&mut self, token: Token, lines_left: usize) -> Next {
        let Some(connection) = self.roster.get_mut(token).filter(|connection| connection.is_client()) else {
            return Next::Stop;
        };
        connection.unread_lines = true;
        if lines_left == 0 || connection.is_behind(&self.limits) {
            return Next::Stop;
        }
        let ended = connection.ready.ended;
        let mut codec = connection.codec;
        match codec.decode(self.scratch.unused(), ended, self.limits.line_max) {
            Step::Endless => {
                self.roster.doom(token, CloseReason::EndlessLine);
                Next::Stop
            }
            Step::Incomplete if ended => {
                self.roster.doom(token, CloseReason::EndOfInput);
                Next::Stop
            }
            Step::Incomplete => {
                connection.unread_lines = false;
                Next::Read
            }
            Step::Used { bytes, request } => {
                let mut tell = false;
                if request.is_some() && !connection.may_send(&self.limits, self.now.moment, &mut tell) {
                    self.metrics.delays += 1;
                    if tell {
                        self.tell(token, &Event::Delayed);
                    }
                    return Next::Stop;
                }
                connection.codec = codec;
                self.scratch.consume(bytes);
                request.map_or(Next::Nothing, Next::Line)
            }
        }
    }

    /// Reads once. 0: there is nothing more for now; at the end of input one more look at what is left is due.
    fn read(&mut self, token: Token, most: usize) -> usize {
        let Some(connection) = self.roster.get_mut(token) else {
            return 0;
        };
        if !connection.ready.readable {
            return 0;
        }
        match connection.read(&mut self.net, &mut self.scratch, most) {
            Ok(0) => usize::from(connection.ready.ended),
            Ok(count) => {
                connection.touch(self.now.moment);
                count
            }
            Err(_) => {
                self.roster.doom(token, CloseReason::Lost);
                0
            }
        }
    }

    /// A line of a client goes to the chat.
    fn hear(&mut self, token: Token, request: Result<Request, Problem>) {
        if let Some(connection) = self.roster.get_mut(token) {
            connection.touch(self.now.moment);
            connection.lines_in = connection.lines_in.wrapping_add(1);
        }
        self.metrics.lines_in += 1;
        let id = token.into();
        self.ask_chat(|chat, now, effects| chat.handle(id, request, now, effects));
    }

    /// The turn of a client that waits for a place: some input is kept, since it will be heard, and an end without any
    /// is the end.
    fn keep_input(&mut self, token: Token) {
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        self.scratch.load(&mut connection.inbox);
        let room = connection.waiting_room();
        let outcome = connection.read(&mut self.net, &mut self.scratch, room);
        self.scratch.store(&mut connection.inbox);
        match outcome {
            Err(_) => self.roster.doom(token, CloseReason::Lost),
            Ok(_) if connection.ready.ended && connection.inbox.is_empty() => {
                self.roster.doom(token, CloseReason::EndOfInput);
            }
            Ok(_) => {}
        }
    }

    /// The turn of a connection that is closing: what it still says is not heard.
    fn discard_input(&mut self, token: Token) {
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        let mut bytes = TURN_BYTES;
        while bytes > 0 {
            match connection.read(&mut self.net, &mut self.scratch, bytes) {
                Ok(0) if connection.ready.ended && connection.life == Life::Lingering => {
                    return self.roster.forget(token);
                }
                Ok(0) => break,
                Ok(count) => {
                    self.scratch.consume(count);
                    bytes = bytes.saturating_sub(count);
                }
                Err(_) => return self.roster.forget(token),
            }
        }
    }
}
