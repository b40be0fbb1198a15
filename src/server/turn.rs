//! Turns: each connection with input reads, decodes, and hands what it says to the chat.
//!
//! A turn has a budget of bytes and one of lines, so that a client that never stops sending delays the others by no
//! more than its share. Whoever is not done goes to the back of the queue.
//!
//! A client that is over its rate or behind with reading must wait. TCP holds up a line client meanwhile, but a WebSocket
//! library closes a connection whose pings are not answered, and these are behind the messages. So the server reads on:
//! it answers control frames and keeps the messages, as many as [`crate::codec::websocket::Waiting`] may hold.

use super::Server;
use super::order::{LATER_WORK, Order};
use crate::codec::{Expected, Input, Step, Tag, http, websocket};
use crate::config::frame_bytes;
use crate::connection::{Charge, InputUse, Intake, Naming, Readiness, Schedule, State};
use crate::inbox::Inbox;
use crate::load::{INPUT_WORK, Source};
use crate::net::{Net, Token};
use crate::pressure::Audience;
use crate::protocol::{CloseReason, Event, Problem, Request};
use crate::rate::Use;

/// Bytes a connection may read in one turn.
const TURN_BYTES: usize = 32 * 1024;

/// Lines a connection may have dealt with in one turn.
const TURN_LINES: usize = 64;

/// Output of one tick, in bytes, at which the turns that are left wait for the next: it bounds the page, and keeps it
/// in the cache.
pub(super) const TICK_BYTES: usize = 1024 * 1024;

/// Input kept of a client that waits for a place, in bytes. A pipe's whole input should fit, since it is heard.
const WAITING_INBOX_BYTES: usize = 4 * 1024;

/// The outcome of a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    /// The connection had its share. `work` is in the units of [`crate::load`].
    Served {
        /// The work that it caused.
        work: usize,
    },
    /// The round had no room for what the connection says.
    PutOff,
}

/// What there is to do next in a turn.
pub(super) enum NextInput {
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
    /// Gives every connection in the queue a turn, as far as the tick and the round have room. Those that are left come
    /// first in the next tick.
    pub(super) fn turns(&mut self) {
        self.roster.resume_talkers(self.now.moment);
        let runnable = self.roster.take_runnable();
        // One alone needs no order, which costs a tick some hundred instructions.
        if let [token] = runnable[..] {
            if !self.round_is_full && self.fanout.arena().open_bytes() < TICK_BYTES {
                self.take_turn(token);
            }
            return self.end_turn(token);
        }
        let Order { first, later } = self.order(runnable);
        let (mut left, mut served) = (Vec::new(), Vec::new());
        let mut work_left = LATER_WORK;
        let tokens = first.into_iter().map(|token| (token, false));
        for (token, is_later) in tokens.chain(later.into_iter().map(|token| (token, true))) {
            let has_room = !self.round_is_full && self.fanout.arena().open_bytes() < TICK_BYTES;
            let may_be_served = has_room && !(is_later && work_left == 0);
            match if may_be_served { self.take_turn(token) } else { Turn::PutOff } {
                Turn::Served { work } => {
                    work_left = work_left.saturating_sub(if is_later { work } else { 0 });
                    served.push(token);
                }
                Turn::PutOff => left.push(token),
            }
        }
        left.into_iter().chain(served).for_each(|token| self.end_turn(token));
    }

    /// A connection's turn.
    fn take_turn(&mut self, token: Token) -> Turn {
        let written_bytes = self.fanout.arena().open_bytes();
        if self.roster.get(token).is_some_and(|connection| connection.may_catch_up()) {
            self.catch_up(token);
        }
        let Some(connection) = self.roster.get(token) else {
            return Turn::Served { work: 0 };
        };
        let source = Source::of(connection.host(), token.slot);
        let turn = match connection.state() {
            _ if connection.rules().input == InputUse::Decoded => self.listen(token),
            State::Queued => Turn::Served { work: self.keep_input(token) },
            State::Draining(_) | State::Lingering => Turn::Served { work: self.discard_input(token) },
            _ => Turn::Served { work: 0 },
        };
        let Turn::Served { work } = turn else {
            return turn;
        };
        let work = work + self.fanout.arena().open_bytes().saturating_sub(written_bytes);
        self.load.record(source, work, self.now.moment);
        Turn::Served { work }
    }

    fn end_turn(&mut self, token: Token) {
        if let Some(connection) = self.roster.get_mut(token) {
            connection.schedule.remove(Schedule::RUNNABLE);
        }
        self.roster.wake(token);
        self.roster.arm(token);
    }

    /// A client's turn: lines as long as there are some and it may send, reads as long as there is budget.
    ///
    /// The work of it is without its output.
    fn listen(&mut self, token: Token) -> Turn {
        let (mut bytes, mut lines) = (TURN_BYTES, TURN_LINES);
        let mut read_bytes = 0;
        let mut inbox = self.inboxes.take(token.slot);
        self.scratch.load(&mut inbox);
        let mut is_served = false;
        loop {
            match self.next_input(token, &mut inbox, lines) {
                NextInput::Input(input) => {
                    lines -= 1;
                    is_served = true;
                    self.deal_with(token, &inbox, input);
                }
                NextInput::Nothing => lines -= 1,
                NextInput::Read if bytes > 0 => match self.read(token, bytes) {
                    0 => break,
                    count => {
                        read_bytes += count;
                        bytes = bytes.saturating_sub(count);
                    }
                },
                NextInput::Read | NextInput::Stop => break,
            }
        }
        self.scratch.store(&mut inbox);
        self.inboxes.put(token.slot, inbox);
        match self.round_is_full && !is_served {
            true => Turn::PutOff,
            false => Turn::Served { work: read_bytes + (TURN_LINES - lines) * INPUT_WORK },
        }
    }

    /// Takes the next piece of input: of what waits, or off the scratch buffer.
    fn next_input(&mut self, token: Token, inbox: &mut Inbox, lines_left: usize) -> NextInput {
        let Some(connection) =
            self.roster.get_mut(token).filter(|connection| connection.rules().input == InputUse::Decoded)
        else {
            return NextInput::Stop;
        };
        connection.ready.insert(Readiness::BUFFERED);
        match connection.intake(&self.limits) {
            _ if lines_left == 0 => return NextInput::Stop,
            Intake::Nothing => return NextInput::Stop,
            Intake::Control => return self.look_ahead(token, inbox),
            Intake::All => connection.ready.remove(Readiness::INPUT_FULL),
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
        if self.may_go_on(token, &input) {
            return NextInput::Input(input);
        }
        inbox.hold(input);
        if let Some(connection) = self.roster.get_mut(token) {
            connection.ready.insert(Readiness::DECODED);
        }
        // Its request is read, and waits: it is not idle.
        self.roster.record_idle(token, None);
        if self.round_is_full { NextInput::Stop } else { NextInput::Nothing }
    }

    /// Whether a piece of input may be dealt with. If not, the client is put off until the next round, or waits for readers
    /// that lag, or for its allowance.
    fn may_go_on(&mut self, token: Token, input: &Input) -> bool {
        let Some(what) = input.counts_as() else {
            return true;
        };
        if let Use::Message { bytes } = what {
            let round_bytes = self.fanout.arena().round_cost_bytes();
            if round_bytes > 0 && round_bytes + frame_bytes(bytes) > self.limits.round_bytes {
                self.round_is_full = true;
                return false;
            }
            if let Some(target) = self.held_target(token, input) {
                self.metrics.holds += 1;
                self.roster.hold(token, target);
                return false;
            }
        }
        let Charge::Throttled { news } = self.roster.charge(token, what, self.now.moment) else {
            return true;
        };
        self.metrics.delays += 1;
        if news && matches!(what, Use::Message { .. }) {
            self.send_event(token, &Event::Delayed);
        }
        false
    }

    /// The receiver that the input must wait for, since a reader there lags.
    fn held_target(&self, token: Token, input: &Input) -> Option<Audience> {
        let pressure = self.roster.pressure();
        if pressure.is_off() {
            return None;
        }
        let (rooms, client) = match input {
            Input::Request { request: Ok(request), .. } => (
                self.fanout.chat().affected_rooms(token.into(), request),
                self.fanout.chat().affected_client(request),
            ),
            Input::Http(Ok(call)) => (self.publish_room(token, call).into_iter().collect(), None),
            _ => return None,
        };
        let targets = rooms.into_iter().map(Audience::Room).chain(client.map(Audience::Client));
        targets.into_iter().find(|target| pressure.is_on(*target))
    }

    /// Decodes input of a WebSocket client that must wait: its pings and its close are answered meanwhile, its messages
    /// kept as far as there is room. Past that, nothing is read, and TCP holds the client up.
    fn look_ahead(&mut self, token: Token, inbox: &mut Inbox) -> NextInput {
        let Some(connection) = self.roster.get_mut(token) else {
            return NextInput::Stop;
        };
        connection.ready.insert(Readiness::DECODED);
        // Pings count against the address's rate here too.
        if inbox.failed.is_none() && self.roster.may_request(token, self.now.moment) {
            let Some(connection) = self.roster.get_mut(token) else {
                return NextInput::Stop;
            };
            match self.codecs.decode_ahead(&mut inbox.unfinished, &mut inbox.waiting, self.scratch.unused()) {
                Step::Used { bytes, input } => {
                    self.scratch.consume(bytes);
                    if input.is_some() {
                        self.roster.count_request(token, self.now.moment);
                    }
                    return input.map_or(NextInput::Nothing, NextInput::Input);
                }
                Step::Incomplete => {
                    connection.ready.remove(Readiness::BUFFERED);
                    return NextInput::Read;
                }
                Step::Blocked => {}
                // Messages in front of the failure are handled first.
                Step::Fail(reason) => inbox.failed = Some(reason),
            }
        }
        if let Some(connection) = self.roster.get_mut(token) {
            connection.ready.insert(Readiness::INPUT_FULL);
        }
        NextInput::Stop
    }

    /// Takes one step through what is in the scratch buffer: a piece of input, or what to do instead.
    fn decode(&mut self, token: Token, inbox: &mut Inbox) -> Result<Input, NextInput> {
        let Some(connection) = self.roster.get_mut(token) else {
            return Err(NextInput::Stop);
        };
        // Nothing waits any more, so the end that was put off is due.
        let postponed =
            inbox.failed.or((connection.state() == State::PeerClosed).then_some(CloseReason::PeerClosed));
        if let Some(reason) = postponed {
            self.roster.close(token, reason);
            return Err(NextInput::Stop);
        }
        let ended = connection.ready.contains(Readiness::EOF);
        let name = matches!(connection.state(), State::Naming(naming) if naming != Naming::Unasked);
        let expected = Expected { name, first: connection.lines_in == 0 };
        let (dialect, unused) = (connection.dialect, self.scratch.unused());
        match self.codecs.decode(dialect, &mut inbox.unfinished, expected, unused, ended) {
            Step::Fail(reason) => {
                self.roster.close(token, reason);
                Err(NextInput::Stop)
            }
            Step::Incomplete if ended => {
                self.roster.close(token, CloseReason::EndOfInput);
                Err(NextInput::Stop)
            }
            Step::Incomplete => {
                connection.ready.remove(Readiness::BUFFERED | Readiness::DECODED);
                Err(NextInput::Read)
            }
            Step::Used { bytes, input: Some(input) } if matches!(connection.state(), State::Naming(_)) => {
                self.weigh(token, inbox, bytes, input)
            }
            Step::Used { bytes, input } => {
                self.scratch.consume(bytes);
                input.ok_or(NextInput::Nothing)
            }
            Step::Blocked => unreachable!("the messages of a client that need not wait need no room"),
        }
    }

    fn deal_with(&mut self, token: Token, inbox: &Inbox, input: Input) {
        match input {
            Input::Request { request, tag } => self.handle(token, request, tag),
            Input::Http(call) => self.handle_http(token, call),
            Input::Continue => self.send_last(token, |out| out.extend_from_slice(http::CONTINUE)),
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
        if !connection.receives() {
            return;
        }
        match connection.may_pong(&self.limits, now) {
            true => {
                connection.outbox.record_pong();
                self.send_bytes(token, |out| websocket::pong(out, &payload));
            }
            false => connection.outbox.postpone_pong(payload, now),
        }
    }

    /// Answers a close at once. What the client said before is dealt with all the same, as fast as it may send: its
    /// close frame says that it has sent all of it, not that it takes it back.
    fn answer_close(&mut self, token: Token, code: u16, is_owed: bool) {
        // Nothing may follow the close frame.
        self.send_missed(token);
        self.send_last(token, |out| websocket::close(out, code, ""));
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        connection.ready.insert(Readiness::CLOSE_SENT);
        match is_owed && connection.state() == State::Active {
            true => connection.start_state(State::PeerClosed, self.now.moment),
            false => self.roster.close(token, CloseReason::PeerClosed),
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
            Ok(0) => usize::from(connection.ready.contains(Readiness::EOF)),
            Ok(count) => {
                self.metrics.bytes_in += count as u64;
                count
            }
            Err(_) => {
                self.roster.close(token, CloseReason::ConnectionLost);
                0
            }
        }
    }

    /// Passes a request to the chat, unless its client is still in the queue.
    fn handle(&mut self, token: Token, request: Result<Request, Problem>, tag: Option<Tag>) {
        let Some(connection) = self.roster.get_mut(token) else {
            debug_assert!(false, "a request has a connection");
            return;
        };
        connection.touch(self.now.moment);
        // An empty line is not counted, whatever it answers.
        if !matches!(request, Ok(Request::StayGuest)) {
            connection.lines_in = connection.lines_in.wrapping_add(1);
            self.metrics.lines_in += 1;
        }
        if connection.state() == State::Queued {
            let problem = Event::Problem { problem: Problem::StillWaiting, unnamed: false };
            return self.reply(token, tag, &problem);
        }
        self.handle_request(token, request, tag);
    }

    /// The turn of a client that waits for a place: some input is kept, since it will be heard, and an end without any
    /// is the end. Returns the bytes read.
    fn keep_input(&mut self, token: Token) -> usize {
        let Some(connection) = self.roster.get_mut(token) else {
            return 0;
        };
        let mut inbox = self.inboxes.take(token.slot);
        self.scratch.load(&mut inbox);
        let room = WAITING_INBOX_BYTES.saturating_sub(self.scratch.unused().len());
        let outcome = connection.read(&mut self.net, &mut self.scratch, room, self.now.moment);
        let kept_bytes = self.scratch.unused().len();
        let ended = connection.ready.contains(Readiness::EOF);
        let foreign = self.codecs.foreign(self.scratch.unused(), WAITING_INBOX_BYTES, ended);
        self.scratch.store(&mut inbox);
        self.inboxes.put(token.slot, inbox);
        connection.ready.set(Readiness::BUFFERED, kept_bytes >= WAITING_INBOX_BYTES);
        if let Some(reason) = foreign {
            self.roster.close(token, reason);
        }
        match outcome {
            Err(_) => self.roster.close(token, CloseReason::ConnectionLost),
            Ok(0) if ended && kept_bytes == 0 => {
                self.roster.close(token, CloseReason::EndOfInput);
            }
            Ok(count) => {
                self.metrics.bytes_in += count as u64;
                return count;
            }
        }
        0
    }

    /// The turn of a connection that is closing: what it still says is not heard. Returns the bytes read.
    fn discard_input(&mut self, token: Token) -> usize {
        let Some(connection) = self.roster.get_mut(token) else {
            return 0;
        };
        let mut read_bytes = 0;
        while read_bytes < TURN_BYTES {
            match connection.read(&mut self.net, &mut self.scratch, TURN_BYTES - read_bytes, self.now.moment)
            {
                Ok(0) => {
                    let ended = connection.ready.contains(Readiness::EOF);
                    match connection.state() {
                        State::Lingering if ended => self.roster.abort(token),
                        // It sends no more, so nothing can destroy what it has still to take.
                        State::Draining(_) if ended && connection.outbox.is_empty() => self.finish(token),
                        _ => {}
                    }
                    break;
                }
                Ok(count) => {
                    self.scratch.consume(count);
                    self.metrics.bytes_in += count as u64;
                    read_bytes += count;
                }
                Err(_) => {
                    self.roster.abort(token);
                    break;
                }
            }
        }
        read_bytes
    }
}
