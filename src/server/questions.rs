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
        if let Some((facts, Then::Enter(arrival))) = self.answers(token, &questions, Then::Enter(arrival)) {
            self.call_chat_for(token, None, |chat, now, effects| {
                chat.enter(token.into(), token.serial, *arrival, (now, &facts), effects);
            });
            self.release_unused_claims(token, &questions, &facts);
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
        questions: &[Question],
        then: Then,
    ) -> Option<(Facts, Then)> {
        if questions.is_empty() || self.link.is_none() {
            return Some((Facts::default(), then));
        }
        if let Some(Asked { questions: asked, facts: Some(facts), .. }) = self.take_asked(token) {
            if asked == questions {
                return Some((facts, then));
            }
            self.release_unused_claims(token, &asked, &facts);
        }
        self.ask(token, questions.to_vec(), then);
        None
    }

    /// Returns whether the questions are answered, and asks them if not. The answers stay for the request in the input, which is
    /// decoded again then.
    pub(super) fn require_answers(&mut self, token: Token, questions: &[Question], then: Then) -> bool {
        let found = self.link.as_ref().and_then(|link| link.asked.get(token.slot));
        let is_answered = found.is_some_and(|asked| {
            asked.token == token && asked.facts.is_some() && asked.questions == questions
        });
        is_answered || self.answers(token, questions, then).is_some()
    }

    /// The answers to what a connection has asked.
    pub(super) fn known_facts(&self, token: Token) -> Option<&Facts> {
        self.link.as_ref()?.asked.get(token.slot)?.facts.as_ref()
    }

    /// Takes the answers to whatever a connection has asked.
    pub(super) fn take_answers(&mut self, token: Token) -> Facts {
        self.take_asked(token).and_then(|asked| asked.facts).unwrap_or_default()
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
            return debug_assert!(false, "the questions of a connection that has ended are forgotten");
        };
        let token = asked.token;
        asked.facts = Some(facts);
        let then = std::mem::replace(&mut asked.then, Then::Decode);
        self.end_waiting_for_redis(token);
        // An earlier phase of this tick may have closed it.
        if self.roster.live(token).is_none_or(|connection| connection.is_closing()) {
            return self.forget_questions(token);
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
            self.forget_questions(token);
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
    pub(super) fn release_unused_claims(&mut self, token: Token, questions: &[Question], facts: &Facts) {
        // Another client has the name, so nothing was claimed.
        if facts.holder.is_some() {
            return;
        }
        for question in questions {
            if let Question::Claim { client, name, .. } = question
                && self.name_of(token) != Some(name)
            {
                let (client, old) = (*client, name.clone());
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

    /// Forgets the questions of a connection that ends.
    pub(super) fn forget_questions(&mut self, token: Token) {
        let Some(asked) = self.take_asked(token) else {
            return;
        };
        if let Some(link) = &mut self.link {
            link.backplane.forget(asker_of(token));
        }
        self.release_unused_claims(token, &asked.questions, &asked.facts.unwrap_or_default());
    }

    pub(super) fn share(&mut self, event: LocalEvent) {
        if let Some(link) = &mut self.link {
            link.backplane.share(event, self.now);
        }
    }
}
