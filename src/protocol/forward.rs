//! Requests about a client of another process, which that process carries out: [`ForwardedRequest`].

use super::{Event, Moderation, Problem, Whois};
use crate::access::Role;
use crate::text::{Name, Text, TypedName};

/// The client or the HTTP request that moderates.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moderator {
    pub name: Name,
    pub role: Role,
}

/// A request that needs what only the process of the other client has: its role, its address, its connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ForwardedRequest {
    Moderate { by: Moderator, moderation: Moderation },
    Whois { name: TypedName, with_address: bool },
}

/// The answer of the process that has carried out a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ForwardedAnswer {
    Moderated(Text),
    Whois(Box<Whois>),
}

pub type Outcome = Result<ForwardedAnswer, Problem>;

impl From<ForwardedAnswer> for Event {
    fn from(answer: ForwardedAnswer) -> Event {
        match answer {
            ForwardedAnswer::Moderated(text) => Event::Moderated(text),
            ForwardedAnswer::Whois(whois) => Event::Whois(whois),
        }
    }
}

/// The process that waits for an outcome, and the number of its question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ForwardedBy {
    pub process: u64,
    pub ask: u64,
}
