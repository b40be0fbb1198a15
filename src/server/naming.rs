//! Clients without a name: a line of such a client is a name, or a message of a client that does not read.
//!
//! A first line that is a free name is accepted at once. A name that is refused is an answer only if the client has read the
//! question. Then it is silent until it gets a reply, so the server waits for a moment of silence before it asks again. If
//! more input follows instead, the client enters as a guest, and its lines are messages. The answer to a repeated question
//! must be followed by silence too. So no line of a pipe is lost or becomes a name by mistake.

use super::Server;
use super::questions::Then;
use super::turn::NextStep;
use crate::chat::ClientId;
use crate::codec::{Input, line};
use crate::connection::{Naming, Readiness, Silence, State};
use crate::inbox::Inbox;
use crate::net::{Net, Token};
use crate::protocol::{Problem, Request};

impl<N: Net> Server<N> {
    /// Decides whether `input`, the next `bytes` of a client without a name, is handled now. Otherwise it is decoded again: as
    /// a message, or after more input or silence.
    pub(super) fn decide_unnamed(
        &mut self,
        token: Token,
        inbox: &mut Inbox,
        bytes: usize,
        input: Input,
    ) -> Result<Input, NextStep> {
        let Some(connection) = self.roster.live(token) else {
            return Err(NextStep::Stop);
        };
        let ended = connection.ready.contains(Readiness::EOF);
        let (State::Naming(naming), Input::Request { request, .. }) = (connection.state(), &input) else {
            // It is no line: a WebSocket client may send a ping before its name.
            self.scratch.consume(bytes);
            return Ok(input);
        };
        if !self.require_answers_for(token, naming, request) {
            return Err(NextStep::Stop);
        }
        let followed = line::has_more_input(inbox.unfinished.as_deref(), &self.scratch.unused()[bytes..]);
        let is_too_long = matches!(request, Err(Problem::LineTooLong { .. }));
        let is_answer = matches!(request, Ok(Request::Nick(_)) | Err(_));
        let is_first = matches!(naming, Naming::Asked(_));
        let accepts = self.accepts_unnamed(token, request);
        match naming {
            Naming::Unasked => {
                self.enter_as_guest(token);
                if self.fanout.chat().is_unnamed(token.into()) {
                    return Err(NextStep::Decode);
                }
            }
            _ if self.fanout.chat().takes_each_line(token.into(), request) => {
                self.show_telnet_input(token, request, bytes)
            }
            _ if accepts && (is_first || !is_answer) => {}
            // A line that long is no name, and the rest of it is not read yet.
            _ if is_too_long => self.enter_as_guest(token),
            // After the end of input the client can't answer again, so its last line is handled as a name, and refused.
            Naming::Asked(_) if followed || (ended && !is_answer) => self.enter_as_guest(token),
            Naming::Repeated(_) if followed || ended => {
                self.enter_as_guest(token);
                inbox.unfinished = None;
                return Err(NextStep::Decode);
            }
            Naming::Asked(silence) | Naming::Repeated(silence) if ended || silence == Silence::Over => {
                self.set_naming(token, Naming::Repeated(Silence::Unneeded));
            }
            Naming::Asked(_) | Naming::Repeated(_) => {
                let naming = if is_first { Naming::Asked } else { Naming::Repeated };
                self.set_naming(token, naming(Silence::Awaited));
                if let Some(connection) = self.roster.live_mut(token) {
                    connection.ready.remove(Readiness::BUFFERED);
                }
                inbox.unfinished = None;
                return Err(NextStep::Read);
            }
        }
        self.scratch.consume(bytes);
        Ok(input)
    }

    /// Whether the chat would accept a line of a client without a name.
    fn accepts_unnamed(&mut self, token: Token, request: &Result<Request, Problem>) -> bool {
        let facts = self.known_facts(token).cloned().unwrap_or_default();
        self.call_chat(|chat, now, _| chat.accepts_unnamed(token.into(), request, (now, &facts)))
    }

    /// Shows a telnet client its input again if a line is the answer to the question for a token. Behind others, such as Ctrl-C, the
    /// token is still to come.
    fn show_telnet_input(&mut self, token: Token, request: &Result<Request, Problem>, bytes: usize) {
        if matches!(request, Ok(Request::Nick(_) | Request::StayGuest | Request::Login { .. }) | Err(_)) {
            self.restore_echo(token);
        }
        if matches!(request, Ok(Request::Nick(_))) {
            self.record_telnet(token, bytes);
        }
    }

    fn set_naming(&mut self, token: Token, naming: Naming) {
        if let Some(connection) = self.roster.live_mut(token) {
            connection.set_state(State::Naming(naming));
        }
    }

    /// Returns whether the answers of other processes are here that decide about a line of a client without a name. If not, asks
    /// the questions, and the line is decoded again then. The client may enter as a guest too.
    fn require_answers_for(
        &mut self,
        token: Token,
        naming: Naming,
        request: &Result<Request, Problem>,
    ) -> bool {
        if !self.has_link() {
            return true;
        }
        let (chat, id) = (self.fanout.chat(), token.into());
        // A client that was not asked for a name enters as a guest first.
        let request = request.as_ref().ok().filter(|_| naming != Naming::Unasked);
        let own = request.map_or(Vec::new(), |request| chat.questions(id, request, self.now));
        let questions = match own.is_empty() {
            true => chat.questions(id, &Request::StayGuest, self.now),
            false => own,
        };
        self.require_answers(token, questions, Then::Decode)
    }

    /// Handles the silence of a client that waits for the server: it enters, or its line is handled as an answer.
    pub(super) fn end_silence(&mut self, token: Token) {
        let Some(connection) = self.roster.live_mut(token) else {
            return;
        };
        let state = match connection.state() {
            State::Naming(Naming::Unasked) => return self.end_first_silence(token),
            State::Naming(Naming::Asked(_)) => State::Naming(Naming::Asked(Silence::Over)),
            State::Naming(Naming::Repeated(_)) => State::Naming(Naming::Repeated(Silence::Over)),
            state => unreachable!("only a client without a name has such a deadline, not one in {state:?}"),
        };
        connection.set_state(state);
        connection.ready.insert(Readiness::BUFFERED);
        self.roster.wake(token);
    }

    /// Lets a client enter that has sent nothing.
    fn end_first_silence(&mut self, token: Token) {
        let questions = match self.has_link() {
            true => self.fanout.chat().questions(token.into(), &Request::StayGuest, self.now),
            false => Vec::new(),
        };
        if self.require_answers(token, questions, Then::Silence) {
            self.enter_as_guest(token);
        }
    }

    /// Gives a client a guest name, as an empty line does.
    fn enter_as_guest(&mut self, token: Token) {
        let id = token.into();
        let answers = self.take_answers(token);
        self.use_answers(token, answers, |server, facts| {
            server.call_chat(|chat, now, effects| match chat.name(id) {
                Some(_) => chat.handle(id, Ok(Request::StayGuest), (now, facts), effects),
                None => chat.connect(id, token.serial, (now, facts), effects),
            });
        });
        // The chat has asked for a name if guests may not enter, or may not any more.
        let asked = self.roster.live_mut(token).filter(|c| c.state() == State::Naming(Naming::Unasked));
        if let Some(connection) = asked {
            connection.set_state(State::Naming(Naming::Asked(Silence::Unneeded)));
        }
    }

    /// Activates a client that was given its name.
    pub(super) fn record_name(&mut self, id: ClientId) {
        let (now, clients) = (self.now.moment, self.admission.clients());
        let Some(connection) = self.roster.client_mut(id) else {
            return;
        };
        match connection.state() {
            State::Naming(_) => connection.start_state(State::Active, now),
            // It has sent a close frame while it waited for Redis.
            State::PeerClosed => {}
            // It is closing.
            _ => return,
        }
        let (serial, host, listener) = (connection.serial, connection.host(), connection.dialect.as_str());
        log::info!("connect id={serial} peer={host} listener={listener} clients={clients}");
    }
}
