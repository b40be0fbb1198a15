//! Clients without a name: whether what such a client sends is the answer to the question for its name.
//!
//! A line is an answer only if its sender can have read the question. A free name is always taken, whenever it was sent.
//! One that is refused waits until the client has been silent for a moment, and only then is the client asked again. What
//! comes before that was sent without knowledge of the refusal, so the client is let in as a guest, and is heard. The
//! answer to a repeated question must be followed by silence too. So nothing that is piped is lost, or becomes a name.

use super::Server;
use super::turn::NextInput;
use crate::chat::ClientId;
use crate::codec::{Input, line};
use crate::connection::{Naming, Readiness, Silence, State};
use crate::inbox::Inbox;
use crate::net::{Net, Token};
use crate::protocol::{Problem, Request};

impl<N: Net> Server<N> {
    /// Decides what `input` is, which a client without a name says with the next `bytes`: something to deal with now, or
    /// something to be decoded again, as chat or when more is known.
    pub(super) fn weigh(
        &mut self,
        token: Token,
        inbox: &mut Inbox,
        bytes: usize,
        input: Input,
    ) -> Result<Input, NextInput> {
        let Some(connection) = self.roster.get_mut(token) else {
            return Err(NextInput::Stop);
        };
        let (State::Naming(naming), Input::Request { request, .. }) = (connection.state(), &input) else {
            self.scratch.consume(bytes);
            return Ok(input);
        };
        let ended = connection.ready.contains(Readiness::EOF);
        let followed = line::has_more_input(inbox.unfinished.as_deref(), &self.scratch.unused()[bytes..]);
        let is_too_long = matches!(request, Err(Problem::LineTooLong { .. }));
        let is_answer = matches!(request, Ok(Request::Nick(_)) | Err(_));
        let is_first = matches!(naming, Naming::Asked(_));
        match naming {
            Naming::Unasked => self.enter_as_guest(token),
            _ if self.fanout.chat().accepts_unnamed(request) && (is_first || !is_answer) => {}
            // Nobody types a name that long, and the rest of it is still to come.
            _ if is_too_long => self.enter_as_guest(token),
            // A name that nothing follows, not even later, is refused and that is all.
            Naming::Asked(_) if followed || (ended && !is_answer) => self.enter_as_guest(token),
            Naming::Repeated(_) if followed || ended => {
                self.enter_as_guest(token);
                inbox.unfinished = None;
                return Err(NextInput::Nothing);
            }
            Naming::Asked(silence) | Naming::Repeated(silence) if ended || silence == Silence::Over => {
                connection.set_state(State::Naming(Naming::Repeated(Silence::Unneeded)));
            }
            Naming::Asked(_) | Naming::Repeated(_) => {
                let naming = if is_first { Naming::Asked } else { Naming::Repeated };
                connection.set_state(State::Naming(naming(Silence::Awaited)));
                connection.ready.remove(Readiness::BUFFERED);
                inbox.unfinished = None;
                return Err(NextInput::Read);
            }
        }
        self.scratch.consume(bytes);
        Ok(input)
    }

    /// A client that waits for what the server says gets it: it enters, or its answer is dealt with.
    pub(super) fn end_silence(&mut self, token: Token) {
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        let state = match connection.state() {
            State::Naming(Naming::Unasked) => return self.enter_as_guest(token),
            State::Naming(Naming::Asked(_)) => State::Naming(Naming::Asked(Silence::Over)),
            State::Naming(Naming::Repeated(_)) => State::Naming(Naming::Repeated(Silence::Over)),
            state => unreachable!("only a client without a name has such a deadline, not one in {state:?}"),
        };
        connection.set_state(state);
        connection.ready.insert(Readiness::BUFFERED);
        self.roster.wake(token);
    }

    /// Gives a client the guest name that it would have if it had sent an empty line.
    fn enter_as_guest(&mut self, token: Token) {
        let (id, was_asked) = (token.into(), !self.config.guests);
        self.call_chat(|chat, now, effects| match was_asked {
            true => chat.handle(id, Ok(Request::StayGuest), now, effects),
            false => chat.connect(id, token.serial, now, effects),
        });
    }

    /// A client has its name, and is in the chat from now on.
    pub(super) fn record_name(&mut self, id: ClientId) {
        let (now, clients) = (self.now.moment, self.admission.clients());
        let named = self.roster.client_mut(id).filter(|c| matches!(c.state(), State::Naming(_)));
        if let Some(connection) = named {
            connection.start_state(State::Active, now);
            let (serial, host, listener) =
                (connection.serial, connection.host(), connection.dialect.as_str());
            log::info!("connect id={serial} peer={host} listener={listener} clients={clients}");
        }
    }
}
