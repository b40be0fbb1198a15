//! Requests that wait for Redis: a name must be claimed there, or the members of a room are at other processes.
//!
//! Such a request is put aside with its [`Question`]s, and nothing else of its connection is handled meanwhile. When they are
//! answered, it is handled again, and finds the answers here. A server without `--redis` asks nothing.

use super::Server;
use crate::chat::ClientId;
use crate::codec::Tag;
use crate::codec::http::HttpRequest;
use crate::connection::{Readiness, Schedule};
use crate::net::{Net, Token};
use crate::protocol::{Arrival, Facts, LocalEvent, Question, Request};
use crate::text::Name;

/// The next step when the questions are answered.
#[derive(Debug)]
pub enum Then {
    /// The input is decoded, since its meaning depends on the answers.
    Decode,
    /// The silence of a client without a name is over.
    Silence,
    Request(Request, Option<Tag>),
    Http(Box<HttpRequest>),
    Enter(Box<Arrival>),
}

/// Answers that a request is about to use, with their questions. Only `use_answers` reads them, so no name stays claimed for a
/// client that does not take it.
#[must_use]
#[derive(Debug, Default)]
pub struct Answers {
    questions: Vec<Question>,
    facts: Facts,
}

/// The questions of a connection.
#[derive(Debug)]
pub struct Asked {
    token: Token,
    questions: Vec<Question>,
    /// `None` until they are answered.
    facts: Option<Facts>,
    then: Then,
}

impl Asked {
    pub fn is_answered(&self) -> bool {
        self.facts.is_some()
    }
}

/// The number of a connection for the link.
fn asker_of(token: Token) -> u64 {
    u64::from(token.serial) << 32 | u64::from(token.slot)
}

impl<N: Net> Server<N> {
    /// Adds a client whose request has its name and its room to the chat.
    pub(super) fn enter_chat(&mut self, token: Token, arrival: Box<Arrival>) {
        let questions = match self.has_link() {
            true => self.fanout.chat().questions_of_arrival(token.serial, &arrival),
            false => Vec::new(),
        };
        if let Some((answers, Then::Enter(arrival))) = self.answers(token, questions, Then::Enter(arrival)) {
            self.use_answers(token, answers, |server, facts| {
                server.call_chat_for(token, None, |chat, now, effects| {
                    chat.enter(token.into(), token.serial, *arrival, (now, facts), effects);
                });
            });
            self.record_catching_up(token);
        }
    }

    /// Whether there may be other processes.
    pub(super) fn has_link(&self) -> bool {
        self.link.is_some()
    }

    /// Returns the answers and `then`, or asks the questions, and `then` follows later.
    pub(super) fn answers(
        &mut self,
        token: Token,
        questions: Vec<Question>,
        then: Then,
    ) -> Option<(Answers, Then)> {
        // Each message comes here, so nothing is moved before the table has an entry.
        let has_asked = self.link.as_ref().is_some_and(|link| link.asked.get(token.slot).is_some());
        if has_asked && self.has_answers(token, &questions) {
            return Some((self.take_answers(token), then));
        }
        if has_asked {
            self.remove_questions(token);
        }
        if questions.is_empty() || self.link.is_none() {
            return Some((Answers::default(), then));
        }
        self.ask(token, questions, then);
        None
    }

    fn has_answers(&self, token: Token, questions: &[Question]) -> bool {
        let found = self.link.as_ref().and_then(|link| link.asked.get(token.slot));
        found.is_some_and(|it| it.token == token && it.facts.is_some() && it.questions == questions)
    }

    /// Returns whether the questions are answered, and asks them if not. The answers stay for the request in the input, which is
    /// decoded again then.
    pub(super) fn require_answers(&mut self, token: Token, questions: Vec<Question>, then: Then) -> bool {
        self.has_answers(token, &questions) || self.answers(token, questions, then).is_some()
    }

    /// The answers to what a connection has asked.
    pub(super) fn known_facts(&self, token: Token) -> Option<&Facts> {
        self.link.as_ref()?.asked.get(token.slot)?.facts.as_ref()
    }

    /// Takes the answers to whatever a connection has asked.
    pub(super) fn take_answers(&mut self, token: Token) -> Answers {
        let asked = self.take_asked(token);
        let answers =
            |Asked { questions, facts, .. }| Answers { questions, facts: facts.unwrap_or_default() };
        asked.map_or_else(Answers::default, answers)
    }

    /// Calls `act` with the answers. Then it frees the names that were claimed for the client and that it has not taken.
    pub(super) fn use_answers(
        &mut self,
        token: Token,
        answers: Answers,
        act: impl FnOnce(&mut Self, &Facts),
    ) {
        act(self, &answers.facts);
        self.release_unused_claims(token, &answers);
    }

    fn ask(&mut self, token: Token, questions: Vec<Question>, then: Then) {
        let chat = self.fanout.chat();
        let positions = questions.iter().map(|question| match question {
            Question::Room { room, .. } => chat.position(room),
            _ => None,
        });
        let asked = questions.iter().cloned().zip(positions).collect();
        if let Some(link) = &mut self.link {
            link.backplane.ask(asker_of(token), asked, self.now);
            link.asked.insert(token.slot, Asked { token, questions, facts: None, then });
        }
        self.begin_waiting_for_redis(token);
    }

    fn take_asked(&mut self, token: Token) -> Option<Asked> {
        self.link.as_mut()?.asked.take(token.slot).filter(|asked| asked.token == token)
    }

    /// Handles the request of a connection whose questions are answered.
    pub(super) fn answer_questions(&mut self, asker: u64, facts: Facts) {
        let slot = asker as u32;
        let found = self.link.as_mut().and_then(|link| link.asked.get_mut(slot));
        let Some(asked) = found.filter(|asked| asker_of(asked.token) == asker) else {
            return debug_assert!(false, "the questions of a connection that has ended are dropped");
        };
        let token = asked.token;
        asked.facts = Some(facts);
        let then = std::mem::replace(&mut asked.then, Then::Decode);
        self.end_waiting_for_redis(token);
        // An earlier phase of this tick may have closed it.
        if self.roster.live(token).is_none_or(|connection| connection.is_closing()) {
            return self.remove_questions(token);
        }
        let is_decoded = matches!(then, Then::Decode);
        match then {
            Then::Decode => {
                if let Some(connection) = self.roster.live_mut(token) {
                    connection.ready.insert(Readiness::BUFFERED);
                }
            }
            Then::Silence => self.end_silence(token),
            Then::Request(request, tag) => self.handle_request(token, Ok(request), tag),
            Then::Http(request) => self.route_http(token, request),
            Then::Enter(arrival) => self.enter_chat(token, arrival),
        }
        // A request that is refused meanwhile takes no answers, and a later one must not find them.
        if !is_decoded && self.known_facts(token).is_some() {
            self.remove_questions(token);
        }
        self.roster.wake(token);
        self.roster.arm(token);
    }

    /// Lets a connection wait.
    pub(super) fn begin_waiting_for_redis(&mut self, token: Token) {
        if let Some(connection) = self.roster.live_mut(token) {
            connection.schedule.insert(Schedule::AWAITS_REDIS);
            // A connection that waits is not idle.
            self.roster.record_idle(token, None);
        }
    }

    /// Lets a connection go on.
    pub(super) fn end_waiting_for_redis(&mut self, token: Token) {
        if let Some(connection) = self.roster.live_mut(token) {
            connection.schedule.remove(Schedule::AWAITS_REDIS);
        }
    }

    /// Gives names back that were claimed for a client and that it has not taken.
    fn release_unused_claims(&mut self, token: Token, Answers { questions, facts }: &Answers) {
        // Another client has the name, so nothing was claimed.
        if facts.holder.is_some() {
            return;
        }
        for question in questions {
            if let Question::Claim { client, name: old, .. } = question
                && self.name_of(token) != Some(old)
            {
                let (client, old) = (*client, old.clone());
                let event = match self.name_of(token).cloned() {
                    Some(name) => LocalEvent::Named { client, name, old: Some(old), is_account: false },
                    None => LocalEvent::Gone { client, name: old },
                };
                self.share(event);
            }
        }
    }

    /// The name that a client has taken.
    fn name_of(&self, token: Token) -> Option<&Name> {
        let (chat, id) = (self.fanout.chat(), ClientId::from(token));
        chat.name(id).filter(|_| !chat.is_unnamed(id))
    }

    /// Drops the questions of a connection that ends or asks others.
    pub(super) fn remove_questions(&mut self, token: Token) {
        let answers = self.take_answers(token);
        if let Some(link) = self.link.as_mut().filter(|_| !answers.questions.is_empty()) {
            link.backplane.remove_questions(asker_of(token));
        }
        self.release_unused_claims(token, &answers);
    }

    pub(super) fn share(&mut self, event: LocalEvent) {
        if let Some(link) = &mut self.link {
            link.backplane.share(event, self.now);
        }
    }
}
