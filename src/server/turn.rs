//! Turns: each connection with input reads, decodes, and hands what it says to the chat.
//!
//! A turn has a budget of bytes and one of lines, so that a client that never stops sending delays the others by no
//! more than its share. Whoever is not done goes to the back of the queue.
//!
//! A client that is over its rate or behind with reading must wait. TCP holds up a line client meanwhile, but a WebSocket
//! library closes a connection whose pings are not answered, and these are behind the messages. So the server reads on:
//! it answers control frames and keeps the messages, as many as [`crate::codec::websocket::Waiting`] may hold.

use super::Server;
use crate::chat::{Chat, Effect};
use crate::codec::{Expected, Input, Step, Tag, http, websocket};
use crate::connection::{Charged, Intake, Life, Naming, Queued, Readiness};
use crate::inbox::Inbox;
use crate::net::{Net, Token};
use crate::protocol::{CloseReason, Event, Problem, Request};

/// Bytes a connection may read in one turn.
const TURN_BYTES: usize = 32 * 1024;

/// Lines a connection may have dealt with in one turn.
const TURN_LINES: usize = 64;

/// Output of one tick, in bytes, at which the turns that are left wait for the next: it bounds the page, and keeps it
/// in the cache.
pub(super) const TICK_BYTES: usize = 1024 * 1024;

/// Input kept of a client that waits for a place, in bytes. A pipe's whole input should fit, since it is heard.
const WAITING_INBOX_BYTES: usize = 4 * 1024;

/// What there is to do next in a turn.
pub(super) enum Next {
    /// Deal with this.
    Input(Input),
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
                connection.queued.remove(Queued::RUNNABLE);
            }
            if self.pages.open_bytes() < TICK_BYTES {
                self.turn(token);
            }
            self.roster.wake(token);
            self.roster.arm(token);
        }
    }

    fn turn(&mut self, token: Token) {
        let Some(connection) = self.roster.get(token) else {
            return;
        };
        match connection.life {
            _ if connection.is_listened_to() => self.listen(token),
            Life::Waiting => self.keep_input(token),
            Life::Draining(_) | Life::Lingering => self.discard_input(token),
            _ => {}
        }
    }

    /// A client's turn: lines as long as there are some and it may send, reads as long as there is budget.
    fn listen(&mut self, token: Token) {
        let (mut bytes, mut lines) = (TURN_BYTES, TURN_LINES);
        let mut inbox = self.inboxes.take(token.slot);
        self.scratch.load(&mut inbox);
        loop {
            match self.next_input(token, &mut inbox, lines) {
                Next::Input(input) => {
                    lines -= 1;
                    self.deal_with(token, &inbox, input);
                }
                Next::Nothing => lines -= 1,
                Next::Read if bytes > 0 => match self.read(token, bytes) {
                    0 => break,
                    count => bytes = bytes.saturating_sub(count),
                },
                Next::Read | Next::Stop => break,
            }
        }
        self.scratch.store(&mut inbox);
        self.inboxes.put(token.slot, inbox);
    }

    /// Takes the next piece of input: of what waits, or off the scratch buffer.
    fn next_input(&mut self, token: Token, inbox: &mut Inbox, lines_left: usize) -> Next {
        let Some(connection) = self.roster.get_mut(token).filter(|connection| connection.is_listened_to())
        else {
            return Next::Stop;
        };
        connection.ready.insert(Readiness::UNREAD);
        match connection.intake(&self.limits) {
            _ if lines_left == 0 => return Next::Stop,
            Intake::Nothing => return Next::Stop,
            Intake::Control => return self.look_ahead(token, inbox),
            Intake::All => connection.ready.remove(Readiness::FULL),
        }
        let dialect = connection.dialect;
        let waiting = inbox.take_held().or_else(|| self.codecs.next_waiting(dialect, &mut inbox.waiting));
        let input = match waiting {
            Some(input) => input,
            None => match self.decode(token, inbox) {
                Ok(input) => input,
                Err(next) => return next,
            },
        };
        if input.is_charged()
            && let Charged::Delayed { news } = self.roster.charge(token, self.now.moment)
        {
            inbox.hold(input);
            // Its request is read, and waits: it is not idle.
            self.roster.note_idle(token, None);
            self.metrics.delays += 1;
            if news {
                self.tell(token, &Event::Delayed);
            }
            return Next::Nothing;
        }
        Next::Input(input)
    }

    /// Decodes input of a WebSocket client that must wait: its pings and its close are answered meanwhile, its messages
    /// kept as far as there is room. Past that, nothing is read, and TCP holds the client up.
    fn look_ahead(&mut self, token: Token, inbox: &mut Inbox) -> Next {
        let Some(connection) = self.roster.get_mut(token) else {
            return Next::Stop;
        };
        connection.ready.insert(Readiness::HELD);
        if inbox.failed.is_none() {
            match self.codecs.decode_ahead(&mut inbox.unfinished, &mut inbox.waiting, self.scratch.unused()) {
                Step::Used { bytes, input } => {
                    self.scratch.consume(bytes);
                    return input.map_or(Next::Nothing, Next::Input);
                }
                Step::Incomplete => {
                    connection.ready.remove(Readiness::UNREAD);
                    return Next::Read;
                }
                Step::Blocked => {}
                // What was said before counts before.
                Step::Fail(reason) => inbox.failed = Some(reason),
            }
        }
        connection.ready.insert(Readiness::FULL);
        Next::Stop
    }

    /// Takes one step through what is in the scratch buffer: a piece of input, or what to do instead.
    fn decode(&mut self, token: Token, inbox: &mut Inbox) -> Result<Input, Next> {
        let Some(connection) = self.roster.get_mut(token) else {
            return Err(Next::Stop);
        };
        // Nothing waits any more, so the end that was put off is due.
        let postponed =
            inbox.failed.or((connection.life == Life::Finishing).then_some(CloseReason::PeerClosed));
        if let Some(reason) = postponed {
            self.roster.doom(token, reason);
            return Err(Next::Stop);
        }
        let ended = connection.ready.contains(Readiness::ENDED);
        let name = matches!(connection.life, Life::Naming(naming) if naming != Naming::Unasked);
        let expected = Expected { name, first: connection.lines_in == 0 };
        let (dialect, unused) = (connection.dialect, self.scratch.unused());
        match self.codecs.decode(dialect, &mut inbox.unfinished, expected, unused, ended) {
            Step::Fail(reason) => {
                self.roster.doom(token, reason);
                Err(Next::Stop)
            }
            Step::Incomplete if ended => {
                self.roster.doom(token, CloseReason::EndOfInput);
                Err(Next::Stop)
            }
            Step::Incomplete => {
                connection.ready.remove(Readiness::UNREAD | Readiness::HELD);
                Err(Next::Read)
            }
            Step::Used { bytes, input: Some(input) } if matches!(connection.life, Life::Naming(_)) => {
                self.weigh(token, inbox, bytes, input)
            }
            Step::Used { bytes, input } => {
                self.scratch.consume(bytes);
                input.ok_or(Next::Nothing)
            }
            Step::Blocked => unreachable!("the messages of a client that need not wait need no room"),
        }
    }

    fn deal_with(&mut self, token: Token, inbox: &Inbox, input: Input) {
        match input {
            Input::Request { request, tag } => self.hear(token, request, tag),
            Input::Call(call) => self.answer(token, call),
            Input::Continue => self.put(token, |page| page.extend_from_slice(http::CONTINUE)),
            Input::Ping(payload) => self.answer_ping(token, payload),
            Input::Close(code) => self.answer_close(token, code, inbox.has_messages()),
        }
    }

    /// Answers a ping in its place, or later with the newest one, if the client does not take what it is sent.
    pub(super) fn answer_ping(&mut self, token: Token, payload: Box<[u8]>) {
        let now = self.now.moment;
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        if !connection.hears() {
            return;
        }
        match connection.may_pong(&self.limits, now) {
            true => {
                connection.outbox.note_pong();
                self.send_bytes(token, |page| websocket::pong(page, &payload));
            }
            false => connection.outbox.postpone_pong(payload, now),
        }
    }

    /// Answers a close at once. What the client said before is dealt with all the same, as fast as it may send: its
    /// close frame says that it has sent all of it, not that it takes it back.
    fn answer_close(&mut self, token: Token, code: u16, is_owed: bool) {
        // Nothing may follow the close frame.
        self.tell_missed(token);
        self.put(token, |page| websocket::close(page, code, ""));
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        connection.ready.insert(Readiness::CLOSED);
        match is_owed && connection.life == Life::Chatting {
            true => connection.set_life(Life::Finishing, self.now.moment),
            false => self.roster.doom(token, CloseReason::PeerClosed),
        }
    }

    /// Reads once. 0: there is nothing more for now; at the end of input one more look at what is left is due.
    fn read(&mut self, token: Token, most: usize) -> usize {
        let Some(connection) = self.roster.get_mut(token) else {
            return 0;
        };
        if !connection.ready.contains(Readiness::READABLE) {
            return 0;
        }
        match connection.read(&mut self.net, &mut self.scratch, most, self.now.moment) {
            Ok(0) => usize::from(connection.ready.contains(Readiness::ENDED)),
            Ok(count) => {
                self.metrics.bytes_in += count as u64;
                count
            }
            Err(_) => {
                self.roster.doom(token, CloseReason::Lost);
                0
            }
        }
    }

    /// What a client wants goes to the chat, unless it still waits for a place.
    fn hear(&mut self, token: Token, request: Result<Request, Problem>, tag: Option<Tag>) {
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        connection.touch(self.now.moment);
        // An empty line is none, whatever it answers.
        if !matches!(request, Ok(Request::StayGuest)) {
            connection.lines_in = connection.lines_in.wrapping_add(1);
            self.metrics.lines_in += 1;
        }
        let waits = connection.life == Life::Waiting;
        let stays = matches!(request, Ok(Request::Say { .. } | Request::Relay(_)));
        self.asker = tag.map(|tag| (token.into(), tag));
        if waits {
            self.tell(token, &Event::Problem { problem: Problem::StillWaiting, unnamed: false });
        } else {
            let ask = |chat: &mut Chat, now, effects: &mut Vec<Effect>| {
                chat.handle(token.into(), request, now, effects);
            };
            match stays {
                true => self.ask_chat_within_run(ask),
                false => self.ask_chat(ask),
            }
        }
        self.asker = None;
    }

    /// The turn of a client that waits for a place: some input is kept, since it will be heard, and an end without any
    /// is the end.
    fn keep_input(&mut self, token: Token) {
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        let mut inbox = self.inboxes.take(token.slot);
        self.scratch.load(&mut inbox);
        let room = WAITING_INBOX_BYTES.saturating_sub(self.scratch.unused().len());
        let outcome = connection.read(&mut self.net, &mut self.scratch, room, self.now.moment);
        let kept_bytes = self.scratch.unused().len();
        let ended = connection.ready.contains(Readiness::ENDED);
        let foreign = self.codecs.foreign(self.scratch.unused(), WAITING_INBOX_BYTES, ended);
        self.scratch.store(&mut inbox);
        self.inboxes.put(token.slot, inbox);
        connection.ready.set(Readiness::UNREAD, kept_bytes >= WAITING_INBOX_BYTES);
        if let Some(reason) = foreign {
            self.roster.doom(token, reason);
        }
        match outcome {
            Err(_) => self.roster.doom(token, CloseReason::Lost),
            Ok(0) if ended && kept_bytes == 0 => {
                self.roster.doom(token, CloseReason::EndOfInput);
            }
            Ok(count) => self.metrics.bytes_in += count as u64,
        }
    }

    /// The turn of a connection that is closing: what it still says is not heard.
    fn discard_input(&mut self, token: Token) {
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        let mut bytes = TURN_BYTES;
        while bytes > 0 {
            match connection.read(&mut self.net, &mut self.scratch, bytes, self.now.moment) {
                Ok(0)
                    if connection.ready.contains(Readiness::ENDED) && connection.life == Life::Lingering =>
                {
                    return self.roster.forget(token);
                }
                Ok(0) => break,
                Ok(count) => {
                    self.scratch.consume(count);
                    self.metrics.bytes_in += count as u64;
                    bytes = bytes.saturating_sub(count);
                }
                Err(_) => return self.roster.forget(token),
            }
        }
    }
}
