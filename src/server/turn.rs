//! Turns: each connection with input is read, and its input is decoded and handled.
//!
//! A turn has a budget of bytes and one of lines, so a client that never stops sending delays the others only by its share.
//! A connection that has input left goes to the back of the queue.
//!
//! A client that is over its rate, or whose messages go to slow readers, must wait. TCP blocks a line client meanwhile. A
//! WebSocket client is still read, since libraries close a connection whose pings are not answered. The server answers its
//! control frames and stores its messages, as many as [`crate::codec::websocket::Waiting`] allows.

use super::Server;
use super::order::{LATER_WORK, TurnOrder};
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

/// Pieces of input of a connection that are handled in one turn.
const TURN_PIECES: usize = 64;

/// Output of one tick, in bytes, at which the other turns wait for the next tick. It bounds the open block of the arena, and
/// keeps it in the cache.
pub(super) const TICK_BYTES: usize = 1024 * 1024;

/// Input that is stored for a client in the queue, in bytes. All input of a pipe should fit, since it is handled later.
pub(super) const QUEUED_INBOX_BYTES: usize = 4 * 1024;

/// The outcome of a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    /// The connection was served. `work` is in the units of [`crate::load`].
    Served { work: usize },
    /// The turn waits for the next tick, since the tick or the round has no room for it.
    Postponed,
}

/// The next step of a turn.
pub(super) enum NextStep {
    /// Handle this input.
    Handle(Input),
    /// Decode further. What was decoded needs no action.
    Decode,
    /// Read, since no whole piece of input is left.
    Read,
    /// End the turn.
    Stop,
}

impl<N: Net> Server<N> {
    /// Gives each connection in the queue a turn, while the tick and the round have room. The others come first in the next
    /// tick.
    pub(super) fn turns(&mut self) {
        self.roster.resume_talkers(self.now.moment);
        let runnable = self.roster.take_runnable();
        // A single connection needs no order, which costs a few hundred instructions.
        if let [token] = runnable[..] {
            if !self.is_round_full && self.fanout.arena().open_bytes() < TICK_BYTES {
                self.take_turn(token);
            }
            return self.end_turn(token);
        }
        let TurnOrder { first, later } = self.order(runnable);
        let (mut postponed, mut served) = (Vec::new(), Vec::new());
        let mut work_left = LATER_WORK;
        let tokens = first.into_iter().map(|token| (token, false));
        for (token, is_later) in tokens.chain(later.into_iter().map(|token| (token, true))) {
            let has_room = !self.is_round_full && self.fanout.arena().open_bytes() < TICK_BYTES;
            let may_be_served = has_room && !(is_later && work_left == 0);
            let turn = if may_be_served { self.take_turn(token) } else { Turn::Postponed };
            match turn {
                Turn::Served { work } => {
                    work_left = work_left.saturating_sub(if is_later { work } else { 0 });
                    served.push(token);
                }
                Turn::Postponed => postponed.push(token),
            }
        }
        postponed.into_iter().chain(served).for_each(|token| self.end_turn(token));
    }

    fn take_turn(&mut self, token: Token) -> Turn {
        let written_bytes = self.fanout.arena().open_bytes();
        let Some(connection) = self.roster.get(token) else {
            // It was freed after its turn was queued.
            return Turn::Served { work: 0 };
        };
        if connection.may_catch_up() {
            self.catch_up(token);
        }
        let Some(connection) = self.roster.live(token) else {
            return Turn::Served { work: 0 };
        };
        let source = Source::of(connection.host(), token.slot);
        let turn = match connection.state() {
            _ if connection.rules().input == InputUse::Decoded => self.serve(token),
            State::Queued => Turn::Served { work: self.store_input(token) },
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
        let Some(connection) = self.roster.get_mut(token) else {
            // It was freed after its turn was queued.
            return;
        };
        connection.schedule.remove(Schedule::RUNNABLE);
        self.roster.wake(token);
        self.roster.arm(token);
    }

    /// Decodes and handles input, and reads more, until there is no input, the client must wait, or the budget is used up.
    ///
    /// The work of the result does not include output.
    fn serve(&mut self, token: Token) -> Turn {
        let (mut bytes_left, mut pieces_left) = (TURN_BYTES, TURN_PIECES);
        let mut read_bytes = 0;
        let mut inbox = self.inboxes.take(token.slot);
        let had_begun = inbox.has_begun();
        self.scratch.load(&mut inbox);
        let mut is_served = false;
        loop {
            match self.next_step(token, &mut inbox, pieces_left) {
                NextStep::Handle(input) => {
                    pieces_left -= 1;
                    is_served = true;
                    self.handle_input(token, &inbox, input);
                }
                NextStep::Decode => pieces_left -= 1,
                NextStep::Read if bytes_left > 0 => match self.read(token, bytes_left) {
                    0 => break,
                    count => {
                        read_bytes += count;
                        bytes_left = bytes_left.saturating_sub(count);
                    }
                },
                NextStep::Read | NextStep::Stop => break,
            }
        }
        self.scratch.store(&mut inbox);
        if inbox.has_begun() && !had_begun {
            self.record_request_begun(token);
        }
        self.inboxes.store(token.slot, inbox);
        match self.is_round_full && !is_served {
            true => Turn::Postponed,
            false => Turn::Served { work: read_bytes + (TURN_PIECES - pieces_left) * INPUT_WORK },
        }
    }

    /// Takes the next piece of input from those that wait, or decodes it.
    fn next_step(&mut self, token: Token, inbox: &mut Inbox, pieces_left: usize) -> NextStep {
        let Some(connection) = self.roster.live_mut(token) else {
            return NextStep::Stop;
        };
        // The input before may have closed it.
        if connection.rules().input != InputUse::Decoded {
            return NextStep::Stop;
        }
        connection.ready.insert(Readiness::BUFFERED);
        match connection.intake(&self.limits) {
            _ if pieces_left == 0 => return NextStep::Stop,
            Intake::Nothing => return NextStep::Stop,
            Intake::Control => return self.decode_ahead(token, inbox),
            Intake::All => connection.ready.remove(Readiness::INPUT_FULL),
        }
        let dialect = connection.dialect;
        let waiting = inbox.take_delayed().or_else(|| self.codecs.next_waiting(dialect, &mut inbox.waiting));
        let input = match waiting {
            Some(input) => input,
            None => match self.decode(token, inbox) {
                Ok(input) => input,
                Err(next) => return next,
            },
        };
        if let Input::Http(Ok(request)) = &input
            && !self.follow_request(token, request)
        {
            return NextStep::Stop;
        }
        if self.may_handle(token, &input) {
            return NextStep::Handle(input);
        }
        inbox.delay(input);
        if let Some(connection) = self.roster.live_mut(token) {
            connection.ready.insert(Readiness::DECODED);
        }
        // An HTTP connection whose request waits is not idle.
        self.roster.record_idle(token, None);
        if self.is_round_full { NextStep::Stop } else { NextStep::Decode }
    }

    /// Whether a piece of input may be handled now. If not, the client waits for the next round, for lagging readers, or for
    /// its rate.
    fn may_handle(&mut self, token: Token, input: &Input) -> bool {
        let Some(what) = input.counts_as() else {
            // A close frame counts against no rate.
            return true;
        };
        if let Use::Message { bytes } | Use::Publish { bytes } = what {
            let round_bytes = self.fanout.arena().round_cost_bytes();
            if round_bytes > 0 && round_bytes + frame_bytes(bytes) > self.limits.round_bytes {
                self.is_round_full = true;
                return false;
            }
            if let Some(target) = self.paused_target(token, input) {
                self.metrics.holds += 1;
                self.roster.pause(token, target);
                return false;
            }
        }
        let Charge::Throttled { is_new } = self.roster.charge(token, what, self.now.moment) else {
            return true;
        };
        self.metrics.delays += 1;
        if is_new && matches!(what, Use::Message { .. }) {
            self.send_event(token, &Event::Delayed);
            if let Some(connection) = self.roster.live_mut(token) {
                connection.schedule.insert(Schedule::NOTIFIED);
            }
        }
        false
    }

    /// The receiver that the input must wait for, since a reader there lags.
    fn paused_target(&self, token: Token, input: &Input) -> Option<Audience> {
        let pressure = self.roster.pressure();
        if pressure.is_off() {
            return None;
        }
        let (rooms, client) = match input {
            Input::Request { request: Ok(request), .. } => (
                self.fanout.chat().affected_rooms(token.into(), request),
                self.fanout.chat().affected_client(token.into(), request),
            ),
            Input::Http(Ok(request)) => (self.publish_room(token, request).into_iter().collect(), None),
            _ => return None,
        };
        let targets = rooms.into_iter().map(Audience::Room).chain(client.map(Audience::Client));
        targets.into_iter().find(|target| pressure.is_on(*target))
    }

    /// Decodes input of a WebSocket client that must wait. Its control frames are answered, and its messages are stored while
    /// there is room. After that no more is read, and TCP blocks the client.
    fn decode_ahead(&mut self, token: Token, inbox: &mut Inbox) -> NextStep {
        // Pings count against the address's rate here too.
        let may_decode = inbox.failed.is_none() && self.roster.may_request(token, self.now.moment);
        let Some(connection) = self.roster.live_mut(token) else {
            return NextStep::Stop;
        };
        connection.ready.insert(Readiness::DECODED);
        if may_decode {
            match self.codecs.decode_ahead(&mut inbox.unfinished, &mut inbox.waiting, self.scratch.unused()) {
                Step::Used { bytes, input } => {
                    self.scratch.consume(bytes);
                    if input.is_some() {
                        self.roster.count_request(token, self.now.moment);
                    }
                    return input.map_or(NextStep::Decode, NextStep::Handle);
                }
                Step::Incomplete => {
                    connection.ready.remove(Readiness::BUFFERED);
                    return NextStep::Read;
                }
                Step::Blocked => {}
                // The messages before the failure are handled first.
                Step::Fail(reason) => inbox.failed = Some(reason),
            }
        }
        connection.ready.insert(Readiness::INPUT_FULL);
        NextStep::Stop
    }

    /// Decodes one piece of input from the scratch buffer, or returns another step.
    fn decode(&mut self, token: Token, inbox: &mut Inbox) -> Result<Input, NextStep> {
        let Some(connection) = self.roster.live_mut(token) else {
            return Err(NextStep::Stop);
        };
        // All messages before a failure or a close frame are handled, so the connection is closed for it now.
        let postponed =
            inbox.failed.or((connection.state() == State::PeerClosed).then_some(CloseReason::PeerClosed));
        if let Some(reason) = postponed {
            self.roster.close(token, reason);
            return Err(NextStep::Stop);
        }
        if connection.state() == State::ProxyHeader {
            return Err(self.read_proxy_header(token));
        }
        let ended = connection.ready.contains(Readiness::EOF);
        let name = matches!(connection.state(), State::Naming(naming) if naming != Naming::Unasked);
        let is_asked_for_token = name && self.fanout.chat().is_asked_for_token(token.into());
        let expected = Expected { name, token: is_asked_for_token, first: connection.lines_in == 0 };
        let (dialect, unused) = (connection.dialect, self.scratch.unused());
        match self.codecs.decode(dialect, &mut inbox.unfinished, expected, unused, ended) {
            Step::Fail(reason) => {
                self.roster.close(token, reason);
                Err(NextStep::Stop)
            }
            Step::Incomplete if ended => {
                self.roster.close(token, CloseReason::EndOfInput);
                Err(NextStep::Stop)
            }
            Step::Incomplete => {
                connection.ready.remove(Readiness::BUFFERED | Readiness::DECODED);
                Err(NextStep::Read)
            }
            Step::Used { bytes, input: Some(input) } if matches!(connection.state(), State::Naming(_)) => {
                self.decide_unnamed(token, inbox, bytes, input)
            }
            Step::Used { bytes, input } => {
                self.scratch.consume(bytes);
                input.ok_or(NextStep::Decode)
            }
            Step::Blocked => unreachable!("the messages of a client that does not wait are not stored"),
        }
    }

    fn handle_input(&mut self, token: Token, inbox: &Inbox, input: Input) {
        match input {
            Input::Request { request, tag } => self.handle(token, request, tag),
            Input::Http(request) => self.handle_http(token, request),
            Input::Continue => self.send_last(token, |out| out.extend_from_slice(http::CONTINUE)),
            Input::Ping(payload) => self.answer_ping(token, payload),
            Input::Close(code) => self.answer_close(token, code, inbox.has_messages()),
        }
    }

    /// Answers a ping at once. If the client does not read its output, only the newest ping is answered, and later.
    pub(super) fn answer_ping(&mut self, token: Token, payload: Box<[u8]>) {
        let now = self.now.moment;
        let Some(connection) = self.roster.live_mut(token) else {
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

    /// Answers a close frame at once. Messages before it (`has_messages`) are still handled, at the client's rate, and so is a
    /// request that waits for Redis.
    fn answer_close(&mut self, token: Token, code: u16, has_messages: bool) {
        // Nothing may follow the close frame.
        self.send_missed(token);
        self.send_last(token, |out| websocket::close(out, code, ""));
        let Some(connection) = self.roster.live_mut(token) else {
            return;
        };
        connection.ready.insert(Readiness::CLOSE_SENT);
        let is_pending = has_messages || connection.schedule.contains(Schedule::AWAITS_REDIS);
        // A client in the queue is no member of a room.
        let is_admitted = matches!(connection.state(), State::Naming(_) | State::Active);
        match is_pending && is_admitted {
            true => connection.start_state(State::PeerClosed, self.now.moment),
            false => self.roster.close(token, CloseReason::PeerClosed),
        }
    }

    /// Reads once, and returns the number of bytes, or 0 if there is no input now. At the end of the input it returns 1, so that
    /// the caller decodes the rest once more.
    fn read(&mut self, token: Token, most: usize) -> usize {
        let Some(connection) = self.roster.live_mut(token) else {
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
        let Some(connection) = self.roster.live_mut(token) else {
            return;
        };
        connection.touch(self.now.moment);
        let host = connection.host();
        // An empty line is not counted.
        if !matches!(request, Ok(Request::StayGuest)) {
            connection.lines_in = connection.lines_in.wrapping_add(1);
            self.metrics.lines_in += 1;
        }
        if connection.state() == State::Queued {
            let problem = Event::Problem { problem: Problem::StillWaiting, unnamed: false };
            return self.reply(token, tag, &problem);
        }
        let is_login = matches!(request, Ok(Request::Login { .. } | Request::Register));
        if is_login && !self.may_log_in(host) {
            self.remove_questions(token);
            let unnamed = self.fanout.chat().is_unnamed(token.into());
            let problem = Event::Problem { problem: Problem::TooManyLogins, unnamed };
            return self.reply(token, tag, &problem);
        }
        // Each registration writes the state file, so it counts against the limit of failed logins.
        if matches!(request, Ok(Request::Register)) && self.config.registration {
            self.roster.charge_login(host, self.now.moment);
        }
        self.handle_request(token, request, tag);
    }

    /// Reads and stores input of a line client in the queue. If the input ends without any, the connection is closed. Returns
    /// the bytes read.
    fn store_input(&mut self, token: Token) -> usize {
        let Some(connection) = self.roster.live_mut(token) else {
            return 0;
        };
        let mut inbox = self.inboxes.take(token.slot);
        self.scratch.load(&mut inbox);
        let room = QUEUED_INBOX_BYTES.saturating_sub(self.scratch.unused().len());
        // A read into a buffer without room returns 0 bytes, as at the end of input.
        let outcome = match room {
            0 => Ok(0),
            _ => connection.read(&mut self.net, &mut self.scratch, room, self.now.moment),
        };
        let stored_bytes = self.scratch.unused().len();
        let ended = connection.ready.contains(Readiness::EOF);
        let foreign = self.codecs.foreign(self.scratch.unused(), QUEUED_INBOX_BYTES, ended);
        self.scratch.store(&mut inbox);
        self.inboxes.store(token.slot, inbox);
        connection.ready.set(Readiness::BUFFERED, stored_bytes >= QUEUED_INBOX_BYTES);
        if let Some(reason) = foreign {
            self.roster.close(token, reason);
        }
        match outcome {
            Err(_) => self.roster.close(token, CloseReason::ConnectionLost),
            Ok(0) if ended && stored_bytes == 0 => {
                self.roster.close(token, CloseReason::EndOfInput);
            }
            Ok(count) => {
                self.metrics.bytes_in += count as u64;
                return count;
            }
        }
        0
    }

    /// Reads and discards input of a closing connection. Returns the bytes read.
    fn discard_input(&mut self, token: Token) -> usize {
        let Some(connection) = self.roster.live_mut(token) else {
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
                        // The peer sends no more, so no reset can destroy its last bytes.
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
